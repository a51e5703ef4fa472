//! The writer thread.
use crate::*;
use holdfast_engine::{Persist, Ticket};
use std::time::Duration;

/// Most bytes that wait for the writer.
pub const QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Most writes that wait for the writer.
pub const QUEUE_WRITES_MAX: usize = 65_536;

/// An opened folder that is not written yet.
#[derive(Debug)]
pub struct Disk;

/// One flush, for metrics.
#[derive(Clone, Copy, Debug)]
pub struct Flush {
    /// What was flushed.
    pub what: Flushed,
    /// Bytes written.
    pub bytes: usize,
    /// Entries among them.
    pub entries: usize,
    /// Time in write.
    pub write: Duration,
    /// Time in fdatasync (fsync for the identity).
    pub fsync: Duration,
}

/// Which file was flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flushed {
    /// The log.
    Log,
    /// The vote.
    Vote,
    /// The identity.
    Identity,
}

/// Why writes were not taken; they are handed back, all of them.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// Too much waits. Keep them, ask for nothing new, and submit them again when `done` reports progress.
    #[error("the disk is behind by {QUEUE_BYTES_MAX} bytes or {QUEUE_WRITES_MAX} writes")]
    Full(Vec<Persist>),
    /// The writer has stopped: it failed, and said so once.
    #[error("the writer has stopped")]
    Stopped(Vec<Persist>),
}

/// How much waits for the writer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queued {
    /// Writes.
    pub writes: usize,
    /// Bytes of entries in them.
    pub bytes: usize,
}

/// The way to the writer thread. Dropping it stops the thread after everything that was taken is written.
#[derive(Debug)]
pub struct LogWriter;

impl Disk {
    /// The folder's checkpoints. The folder stays locked as long as a copy of this lives.
    pub fn checkpoints(&self) -> Checkpoints {
        unimplemented!()
    }
    /// Call `observe` in the writer thread after every flush.
    pub fn on_flush(self, _observe: impl FnMut(Flush) + Send + 'static) -> Disk {
        unimplemented!()
    }
    /// Start the writer thread.
    pub fn start(
        self,
        _done: impl FnMut(Result<Ticket, WriteError>) + Send + 'static,
    ) -> std::io::Result<LogWriter> {
        unimplemented!()
    }
}

impl LogWriter {
    /// Hand over writes, in order, all or none; never waits.
    pub fn submit(&self, _writes: Vec<Persist>) -> Result<(), SubmitError> {
        unimplemented!()
    }
    /// How much waits.
    pub fn queued(&self) -> Queued {
        unimplemented!()
    }
    /// Write what was taken, and end the thread.
    pub fn stop(self) {}
}
