//! What a command did: [`Outcome`]. Every member computes the same one for the same log entry.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::command::{CodecError, decode, encode};
use crate::{KeyValue, MessageHash, Revision, Sequence, Setting};

/// The first byte of every encoded outcome.
const OUTCOME_VERSION: u8 = 1;

/// What a command did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The key has the value.
    Put {
        /// The revision that put it.
        revision: Revision,
        /// The revision that put the value before, if the key existed.
        previous: Option<Revision>,
    },
    /// The key does not exist.
    Deleted {
        /// The revision that deleted it; if it did not exist, the one that the store is at.
        revision: Revision,
        /// How many keys were deleted: 0 or 1.
        count: u64,
    },
    /// The transaction did one of its branches.
    Txn {
        /// The revision of its writes; if it wrote nothing, the one that the store is at.
        revision: Revision,
        /// Whether the comparisons held, and so which branch was done.
        succeeded: bool,
        /// One for each operation of that branch.
        results: Vec<TxnResult>,
    },
    /// The history is compacted.
    Compacted {
        /// The oldest revision that can be read.
        revision: Revision,
    },
    /// The command did nothing.
    Refused(Reason),
    /// The message is in the log, once. Also for another try of the same attempt.
    Appended {
        /// Its place.
        sequence: Sequence,
        /// When it was taken, in milliseconds since 1970; never less than the one before has.
        time_ms: u64,
        /// Of its bytes.
        hash: MessageHash,
    },
    /// The message is in the log already: by another attempt, within the log's window.
    Duplicate {
        /// Its place.
        sequence: Sequence,
        /// When it was taken.
        time_ms: u64,
        /// Of its bytes.
        hash: MessageHash,
    },
    /// The log has the settings.
    LogConfigured {
        /// Whether it did not exist before.
        created: bool,
        /// Its first message that can be read, after what the settings made it forget.
        first: Sequence,
        /// The sequence of the next message.
        next: Sequence,
    },
    /// The log does not exist any more.
    LogDeleted {
        /// How many messages could be read in it.
        messages: u64,
    },
    /// The log has no message before this one.
    LogTrimmed {
        /// Its first message that can be read.
        first: Sequence,
    },
}

/// What one operation of a transaction did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TxnResult {
    /// The key has the value.
    Put {
        /// The revision that put the value before, if the key existed.
        previous: Option<Revision>,
    },
    /// The keys do not exist.
    Deleted {
        /// How many there were.
        count: u64,
    },
    /// The keys that were asked for.
    Got {
        /// In order.
        items: Vec<KeyValue>,
        /// Whether the limit left some out.
        more: bool,
    },
}

/// Why a command did nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Reason {
    /// The key is not as expected.
    #[error("the key is not as expected")]
    PreconditionFailed {
        /// The revision that last put the key; `None`: it does not exist.
        actual: Option<Revision>,
    },
    /// A key has no bytes.
    #[error("a key has no bytes")]
    KeyEmpty,
    /// A key or prefix is longer than `KEY_BYTES_MAX`.
    #[error("a key of {bytes} bytes is too long")]
    KeyTooLarge {
        /// How long it is.
        bytes: u64,
    },
    /// A value is longer than `VALUE_BYTES_MAX`.
    #[error("a value of {bytes} bytes is too long")]
    ValueTooLarge {
        /// How long it is.
        bytes: u64,
    },
    /// A transaction has more than `TXN_OPERATIONS_MAX` comparisons or operations in one list.
    #[error("{operations} operations are too many for one transaction")]
    TooManyOperations {
        /// How many there are.
        operations: u64,
    },
    /// A branch of a transaction puts a key twice, or puts and deletes it.
    #[error("a transaction changes one key twice")]
    DuplicateKey {
        /// The key.
        key: Bytes,
    },
    /// What a transaction reads is more than `TXN_RESULT_BYTES_MAX`.
    #[error("a transaction reads more than fits into its answer")]
    ResultTooLarge,
    /// The store is full: only what does not make it larger is taken.
    #[error("the store is full")]
    QuotaExceeded {
        /// How many bytes live keys and values may have.
        quota: u64,
    },
    /// The session is not known, or not any more: whether an earlier attempt took effect cannot be told.
    #[error("the session is not known any more")]
    SessionExpired,
    /// The session has gone on to a later command.
    #[error("the session is at sequence {last} already")]
    StaleSequence {
        /// Its latest sequence.
        last: u64,
    },
    /// The revision to compact to is compacted already.
    #[error("revision {compacted} is compacted already")]
    Compacted {
        /// The oldest revision that can be read.
        compacted: Revision,
    },
    /// The revision does not exist yet.
    #[error("the store is at revision {current}")]
    FutureRevision {
        /// The revision that the store is at.
        current: Revision,
    },
    /// The bytes are not a command of this version.
    #[error("the bytes are not a command")]
    Malformed,
    /// A log's name is not one.
    #[error("a log's name is 1 to 128 of a-z, A-Z, 0-9, '-', '_', '.', and not '.' or '..'")]
    LogNameInvalid,
    /// There is no such log.
    #[error("there is no such log")]
    LogNotFound,
    /// There are as many logs as there may be.
    #[error("there are {logs} logs, and no more are possible")]
    TooManyLogs {
        /// How many.
        logs: u64,
    },
    /// A message is longer than `MESSAGE_BYTES_MAX`.
    #[error("a message of {bytes} bytes is too long")]
    MessageTooLarge {
        /// How long it is.
        bytes: u64,
    },
    /// A message's key is empty, or longer than `MESSAGE_KEY_BYTES_MAX`.
    #[error("a message's key has 1 to 256 bytes, not {bytes}")]
    MessageKeyInvalid {
        /// How long it is.
        bytes: u64,
    },
    /// The key came with another message, within the log's window.
    #[error("the key was used for another message, which is at {sequence}")]
    KeyReused {
        /// Where that message is.
        sequence: Sequence,
    },
    /// A setting of a log has a value that it cannot have.
    #[error("{setting} cannot have that value")]
    LogSettingInvalid {
        /// Which.
        setting: Setting,
    },
    /// The log is to be trimmed to where it has not come yet.
    #[error("the next message of the log is {next}")]
    FutureSequence {
        /// The sequence of the next message.
        next: Sequence,
    },
}

