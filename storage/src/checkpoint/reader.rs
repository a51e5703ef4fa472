//! Reading one checkpoint, chunk by chunk.
//!
//! What it refuses to do: hand out a byte whose checksum it has not checked. Whether the file is whole is known only at
//! its end; a state is built from it beside the running one, or after [`crate::open`] read it once.

use std::path::Path;

use bytes::Bytes;
use holdfast_engine::{Checkpoint, Formation, Position};

use super::{
    CHECKPOINT_CHUNK_BYTES_MAX, CHUNK_HEADER_BYTES, END_BYTES, Header, KIND, KIND_COMPRESSED, Nobody, Taker,
    block_error, checksum, compression, name, seed,
};
use crate::block::{self, BLOCK_HEADER_BYTES, BlockError};
use crate::files::{Files, OpenFile};
use crate::identity::Stamp;
use crate::{CheckpointError, Damage};

/// More than a header ever has.
const HEADER_BYTES_MAX: u64 = 4096;

/// An iterator over the chunks of one checkpoint. After an error, and after the last chunk, it ends.
#[derive(Debug)]
pub struct CheckpointReader {
    file: OpenFile,
    header: Header,
    seed: u32,
    /// Where the first chunk begins.
    start: u64,
    /// The file's length.
    end: u64,
    at: u64,
    chunks: u64,
    bytes: u64,
    ended: bool,
}

impl CheckpointReader {
    pub(crate) fn open(
        files: &Files,
        path: &Path,
        position: Position,
    ) -> Result<CheckpointReader, CheckpointError> {
        let reader = CheckpointReader::unnamed(files, path, position)?;
        if path.file_name().is_none_or(|found| *found != *name(reader.header.checkpoint.position)) {
            return Err(CheckpointError::Damaged { path: path.to_owned(), offset: 0, what: Damage::Name });
        }
        Ok(reader)
    }

    /// Open a file that does not have its name yet.
    pub(super) fn unnamed(
        files: &Files,
        path: &Path,
        position: Position,
    ) -> Result<CheckpointReader, CheckpointError> {
        let file = files.open(path).map_err(|error| match error.source.kind() {
            std::io::ErrorKind::NotFound => CheckpointError::NotFound { position },
            _ => error.into(),
        })?;
        let end = file.bytes()?;
        let first = file.read(end.min(HEADER_BYTES_MAX))?;
        let decoded = block::decode::<Header>(KIND, &first).or_else(|error| match error {
            BlockError::Version { .. } => block::decode::<Header>(KIND_COMPRESSED, &first),
            damaged => Err(damaged),
        });
        let (header, length) = decoded.map_err(|error| block_error(error, path))?;
        debug_assert!(length >= BLOCK_HEADER_BYTES);
        let start = length as u64;
        let seed = seed(&first[..length]);
        Ok(CheckpointReader { file, header, seed, start, end, at: start, chunks: 0, bytes: 0, ended: false })
    }

    /// Open and read it to its end, so that it is known to be whole; then back to the first chunk.
    pub(crate) fn verified(
        files: &Files,
        path: &Path,
        position: Position,
    ) -> Result<CheckpointReader, CheckpointError> {
        CheckpointReader::taken(files, path, position, &mut Nobody::default())
    }

    /// The same; its chunks go to `taker` as they are read.
    pub(crate) fn taken(
        files: &Files,
        path: &Path,
        position: Position,
        taker: &mut dyn Taker,
    ) -> Result<CheckpointReader, CheckpointError> {
        let mut reader = CheckpointReader::open(files, path, position)?;
        taker.begin(reader.checkpoint());
        loop {
            let mut chunk = taker.memory();
            if !reader.read(&mut chunk)? {
                break;
            }
            taker.chunk(chunk);
        }
        taker.end();
        reader.rewind();
        Ok(reader)
    }

    /// What it covers.
    pub fn checkpoint(&self) -> Checkpoint {
        self.header.checkpoint
    }

