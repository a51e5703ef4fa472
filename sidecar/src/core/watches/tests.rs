//! What a watch delivers, whatever the pace of its reader.

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
