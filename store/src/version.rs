//! What a key was from one revision on: [`Version`].

use std::sync::Arc;

use bytes::Bytes;

use crate::{ITEM_BYTES, KeyValue, Revision};

/// The key's length stands before the key; `KEY_BYTES_MAX` fits.
const LENGTH_BYTES: usize = 2;

/// Records up to this size are put together without asking for memory twice.
const RECORD_BYTES_SMALL: usize = 512;

/// What a key was from one revision on. Without a value it did not exist, and `created` and `version` are 0.
///
/// Key and value are one allocation of exactly their length: nothing else is kept alive by them, and they by nothing
/// else. Readers, the keyspace and the history share it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) created: Revision,
    /// 0 if there was never such a key, or nobody remembers.
    pub(crate) modified: Revision,
    /// 0 if the key did not exist.
    pub(crate) version: u64,
    /// The key's length, the key, and the value; only [`Version::NONE`] has none.
    record: Option<Arc<[u8]>>,
}

/// A key and a value in one allocation, behind the key's length.
pub(crate) fn record(key: &[u8], value: &[u8]) -> Arc<[u8]> {
    let length = u16::try_from(key.len()).expect("keys are limited before").to_le_bytes();
    let bytes = LENGTH_BYTES + key.len() + value.len();
    let mut small = [0; RECORD_BYTES_SMALL];
    match small.get_mut(..bytes) {
        Some(small) => {
            small[..LENGTH_BYTES].copy_from_slice(&length);
            small[LENGTH_BYTES..LENGTH_BYTES + key.len()].copy_from_slice(key);
            small[LENGTH_BYTES + key.len()..].copy_from_slice(value);
            Arc::from(&*small)
        }
        None => Arc::from([&length, key, value].concat()),
    }
}

impl Version {
    /// There is no trace of the key.
    pub(crate) const NONE: Version =
        Version { created: Revision(0), modified: Revision(0), version: 0, record: None };

    /// The key did not exist from `modified` on.
    pub(crate) fn deleted(key: &[u8], modified: Revision) -> Version {
        Version { created: Revision(0), modified, version: 0, record: Some(record(key, b"")) }
    }

    /// The key was given a value at `modified`, over what it was before.
    pub(crate) fn put(before: &Version, modified: Revision, key: &[u8], value: &[u8]) -> Version {
        let (created, version) =
            if before.is_live() { (before.created, before.version + 1) } else { (modified, 1) };
        Version::with_value(created, modified, version, key, value)
    }

    /// The key had a value; `version` is at least 1.
    pub(crate) fn with_value(
        created: Revision,
        modified: Revision,
        version: u64,
        key: &[u8],
        value: &[u8],
    ) -> Version {
        Version { created, modified, version, record: Some(record(key, value)) }
    }

    /// Whether the key existed.
    pub(crate) fn is_live(&self) -> bool {
        self.version > 0
    }

    /// Whether there is a trace of the key, be it its deletion.
    pub(crate) fn is_known(&self) -> bool {
        self.modified > Revision(0)
    }

    /// Key and value, and where the key ends.
    fn content(&self) -> (&[u8], usize) {
        let record = self.record.as_deref().unwrap_or(&[0; LENGTH_BYTES]);
        (record, LENGTH_BYTES + usize::from(u16::from_le_bytes([record[0], record[1]])))
    }

    /// The key; empty if there is no trace of it.
    pub(crate) fn key(&self) -> &[u8] {
        let (content, end) = self.content();
        &content[LENGTH_BYTES..end]
    }

    /// The value; `None` if the key did not exist.
    pub(crate) fn value(&self) -> Option<&[u8]> {
        let (content, end) = self.content();
        self.is_live().then(|| &content[end..])
    }

    /// What it counts; reads nothing of key and value, which may be far from every cache. For the key's deletion, what
    /// its record counts.
    pub(crate) fn cost(&self) -> u64 {
        self.record.as_ref().map_or(0, |record| (record.len() - LENGTH_BYTES) as u64 + ITEM_BYTES)
    }

    /// The value's length; 0 if there is none.
    pub(crate) fn value_bytes(&self) -> usize {
        self.value().map_or(0, <[u8]>::len)
    }

    /// The key as readers see it; `None` if it did not exist. Nothing is copied.
    pub(crate) fn item(&self) -> Option<KeyValue> {
        let record = self.record.as_ref().filter(|_| self.is_live())?;
        let (_, end) = self.content();
        let mut key = Bytes::from_owner(Arc::clone(record));
        let value = key.split_off(end);
        let key = key.split_off(LENGTH_BYTES);
        let Version { created, modified, version, .. } = *self;
        Some(KeyValue { key, value, create_revision: created, mod_revision: modified, version })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_put_again_after_its_deletion_is_new() {
        let put = |before: &Version, modified| Version::put(before, Revision(modified), b"key", b"1");
        let figures = |version: &Version| (version.created.0, version.modified.0, version.version);
        let first = put(&Version::NONE, 2);
        assert_eq!(figures(&first), (2, 2, 1));
        assert_eq!(figures(&put(&first, 5)), (2, 5, 2));
        assert_eq!(figures(&put(&Version::deleted(b"key", Revision(4)), 5)), (5, 5, 1));
    }

    #[test]
    fn key_and_value_are_what_they_were_whatever_their_lengths() {
        for key in [0, 1, 255, 256, 4096] {
            for value in [0, 1, 508, 509, 510, 511, 70_000] {
                let (key, value) = (vec![b'k'; key], vec![b'v'; value]);
                let version = Version::put(&Version::NONE, Revision(2), &key, &value);
                assert_eq!((version.key(), version.value()), (&key[..], Some(&value[..])));
                assert_eq!(version.cost(), crate::limits::cost(&key, value.len()));
                let item = version.item().expect("it is live");
                assert_eq!((&item.key, &item.value), (&Bytes::from(key), &Bytes::from(value)));
            }
        }
    }

    #[test]
    fn readers_see_the_value_itself_and_no_copy() {
        let version = Version::put(&Version::NONE, Revision(2), b"key", b"value");
        let item = version.item().expect("it is live");
        assert_eq!(item.value.as_ptr(), version.value().expect("a value").as_ptr());
    }

    #[test]
    fn what_does_not_exist_has_no_value() {
        let deleted = Version::deleted(b"key", Revision(3));
        assert_eq!((deleted.key(), deleted.value(), deleted.item()), (&b"key"[..], None, None));
        assert_eq!(
            (Version::NONE.key(), Version::NONE.value(), Version::NONE.item()),
            (&b""[..], None, None)
        );
        assert!(deleted.is_known() && !Version::NONE.is_known());
    }
}
