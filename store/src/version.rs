//! What a key was from one revision on: [`Version`].

use std::sync::Arc;

use bytes::Bytes;

use crate::{KeyValue, Revision};

/// What a key was from one revision on. Without a value it did not exist, and `created` and `version` are 0.
///
/// The value is an allocation of its own, of exactly its length: nothing else is kept alive by it, and it by nothing
/// else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) created: Revision,
    /// 0 if there was never such a key, or nobody remembers.
    pub(crate) modified: Revision,
    pub(crate) version: u64,
    pub(crate) value: Option<Arc<[u8]>>,
}

impl Version {
    /// There is no trace of the key.
    pub(crate) const NONE: Version = Version::deleted(Revision(0));

    /// The key did not exist from `modified` on.
    pub(crate) const fn deleted(modified: Revision) -> Version {
        Version { created: Revision(0), modified, version: 0, value: None }
    }

    /// The key was given a value at `modified`, over what it was before.
    pub(crate) fn put(before: &Version, modified: Revision, value: Arc<[u8]>) -> Version {
        let (created, version) =
            if before.is_live() { (before.created, before.version + 1) } else { (modified, 1) };
        Version { created, modified, version, value: Some(value) }
    }

    /// Whether the key existed.
    pub(crate) fn is_live(&self) -> bool {
        self.value.is_some()
    }

    /// Whether there is a trace of the key, be it its deletion.
    pub(crate) fn is_known(&self) -> bool {
        self.modified > Revision(0)
    }

    /// The key as readers see it; `None` if it did not exist.
    pub(crate) fn item(&self, key: &[u8]) -> Option<KeyValue> {
        Some(KeyValue {
            key: Bytes::copy_from_slice(key),
            value: shared(self.value.as_ref()?),
            create_revision: self.created,
            mod_revision: self.modified,
            version: self.version,
        })
    }
}

/// The same bytes, not copied.
fn shared(value: &Arc<[u8]>) -> Bytes {
    if value.is_empty() { Bytes::new() } else { Bytes::from_owner(Arc::clone(value)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_put_again_after_its_deletion_is_new() {
        let put = |before: &Version, modified| Version::put(before, Revision(modified), [1].into());
        let figures = |version: &Version| (version.created.0, version.modified.0, version.version);
        let first = put(&Version::NONE, 2);
        assert_eq!(figures(&first), (2, 2, 1));
        assert_eq!(figures(&put(&first, 5)), (2, 5, 2));
        assert_eq!(figures(&put(&Version::deleted(Revision(4)), 5)), (5, 5, 1));
    }

    #[test]
    fn readers_see_the_value_itself_and_no_copy() {
        let version = Version::put(&Version::NONE, Revision(2), (*b"value").into());
        let item = version.item(b"key").expect("it is live");
        assert_eq!((&item.key[..], &item.value[..]), (&b"key"[..], &b"value"[..]));
        assert_eq!(item.value.as_ptr(), version.value.as_ref().expect("a value").as_ptr());
        assert_eq!(Version::deleted(Revision(3)).item(b"key"), None);
        let empty = Version::put(&Version::NONE, Revision(2), [].into());
        assert_eq!(empty.item(b"key").expect("it is live").value, Bytes::new());
    }
}
