//! The multi-version ordered map: [`Keyspace`]. Every revision that is kept can be read; the newest can be taken back.
//!
//! It refuses to know which revisions are committed, compacted or allowed: callers name the revision.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use crate::chain::{Chain, Version};
use crate::limits::cost;
use crate::{KeyValue, Revision};

/// All keys with their versions.
#[derive(Debug, Default)]
pub(crate) struct Keyspace {
    chains: BTreeMap<Bytes, Chain>,
}

/// A value that a change put an end to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Superseded {
    /// The revision that put it.
    pub(crate) modified: Revision,
    /// What it counts.
    pub(crate) cost: u64,
}

/// What a put found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// No trace of the key.
    Nothing,
    /// The key, deleted.
    Deletion,
    /// The key with a value.
    Value(Superseded),
}

/// `version` as readers see it; `None` if the key does not exist in it.
pub(crate) fn item(key: &Bytes, version: &Version) -> Option<KeyValue> {
    Some(KeyValue {
        key: key.clone(),
        value: version.value.clone()?,
        create_revision: version.created,
        mod_revision: version.modified,
        version: version.version,
    })
}

/// The first byte string after all those that begin with `prefix`; `None` if there is nothing after them.
fn end_of(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte < u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

impl Superseded {
    fn of(key: &[u8], version: &Version) -> Option<Superseded> {
        let value = version.value.as_ref()?;
        Some(Superseded { modified: version.modified, cost: cost(key, value.len()) })
    }
}

impl Keyspace {
    /// The newest version of a key, if the key exists in it.
    pub(crate) fn live(&self, key: &[u8]) -> Option<&Version> {
        self.chains.get(key).map(Chain::newest).filter(|version| version.is_live())
    }

    /// A key at a revision.
    pub(crate) fn get(&self, key: &[u8], at: Revision) -> Option<KeyValue> {
        let (key, chain) = self.chains.get_key_value(key)?;
        item(key, chain.at(at)?)
    }

    /// All versions of a key.
    pub(crate) fn chain(&self, key: &[u8]) -> Option<(&Bytes, &Chain)> {
        self.chains.get_key_value(key)
    }

    /// Keys that begin with `prefix` and come after `after`, in order.
    pub(crate) fn scan(&self, prefix: &[u8], after: Option<&[u8]>) -> impl Iterator<Item = (&Bytes, &Chain)> {
        let end = end_of(prefix);
        // Both ends are looked up once, so that the walk between them reads no key.
        let (start, end) = match (after.filter(|after| *after >= prefix), &end) {
            (Some(after), Some(end)) if after >= &end[..] => {
                (Bound::Included(&end[..]), Bound::Excluded(&end[..]))
            }
            (Some(after), Some(end)) => (Bound::Excluded(after), Bound::Excluded(&end[..])),
            (Some(after), None) => (Bound::Excluded(after), Bound::Unbounded),
            (None, Some(end)) => (Bound::Included(prefix), Bound::Excluded(&end[..])),
            (None, None) => (Bound::Included(prefix), Bound::Unbounded),
        };
        self.chains.range::<[u8], _>((start, end))
    }

    /// Keys from `start` on, in order.
    pub(crate) fn scan_from(&self, start: &[u8]) -> impl Iterator<Item = (&Bytes, &Chain)> {
        self.chains.range::<[u8], _>((Bound::Included(start), Bound::Unbounded))
    }

    /// Give a key a value.
    pub(crate) fn put(&mut self, key: &Bytes, value: Bytes, at: Revision) -> Found {
        let Some(chain) = self.chains.get_mut(&key[..]) else {
            let version = Version { created: at, modified: at, version: 1, value: Some(value) };
            self.chains.insert(key.clone(), Chain::new(version));
            return Found::Nothing;
        };
        let before = chain.newest();
        let found = Superseded::of(key, before).map_or(Found::Deletion, Found::Value);
        let (created, version) =
            if before.is_live() { (before.created, before.version + 1) } else { (at, 1) };
        chain.push(Version { created, modified: at, version, value: Some(value) });
        found
    }

    /// Delete a key; `None` if it does not exist.
    pub(crate) fn delete(&mut self, key: &[u8], at: Revision) -> Option<Superseded> {
        let chain = self.chains.get_mut(key)?;
        let superseded = Superseded::of(key, chain.newest())?;
        chain.push(Version::deleted(at));
        Some(superseded)
    }

    /// Delete every key that begins with `prefix`, and say which these were.
    pub(crate) fn delete_prefix(
        &mut self,
        prefix: &[u8],
        at: Revision,
        mut deleted: impl FnMut(&Bytes, Superseded),
    ) {
        let end = end_of(prefix);
        let end = end.as_ref().map_or(Bound::Unbounded, |end| Bound::Excluded(&end[..]));
        for (key, chain) in self.chains.range_mut::<[u8], _>((Bound::Included(prefix), end)) {
            if let Some(superseded) = Superseded::of(key, chain.newest()) {
                chain.push(Version::deleted(at));
                deleted(key, superseded);
            }
        }
    }

    /// Take back what the newest revision, `at`, did to a key. `remembered` is the oldest revision whose change is on
    /// record: a deletion before it, whose turn to be dropped has passed, goes as well.
    pub(crate) fn revert(&mut self, key: &[u8], at: Revision, remembered: Revision) {
        let chain = self.chains.get_mut(key).expect("a changed key is there");
        assert!(chain.newest().modified == at, "only the newest revision is taken back");
        if !chain.pop() || (chain.is_only_a_deletion() && chain.newest().modified < remembered) {
            self.chains.remove(key);
        }
    }

    /// Drop what was superseded at `floor` or before.
    pub(crate) fn drop_superseded(&mut self, key: &[u8], floor: Revision) {
        if let Some(chain) = self.chains.get_mut(key) {
            chain.drop_superseded(floor);
        }
    }

    /// Drop a key of which nothing is left but its deletion before `floor`.
    pub(crate) fn drop_deletion(&mut self, key: &[u8], floor: Revision) {
        let gone = |chain: &Chain| chain.is_only_a_deletion() && chain.newest().modified < floor;
        if self.chains.get(key).is_some_and(gone) {
            self.chains.remove(key);
        }
    }

    /// Add a key with all its versions.
    pub(crate) fn insert(&mut self, key: Bytes, chain: Chain) {
        self.chains.insert(key, chain);
    }

    /// How many keys have at least one version, be it a deletion.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.chains.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyspace(keys: &[&'static [u8]]) -> Keyspace {
        let mut keyspace = Keyspace::default();
        for (number, key) in keys.iter().enumerate() {
            keyspace.put(&Bytes::from_static(key), Bytes::new(), Revision(number as u64 + 2));
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
            let found: Vec<&[u8]> = keyspace.scan(prefix, after).map(|(key, _)| &key[..]).collect();
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
        assert_eq!(keyspace.scan(b"", None).count(), 9);
    }

    #[test]
    fn what_is_reverted_leaves_no_trace() {
        let mut keyspace = keyspace(&[b"a"]);
        let a = Bytes::from_static(b"a");
        keyspace.put(&a, Bytes::from_static(b"new"), Revision(3));
        keyspace.put(&Bytes::from_static(b"b"), Bytes::new(), Revision(4));
        keyspace.delete(b"a", Revision(5)).expect("it is there");
        for (key, at) in [(b"a", 5), (b"b", 4), (b"a", 3)] {
            keyspace.revert(key, Revision(at), Revision(2));
        }
        assert_eq!(keyspace.len(), 1);
        let (_, chain) = keyspace.chain(b"a").expect("put at 2");
        assert_eq!(chain, keyspace_of_one().chain(b"a").expect("put at 2").1);
    }

    fn keyspace_of_one() -> Keyspace {
        keyspace(&[b"a"])
    }

    #[test]
    fn a_forgotten_deletion_goes_with_what_came_after_it() {
        let mut keyspace = keyspace(&[b"a"]);
        let a = Bytes::from_static(b"a");
        keyspace.delete(b"a", Revision(3)).expect("it is there");
        keyspace.put(&a, Bytes::new(), Revision(4));
        keyspace.drop_superseded(b"a", Revision(3));
        keyspace.revert(b"a", Revision(4), Revision(3));
        assert_eq!(keyspace.len(), 1, "the deletion is on record still");
        keyspace.put(&a, Bytes::new(), Revision(5));
        keyspace.revert(b"a", Revision(5), Revision(4));
        assert_eq!(keyspace.len(), 0, "nobody would drop it later");
    }

    #[test]
    fn a_key_put_again_after_its_deletion_is_new() {
        let mut keyspace = keyspace(&[b"a"]);
        let a = Bytes::from_static(b"a");
        keyspace.put(&a, Bytes::new(), Revision(3));
        let version = |keyspace: &Keyspace| {
            keyspace.get(b"a", Revision(9)).map(|item| (item.version, item.create_revision.0))
        };
        assert_eq!(version(&keyspace), Some((2, 2)));
        keyspace.delete(b"a", Revision(4)).expect("it is there");
        assert_eq!(version(&keyspace), None);
        assert_eq!(keyspace.delete(b"a", Revision(5)), None, "deleting twice does nothing");
        assert_eq!(keyspace.put(&a, Bytes::new(), Revision(5)), Found::Deletion);
        assert_eq!(version(&keyspace), Some((1, 5)));
    }
}
