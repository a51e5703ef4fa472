//! The replicated state: a multi-version keyspace, message logs and sessions, deterministic.
//!
//! A [`Store`] executes the log's entries. The same log gives the same state, outcomes, hash and checkpoint bytes on
//! every member, however execution, commit and rollback were interleaved on the way.
//!
//! What it refuses to do: input, output, waiting, or anything that depends on a clock, on chance, or on the order of a
//! hash table.

mod blocks;
mod bug;
mod checkpoint;
mod command;
mod digest;
mod history;
mod item;
mod keyspace;
mod limits;
mod logs;
mod outcome;
mod packed;
mod read;
mod reserved;
mod restore;
#[cfg(test)]
mod script;
mod sessions;
mod store;
mod transaction;
mod tree;
mod undo;
mod version;

#[cfg(feature = "seeded-bugs")]
pub use bug::Bug;
pub use checkpoint::CheckpointCursor;
pub use command::{
    CodecError, Command, Compare, Expect, Keys, Operation, Relation, SessionId, Stamp, Target, Txn,
    TxnOperation,
};
pub use item::{Event, KeyValue, Revision};
pub use limits::{
    DEDUPLICATION_WINDOW, DEDUPLICATION_WINDOW_MAX, HISTORY_BYTES_MAX, HISTORY_REVISIONS_MAX, ITEM_BYTES,
    KEY_BYTES_MAX, LOG_NAME_BYTES_MAX, LOGS_MAX, Limits, MESSAGE_BYTES, MESSAGE_BYTES_MAX,
    MESSAGE_KEY_BYTES_MAX, MESSAGES_BYTES_MAX, QUOTA_BYTES, RANGE_BYTES_MAX, SESSIONS_BYTES_MAX,
    SESSIONS_MAX, TXN_OPERATIONS_MAX, TXN_RESULT_BYTES_MAX, VALUE_BYTES_MAX,
};
pub use logs::{
    Append, Deduplication, LogError, LogSettings, LogState, Message, MessageHash, MessagesPage,
    MessagesQuery, Sequence, Setting,
};
pub use outcome::{Outcome, Reason, TxnResult};
pub use read::{Range, RangeQuery, ReadError, View};
pub use reserved::{RESERVED, covers, is_reserved};
pub use restore::{Decoded, Restore, RestoreError};
pub use store::{Statistics, Store};
