//! The way to the disk: everything the engine wants written, in order, as much as the writer takes.

use std::time::Duration;

use holdfast_engine::Persist;
use holdfast_storage::{LogWriter, SubmitError};

use super::member_error::Broken;

/// The writer, and what it has no room for yet. The backlog is bounded by what the engine may have uncommitted, and
/// by what a leader sends ahead; new writes are refused while there is one.
#[derive(Debug)]
pub(super) struct Disk {
    writer: LogWriter,
    backlog: Vec<Persist>,
    /// The writer has stopped; it says why by an event, unless it could not.
    stopped: bool,
}

/// How a member that ends leaves its disk.
#[derive(Debug)]
pub(super) enum Left {
    /// The next start goes on from there.
    AsItIs,
    /// With the same log, but another identity: it must not vote as who it was.
    Renounced,
    /// Empty; what it had is moved aside, and this is why.
    PutAside(String),
}

impl Disk {
    pub(super) fn new(writer: LogWriter) -> Disk {
        Disk { writer, backlog: Vec::new(), stopped: false }
    }

    /// Write these after everything before. With nothing, try again what there was no room for.
    pub(super) fn submit(&mut self, writes: Vec<Persist>) -> Result<(), Broken> {
        if self.backlog.is_empty() {
            self.backlog = writes;
        } else {
            self.backlog.extend(writes);
        }
        if self.backlog.is_empty() {
            return Ok(());
        }
        match self.writer.submit(std::mem::take(&mut self.backlog)) {
            Ok(()) => Ok(()),
            Err(SubmitError::Full(writes)) => {
                self.backlog = writes;
                Ok(())
            }
            // What failed is in an event that is already waiting, and ends the member before the next try.
            Err(SubmitError::Stopped(_)) if !self.stopped => {
                self.stopped = true;
                Ok(())
            }
            Err(SubmitError::Stopped(_)) => Err(Broken::WriterGone),
        }
    }

    /// Whether the disk is behind what was asked of it.
    pub(super) fn is_behind(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// Whether there is no space on the disk but the reserve.
    pub(super) fn is_full(&self) -> bool {
        self.writer.space().is_full()
    }

    /// For how long there has been none.
    pub(super) fn full_for(&self) -> Option<Duration> {
        self.writer.space().full_for()
    }

    /// For how long the oldest write that is not durable has been asked for.
    pub(super) fn waiting_for(&self) -> Duration {
        self.writer.waiting_for()
    }

    /// Write what was taken, and end the writer's thread.
    pub(super) fn stop(self, left: &Left) {
        let (ended, aside) = match left {
            Left::AsItIs => return self.writer.stop(),
            Left::Renounced => (self.writer.renounce(), None),
            Left::PutAside(why) => match self.writer.put_aside(why) {
                Ok(aside) => (Ok(()), Some(aside)),
                Err(error) => (Err(error), None),
            },
        };
        let aside = aside.map(|aside| aside.display().to_string());
        match ended {
            Ok(()) => {
                tracing::warn!(aside, "the next start is another incarnation, which learns from the others");
            }
            Err(error) => {
                tracing::error!(reason = crate::listener::chain(&error), "the old identity stands");
            }
        }
    }
}
