//! Tests of every crash: a member's disk is used at random, and after each single change to it the process is killed,
//! or power is lost. What was reported durable must be there when the folder is opened again, and nothing that was not
//! asked for.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use holdfast_engine::{
    Checkpoint, Entry, EntryKind, Formation, HardState, Incarnation, Index, Ordinal, Persist, Position,
    Random, Restored, StoreId, Term, Ticket, Write,
};
use tempfile::TempDir;

use crate::files::Files;
use crate::open::open_through;
use crate::trace::{Event, Model, Trace, lay_out};
use crate::{LogPolicy, LogWriter, OpenError, Opened, Options, Owner};

/// Small, so that segments fill quickly.
const OPTIONS: Options = Options { segment_bytes: 8 * 1024 };

/// More reports than one run makes.
const REPORTS_MAX: usize = 1000;

/// Longest wait for the writer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder in memory where there is one: the model says what survives, and ten thousand crashes make as many files.
fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a temporary folder")
}

fn owner() -> Owner {
    Owner { store: "default/words".to_owned(), ordinal: Ordinal(1) }
}

fn open(path: &Path, trace: &Arc<Trace>) -> Result<Opened, OpenError> {
    open_through(
        Files { trace: Some(Arc::clone(trace)) },
        path,
        &owner(),
        LogPolicy::Kept,
        Incarnation(77),
        OPTIONS,
    )
}

/// What a member should remember after some writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct State {
    formation: Option<Formation>,
    hard_state: HardState,
    /// The log starts after this.
    start: Position,
    entries: Vec<Entry>,
}

impl State {
    fn end(&self) -> Position {
        self.entries.last().map_or(self.start, Entry::position)
    }

    fn contains(&self, position: Position) -> bool {
        position == self.start || self.entries.iter().any(|entry| entry.position() == position)
    }

    fn apply(&mut self, write: &Write) {
        match write {
            Write::Formation(formation) => self.formation = Some(formation.clone()),
            Write::HardState(hard_state) => self.hard_state = *hard_state,
            Write::Append(entries) => {
                let first = entries.first().expect("entries").index();
                self.entries.retain(|entry| entry.index() < first);
                self.entries.extend(entries.iter().cloned());
            }
            Write::Reset(position) => {
                self.start = *position;
                self.entries.clear();
            }
            // Segments are removed whole, so what is released may be there or not.
            Write::Release(_) => {}
        }
    }

    /// This state, and the ones on the way from it to the one after `write`.
    fn towards(&self, write: Option<&Write>) -> Vec<State> {
        let mut states = vec![self.clone()];
        if let Some(Write::Append(entries)) = write {
            let mut cut = self.clone();
            cut.entries.retain(|entry| entry.index() < entries[0].index());
            for entry in entries {
                states.push(cut.clone());
                cut.entries.push(entry.clone());
            }
        }
        states
    }

    /// Whether `restored` is this state, of which entries up to `released` may be missing.
    fn is(&self, restored: &Restored, released: Index) -> bool {
        let covered = restored.checkpoint.map_or(Position::ZERO, |checkpoint| checkpoint.position);
        let entries = if self.contains(covered) { &self.entries[..] } else { &[] };
        let Some(missing) = entries.len().checked_sub(restored.entries.len()) else { return false };
        self.formation == restored.formation
            && self.hard_state == restored.hard_state
            && entries[missing..] == restored.entries
            && entries[..missing].iter().all(|entry| entry.index() <= released)
    }
}

/// One use of a disk.
struct Run {
    root: PathBuf,
    /// What was remembered when the first of the events happened, and which checkpoint was there.
    first: State,
    checkpoint: u64,
    events: Vec<Event>,
    writes: Vec<Persist>,
}

