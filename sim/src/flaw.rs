//! The catalogue of mistakes that the simulator must find: those of the engine, those of the message logs, and those of
//! what stands around them.

use std::fmt;
use std::str::FromStr;

use holdfast_engine::Bug;
use holdfast_store::Bug as LogBug;

/// One deliberate mistake, in the engine or around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// The engine behaves by this bug.
    Engine(Bug),
    /// What stands around the engine does: disk, recovery, requests, clients.
    Shell(ShellBug),
    /// The message logs do.
    Logs(LogBug),
}

/// One mistake of what stands around the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShellBug {
    /// A log that cannot be read to its end is taken to end where the damage is.
    TruncatesAtDamage,
    /// Where nobody knows how far the log went, it is taken to end before the damage.
    EndUnknownKeepsName,
    /// When the vote cannot be read, the one before it is taken.
    OlderVoteCopy,
    /// When the vote cannot be read, the member starts without one, under its old name.
    VoteLostKeepsName,
    /// A member whose disk is empty comes back under its old name.
    WipedKeepsName,
    /// A member takes the disk of another one for its own.
    ForeignDiskTaken,
    /// Writes are reported durable when they are handed over.
    ReportsBeforeFlush,
    /// Votes stay in the page cache until something else is flushed.
    VoteNotFlushed,
    /// A failed flush is reported as done.
    FlushErrorIgnored,
    /// The log is released while the checkpoint that covers it may still be lost.
    ReleasesBeforeCheckpoint,
    /// A member that was deposed goes on answering by the indexes of its former writes.
    AnswersAfterDemotion,
    /// Linearizable reads show what is executed and not committed.
    ReadsUncommitted,
    /// A read does not wait until its member has committed what it must see.
    ReadsWithoutWaiting,
    /// A client repeats a write of unknown outcome without its session.
    RetriesWithoutSession,
}

impl ShellBug {
    /// All of them.
    pub const ALL: [ShellBug; 14] = [
        ShellBug::TruncatesAtDamage,
        ShellBug::EndUnknownKeepsName,
        ShellBug::OlderVoteCopy,
        ShellBug::VoteLostKeepsName,
        ShellBug::WipedKeepsName,
        ShellBug::ForeignDiskTaken,
        ShellBug::ReportsBeforeFlush,
        ShellBug::VoteNotFlushed,
        ShellBug::FlushErrorIgnored,
        ShellBug::ReleasesBeforeCheckpoint,
        ShellBug::AnswersAfterDemotion,
        ShellBug::ReadsUncommitted,
        ShellBug::ReadsWithoutWaiting,
        ShellBug::RetriesWithoutSession,
    ];
}

impl Flaw {
    /// Those that majority mode can have.
    pub fn of_majority() -> impl Iterator<Item = Flaw> {
        let engine = Bug::ALL.into_iter().map(Flaw::Engine);
        engine.chain(ShellBug::ALL.into_iter().map(Flaw::Shell))
    }

    /// Those of in-sync mode alone.
    pub fn of_in_sync() -> impl Iterator<Item = Flaw> {
        Bug::OF_IN_SYNC.into_iter().map(Flaw::Engine)
    }

    /// Those of the message logs.
    pub fn of_logs() -> impl Iterator<Item = Flaw> {
        LogBug::ALL.into_iter().map(Flaw::Logs)
    }

    /// The whole catalogue.
    pub fn all() -> impl Iterator<Item = Flaw> {
        Flaw::of_majority().chain(Flaw::of_in_sync()).chain(Flaw::of_logs())
    }

    /// The first seed that is of any use to look for it.
    pub(crate) fn first_seed(self) -> u64 {
        match self {
            Flaw::Logs(_) => crate::MESSAGE_LOGS,
            flaw if Flaw::of_in_sync().any(|other| other == flaw) => crate::IN_SYNC,
            _ => 0,
        }
    }

    /// The engine's bug, if it is one.
    pub(crate) fn engine(self) -> Option<Bug> {
        match self {
            Flaw::Engine(bug) => Some(bug),
            Flaw::Shell(_) | Flaw::Logs(_) => None,
        }
    }

    /// The mistake around the engine, if it is one.
    pub(crate) fn shell(self) -> Option<ShellBug> {
        match self {
            Flaw::Engine(_) | Flaw::Logs(_) => None,
            Flaw::Shell(bug) => Some(bug),
        }
    }

    /// The mistake of the message logs, if it is one.
    pub(crate) fn logs(self) -> Option<LogBug> {
        match self {
            Flaw::Engine(_) | Flaw::Shell(_) => None,
            Flaw::Logs(bug) => Some(bug),
        }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Flaw::Engine(bug) => write!(f, "{bug:?}"),
            Flaw::Shell(bug) => write!(f, "{bug:?}"),
            Flaw::Logs(bug) => write!(f, "{bug:?}"),
        }
    }
}

impl FromStr for Flaw {
    type Err = String;

    fn from_str(name: &str) -> Result<Flaw, String> {
        Flaw::all().find(|flaw| flaw.to_string() == name).ok_or_else(|| {
            let names: Vec<String> = Flaw::all().map(|flaw| flaw.to_string()).collect();
            format!("no bug is called {name:?}; there are {}", names.join(", "))
        })
    }
}
