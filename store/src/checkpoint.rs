//! Cutting a checkpoint. First shape: signatures only.

/// Where the cutting of one checkpoint has come to.
#[derive(Debug)]
pub struct CheckpointCursor {
    pub(crate) finished: bool,
}
