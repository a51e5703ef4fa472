//! The state in one number at every so many entries, compared between members: those that executed the same log must
//! have the same.

use std::collections::VecDeque;

use holdfast_engine::{Index, MEMBERS_MAX, Ordinal};
use holdfast_wire::Fingerprint;

/// Entries from one fingerprint to the next.
const ENTRIES: u64 = 1024;

/// Fingerprints that are remembered. Members that are less than so many behind each other can compare theirs.
const REMEMBERED: usize = 256;

/// What this member's state was, and what others say.
#[derive(Debug, Default)]
pub(super) struct Fingerprints {
    /// Oldest first.
    own: VecDeque<Fingerprint>,
    /// By ordinal: the last index at which that member's state was another.
    disagreed: [Option<Index>; MEMBERS_MAX],
}

impl Fingerprints {
    /// The next index after `committed` and up to `to` at which to take one.
    pub(super) fn next(committed: Index, to: Index) -> Option<Index> {
        let next = Index((committed.0 / ENTRIES + 1) * ENTRIES);
        (next <= to).then_some(next)
    }

    /// The state has this fingerprint.
    pub(super) fn take(&mut self, fingerprint: Fingerprint) {
        if self.own.len() == REMEMBERED {
            self.own.pop_front();
        }
        self.own.push_back(fingerprint);
    }

    /// Another member's state. Returns at which members the state was last seen to be another, if it is at this one.
    pub(super) fn compare(&mut self, from: Ordinal, theirs: Fingerprint) -> Option<Vec<Ordinal>> {
        let own = self.own.iter().rev().find(|own| own.index == theirs.index)?;
        let place = self.disagreed.get_mut(usize::from(from.0))?;
        if own.hash == theirs.hash {
            *place = None;
            return None;
        }
        *place = Some(theirs.index);
        let disagreeing = (0..).map(Ordinal).zip(&self.disagreed);
        Some(disagreeing.filter(|(_, at)| at.is_some()).map(|(ordinal, _)| ordinal).collect())
    }

    /// The state was replaced: what was before says nothing about it.
    pub(super) fn clear(&mut self) {
        *self = Fingerprints::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fingerprint(index: u64, hash: u64) -> Fingerprint {
        Fingerprint { index: Index(index), hash }
    }

    #[test]
    fn they_are_taken_at_the_same_indexes_everywhere() {
        assert_eq!(Fingerprints::next(Index(0), Index(1023)), None);
        assert_eq!(Fingerprints::next(Index(0), Index(1024)), Some(Index(1024)));
        assert_eq!(Fingerprints::next(Index(1024), Index(9000)), Some(Index(2048)));
        assert_eq!(Fingerprints::next(Index(1030), Index(9000)), Some(Index(2048)));
    }

    #[test]
    fn only_the_same_index_is_compared_and_each_member_counts_once() {
        let mut own = Fingerprints::default();
        own.take(fingerprint(1024, 7));
        own.take(fingerprint(2048, 8));
        assert_eq!(own.compare(Ordinal(1), fingerprint(1024, 7)), None);
        assert_eq!(own.compare(Ordinal(1), fingerprint(3072, 1)), None);
        assert_eq!(own.compare(Ordinal(1), fingerprint(2048, 9)), Some(vec![Ordinal(1)]));
        assert_eq!(own.compare(Ordinal(1), fingerprint(1024, 9)), Some(vec![Ordinal(1)]));
        assert_eq!(own.compare(Ordinal(2), fingerprint(2048, 9)), Some(vec![Ordinal(1), Ordinal(2)]));
        assert_eq!(own.compare(Ordinal(1), fingerprint(2048, 8)), None);
        assert_eq!(own.compare(Ordinal(2), fingerprint(2048, 9)), Some(vec![Ordinal(2)]));
    }
}
