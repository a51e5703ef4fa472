//! The newest version of every key, in order: [`Keyspace`]. What was before is the history's.
//!
//! It refuses to know which revisions are committed, compacted or allowed: callers name the revision.

use crate::tree::{Builder, Tree};
use crate::version::Version;
use crate::{Revision, reserved};

/// All keys with what they are. A deleted key is there as long as somebody may read what it was before. A copy costs
/// nothing and shows for ever what was there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keyspace {
    versions: Tree<Version>,
}

/// A value that a change put an end to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Superseded {
    /// The revision that put it.
    pub(crate) modified: Revision,
    /// What it counts.
    pub(crate) cost: u64,
}

impl Superseded {
    /// `version` as something that ends; `None` if the key did not exist in it.
    pub(crate) fn of(version: &Version) -> Option<Superseded> {
        version.is_live().then(|| Superseded { modified: version.modified, cost: version.cost() })
    }
}

impl Keyspace {
    /// The keyspace with these keys.
    pub(crate) fn of(versions: Builder<Version>) -> Keyspace {
        Keyspace { versions: versions.finish() }
    }

    /// The newest version of a key, be it its deletion.
    pub(crate) fn newest(&self, key: &[u8]) -> Option<&Version> {
        self.versions.get(key)
    }

    /// The newest version of a key, if the key exists in it.
    pub(crate) fn live(&self, key: &[u8]) -> Option<&Version> {
        self.newest(key).filter(|version| version.is_live())
    }

