//! Decoding one chunk of a checkpoint, apart from all others: [`Decoded`]. Several threads can do it ahead of the one
//! that puts the state together.
//!
//! It refuses to judge more than single items: what may stand where is known to who takes the chunks in their order.

use std::ops::Range;

use bytes::Bytes;
use holdfast_engine::Index;

use super::fault::Fault;
use crate::checkpoint::{Footer, Header, Item, Raw};
use crate::digest::digest;
use crate::logs::checkpoint::{LogItem, LogsFooter};
use crate::logs::{Begun, Restored};
use crate::version::Version;
use crate::{CodecError, KEY_BYTES_MAX, Revision, SessionId};

/// One chunk of a checkpoint, decoded; also if it turned out not to be one. Keys and values are copied: the chunk's
/// memory goes when it was taken.
#[derive(Debug)]
pub struct Decoded {
    chunk: Bytes,
    pieces: Pieces,
}

impl Decoded {
    /// Decode a chunk. What is wrong with it is told by [`crate::Restore::decoded`].
    pub fn new(chunk: Bytes) -> Decoded {
        let pieces = Pieces::of(&chunk);
        Decoded { chunk, pieces }
    }

    pub(super) fn into_parts(self) -> (Bytes, Pieces) {
        (self.chunk, self.pieces)
    }
}

/// What is in a chunk.
#[derive(Debug)]
pub(super) struct Pieces {
    /// In order, up to the first fault.
    pub(super) pieces: Vec<Piece>,
    pub(super) fault: Option<Fault>,
    /// Of the whole chunk.
    pub(super) digest: u64,
}

/// Where some bytes are in their chunk. Chunks are far below 4 GiB.
pub(super) type Place = Range<u32>;

/// One item of a chunk.
#[derive(Debug)]
pub(super) enum Piece {
    Header(Header),
    Session {
        id: SessionId,
        sequence: u64,
        used: Index,
        outcome: Place,
    },
    Key(Place),
    Version(Version),
    /// A version of a key that stands in an earlier chunk.
    Continued(Figures, Option<Place>),
    Footer(Footer),
    Log(Place, Begun),
    Message(Restored),
    Logs(LogsFooter),
}

/// A version without its key and value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Figures {
    created: Revision,
    modified: Revision,
    version: u64,
}

impl Figures {
    /// The version, of this key.
    pub(super) fn of(self, key: &[u8], value: Option<&[u8]>) -> Version {
        let Figures { created, modified, version } = self;
        match value {
            Some(value) => Version::with_value(created, modified, version, key, value),
            None => Version::deleted(key, modified),
        }
    }

    /// Whether these can be the figures of a value, or else of a deletion.
    fn check(self, is_value: bool) -> Result<Figures, Fault> {
        let possible = if is_value { self.version > 0 } else { (self.created.0, self.version) == (0, 0) };
        if possible { Ok(self) } else { Err(Fault::Invalid("an impossible version")) }
    }
}

impl Pieces {
    pub(super) fn of(chunk: &[u8]) -> Pieces {
        let mut pieces = Pieces { pieces: Vec::new(), fault: None, digest: digest(chunk) };
        let mut key = None;
        let mut rest = chunk;
        while !rest.is_empty() {
            let piece = match postcard::take_from_bytes::<Item<'_>>(rest) {
                Ok((item, after)) => {
                    let start = chunk.len() - after.len();
                    rest = after;
                    piece(item, start, &mut key)
                }
                Err(error) => Err(Fault::Encoding(CodecError::Encoding(error))),
            };
            match piece {
                Ok(piece) => pieces.pieces.push(piece),
                Err(fault) => {
                    pieces.fault = Some(fault);
                    break;
                }
            }
        }
        pieces
    }
}

/// The bytes that an item that ends at `end` ends with.
fn place(bytes: &[u8], end: usize) -> Place {
    (end - bytes.len()) as u32..end as u32
}

/// The item, which ends at `end`. `key` is the last one in this chunk, if it can be one.
fn piece<'a>(item: Item<'a>, end: usize, key: &mut Option<&'a [u8]>) -> Result<Piece, Fault> {
    Ok(match item {
        Item::Header(header) => Piece::Header(header),
        Item::Session { id, sequence, used, outcome: Raw(outcome) } => {
            Piece::Session { id, sequence, used, outcome: place(outcome, end) }
        }
        Item::Key(Raw(bytes)) => {
            *key = (bytes.len() <= KEY_BYTES_MAX).then_some(bytes);
            Piece::Key(place(bytes, end))
        }
        Item::Version { created, modified, version, value } => {
            let figures = Figures { created, modified, version }.check(value.is_some())?;
            match (key, value) {
                (Some(key), value) => Piece::Version(figures.of(key, value.map(|Raw(value)| value))),
                (None, value) => Piece::Continued(figures, value.map(|Raw(value)| place(value, end))),
            }
        }
        Item::Footer(footer) => Piece::Footer(footer),
        Item::Log(LogItem { name: Raw(name), settings, first, next, window, time_ms }) => {
            Piece::Log(place(name, end), Begun { settings, first, next, window, time_ms })
        }
        Item::Message(message) => Piece::Message(Restored::new(message)?),
        Item::Logs(footer) => Piece::Logs(footer),
    })
}