impl Run {
    /// Whether `restored` has what was reported before event `crash`.
    fn check(&self, crash: usize, restored: &Restored, what: &str) {
        let done = self.events[..crash].iter().rev();
        let done =
            done.filter_map(|event| if let Event::Done(ticket) = event { Some(*ticket) } else { None });
        let done = done.max().unwrap_or(0) as usize;
        let mut checkpointed = self.checkpoint;
        for event in &self.events[..crash] {
            if let Event::Checkpointed(index) = event {
                checkpointed = *index;
            }
        }
        let restored_to = restored.checkpoint.map_or(0, |checkpoint| checkpoint.position.index.0);
        assert!(restored_to >= checkpointed, "{what}: checkpoint {restored_to}, reported {checkpointed}");
        let mut state = self.first.clone();
        // What a checkpoint covers may be released before what was asked for earlier is written.
        let released = Index(checkpointed);
        for (at, persist) in self.writes.iter().enumerate() {
            if at >= done && state.towards(Some(&persist.write)).iter().any(|s| s.is(restored, released)) {
                return;
            }
            state.apply(&persist.write);
        }
        assert!(
            state.is(restored, released),
            "{what}: {done} were done, found {}",
            self.story(done, restored)
        );
    }
}

impl Run {
    /// What was found, and the writes around the last one that was done.
    fn story(&self, done: usize, restored: &Restored) -> String {
        let positions = |entries: &[Entry]| {
            entries.iter().map(|entry| entry.position().to_string()).collect::<Vec<_>>().join(" ")
        };
        let mut lines = vec![format!("{:?} {:?}", restored.hard_state, restored.checkpoint)];
        lines.push(positions(&restored.entries));
        for Persist { ticket, write } in self.writes.iter().skip(done.saturating_sub(4)).take(10) {
            lines.push(match write {
                Write::Append(entries) => format!("{ticket:?} append {}", positions(entries)),
                other => format!("{ticket:?} {other:?}"),
            });
        }
        lines.join("\n")
    }
}

/// Asks for writes as an engine would.
struct Driver {
    random: Random,
    state: State,
    writes: Vec<Persist>,
    commit: Index,
}

impl Driver {
    fn new(seed: u64) -> Driver {
        Driver { random: Random::new(seed), state: State::default(), writes: Vec::new(), commit: Index(0) }
    }

    fn ask(&mut self, write: Write) -> Persist {
        self.state.apply(&write);
        let persist = Persist { ticket: Ticket(self.writes.len() as u64 + 1), write };
        self.writes.push(persist.clone());
        persist
    }

    fn entries(&mut self, previous: Index, term: Term) -> Write {
        let count = 1 + self.random.below(6);
        let entries = (1..=count).map(|next| {
            let payload = vec![self.random.below(3) as u8; self.random.below(900) as usize];
            Entry::new(Position::new(term, Index(previous.0 + next)), EntryKind::Command, &payload)
        });
        Write::Append(entries.collect())
    }

    fn new_term(&mut self) -> Persist {
        let term = self.state.hard_state.term.next();
        let voted_for = (self.random.below(2) == 0).then(Default::default);
        self.ask(Write::HardState(HardState { term, voted_for }))
    }

    /// A few writes, as of one or several steps.
    fn some(&mut self) -> Vec<Persist> {
        let mut writes = Vec::new();
        for _ in 0..=self.random.below(3) {
            match self.random.below(8) {
                0 => writes.push(self.new_term()),
                1 if self.state.end().index > self.commit => {
                    // A new leader replaces what was not committed.
                    writes.push(self.new_term());
                    let uncommitted = self.state.end().index.0 - self.commit.0;
                    let previous = Index(self.commit.0 + self.random.below(uncommitted));
                    let write = self.entries(previous, self.state.hard_state.term);
                    writes.push(self.ask(write));
                }
                _ => {
                    let write = self.entries(self.state.end().index, self.state.hard_state.term);
                    writes.push(self.ask(write));
                }
            }
        }
        writes
    }
}

