//! How a connection begins: [`Greeting`]s, by which both sides find out whether they should talk at all.
//!
//! A greeting is `magic 8 | length u16 | kind u8 | version u16 | version_min u16 | body`, integers little-endian;
//! `length` counts from `kind`. The part before the body never changes, so that members of any two versions can tell
//! that they do not understand each other. The dialing side sends a [`Hello`]; the other answers with its own, or
//! says why it turns the caller away.

use bytes::{Buf, BufMut, BytesMut};
use holdfast_engine::{MemberId, Ordinal, Position, StoreId};
use serde::{Deserialize, Serialize};

/// The version of greetings and frames that this code speaks.
pub const VERSION: u16 = 1;

/// The oldest version that this code still speaks.
pub const VERSION_MIN: u16 = 1;

/// Longest greeting: its fields, and a store's name of the greatest length, with room to grow.
pub const HELLO_BYTES_MAX: usize = 1024;

/// Longest name of a store, `namespace/name`: Kubernetes allows 63 and 253 characters.
pub const STORE_NAME_BYTES_MAX: usize = 63 + 1 + 253;

/// What every greeting begins with. The line break makes a connection that was mangled as text show at once.
const MAGIC: [u8; 8] = *b"HOLDFAS\n";

/// Bytes before those that the length counts.
const PREFIX_BYTES: usize = MAGIC.len() + 2;

/// Bytes of kind and versions.
const FIXED_BYTES: usize = 5;

/// Who is calling, or answering, and what for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The store's name, `namespace/name`, at most [`STORE_NAME_BYTES_MAX`] bytes.
    pub store: String,
    /// Which store of that name, once the sender knows: a store that was deleted and made again is another one.
    pub store_id: Option<StoreId>,
    /// The sender.
    pub member: MemberId,
    /// Drawn at the start of the sender's process: tells a new connection of the same process from a new process.
    pub process: u64,
    /// What the connection is for; the answer repeats it.
    pub purpose: Purpose,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// The caller sends messages, requests and their answers; pings are answered.
    Replication,
    /// The caller wants this checkpoint, in pieces, and nothing else.
    CheckpointFetch {
        /// The last entry that it covers.
        position: Position,
    },
    /// The caller repairs its log and asks for entries.
    Repair,
    /// The caller has to do with the bytes of files: [`crate::files`] follows, and no frames.
    Files,
}

/// Why a caller is turned away; the texts are for the caller's log, and "it" is who turned it away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum TurnedAway {
    /// The caller belongs to another store.
    #[error("it is a member of the store {store}")]
    OtherStore {
        /// Whose member this is.
        store: String,
    },
    /// A store of the same name, but not the same one.
    #[error("its store is {store}, formed apart from this one although it has the same name")]
    OtherFormation {
        /// Whose member this is.
        store: StoreId,
    },
    /// No member can have the caller's ordinal.
    #[error("it takes members with ordinals below {members}, and not {ordinal}")]
    NoSuchOrdinal {
        /// Whom the caller claims to be.
        ordinal: Ordinal,
        /// How many ordinals there are.
        members: u8,
    },
    /// The caller claims to be whom it called.
    #[error("it is ordinal {ordinal} itself")]
    OwnOrdinal {
        /// Whom the caller claims to be.
        ordinal: Ordinal,
    },
    /// The versions do not overlap.
    #[error("it speaks versions {min} to {max}")]
    Version {
        /// The oldest that it speaks.
        min: u16,
        /// The newest that it speaks.
        max: u16,
    },
    /// The checkpoint that was asked for is not here, or not any more.
    #[error("it does not have the checkpoint at {position}")]
    NoCheckpoint {
        /// What was asked for.
        position: Position,
    },
    /// Too many connections of this kind.
    #[error("it has too many connections of this kind")]
    Busy,
    /// Its disk is damaged, and until it is repaired it takes no part in replication.
    #[error("it is repairing its disk")]
    Repairing,
}

/// The first thing that each side says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Greeting {
    /// Who the sender is.
    Hello(Hello),
    /// The sender will close the connection, and why.
    TurnedAway(TurnedAway),
}

