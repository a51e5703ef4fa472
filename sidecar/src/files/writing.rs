//! A file on its way to this member's disk, on a thread of its own: hashing and flushing hold nobody else up.

use holdfast_wire::files::{Digest, Piece};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::blobs::{BlobError, Blobs, Complete};

/// Pieces that wait for the disk. With the ones on their way to other members, which are the same memory, an upload holds
/// no more than these twice.
pub(crate) const PIECES_MAX: usize = 4;

/// A file on its way to the disk. Dropped before [`Writing::complete`], it leaves nothing behind.
#[derive(Debug)]
pub(crate) struct Writing {
    pieces: mpsc::Sender<Piece>,
    written: JoinHandle<Result<Complete, BlobError>>,
}

/// The disk takes no more; [`Writing::complete`] says why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stopped;

impl Writing {
    /// Begin a file that will have `size` bytes, if that is known.
    pub(crate) fn begin(blobs: &Blobs, size: Option<u64>) -> Writing {
        let (pieces, mut waiting) = mpsc::channel::<Piece>(PIECES_MAX);
        let blobs = blobs.clone();
        let written = tokio::task::spawn_blocking(move || {
            let mut incoming = blobs.begin(size)?;
            while let Some(piece) = waiting.blocking_recv() {
                incoming.write(&piece)?;
            }
            Ok(incoming.complete())
        });
        Writing { pieces, written }
    }

    /// Write the next piece, once there is room for it.
    pub(crate) async fn piece(&self, piece: Piece) -> Result<(), Stopped> {
        self.pieces.send(piece).await.map_err(|_| Stopped)
    }

    /// Nothing follows; wait until all is written. It is not durable yet.
    pub(crate) async fn complete(self) -> Result<Complete, BlobError> {
        drop(self.pieces);
        self.written.await.unwrap_or(Err(BlobError::Stopping))
    }
}

/// Make a complete file durable, under the name that it must have.
pub(crate) async fn keep(complete: Complete, digest: Digest, size: u64) -> Result<(), BlobError> {
    let kept = tokio::task::spawn_blocking(move || complete.keep(&digest, size));
    kept.await.unwrap_or(Err(BlobError::Stopping))
}
