//! What a member keeps on its disk: its identity, its vote, its log and its checkpoints.
//!
//! [`open`] locks a folder, reads it, and either says what the member remembers or why it must not take part;
//! [`survey`] also says what has to be fetched so that it may again.
//! [`Disk::start`] starts the one thread that writes votes and log; [`Checkpoints`] are written and read beside it.
//!
//! The crate's promise: what was reported durable is there after every crash, or its loss is reported. It assumes of
//! the disk that what was flushed stays, that a write changes no bytes outside its own, and that a rename is atomic;
//! a byte that changes by itself is found.
//!
//! What it refuses to do: shorten a log silently, start empty where something was, write after an error, retry a
//! failed flush, or know what entries and checkpoints mean.

mod block;
mod checkpoint;
#[cfg(test)]
mod crash;
mod damaged;
mod error;
mod files;
mod folder;
mod housekeeper;
mod identity;
mod log;
mod mark;
mod open;
mod pieces;
mod queue;
mod recovery;
#[cfg(test)]
mod repair_crash;
mod rewrite;
mod salvage;
mod scrub;
mod segment;
mod space;
mod span;
mod stamps;
#[cfg(test)]
mod trace;
mod vote;
mod writer;

pub use checkpoint::{
    CHECKPOINT_CHUNK_BYTES_MAX, CheckpointFile, CheckpointReader, CheckpointWriter, Checkpoints, Compression,
    Newest, Outside, Taker,
};
pub use damaged::{Damaged, Need, Repaired};
pub use error::{CheckpointError, Damage, OpenError, WriteError};
pub use identity::STORE_NAME_BYTES_MAX;
pub use open::{
    DamagedCheckpoint, LogPolicy, Opened, Options, Owner, Survey, TornTail, open, open_with, survey,
    survey_into,
};
pub use pieces::Misfit;
pub use queue::{QUEUE_BYTES_MAX, QUEUE_WRITES_MAX, Queued, SubmitError};
pub use salvage::Fault;
pub use scrub::{Pace, Scrub, Scrubbed, Scrubber};
pub use space::Space;
pub use writer::{Disk, Flush, Flushed, LogWriter};