fn first_writes(driver: &mut Driver) -> Vec<Persist> {
    let voters = vec![Default::default()];
    let formation = driver.ask(Write::Formation(Formation { store: StoreId(5), voters }));
    vec![formation, driver.new_term()]
}

/// Wait until this ticket is done; `false` if the writer broke.
fn wait(reports: &Receiver<Option<u64>>, ticket: u64) -> bool {
    loop {
        match reports.recv_timeout(PATIENCE).expect("the writer reports") {
            Some(done) if done >= ticket => return true,
            Some(_) => {}
            None => return false,
        }
    }
}

fn start_writer(opened: Opened, trace: &Arc<Trace>) -> (LogWriter, Receiver<Option<u64>>) {
    let (report, reports) = sync_channel(REPORTS_MAX);
    let trace = Arc::clone(trace);
    let writer = opened.disk.start(move |result| {
        let report_of = match result {
            Ok(Ticket(ticket)) => (Event::Done(ticket), Some(ticket)),
            Err(_) => (Event::Broken, None),
        };
        trace.note(report_of.0);
        let _ = report.send(report_of.1);
    });
    (writer.expect("a thread"), reports)
}

/// Use a disk at random for `rounds`, until it breaks.
fn run(seed: u64, rounds: u64, trace: Trace) -> (Run, TempDir) {
    let folder = folder();
    let root = folder.path().to_owned();
    let trace = Arc::new(trace);
    let mut driver = Driver::new(seed);
    if let Ok(opened) = open(&root, &trace) {
        let checkpoints = opened.disk.checkpoints();
        let (writer, reports) = start_writer(opened, &trace);
        let mut writes = first_writes(&mut driver);
        for _ in 0..rounds {
            let last = writes.last().expect("something is asked for").ticket;
            if writer.submit(writes).is_err() {
                break;
            }
            let waits = driver.random.below(3);
            if waits > 0 && !wait(&reports, last.0) {
                break;
            }
            writes = driver.some();
            if waits == 2 && driver.random.below(3) == 0 {
                let Some(more) = checkpoint(&mut driver, &checkpoints, &trace) else { break };
                // What was asked for before the checkpoint was taken comes before it.
                writes.extend(more);
            }
        }
        writer.stop();
    }
    let first = State::default();
    (Run { root, first, checkpoint: 0, events: trace.events(), writes: driver.writes }, folder)
}

/// Take a checkpoint of what is committed, or fetch one that is ahead; then what an engine asks for.
fn checkpoint(driver: &mut Driver, files: &crate::Checkpoints, trace: &Trace) -> Option<Vec<Persist>> {
    let fetched = driver.random.below(3) == 0;
    let end = driver.state.end();
    let position = if fetched {
        Position::new(driver.state.hard_state.term, Index(end.index.0 + 1 + driver.random.below(20)))
    } else {
        let at = driver.state.entries.len()
            - driver.random.below(driver.state.entries.len() as u64 / 2 + 1) as usize;
        driver.state.entries[..at].last().map_or(driver.state.start, Entry::position)
    };
    if position.index <= driver.commit {
        return Some(Vec::new());
    }
    let mut writer = files.create(Checkpoint { position, membership: Default::default() }).ok()?;
    writer.chunk(b"state").ok()?;
    writer.finish().ok()?;
    trace.note(Event::Checkpointed(position.index.0));
    files.retain(std::num::NonZeroUsize::MIN.saturating_add(1)).ok()?;
    driver.commit = position.index;
    Some(vec![driver.ask(if fetched { Write::Reset(position) } else { Write::Release(position.index) })])
}

