//! The fields that several kinds of frames share, each with the one way in which it travels.

use bytes::{BufMut, Bytes, BytesMut};
use holdfast_engine::{MEMBERS_MAX, Ordinal, WriteConcern};

use crate::FrameError;
use crate::cursor::Cursor;

/// How an ordinal that is not there travels.
pub(super) const ORDINAL_NONE: u8 = u8::MAX;

/// How a concern of all members travels.
const CONCERN_ALL: u8 = u8::MAX;

/// How the store's own concern travels.
const CONCERN_USUAL: u8 = u8::MAX - 1;

pub(super) fn ordinal(body: &mut Cursor) -> Result<Option<Ordinal>, FrameError> {
    match body.u8()? {
        ORDINAL_NONE => Ok(None),
        ordinal if usize::from(ordinal) < MEMBERS_MAX => Ok(Some(Ordinal(ordinal))),
        _ => Err(FrameError::Value { what: "an ordinal" }),
    }
}

pub(super) fn put_concern(out: &mut BytesMut, concern: Option<WriteConcern>) {
    out.put_u8(match concern {
        Some(WriteConcern::Majority) => 0,
        Some(WriteConcern::Members(members)) => members,
        Some(WriteConcern::All) => CONCERN_ALL,
        None => CONCERN_USUAL,
    });
}

pub(super) fn concern(body: &mut Cursor) -> Result<Option<WriteConcern>, FrameError> {
    match body.u8()? {
        0 => Ok(Some(WriteConcern::Majority)),
        CONCERN_ALL => Ok(Some(WriteConcern::All)),
        CONCERN_USUAL => Ok(None),
        members if usize::from(members) <= MEMBERS_MAX => Ok(Some(WriteConcern::Members(members))),
        _ => Err(FrameError::Value { what: "a write concern" }),
    }
}

/// A number that may be missing, and is never 0 otherwise: revisions.
pub(super) fn put_revision(out: &mut BytesMut, revision: Option<u64>) {
    out.put_u64_le(revision.unwrap_or(0));
}

pub(super) fn revision(body: &mut Cursor) -> Result<Option<u64>, FrameError> {
    Ok(Some(body.u64()?).filter(|&revision| revision != 0))
}

/// A key: `length u16 | bytes`.
///
/// # Panics
///
/// If it is longer than a `u16` says; callers of `encode` are told so.
pub(super) fn put_key(out: &mut BytesMut, key: &[u8]) {
    out.put_u16_le(u16::try_from(key.len()).expect("keys are shorter than 64 KiB"));
    out.put_slice(key);
}

pub(super) fn key(body: &mut Cursor) -> Result<Bytes, FrameError> {
    let length = usize::from(body.u16()?);
    body.bytes(length)
}

/// A value that something follows: `length u32 | bytes`.
pub(super) fn put_value(out: &mut BytesMut, value: &[u8]) {
    out.put_u32_le(u32::try_from(value.len()).expect("values are shorter than 4 GiB"));
    out.put_slice(value);
}

pub(super) fn value(body: &mut Cursor) -> Result<Bytes, FrameError> {
    let length = body.u32()? as usize;
    body.bytes(length)
}

/// Text to the end of the frame.
pub(super) fn text(body: Cursor) -> Result<String, FrameError> {
    String::from_utf8(body.rest().to_vec()).map_err(|_| FrameError::Value { what: "a text" })
}
