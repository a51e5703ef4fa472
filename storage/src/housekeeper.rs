//! A second thread for what the writer should not wait for: the next segment's zeros, the reserve for a full disk
//! ([`crate::space`]), and the removal of old segments.
//!
//! One old segment at a time is kept without its name, to be filled with zeros again: its blocks are allocated and its
//! pages are in memory, and finding both anew costs several times what the zeros do.
//!
//! What it refuses to do: leave a gap. If a segment cannot be removed, no later one is.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;
use std::{io, thread};

use crate::files::{FileError, OpenFile};
use crate::folder::Folder;
use crate::space::{self, Space};

/// Most jobs that wait. A checkpoint makes one and a full segment another; the writer waits when there are more.
const JOBS_MAX: usize = 64;

/// Bytes that are filled with zeros between two flushes, so that the log's own flush never waits behind a whole
/// segment of them.
const FILL_BYTES: u64 = 4 * 1024 * 1024;

/// How long the writer waits before it tries again to make a segment on a full disk.
const WAIT: Duration = Duration::from_millis(200);

/// Owns the thread. Dropping it ends the thread.
#[derive(Debug)]
pub(crate) struct Housekeeper {
    folder: Arc<Folder>,
    jobs: Option<SyncSender<Job>>,
    spare: Receiver<Option<OpenFile>>,
    /// A spare segment was asked for and not taken: how many bytes it has.
    asked: Option<u64>,
    stopping: Arc<AtomicBool>,
    space: Space,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
enum Job {
    Prepare(u64),
    Remove(Vec<PathBuf>),
}

impl Housekeeper {
    /// `segment_bytes` is the usual length of a segment, and the reserve's.
    pub(crate) fn start(folder: Arc<Folder>, segment_bytes: u64, space: Space) -> io::Result<Housekeeper> {
        let (jobs, work) = sync_channel(JOBS_MAX);
        // One spare at a time is asked for, so that handing it over never waits.
        let (ready, spare) = sync_channel(1);
        let stopping = Arc::new(AtomicBool::new(false));
        let thread = {
            let (stopping, space) = (Arc::clone(&stopping), space.clone());
            let folder = Arc::clone(&folder);
            let keeping = Keeping { folder, segment_bytes, stopping, space, removing: true, old: None };
            thread::Builder::new().name("housekeeper".to_owned()).spawn(move || keeping.run(&work, &ready))?
        };
        let jobs = Some(jobs);
        Ok(Housekeeper { folder, jobs, spare, asked: None, stopping, space, thread: Some(thread) })
    }

    /// Ask for a spare segment of so many bytes, unless one was asked for.
    pub(crate) fn prepare(&mut self, bytes: u64) {
        if self.asked.is_none() {
            self.asked = Some(bytes);
            self.send(Job::Prepare(bytes));
        }
    }

    /// Take the spare segment; make one now if there is none of this length. On a full disk the reserve becomes it, and
    /// without a reserve this waits for space until `given_up`.
    pub(crate) fn take(&mut self, bytes: u64, given_up: impl Fn() -> bool) -> Result<OpenFile, FileError> {
        if let Some(asked) = self.asked.take()
            && let Ok(Some(file)) = self.spare.recv()
        {
            if asked == bytes {
                return Ok(file);
            }
            self.folder.files.remove(file.path())?;
        }
        loop {
            match zeros(&self.folder, bytes, &AtomicBool::new(false)) {
                Ok(file) => return Ok(file.expect("nobody stops it")),
                Err(error) if !space::is_full(&error.source) || given_up() => return Err(error),
                Err(_) => self.space.set_full(true),
            }
            if let Some(reserve) = space::use_reserve(&self.folder, bytes)? {
                return Ok(reserve);
            }
            thread::sleep(WAIT);
        }
    }

    /// Remove segments, in this order.
    pub(crate) fn remove(&self, paths: Vec<PathBuf>) {
        self.send(Job::Remove(paths));
    }

    fn send(&self, job: Job) {
        // The thread ends only when this is dropped; were it gone, work left undone would be done at the next start.
        let _ = self.jobs.as_ref().map(|jobs| jobs.send(job));
    }
}

impl Drop for Housekeeper {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the thread works with.
struct Keeping {
    folder: Arc<Folder>,
    segment_bytes: u64,
    stopping: Arc<AtomicBool>,
    space: Space,
    removing: bool,
    /// A segment of the usual length that was removed as far as the log is concerned. The next start removes it.
    old: Option<OpenFile>,
}

impl Keeping {
    fn run(mut self, work: &Receiver<Job>, ready: &SyncSender<Option<OpenFile>>) {
        self.look_for_space();
        loop {
            let job = if self.space.is_full() {
                match work.recv_timeout(space::RETRY) {
                    Err(RecvTimeoutError::Timeout) => {
                        self.look_for_space();
                        continue;
                    }
                    job => job.ok(),
                }
            } else {
                work.recv().ok()
            };
            match job {
                Some(Job::Prepare(bytes)) => {
                    let _ = ready.send(self.prepare(bytes));
                }
                Some(Job::Remove(paths)) => self.remove(&paths),
                None => return,
            }
        }
    }

