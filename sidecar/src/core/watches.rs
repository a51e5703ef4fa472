//! Watches: who follows which keys, and the buffers between the core and the readers.
//!
//! Only committed events are delivered, in order and without gaps. A watch refuses to hold the core up: a reader whose
//! buffer is full is served from the history later, as much as it takes; one that takes nothing at all for too long
//! is cut off, and told where to go on.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use holdfast_engine::Moment;
use holdfast_store::{Event, ReadError, Revision, Store, covers};
use tokio::sync::mpsc;

use super::handle::{Failure, RefusalCode, WatchBatch, WatchEnd};
use crate::metrics::Metrics;

/// Watches at one member. Each costs a buffer and a look at every committed event.
const WATCHES_MAX: usize = 10_000;

/// Batches that wait for a watch's reader. A reader that is behind gets larger batches, so that few are enough to
/// keep it busy.
const WATCH_BATCHES_MAX: usize = 16;

/// Events in one batch from the history. Bounds what one watch takes of one round of the core.
const CATCH_UP_EVENTS_MAX: usize = 512;

/// The pause before looking again whether a reader that is behind has taken something.
const CATCH_UP_PAUSE: Duration = Duration::from_millis(5);

/// A reader that takes nothing for so long, although something waits for it, is cut off.
const STALL_TIME_MAX: Duration = Duration::from_secs(10);

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

/// All watches of a member.
#[derive(Debug, Default)]
pub(super) struct Watches {
    watches: Vec<Watch>,
    /// When to look again at those that are behind.
    look_at: Option<Moment>,
}

/// The core's end of a watch.
#[derive(Debug)]
struct Watch {
    prefix: Bytes,
    /// The first revision that is not in the buffer yet.
    next: Revision,
    batches: mpsc::Sender<WatchBatch>,
    end: Arc<OnceLock<WatchEnd>>,
    /// Since when it is behind what is committed without having taken anything; `None`: it is not behind.
    behind: Option<Moment>,
}

/// Whether a watch goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Going {
    /// It has all that is committed.
    UpToDate,
    /// There is more for it in the history.
    Behind,
    /// Its buffer is full.
    Stalled,
    /// It is over.
    Over,
}

impl Watches {
    /// Begin a watch from a revision on, which may lie in the future; `None`: from the next one.
    pub(super) fn begin(
        &mut self,
        store: &Store,
        committed: Revision,
        from: Option<Revision>,
        prefix: Bytes,
        now: Moment,
    ) -> Result<WatchStream, Failure> {
        self.watches.retain(|watch| !watch.batches.is_closed());
        if self.watches.len() >= WATCHES_MAX {
            return Err(Failure::Refused {
                code: RefusalCode::TooManyWatches,
                detail: format!("this member has {WATCHES_MAX} watches already"),
                retryable: true,
                retry_after: None,
            });
        }
        let next = from.unwrap_or_else(|| committed.next()).max(Revision::EMPTY);
        if let Err(ReadError::Compacted { compacted }) = store.events(next, &prefix, 1) {
            return Err(Failure::Refused {
                code: RefusalCode::Compacted,
                detail: format!("revision {next} is compacted away; the oldest is {compacted}"),
                retryable: false,
                retry_after: None,
            });
        }
        let (batches, received) = mpsc::channel(WATCH_BATCHES_MAX);
        let end = Arc::new(OnceLock::new());
        self.look_at = Some(now);
        self.watches.push(Watch { prefix, next, batches, end: end.clone(), behind: Some(now) });
        Ok(WatchStream { batches: received, end, next, ended: false })
    }

    /// Whether nobody follows anything.
    pub(super) fn is_empty(&self) -> bool {
        self.watches.is_empty()
    }

