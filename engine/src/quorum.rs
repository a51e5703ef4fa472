//! Quorum arithmetic: what so many of the voters have.

use crate::{Index, MEMBERS_MAX, Ordinal};

/// A set of ordinals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OrdinalSet(u8);

impl OrdinalSet {
    /// The set with this one in it.
    pub fn insert(&mut self, ordinal: Ordinal) {
        self.0 |= 1 << ordinal.0;
    }

    pub(crate) fn remove(&mut self, ordinal: Ordinal) {
        self.0 &= !(1 << ordinal.0);
    }

    pub(crate) fn contains(self, ordinal: Ordinal) -> bool {
        self.0 >> ordinal.0 & 1 == 1
    }

    /// How many are in it.
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether none is in it.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those in it, in order.
    pub fn iter(self) -> impl Iterator<Item = Ordinal> {
        (0..MEMBERS_MAX as u8).map(Ordinal).filter(move |ordinal| self.contains(*ordinal))
    }

    /// The set as one number: bit `i` is ordinal `i`.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// The set that [`OrdinalSet::bits`] gave; bits of no ordinal are dropped.
    pub fn from_bits(bits: u8) -> OrdinalSet {
        OrdinalSet(bits & ((1 << MEMBERS_MAX) - 1))
    }
}

/// `result[k - 1]`: the highest index that at least `k` of `positions` have reached. Zero beyond their number.
pub(crate) fn reached_by(positions: &[Index]) -> [Index; MEMBERS_MAX] {
    let mut sorted = [Index(0); MEMBERS_MAX];
    sorted[..positions.len()].copy_from_slice(positions);
    sorted[..positions.len()].sort_unstable_by(|a, b| b.cmp(a));
    sorted
}

/// The value that a majority of `values` has reached.
pub(crate) fn majority(values: &mut [u64]) -> u64 {
    values.sort_unstable_by(|a, b| b.cmp(a));
    values[values.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_majority_is_more_than_half() {
        let check =
            |values: &[u64], expected| assert_eq!(majority(&mut values.to_vec()), expected, "{values:?}");
        check(&[5], 5);
        check(&[5, 3], 3);
        check(&[9, 1, 5], 5);
        check(&[9, 8, 1, 2], 2);
        check(&[9, 8, 1, 2, 3], 3);
    }

    #[test]
    fn a_set_of_ordinals_comes_back_as_it_was() {
        let mut set = OrdinalSet::default();
        assert!(set.is_empty());
        set.insert(Ordinal(2));
        set.insert(Ordinal(0));
        set.insert(Ordinal(2));
        assert_eq!((set.len(), set.iter().collect::<Vec<_>>()), (2, vec![Ordinal(0), Ordinal(2)]));
        assert_eq!(OrdinalSet::from_bits(set.bits()), set);
        assert_eq!(OrdinalSet::from_bits(u8::MAX).len(), MEMBERS_MAX);
    }

    #[test]
    fn so_many_members_have_so_much() {
        let reached = reached_by(&[Index(4), Index(9), Index(6)]);
        assert_eq!(&reached[..4], &[Index(9), Index(6), Index(4), Index(0)]);
    }
}