/// Why some bytes are no greeting that this version understands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GreetingError {
    /// Whoever is there speaks something else.
    #[error("what came is not from a member of any store")]
    Magic,
    /// The length lies outside what a greeting can have.
    #[error("a greeting cannot be {length} bytes long")]
    Length {
        /// What the peer claims.
        length: usize,
    },
    /// The versions do not overlap.
    #[error("the peer speaks versions {min} to {max}, this member {VERSION_MIN} to {VERSION}")]
    Version {
        /// The oldest that the peer speaks.
        min: u16,
        /// The newest that the peer speaks.
        max: u16,
    },
    /// The body is not what the version says.
    #[error("the greeting is malformed")]
    Malformed,
}

const KIND_HELLO: u8 = 1;
const KIND_TURNED_AWAY: u8 = 2;

impl Greeting {
    /// Append the greeting to `out`.
    ///
    /// # Panics
    ///
    /// If the store's name is longer than [`STORE_NAME_BYTES_MAX`]; settings are checked before they get here.
    pub fn encode(&self, out: &mut BytesMut) {
        let (kind, body) = match self {
            Greeting::Hello(hello) => {
                assert!(hello.store.len() <= STORE_NAME_BYTES_MAX, "name of {} bytes", hello.store.len());
                (KIND_HELLO, postcard::to_allocvec(hello))
            }
            Greeting::TurnedAway(why) => (KIND_TURNED_AWAY, postcard::to_allocvec(why)),
        };
        let body = body.expect("greetings are plain data");
        out.put_slice(&MAGIC);
        out.put_u16_le((FIXED_BYTES + body.len()) as u16);
        out.put_u8(kind);
        out.put_u16_le(VERSION);
        out.put_u16_le(VERSION_MIN);
        out.put_slice(&body);
    }

    /// Take the greeting at the start of `read` off it; `None` while it is not complete. Whatever follows it stays.
    ///
    /// # Errors
    ///
    /// [`GreetingError`], as soon as the bytes that are there cannot become a greeting.
    pub fn decode(read: &mut BytesMut) -> Result<Option<Greeting>, GreetingError> {
        let known = read.len().min(MAGIC.len());
        if read[..known] != MAGIC[..known] {
            return Err(GreetingError::Magic);
        }
        if read.len() < PREFIX_BYTES {
            return Ok(None);
        }
        let length = usize::from(u16::from_le_bytes([read[MAGIC.len()], read[MAGIC.len() + 1]]));
        if !(FIXED_BYTES..=HELLO_BYTES_MAX - PREFIX_BYTES).contains(&length) {
            return Err(GreetingError::Length { length });
        }
        if read.len() < PREFIX_BYTES + length {
            return Ok(None);
        }
        read.advance(PREFIX_BYTES);
        let mut greeting = read.split_to(length);
        let (kind, max, min) = (greeting.get_u8(), greeting.get_u16_le(), greeting.get_u16_le());
        match kind {
            // A refusal is read whatever the version: it may be the very reason.
            KIND_TURNED_AWAY => body(&greeting).map(|why| Some(Greeting::TurnedAway(why))),
            _ if min > VERSION || max < VERSION_MIN => Err(GreetingError::Version { min, max }),
            KIND_HELLO => match body::<Hello>(&greeting)? {
                hello if hello.store.len() > STORE_NAME_BYTES_MAX => Err(GreetingError::Malformed),
                hello => Ok(Some(Greeting::Hello(hello))),
            },
            _ => Err(GreetingError::Malformed),
        }
    }
}

/// A body may be longer than this version knows: later ones add fields at the end.
fn body<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, GreetingError> {
    postcard::take_from_bytes(bytes).map(|(body, _)| body).map_err(|_| GreetingError::Malformed)
}

#[cfg(test)]
mod tests {
    use holdfast_engine::{Incarnation, Index, Term};

    use super::*;

    fn hello(purpose: Purpose) -> Greeting {
        Greeting::Hello(Hello {
            store: "default/orders".to_owned(),
            store_id: Some(StoreId(7)),
            member: MemberId { ordinal: Ordinal(2), incarnation: Incarnation(u64::MAX) },
            process: 99,
            purpose,
        })
    }