    /// These events were committed; whole revisions, in order.
    pub(super) fn publish(&mut self, events: &[Event], now: Moment, metrics: &Metrics) {
        let Some(last) = events.last().map(Event::revision) else { return };
        self.watches.retain_mut(|watch| {
            if watch.behind.is_some() {
                return true; // these come to it from the history
            }
            let own = events.iter().filter(|event| watch.wants(event));
            let batch: Vec<Event> = own.cloned().collect();
            match watch.send(batch, last, metrics) {
                Going::Over => return false,
                Going::Stalled => watch.behind = Some(now),
                Going::UpToDate | Going::Behind => {}
            }
            true
        });
        if self.watches.iter().any(|watch| watch.behind.is_some()) {
            self.look_at = Some(self.look_at.map_or(now, |at| at.min(now)));
        }
    }

    /// Serve those that are behind from the history, as far as their buffers have room.
    pub(super) fn catch_up(&mut self, store: &Store, committed: Revision, now: Moment, metrics: &Metrics) {
        if self.look_at.is_none_or(|at| now < at) {
            return;
        }
        let (mut at_once, mut later) = (false, false);
        self.watches.retain_mut(|watch| {
            let Some(since) = watch.behind else { return true };
            match watch.catch_up(store, committed, metrics) {
                Going::Over => return false,
                Going::UpToDate => watch.behind = None,
                Going::Behind => {
                    at_once = true;
                    watch.behind = Some(now);
                }
                Going::Stalled if now - since >= STALL_TIME_MAX => {
                    let _ = watch.end.set(WatchEnd::TooSlow { resume: watch.next });
                    return false;
                }
                Going::Stalled => later = true,
            }
            true
        });
        self.look_at = match (at_once, later) {
            (true, _) => Some(now),
            (false, true) => Some(now + CATCH_UP_PAUSE),
            (false, false) => None,
        };
    }

    /// The state was replaced: everybody goes on from the history, as far as there is one.
    pub(super) fn restored(&mut self, now: Moment) {
        for watch in &mut self.watches {
            watch.behind = Some(now);
        }
        self.look_at = Some(now);
    }

    /// The member ends.
    pub(super) fn end(&mut self) {
        for watch in self.watches.drain(..) {
            let _ = watch.end.set(WatchEnd::ShuttingDown { resume: watch.next });
        }
    }

    /// When there is something to do at the earliest.
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.look_at
    }
}

impl Watch {
    fn wants(&self, event: &Event) -> bool {
        event.revision() >= self.next && covers(&self.prefix, event.key())
    }

    fn catch_up(&mut self, store: &Store, committed: Revision, metrics: &Metrics) -> Going {
        if self.batches.is_closed() {
            return Going::Over;
        }
        if self.batches.capacity() == 0 {
            return Going::Stalled;
        }
        match store.events(self.next, &self.prefix, CATCH_UP_EVENTS_MAX) {
            Ok(events) if events.is_empty() => {
                self.next = self.next.max(committed.next());
                Going::UpToDate
            }
            Ok(events) => {
                let last = events.last().map_or(committed, Event::revision);
                match self.send(events, last, metrics) {
                    Going::UpToDate => Going::Behind, // until there is nothing more
                    going => going,
                }
            }
            Err(ReadError::Compacted { compacted }) => {
                let _ = self.end.set(WatchEnd::Compacted { compacted });
                Going::Over
            }
            // It waits for a revision that does not exist yet.
            Err(ReadError::FutureRevision { .. }) => Going::UpToDate,
        }
    }

    /// Put what is under the prefix of all revisions up to `last` into the buffer.
    fn send(&mut self, events: Vec<Event>, last: Revision, metrics: &Metrics) -> Going {
        let next = self.next.max(last.next());
        let count = events.len() as u64;
        if count > 0 {
            match self.batches.try_send(WatchBatch { events, revision: last }) {
                Ok(()) => metrics.watch_events.add(count),
                Err(mpsc::error::TrySendError::Full(_)) => return Going::Stalled,
                Err(mpsc::error::TrySendError::Closed(_)) => return Going::Over,
            }
        }
        self.next = next;
        Going::UpToDate
    }
}

#[cfg(test)]
mod tests;
