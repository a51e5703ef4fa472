//! The same log gives the same state, whatever was executed ahead, undone, executed again, cut and restored on the
//! way: the store along a random way against the store that executed and committed entry by entry.

use bytes::Bytes;
use holdfast_engine::{Entry, Index, Random};
use holdfast_store::{
    CheckpointCursor, Event, Limits, MessagesQuery, Outcome, RESERVED, RangeQuery, Revision, Sequence,
    Statistics, Store, View,
};

use crate::checkpoints::{CHUNK_BYTES, cut, restore};
use crate::commands::Commands;
use crate::{SMALL, for_seeds};

#[test]
fn any_way_to_the_same_log_gives_the_same_state() {
    for_seeds(60, |seed| run(seed, SMALL, 200));
}

#[test]
fn so_it_does_with_the_usual_limits() {
    for_seeds(10, |seed| run(seed, Limits::default(), 150));
}

/// What the straight way showed. All by index, from 0 on.
struct Straight {
    log: Vec<Entry>,
    outcomes: Vec<Option<Outcome>>,
    hashes: Vec<u64>,
    statistics: Vec<Statistics>,
    checkpoints: Vec<Vec<Bytes>>,
    /// All, in order.
    events: Vec<Event>,
    store: Store,
}

fn straight(seed: u64, limits: Limits, entries: u64) -> Straight {
    let mut commands = Commands::new(seed);
    let mut store = Store::with_limits(limits);
    let mut way = Straight {
        log: Vec::new(),
        outcomes: vec![None],
        hashes: vec![store.hash()],
        statistics: vec![store.statistics()],
        checkpoints: vec![cut(&store)],
        events: Vec::new(),
        store: Store::new(),
    };
    for index in 1..=entries {
        commands.revision_is(store.revision(View::Committed));
        let entry = commands.entry(index);
        way.outcomes.push(store.execute(&entry));
        way.log.push(entry);
        way.events.extend(store.commit(Index(index)));
        way.hashes.push(store.hash());
        way.statistics.push(store.statistics());
        way.checkpoints.push(cut(&store));
    }
    way.store = store;
    way
}

/// The store along a random way.
struct Wanderer {
    store: Store,
    limits: Limits,
    random: Random,
    /// The first entry that was executed and is not of the log.
    foreign: Option<Index>,
    strangers: Commands,
    cutting: Option<(CheckpointCursor, Vec<Bytes>)>,
    events: Vec<Event>,
}

fn run(seed: u64, limits: Limits, entries: u64) {
    let straight = straight(seed, limits, entries);
    let mut wanderer = Wanderer {
        store: Store::with_limits(limits),
        limits,
        random: Random::new(!seed),
        foreign: None,
        strangers: Commands::new(seed ^ 0xf0),
        cutting: None,
        events: Vec::new(),
    };
    while wanderer.store.committed() < Index(entries) {
        wanderer.step(&straight);
    }
    wanderer.store.rollback(Index(entries));
    assert_eq!(wanderer.events, straight.events);
    compare_reads(&wanderer.store, &straight.store);
}

impl Wanderer {
    fn step(&mut self, straight: &Straight) {
        match self.random.below(100) {
            0..50 => self.execute(straight),
            50..55 => self.execute_stranger(),
            55..65 => self.rollback(),
            65..80 => self.commit(straight),
            80..85 => self.begin(),
            85..99 => self.chunk(straight),
            _ => self.abandon(),
        }
    }

    fn execute(&mut self, straight: &Straight) {
        let index = self.store.executed().next();
        if self.foreign.is_some() {
            self.execute_stranger();
        } else if let Some(entry) = straight.log.get(index.0 as usize - 1) {
            assert_eq!(self.store.execute(entry), straight.outcomes[index.0 as usize], "index {index}");
        }
    }

    fn execute_stranger(&mut self) {
        let index = self.store.executed().next();
        self.strangers.revision_is(self.store.revision(View::Executed));
        self.store.execute(&self.strangers.entry(index.0));
        self.foreign.get_or_insert(index);
    }

    fn rollback(&mut self) {
        let (committed, executed) = (self.store.committed(), self.store.executed());
        let index = Index(committed.0 + self.random.below(executed.0 - committed.0 + 1));
        self.store.rollback(index);
        self.foreign = self.foreign.filter(|foreign| *foreign <= index);
    }

    fn commit(&mut self, straight: &Straight) {
        let committed = self.store.committed();
        let own = self.foreign.map_or(self.store.executed(), Index::previous);
        let index = Index(committed.0 + self.random.below(own.0 - committed.0 + 1));
        self.events.extend(self.store.commit(index));
        assert_eq!(self.store.hash(), straight.hashes[index.0 as usize], "index {index}");
        let expected = straight.statistics[index.0 as usize];
        // Sessions are counted in the executed state.
        let committed = Statistics { sessions: expected.sessions, ..self.store.statistics() };
        assert_eq!(committed, expected, "index {index}");
    }

    fn begin(&mut self) {
        if self.cutting.is_none() {
            self.cutting = Some((self.store.begin_checkpoint(), Vec::new()));
        }
    }

    fn chunk(&mut self, straight: &Straight) {
        let Some((cursor, chunks)) = &mut self.cutting else { return };
        if let Some(chunk) = cursor.chunk(CHUNK_BYTES) {
            chunks.push(chunk);
            return;
        }
        let index = cursor.index();
        assert_eq!(*chunks, straight.checkpoints[index.0 as usize], "checkpoint of index {index}");
        let (_, chunks) = self.cutting.take().expect("just seen");
        if index == self.store.committed() && self.random.chance(0.5) {
            self.store = restore(&chunks, self.limits).expect("a checkpoint that was cut whole");
            self.foreign = None;
        }
    }

    fn abandon(&mut self) {
        self.cutting = None;
    }
}

fn compare_reads(one: &Store, other: &Store) {
    for view in [View::Committed, View::Executed] {
        assert_eq!(one.revision(view), other.revision(view));
        assert_eq!(one.logs(view), other.logs(view));
        for log in one.logs(view) {
            let log = Bytes::copy_from_slice(log.name.as_bytes());
            let all = usize::MAX;
            let query = MessagesQuery { log, from: Sequence(0), limit: all, bytes_max: all, view };
            assert_eq!(one.messages(&query), other.messages(&query));
        }
        for at in 0..=one.revision(view).0 + 1 {
            let at = Some(Revision(at));
            for prefix in [&b""[..], &[RESERVED]] {
                let prefix = Bytes::from_static(prefix);
                let query = RangeQuery { prefix, after: None, limit: usize::MAX, at, view };
                assert_eq!(one.range(query.clone()), other.range(query), "{view:?} at {at:?}");
            }
        }
    }
    for from in 0..=one.revision(View::Committed).0 {
        let (from, all) = (Revision(from), usize::MAX);
        for prefix in [&b""[..], &[RESERVED]] {
            assert_eq!(one.events(from, prefix, all), other.events(from, prefix, all), "from {from}");
        }
    }
}
