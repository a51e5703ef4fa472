//! What a log entry asks the state to do, and its bytes: [`Command`].
//!
//! The codec refuses to judge what a command asks for: sizes, preconditions and sessions are looked at when it is
//! executed, on every member alike.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{Append, LogSettings, Revision, Sequence};

/// The first byte of an encoded command of the keyspace. A change that older members cannot execute takes the next
/// number.
const KEYSPACE_VERSION: u8 = 1;

/// The first byte of an encoded command of the message logs, which came later.
const LOGS_VERSION: u8 = 2;

/// A client's session: drawn at random by the client, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionId(pub u128);

/// Makes a command apply at most once, however often it is sent.
///
/// A session has one command under way at a time: whoever sends a higher sequence gives up asking about the lower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Whose command it is.
    pub session: SessionId,
    /// The command's number in the session. 1 opens the session; each new command has a higher one.
    pub sequence: u64,
}

/// One command. `B` holds keys and values: [`Bytes`], or slices of the entry while it is executed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command<B = Bytes> {
    /// `None`: sent twice, the command is applied twice.
    pub session: Option<Stamp>,
    /// What to do.
    pub operation: Operation<B>,
}

/// What a command does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation<B = Bytes> {
    /// Give a key a value.
    Put {
        /// The key.
        key: B,
        /// The value.
        value: B,
        /// What must hold for it.
        expect: Expect,
    },
    /// Delete a key. Deleting what does not exist does nothing and succeeds.
    Delete {
        /// The key.
        key: B,
        /// What must hold for it.
        expect: Expect,
    },
    /// Compare, then do one of two lists of operations, at one revision.
    Txn(Txn<B>),
    /// Forget what was superseded at this revision or before.
    Compact {
        /// The oldest revision that can be read afterwards.
        revision: Revision,
    },
    /// Add a message to the end of a log.
    Append(Append<B>),
    /// Give a log other settings; makes it if it does not exist.
    ConfigureLog {
        /// The log's name.
        log: B,
        /// All of its settings.
        settings: LogSettings,
    },
    /// Forget a log and everything in it. If it is made again, its sequence begins at 1 again.
    DeleteLog {
        /// The log's name.
        log: B,
    },
    /// Forget messages of a log. What was there before is done already.
    TrimLog {
        /// The log's name.
        log: B,
        /// The first one that stays, at most the one that comes next.
        before: Sequence,
    },
}

/// What must hold for a key before it is changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expect {
    /// Anything.
    #[default]
    Any,
    /// The key does not exist.
    Absent,
    /// The key exists and was last put by this revision.
    Revision(Revision),
}

/// A transaction. Its writes share one revision; an operation sees those before it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Txn<B = Bytes> {
    /// `success` is done if all of these hold, or if there are none.
    pub compare: Vec<Compare<B>>,
    /// Done if the comparisons hold. No key may be put twice, or put and deleted.
    pub success: Vec<TxnOperation<B>>,
    /// Done if one does not hold; the same rule.
    pub failure: Vec<TxnOperation<B>>,
}

/// One comparison: "the key's `target` is `relation` than/to the operand".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compare<B = Bytes> {
    /// The key.
    pub key: B,
    /// How.
    pub relation: Relation,
    /// What of the key, and the operand.
    pub target: Target<B>,
}

/// How two values are compared. Byte strings compare bytewise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Relation {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `>`
    Greater,
}

/// What of a key is compared. A key that does not exist has version, creation and modification 0, and no value: no
/// comparison of values holds for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target<B = Bytes> {
    /// How often the key was put since it was created.
    Version(u64),
    /// The revision that created it.
    Created(Revision),
    /// The revision that last put it.
    Modified(Revision),
    /// Its value.
    Value(B),
}

/// One operation of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TxnOperation<B = Bytes> {
    /// Give a key a value.
    Put {
        /// The key.
        key: B,
        /// The value.
        value: B,
    },
    /// Delete keys.
    Delete(Keys<B>),
    /// Read keys.
    Get {
        /// Which.
        keys: Keys<B>,
        /// Most items in the answer.
        limit: u64,
    },
}

/// One key, or many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Keys<B = Bytes> {
    /// This key.
    Key(B),
    /// Every key that begins so; empty for all that are not reserved.
    Prefix(B),
}

/// Why some bytes are not a command, or not an outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// There are no bytes.
    #[error("there are no bytes")]
    Empty,
    /// They were made by another version.
    #[error("encoding {found} is not known to this version, which knows up to {known}")]
    Version {
        /// What the bytes say.
        found: u8,
        /// The latest that this version reads.
        known: u8,
    },
    /// They do not decode.
    #[error("they do not decode")]
    Encoding(#[source] postcard::Error),
    /// More follows after the end.
    #[error("{bytes} bytes follow after the end")]
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// A stamp's sequence is 0; the first is 1.
    #[error("a sequence is 0; the first is 1")]
    Sequence,
    /// The operation has another encoding.
    #[error("encoding {found} has no such operation")]
    Operation {
        /// What the bytes say.
        found: u8,
    },
}

