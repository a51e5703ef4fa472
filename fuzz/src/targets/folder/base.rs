//! The folders that edits begin with, made by writing to real ones, and all that was ever in them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use bytes::Bytes;
use holdfast_engine::{
    Checkpoint, Entry, EntryKind, Formation, HardState, Index, MemberId, Membership, Ordinal, Persist,
    Position, StoreId, Term, Ticket, Write,
};
use holdfast_storage::{Checkpoints, LogPolicy, LogWriter, Opened, WriteError, open_with};

use super::{LIFE, OPTIONS, owner};

/// Longest wait for the writer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Most reports that wait.
const REPORTS_MAX: usize = 1000;

/// Files by their path in the folder, without those that are locks or not finished.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

/// One folder, whole, and what it holds.
pub(super) struct Base {
    pub(super) policy: LogPolicy,
    /// The store is formed.
    pub(super) formed: bool,
    pub(super) files: Files,
    /// As they were earlier.
    pub(super) earlier: Vec<Files>,
    /// All entries from the first one on, also those that a checkpoint covers and that are gone.
    pub(super) log: Vec<Entry>,
    /// Every record that was ever written, also those that others replaced.
    pub(super) ever: BTreeMap<Position, Bytes>,
    /// The last one.
    pub(super) vote: HardState,
    /// The newest one.
    pub(super) checkpoint: Option<Position>,
}

impl Base {
    pub(super) fn entry(&self, index: Index) -> Option<&Entry> {
        self.log.get(usize::try_from(index.0.checked_sub(1)?).ok()?)
    }

    /// What a peer with the whole log gives: entries up to `anchor`, down to the one after `after` or less.
    pub(super) fn given(
        &self,
        anchor: Position,
        after: Index,
        bytes_max: usize,
    ) -> Option<(Position, Vec<Entry>)> {
        self.entry(anchor.index).filter(|entry| entry.position() == anchor)?;
        let end = anchor.index.0 as usize;
        let (mut first, mut bytes) = (end - 1, 0);
        while first > after.0 as usize && bytes < bytes_max {
            bytes += self.log[first].record().len();
            first -= 1;
        }
        let previous = first.checked_sub(1).map_or(Position::ZERO, |at| self.log[at].position());
        Some((previous, self.log[first..end].to_vec()))
    }
}

/// All of them; made once.
pub(super) fn bases() -> &'static [Base] {
    static BASES: OnceLock<Vec<Base>> = OnceLock::new();
    BASES.get_or_init(|| vec![one_segment(), several_segments(), without_log(), hardly_begun()])
}

pub(super) fn formation() -> Formation {
    let voters = (0..3).map(|ordinal| MemberId { ordinal: Ordinal(ordinal), incarnation: LIFE });
    Formation { store: StoreId(5), voters: voters.collect() }
}

fn position(index: u64, term: u64) -> Position {
    Position::new(Term(term), Index(index))
}

/// Entries with indexes `[from, to]`, of so many bytes.
fn entries(from: u64, to: u64, term: u64, bytes: usize) -> Vec<Entry> {
    let entry = |index: u64| {
        Entry::new(position(index, term), EntryKind::Command, &vec![(index ^ term) as u8; bytes])
    };
    (from..=to).map(entry).collect()
}

/// Entries that replace others, batches of all sizes.
fn one_segment() -> Base {
    let mut making = Making::begin(LogPolicy::Kept);
    making.form();
    for batch in [entries(1, 2, 1, 40), entries(3, 3, 1, 0), entries(4, 9, 1, 20), entries(8, 12, 2, 60)] {
        making.append(batch);
    }
    for index in 13..30 {
        making.append(entries(index, index, 2, 10));
    }
    making.append(entries(27, 28, 4, 40));
    making.append(entries(29, 31, 4, 10));
    making.end()
}

/// A log that was released up to a checkpoint, and goes on over several files; a second checkpoint.
fn several_segments() -> Base {
    let mut making = Making::begin(LogPolicy::Kept);
    making.form();
    for at in 0..14 {
        making.append(entries(at * 3 + 1, at * 3 + 3, 1, 400));
        if at == 9 {
            making.checkpoint(position(20, 1));
            making.write(Write::Release(Index(18)));
        }
    }
    making.append(entries(39, 50, 3, 350));
    making.checkpoint(position(45, 3));
    making.append(entries(51, 52, 3, 5));
    making.end()
}