    /// How the store began that it is of, if the member that wrote it knew.
    pub fn formation(&self) -> Option<&Formation> {
        self.header.formation.as_ref()
    }

    /// The file's length in bytes; the chunks are a little less, or more if they are compressed.
    pub fn file_bytes(&self) -> u64 {
        self.end
    }

    /// The file's bytes from `at` on, as they are.
    pub(super) fn raw(&self, at: u64, into: &mut [u8]) -> Result<(), CheckpointError> {
        Ok(self.file.read_at(at, into)?)
    }

    /// Back to the first chunk.
    pub fn rewind(&mut self) {
        (self.at, self.chunks, self.bytes, self.ended) = (self.start, 0, 0, false);
    }

    /// Let the kernel forget what it holds of the file.
    pub(crate) fn give_up_pages(&self) {
        self.file.give_up_pages();
    }

    pub(crate) fn stamp(&self) -> &Stamp {
        &self.header.stamp
    }

    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }

    fn damaged(&self, what: Damage) -> CheckpointError {
        CheckpointError::Damaged { path: self.file.path().to_owned(), offset: self.at, what }
    }

    /// Read from here to the end, into the same memory again and again: finding fresh memory for every chunk takes longer
    /// than reading it.
    pub(super) fn check(&mut self) -> Result<(), CheckpointError> {
        let mut chunk = Vec::new();
        while self.read(&mut chunk)? {}
        Ok(())
    }

    /// The next chunk, in place of what `bytes` holds; `false` after the last one.
    fn read(&mut self, bytes: &mut Vec<u8>) -> Result<bool, CheckpointError> {
        let left = self.end - self.at;
        if left < CHUNK_HEADER_BYTES as u64 {
            return Err(
                self.damaged(Damage::Length { found: self.end, expected: self.at + END_BYTES as u64 })
            );
        }
        let mut header = [0; CHUNK_HEADER_BYTES];
        self.file.read_at(self.at, &mut header)?;
        let word = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes"));
        let (word, expected) = (word(0), word(4));
        let length = compression::Length::of(word);
        let body = match length.stored {
            0 => END_BYTES - CHUNK_HEADER_BYTES,
            stored if stored > CHECKPOINT_CHUNK_BYTES_MAX => return Err(self.damaged(Damage::Checksum)),
            stored => stored,
        };
        if left - (CHUNK_HEADER_BYTES as u64) < body as u64 {
            let expected = self.at + (CHUNK_HEADER_BYTES + body) as u64;
            return Err(self.damaged(Damage::Length { found: self.end, expected }));
        }
        bytes.resize(body, 0);
        self.file.read_at(self.at + CHUNK_HEADER_BYTES as u64, bytes)?;
        if checksum(self.seed, self.chunks, word, bytes) != expected {
            return Err(self.damaged(Damage::Checksum));
        }
        if word == 0 {
            return self.end(bytes).map(|()| false);
        }
        if length.compressed {
            *bytes = compression::decompressed(bytes).ok_or_else(|| self.damaged(Damage::Content))?;
        }
        self.at += (CHUNK_HEADER_BYTES + body) as u64;
        self.chunks += 1;
        self.bytes += bytes.len() as u64;
        Ok(true)
    }

    fn end(&self, totals: &[u8]) -> Result<(), CheckpointError> {
        let long = |at: usize| u64::from_le_bytes(totals[at..at + 8].try_into().expect("eight bytes"));
        if (long(0), long(8)) != (self.chunks, self.bytes) {
            return Err(self.damaged(Damage::Content));
        }
        let expected = self.at + END_BYTES as u64;
        if self.end != expected {
            return Err(self.damaged(Damage::Length { found: self.end, expected }));
        }
        Ok(())
    }
}

impl Iterator for CheckpointReader {
    type Item = Result<Bytes, CheckpointError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let mut chunk = Vec::new();
        let read = self.read(&mut chunk);
        self.ended = !matches!(read, Ok(true));
        read.map(|more| more.then(|| Bytes::from(chunk))).transpose()
    }
}
