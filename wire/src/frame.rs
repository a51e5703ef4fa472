//! One frame: `length u32 | kind u8 | body`, integers little-endian; `length` counts kind and body.
//!
//! Encoding appends, so that a batch of frames is one write. Decoding takes whole frames off the front of what was
//! read, without copying bodies, and refuses everything it does not know: members that speak different versions agree
//! on one in the greeting, not by skipping.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use holdfast_engine::{
    ENTRY_PAYLOAD_BYTES_MAX, Index, MEMBERS_MAX, Message, Ordinal, RecordError, WriteConcern,
};

use crate::cursor::Cursor;
use crate::message;
use crate::repair::{self, Repair};

/// Longest frame, without its length. Room for an append of a few of the largest entries.
pub const FRAME_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Longest piece of a checkpoint in one frame: any chunk that a checkpoint's file may have.
pub const CHUNK_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Longest body of a [`Frame::ForwardReply`]: what a frame has room for.
pub const FORWARD_BYTES_MAX: usize = FRAME_BYTES_MAX - 64;

/// Bytes of a frame's length.
const LENGTH_BYTES: usize = 4;

/// One thing that travels between members.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "most frames are messages, and none is kept")]
pub enum Frame {
    /// What one engine says to another.
    Message(Message),
    /// "Write this for me, you lead." Answered by a [`Frame::ForwardReply`].
    Forward {
        /// Names the request in the answer. Counted by the sender, per process.
        id: u64,
        /// What the answer waits for.
        concern: WriteConcern,
        /// How long the sender's client still waits, in milliseconds.
        timeout_ms: u32,
        /// The command, at most [`ENTRY_PAYLOAD_BYTES_MAX`] bytes.
        command: Bytes,
    },
    /// The answer to a [`Frame::Forward`] or [`Frame::HandOver`]; the sidecar knows what is in it.
    ForwardReply {
        /// The request that is answered.
        id: u64,
        /// The answer, at most [`FORWARD_BYTES_MAX`] bytes.
        body: Bytes,
    },
    /// "Hand your leadership over." Answered by a [`Frame::ForwardReply`].
    HandOver {
        /// Names the request in the answer.
        id: u64,
        /// Who should lead next.
        to: Option<Ordinal>,
        /// How long the sender's client still waits, in milliseconds.
        timeout_ms: u32,
    },
    /// "I am about to end, and have answered what you passed on. Pass nothing on to me any more." Answered by a
    /// [`Frame::Farewell`].
    Leaving,
    /// The answer to a [`Frame::Leaving`]: "I have heard your answers, and nothing comes to you any more."
    Farewell,
    /// A piece of a checkpoint, in order. At most [`CHUNK_BYTES_MAX`] bytes and at least one.
    CheckpointChunk {
        /// The piece; its checksum travels with it and is checked on arrival.
        bytes: Bytes,
    },
    /// The checkpoint is complete.
    CheckpointEnd {
        /// How many pieces there were.
        chunks: u64,
        /// How many bytes they were.
        bytes: u64,
    },
    /// "Are you there?" Answered at once by a [`Frame::Pong`] on the same connection.
    Ping {
        /// Echoed in the answer.
        nonce: u64,
        /// What the sender's state was at some index, so that members that disagree find out.
        fingerprint: Option<Fingerprint>,
    },
    /// The answer to a [`Frame::Ping`].
    Pong {
        /// The ping's.
        nonce: u64,
    },
    /// A damaged log is repaired.
    Repair(Repair),
}

/// A member's state at one committed index, in one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// After this entry.
    pub index: Index,
    /// The state's hash. Members with the same log have the same.
    pub hash: u64,
}

/// Why some bytes are not a frame. The connection they came over has to be closed: what follows cannot be trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length lies outside what a frame can have.
    #[error("a frame cannot be {length} bytes long")]
    Length {
        /// What the peer claims.
        length: usize,
    },
    /// A kind that this version does not know.
    #[error("frame kind {0} is not known to this version")]
    Kind(u8),
    /// The frame ends before its body does.
    #[error("the frame needs {needed} more bytes and {present} are left")]
    Short {
        /// What the next field needs.
        needed: usize,
        /// What is left.
        present: usize,
    },
    /// Bytes are left after the body.
    #[error("{bytes} bytes follow the frame's body")]
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// A field holds what it cannot.
    #[error("the frame is wrong in {what}")]
    Value {
        /// Which field, in words.
        what: &'static str,
    },
    /// A log record in the frame is damaged.
    #[error("the frame holds a damaged log record")]
    Record(#[from] RecordError),
}

