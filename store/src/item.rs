//! What readers and watchers see of the keyspace: [`Revision`], [`KeyValue`] and [`Event`].

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The keyspace's version: counts up by one with every command that changes a key, as in etcd. An empty store is at 1;
/// 0 stands before everything and says "does not exist" in comparisons.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Revision(pub u64);

/// A key, its value, and how it came to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KeyValue {
    /// The key; `[1, KEY_BYTES_MAX]` bytes.
    pub key: Bytes,
    /// The value; up to `VALUE_BYTES_MAX` bytes.
    pub value: Bytes,
    /// The revision that created the key; a key that was deleted and put again is a new one.
    pub create_revision: Revision,
    /// The revision that put this value.
    pub mod_revision: Revision,
    /// How often the key was put since it was created, from 1.
    pub version: u64,
}

/// One key's change by one committed revision. The events of one revision come in the order of their keys, each key
/// at most once.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Event {
    /// The key was put; it is new if the item's version is 1.
    Put(KeyValue),
    /// The key was deleted.
    Deleted {
        /// The key.
        key: Bytes,
        /// The revision that deleted it.
        revision: Revision,
    },
}

impl Revision {
    /// The revision of a store in which nothing was ever written.
    pub const EMPTY: Revision = Revision(1);

    /// The revision after this one.
    pub fn next(self) -> Revision {
        Revision(self.0 + 1)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Event {
    /// The key that changed.
    pub fn key(&self) -> &Bytes {
        match self {
            Event::Put(item) => &item.key,
            Event::Deleted { key, .. } => key,
        }
    }

    /// The revision that changed it.
    pub fn revision(&self) -> Revision {
        match self {
            Event::Put(item) => item.mod_revision,
            Event::Deleted { revision, .. } => *revision,
        }
    }
}