impl<B> Operation<B> {
    /// The first byte of its encoding.
    fn version(&self) -> u8 {
        match self {
            Operation::Put { .. }
            | Operation::Delete { .. }
            | Operation::Txn(_)
            | Operation::Compact { .. } => KEYSPACE_VERSION,
            Operation::Append(_)
            | Operation::ConfigureLog { .. }
            | Operation::DeleteLog { .. }
            | Operation::TrimLog { .. } => LOGS_VERSION,
        }
    }
}

impl Command {
    /// A command without a session.
    pub fn new(operation: Operation) -> Command {
        Command { session: None, operation }
    }

    /// The same command in a session.
    pub fn stamped(self, session: SessionId, sequence: u64) -> Command {
        Command { session: Some(Stamp { session, sequence }), ..self }
    }

    /// The command's bytes: the payload of its log entry.
    pub fn encode(&self) -> Bytes {
        encode(self.operation.version(), self)
    }

    /// As [`Command::encode`], behind what `before` holds already: commands that come together share one piece of memory.
    pub fn encode_after(&self, mut before: Vec<u8>) -> Vec<u8> {
        before.push(self.operation.version());
        postcard::to_extend(self, before).expect("these types have nothing that postcard refuses")
    }

    /// The command that these bytes are. Keys and values are copied: a slice would keep the whole network frame that
    /// the entry came in alive for as long as the key lives.
    ///
    /// # Errors
    ///
    /// [`CodecError`]
    pub fn decode(bytes: &[u8]) -> Result<Command, CodecError> {
        checked(bytes)
    }
}

