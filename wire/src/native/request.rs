//! What a client asks: [`Request`].
//!
//! What is asked for is judged by the member and its state, not here: a key may be empty or too long.

use bytes::{BufMut, Bytes, BytesMut};
use holdfast_engine::WriteConcern;

use super::fields::{concern, key, put_concern, put_key, put_revision, revision};
use super::txn::{self, Txn};
use super::{REQUEST_BYTES_MAX, decode, encode};
use crate::cursor::Cursor;
use crate::{FrameError, TooLarge};

/// One request.
///
/// Keys must be shorter than 64 KiB to be encoded; the store takes far shorter ones only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Give a key a value.
    Put {
        /// How to write.
        write: WriteHead,
        /// The key.
        key: Bytes,
        /// The value.
        value: Bytes,
        /// What must hold for it.
        expect: Expect,
    },
    /// Delete a key.
    Delete {
        /// How to write.
        write: WriteHead,
        /// The key.
        key: Bytes,
        /// What must hold for it.
        expect: Expect,
    },
    /// Compare, then do one of two lists of operations as one write.
    Txn {
        /// How to write.
        write: WriteHead,
        /// What to do.
        txn: Txn,
    },
    /// Read one key.
    Get {
        /// How to read.
        read: ReadHead,
        /// The key.
        key: Bytes,
    },
    /// Read keys in order.
    Range {
        /// How to read.
        read: ReadHead,
        /// Only keys that begin so; empty for all.
        prefix: Bytes,
        /// Only keys after this one; empty for the first page.
        after: Bytes,
        /// Most items in the answer.
        limit: u32,
    },
    /// "Are you there?"
    Ping,
}

/// How to write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteHead {
    /// What the reply waits for; `None`: what the store's settings say.
    pub concern: Option<WriteConcern>,
    /// How long the client waits, in milliseconds; 0: what the member thinks fit.
    pub timeout_ms: u32,
    /// Makes the write apply once, however often it is sent.
    pub stamp: Option<Stamp>,
}

/// A session's name for one write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Drawn at random by the client.
    pub session: u128,
    /// The write's number in the session, from 1.
    pub sequence: u64,
}

/// How to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadHead {
    /// How fresh the answer has to be.
    pub consistency: Consistency,
    /// How long the client waits, in milliseconds; 0: what the member thinks fit.
    pub timeout_ms: u32,
    /// As of this revision, from 1; `None` is the newest.
    pub revision: Option<u64>,
}

/// How fresh the answer to a read has to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consistency {
    /// It shows every write that was acknowledged before the read began.
    #[default]
    Linearizable,
    /// What the member has at hand.
    Local,
}

/// What a key must be for a write to happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expect {
    /// Anything.
    #[default]
    Any,
    /// Absent.
    Absent,
    /// Last put by this revision.
    Revision(u64),
}

/// The requests' kinds. Never reused for something else.
mod kind {
    pub(super) const PUT: u8 = 1;
    pub(super) const DELETE: u8 = 2;
    pub(super) const TXN: u8 = 3;
    pub(super) const GET: u8 = 4;
    pub(super) const RANGE: u8 = 5;
    pub(super) const PING: u8 = 6;
}

impl Request {
    /// Append the request to `out`, under the client's name for it.
    ///
    /// # Errors
    ///
    /// [`TooLarge`]; `out` is as it was then.
    ///
    /// # Panics
    ///
    /// If a key has 64 KiB or more.
    pub fn encode(&self, id: u64, out: &mut BytesMut) -> Result<(), TooLarge> {
        encode(id, REQUEST_BYTES_MAX, out, |out| match self {
            Request::Put { write, key, value, expect } => {
                write.encode(out);
                expect.encode(out);
                put_key(out, key);
                out.put_slice(value);
                kind::PUT
            }
            Request::Delete { write, key, expect } => {
                write.encode(out);
                expect.encode(out);
                out.put_slice(key);
                kind::DELETE
            }
            Request::Txn { write, txn } => {
                write.encode(out);
                txn::encode(txn, out);
                kind::TXN
            }
            Request::Get { read, key } => {
                read.encode(out);
                out.put_slice(key);
                kind::GET
            }
            Request::Range { read, prefix, after, limit } => {
                read.encode(out);
                out.put_u32_le(*limit);
                put_key(out, prefix);
                out.put_slice(after);
                kind::RANGE
            }
            Request::Ping => kind::PING,
        })
    }

