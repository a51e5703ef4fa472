//! What travels as JSON on a member's client and admin ports, shared by the sidecar that answers and the clients that
//! ask. Data only.
//!
//! Conventions: field names are camelCase. A key is a UTF-8 string; HTTP offers no other keys. A value is bytes: it is
//! in `value` if it is UTF-8, else in `valueBase64` (RFC 4648, with padding), and exactly one of both is there.
//! Requests refuse fields that are not known; replies may gain fields, which clients ignore. Times are RFC 3339 in UTC.

mod admin;
mod faults;
pub mod files;
mod health;
mod live;
mod log;
mod payload;
mod problem;
mod read;
mod status;
mod txn;
mod watch;
mod write;

pub use admin::{CheckpointReply, ForceStartReply, TransferReply, VersionReply};
pub use faults::{FaultsRequest, FaultsStatus};
pub use health::{
    Health, HealthStatus, HealthWords, LogRole, NodeRole, PeerHealth, PeerHealthStatus, Quorum,
};
pub use live::{
    LIVE_END, Live, LiveCounts, LiveEnd, LiveFiles, LiveHappening, LiveLogs, LiveMember, LiveQueue,
    LiveState, LiveTiming, LiveWhat,
};
pub use log::{
    AppendConcern, AppendReply, AppendRequest, Deduplication, LOG_DEFAULT, LOG_END, LOG_STARTED, LOG_UNDONE,
    LogChangeReply, LogEnd, LogMessage, LogReply, LogSettings, LogStarted, LogUndone, LogsReply,
    MessagesReply, TrimRequest,
};
pub use payload::{Base64, PayloadError};
pub use problem::{Outcome, Problem, ProblemCode};
pub use read::{KeyValue, ListReply};
pub use status::{
    AuthorityState, AuthorityStatus, CheckpointStatus, InSync, PeerStatus, Positions, Role, StateHash, Status,
};
pub use txn::{
    Compare, CompareOperator, CompareTarget, TxnDelete, TxnGet, TxnOperation, TxnPut, TxnReply, TxnRequest,
    TxnResult,
};
pub use watch::{WATCH_END, WATCH_STARTED, WatchBatch, WatchEnd, WatchEvent, WatchEventType, WatchStarted};
pub use write::{Concern, DeleteReply, WriteReply};

/// Names of headers.
pub mod header {
    /// On replies to reads: the revision of the state that answered.
    pub const REVISION: &str = "x-holdfast-revision";
    /// On every reply; echoed if the request carries one.
    pub const REQUEST_ID: &str = "x-request-id";
    /// On appends: the key by which a log tells messages apart, if that is its setting.
    pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
}

/// Names of query parameters.
pub mod query {
    /// The write concern.
    pub const CONCERN: &str = "w";
    /// A session for exactly-once retries: up to 32 hexadecimal digits, drawn at random by the client.
    pub const SESSION: &str = "session";
    /// The write's number in its session, from 1.
    pub const SEQUENCE: &str = "sequence";
    /// `linearizable` or `local`; of a message log also `committed`.
    pub const READ: &str = "read";
    /// Read as of this revision.
    pub const REVISION: &str = "revision";
    /// Only keys that begin so.
    pub const PREFIX: &str = "prefix";
    /// Most items in the answer.
    pub const LIMIT: &str = "limit";
    /// Where the page before ended, as its reply said.
    pub const CURSOR: &str = "cursor";
    /// Watch from this revision on; read or follow a message log from this message on.
    pub const FROM: &str = "from";
    /// How long to wait for an answer, as a [`crate::Span`].
    pub const TIMEOUT: &str = "timeout";
    /// The ordinal of the member that is to lead next.
    pub const TO: &str = "to";
    /// The epoch that an order to start from a member that may have lost writes is about.
    pub const EPOCH: &str = "epoch";
    /// Whether a checkpoint is to be read back from the disk: nothing, `true` or `false`.
    pub const VERIFY: &str = "verify";
}

/// The media type of a [`Problem`].
pub const PROBLEM_TYPE: &str = "application/problem+json";
