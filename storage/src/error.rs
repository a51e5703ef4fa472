//! What can go wrong with a member's folder, one type per thing that is being done.
//!
//! What it refuses to do: decide. [`OpenError`] is for whoever starts the member, [`WriteError`] ends the process,
//! [`CheckpointError`] fails one checkpoint.

use std::io;
use std::path::PathBuf;

use holdfast_engine::{Index, Position};

/// Why a folder was not opened. Nothing was changed in it then, except that missing folders and the lock file may
/// have been created.
///
/// [`OpenError::Locked`] passes when the other process ends. All others stay until somebody acts: the member must
/// not vote and not serve.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder is not there and cannot be created.
    #[error("cannot create the folder {}", path.display())]
    Create {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The folder is there and nothing can be written in it.
    #[error("cannot write in the folder {}", path.display())]
    Unwritable {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another process has the folder open.
    #[error("another process has {} open", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// The file belongs to another store.
    #[error("{} belongs to the store {found}, not to {expected}", path.display())]
    ForeignStore {
        /// The file that says so.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Whose it should be.
        expected: String,
    },
    /// The file belongs to another member of the same store.
    #[error("{} belongs to member {found}, not to member {expected}", path.display())]
    ForeignMember {
        /// The file that says so.
        path: PathBuf,
        /// Whose it is: an ordinal, or an ordinal and an incarnation.
        found: String,
        /// Whose it should be.
        expected: String,
    },
    /// The folder was made for a member that keeps a log, and this one shall keep none, or the other way round.
    #[error("{} was made with {found}, and the member is to run with {expected}", path.display())]
    Policy {
        /// The identity file.
        path: PathBuf,
        /// What the folder was made for.
        found: crate::LogPolicy,
        /// What was asked for.
        expected: crate::LogPolicy,
    },
    /// What was once durable is not there any more, or is not what was written.
    #[error("{} is damaged at byte {offset}: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in the file, in bytes from its start.
        offset: u64,
        /// What is wrong there.
        what: Damage,
    },
    /// The file was written by a version that this one does not know.
    #[error("{} has format version {found}; this program knows {known}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The only version that this program reads.
        known: u32,
    },
    /// The store's name is longer than [`crate::STORE_NAME_BYTES_MAX`].
    #[error("a store's name cannot have {bytes} bytes")]
    Name {
        /// Its length.
        bytes: usize,
    },
    /// The operating system failed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried, as a verb: "read", "write", "flush".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// What is wrong with a damaged file. The names of the variants are reasons in statuses and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// The file is not there, and others prove that it was.
    #[error("the file is missing")]
    Missing,
    /// The file does not have the length that it says or must have.
    #[error("the file has {found} bytes and should have {expected}")]
    Length {
        /// Bytes that are there.
        found: u64,
        /// Bytes that should be.
        expected: u64,
    },
    /// The bytes at the start are not those of such a file.
    #[error("this is not the kind of file that its name says")]
    Magic,
    /// The bytes are not those that were written.
    #[error("the checksum is wrong")]
    Checksum,
    /// The checksum is right and the content makes no sense.
    #[error("the content cannot be read")]
    Content,
    /// The name says something else than the content.
    #[error("the file was renamed or exchanged")]
    Name,
    /// A record in the middle of the log cannot be read; what follows proves that it was durable.
    #[error("a record that was durable cannot be read")]
    Record,
    /// Every record reads well, but together they are not what was written.
    #[error("the records are not those that were written here")]
    Digest,
    /// Entries between this file and the one before it, or the checkpoint, are missing.
    #[error("entries are missing before index {next}")]
    Gap {
        /// The first index that is there.
        next: Index,
    },
    /// Both copies of the vote are unreadable, or they contradict each other.
    #[error("the vote cannot be read")]
    Vote,
    /// The vote is older than the log: an old file came back.
    #[error("the vote is older than the log")]
    StaleVote,
    /// There are entries or checkpoints, and the identity knows no store that they could belong to.
    #[error("the member has entries but was never part of a formed store")]
    Unformed,
}

/// Why the writer stopped. It is said once, and nothing is written after it: pages that failed to reach the disk may
/// be marked clean, so that a second fsync would say "done" of data that is lost. The process has to end; the next
/// start reads what the disk really has.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The operating system failed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried, as a verb: "write", "flush".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Entries that do not follow the end of the log, or that begin before its start.
    #[error("entries from index {first} do not fit a log of ({start}, {end}]")]
    Gap {
        /// The index of the first entry.
        first: Index,
        /// The log starts after this.
        start: Position,
        /// The last position of the log.
        end: Position,
    },
    /// The member is part of a formed store already, and of another one.
    #[error("the member belongs to the store {formed} and cannot join {asked}")]
    Formed {
        /// The store it belongs to.
        formed: holdfast_engine::StoreId,
        /// The store that was asked for.
        asked: holdfast_engine::StoreId,
    },
}

impl WriteError {
    /// Whether the disk is full: no damage, room helps.
    pub fn is_full(&self) -> bool {
        match self {
            WriteError::Io { source, .. } => {
                matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            WriteError::Gap { .. } | WriteError::Formed { .. } => false,
        }
    }
}

/// Why a checkpoint was not written, read or removed.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The operating system failed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried, as a verb: "write", "read", "flush".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is no checkpoint of this position (any more).
    #[error("there is no checkpoint of {position}")]
    NotFound {
        /// The position.
        position: Position,
    },
    /// The file is not what was written.
    #[error("{} is damaged at byte {offset}: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in the file, in bytes from its start.
        offset: u64,
        /// What is wrong there.
        what: Damage,
    },
    /// The file was written by a version that this one does not know.
    #[error("{} has format version {found}; this program knows {known}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The only version that this program reads.
        known: u32,
    },
    /// A checkpoint outside of the members is in the way of this store's.
    #[error(
        "{} is of the store {found}, and not of this one's history; move it away, or keep this store's checkpoints elsewhere",
        path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// The name of the store that it is of; the same name if that was formed apart.
        found: String,
    },
    /// A chunk is empty or longer than [`crate::CHECKPOINT_CHUNK_BYTES_MAX`].
    #[error("a checkpoint chunk cannot have {bytes} bytes")]
    Chunk {
        /// Its length.
        bytes: usize,
    },
}
