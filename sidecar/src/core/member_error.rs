//! Why a running member cannot go on.

use holdfast_engine::{Index, Position};
use holdfast_storage::WriteError;

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
    /// The core thread panicked; the log says where.
    #[error("the core broke an invariant of its own")]
    Panicked,
}
