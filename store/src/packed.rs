//! Byte strings in ascending order, one after the other in one piece of memory: [`Packed`].
//!
//! A search reads neighbouring memory instead of following a pointer for every comparison, and a string costs twelve
//! bytes beside its own. It refuses to check the order: callers insert where [`Packed::search`] said.

use std::cmp::Ordering;

/// Bytes of a string's head.
const HEAD_BYTES: usize = size_of::<u64>();

/// Sorted byte strings. All of them together are shorter than 4 GiB: a node has few, and each is a key.
///
/// Invariants: all strings begin with the same `prefix` bytes; the heads are those of the strings without these.
#[derive(Clone, Debug, Default)]
pub(crate) struct Packed {
    bytes: Vec<u8>,
    /// Where each string ends.
    ends: Vec<u32>,
    /// The first bytes of each string behind the prefix, as a number: mostly enough to find one among the others.
    heads: Vec<u64>,
    /// How many bytes all strings have in common, or fewer.
    prefix: usize,
}

/// The first bytes as a number that is ordered as they are; of two strings with the same head either may be the lesser.
fn head(string: &[u8]) -> u64 {
    if let Some(first) = string.first_chunk::<HEAD_BYTES>() {
        return u64::from_be_bytes(*first);
    }
    let mut bytes = [0; HEAD_BYTES];
    bytes[..string.len()].copy_from_slice(string);
    u64::from_be_bytes(bytes)
}

fn common(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}

impl Packed {
    /// Room for so many strings.
    pub(crate) fn with_capacity(strings: usize) -> Packed {
        let (ends, heads) = (Vec::with_capacity(strings), Vec::with_capacity(strings));
        Packed { ends, heads, ..Packed::default() }
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
        let Some(last) = self.len().checked_sub(1) else { return Err(0) };
        let behind = key.get(self.prefix..).unwrap_or_default();
        let head = head(behind);
        let start = self.heads.partition_point(|other| *other < head);
        // The prefix is compared last, with a string that is read anyway.
        let nearest = self.get(start.min(last));
        if !key.starts_with(&nearest[..self.prefix]) {
            return Err(if key < nearest { 0 } else { self.len() });
        }
        let alike = self.heads[start..].iter().take_while(|other| **other == head).count();
        self.search_in(start, start + alike, key)
    }

    /// The same, where `key` can only be, or would be, in `[start, end]`.
    fn search_in(&self, mut start: usize, mut end: usize, key: &[u8]) -> Result<usize, usize> {
        while start < end {
            let middle = start.midpoint(end);
            match self.get(middle).cmp(key) {
                Ordering::Less => start = middle + 1,
                Ordering::Equal => return Ok(middle),
                Ordering::Greater => end = middle,
            }
        }
        Err(start)
    }

    /// Note the head of the string at a place, which is there already, and has none yet.
    fn add_head(&mut self, at: usize) {
        if self.len() == 1 {
            self.prefix = self.bytes.len();
        }
        let string = &self.bytes[self.start(at)..self.ends[at] as usize];
        let neighbour = if at == 0 { self.len() - 1 } else { 0 };
        let common = common(&string[..string.len().min(self.prefix)], self.get(neighbour));
        if common == self.prefix {
            self.heads.insert(at, head(&string[common..]));
        } else {
            self.prefix = common;
            self.renew_heads();
        }
    }

    fn renew_heads(&mut self) {
        let mut heads = std::mem::take(&mut self.heads);
        heads.clear();
        heads.extend((0..self.len()).map(|at| head(&self.get(at)[self.prefix..])));
        self.heads = heads;
    }

    /// The prefix as long as it can be.
    fn renew(&mut self) {
        let last = self.last().unwrap_or_default();
        self.prefix = if self.len() == 0 { 0 } else { common(self.get(0), last) };
        self.renew_heads();
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
        self.add_head(at);
    }

    /// Add `key` at the end.
    pub(crate) fn push(&mut self, key: &[u8]) {
        self.bytes.extend_from_slice(key);
        self.ends.push(self.bytes.len() as u32);
        self.add_head(self.len() - 1);
    }

    /// Take the string at a place out.
    pub(crate) fn remove(&mut self, at: usize) {
        let (start, end) = (self.start(at), self.ends.remove(at));
        self.bytes.drain(start..end as usize);
        self.heads.remove(at);
        let length = end - start as u32;
        self.ends[at..].iter_mut().for_each(|end| *end -= length);
        if self.len() == 0 {
            self.prefix = 0;
        }
    }

    /// Take the strings from a place on off.
    pub(crate) fn split_off(&mut self, at: usize) -> Packed {
        let start = self.start(at);
        let mut ends = self.ends.split_off(at);
        ends.iter_mut().for_each(|end| *end -= start as u32);
        let bytes = self.bytes.split_off(start);
        let mut behind = Packed { bytes, ends, ..Packed::default() };
        behind.renew();
        self.renew();
        behind
    }

    /// Add those of `other`, which come after these.
    pub(crate) fn append(&mut self, other: &Packed) {
        let start = self.bytes.len() as u32;
        self.bytes.extend_from_slice(&other.bytes);
        self.ends.extend(other.ends.iter().map(|end| start + end));
        self.renew();
    }

    /// Give back memory that is kept for more.
    pub(crate) fn shrink_to_fit(&mut self) {
        self.bytes.shrink_to_fit();
        self.ends.shrink_to_fit();
        self.heads.shrink_to_fit();
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
            let prefix = if random.chance(0.01) { &b"some/"[..] } else { b"some/longer/prefix/" };
            let mut key = prefix[..prefix.len() - usize::from(random.chance(0.01))].to_vec();
            key.extend((0..random.below(11)).map(|_| random.below(7).saturating_sub(5) as u8));
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
