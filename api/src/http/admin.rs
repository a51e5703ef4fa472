//! Replies of the admin port.

use serde::{Deserialize, Serialize};

/// A checkpoint that is durable on the member that was asked: `POST /v1/checkpoint`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckpointReply {
    /// The last entry in it.
    pub index: u64,
    /// That entry's term.
    pub term: u64,
    /// How many bytes of state it holds.
    pub bytes: u64,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// Whether it was read back from the disk afterwards, as `?verify` asks for.
    #[serde(default)]
    pub verified: bool,
}

/// Leadership that was handed over: `POST /v1/leadership/transfer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TransferReply {
    /// The ordinal of the member that leads now.
    pub leader: u8,
    /// In which term.
    pub term: u64,
}

/// A member that may have lost writes is primary now: `POST /v1/authority/force-start`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ForceStartReply {
    /// The member's ordinal.
    pub member: u8,
    /// The epoch that the order named, and that has ended by it.
    pub ended: u64,
    /// The epoch that the member leads from, or a later one.
    pub epoch: u64,
}

/// What runs: `GET /version`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionReply {
    /// The program's version.
    pub version: String,
}
