//! What a member answers: [`Reply`]. A write has three ends: [`Reply::Written`], [`Reply::Refused`], [`Reply::Unknown`].
//!
//! Reasons travel by their names, as in HTTP's problems, so that there is one list of them and an older client can show
//! what it does not know.

use bytes::{BufMut, Bytes, BytesMut};
use holdfast_engine::{Ordinal, Position, WriteConcern};

use super::fields::{
    ORDINAL_NONE, concern, key, ordinal, put_concern, put_key, put_revision, put_value, revision, text, value,
};
use super::{REPLY_BYTES_MAX, decode, encode};
use crate::cursor::Cursor;
use crate::{FrameError, TooLarge};

/// One reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The write is in the log to stay, as far as its concern says.
    Written(Written),
    /// The key that was asked for.
    Found {
        /// The revision of the state that answered.
        revision: u64,
        /// What the key has.
        value: Value,
    },
    /// The key that was asked for does not exist.
    NotFound {
        /// The revision of the state that answered.
        revision: u64,
    },
    /// A page of keys.
    Page {
        /// The revision of the state that answered.
        revision: u64,
        /// Whether there are keys after the last item.
        more: bool,
        /// How many keys have the prefix, on whatever page; only with the first page.
        count: Option<u64>,
        /// In order.
        items: Vec<Item>,
    },
    /// Nothing happened, and nothing of the request will.
    Refused(Refusal),
    /// The write may or may not have taken effect, or may still.
    Unknown {
        /// Whether it is harmless to send the same write again.
        retryable: bool,
        /// What is known, in words, for people.
        detail: String,
    },
    /// The answer to a ping.
    Pong,
}

/// What became of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The store's revision after the write.
    pub revision: u64,
    /// Where the write stands in the log.
    pub position: Position,
    /// What the reply waited for.
    pub concern: WriteConcern,
    /// On how many members the write is known to be durable.
    pub reached: u8,
    /// Whether `concern` was met in time; the write is committed otherwise.
    pub satisfied: bool,
    /// What it did.
    pub outcome: Outcome,
}

/// What a write did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The key has the value.
    Put {
        /// The revision that put the value before, if the key existed.
        previous: Option<u64>,
    },
    /// The key does not exist.
    Deleted {
        /// How many keys were deleted.
        count: u64,
    },
    /// The transaction did one of its branches.
    Txn {
        /// Whether the comparisons held, and so which branch was done.
        succeeded: bool,
        /// One for each operation of that branch.
        results: Vec<TxnResult>,
    },
}

/// What one operation of a transaction did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TxnResult {
    /// The key has the value.
    Put {
        /// The revision that put the value before, if the key existed.
        previous: Option<u64>,
    },
    /// The keys do not exist.
    Deleted {
        /// How many there were.
        count: u64,
    },
    /// The keys that were asked for.
    Got {
        /// In order.
        items: Vec<Item>,
        /// Whether the limit left some out.
        more: bool,
    },
}

/// A key and what it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The key.
    pub key: Bytes,
    /// What it has.
    pub value: Value,
}

/// What a key has, and how it came to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// The bytes.
    pub bytes: Bytes,
    /// The revision that created the key.
    pub create_revision: u64,
    /// The revision that put this value.
    pub mod_revision: u64,
    /// How often the key was put since it was created, from 1.
    pub version: u64,
}

/// Why nothing happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The stable name of the reason, as in HTTP's problems; at most 255 bytes.
    pub code: String,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// When to try again at the earliest, in milliseconds, if it is known.
    pub retry_after_ms: Option<u32>,
    /// Who leads, if that would have helped.
    pub leader: Option<Ordinal>,
    /// The revision that the reason is about.
    pub revision: Option<u64>,
    /// The reason in words, for people.
    pub detail: String,
}

/// The replies' kinds. Never reused for something else.
mod kind {
    pub(super) const WRITTEN: u8 = 65;
    pub(super) const FOUND: u8 = 66;
    pub(super) const NOT_FOUND: u8 = 67;
    pub(super) const PAGE: u8 = 68;
    pub(super) const REFUSED: u8 = 69;
    pub(super) const UNKNOWN: u8 = 70;
    pub(super) const PONG: u8 = 71;
}

