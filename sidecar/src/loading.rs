//! Building a state up from the chunks of a checkpoint, by several threads: [`Loader`], and [`Taking`] at a start.
//!
//! Whoever has the chunks reads and checks the next ones; two threads decode them, which copies every key and value
//! into memory of its own; one puts them together. Most of the time goes into memory that the system has to find
//! first, and that is faster from two sides. It refuses to know where chunks come from.

use std::collections::VecDeque;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::JoinHandle;
use std::{io, thread};

use bytes::Bytes;
use holdfast_engine::Checkpoint;
use holdfast_storage::{CheckpointError, CheckpointReader, Taker};
use holdfast_store::{Decoded, Restore, RestoreError, Store};

/// Threads that decode. The one that puts together does a tenth of their work, the one that reads a third.
const DECODERS: usize = 2;

/// Chunks that may wait for each decoder, and decoded ones behind it: enough that nobody waits for the next to begin.
const CHUNKS_AHEAD: usize = 4;

/// Why no state came of a checkpoint.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// The file cannot be read.
    #[error("cannot read the checkpoint")]
    File(#[from] CheckpointError),
    /// Its bytes are those that were written, but they are not a state.
    #[error("the checkpoint holds no state")]
    State(#[from] RestoreError),
    /// The system gives no more threads.
    #[error("cannot start the thread that loads the checkpoint")]
    Thread(#[source] io::Error),
}

/// A state in the making. Dropping it gives it up.
#[derive(Debug)]
pub(crate) struct Loader {
    /// They take turns.
    decoders: Vec<SyncSender<Bytes>>,
    next: usize,
    builder: JoinHandle<Result<Store, RestoreError>>,
}

impl Loader {
    /// Begin.
    ///
    /// # Errors
    ///
    /// [`LoadError::Thread`].
    pub(crate) fn start() -> Result<Loader, LoadError> {
        let mut decoders = Vec::new();
        let mut decoded = Vec::new();
        for _ in 0..DECODERS {
            let (chunks_in, chunks) = mpsc::sync_channel(CHUNKS_AHEAD);
            let (out, decoded_out) = mpsc::sync_channel(CHUNKS_AHEAD);
            spawn(move || decode(&chunks, &out))?;
            decoders.push(chunks_in);
            decoded.push(decoded_out);
        }
        let builder = spawn(move || build(&decoded))?;
        Ok(Loader { decoders, next: 0, builder })
    }

    /// Take the next chunk; `false` if nothing comes of these chunks, and [`Loader::finish`] says why. Waits if too
    /// many are not decoded yet.
    pub(crate) fn chunk(&mut self, chunk: Bytes) -> bool {
        let decoder = &self.decoders[self.next];
        self.next = (self.next + 1) % self.decoders.len();
        decoder.send(chunk).is_ok()
    }

    /// The state, after the last chunk.
    ///
    /// # Errors
    ///
    /// [`LoadError::State`].
    pub(crate) fn finish(self) -> Result<Store, LoadError> {
        drop(self.decoders);
        Ok(self.builder.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?)
    }
}

/// Build the state up that a file holds.
///
/// # Errors
///
/// [`LoadError`].
pub(crate) fn load(reader: CheckpointReader) -> Result<Store, LoadError> {
    let mut loader = Loader::start()?;
    for chunk in reader {
        if !loader.chunk(chunk?) {
            break;
        }
    }
    loader.finish()
}

/// Builds the state up while its checkpoint is read and checked for the first time, when the member's folder is opened.
#[derive(Debug, Default)]
pub(crate) struct Taking {
    begun: Option<Begun>,
}

#[derive(Debug)]
struct Begun {
    checkpoint: Checkpoint,
    loader: Result<Loader, LoadError>,
    /// Chunks that may be in use still, oldest first: their memory is used again as soon as it is free.
    given: VecDeque<Bytes>,
    /// The file is whole.
    ended: bool,
}

impl Taking {
    /// The state of `checkpoint`, if it was taken whole.
    pub(crate) fn finish(self, checkpoint: Checkpoint) -> Option<Result<Store, LoadError>> {
        let begun = self.begun.filter(|begun| begun.ended && begun.checkpoint == checkpoint)?;
        Some(begun.loader.and_then(Loader::finish))
    }
}

impl Taker for Taking {
    fn begin(&mut self, checkpoint: Checkpoint) {
        let (loader, given) = (Loader::start(), VecDeque::new());
        self.begun = Some(Begun { checkpoint, loader, given, ended: false });
    }

    fn memory(&mut self) -> Vec<u8> {
        let given = self.begun.as_mut().map(|begun| &mut begun.given);
        given
            .and_then(|given| given.pop_front_if(|oldest| oldest.is_unique()))
            .map_or_else(Vec::new, Vec::from)
    }

    fn chunk(&mut self, chunk: Vec<u8>) {
        if let Some(Begun { loader: Ok(loader), given, .. }) = &mut self.begun {
            let chunk = Bytes::from(chunk);
            given.push_back(chunk.clone());
            // If nothing comes of them, `finish` says why.
            loader.chunk(chunk);
        }
    }

    fn end(&mut self) {
        if let Some(begun) = &mut self.begun {
            begun.ended = true;
        }
    }
}

fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<JoinHandle<T>, LoadError> {
    thread::Builder::new().name("load".to_owned()).spawn(work).map_err(LoadError::Thread)
}

fn decode(chunks: &Receiver<Bytes>, out: &SyncSender<Decoded>) {
    for chunk in chunks {
        if out.send(Decoded::new(chunk)).is_err() {
            return; // what came before was no state
        }
    }
}

fn build(decoded: &[Receiver<Decoded>]) -> Result<Store, RestoreError> {
    let mut restore = Restore::new();
    // Without more chunks, the decoder whose turn it is has ended.
    for chunk in decoded.iter().cycle().map_while(|decoder| decoder.recv().ok()) {
        restore.decoded(chunk)?;
    }
    restore.finish()
}

#[cfg(test)]
mod tests {
    use holdfast_engine::{Entry, EntryKind, Index, Position, Term};
    use holdfast_store::{Command, Expect, Operation};

    use super::*;

    /// Chunks of a state with some keys.
    fn chunks() -> Vec<Bytes> {
        let mut store = Store::new();
        for index in 1..=500u64 {
            let (key, value) = (Bytes::from(format!("key-{index:03}")), Bytes::from(vec![b'v'; 50]));
            let command = Command::new(Operation::Put { key, value, expect: Expect::Any });
            let position = Position::new(Term(1), Index(index));
            store.execute(&Entry::new(position, EntryKind::Command, &command.encode()));
            store.commit(Index(index));
        }
        let mut cursor = store.begin_checkpoint();
        std::iter::from_fn(|| cursor.chunk(1_000)).collect()
    }

    fn loaded(chunks: &[Bytes]) -> Result<Store, LoadError> {
        let mut loader = Loader::start().expect("threads");
        for chunk in chunks {
            if !loader.chunk(chunk.clone()) {
                break;
            }
        }
        loader.finish()
    }

    fn built(chunks: &[Bytes]) -> Result<Store, RestoreError> {
        let mut restore = Restore::new();
        chunks.iter().try_for_each(|chunk| restore.chunk(chunk))?;
        restore.finish()
    }

    #[test]
    fn several_threads_build_the_same_state_as_one() {
        let chunks = chunks();
        assert!(chunks.len() > 4 * DECODERS * CHUNKS_AHEAD, "enough that threads wait for each other");
        let (one, several) = (built(&chunks).expect("a state"), loaded(&chunks).expect("a state"));
        assert_eq!((one.hash(), one.statistics()), (several.hash(), several.statistics()));
    }

    fn check(damaged: &[Bytes]) {
        let (Err(LoadError::State(several)), Err(one)) = (loaded(damaged), built(damaged)) else {
            panic!("these are {} chunks of no state", damaged.len());
        };
        assert_eq!(several, one);
    }

    #[test]
    fn damage_is_told_as_by_one_thread_and_nobody_waits_for_ever() {
        let chunks = chunks();
        for number in 0..chunks.len() {
            let mut damaged = chunks.clone();
            damaged[number] = Bytes::from_static(b"\xff\xff");
            check(&damaged);
            damaged.truncate(number);
            check(&damaged);
        }
    }

    #[test]
    fn a_state_is_taken_while_its_file_is_read_and_only_if_that_is_whole() {
        let chunks = chunks();
        let checkpoint = |index| Checkpoint {
            position: Position::new(Term(1), Index(index)),
            membership: Default::default(),
        };
        let give = |taking: &mut Taking, chunks: &[Bytes]| {
            for chunk in chunks {
                let mut memory = taking.memory();
                memory.clear();
                memory.extend_from_slice(chunk);
                taking.chunk(memory);
            }
        };
        let mut taking = Taking::default();
        // The newest file was damaged, the one before it is whole.
        taking.begin(checkpoint(600));
        give(&mut taking, &chunks[..7]);
        taking.begin(checkpoint(500));
        give(&mut taking, &chunks);
        taking.end();
        let store = taking.finish(checkpoint(500)).expect("it is whole").expect("a state");
        assert_eq!(store.hash(), built(&chunks).expect("a state").hash());

        let mut taking = Taking::default();
        taking.begin(checkpoint(500));
        give(&mut taking, &chunks);
        assert!(taking.finish(checkpoint(500)).is_none(), "its end did not come");
        let mut taking = Taking::default();
        taking.begin(checkpoint(500));
        give(&mut taking, &chunks);
        taking.end();
        assert!(taking.finish(checkpoint(501)).is_none(), "it is another one");
    }

    #[test]
    fn a_state_that_is_given_up_leaves_no_thread_waiting() {
        let mut loader = Loader::start().expect("threads");
        loader.chunk(chunks().remove(0));
        let Loader { decoders, builder, .. } = loader;
        drop(decoders);
        assert!(builder.join().expect("it ends").is_err());
    }
}
