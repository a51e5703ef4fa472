//! Reading everything again in the background, slowly, so that damage is found while others still have what it took.
//!
//! One pass reads all segments of the log up to where they were flushed, all checkpoints, and the identity; then a
//! pause. Before a file is read its pages are given up, so that the disk is read and not the memory. The first damage
//! ends it: whoever runs the member ends the process, and its next start repairs.
//!
//! What it refuses to do: write, repair, hurry, or look at what is being written: the vote, and the end of the log
//! behind its last flush.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::checkpoint::{self, CheckpointReader};
use crate::files::FileError;
use crate::folder::Folder;
use crate::identity::Identity;
use crate::salvage::Fault;
use crate::{CheckpointError, Damage, OpenError};

/// Bytes that are read at once.
const PIECE_BYTES: usize = 256 * 1024;

/// How fast files are read again, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Bytes per second, on average over a second; not 0.
    pub bytes_per_second: u64,
    /// The pause before each pass.
    pub pause: Duration,
}

impl Default for Pace {
    fn default() -> Pace {
        // A hundredth of what a slow disk can do, so that the log's flushes do not feel it; ten gigabytes take twenty
        // minutes. Bits rot over months, so that once an hour finds them long before a second copy goes bad.
        Pace { bytes_per_second: 8 * 1024 * 1024, pause: Duration::from_secs(3600) }
    }
}

/// What came of reading again.
#[derive(Clone, Debug)]
pub enum Scrubbed {
    /// So many bytes are as they were written.
    Read(u64),
    /// Everything was read once; it took so long.
    Pass(Duration),
    /// Something is not as it was written. The last report.
    Damaged(Fault),
    /// A file could not be read. The last report: a disk that fails to read has lost what it does not give.
    Failed {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Arc<io::Error>,
    },
}

/// What the log's files should hold, kept up to date by the writer.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<VecDeque<Expected>>);

/// What one segment should hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) path: PathBuf,
    /// Everything before this was flushed.
    pub(crate) end: u64,
    /// CRC-32C of that.
    pub(crate) digest: u32,
    /// Nothing will be added, so that zeros follow.
    pub(crate) closed: bool,
}

/// What is to be read again.
#[derive(Debug)]
pub struct Scrub {
    folder: Arc<Folder>,
    ledger: Arc<Ledger>,
}

/// The thread that reads. Dropping it ends the thread.
#[derive(Debug)]
pub struct Scrubber {
    stop: Arc<Stop>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Stop {
    stopping: Mutex<bool>,
    changed: Condvar,
}

/// Why a pass ended early.
enum Early {
    Stopping,
    Damaged(Fault),
    Failed(FileError),
}

struct Pass<'a, F> {
    scrub: &'a Scrub,
    pace: Pace,
    stop: &'a Stop,
    report: F,
    started: Instant,
    bytes: u64,
}

impl Ledger {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Expected>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The log is in these files now.
    pub(crate) fn replace(&self, segments: impl IntoIterator<Item = Expected>) {
        *self.lock() = segments.into_iter().collect();
    }

    /// The last segment was flushed up to here.
    pub(crate) fn flushed(&self, end: u64, digest: u32) {
        if let Some(last) = self.lock().back_mut() {
            (last.end, last.digest) = (end, digest);
        }
    }

    /// The last segment is followed by another one.
    pub(crate) fn rolled(&self, next: Expected) {
        let mut segments = self.lock();
        if let Some(last) = segments.back_mut() {
            last.closed = true;
        }
        segments.push_back(next);
    }

    /// The first `count` segments are removed from now on.
    pub(crate) fn released(&self, count: usize) {
        let mut segments = self.lock();
        let count = count.min(segments.len());
        segments.drain(..count);
    }

    fn holds(&self, path: &Path) -> bool {
        self.lock().iter().any(|expected| expected.path == path)
    }
}

