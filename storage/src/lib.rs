//! What a member keeps on its disk: its identity, its vote, its log and its checkpoints.
//!
//! [`open`] locks a folder, reads everything in it once and says whether it is what was written; [`Disk::start`] starts the
//! one thread that writes. A torn tail, which was never acknowledged, is cut; every other damage is an error, and the
//! member that has it neither votes nor serves.
//!
//! What it refuses to do: shorten a log silently, go on after a failed write or flush, or open somebody else's folder.

mod block;
mod checkpoint;
mod error;
mod files;
mod folder;
mod housekeeper;
mod identity;
mod log;
mod mark;
mod open;
mod queue;
mod recovery;
mod segment;
mod span;
#[cfg(test)]
mod trace;
mod vote;
mod writer;

pub use checkpoint::{
    CHECKPOINT_CHUNK_BYTES_MAX, CheckpointFile, CheckpointReader, CheckpointWriter, Checkpoints,
};
pub use error::{CheckpointError, Damage, OpenError, WriteError};
pub use identity::STORE_NAME_BYTES_MAX;
pub use open::{DamagedCheckpoint, LogPolicy, Opened, Options, Owner, TornTail, open, open_with};
pub use queue::{QUEUE_BYTES_MAX, QUEUE_WRITES_MAX, Queued, SubmitError};
pub use writer::{Disk, Flush, Flushed, LogWriter};
