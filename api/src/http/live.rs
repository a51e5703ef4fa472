//! What the dashboard shows: `GET /dashboard/live` on the client port, as server-sent events.
//!
//! An event without a name comes every [`Live::interval_ms`]; its data is a [`Live`]. Before the member ends the stream itself it sends
//! [`LIVE_END`] with a [`LiveEnd`]. Everything is what this member has at hand, asked of nobody: it may be old, and a member that
//! is cut off says what it saw last. Counts only grow while the member runs; how fast they grow is for the reader to work out, from
//! [`Live::uptime_ms`]. Entries of files and of the queue are those of [`super::files`].

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::files::{FileEntry, QueueEntry, QueueStatistics};
use super::{Health, LogReply, Status};

/// The event that ends a stream; its data is a [`LiveEnd`].
pub const LIVE_END: &str = "end";

/// A member, and everything else as it sees it, at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Live {
    /// When, by the member's clock.
    pub time: Timestamp,
    /// For how long the member has served, in milliseconds, by a clock that nobody sets.
    pub uptime_ms: u64,
    /// Milliseconds from one event to the next.
    pub interval_ms: u64,
    /// The member's own state, and its connections.
    pub status: Status,
    /// Whether all is well, and how the others are, by the heartbeats that they owe this member.
    pub health: Health,
    /// Who the members are, by ordinal: those that the store is to have and those that vote.
    pub members: Vec<LiveMember>,
    /// What the member has counted.
    pub counts: LiveCounts,
    /// What its state and queues come to.
    pub state: LiveState,
    /// The message logs, by name; the first of them.
    pub logs: LiveLogs,
    /// The files that were uploaded last.
    pub files: LiveFiles,
    /// Copies of files that are missing, and those that were made in the last minutes.
    pub queue: LiveQueue,
    /// Who led and who was lost, the oldest first; the last of it.
    pub history: Vec<LiveHappening>,
}

/// Where a member is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LiveMember {
    /// Its ordinal.
    pub ordinal: u8,
    /// Its name, such as `orders-0`.
    pub name: String,
    /// Its name in the routes of files, such as `node-1` for ordinal 0.
    pub node: String,
    /// Where clients reach it, as a URL; absent as long as it has not said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

/// What a member has counted since it started.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LiveCounts {
    /// Entries that it proposed as a leader and that were committed.
    pub committed: u64,
    /// Entries that it executed.
    pub applied: u64,
    /// From a proposal's arrival in this member's log to its commit; only a leader measures it.
    pub commit: LiveTiming,
    /// One fdatasync of this member's log.
    pub fsync: LiveTiming,
}

/// How often something was timed, and how long it took.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LiveTiming {
    /// How often.
    pub count: u64,
    /// All of it together, in seconds.
    pub sum_seconds: f64,
    /// How often it took at most so many seconds, from the smallest bound to the largest; what took longer is only in `count`.
    pub buckets: Vec<(f64, u64)>,
}

/// What a member's state and queues come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LiveState {
    /// Live keys, also the store's own.
    pub keys: u64,
    /// Bytes of live keys and values, as the quota counts them.
    pub live_bytes: u64,
    /// Most of them.
    pub quota_bytes: u64,
    /// Bytes of superseded versions.
    pub history_bytes: u64,
    /// Bytes of log entries in memory.
    pub log_bytes: u64,
    /// Sessions that are remembered for retries.
    pub sessions: u64,
    /// Writes that wait for their answer.
    pub writes_pending: u64,
    /// Reads that wait for their answer.
    pub reads_pending: u64,
    /// For how long the oldest write that is not durable has waited for the disk, in milliseconds.
    pub disk_waits_ms: u64,
    /// Whether the disk is full.
    pub disk_full: bool,
}

/// Message logs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LiveLogs {
    /// By name.
    pub items: Vec<LogReply>,
    /// Whether there are others after them.
    pub more: bool,
}

/// Files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LiveFiles {
    /// The newest first.
    pub items: Vec<FileEntry>,
    /// Whether there are older ones.
    pub more: bool,
}

/// Copies that are missing, or were.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LiveQueue {
    /// The newest first; not all of those that are counted.
    pub items: Vec<QueueEntry>,
    /// How many there are.
    pub statistics: QueueStatistics,
    /// Whether there are more than were counted.
    pub more: bool,
}

/// Something that happened to the store, as this member saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LiveHappening {
    /// From 1 for the first that this member saw since it started, without gaps.
    pub number: u64,
    /// How long ago, in milliseconds.
    pub ms_ago: u64,
    /// What.
    pub what: LiveWhat,
    /// Whom it happened to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<u8>,
    /// This member's term at that moment.
    pub term: u64,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LiveWhat {
    /// The member leads.
    Leads,
    /// This member knows no leader any more.
    NoLeader,
    /// There is a connection to the member.
    Connected,
    /// The connection to the member ended.
    Lost,
}

/// Why a stream ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LiveEnd {
    /// In words, for people.
    pub detail: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_comes_back_as_it_was() {
        let json = r#"[{"number":1,"msAgo":5,"what":"leads","member":2,"term":3},{"number":2,"msAgo":0,"what":"noLeader","term":3}]"#;
        let happened: Vec<LiveHappening> = serde_json::from_str(json).expect("readable");
        assert_eq!(serde_json::to_string(&happened).ok().as_deref(), Some(json));
        assert_eq!((happened[0].what, happened[1].member), (LiveWhat::Leads, None));
    }
}
