//! Files on the client port. Field names and texts are those that clients of such systems read already: snake_case, members
//! called `node-1` for ordinal 0, and so on.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One file, as in [`FileList`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// What it is called: the key of its routes.
    pub file_key: String,
    /// What it was called where it came from.
    pub original_filename: String,
    /// How long it is.
    pub size_bytes: u64,
    /// 64 hexadecimal digits.
    pub checksum_sha256: String,
    /// When it was uploaded.
    pub uploaded_at: Timestamp,
    /// The members that have said that they hold it.
    pub replicas: Vec<String>,
    /// On how many members it is to be; absent for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas_wanted: Option<u8>,
}

/// `GET /files`: the newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileList {
    /// One page.
    pub files: Vec<FileEntry>,
    /// How many files this page has.
    pub count: usize,
    /// How many there are on all pages; only with the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// Where the next page begins; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// A file was uploaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadReply {
    /// Always true: what failed is a problem.
    pub success: bool,
    /// What it is called; the key of its routes.
    pub file_id: String,
    /// The same.
    pub file_key: String,
    /// Its id, with the ending that it had where it came from.
    pub stored_name: String,
    /// What it was called where it came from.
    pub original_filename: String,
    /// How long it is.
    pub size_bytes: u64,
    /// 64 hexadecimal digits.
    pub checksum_sha256: String,
    /// The member that took it.
    pub node_id: String,
    /// Whether it was kept there alone, without a record.
    pub is_replica: bool,
    /// What became of the other copies; null if there were to be none.
    pub replication: Option<Replication>,
    /// Where an upload through any member went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routed_via: Option<String>,
    /// The member that was chosen for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selected_node: Option<String>,
    /// Its round trip, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_latency_ms: Option<u64>,
}

/// A part of a file came, and the rest is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartReply {
    /// How many bytes of it are here.
    pub received: u64,
    /// How many it is to have.
    pub size: u64,
}

/// Copies on the other members.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replication {
    /// How many other members were to have it.
    pub total_nodes: usize,
    /// How many have it: checked by SHA-256, and durable.
    pub successful: usize,
    /// How many have not; the queue has an item for each.
    pub failed: usize,
    /// Of each.
    pub details: Vec<ReplicationDetail>,
    /// Those that have it.
    pub successful_nodes: Vec<String>,
    /// Those that have not.
    pub failed_nodes: Vec<String>,
}

/// One copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicationDetail {
    /// Whose.
    pub node: String,
    /// Whether it has it.
    pub success: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A file was deleted, or was not there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileDeleted {
    /// Always true: from now on there is no such file.
    pub success: bool,
    /// What it was called.
    pub file_key: String,
    /// How many members have removed its bytes.
    pub deleted_from: usize,
    /// How many held it and remove its bytes later: when they are back, at the latest.
    pub failed: usize,
    /// How many held it.
    pub total_nodes: usize,
    /// Those that have removed its bytes.
    pub deleted_nodes: Vec<String>,
    /// In words.
    pub message: String,
}

/// One missing copy, or one that was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueEntry {
    /// A number that is its own.
    pub id: u64,
    /// Of which file.
    pub file_key: String,
    /// Who is to have it.
    pub target_node_id: String,
    /// Who has it, or had when somebody looked last; null if nobody is known.
    pub source_node_id: Option<String>,
    /// `PENDING`, `IN_PROGRESS`, `COMPLETED`, `FAILED`.
    pub status: String,
    /// Tries that failed.
    pub retry_count: u32,
    /// When it was tried last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_attempt: Option<Timestamp>,
    /// When it was found missing.
    pub created_at: Timestamp,
    /// Why it is missing, or why the last try failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
}

/// `GET /replication-queue`: the newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueReply {
    /// At most as many as the limit says.
    pub items: Vec<QueueEntry>,
    /// How many there are in `items`.
    pub count: usize,
    /// Of all that were asked for, also beyond the limit.
    pub statistics: QueueStatistics,
}

/// How many items there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueStatistics {
    /// Together.
    pub total: usize,
    /// That wait.
    pub pending: usize,
    /// That are being copied.
    pub in_progress: usize,
    /// That are done; they are forgotten after some minutes.
    pub completed: usize,
    /// That failed several times.
    pub failed: usize,
}

/// One member, as in `GET /nodes`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeEntry {
    /// `node-1` for ordinal 0, and so on.
    pub id: String,
    /// Where clients reach it, as far as it is known.
    pub address: String,
    /// `UP` or `DOWN`.
    pub status: String,
    /// `MAIN` leads, `REPLICA` follows and votes, `BACKUP` does not vote.
    pub role: String,
    /// When it was last heard of; absent if it never was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_heartbeat: Option<Timestamp>,
    /// The last round trip to it in milliseconds, rounded up; absent for the member that answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<u64>,
    /// The same, not rounded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round_trip_ms: Option<f64>,
}

/// `GET /nodes/check`: every member was asked just now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodesCheck {
    /// When.
    pub checked_at: Timestamp,
    /// What came of it.
    pub nodes: Vec<NodeChecked>,
}

/// One member that was asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeChecked {
    /// Which.
    pub id: String,
    /// Where clients reach it, as far as it is known.
    pub address: String,
    /// `UP` or `DOWN`.
    pub status: String,
    /// How long it took, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round_trip_ms: Option<f64>,
    /// Why it is down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// `POST /nodes/{id}/recover`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoverReply {
    /// In words.
    pub message: String,
    /// Copies that were missing.
    pub total: u64,
    /// How many of them are there now.
    pub success: u64,
    /// How many are not.
    pub failed: u64,
    /// The same as `total`.
    pub count: u64,
    /// What is still missing.
    pub pending_items: Vec<QueueEntry>,
}

/// `POST /files/register`: a member has a file already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterRequest {
    /// What it shall be called.
    pub file_key: String,
    /// What it was called where it came from.
    #[serde(default)]
    pub original_filename: Option<String>,
    /// How long it is.
    pub size_bytes: u64,
    /// 64 hexadecimal digits.
    pub checksum_sha256: String,
    /// Who has it.
    pub node_id: String,
    /// Who is known not to have it. Everybody else who is to have it finds out by itself.
    #[serde(default)]
    pub failed_nodes: Option<Vec<String>>,
}

/// `POST /files/register-location`: one more member has a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterLocationRequest {
    /// Which file.
    pub file_key: String,
    /// Who has it.
    pub node_id: String,
}

/// Something was registered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// Always true: what failed is a problem.
    pub success: bool,
    /// In words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}
