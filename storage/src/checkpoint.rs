//! Checkpoint files.
use crate::*;
use bytes::Bytes;
use holdfast_engine::{Checkpoint, Position};
use std::num::NonZeroUsize;
use std::time::SystemTime;

/// Most bytes of one chunk.
pub const CHECKPOINT_CHUNK_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A member's checkpoints. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Checkpoints;
/// One checkpoint on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointFile {
    /// What it covers.
    pub checkpoint: Checkpoint,
    /// Its length.
    pub bytes: u64,
    /// When it was finished, by the file system's clock.
    pub modified: Option<SystemTime>,
}
/// Writes one checkpoint; dropped before `finish`, it leaves nothing.
#[derive(Debug)]
pub struct CheckpointWriter;
/// Reads one checkpoint; an iterator of its verified chunks.
#[derive(Debug)]
pub struct CheckpointReader;

impl Checkpoints {
    /// Begin to write.
    pub fn create(&self, _checkpoint: Checkpoint) -> Result<CheckpointWriter, CheckpointError> {
        unimplemented!()
    }
    /// Open one to read.
    pub fn open(&self, _position: Position) -> Result<CheckpointReader, CheckpointError> {
        unimplemented!()
    }
    /// All of them, newest first.
    pub fn list(&self) -> Result<Vec<CheckpointFile>, CheckpointError> {
        unimplemented!()
    }
    /// Remove all but the newest `keep`; how many were removed.
    pub fn retain(&self, _keep: NonZeroUsize) -> Result<usize, CheckpointError> {
        unimplemented!()
    }
}
impl CheckpointWriter {
    /// Add a chunk: `[1, CHECKPOINT_CHUNK_BYTES_MAX]` bytes.
    pub fn chunk(&mut self, _bytes: &[u8]) -> Result<(), CheckpointError> {
        unimplemented!()
    }
    /// Chunks so far.
    pub fn chunks(&self) -> u64 {
        0
    }
    /// Bytes of chunks so far.
    pub fn bytes(&self) -> u64 {
        0
    }
    /// Make it durable under its name.
    pub fn finish(self) -> Result<CheckpointFile, CheckpointError> {
        unimplemented!()
    }
}
impl CheckpointReader {
    /// What it covers.
    pub fn checkpoint(&self) -> Checkpoint {
        unimplemented!()
    }
    /// Back to the first chunk.
    pub fn rewind(&mut self) -> Result<(), CheckpointError> {
        unimplemented!()
    }
}
impl Iterator for CheckpointReader {
    type Item = Result<Bytes, CheckpointError>;
    fn next(&mut self) -> Option<Self::Item> {
        None
    }
}
