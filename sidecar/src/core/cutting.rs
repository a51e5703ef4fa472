//! Cutting one checkpoint: a thread of its own that encodes the state as it was when it began, and writes the file.
//!
//! The core gives it a copy that shares everything with the state, and goes on; nobody waits for anybody. It refuses to
//! decide anything: what came of it is an event.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::{io, thread};

use holdfast_engine::Checkpoint;
use holdfast_storage::{CheckpointError, CheckpointFile, Checkpoints, Compression, Outside};
use holdfast_store::CheckpointCursor;

use super::event::Event;
use super::queue::Queue;

/// Bytes of one chunk. Small enough to stay in the processor's cache from the encoding to the write, and a small share
/// of a frame when it is sent to another member.
const CHUNK_BYTES: usize = 128 * 1024;

/// How much less the processor is given to this thread than to the others: about a third of an equal share when all
/// want it, so that a checkpoint of a busy member still comes to its end before the next is due.
const NICENESS: i32 = 5;

/// Why a checkpoint was not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckpointFailure {
    /// The file could not be written.
    #[error("cannot write the checkpoint")]
    File(#[from] CheckpointError),
    /// It is on this member's disk, and could not be brought outside.
    #[error("cannot keep the checkpoint in {} too", path.display())]
    Outside {
        /// Where it was to be kept.
        path: PathBuf,
        /// Why.
        #[source]
        source: CheckpointError,
    },
    /// The thread that writes it could not be started.
    #[error("cannot start the thread that writes the checkpoint")]
    Thread(#[source] io::Error),
    /// The state was replaced by another before it was whole.
    #[error("the checkpoint was given up")]
    GivenUp,
}

/// What is to be cut, and where to.
pub(super) struct Order {
    pub(super) cursor: CheckpointCursor,
    pub(super) checkpoint: Checkpoint,
    pub(super) files: Checkpoints,
    pub(super) retain: NonZeroUsize,
    pub(super) compression: Compression,
    /// Where a copy is to be kept.
    pub(super) outside: Option<Outside>,
}

/// A checkpoint on this member's disk.
#[derive(Debug)]
pub(crate) struct Cut {
    pub(super) file: CheckpointFile,
    /// Whether it is kept outside, if it was to be.
    pub(super) outside: Option<Result<(), CheckpointFailure>>,
}

/// A checkpoint that is being cut. Dropping it gives it up.
#[derive(Debug)]
pub(super) struct Cutting {
    given_up: Arc<AtomicBool>,
}

impl Cutting {
    /// Begin. How it ended is told by an event, also if it could not begin.
    pub(super) fn begin(order: Order, queue: &Arc<Queue>) -> Cutting {
        let given_up = Arc::new(AtomicBool::new(false));
        let cutting = Cutting { given_up: given_up.clone() };
        let done = queue.clone();
        let thread = thread::Builder::new().name("checkpoint".to_owned()).spawn(move || {
            give_way();
            let result = write(order, &given_up);
            let _ = done.push_always(Event::CheckpointWritten { result });
        });
        if let Err(error) = thread {
            let result = Err(CheckpointFailure::Thread(error));
            let _ = queue.push_always(Event::CheckpointWritten { result });
        }
        cutting
    }
}

impl Drop for Cutting {
    fn drop(&mut self) {
        self.given_up.store(true, Relaxed);
    }
}

/// Let this thread have the processor after the others. If the system does not allow it, it is only less polite.
fn give_way() {
    #[cfg(target_os = "linux")]
    let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICENESS);
}

/// All chunks to the file, then the file durable, then old ones away, and a copy outside.
fn write(order: Order, given_up: &AtomicBool) -> Result<Cut, CheckpointFailure> {
    let Order { mut cursor, checkpoint, files, retain, compression, outside } = order;
    let mut writer = files.create_with(checkpoint, compression)?;
    while let Some(chunk) = cursor.chunk(CHUNK_BYTES) {
        if given_up.load(Relaxed) {
            return Err(CheckpointFailure::GivenUp);
        }
        writer.chunk(&chunk)?;
    }
    // What only the checkpoint still shows of the state is given back before the wait for the disk.
    drop(cursor);
    let file = writer.finish()?;
    if let Err(error) = files.retain(retain) {
        tracing::warn!(reason = crate::listener::chain(&error), "could not remove old checkpoints");
    }
    let outside = outside.map(|outside| {
        let kept = files.open(file.position).and_then(|reader| outside.keep(&reader, retain));
        kept.map(|_| ()).map_err(|source| {
            let path = outside.path().to_owned();
            CheckpointFailure::Outside { path, source }
        })
    });
    Ok(Cut { file, outside })
}
