//! Watches: who follows which keys, and the buffers between the core and the readers.
//!
//! Only committed events are delivered, in order and without gaps. A watch refuses to hold the core up: a reader that
//! lets its buffer fill is cut off and told where to go on.

use std::sync::{Arc, OnceLock};

use holdfast_store::Revision;
use tokio::sync::mpsc;

use super::handle::{WatchBatch, WatchEnd};

/// Batches that wait for a watch's reader. A batch is what one round of the core committed under the prefix, so that
/// this covers a reader which stands still for some tens of milliseconds at full load.
pub(crate) const WATCH_BATCHES_MAX: usize = 64;

/// The reader's end of a watch. Dropping it ends the watch.
#[derive(Debug)]
pub struct WatchStream {
    batches: mpsc::Receiver<WatchBatch>,
    end: Arc<OnceLock<WatchEnd>>,
    /// The first revision that was not delivered yet.
    next: Revision,
    ended: bool,
}

impl WatchStream {
    /// The first revision that was not delivered yet: a watch that replaces this one starts from it.
    pub fn resume(&self) -> Revision {
        self.next
    }

    /// The next events; waits for them. After the last ones comes the reason for the end, then `None`.
    ///
    /// Cancel safe: nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Result<WatchBatch, WatchEnd>> {
        if self.ended {
            return None;
        }
        if let Some(batch) = self.batches.recv().await {
            self.next = Revision(batch.revision.0 + 1);
            return Some(Ok(batch));
        }
        self.ended = true;
        let end = self.end.get().cloned().unwrap_or(WatchEnd::ShuttingDown { resume: self.next });
        Some(Err(end))
    }
}