impl Reply {
    /// Append the reply to the request that the client named `id`.
    ///
    /// # Errors
    ///
    /// [`TooLarge`]; `out` is as it was then.
    pub fn encode(&self, id: u64, out: &mut BytesMut) -> Result<(), TooLarge> {
        encode(id, REPLY_BYTES_MAX, out, |out| match self {
            Reply::Written(written) => {
                written.encode(out);
                kind::WRITTEN
            }
            Reply::Found { revision, value } => {
                out.put_u64_le(*revision);
                value.encode(out);
                out.put_slice(&value.bytes);
                kind::FOUND
            }
            Reply::NotFound { revision } => {
                out.put_u64_le(*revision);
                kind::NOT_FOUND
            }
            Reply::Page { revision, more, count, items } => {
                out.put_u64_le(*revision);
                out.put_u8(u8::from(*more));
                out.put_u8(u8::from(count.is_some()));
                out.put_u64_le(count.unwrap_or(0));
                put_items(out, items);
                kind::PAGE
            }
            Reply::Refused(refusal) => {
                refusal.encode(out);
                kind::REFUSED
            }
            Reply::Unknown { retryable, detail } => {
                out.put_u8(u8::from(*retryable));
                out.put_slice(detail.as_bytes());
                kind::UNKNOWN
            }
            Reply::Pong => kind::PONG,
        })
    }

    /// Take the reply at the start of `read` off it, with the name of its request; `None` while it is not complete.
    ///
    /// # Errors
    ///
    /// [`FrameError`]; what is left in `read` then means nothing, and the connection has to be closed.
    pub fn decode(read: &mut BytesMut) -> Result<Option<(u64, Reply)>, FrameError> {
        let Some((kind, id, body)) = decode(read, REPLY_BYTES_MAX)? else { return Ok(None) };
        Ok(Some((id, Reply::decode_body(kind, body)?)))
    }

    fn decode_body(kind: u8, mut body: Cursor) -> Result<Reply, FrameError> {
        let b = &mut body;
        let reply = match kind {
            kind::WRITTEN => Reply::Written(Written::decode(b)?),
            kind::FOUND => {
                let (revision, value) = (b.u64()?, Value::decode(b)?);
                return Ok(Reply::Found { revision, value: Value { bytes: body.rest(), ..value } });
            }
            kind::NOT_FOUND => Reply::NotFound { revision: b.u64()? },
            kind::PAGE => {
                let (revision, more) = (b.u64()?, b.flag("whether there is more")?);
                let count = match (b.flag("whether keys are counted")?, b.u64()?) {
                    (true, count) => Some(count),
                    (false, 0) => None,
                    (false, _) => {
                        return Err(FrameError::Value { what: "a count where keys are not counted" });
                    }
                };
                Reply::Page { revision, more, count, items: items(b)? }
            }
            kind::REFUSED => return Refusal::decode(body).map(Reply::Refused),
            kind::UNKNOWN => {
                let retryable = b.flag("whether to try again")?;
                return Ok(Reply::Unknown { retryable, detail: text(body)? });
            }
            kind::PONG => Reply::Pong,
            _ => return Err(FrameError::Kind(kind)),
        };
        body.end()?;
        Ok(reply)
    }
}

impl Written {
    fn encode(&self, out: &mut BytesMut) {
        out.put_u64_le(self.revision);
        out.put_u64_le(self.position.term.0);
        out.put_u64_le(self.position.index.0);
        put_concern(out, Some(self.concern));
        out.put_u8(self.reached);
        out.put_u8(u8::from(self.satisfied));
        match &self.outcome {
            Outcome::Put { previous } => {
                out.put_u8(0);
                put_revision(out, *previous);
            }
            Outcome::Deleted { count } => {
                out.put_u8(1);
                out.put_u64_le(*count);
            }
            Outcome::Txn { succeeded, results } => {
                out.put_u8(2);
                out.put_u8(u8::from(*succeeded));
                out.put_u16_le(u16::try_from(results.len()).expect("transactions are short"));
                results.iter().for_each(|result| result.encode(out));
            }
        }
    }

