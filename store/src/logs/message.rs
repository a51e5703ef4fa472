//! Messages as clients give and get them: [`Append`], [`Sequence`], [`MessageHash`], [`Message`].
//!
//! It refuses to know what a message means: it is bytes.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A place in a log. The first message has 1, each further one the next; 0 stands before everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Sequence(pub u64);

impl Sequence {
    /// Of the first message of every log.
    pub const FIRST: Sequence = Sequence(1);

    /// The place after this one.
    pub fn next(self) -> Sequence {
        Sequence(self.0 + 1)
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// SHA-256 of a message.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MessageHash(pub [u8; 32]);

impl MessageHash {
    /// Of these bytes.
    pub fn of(message: &[u8]) -> MessageHash {
        MessageHash(Sha256::digest(message).into())
    }
}

impl fmt::Display for MessageHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for MessageHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageHash({self})")
    }
}

/// One message that is to be added to a log. `B` holds its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Append<B = Bytes> {
    /// The log's name: 1 to [`LOG_NAME_BYTES_MAX`](crate::LOG_NAME_BYTES_MAX) ASCII letters, digits, `-`, `_`, `.`, and
    /// not `.` or `..`. A log that does not exist is made, with the default settings.
    pub log: B,
    /// The message, of up to [`MESSAGE_BYTES_MAX`](crate::MESSAGE_BYTES_MAX) bytes.
    pub message: B,
    /// The client's name for this message: 1 to [`MESSAGE_KEY_BYTES_MAX`](crate::MESSAGE_KEY_BYTES_MAX) bytes.
    pub key: Option<B>,
    /// Milliseconds since 1970, by the clock of the member that took it. The log goes by this or by the time of the
    /// message before, whichever is later.
    pub time_ms: u64,
    /// Drawn at random by whoever makes the command, and the same for every retry of it: tells a retry from a duplicate.
    pub attempt: u64,
}

/// One message as readers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its place.
    pub sequence: Sequence,
    /// When it was taken, in milliseconds since 1970; never less than the one before has.
    pub time_ms: u64,
    /// Of its bytes.
    pub hash: MessageHash,
    /// The client's name for it.
    pub key: Option<Bytes>,
    /// Its bytes.
    pub message: Bytes,
    /// Whether no failover can take it back.
    pub committed: bool,
}