impl<'a> Command<&'a [u8]> {
    /// The command that these bytes are, with slices of them: it is executed without copying what is not kept.
    pub(crate) fn borrowed(bytes: &'a [u8]) -> Result<Command<&'a [u8]>, CodecError> {
        checked(bytes)
    }
}

fn checked<'a, B: Deserialize<'a>>(bytes: &'a [u8]) -> Result<Command<B>, CodecError> {
    let (found, known) = (*bytes.first().ok_or(CodecError::Empty)?, LOGS_VERSION);
    if !(KEYSPACE_VERSION..=known).contains(&found) {
        return Err(CodecError::Version { found, known });
    }
    let command: Command<B> = decode(found, bytes)?;
    match command.session {
        _ if command.operation.version() != found => Err(CodecError::Operation { found }),
        Some(Stamp { sequence: 0, .. }) => Err(CodecError::Sequence),
        _ => Ok(command),
    }
}

/// A version byte, then postcard.
pub(crate) fn encode<T: Serialize>(version: u8, value: &T) -> Bytes {
    let bytes =
        postcard::to_extend(value, vec![version]).expect("these types have nothing that postcard refuses");
    Bytes::from(bytes)
}

/// The reverse of [`encode`].
pub(crate) fn decode<'a, T: Deserialize<'a>>(known: u8, bytes: &'a [u8]) -> Result<T, CodecError> {
    let (&found, body) = bytes.split_first().ok_or(CodecError::Empty)?;
    if found != known {
        return Err(CodecError::Version { found, known });
    }
    let (value, rest) = postcard::take_from_bytes(body).map_err(CodecError::Encoding)?;
    if !rest.is_empty() {
        return Err(CodecError::Trailing { bytes: rest.len() });
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Deduplication;

    fn key(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    fn commands() -> Vec<Command> {
        let everything = Txn {
            compare: vec![
                Compare { key: key("a"), relation: Relation::Equal, target: Target::Version(1) },
                Compare {
                    key: key("b"),
                    relation: Relation::NotEqual,
                    target: Target::Created(Revision(300)),
                },
                Compare { key: key("c"), relation: Relation::Less, target: Target::Modified(Revision(2)) },
                Compare { key: key("d"), relation: Relation::Greater, target: Target::Value(key("x")) },
            ],
            success: vec![
                TxnOperation::Put { key: key("a"), value: key("1") },
                TxnOperation::Delete(Keys::Prefix(Bytes::new())),
            ],
            failure: vec![TxnOperation::Get { keys: Keys::Key(key("a")), limit: u64::MAX }],
        };
        vec![
            Command::new(Operation::Put { key: key("k"), value: key("v"), expect: Expect::Any }),
            Command::new(Operation::Delete { key: key("k"), expect: Expect::Absent })
                .stamped(SessionId(7), 1),
            Command::new(Operation::Delete { key: key("k"), expect: Expect::Revision(Revision(9)) })
                .stamped(SessionId(u128::MAX), u64::MAX),
            Command::new(Operation::Txn(everything)),
            Command::new(Operation::Compact { revision: Revision(12) }),
            Command::new(Operation::Append(Append {
                log: key("l"),
                message: key("m"),
                key: None,
                time_ms: 300,
                attempt: 7,
            })),
            Command::new(Operation::Append(Append {
                log: key("l"),
                message: key(""),
                key: Some(key("k")),
                time_ms: u64::MAX,
                attempt: u64::MAX,
            }))
            .stamped(SessionId(7), 1),
            Command::new(Operation::ConfigureLog { log: key("l"), settings: LogSettings::default() }),
            Command::new(Operation::ConfigureLog {
                log: key("l"),
                settings: LogSettings {
                    deduplication: Deduplication::Key,
                    deduplication_window: 2,
                    retain_messages: Some(3),
                    retain_ms: Some(4),
                    retain_bytes: Some(5),
                },
            }),
            Command::new(Operation::DeleteLog { log: key("l") }),
            Command::new(Operation::TrimLog { log: key("l"), before: Sequence(9) }),
        ]
    }

    #[test]
    fn what_was_encoded_decodes_and_nothing_else_does() {
        for command in commands() {
            let bytes = command.encode();
            assert_eq!(Command::decode(&bytes), Ok(command.clone()));
            assert_eq!(command.encode_after(b"before".to_vec()), [b"before", &bytes[..]].concat());
            for length in 0..bytes.len() {
                assert!(Command::decode(&bytes[..length]).is_err(), "{command:?} cut to {length} bytes");
            }
            let longer = [&bytes[..], b"!"].concat();
            assert_eq!(Command::decode(&longer), Err(CodecError::Trailing { bytes: 1 }));
        }
    }

    #[test]
    fn no_byte_string_makes_decoding_panic() {
        for command in commands() {
            let bytes = command.encode();
            for at in 0..bytes.len() {
                for byte in 0..=255 {
                    let mut mutated = bytes.to_vec();
                    mutated[at] = byte;
                    // Some mutations are other commands, and these must survive the way back.
                    if let Ok(other) = Command::decode(&mutated) {
                        assert_eq!(Command::decode(&other.encode()), Ok(other));
                    }
                }
            }
        }
    }

    #[test]
    fn the_bytes_stay_what_they_are() {
        let put = &commands()[0];
        assert_eq!(&put.encode()[..], [1, 0, 0, 1, b'k', 1, b'v', 0]);
        let stamped = &commands()[1];
        assert_eq!(&stamped.encode()[..], [1, 1, 7, 1, 1, 1, b'k', 1]);
        let logs: [&[u8]; 6] = [
            &[2, 0, 4, 1, b'l', 1, b'm', 0, 0xac, 2, 7],
            &[&[2, 1, 7, 1, 4, 1, b'l', 0, 1, 1, b'k'], &[0xff; 9][..], &[1], &[0xff; 9], &[1]].concat(),
            &[2, 0, 5, 1, b'l', 0, 0xc0, 0x84, 0x3d, 0, 0, 0],
            &[2, 0, 5, 1, b'l', 1, 2, 1, 3, 1, 4, 1, 5],
            &[2, 0, 6, 1, b'l'],
            &[2, 0, 7, 1, b'l', 9],
        ];
        for (command, bytes) in commands()[5..].iter().zip(logs) {
            assert_eq!(&command.encode()[..], bytes, "{command:?}");
        }
    }

    #[test]
    fn an_operation_has_one_encoding() {
        for command in commands() {
            let mut bytes = command.encode().to_vec();
            bytes[0] = 3 - bytes[0];
            assert_eq!(Command::decode(&bytes), Err(CodecError::Operation { found: bytes[0] }));
        }
    }

    #[test]
    fn other_versions_and_sequence_zero_are_told() {
        assert_eq!(Command::decode(b""), Err(CodecError::Empty));
        assert_eq!(Command::decode(b"\x03\x00"), Err(CodecError::Version { found: 3, known: 2 }));
        assert_eq!(Command::decode(b"\x00\x00"), Err(CodecError::Version { found: 0, known: 2 }));
        let command = commands()[0].clone().stamped(SessionId(1), 0);
        assert_eq!(Command::decode(&command.encode()), Err(CodecError::Sequence));
    }

    #[test]
    fn a_length_that_is_not_there_costs_no_memory() {
        // A put whose key claims 2⁶³ bytes, and a transaction that claims as many comparisons.
        for prefix in [&[1, 0, 0][..], &[1, 0, 2]] {
            let bytes = [prefix, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0]].concat();
            assert!(matches!(Command::decode(&bytes), Err(CodecError::Encoding(_))), "{bytes:?}");
        }
    }
}
