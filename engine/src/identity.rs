//! Who is who: members, their incarnations, and the store that they form.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Most members that one store may have, and so the length of every per-member array.
///
/// Seven survive three faults; each member more makes every write slower. etcd advises the same bound.
pub const MEMBERS_MAX: usize = 7;

/// A member's place in the store, from 0; on Kubernetes the ordinal of its pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ordinal(pub u8);

/// Which life of an ordinal this is. Drawn at random when a member starts with nothing on its disk, so that a member
/// that forgot what it acknowledged is never taken for the one that acknowledged it. It has no order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Incarnation(pub u64);

/// One member: an ordinal in one of its lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MemberId {
    /// Its place in the store.
    pub ordinal: Ordinal,
    /// Its life.
    pub incarnation: Incarnation,
}

/// A store's identity, drawn at random by ordinal 0 when the store is formed and stamped into every file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StoreId(pub u128);

/// How a store began: its identity and its first voters.
///
/// Ordinal 0 makes one, once, when every member is reachable, empty and unformed; each member makes it durable before
/// it votes. Who votes later is in the log: [`crate::Membership`].
///
/// Invariants: `voters` is sorted by ordinal and holds each ordinal at most once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Formation {
    /// The store that was formed.
    pub store: StoreId,
    /// Its voters, by ordinal.
    pub voters: Vec<MemberId>,
}

impl fmt::Display for Ordinal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ordinal, self.incarnation)
    }
}

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}