    fn samples() -> Vec<Greeting> {
        let position = Position::new(Term(3), Index(9));
        vec![
            hello(Purpose::Replication),
            hello(Purpose::CheckpointFetch { position }),
            hello(Purpose::Repair),
            hello(Purpose::Files),
            Greeting::TurnedAway(TurnedAway::OtherStore { store: "a/b".to_owned() }),
            Greeting::TurnedAway(TurnedAway::OtherFormation { store: StoreId(u128::MAX) }),
            Greeting::TurnedAway(TurnedAway::NoSuchOrdinal { ordinal: Ordinal(9), members: 3 }),
            Greeting::TurnedAway(TurnedAway::OwnOrdinal { ordinal: Ordinal(1) }),
            Greeting::TurnedAway(TurnedAway::Version { min: 1, max: 9 }),
            Greeting::TurnedAway(TurnedAway::NoCheckpoint { position }),
            Greeting::TurnedAway(TurnedAway::Busy),
            Greeting::TurnedAway(TurnedAway::Repairing),
        ]
    }

    fn encoded(greeting: &Greeting) -> BytesMut {
        let mut bytes = BytesMut::new();
        greeting.encode(&mut bytes);
        bytes
    }

    #[test]
    fn a_greeting_reads_back_and_leaves_what_follows() {
        for greeting in samples() {
            let mut bytes = encoded(&greeting);
            assert!(bytes.len() <= HELLO_BYTES_MAX, "{greeting:?}");
            for length in 0..bytes.len() {
                assert_eq!(
                    Greeting::decode(&mut BytesMut::from(&bytes[..length])),
                    Ok(None),
                    "{length} bytes"
                );
            }
            bytes.put_slice(b"next");
            assert_eq!(Greeting::decode(&mut bytes), Ok(Some(greeting)));
            assert_eq!(&bytes[..], b"next");
        }
    }

    #[test]
    fn the_longest_name_fits() {
        let Greeting::Hello(mut longest) = hello(Purpose::Replication) else { unreachable!() };
        longest.store = "x".repeat(STORE_NAME_BYTES_MAX);
        let greeting = Greeting::Hello(longest);
        assert_eq!(Greeting::decode(&mut encoded(&greeting)), Ok(Some(greeting)));
    }

    #[test]
    fn other_protocols_are_refused_at_their_first_byte() {
        for bytes in [&b"G"[..], b"GET / HTTP/1.1\r\n", &[0; 3], &[0x16, 3, 1], b"HOLDFAST"] {
            assert_eq!(Greeting::decode(&mut BytesMut::from(bytes)), Err(GreetingError::Magic), "{bytes:?}");
        }
    }

    #[test]
    fn versions_that_do_not_overlap_are_told_apart_from_nonsense() {
        let mut newer = encoded(&hello(Purpose::Replication));
        newer[11..15].copy_from_slice(&[9, 0, 8, 0]);
        assert_eq!(Greeting::decode(&mut newer), Err(GreetingError::Version { min: 8, max: 9 }));
        let mut refusal = encoded(&Greeting::TurnedAway(TurnedAway::Version { min: 1, max: 9 }));
        refusal[11..15].copy_from_slice(&[9, 0, 8, 0]);
        let read = Greeting::decode(&mut refusal);
        assert_eq!(
            read,
            Ok(Some(Greeting::TurnedAway(TurnedAway::Version { min: 1, max: 9 }))),
            "a refusal is always read"
        );
    }

    #[test]
    fn a_claimed_length_is_checked_before_it_is_waited_for() {
        for length in [0, 4, HELLO_BYTES_MAX as u16, u16::MAX] {
            let mut bytes = BytesMut::from(&MAGIC[..]);
            bytes.put_u16_le(length);
            let read = Greeting::decode(&mut bytes);
            assert_eq!(read, Err(GreetingError::Length { length: usize::from(length) }));
        }
    }

    #[test]
    fn no_mutation_panics() {
        for greeting in samples() {
            let bytes = encoded(&greeting);
            for at in 0..bytes.len() {
                for value in 0..=u8::MAX {
                    let mut mutated = bytes.clone();
                    mutated[at] = value;
                    let _ = Greeting::decode(&mut mutated);
                }
            }
        }
    }
}
