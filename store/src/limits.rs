//! How much of everything the state takes. A limit only refuses or forgets; it never makes members differ.
//!
//! The constants are what every store uses. [`Limits`] lets tests and the simulator reach the bounds with little data.

/// Longest key. Keys are compared on every step down the tree and repeated in every listing; etcd's users stay far
/// below this.
pub const KEY_BYTES_MAX: usize = 4096;

/// Longest value. A command with it, its key and its framing still fits into one log entry twice over.
pub const VALUE_BYTES_MAX: usize = 1024 * 1024;

/// Most comparisons, and most operations per branch, of one transaction; etcd's default.
pub const TXN_OPERATIONS_MAX: usize = 128;

/// Most bytes that the reads of one transaction may bring back: as much as one log entry may carry in.
pub const TXN_RESULT_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Most sessions that are remembered. The one that was silent for most log entries is forgotten first.
pub const SESSIONS_MAX: usize = 10_000;

/// Most bytes of remembered outcomes of all sessions together; far above what sessions without large transaction
/// reads need (about 100 bytes each).
pub const SESSIONS_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Most bytes of superseded versions, deletions and change records that are kept for reads at old revisions and for
/// watchers that come back.
pub const HISTORY_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Most revisions that are kept, for the same purpose.
pub const HISTORY_REVISIONS_MAX: u64 = 100_000;

/// Most bytes of live keys and values, each with [`ITEM_BYTES`] on top, and of the message logs, each message with
/// [`MESSAGE_BYTES`] on top. Members keep all of it in memory.
pub const QUOTA_BYTES: u64 = 2 * 1024 * 1024 * 1024;

/// What one version of a key costs in memory beside its key and its value, about; counted so that the quota bounds
/// memory also when values are tiny.
pub const ITEM_BYTES: u64 = 128;

/// Most bytes of one page of a listing; a page ends early rather than exceed it, but always has one item.
pub const RANGE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Most message logs of a store. An empty one takes about 1 KiB, and a listing names all of them at once.
pub const LOGS_MAX: usize = 1_000;

/// Longest name of a message log: a path segment that people read.
pub const LOG_NAME_BYTES_MAX: usize = 128;

/// Longest message: the same as a value, for the same reason.
pub const MESSAGE_BYTES_MAX: usize = VALUE_BYTES_MAX;

/// Longest key of a message: what services that know such keys take at most (Stripe's is 255).
pub const MESSAGE_KEY_BYTES_MAX: usize = 256;

/// Messages that a log looks back for duplicates, if its settings say nothing else.
pub const DEDUPLICATION_WINDOW: u64 = 1_000_000;

/// Most messages that a log can look back. The quota counts each with [`MESSAGE_BYTES`], and would be full with somewhat
/// more of them.
pub const DEDUPLICATION_WINDOW_MAX: u64 = 10_000_000;

/// What a message costs in memory beside its bytes and its key, about, also when only its hash is left for the log's
/// window: measured by the example `figures`.
pub const MESSAGE_BYTES: u64 = 192;

/// Most bytes of one page of messages; a page ends early rather than exceed it, but always has one message.
pub const MESSAGES_BYTES_MAX: usize = RANGE_BYTES_MAX;

/// The limits that decide what a command does. They are part of the state machine: every member of a store must use
/// the same, in every version that it ever runs. `Default` is the constants of this module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// [`SESSIONS_MAX`]; at least 1.
    pub sessions: usize,
    /// [`SESSIONS_BYTES_MAX`].
    pub sessions_bytes: u64,
    /// [`HISTORY_BYTES_MAX`].
    pub history_bytes: u64,
    /// [`HISTORY_REVISIONS_MAX`].
    pub history_revisions: u64,
    /// [`QUOTA_BYTES`].
    pub quota_bytes: u64,
    /// [`LOGS_MAX`].
    pub logs: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            sessions: SESSIONS_MAX,
            sessions_bytes: SESSIONS_BYTES_MAX,
            history_bytes: HISTORY_BYTES_MAX,
            history_revisions: HISTORY_REVISIONS_MAX,
            quota_bytes: QUOTA_BYTES,
            logs: LOGS_MAX,
        }
    }
}

/// What one version counts: key, value, and [`ITEM_BYTES`].
pub(crate) fn cost(key: &[u8], value_bytes: usize) -> u64 {
    (key.len() + value_bytes) as u64 + ITEM_BYTES
}
