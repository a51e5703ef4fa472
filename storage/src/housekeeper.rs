//! A second thread for what the writer should not wait for: the next segment's zeros, and the removal of old ones.
//!
//! What it refuses to do: leave a gap. If a segment cannot be removed, no later one is.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::{io, thread};

use crate::files::{FileError, OpenFile};
use crate::folder::Folder;

/// Most jobs that wait. A checkpoint makes one and a full segment another; the writer waits when there are more.
const JOBS_MAX: usize = 64;

/// Bytes that are filled with zeros between two flushes, so that the log's own flush never waits behind a whole
/// segment of them.
const FILL_BYTES: u64 = 4 * 1024 * 1024;

/// Owns the thread. Dropping it ends the thread.
#[derive(Debug)]
pub(crate) struct Housekeeper {
    folder: Arc<Folder>,
    jobs: Option<SyncSender<Job>>,
    spare: Receiver<Option<OpenFile>>,
    /// A spare segment was asked for and not taken: how many bytes it has.
    asked: Option<u64>,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
enum Job {
    Prepare(u64),
    Remove(Vec<PathBuf>),
}

impl Housekeeper {
    pub(crate) fn start(folder: Arc<Folder>) -> io::Result<Housekeeper> {
        let (jobs, work) = sync_channel(JOBS_MAX);
        // One spare at a time is asked for, so that handing it over never waits.
        let (ready, spare) = sync_channel(1);
        let stopping = Arc::new(AtomicBool::new(false));
        let thread = {
            let (folder, stopping) = (Arc::clone(&folder), Arc::clone(&stopping));
            thread::Builder::new()
                .name("housekeeper".to_owned())
                .spawn(move || run(&folder, &work, &ready, &stopping))?
        };
        Ok(Housekeeper { folder, jobs: Some(jobs), spare, asked: None, stopping, thread: Some(thread) })
    }

    /// Ask for a spare segment of so many bytes, unless one was asked for.
    pub(crate) fn prepare(&mut self, bytes: u64) {
        if self.asked.is_none() {
            self.asked = Some(bytes);
            self.send(Job::Prepare(bytes));
        }
    }

    /// Take the spare segment; make one now if there is none of this length.
    pub(crate) fn take(&mut self, bytes: u64) -> Result<OpenFile, FileError> {
        if let Some(asked) = self.asked.take()
            && let Ok(Some(file)) = self.spare.recv()
        {
            if asked == bytes {
                return Ok(file);
            }
            self.folder.files.remove(file.path())?;
        }
        zeros(&self.folder, bytes, &AtomicBool::new(false)).map(|file| file.expect("nobody stops it"))
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

fn run(folder: &Folder, work: &Receiver<Job>, ready: &SyncSender<Option<OpenFile>>, stopping: &AtomicBool) {
    let mut removing = true;
    while let Ok(job) = work.recv() {
        match job {
            Job::Prepare(bytes) => {
                let file = zeros(folder, bytes, stopping).unwrap_or_else(|error| {
                    // The writer tries again when it needs the segment, and reports it then.
                    tracing::warn!(path = %error.path.display(), error = %error.source, "no spare segment");
                    None
                });
                let _ = ready.send(file);
            }
            Job::Remove(paths) if removing => {
                if let Err(error) = remove(folder, &paths) {
                    let path = error.path.display();
                    tracing::warn!(%path, error = %error.source, "old segments stay until the next start");
                    removing = false;
                }
            }
            Job::Remove(_) => {}
        }
    }
}

/// A flushed file of zeros without a name of its own; `None` if it was stopped.
pub(crate) fn zeros(
    folder: &Folder,
    bytes: u64,
    stopping: &AtomicBool,
) -> Result<Option<OpenFile>, FileError> {
    let path = folder.unfinished(&folder.log().join("spare"));
    let file = folder.files.create(&path)?;
    let filled = (0..bytes).step_by(FILL_BYTES as usize).try_fold(true, |going, from| {
        if !going || stopping.load(Ordering::Relaxed) {
            return Ok(false);
        }
        folder.files.fill(&file, from, bytes.min(from + FILL_BYTES))?;
        folder.files.sync(&file).map(|()| true)
    });
    match filled {
        Ok(true) => Ok(Some(file)),
        Ok(false) => Ok(None),
        Err(error) => {
            let _ = folder.files.remove(&path);
            Err(error)
        }
    }
}

/// Each removal is flushed before the next: a later segment must not be gone while an earlier one is there.
fn remove(folder: &Folder, paths: &[PathBuf]) -> Result<(), FileError> {
    for path in paths {
        folder.files.remove(path)?;
        folder.files.sync_folder(&folder.log())?;
    }
    Ok(())
}
