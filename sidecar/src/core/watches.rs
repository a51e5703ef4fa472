//! Watches: who follows which keys, and the buffers between the core and the readers.
//!
//! Only committed events are delivered, in order and without gaps. A watch refuses to hold the core up: a reader whose
//! buffer is full is served from the history later, as much as it takes; one that takes nothing at all for too long
//! is cut off, and told where to go on.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use holdfast_engine::Moment;
use holdfast_store::{Event, ReadError, Revision, Store};
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
        event.revision() >= self.next && event.key().starts_with(&self.prefix)
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
mod tests {
    use holdfast_engine::{Entry, EntryKind, Index, Position, Term};
    use holdfast_store::{Command, Expect, Operation, View};

    use super::*;

    /// A state, its watches, and the time.
    struct World {
        store: Store,
        watches: Watches,
        metrics: Metrics,
        now: Moment,
    }

    impl World {
        fn new() -> World {
            let metrics = Metrics::example();
            World { store: Store::new(), watches: Watches::default(), metrics, now: Moment(0) }
        }

        fn committed(&self) -> Revision {
            self.store.revision(View::Committed)
        }

        fn watch(&mut self, from: Option<u64>, prefix: &'static str) -> Result<WatchStream, Failure> {
            let (committed, prefix) = (self.committed(), Bytes::from(prefix));
            self.watches.begin(&self.store, committed, from.map(Revision), prefix, self.now)
        }

        fn run(&mut self, operation: Operation) {
            let index = self.store.executed().next();
            let payload = Command::new(operation).encode();
            let entry = Entry::new(Position::new(Term(1), index), EntryKind::Command, &payload);
            let outcome = self.store.execute(&entry);
            assert!(outcome.is_some_and(|outcome| outcome.refusal().is_none()));
        }

        /// Execute puts of these keys, and commit them together.
        fn put(&mut self, keys: &[&'static str]) {
            for key in keys {
                let (key, value) = (Bytes::from(*key), Bytes::new());
                self.run(Operation::Put { key, value, expect: Expect::Any });
            }
            self.commit();
        }

        fn commit(&mut self) {
            let events = self.store.commit(Index(self.store.executed().0));
            self.watches.publish(&events, self.now, &self.metrics);
        }

        fn catch_up(&mut self) {
            let committed = self.committed();
            self.watches.catch_up(&self.store, committed, self.now, &self.metrics);
        }
    }

    /// The revisions that are in the buffer now, and why there will be no more.
    async fn drain(stream: &mut WatchStream) -> (Vec<u64>, Option<WatchEnd>) {
        let mut seen = Vec::new();
        loop {
            let next = tokio::time::timeout(Duration::from_millis(20), stream.next()).await;
            match next {
                Ok(Some(Ok(batch))) => {
                    seen.extend(batch.events.iter().map(|event| event.revision().0));
                    assert_eq!(stream.resume(), batch.revision.next());
                }
                Ok(Some(Err(end))) => return (seen, Some(end)),
                Ok(None) | Err(_) => return (seen, None),
            }
        }
    }

    #[tokio::test]
    async fn history_first_then_what_comes_without_gap_or_repetition() {
        let mut world = World::new();
        world.put(&["a/1", "b/1", "a/2", "a/3"]);
        let mut stream = world.watch(Some(4), "a/").expect("a watch");
        world.put(&["a/4", "b/2"]);
        world.catch_up();
        world.put(&["b/3", "a/5"]);
        world.put(&["a/6"]);
        world.catch_up();
        assert_eq!(drain(&mut stream).await, (vec![4, 5, 6, 9, 10], None));
    }

    #[tokio::test]
    async fn uncommitted_events_are_seen_by_nobody() {
        let mut world = World::new();
        let mut stream = world.watch(None, "").expect("a watch");
        world.catch_up();
        world.run(Operation::Put { key: Bytes::from("a"), value: Bytes::new(), expect: Expect::Any });
        world.catch_up();
        assert_eq!(drain(&mut stream).await, (vec![], None));
        world.commit();
        assert_eq!(drain(&mut stream).await, (vec![2], None));
    }

    #[tokio::test]
    async fn a_watch_may_begin_in_the_future() {
        let mut world = World::new();
        let mut stream = world.watch(Some(4), "").expect("a watch");
        world.catch_up();
        world.put(&["a", "b"]);
        world.put(&["c"]);
        world.catch_up();
        assert_eq!(drain(&mut stream).await, (vec![4], None));
    }

    #[tokio::test]
    async fn a_slow_reader_gets_everything_in_larger_batches() {
        let mut world = World::new();
        let mut stream = world.watch(None, "").expect("a watch");
        world.catch_up();
        for _ in 0..100 {
            world.put(&["a"]);
            world.catch_up();
        }
        let (mut seen, mut end) = drain(&mut stream).await;
        assert!(seen.len() < 100, "the buffer is bounded");
        while seen.len() < 100 {
            world.now = world.now + CATCH_UP_PAUSE;
            world.catch_up();
            let (more, ended) = drain(&mut stream).await;
            assert!(!more.is_empty(), "it goes on");
            seen.extend(more);
            end = ended;
        }
        assert_eq!((seen, end), ((2..102).collect(), None));
        world.now = world.now + CATCH_UP_PAUSE;
        world.catch_up();
        assert_eq!(world.watches.deadline(), None, "nothing is left to do");
    }

    #[tokio::test]
    async fn a_reader_that_takes_nothing_is_cut_off_and_told_where_to_go_on() {
        let mut world = World::new();
        let mut stream = world.watch(None, "").expect("a watch");
        world.catch_up();
        for _ in 0..100 {
            world.put(&["a"]);
        }
        world.catch_up();
        world.now = world.now + STALL_TIME_MAX;
        world.catch_up();
        let (seen, end) = drain(&mut stream).await;
        let resume = Revision(seen.last().expect("some") + 1);
        assert_eq!(end, Some(WatchEnd::TooSlow { resume }));
        let mut stream = world.watch(Some(resume.0), "").expect("a watch");
        world.catch_up();
        let (rest, _) = drain(&mut stream).await;
        assert_eq!([seen, rest].concat(), (2..102).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn what_is_compacted_is_said_to_be() {
        let mut world = World::new();
        world.put(&["a", "a", "a", "a"]);
        let mut behind = world.watch(Some(2), "").expect("a watch");
        world.run(Operation::Compact { revision: Revision(4) });
        world.commit();
        world.catch_up();
        assert_eq!(drain(&mut behind).await.1, Some(WatchEnd::Compacted { compacted: Revision(4) }));
        let refused = world.watch(Some(3), "").map(|_| ());
        assert!(matches!(refused, Err(Failure::Refused { code: RefusalCode::Compacted, .. })), "{refused:?}");
        assert!(world.watch(Some(4), "").is_ok());
    }

    #[tokio::test]
    async fn the_end_of_the_member_ends_watches_with_their_place() {
        let mut world = World::new();
        let mut stream = world.watch(None, "").expect("a watch");
        world.catch_up();
        world.put(&["a"]);
        world.watches.end();
        let expected = Some(WatchEnd::ShuttingDown { resume: Revision(3) });
        assert_eq!(drain(&mut stream).await, (vec![2], expected));
        assert!(stream.next().await.is_none());
    }
}
