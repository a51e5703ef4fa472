//! Reading a finished checkpoint back, for somebody who wants to know that the disk has it: a thread of its own, so that
//! nobody else waits.
//!
//! It refuses to repair anything: a damaged checkpoint is told, and the next one takes its place.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use holdfast_engine::Position;
use holdfast_storage::Checkpoints;
use tokio::sync::oneshot;

use super::handle::{Failure, RefusalCode};

/// Who waits for a verification.
pub(super) type Asker = oneshot::Sender<Result<(), Failure>>;

/// Whether one is under way. There is one at a time: each reads a whole checkpoint from the disk.
#[derive(Debug, Default)]
pub(super) struct Verification {
    busy: Arc<AtomicBool>,
}

impl Verification {
    /// Read the checkpoint at `position` back, and tell `asker` what came of it.
    pub(super) fn begin(&self, files: Checkpoints, position: Position, asker: Asker) {
        if self.busy.swap(true, Relaxed) {
            let _ = asker.send(Err(failed("another checkpoint is being read back".to_owned())));
            return;
        }
        let busy = self.busy.clone();
        let thread = thread::Builder::new().name("verification".to_owned()).spawn(move || {
            let verified = files.verify(position);
            busy.store(false, Relaxed);
            let _ = asker.send(verified.map_err(|error| failed(crate::listener::chain(&error))));
        });
        // The asker is told by the loss of the answer's channel.
        if thread.is_err() {
            self.busy.store(false, Relaxed);
        }
    }
}

fn failed(reason: String) -> Failure {
    Failure::Refused {
        code: RefusalCode::CheckpointFailed,
        detail: format!("the checkpoint could not be read back: {reason}"),
        retryable: true,
        retry_after: None,
    }
}
