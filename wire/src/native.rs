//! The binary protocol of clients: what travels between an application and the member that it talks to.
//!
//! A connection begins with a [`ClientHello`], which the member answers with a [`Greeting`]; then requests go one way
//! and replies the other. Both are frames, `length u32 | kind u8 | id u64 | body`, integers little-endian, `length`
//! counting from `kind`. The id is the client's name for the request and comes back with the reply. A client sends as
//! many requests as it likes without waiting; replies come in any order. The client port tells this protocol from HTTP
//! by a connection's first byte ([`FIRST_BYTE`]), which no HTTP request begins with.
//!
//! Refuses what `wire` refuses everywhere: to allocate by a length that a peer claims, and to skip what it does not
//! know. Requests have no order among each other: a client that needs one waits for a reply.

mod fields;
mod greeting;
mod reply;
mod request;
mod txn;

use bytes::{Buf, BufMut, BytesMut};
use holdfast_engine::ENTRY_PAYLOAD_BYTES_MAX;

pub use holdfast_engine::{MemberId, Ordinal, Position, WriteConcern};

use crate::cursor::Cursor;
use crate::{FrameError, TooLarge};

pub use greeting::{ClientHello, FIRST_BYTE, GREETING_BYTES_MAX, Greeting, VERSION, VERSION_MIN, Welcome};
pub use reply::{Item, Outcome, Refusal, Reply, TxnResult, Value, Written};
pub use request::{Consistency, Expect, ReadHead, Request, Stamp, WriteHead};
pub use txn::{Compare, Keys, LIST_MAX, Relation, Target, Txn, TxnOperation};

/// Longest request, without its length: what one log entry takes, with room for what stands around it.
pub const REQUEST_BYTES_MAX: usize = ENTRY_PAYLOAD_BYTES_MAX + 64 * 1024;

/// Longest reply, without its length: a full page of a listing (8 MiB, and one value more) twice over.
pub const REPLY_BYTES_MAX: usize = 20 * 1024 * 1024;

/// Bytes of a frame's length.
const LENGTH_BYTES: usize = 4;

/// Bytes of kind and id: the least that a frame's length can say.
const HEAD_BYTES: usize = 9;

/// Append a frame whose body `body` writes; it says the kind.
fn encode(
    id: u64,
    bytes_max: usize,
    out: &mut BytesMut,
    body: impl FnOnce(&mut BytesMut) -> u8,
) -> Result<(), TooLarge> {
    let start = out.len();
    out.put_u32_le(0); // the length, filled in below
    out.put_u8(0); // the kind
    out.put_u64_le(id);
    let kind = body(out);
    let bytes = out.len() - start - LENGTH_BYTES;
    if bytes > bytes_max {
        out.truncate(start);
        return Err(TooLarge { bytes });
    }
    out[start..start + LENGTH_BYTES].copy_from_slice(&(bytes as u32).to_le_bytes());
    out[start + LENGTH_BYTES] = kind;
    Ok(())
}

/// Take the frame at the start of `read` off it: kind, id and body; `None` while it is not complete.
fn decode(read: &mut BytesMut, bytes_max: usize) -> Result<Option<(u8, u64, Cursor)>, FrameError> {
    let Some(length) = read.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
    let length = u32::from_le_bytes(*length) as usize;
    if !(HEAD_BYTES..=bytes_max).contains(&length) {
        return Err(FrameError::Length { length });
    }
    if read.len() < LENGTH_BYTES + length {
        return Ok(None);
    }
    read.advance(LENGTH_BYTES);
    let mut body = read.split_to(length).freeze();
    let (kind, id) = (body.get_u8(), body.get_u64_le());
    Ok(Some((kind, id, Cursor::new(body))))
}

#[cfg(test)]
mod tests;
