//! The versions of one key, oldest first: [`Chain`]. It knows nothing of other keys or of the log.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::Revision;

/// Room for so many older versions is kept even if it is empty; beyond it, memory is given back.
const OLDER_SPARE: usize = 16;

/// What a key was from one revision on. Without a value it did not exist, and `created` and `version` are 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) created: Revision,
    pub(crate) modified: Revision,
    pub(crate) version: u64,
    pub(crate) value: Option<Bytes>,
}

/// All that is kept of one key.
///
/// Invariant: `modified` grows strictly from the first of `older` to `newest`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chain {
    newest: Version,
    older: VecDeque<Version>,
}

impl Version {
    /// The key did not exist from `modified` on.
    pub(crate) fn deleted(modified: Revision) -> Version {
        Version { created: Revision(0), modified, version: 0, value: None }
    }

    pub(crate) fn is_live(&self) -> bool {
        self.value.is_some()
    }
}

impl Chain {
    pub(crate) fn new(newest: Version) -> Chain {
        Chain { newest, older: VecDeque::new() }
    }

    pub(crate) fn newest(&self) -> &Version {
        &self.newest
    }

    /// The version that counts at `revision`.
    pub(crate) fn at(&self, revision: Revision) -> Option<&Version> {
        if self.newest.modified <= revision {
            return Some(&self.newest);
        }
        let until = self.older.partition_point(|version| version.modified <= revision);
        self.older.get(until.checked_sub(1)?)
    }

    /// All versions, oldest first.
    pub(crate) fn versions(&self) -> impl Iterator<Item = &Version> {
        self.older.iter().chain([&self.newest])
    }

    /// Add a version.
    pub(crate) fn push(&mut self, version: Version) {
        assert!(self.newest.modified < version.modified, "a key changes once per revision");
        self.older.push_back(std::mem::replace(&mut self.newest, version));
    }

    /// Take the newest version off again; `false` if it is the only one, which stays.
    pub(crate) fn pop(&mut self) -> bool {
        let Some(before) = self.older.pop_back() else { return false };
        self.newest = before;
        self.release_memory();
        true
    }

    /// Whether nothing is left but a deletion.
    pub(crate) fn is_only_a_deletion(&self) -> bool {
        self.older.is_empty() && !self.newest.is_live()
    }

    /// Drop what was superseded at `floor` or before.
    pub(crate) fn drop_superseded(&mut self, floor: Revision) {
        while !self.older.is_empty() {
            let successor = self.older.get(1).unwrap_or(&self.newest);
            if successor.modified > floor {
                break;
            }
            self.older.pop_front();
        }
        self.release_memory();
    }

    fn release_memory(&mut self) {
        if self.older.is_empty() {
            self.older = VecDeque::new();
        } else if self.older.capacity() > OLDER_SPARE && self.older.len() < self.older.capacity() / 4 {
            self.older.shrink_to(self.older.len() * 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(modified: u64) -> Version {
        let value = Some(Bytes::from(modified.to_string()));
        Version { created: Revision(2), modified: Revision(modified), version: 1, value }
    }

    /// Puts at 2, 4, 6, a deletion at 8, a put at 10.
    fn chain() -> Chain {
        let mut chain = Chain::new(put(2));
        for modified in [4, 6] {
            chain.push(put(modified));
        }
        chain.push(Version::deleted(Revision(8)));
        chain.push(put(10));
        chain
    }

    fn revisions(chain: &Chain) -> Vec<u64> {
        chain.versions().map(|version| version.modified.0).collect()
    }

    #[test]
    fn the_version_at_a_revision_is_the_last_one_before_or_at_it() {
        let chain = chain();
        let at = |revision| chain.at(Revision(revision)).map(|version| version.modified.0);
        assert_eq!([at(0), at(1)], [None, None]);
        assert_eq!([at(2), at(3), at(4), at(7)], [Some(2), Some(2), Some(4), Some(6)]);
        assert_eq!([at(8), at(9), at(10), at(u64::MAX)], [Some(8), Some(8), Some(10), Some(10)]);
    }

    #[test]
    fn what_is_dropped_was_superseded_by_then() {
        let expected: [&[u64]; 12] = [
            &[2, 4, 6, 8, 10],
            &[2, 4, 6, 8, 10],
            &[2, 4, 6, 8, 10],
            &[2, 4, 6, 8, 10],
            &[4, 6, 8, 10],
            &[4, 6, 8, 10],
            &[6, 8, 10],
            &[6, 8, 10],
            &[8, 10],
            &[8, 10],
            &[10],
            &[10],
        ];
        for (floor, expected) in expected.into_iter().enumerate() {
            let mut chain = chain();
            chain.drop_superseded(Revision(floor as u64));
            assert_eq!(revisions(&chain), expected, "floor {floor}");
        }
    }

    #[test]
    fn versions_come_off_in_reverse_and_the_last_one_stays() {
        let mut chain = chain();
        for left in [vec![2, 4, 6, 8], vec![2, 4, 6], vec![2, 4], vec![2]] {
            assert!(chain.pop());
            assert_eq!(revisions(&chain), left);
        }
        assert!(!chain.pop());
        assert_eq!(revisions(&chain), [2]);
    }

    #[test]
    fn a_long_history_gives_its_memory_back() {
        let mut chain = Chain::new(put(2));
        for modified in 3..10_000 {
            chain.push(put(modified));
        }
        chain.drop_superseded(Revision(9_990));
        assert_eq!(chain.older.len(), 9);
        assert!(chain.older.capacity() < 100, "room for {}", chain.older.capacity());
    }
}