/// Open what a crash left on this disk, and see that it goes on from there.
fn check(run: &Run, crash: usize, disk: &Model, what: &str) {
    let folder = folder();
    lay_out(&disk.killed(), &run.root, folder.path());
    let trace = Arc::new(Trace::default());
    let opened = open(folder.path(), &trace);
    let opened =
        opened.unwrap_or_else(|error| panic!("{what}: {error:?}\n{:#?}", run.events[..crash].last()));
    run.check(crash, &opened.restored, what);
    if crash.is_multiple_of(16) {
        let opening = trace.events().len();
        let next = go_on(folder.path(), opened, &trace, what);
        crash_again(disk.moved(&run.root, folder.path()), run, crash, &next, opening);
    }
}

/// Write one entry more and find it. What happened since the folder was opened, and what was remembered then.
fn go_on(path: &Path, opened: Opened, trace: &Arc<Trace>, what: &str) -> Run {
    let restored = opened.restored.clone();
    let covered = restored.checkpoint.map_or(Position::ZERO, |checkpoint| checkpoint.position);
    let start = restored.entries.first().map_or(covered.index, |entry| entry.index().previous());
    let first = State {
        formation: restored.formation,
        hard_state: restored.hard_state,
        // The term before the first entry is not known, and nothing asks for it.
        start: if start == covered.index { covered } else { Position::new(Term(0), start) },
        entries: restored.entries,
    };
    let end = first.end();
    let term = first.hard_state.term.max(end.term);
    let entry = Entry::new(Position::new(term, end.index.next()), EntryKind::Noop, b"");
    let voted = |voted_for| Write::HardState(HardState { term, voted_for });
    let formation = Formation { store: StoreId(5), voters: vec![Default::default()] };
    let writes = [
        Write::Formation(formation),
        voted(None),
        voted(Some(Default::default())),
        Write::Append(vec![entry.clone()]),
        voted(None),
    ];
    let writes = (1..).zip(writes).map(|(ticket, write)| Persist { ticket: Ticket(ticket), write });
    let writes = writes.collect::<Vec<_>>();
    let (writer, reports) = start_writer(opened, trace);
    writer.submit(writes.clone()).expect("room");
    assert!(wait(&reports, 5), "{what}");
    writer.stop();
    let again = open(path, &Arc::default()).unwrap_or_else(|error| panic!("{what}: {error:?}")).restored;
    let mut entries = first.entries.clone();
    entries.push(entry);
    assert_eq!(again.entries, entries, "{what}");
    assert_eq!((again.hard_state.term, again.checkpoint), (term, restored.checkpoint), "{what}");
    Run { root: path.to_owned(), first, checkpoint: covered.index.0, events: trace.events(), writes }
}

/// Lose power while the folder is opened after a crash, or used then. From when it was open, all that it held then counts
/// as durable.
fn crash_again(mut model: Model, run: &Run, crash: usize, next: &Run, opening: usize) {
    let mut random = Random::new(crash as u64);
    for (at, event) in next.events.iter().enumerate() {
        model.apply(event);
        let what = format!("crash after event {crash}, and again after event {at} of the next start");
        let folder = folder();
        lay_out(&model.cut_off(&mut random, 2), &next.root, folder.path());
        let opened = open(folder.path(), &Arc::default()).unwrap_or_else(|error| panic!("{what}: {error:?}"));
        if at < opening {
            run.check(crash, &opened.restored, &what);
        } else {
            next.check(at + 1, &opened.restored, &what);
        }
    }
}

fn check_all_crashes(seed: u64, rounds: u64) {
    let (run, _folder) = run(seed, rounds, Trace::default());
    let mut random = Random::new(seed);
    let mut model = Model::default();
    let mut changed = false;
    for (at, event) in run.events.iter().enumerate() {
        model.apply(event);
        changed |= event.is_change();
        let crash = at + 1;
        if !changed {
            continue;
        }
        let what = |how| format!("seed {seed}, {how} after event {crash} of {}", run.events.len());
        check(&run, crash, &model, &what("killed"));
        let likely = random.below(4);
        let left = Model::flushed(&model.cut_off(&mut random, likely));
        check(&run, crash, &left, &what("power lost"));
    }
    let is_segment = |path: &Path| path.extension().is_some_and(|end| end == "segment");
    let made = |event: &&Event| matches!(event, Event::Rename { to, .. } if is_segment(to));
    let removed = |event: &&Event| matches!(event, Event::Remove(path) if is_segment(path));
    let (made, removed) = (run.events.iter().filter(made).count(), run.events.iter().filter(removed).count());
    assert!(made > 3 && removed > 1, "seed {seed}: {made} segments made and {removed} removed show little");
}