    /// Whether the disk is full, as far as the reserve and one segment more say. A full disk needs the old segment's space.
    fn look_for_space(&mut self) {
        let enough = match space::is_enough(&self.folder, self.segment_bytes) {
            Ok(false) if self.old.is_some() => {
                self.give_up_old();
                space::is_enough(&self.folder, self.segment_bytes)
            }
            enough => enough,
        };
        match enough {
            Ok(enough) => self.space.set_full(!enough),
            Err(error) => {
                tracing::warn!(path = %error.path.display(), error = %error.source, "no reserve for a full disk");
            }
        }
    }

    fn prepare(&mut self, bytes: u64) -> Option<OpenFile> {
        let prepared = match self.old.take() {
            Some(old) if bytes == self.segment_bytes => filled(&self.folder, old, bytes, &self.stopping),
            old => {
                self.old = old;
                zeros(&self.folder, bytes, &self.stopping)
            }
        };
        prepared.unwrap_or_else(|error| {
            // The writer tries again when it needs the segment, and reports it then.
            tracing::warn!(path = %error.path.display(), error = %error.source, "no spare segment");
            if space::is_full(&error.source) {
                self.space.set_full(true);
            }
            None
        })
    }

    fn remove(&mut self, paths: &[PathBuf]) {
        for path in paths {
            if !self.removing {
                return;
            }
            if let Err(error) = self.remove_one(path) {
                let path = error.path.display();
                tracing::warn!(%path, error = %error.source, "old segments stay until the next start");
                self.removing = false;
            }
        }
    }

    /// Each removal is flushed before the next: a later segment must not be gone while an earlier one is there. Nor may
    /// anything in it change while it may still have its name.
    fn remove_one(&mut self, path: &Path) -> Result<(), FileError> {
        let old = match self.old.is_none() && !self.space.is_full() {
            true => put_by(&self.folder, path, self.segment_bytes)?,
            false => None,
        };
        if old.is_none() {
            self.folder.files.remove(path)?;
        }
        self.folder.files.sync_folder(&self.folder.log())?;
        if old.is_some() {
            self.old = old;
        }
        Ok(())
    }

    fn give_up_old(&mut self) {
        let removed = self.old.take().map(|old| self.folder.files.remove(old.path()));
        if let Some(Err(error)) = removed {
            tracing::warn!(path = %error.path.display(), error = %error.source, "an old segment stays until the next start");
        }
    }
}

/// Take a segment's name away, if it is one of this length; else nothing happens.
fn put_by(folder: &Folder, path: &Path, bytes: u64) -> Result<Option<OpenFile>, FileError> {
    let mut file = match folder.files.open(path) {
        Err(error) if error.source.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    if file.bytes()? != bytes {
        return Ok(None);
    }
    folder.files.rename(&mut file, unnamed(folder))?;
    Ok(Some(file))
}

/// Where a file is that is to become a segment. The next start removes it.
fn unnamed(folder: &Folder) -> PathBuf {
    folder.unfinished(&folder.log().join("spare"))
}

/// A flushed file of zeros without a name of its own; `None` if it was stopped.
pub(crate) fn zeros(
    folder: &Folder,
    bytes: u64,
    stopping: &AtomicBool,
) -> Result<Option<OpenFile>, FileError> {
    let file = folder.files.create(&unnamed(folder))?;
    // On a full disk this fails before anything is written.
    if let Err(error) = folder.files.allocate(&file, bytes) {
        let _ = folder.files.remove(file.path());
        return Err(error);
    }
    filled(folder, file, bytes, stopping)
}

/// The file, filled with zeros and flushed; `None` if it was stopped. After an error it is gone.
fn filled(
    folder: &Folder,
    file: OpenFile,
    bytes: u64,
    stopping: &AtomicBool,
) -> Result<Option<OpenFile>, FileError> {
    for from in (0..bytes).step_by(FILL_BYTES as usize) {
        if stopping.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let done = folder.files.fill(&file, from, bytes.min(from + FILL_BYTES));
        if let Err(error) = done.and_then(|()| folder.files.sync(&file)) {
            let _ = folder.files.remove(file.path());
            return Err(error);
        }
    }
    Ok(Some(file))
}
