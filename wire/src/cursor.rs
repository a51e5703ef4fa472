//! Reading numbers off the front of some bytes, with every length checked.
//!
//! Integers are little-endian, as in the log's records. A cursor refuses to read past the end or to leave bytes over.

use bytes::{Buf, Bytes};
use holdfast_engine::{Incarnation, Index, MemberId, Ordinal, Position, Term};

use crate::FrameError;

/// What is left of a frame's body.
pub(crate) struct Cursor {
    rest: Bytes,
}

impl Cursor {
    /// From the body's beginning.
    pub(crate) fn new(body: Bytes) -> Cursor {
        Cursor { rest: body }
    }

    fn has(&self, bytes: usize) -> Result<(), FrameError> {
        match self.rest.len() {
            present if present < bytes => Err(FrameError::Short { needed: bytes, present }),
            _ => Ok(()),
        }
    }

    pub(crate) fn u8(&mut self) -> Result<u8, FrameError> {
        self.has(1)?;
        Ok(self.rest.get_u8())
    }

    pub(crate) fn u16(&mut self) -> Result<u16, FrameError> {
        self.has(2)?;
        Ok(self.rest.get_u16_le())
    }

    pub(crate) fn u32(&mut self) -> Result<u32, FrameError> {
        self.has(4)?;
        Ok(self.rest.get_u32_le())
    }

    pub(crate) fn u64(&mut self) -> Result<u64, FrameError> {
        self.has(8)?;
        Ok(self.rest.get_u64_le())
    }

    pub(crate) fn u128(&mut self) -> Result<u128, FrameError> {
        self.has(16)?;
        Ok(self.rest.get_u128_le())
    }

    /// A byte that is 0 or 1.
    pub(crate) fn flag(&mut self, what: &'static str) -> Result<bool, FrameError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(FrameError::Value { what }),
        }
    }

    pub(crate) fn term(&mut self) -> Result<Term, FrameError> {
        self.u64().map(Term)
    }

    pub(crate) fn index(&mut self) -> Result<Index, FrameError> {
        self.u64().map(Index)
    }

    pub(crate) fn position(&mut self) -> Result<Position, FrameError> {
        Ok(Position { term: self.term()?, index: self.index()? })
    }

    pub(crate) fn member(&mut self) -> Result<MemberId, FrameError> {
        Ok(MemberId { ordinal: Ordinal(self.u8()?), incarnation: Incarnation(self.u64()?) })
    }

    /// So many bytes, which share the frame's memory.
    pub(crate) fn bytes(&mut self, length: usize) -> Result<Bytes, FrameError> {
        self.has(length)?;
        Ok(self.rest.split_to(length))
    }

    /// All that is left.
    pub(crate) fn rest(self) -> Bytes {
        self.rest
    }

    /// Nothing may be left.
    pub(crate) fn end(self) -> Result<(), FrameError> {
        match self.rest.len() {
            0 => Ok(()),
            bytes => Err(FrameError::Trailing { bytes }),
        }
    }
}
