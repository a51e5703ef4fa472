//! Building a store from a checkpoint. First shape: signatures only.

use crate::{Limits, Store};

/// Builds a store from a checkpoint's chunks.
#[derive(Debug, Default)]
pub struct Restore {
    limits: Limits,
}

/// Why some chunks are not a whole checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// The chunks end before the checkpoint does.
    #[error("the checkpoint is incomplete")]
    Incomplete,
}

impl Restore {
    /// Begin.
    pub fn new() -> Restore {
        Restore::default()
    }

    /// Begin, with other limits than the usual.
    pub fn with_limits(limits: Limits) -> Restore {
        Restore { limits }
    }

    /// Take the next chunk.
    ///
    /// # Errors
    ///
    /// [`RestoreError`]
    pub fn chunk(&mut self, _chunk: &[u8]) -> Result<(), RestoreError> {
        Ok(())
    }

    /// The store.
    ///
    /// # Errors
    ///
    /// [`RestoreError`]
    pub fn finish(self) -> Result<Store, RestoreError> {
        Ok(Store::with_limits(self.limits))
    }
}
