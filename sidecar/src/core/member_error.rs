//! Why a running member cannot go on.

use std::path::PathBuf;
use std::sync::Arc;

use holdfast_engine::{Index, Outcast, Position, Term};
use holdfast_storage::{Fault, WriteError};

/// Why a running member ended by itself. The process must end, with a non-zero code: what is in memory and what is on
/// disk may not be the same any more.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The log could not be written. A failed fsync says nothing about what is on the disk, so that it is never tried
    /// again.
    #[error("cannot write to the disk")]
    Log(#[source] WriteError),
    /// The writer thread ended without a word.
    #[error("the writer thread ended")]
    WriterGone,
    /// The state at an index is not what it is at most other members.
    #[error("the state at entry {index} is not what it is at most other members")]
    Diverged {
        /// The index.
        index: Index,
    },
    /// The engine asked for a checkpoint that is not here.
    #[error("the checkpoint at {position} is not here")]
    NoSuchCheckpoint {
        /// The last entry in it.
        position: Position,
    },
    /// The store has removed this member, or put another in its place.
    #[error("this member was removed from the store, or replaced by a newer incarnation of its ordinal")]
    Removed,
    /// The disk has forgotten what the member acknowledged.
    #[error(
        "the folder is older than what this member has acknowledged: the leader knows that it had the log up to entry \
         {acknowledged}, and it ends at {last}"
    )]
    OldDisk {
        /// It had the log durable up to here.
        acknowledged: Index,
        /// The log ends here.
        last: Index,
    },
    /// A person has made a member primary that lacks what is committed here.
    #[error(
        "a person has ended epoch {ended} by starting the store from a member that lacks what this one has committed up to entry \
         {commit}; what was given up then counts no more"
    )]
    Overruled {
        /// The epoch that has ended.
        ended: Term,
        /// Committed here up to this entry.
        commit: Index,
    },
    /// Something on the disk is not what was written there. The next start repairs it from the other members.
    #[error("{0}")]
    Damaged(Damage),
    /// The core thread panicked; the log says where.
    #[error("the core broke an invariant of its own")]
    Panicked,
}

/// What reading the disk again found.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Damage {
    /// Other bytes than those that were written.
    #[error("{} is damaged at byte {}: {}", .0.path.display(), .0.offset, .0.what)]
    Changed(Fault),
    /// The disk does not give them.
    #[error("{} cannot be read again", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Arc<std::io::Error>,
    },
}

impl From<Outcast> for Broken {
    fn from(outcast: Outcast) -> Broken {
        match outcast {
            Outcast::Removed => Broken::Removed,
            Outcast::OldDisk { acknowledged, last } => Broken::OldDisk { acknowledged, last },
            Outcast::Overruled { ended, commit } => Broken::Overruled { ended, commit },
        }
    }
}
