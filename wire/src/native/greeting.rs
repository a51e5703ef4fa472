//! How a client's connection begins: the client says which versions it speaks, the member which one it takes and what
//! it grants.
//!
//! Both greetings begin with the magic, a length and the versions; that part never changes, so that any two versions
//! can tell that they do not understand each other. What follows may grow at its end.

use bytes::{Buf, BufMut, BytesMut};
use holdfast_engine::{MemberId, Ordinal};

use super::fields::{ORDINAL_NONE, ordinal};
use crate::cursor::Cursor;
use crate::{FrameError, GreetingError};

/// The version of the clients' protocol that this code speaks.
pub const VERSION: u16 = 1;

/// The oldest version that this code still speaks.
pub const VERSION_MIN: u16 = 1;

/// Longest greeting, with room to grow.
pub const GREETING_BYTES_MAX: usize = 256;

/// What every connection of this protocol begins with: no letter, so no HTTP method, and no TLS record.
pub const FIRST_BYTE: u8 = 0x93;

/// The line break makes a connection that was mangled as text show at once.
const MAGIC: [u8; 8] = [FIRST_BYTE, b'H', b'F', b'C', b'L', b'T', b'\r', b'\n'];

/// Bytes before those that the length counts.
const PREFIX_BYTES: usize = MAGIC.len() + 2;

/// Bytes of kind and versions.
const FIXED_BYTES: usize = 5;

const KIND_HELLO: u8 = 1;
const KIND_WELCOME: u8 = 2;
const KIND_TURNED_AWAY: u8 = 3;

/// The first thing that a client says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientHello {
    /// The newest version that it speaks.
    pub version: u16,
    /// The oldest version that it speaks.
    pub version_min: u16,
}

/// The first thing that a member says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Greeting {
    /// Requests may follow.
    Welcome(Welcome),
    /// The versions do not overlap; the member speaks `[min, max]` and closes the connection.
    TurnedAway {
        /// The oldest.
        min: u16,
        /// The newest.
        max: u16,
    },
}

/// What a member tells a client about itself, and grants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The version that both speak from here on.
    pub version: u16,
    /// Who answers.
    pub member: MemberId,
    /// How many members the store has.
    pub members: u8,
    /// Who leads, if the member knows: asking it saves a hop.
    pub leader: Option<Ordinal>,
    /// Longest request, without its length.
    pub request_bytes_max: u32,
    /// Requests of one connection that the member works on at a time; it reads no further meanwhile.
    pub in_flight_max: u32,
}

impl ClientHello {
    /// The hello of this version.
    pub fn new() -> ClientHello {
        ClientHello { version: VERSION, version_min: VERSION_MIN }
    }

    /// Append the hello to `out`.
    pub fn encode(&self, out: &mut BytesMut) {
        put(out, KIND_HELLO, self.version, self.version_min, |_| {});
    }

    /// Take the hello at the start of `read` off it; `None` while it is not complete.
    ///
    /// # Errors
    ///
    /// [`GreetingError`], but never for the versions: whoever reads this answers with its own.
    pub fn decode(read: &mut BytesMut) -> Result<Option<ClientHello>, GreetingError> {
        match take(read)? {
            None => Ok(None),
            Some((KIND_HELLO, version, version_min, _)) => Ok(Some(ClientHello { version, version_min })),
            Some(_) => Err(GreetingError::Malformed),
        }
    }

    /// The newest version that both sides speak.
    pub fn common_version(&self) -> Option<u16> {
        let version = self.version.min(VERSION);
        (version >= self.version_min && version >= VERSION_MIN).then_some(version)
    }
}

impl Default for ClientHello {
    fn default() -> ClientHello {
        ClientHello::new()
    }
}

impl Greeting {
    /// Append the greeting to `out`.
    pub fn encode(&self, out: &mut BytesMut) {
        match *self {
            Greeting::TurnedAway { min, max } => put(out, KIND_TURNED_AWAY, max, min, |_| {}),
            Greeting::Welcome(welcome) => {
                put(out, KIND_WELCOME, welcome.version, welcome.version, |out| {
                    out.put_u8(welcome.member.ordinal.0);
                    out.put_u64_le(welcome.member.incarnation.0);
                    out.put_u8(welcome.members);
                    out.put_u8(welcome.leader.map_or(ORDINAL_NONE, |leader| leader.0));
                    out.put_u32_le(welcome.request_bytes_max);
                    out.put_u32_le(welcome.in_flight_max);
                });
            }
        }
    }

    /// Take the greeting at the start of `read` off it; `None` while it is not complete.
    ///
    /// # Errors
    ///
    /// [`GreetingError`]
    pub fn decode(read: &mut BytesMut) -> Result<Option<Greeting>, GreetingError> {
        let Some((kind, version, min, body)) = take(read)? else { return Ok(None) };
        match kind {
            KIND_TURNED_AWAY => Ok(Some(Greeting::TurnedAway { min, max: version })),
            KIND_WELCOME if !(VERSION_MIN..=VERSION).contains(&version) => {
                Err(GreetingError::Version { min, max: version })
            }
            KIND_WELCOME => welcome(version, body).map(Some).map_err(|_| GreetingError::Malformed),
            _ => Err(GreetingError::Malformed),
        }
    }
}

/// What follows is of a later version.
fn welcome(version: u16, mut body: Cursor) -> Result<Greeting, FrameError> {
    let b = &mut body;
    Ok(Greeting::Welcome(Welcome {
        version,
        member: b.member()?,
        members: b.u8()?,
        leader: ordinal(b)?,
        request_bytes_max: b.u32()?,
        in_flight_max: b.u32()?,
    }))
}

fn put(out: &mut BytesMut, kind: u8, version: u16, version_min: u16, body: impl FnOnce(&mut BytesMut)) {
    out.put_slice(&MAGIC);
    let start = out.len();
    out.put_u16_le(0); // the length, filled in below
    out.put_u8(kind);
    out.put_u16_le(version);
    out.put_u16_le(version_min);
    body(out);
    let length = (out.len() - start - 2) as u16;
    out[start..start + 2].copy_from_slice(&length.to_le_bytes());
}

/// Kind, versions and body of the greeting at the start of `read`.
fn take(read: &mut BytesMut) -> Result<Option<(u8, u16, u16, Cursor)>, GreetingError> {
    let known = read.len().min(MAGIC.len());
    if read[..known] != MAGIC[..known] {
        return Err(GreetingError::Magic);
    }
    let Some(prefix) = read.first_chunk::<PREFIX_BYTES>() else { return Ok(None) };
    let length = usize::from(u16::from_le_bytes([prefix[8], prefix[9]]));
    if !(FIXED_BYTES..=GREETING_BYTES_MAX - PREFIX_BYTES).contains(&length) {
        return Err(GreetingError::Length { length });
    }
    if read.len() < PREFIX_BYTES + length {
        return Ok(None);
    }
    read.advance(PREFIX_BYTES);
    let mut greeting = read.split_to(length).freeze();
    let (kind, version, version_min) = (greeting.get_u8(), greeting.get_u16_le(), greeting.get_u16_le());
    Ok(Some((kind, version, version_min, Cursor::new(greeting))))
}