    /// Keys that `prefix` covers and that come after `after`, in order.
    pub(crate) fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
    ) -> impl Iterator<Item = (&[u8], &Version)> {
        let start = reserved::start(prefix);
        let walk = match after.filter(|after| *after >= start) {
            Some(after) => self.versions.walk(after, true),
            None => self.versions.walk(start, false),
        };
        walk.take_while(move |(key, _)| key.starts_with(prefix))
    }

    /// Keys from `start` on, in order.
    pub(crate) fn scan_from(&self, start: &[u8]) -> impl Iterator<Item = (&[u8], &Version)> {
        self.versions.walk(start, false)
    }

    /// Give a key a value; what it is then, and what it was.
    pub(crate) fn put(&mut self, key: &[u8], value: &[u8], at: Revision) -> (Version, Version) {
        let mut after = Version::NONE;
        let before = self.versions.update(key, |before| {
            after = Version::put(before.unwrap_or(&Version::NONE), at, key, value);
            after.clone()
        });
        let before = before.unwrap_or(Version::NONE);
        assert!(before.modified < at, "a key changes once per revision");
        (after, before)
    }

    /// Delete a key; what it is then, and what it was. `None` if it does not exist.
    pub(crate) fn delete(&mut self, key: &[u8], at: Revision) -> Option<(Version, Version)> {
        let version = self.versions.get_mut(key).filter(|version| version.is_live())?;
        assert!(version.modified < at, "a key changes once per revision");
        let after = Version::deleted(key, at);
        let before = std::mem::replace(version, after.clone());
        Some((after, before))
    }

    /// Take back what the newest revision, `at`, did to a key that was `before`. `remembered` is the oldest revision
    /// whose change is on record: a deletion before it, whose turn to be dropped has passed, goes as well.
    pub(crate) fn revert(&mut self, key: &[u8], at: Revision, before: Version, remembered: Revision) {
        let version = self.versions.get_mut(key).expect("a changed key is there");
        assert!(version.modified == at, "only the newest revision is taken back");
        if before.is_live() || before.modified >= remembered {
            *version = before;
        } else {
            self.versions.remove(key);
        }
    }

    /// Drop a key of which nothing is left but its deletion before `floor`.
    pub(crate) fn drop_deletion(&mut self, key: &[u8], floor: Revision) {
        let gone = |version: &Version| !version.is_live() && version.modified < floor;
        if self.versions.get(key).is_some_and(gone) {
            self.versions.remove(key);
        }
    }

    /// How many keys are there, also those that are deleted.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.versions.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyspace(keys: &[&'static [u8]]) -> Keyspace {
        let mut keyspace = Keyspace::default();
        for (number, key) in keys.iter().enumerate() {
            keyspace.put(key, b"", Revision(number as u64 + 2));
        }
        keyspace
    }

    #[test]
    fn a_prefix_ends_where_keys_stop_to_begin_with_it() {
        let keyspace = keyspace(&[
            b"\x00",
            b"a",
            b"a\x00",
            b"a\xff",
            b"a\xff\xff",
            b"b",
            b"\xff",
            b"\xff\xff",
            b"\xff\xff\x00",
        ]);
        let check = |prefix: &[u8], after: Option<&[u8]>, expected: &[&[u8]]| {
            let found: Vec<&[u8]> = keyspace.scan(prefix, after).map(|(key, _)| key).collect();
            assert_eq!(found, expected, "{prefix:?} after {after:?}");
        };
        check(b"a", None, &[b"a", b"a\x00", b"a\xff", b"a\xff\xff"]);
        check(b"a\xff", None, &[b"a\xff", b"a\xff\xff"]);
        check(b"\xff", None, &[b"\xff", b"\xff\xff", b"\xff\xff\x00"]);
        check(b"\xff\xff", None, &[b"\xff\xff", b"\xff\xff\x00"]);
        check(b"\xff\xff\xff", None, &[]);
        check(b"a\xfe", None, &[]);
        check(b"a\xfe\xff", None, &[]);
        check(b"a", Some(b"a"), &[b"a\x00", b"a\xff", b"a\xff\xff"]);
        check(b"a", Some(b"a\xff"), &[b"a\xff\xff"]);
        check(b"a", Some(b"a\xff\xff"), &[]);
        check(b"a", Some(b"\x00"), &[b"a", b"a\x00", b"a\xff", b"a\xff\xff"]);
        check(b"a", Some(b"b"), &[]);
        check(b"", Some(b"\xff\xff"), &[b"\xff\xff\x00"]);
        check(
            b"",
            Some(b"\x00"),
            &[b"a", b"a\x00", b"a\xff", b"a\xff\xff", b"b", b"\xff", b"\xff\xff", b"\xff\xff\x00"],
        );
        check(b"\x00", None, &[b"\x00"]);
        assert_eq!(keyspace.scan(b"", None).count(), 8, "all but the reserved one");
    }

    #[test]
    fn what_is_reverted_leaves_no_trace() {
        let mut keyspace = keyspace(&[b"a"]);
        let (_, first) = keyspace.put(b"a", b"new", Revision(3));
        let (_, nothing) = keyspace.put(b"b", b"", Revision(4));
        let (_, second) = keyspace.delete(b"a", Revision(5)).expect("it is there");
        let reverts: [(&[u8], u64, Version); 3] = [(b"a", 5, second), (b"b", 4, nothing), (b"a", 3, first)];
        for (key, at, before) in reverts {
            keyspace.revert(key, Revision(at), before, Revision(2));
        }
        assert_eq!(keyspace.len(), 1);
        let expected = Version::put(&Version::NONE, Revision(2), b"a", b"");
        assert_eq!(keyspace.newest(b"a"), Some(&expected));
    }

    #[test]
    fn a_forgotten_deletion_goes_with_what_came_after_it() {
        let mut keyspace = keyspace(&[b"a"]);
        keyspace.delete(b"a", Revision(3)).expect("it is there");
        let (_, deleted) = keyspace.put(b"a", b"", Revision(4));
        keyspace.revert(b"a", Revision(4), deleted, Revision(3));
        assert_eq!(keyspace.len(), 1, "the deletion is on record still");
        let (_, deleted) = keyspace.put(b"a", b"", Revision(5));
        keyspace.revert(b"a", Revision(5), deleted, Revision(4));
        assert_eq!(keyspace.len(), 0, "nobody would drop it later");
    }

    #[test]
    fn what_does_not_exist_is_not_deleted() {
        let mut keyspace = keyspace(&[b"a"]);
        keyspace.delete(b"a", Revision(4)).expect("it is there");
        assert_eq!(keyspace.delete(b"a", Revision(5)), None, "deleting twice does nothing");
        let (after, before) = keyspace.put(b"a", b"", Revision(5));
        assert_eq!((after.version, after.created), (1, Revision(5)));
        assert_eq!(before, Version::deleted(b"a", Revision(4)));
    }
}