/// A frame that is larger than [`FRAME_BYTES_MAX`]; nothing of it was encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {bytes} bytes is larger than members take")]
pub struct TooLarge {
    /// How long it would be.
    pub bytes: usize,
}

/// The frames' kinds. Never reused for something else.
pub(crate) mod kind {
    pub(crate) const ANNOUNCE: u8 = 1;
    pub(crate) const PRE_VOTE: u8 = 2;
    pub(crate) const PRE_VOTE_REPLY: u8 = 3;
    pub(crate) const VOTE: u8 = 4;
    pub(crate) const VOTE_REPLY: u8 = 5;
    pub(crate) const APPEND: u8 = 6;
    pub(crate) const APPEND_REPLY: u8 = 7;
    pub(crate) const CHECKPOINT_OFFER: u8 = 8;
    pub(crate) const CAMPAIGN_NOW: u8 = 9;
    pub(crate) const READ_INDEX: u8 = 10;
    pub(crate) const READ_INDEX_REPLY: u8 = 11;
    pub(crate) const FORWARD: u8 = 32;
    pub(crate) const FORWARD_REPLY: u8 = 33;
    pub(crate) const HAND_OVER: u8 = 34;
    pub(crate) const LEAVING: u8 = 35;
    pub(crate) const FAREWELL: u8 = 36;
    pub(crate) const CHECKPOINT_CHUNK: u8 = 48;
    pub(crate) const CHECKPOINT_END: u8 = 49;
    pub(crate) const PING: u8 = 64;
    pub(crate) const PONG: u8 = 65;
    pub(crate) const REPAIR_ASK: u8 = 80;
    pub(crate) const REPAIR_ENTRIES: u8 = 81;
    pub(crate) const REPAIR_LACKING: u8 = 82;
}

/// How a number of members that means "all" travels.
const CONCERN_ALL: u8 = u8::MAX;

/// How an ordinal that is not there travels.
const ORDINAL_NONE: u8 = u8::MAX;

impl Frame {
    /// Append the frame to `out`.
    ///
    /// # Errors
    ///
    /// [`TooLarge`]; `out` is as it was then.
    pub fn encode(&self, out: &mut BytesMut) -> Result<(), TooLarge> {
        let start = out.len();
        out.put_u32_le(0); // the length, filled in below
        out.put_u8(0); // the kind
        let kind = self.encode_body(out);
        let bytes = out.len() - start - LENGTH_BYTES;
        if bytes > FRAME_BYTES_MAX {
            out.truncate(start);
            return Err(TooLarge { bytes });
        }
        out[start..start + LENGTH_BYTES].copy_from_slice(&(bytes as u32).to_le_bytes());
        out[start + LENGTH_BYTES] = kind;
        Ok(())
    }

    fn encode_body(&self, out: &mut BytesMut) -> u8 {
        match self {
            Frame::Message(message) => message::encode(message, out),
            Frame::Forward { id, concern, timeout_ms, command } => {
                out.put_u64_le(*id);
                put_concern(out, *concern);
                out.put_u32_le(*timeout_ms);
                out.put_slice(command);
                kind::FORWARD
            }
            Frame::ForwardReply { id, body } => {
                out.put_u64_le(*id);
                out.put_slice(body);
                kind::FORWARD_REPLY
            }
            Frame::HandOver { id, to, timeout_ms } => {
                out.put_u64_le(*id);
                out.put_u8(to.map_or(ORDINAL_NONE, |to| to.0));
                out.put_u32_le(*timeout_ms);
                kind::HAND_OVER
            }
            Frame::Leaving => kind::LEAVING,
            Frame::Farewell => kind::FAREWELL,
            Frame::CheckpointChunk { bytes } => {
                out.put_u32_le(crc32c::crc32c(bytes));
                out.put_slice(bytes);
                kind::CHECKPOINT_CHUNK
            }
            Frame::CheckpointEnd { chunks, bytes } => {
                out.put_u64_le(*chunks);
                out.put_u64_le(*bytes);
                kind::CHECKPOINT_END
            }
            Frame::Ping { nonce, fingerprint } => {
                out.put_u64_le(*nonce);
                out.put_u8(u8::from(fingerprint.is_some()));
                if let Some(fingerprint) = fingerprint {
                    out.put_u64_le(fingerprint.index.0);
                    out.put_u64_le(fingerprint.hash);
                }
                kind::PING
            }
            Frame::Pong { nonce } => {
                out.put_u64_le(*nonce);
                kind::PONG
            }
            Frame::Repair(repair) => repair::encode(repair, out),
        }
    }

