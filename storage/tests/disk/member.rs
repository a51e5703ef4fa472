//! A member to test with: a folder, an owner, and a writer whose reports are waited for.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use holdfast_engine::{
    Checkpoint, Entry, EntryKind, Formation, HardState, Incarnation, Index, MemberId, Ordinal, Persist,
    Position, StoreId, Term, Ticket, Write,
};
use holdfast_storage::{
    Checkpoints, LogPolicy, LogWriter, OpenError, Opened, Options, Owner, WriteError, open_with,
};

/// Most reports that wait for the test.
pub(crate) const REPORTS_MAX: usize = 1000;

/// Longest wait for the writer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Small, so that segments fill quickly.
pub(crate) const OPTIONS: Options = Options { segment_bytes: 8 * 1024 };

pub(crate) const LIFE: Incarnation = Incarnation(0xfeed);

pub(crate) fn owner() -> Owner {
    Owner { store: "default/words".to_owned(), ordinal: Ordinal(1) }
}

pub(crate) fn formation(store: u128) -> Formation {
    let voters = (0..3).map(|ordinal| MemberId { ordinal: Ordinal(ordinal), incarnation: LIFE });
    Formation { store: StoreId(store), voters: voters.collect() }
}

pub(crate) fn position(index: u64, term: u64) -> Position {
    Position::new(Term(term), Index(index))
}

pub(crate) fn state(term: u64) -> HardState {
    HardState { term: Term(term), voted_for: None }
}

/// Entries with indexes `[from, to]`, of so many bytes.
pub(crate) fn entries(from: u64, to: u64, term: u64, bytes: usize) -> Vec<Entry> {
    let entry = |index| Entry::new(position(index, term), EntryKind::Command, &vec![index as u8; bytes]);
    (from..=to).map(entry).collect()
}

pub(crate) fn reopen(path: &Path) -> Result<Opened, OpenError> {
    open_with(path, owner(), LogPolicy::Kept, LIFE, OPTIONS)
}

/// Where the file of the log with this number is.
pub(crate) fn segments(path: &Path) -> Vec<PathBuf> {
    let found = std::fs::read_dir(path.join("log")).expect("a folder");
    let mut found = found.map(|item| item.expect("an item").path()).collect::<Vec<_>>();
    found.retain(|path| path.extension().is_some_and(|end| end == "segment"));
    found.sort();
    found
}

/// Copy a folder as it is now: what a killed process would leave.
pub(crate) fn copy(from: &Path, to: &Path) {
    for part in [".", "log", "checkpoints"] {
        std::fs::create_dir_all(to.join(part)).expect("a folder");
        for item in std::fs::read_dir(from.join(part)).expect("a folder") {
            let item = item.expect("an item");
            if item.file_type().expect("a type").is_file() {
                std::fs::copy(item.path(), to.join(part).join(item.file_name())).expect("copied");
            }
        }
    }
}

/// A running writer.
pub(crate) struct Member {
    pub(crate) writer: LogWriter,
    pub(crate) checkpoints: Checkpoints,
    reports: Receiver<Result<Ticket, WriteError>>,
    asked: u64,
}

impl Member {
    pub(crate) fn start(opened: Opened) -> Member {
        let (report, reports) = sync_channel(REPORTS_MAX);
        let checkpoints = opened.disk.checkpoints();
        let writer = opened.disk.start(move |result| {
            let _ = report.send(result);
        });
        Member { writer: writer.expect("a thread"), checkpoints, reports, asked: 0 }
    }

    /// A member with a formed store in a new folder.
    pub(crate) fn formed(path: &Path) -> Member {
        let mut member = Member::start(reopen(path).expect("a new folder"));
        member.write([Write::Formation(formation(5)), Write::HardState(state(1))]);
        member
    }

    pub(crate) fn submit(&mut self, writes: impl IntoIterator<Item = Write>) {
        let tickets = self.asked + 1..;
        let persists = tickets.zip(writes).map(|(ticket, write)| Persist { ticket: Ticket(ticket), write });
        let persists = persists.collect::<Vec<_>>();
        self.asked += persists.len() as u64;
        self.writer.submit(persists).expect("room");
    }

    /// Wait for everything that was asked for.
    pub(crate) fn wait(&self) -> Result<(), WriteError> {
        while self.reports.recv_timeout(PATIENCE).expect("the writer reports")? < Ticket(self.asked) {}
        Ok(())
    }

    pub(crate) fn write(&mut self, writes: impl IntoIterator<Item = Write>) {
        self.submit(writes);
        self.wait().expect("written");
    }

    pub(crate) fn append(&mut self, entries: Vec<Entry>) {
        self.write([Write::Append(entries)]);
    }

    pub(crate) fn checkpoint(&self, at: Position) {
        let mut writer = self
            .checkpoints
            .create(Checkpoint { position: at, membership: Default::default() })
            .expect("created");
        writer.chunk(format!("state at {at}").as_bytes()).expect("written");
        writer.finish().expect("finished");
    }
}