impl Outcome {
    /// The outcome's bytes.
    pub fn encode(&self) -> Bytes {
        encode(OUTCOME_VERSION, self)
    }

    /// The outcome that these bytes are.
    ///
    /// # Errors
    ///
    /// [`CodecError`]
    pub fn decode(bytes: &[u8]) -> Result<Outcome, CodecError> {
        decode(OUTCOME_VERSION, bytes)
    }

    /// Why nothing was done, if so.
    pub fn refusal(&self) -> Option<&Reason> {
        match self {
            Outcome::Refused(reason) => Some(reason),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes() -> Vec<Outcome> {
        let item = KeyValue {
            key: Bytes::from_static(b"k"),
            value: Bytes::from_static(b"v"),
            create_revision: Revision(2),
            mod_revision: Revision(300),
            version: 3,
        };
        let results = vec![
            TxnResult::Put { previous: Some(Revision(4)) },
            TxnResult::Deleted { count: 1_000 },
            TxnResult::Got { items: vec![item.clone(), item], more: true },
        ];
        vec![
            Outcome::Put { revision: Revision(5), previous: None },
            Outcome::Deleted { revision: Revision(5), count: 0 },
            Outcome::Txn { revision: Revision(5), succeeded: false, results },
            Outcome::Compacted { revision: Revision(5) },
            Outcome::Refused(Reason::PreconditionFailed { actual: Some(Revision(3)) }),
            Outcome::Refused(Reason::DuplicateKey { key: Bytes::from_static(b"twice") }),
            Outcome::Refused(Reason::Malformed),
            Outcome::Appended { sequence: Sequence(300), time_ms: 7, hash: MessageHash([9; 32]) },
            Outcome::Duplicate { sequence: Sequence(1), time_ms: 0, hash: MessageHash([0xff; 32]) },
            Outcome::LogConfigured { created: true, first: Sequence(1), next: Sequence(2) },
            Outcome::LogDeleted { messages: 2 },
            Outcome::LogTrimmed { first: Sequence(3) },
            Outcome::Refused(Reason::LogNameInvalid),
            Outcome::Refused(Reason::FutureSequence { next: Sequence(5) }),
        ]
    }

    #[test]
    fn the_bytes_stay_what_they_are() {
        let hash = [9; 32];
        let bytes: [&[u8]; 14] = [
            &[1, 0, 5, 0],
            &[1, 1, 5, 0],
            &[
                1, 2, 5, 0, 3, 0, 1, 4, 1, 0xe8, 7, 2, 2, 1, b'k', 1, b'v', 2, 0xac, 2, 3, 1, b'k', 1, b'v',
                2, 0xac, 2, 3, 1,
            ],
            &[1, 3, 5],
            &[1, 4, 0, 1, 3],
            &[1, 4, 5, 5, b't', b'w', b'i', b'c', b'e'],
            &[1, 4, 12],
            &[&[1, 5, 0xac, 2, 7], &hash[..]].concat(),
            &[&[1, 6, 1, 0][..], &[0xff; 32]].concat(),
            &[1, 7, 1, 1, 2],
            &[1, 8, 2],
            &[1, 9, 3],
            &[1, 4, 13],
            &[1, 4, 20, 5],
        ];
        for (outcome, bytes) in outcomes().iter().zip(bytes) {
            assert_eq!(&outcome.encode()[..], bytes, "{outcome:?}");
        }
    }

    #[test]
    fn what_was_encoded_decodes_and_no_part_of_it_does() {
        for outcome in outcomes() {
            let bytes = outcome.encode();
            assert_eq!(Outcome::decode(&bytes), Ok(outcome.clone()));
            for length in 0..bytes.len() {
                assert!(Outcome::decode(&bytes[..length]).is_err(), "{outcome:?} cut to {length} bytes");
            }
        }
    }

    #[test]
    fn only_a_refusal_has_a_reason() {
        let refused = outcomes().iter().filter(|outcome| outcome.refusal().is_some()).count();
        assert_eq!(refused, 5);
    }
}