    /// Take the frame at the start of `read` off it; `None` while it is not complete.
    ///
    /// # Errors
    ///
    /// [`FrameError`]; what is left in `read` then means nothing.
    pub fn decode(read: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        let Some(length) = read.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        let length = u32::from_le_bytes(*length) as usize;
        if !(1..=FRAME_BYTES_MAX).contains(&length) {
            return Err(FrameError::Length { length });
        }
        if read.len() < LENGTH_BYTES + length {
            return Ok(None);
        }
        read.advance(LENGTH_BYTES);
        let mut body = read.split_to(length).freeze();
        let kind = body.get_u8();
        Frame::decode_body(kind, body).map(Some)
    }

    fn decode_body(kind: u8, bytes: Bytes) -> Result<Frame, FrameError> {
        let mut body = Cursor::new(bytes);
        let b = &mut body;
        let frame = match kind {
            kind::FORWARD => {
                let (id, concern, timeout_ms) = (b.u64()?, concern(b)?, b.u32()?);
                let command = body.rest();
                if command.len() > ENTRY_PAYLOAD_BYTES_MAX {
                    return Err(FrameError::Value { what: "a command's length" });
                }
                return Ok(Frame::Forward { id, concern, timeout_ms, command });
            }
            kind::FORWARD_REPLY => return Ok(Frame::ForwardReply { id: b.u64()?, body: body.rest() }),
            kind::HAND_OVER => Frame::HandOver { id: b.u64()?, to: ordinal(b)?, timeout_ms: b.u32()? },
            kind::LEAVING => Frame::Leaving,
            kind::FAREWELL => Frame::Farewell,
            kind::CHECKPOINT_CHUNK => return chunk(body),
            kind::CHECKPOINT_END => Frame::CheckpointEnd { chunks: b.u64()?, bytes: b.u64()? },
            kind::PING => {
                let nonce = b.u64()?;
                let fingerprint = match b.flag("whether a ping has a fingerprint")? {
                    true => Some(Fingerprint { index: b.index()?, hash: b.u64()? }),
                    false => None,
                };
                Frame::Ping { nonce, fingerprint }
            }
            kind::PONG => Frame::Pong { nonce: b.u64()? },
            kind::REPAIR_ASK..=kind::REPAIR_LACKING => {
                let repair = repair::decode(kind, body)?;
                return repair.map(Frame::Repair).ok_or(FrameError::Kind(kind));
            }
            _ => {
                let message = message::decode(kind, body)?;
                return message.map(Frame::Message).ok_or(FrameError::Kind(kind));
            }
        };
        body.end()?;
        Ok(frame)
    }
}

fn put_concern(out: &mut BytesMut, concern: WriteConcern) {
    out.put_u8(match concern {
        WriteConcern::Majority => 0,
        WriteConcern::Members(members) => members,
        WriteConcern::All => CONCERN_ALL,
    });
}

fn concern(body: &mut Cursor) -> Result<WriteConcern, FrameError> {
    match body.u8()? {
        0 => Ok(WriteConcern::Majority),
        CONCERN_ALL => Ok(WriteConcern::All),
        members if usize::from(members) <= MEMBERS_MAX => Ok(WriteConcern::Members(members)),
        _ => Err(FrameError::Value { what: "a write concern" }),
    }
}

fn ordinal(body: &mut Cursor) -> Result<Option<Ordinal>, FrameError> {
    match body.u8()? {
        ORDINAL_NONE => Ok(None),
        ordinal if usize::from(ordinal) < MEMBERS_MAX => Ok(Some(Ordinal(ordinal))),
        _ => Err(FrameError::Value { what: "an ordinal" }),
    }
}

fn chunk(mut body: Cursor) -> Result<Frame, FrameError> {
    let expected = body.u32()?;
    let bytes = body.rest();
    if bytes.is_empty() || bytes.len() > CHUNK_BYTES_MAX {
        return Err(FrameError::Value { what: "a checkpoint piece's length" });
    }
    match crc32c::crc32c(&bytes) == expected {
        true => Ok(Frame::CheckpointChunk { bytes }),
        false => Err(FrameError::Value { what: "a checkpoint piece's checksum" }),
    }
}

#[cfg(test)]
mod tests;