    fn decode(body: &mut Cursor) -> Result<Written, FrameError> {
        let (revision, position) = (body.u64()?, body.position()?);
        let concern = concern(body)?.ok_or(FrameError::Value { what: "a write concern" })?;
        let (reached, satisfied) = (body.u8()?, body.flag("whether a concern was met")?);
        let outcome = match body.u8()? {
            0 => Outcome::Put { previous: self::revision(body)? },
            1 => Outcome::Deleted { count: body.u64()? },
            2 => {
                let succeeded = body.flag("whether a transaction succeeded")?;
                let count = body.u16()?;
                // Every result has at least two bytes, so that a count cannot claim more memory than it sends.
                let results = (0..count).map(|_| TxnResult::decode(body)).collect::<Result<_, _>>()?;
                Outcome::Txn { succeeded, results }
            }
            _ => return Err(FrameError::Value { what: "an outcome" }),
        };
        Ok(Written { revision, position, concern, reached, satisfied, outcome })
    }
}

impl TxnResult {
    fn encode(&self, out: &mut BytesMut) {
        match self {
            TxnResult::Put { previous } => {
                out.put_u8(0);
                put_revision(out, *previous);
            }
            TxnResult::Deleted { count } => {
                out.put_u8(1);
                out.put_u64_le(*count);
            }
            TxnResult::Got { items, more } => {
                out.put_u8(2);
                out.put_u8(u8::from(*more));
                put_items(out, items);
            }
        }
    }

    fn decode(body: &mut Cursor) -> Result<TxnResult, FrameError> {
        match body.u8()? {
            0 => Ok(TxnResult::Put { previous: revision(body)? }),
            1 => Ok(TxnResult::Deleted { count: body.u64()? }),
            2 => {
                let more = body.flag("whether there is more")?;
                Ok(TxnResult::Got { items: items(body)?, more })
            }
            _ => Err(FrameError::Value { what: "a transaction's result" }),
        }
    }
}

fn put_items(out: &mut BytesMut, items: &[Item]) {
    out.put_u32_le(u32::try_from(items.len()).expect("pages are short"));
    for Item { key, value } in items {
        put_key(out, key);
        value.encode(out);
        put_value(out, &value.bytes);
    }
}

/// Grows with what is there, not with what the count claims.
fn items(body: &mut Cursor) -> Result<Vec<Item>, FrameError> {
    let count = body.u32()?;
    let mut items = Vec::new();
    for _ in 0..count {
        let (key, before) = (key(body)?, Value::decode(body)?);
        items.push(Item { key, value: Value { bytes: value(body)?, ..before } });
    }
    Ok(items)
}

impl Value {
    /// All but the bytes.
    fn encode(&self, out: &mut BytesMut) {
        out.put_u64_le(self.create_revision);
        out.put_u64_le(self.mod_revision);
        out.put_u64_le(self.version);
    }

    fn decode(body: &mut Cursor) -> Result<Value, FrameError> {
        let (create_revision, mod_revision, version) = (body.u64()?, body.u64()?, body.u64()?);
        Ok(Value { bytes: Bytes::new(), create_revision, mod_revision, version })
    }
}

impl Refusal {
    fn encode(&self, out: &mut BytesMut) {
        let code = self.code.as_bytes();
        let code = &code[..code.len().min(usize::from(u8::MAX))];
        out.put_u8(code.len() as u8);
        out.put_slice(code);
        out.put_u8(u8::from(self.retryable));
        out.put_u32_le(self.retry_after_ms.unwrap_or(u32::MAX));
        out.put_u8(self.leader.map_or(ORDINAL_NONE, |leader| leader.0));
        out.put_u64_le(self.revision.unwrap_or(u64::MAX));
        out.put_slice(self.detail.as_bytes());
    }

    fn decode(mut body: Cursor) -> Result<Refusal, FrameError> {
        let b = &mut body;
        let length = usize::from(b.u8()?);
        let code = b.bytes(length)?;
        let code =
            std::str::from_utf8(&code).map_err(|_| FrameError::Value { what: "a reason's name" })?.to_owned();
        let retryable = b.flag("whether to try again")?;
        let retry_after_ms = Some(b.u32()?).filter(|&pause| pause != u32::MAX);
        let (leader, revision) = (ordinal(b)?, Some(b.u64()?).filter(|&revision| revision != u64::MAX));
        Ok(Refusal { code, retryable, retry_after_ms, leader, revision, detail: text(body)? })
    }
}