    /// Take the request at the start of `read` off it, with the client's name for it; `None` while it is not complete.
    ///
    /// # Errors
    ///
    /// [`FrameError`]; what is left in `read` then means nothing, and the connection has to be closed.
    pub fn decode(read: &mut BytesMut) -> Result<Option<(u64, Request)>, FrameError> {
        let Some((kind, id, body)) = decode(read, REQUEST_BYTES_MAX)? else { return Ok(None) };
        Ok(Some((id, Request::decode_body(kind, body)?)))
    }

    fn decode_body(kind: u8, mut body: Cursor) -> Result<Request, FrameError> {
        let b = &mut body;
        Ok(match kind {
            kind::PUT => {
                let (write, expect, key) = (WriteHead::decode(b)?, Expect::decode(b)?, key(b)?);
                Request::Put { write, key, value: body.rest(), expect }
            }
            kind::DELETE => {
                let (write, expect) = (WriteHead::decode(b)?, Expect::decode(b)?);
                Request::Delete { write, key: body.rest(), expect }
            }
            kind::TXN => {
                let write = WriteHead::decode(b)?;
                let txn = txn::decode(b)?;
                body.end()?;
                Request::Txn { write, txn }
            }
            kind::GET => Request::Get { read: ReadHead::decode(b)?, key: body.rest() },
            kind::RANGE => {
                let (read, limit, prefix) = (ReadHead::decode(b)?, b.u32()?, key(b)?);
                Request::Range { read, prefix, after: body.rest(), limit }
            }
            kind::PING => {
                body.end()?;
                Request::Ping
            }
            _ => return Err(FrameError::Kind(kind)),
        })
    }
}

impl WriteHead {
    fn encode(&self, out: &mut BytesMut) {
        put_concern(out, self.concern);
        out.put_u32_le(self.timeout_ms);
        out.put_u8(u8::from(self.stamp.is_some()));
        if let Some(Stamp { session, sequence }) = self.stamp {
            out.put_u128_le(session);
            out.put_u64_le(sequence);
        }
    }

    fn decode(body: &mut Cursor) -> Result<WriteHead, FrameError> {
        let (concern, timeout_ms) = (concern(body)?, body.u32()?);
        let stamp = match body.flag("whether a write is stamped")? {
            true => Some(Stamp { session: body.u128()?, sequence: body.u64()? }),
            false => None,
        };
        match stamp {
            Some(Stamp { sequence: 0, .. }) => Err(FrameError::Value { what: "a stamp's sequence" }),
            stamp => Ok(WriteHead { concern, timeout_ms, stamp }),
        }
    }
}

impl ReadHead {
    fn encode(&self, out: &mut BytesMut) {
        out.put_u8(match self.consistency {
            Consistency::Linearizable => 0,
            Consistency::Local => 1,
        });
        out.put_u32_le(self.timeout_ms);
        put_revision(out, self.revision);
    }

    fn decode(body: &mut Cursor) -> Result<ReadHead, FrameError> {
        let consistency = match body.flag("a consistency")? {
            false => Consistency::Linearizable,
            true => Consistency::Local,
        };
        Ok(ReadHead { consistency, timeout_ms: body.u32()?, revision: revision(body)? })
    }
}

impl Expect {
    fn encode(self, out: &mut BytesMut) {
        match self {
            Expect::Any => out.put_u8(0),
            Expect::Absent => out.put_u8(1),
            Expect::Revision(revision) => {
                out.put_u8(2);
                out.put_u64_le(revision);
            }
        }
    }

    fn decode(body: &mut Cursor) -> Result<Expect, FrameError> {
        match body.u8()? {
            0 => Ok(Expect::Any),
            1 => Ok(Expect::Absent),
            2 => Ok(Expect::Revision(body.u64()?)),
            _ => Err(FrameError::Value { what: "an expectation" }),
        }
    }
}