#[test]
fn every_crash_leaves_what_was_reported() {
    for seed in 1..=6 {
        check_all_crashes(seed, 25);
    }
}

#[test]
fn after_a_failed_change_the_writer_says_so_once_and_writes_nothing_more() {
    let (whole, _folder) = run(9, 12, Trace::default());
    let changes = whole.events.iter().filter(|event| event.is_change()).count();
    let mut broken = 0;
    for change in 0..changes {
        let (run, folder) = run(9, 12, Trace::failing_at(change));
        let at = run.events.iter().position(|event| matches!(event, Event::Failed(_)));
        let Some(at) = at else { continue };
        let reports = run.events.iter().filter(|event| matches!(event, Event::Broken)).count();
        let after = run.events[at + 1..].iter().filter(|event| writes_log_or_vote(event)).count();
        if reports > 0 {
            assert_eq!((reports, after), (1, 0), "change {change}: {:#?}", &run.events[at..]);
            let mut reported =
                run.events.iter().filter(|event| matches!(event, Event::Done(_) | Event::Broken));
            assert!(matches!(reported.next_back(), Some(Event::Broken)), "change {change}");
            broken += 1;
        }
        let opened =
            open(folder.path(), &Arc::default()).unwrap_or_else(|error| panic!("change {change}: {error:?}"));
        run.check(run.events.len(), &opened.restored, &format!("change {change} failed"));
    }
    assert!(broken > 10, "{broken} of {changes} broke the writer");
}

#[test]
fn a_start_after_a_failed_flush_trusts_nothing_that_was_not_flushed() {
    let (whole, _folder) = run(9, 12, Trace::default());
    let changes = whole.events.iter().filter(|event| event.is_change()).count();
    let (mut random, mut failed) = (Random::new(3), 0);
    for change in 0..changes {
        let (run, _folder) = run(9, 12, Trace::failing_at(change));
        let Some(at) = run.events.iter().position(|event| matches!(event, Event::Failed(Some(_)))) else {
            continue;
        };
        let mut model = Model::default();
        run.events[..=at].iter().for_each(|event| model.apply(event));
        // The process ends, and the next one reads from the page cache what the disk may not have.
        let next = folder();
        lay_out(&model.killed(), &run.root, next.path());
        let trace = Arc::new(Trace::default());
        let opened = open(next.path(), &trace).unwrap_or_else(|error| panic!("change {change}: {error:?}"));
        let mut model = model.moved(&run.root, next.path());
        trace.events().iter().for_each(|event| model.apply(event));
        // Power is lost as soon as it counts on what it read.
        let last = folder();
        lay_out(&model.cut_off(&mut random, 0), next.path(), last.path());
        let found =
            open(last.path(), &Arc::default()).unwrap_or_else(|error| panic!("change {change}: {error:?}"));
        assert_eq!(found.restored.entries, opened.restored.entries, "change {change}");
        assert_eq!(found.restored.hard_state, opened.restored.hard_state, "change {change}");
        assert_eq!(found.restored.formation, opened.restored.formation, "change {change}");
        failed += 1;
    }
    assert!(failed > 20, "{failed} flushes failed");
}

fn writes_log_or_vote(event: &Event) -> bool {
    let (Event::Write { path, .. } | Event::Sync(path)) = event else { return false };
    path.ends_with("vote")
        || path.ends_with("identity")
        || path.extension().is_some_and(|end| end == "segment")
}