impl Stop {
    /// Wait, unless it is time to stop; whether it is.
    fn wait(&self, pause: Duration) -> bool {
        let stopping = self.stopping.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(stopping, pause, |stopping| !*stopping);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Scrub {
    pub(crate) fn new(folder: Arc<Folder>, ledger: Arc<Ledger>) -> Scrub {
        Scrub { folder, ledger }
    }

    /// Start the thread. `report` is called in it and must not wait. The folder stays locked as long as it runs.
    ///
    /// # Errors
    ///
    /// The operating system's, if it has no more threads.
    pub fn start(
        self,
        pace: Pace,
        mut report: impl FnMut(Scrubbed) + Send + 'static,
    ) -> io::Result<Scrubber> {
        let stop = Arc::new(Stop::default());
        let stopping = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("scrub".to_owned()).spawn(move || {
            while !stopping.wait(pace.pause) {
                let started = Instant::now();
                let pass =
                    Pass { scrub: &self, pace, stop: &stopping, report: &mut report, started, bytes: 0 };
                match pass.run() {
                    Ok(()) => report(Scrubbed::Pass(started.elapsed())),
                    Err(Early::Stopping) => return,
                    Err(Early::Damaged(fault)) => return report(Scrubbed::Damaged(fault)),
                    Err(Early::Failed(FileError { path, source, .. })) => {
                        return report(Scrubbed::Failed { path, source: Arc::new(source) });
                    }
                }
            }
        })?;
        Ok(Scrubber { stop, thread: Some(thread) })
    }
}

impl Drop for Scrubber {
    fn drop(&mut self) {
        *self.stop.stopping.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.stop.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl From<FileError> for Early {
    fn from(error: FileError) -> Early {
        Early::Failed(error)
    }
}

impl<F: FnMut(Scrubbed)> Pass<'_, F> {
    fn run(mut self) -> Result<(), Early> {
        self.identity()?;
        let mut done = Vec::new();
        // The list changes while it is gone through; what is new is read in the same pass.
        loop {
            let next = self.scrub.ledger.lock().iter().find(|next| !done.contains(&next.path)).cloned();
            let Some(expected) = next else { break };
            done.push(expected.path.clone());
            match self.segment(&expected) {
                // Released meanwhile: it is about to become another segment.
                Err(Early::Damaged(_)) if !self.scrub.ledger.holds(&expected.path) => {}
                read => read?,
            }
        }
        let paths = checkpoint::paths(&self.scrub.folder)?;
        for (path, position) in paths {
            self.checkpoint(&path, position)?;
        }
        Ok(())
    }

    /// So many bytes were read: report them, and wait as long as the pace demands.
    fn read(&mut self, bytes: u64) -> Result<(), Early> {
        self.bytes += bytes;
        (self.report)(Scrubbed::Read(bytes));
        let due = Duration::from_secs_f64(self.bytes as f64 / self.pace.bytes_per_second as f64);
        match self.stop.wait(due.saturating_sub(self.started.elapsed())) {
            true => Err(Early::Stopping),
            false => Ok(()),
        }
    }

    fn identity(&mut self) -> Result<(), Early> {
        let folder = &self.scrub.folder;
        for path in [folder.identity_path(), folder.identity_copy_path()] {
            // It is replaced when the store is formed; then the first look may see one and know the other.
            let found = (0..2).find_map(|_| match Identity::read(&folder.files, &path) {
                Ok(found) if found == folder.identity() => Some(Ok(())),
                Ok(_) => None,
                Err(error) => Some(Err(error)),
            });
            match found.unwrap_or(Ok(())) {
                Err(OpenError::Damaged { path, offset, what }) => {
                    return Err(Early::Damaged(Fault { path, offset, what }));
                }
                Err(OpenError::Io { action, path, source }) => {
                    return Err(Early::Failed(FileError { action, path, source }));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn segment(&mut self, expected: &Expected) -> Result<(), Early> {
        let path = &expected.path;
        let damaged = |offset, what| Err(Early::Damaged(Fault { path: path.clone(), offset, what }));
        let file = match self.scrub.folder.files.open(path) {
            Ok(file) => file,
            Err(error) if error.source.kind() == io::ErrorKind::NotFound => {
                // Removed since the list was looked at, or lost.
                return if self.scrub.ledger.holds(path) { damaged(0, Damage::Missing) } else { Ok(()) };
            }
            Err(error) => return Err(error.into()),
        };
        file.give_up_pages();
        let bytes = if expected.closed { file.bytes()? } else { expected.end };
        if bytes < expected.end {
            return damaged(bytes, Damage::Length { found: bytes, expected: expected.end });
        }
        let (mut at, mut digest, mut piece) = (0, 0, vec![0; PIECE_BYTES]);
        while at < bytes {
            let length = piece.len().min((bytes - at) as usize);
            let piece = &mut piece[..length];
            match file.read_at(at, piece) {
                Err(error) if error.source.kind() == io::ErrorKind::UnexpectedEof => {
                    return damaged(at, Damage::Length { found: at, expected: bytes });
                }
                read => read?,
            }
            let content = piece.len().min(expected.end.saturating_sub(at) as usize);
            digest = crc32c::crc32c_append(digest, &piece[..content]);
            if let Some(other) = piece[content..].iter().position(|byte| *byte != 0) {
                return damaged(at + (content + other) as u64, Damage::Record);
            }
            at += length as u64;
            self.read(length as u64)?;
        }
        file.give_up_pages();
        if digest != expected.digest { damaged(0, Damage::Digest) } else { Ok(()) }
    }

    fn checkpoint(&mut self, path: &Path, position: holdfast_engine::Position) -> Result<(), Early> {
        let opened = CheckpointReader::open(&self.scrub.folder.files, path, position);
        let mut reader = match opened {
            Err(CheckpointError::NotFound { .. }) => return Ok(()), // removed by now
            // One of another version is not ours to judge; nothing of this process counts on it.
            Err(CheckpointError::Version { .. }) => return Ok(()),
            opened => opened.map_err(early)?,
        };
        reader.give_up_pages();
        for chunk in reader.by_ref() {
            let bytes = chunk.map_err(early)?.len() as u64;
            self.read(bytes)?;
        }
        reader.give_up_pages();
        Ok(())
    }
}

fn early(error: CheckpointError) -> Early {
    match error {
        CheckpointError::Damaged { path, offset, what } => Early::Damaged(Fault { path, offset, what }),
        CheckpointError::Io { action, path, source } => Early::Failed(FileError { action, path, source }),
        CheckpointError::Version { .. }
        | CheckpointError::NotFound { .. }
        | CheckpointError::Foreign { .. }
        | CheckpointError::Chunk { .. } => {
            unreachable!("only opening, and writing, fail so")
        }
    }
}
