//! What a command did: [`Outcome`]. Every member computes the same one for the same log entry.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::command::{CodecError, decode, encode};
use crate::{KeyValue, Revision};

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
        ]
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
        assert_eq!(refused, 3);
    }
}