/// A member that keeps checkpoints only.
fn without_log() -> Base {
    let mut making = Making::begin(LogPolicy::None);
    making.form();
    making.checkpoint(position(20, 1));
    making.checkpoint(position(45, 3));
    making.end()
}

/// A member that has voted, in a store that is formed, and has nothing else.
fn hardly_begun() -> Base {
    let mut making = Making::begin(LogPolicy::Kept);
    making.form();
    making.end()
}

/// A folder that is being filled.
struct Making {
    folder: tempfile::TempDir,
    writer: LogWriter,
    checkpoints: Checkpoints,
    reports: Receiver<Result<Ticket, WriteError>>,
    asked: u64,
    base: Base,
}

impl Making {
    fn begin(policy: LogPolicy) -> Making {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let Opened { disk, .. } =
            open_with(folder.path(), owner(), policy, LIFE, OPTIONS).expect("a new folder");
        let (report, reports) = sync_channel(REPORTS_MAX);
        let checkpoints = disk.checkpoints();
        let writer = disk.start(move |result| {
            // Whoever does not wait any more has what it wants.
            let _ = report.send(result);
        });
        let base = Base {
            policy,
            formed: false,
            files: Files::new(),
            earlier: Vec::new(),
            log: Vec::new(),
            ever: BTreeMap::new(),
            vote: HardState::default(),
            checkpoint: None,
        };
        Making { folder, writer: writer.expect("a thread"), checkpoints, reports, asked: 0, base }
    }

    /// Have it written, and wait until it is.
    fn write(&mut self, write: Write) {
        self.base.earlier.push(files(self.folder.path()));
        self.asked += 1;
        let ticket = Ticket(self.asked);
        self.writer.submit(vec![Persist { ticket, write }]).expect("there is room");
        while self.reports.recv_timeout(PATIENCE).expect("the writer reports").expect("it is written")
            < ticket
        {}
    }

    fn form(&mut self) {
        self.write(Write::Formation(formation()));
        self.base.formed = true;
        if self.base.policy == LogPolicy::Kept {
            self.vote(1);
        }
    }

    fn vote(&mut self, term: u64) {
        let voted_for = Some(MemberId { ordinal: Ordinal((term % 3) as u8), incarnation: LIFE });
        self.base.vote = HardState { term: Term(term), voted_for };
        self.write(Write::HardState(self.base.vote));
    }

    fn append(&mut self, batch: Vec<Entry>) {
        if batch[0].term() > self.base.vote.term {
            self.vote(batch[0].term().0);
        }
        self.base.log.truncate((batch[0].index().0 - 1) as usize);
        self.base.log.extend(batch.iter().cloned());
        self.base.ever.extend(batch.iter().map(|entry| (entry.position(), entry.record())));
        self.write(Write::Append(batch));
    }

    fn checkpoint(&mut self, at: Position) {
        checkpoint(&self.checkpoints, at);
        self.base.checkpoint = Some(at);
    }

    fn end(mut self) -> Base {
        self.writer.stop();
        self.base.files = files(self.folder.path());
        self.base
    }
}

/// Write a whole checkpoint.
pub(super) fn checkpoint(checkpoints: &Checkpoints, at: Position) {
    let membership = Membership::of(&formation());
    let mut writer = checkpoints.create(Checkpoint { position: at, membership }).expect("it can be created");
    for chunk in [format!("state at {at}").as_bytes(), &[7; 300]] {
        writer.chunk(chunk).expect("it can be written");
    }
    writer.finish().expect("it can be finished");
}

/// The files of a folder.
fn files(folder: &Path) -> Files {
    let mut files = Files::new();
    for part in ["", "log", "checkpoints"] {
        for item in fs::read_dir(folder.join(part)).expect("a folder") {
            let path = item.expect("an item").path();
            let passing = path.extension().is_some_and(|end| end == "tmp") || path.ends_with("lock");
            if path.is_file() && !passing {
                // The file may have been unfinished a moment ago, or gone since.
                let Ok(content) = fs::read(&path) else { continue };
                let name = path.strip_prefix(folder).expect("it is in the folder").display().to_string();
                files.insert(name, content);
            }
        }
    }
    files
}

/// Put files into an empty folder.
pub(super) fn write(folder: &Path, files: &Files) {
    for part in ["log", "checkpoints"] {
        fs::create_dir(folder.join(part)).expect("a new folder");
    }
    for (name, content) in files {
        fs::write(folder.join(name), content).expect("it can be written");
    }
}
