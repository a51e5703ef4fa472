//! Who takes a checkpoint's chunks while its file is read for the first time: [`Taker`].
//!
//! A member that starts has to read the whole file before it may rely on it, and reading it again for the state would
//! take as long once more. What a taker refuses to do is its own affair: nothing that it does changes what is found of
//! the file.

use holdfast_engine::Checkpoint;

/// Takes the chunks of the checkpoint that a member is going to start from.
///
/// Whether a file is whole is known at its end alone. So whatever comes of the chunks is void until [`Taker::end`], and
/// also after it, if another [`Taker::begin`] follows.
pub trait Taker {
    /// A file begins that says that it is this checkpoint. If another one was begun before, it is not the one.
    fn begin(&mut self, checkpoint: Checkpoint);

    /// Memory for the next chunk, whatever is in it: finding fresh memory for every chunk takes longer than reading it.
    fn memory(&mut self) -> Vec<u8>;

    /// The next chunk, whose checksum is right.
    fn chunk(&mut self, chunk: Vec<u8>);

    /// The file is whole: there are no more chunks.
    fn end(&mut self);
}

/// Wants nothing but to know whether the file is whole.
#[derive(Debug, Default)]
pub(crate) struct Nobody(Vec<u8>);

impl Taker for Nobody {
    fn begin(&mut self, _checkpoint: Checkpoint) {}

    fn memory(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }

    fn chunk(&mut self, chunk: Vec<u8>) {
        self.0 = chunk;
    }

    fn end(&mut self) {}
}
