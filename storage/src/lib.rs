//! What a member keeps on its disk: its identity, its vote, its log and its checkpoints.
mod checkpoint;
mod error;
mod open;
mod writer;

pub use checkpoint::{
    CHECKPOINT_CHUNK_BYTES_MAX, CheckpointFile, CheckpointReader, CheckpointWriter, Checkpoints,
};
pub use error::{CheckpointError, Damage, OpenError, WriteError};
pub use open::{DamagedCheckpoint, LogPolicy, Opened, Options, Owner, TornTail, open, open_with};
pub use writer::{Disk, Flush, Flushed, LogWriter, QUEUE_BYTES_MAX, QUEUE_WRITES_MAX, Queued, SubmitError};
