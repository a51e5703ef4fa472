//! What can be wrong with a checkpoint: [`RestoreError`] for callers, and [`Fault`] for one item of it.

use crate::CodecError;
use crate::checkpoint::LOGS_VERSION;

/// Why some chunks are not a checkpoint. Chunks count from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// Another version made the checkpoint.
    #[error("checkpoint format {found} is not known to this version, which knows up to {known}")]
    Version {
        /// What the checkpoint says.
        found: u8,
        /// The latest that this version reads.
        known: u8,
    },
    /// A chunk does not decode.
    #[error("chunk {chunk} of the checkpoint does not decode")]
    Encoding {
        /// Which chunk.
        chunk: u64,
        /// What is wrong with it.
        #[source]
        source: CodecError,
    },
    /// A chunk has no bytes.
    #[error("chunk {chunk} of the checkpoint is empty")]
    Empty {
        /// Which chunk.
        chunk: u64,
    },
    /// Something stands where it cannot.
    #[error("chunk {chunk} of the checkpoint has {item} out of its place")]
    Misplaced {
        /// Which chunk.
        chunk: u64,
        /// What.
        item: &'static str,
    },
    /// Something has a value that it cannot have.
    #[error("chunk {chunk} of the checkpoint has {what}")]
    Invalid {
        /// Which chunk.
        chunk: u64,
        /// What.
        what: &'static str,
    },
    /// There is more than a store can hold.
    #[error("chunk {chunk} of the checkpoint goes beyond what a store can hold: {what}")]
    TooLarge {
        /// Which chunk.
        chunk: u64,
        /// Of what there is too much.
        what: &'static str,
    },
    /// The chunks are not those that were cut, or not in that order.
    #[error("the checkpoint's {chunks} chunks are not those that were cut, or not in their order")]
    Damaged {
        /// How many came.
        chunks: u64,
    },
    /// The end is missing.
    #[error("the checkpoint ends after {chunks} chunks without being whole")]
    Incomplete {
        /// How many came.
        chunks: u64,
    },
}

/// What is wrong with an item; the chunk's number is added later.
#[derive(Debug)]
pub(crate) enum Fault {
    Misplaced(&'static str),
    Invalid(&'static str),
    TooLarge(&'static str),
    Version(u8),
    Encoding(CodecError),
}

impl Fault {
    /// The error, of this chunk.
    pub(crate) fn at(self, chunk: u64) -> RestoreError {
        match self {
            Fault::Misplaced(item) => RestoreError::Misplaced { chunk, item },
            Fault::Invalid(what) => RestoreError::Invalid { chunk, what },
            Fault::TooLarge(what) => RestoreError::TooLarge { chunk, what },
            Fault::Version(found) => RestoreError::Version { found, known: LOGS_VERSION },
            Fault::Encoding(source) => RestoreError::Encoding { chunk, source },
        }
    }
}
