//! Byte strings in ascending order, one after the other in one piece of memory: [`Packed`].
//!
//! A search reads neighbouring memory instead of following a pointer for every comparison, and a short string costs
//! four bytes beside its own. It refuses to check the order: callers insert where [`Packed::search`] said.

use std::ops::Range;

/// Sorted byte strings. All of them together are shorter than 4 GiB: a node has few, and each is a key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Packed {
    bytes: Vec<u8>,
    /// Where each string ends.
    ends: Vec<u32>,
}

impl Packed {
    /// Room for so many strings.
    pub(crate) fn with_capacity(strings: usize) -> Packed {
        Packed { bytes: Vec::new(), ends: Vec::with_capacity(strings) }
    }

    /// How many strings there are.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// How many bytes they have together.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    fn start(&self, at: usize) -> usize {
        at.checked_sub(1).map_or(0, |before| self.ends[before] as usize)
    }

    /// The string at a place.
    pub(crate) fn get(&self, at: usize) -> &[u8] {
        &self.bytes[self.start(at)..self.ends[at] as usize]
    }

    /// The last string.
    pub(crate) fn last(&self) -> Option<&[u8]> {
        self.len().checked_sub(1).map(|last| self.get(last))
    }

    /// Where `key` is, or else where it would be.
    pub(crate) fn search(&self, key: &[u8]) -> Result<usize, usize> {
        let Range { mut start, mut end } = 0..self.len();
        while start < end {
            let middle = start.midpoint(end);
            match self.get(middle).cmp(key) {
                std::cmp::Ordering::Less => start = middle + 1,
                std::cmp::Ordering::Equal => return Ok(middle),
                std::cmp::Ordering::Greater => end = middle,
            }
        }
        Err(start)
    }

    /// Put `key` at a place, before the one that is there.
    pub(crate) fn insert(&mut self, at: usize, key: &[u8]) {
        let start = self.start(at);
        let behind = self.bytes.len() - start;
        self.bytes.extend_from_slice(key);
        if behind > 0 {
            self.bytes.copy_within(start..start + behind, start + key.len());
            self.bytes[start..start + key.len()].copy_from_slice(key);
        }
        self.ends.insert(at, start as u32);
        self.ends[at..].iter_mut().for_each(|end| *end += key.len() as u32);
    }

    /// Add `key` at the end.
    pub(crate) fn push(&mut self, key: &[u8]) {
        self.bytes.extend_from_slice(key);
        self.ends.push(self.bytes.len() as u32);
    }

    /// Take the string at a place out.
    pub(crate) fn remove(&mut self, at: usize) {
        let (start, end) = (self.start(at), self.ends.remove(at));
        self.bytes.drain(start..end as usize);
        let length = end - start as u32;
        self.ends[at..].iter_mut().for_each(|end| *end -= length);
    }

    /// Take the strings from a place on off.
    pub(crate) fn split_off(&mut self, at: usize) -> Packed {
        let start = self.start(at);
        let mut ends = self.ends.split_off(at);
        ends.iter_mut().for_each(|end| *end -= start as u32);
        Packed { bytes: self.bytes.split_off(start), ends }
    }

    /// Add those of `other`, which come after these.
    pub(crate) fn append(&mut self, other: &Packed) {
        let start = self.bytes.len() as u32;
        self.bytes.extend_from_slice(&other.bytes);
        self.ends.extend(other.ends.iter().map(|end| start + end));
    }

    /// Give back memory that is kept for more.
    pub(crate) fn shrink_to_fit(&mut self) {
        self.bytes.shrink_to_fit();
        self.ends.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use holdfast_engine::Random;

    use super::*;

    fn strings(packed: &Packed) -> Vec<Vec<u8>> {
        (0..packed.len()).map(|at| packed.get(at).to_vec()).collect()
    }

    #[test]
    fn it_is_a_sorted_list_of_strings() {
        let mut random = Random::new(1);
        let (mut packed, mut model): (Packed, Vec<Vec<u8>>) = Default::default();
        for _ in 0..5_000 {
            let key: Vec<u8> = (0..random.below(5)).map(|_| random.below(3) as u8).collect();
            let found = packed.search(&key);
            assert_eq!(found, model.binary_search(&key));
            match found {
                Ok(at) => {
                    packed.remove(at);
                    model.remove(at);
                }
                Err(at) => {
                    packed.insert(at, &key);
                    model.insert(at, key);
                }
            }
            assert_eq!(strings(&packed), model);
            assert_eq!(packed.last(), model.last().map(Vec::as_slice));
            let at = random.below(model.len() as u64 + 1) as usize;
            let behind = packed.split_off(at);
            assert_eq!((strings(&packed), strings(&behind)), (model[..at].to_vec(), model[at..].to_vec()));
            packed.append(&behind);
            assert_eq!(packed.bytes(), model.concat().len());
        }
    }
}
