//! A full disk: the reserve that is kept for it, and whether it is full now.
//!
//! The log needs space only when a segment is full. Then the next one is made, or, if there is no space for it, the reserve
//! becomes it: a file of the same length that was there all the time. From then on, until there is a reserve and space
//! for one segment more, the disk counts as full: the member refuses what makes the store grow, and the reserve takes
//! what makes it smaller. When the reserve is used up too, the writer waits for space; it writes nothing wrong and loses nothing.
//!
//! What it refuses to do: give up, or call a disk that has no reserve anything but full.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::files::{FileError, OpenFile};
use crate::folder::Folder;

/// How often it is looked whether there is space again.
pub(crate) const RETRY: Duration = Duration::from_secs(1);

/// The name of the reserve, in the log's folder. It is not one of a segment, nor of something unfinished.
const NAME: &str = "reserve";

/// Whether the disk is full, for all who want to know. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Space(Arc<State>);

#[derive(Debug, Default)]
struct State {
    full: AtomicBool,
    since: Mutex<Option<Instant>>,
}

impl Space {
    /// Whether there is no space for the log to grow beyond its reserve.
    pub fn is_full(&self) -> bool {
        self.0.full.load(Ordering::Relaxed)
    }

    /// For how long.
    pub fn full_for(&self) -> Option<Duration> {
        let since = self.0.since.lock().unwrap_or_else(PoisonError::into_inner);
        since.map(|since| since.elapsed())
    }

    pub(crate) fn set_full(&self, full: bool) {
        let mut since = self.0.since.lock().unwrap_or_else(PoisonError::into_inner);
        match (full, *since) {
            (true, None) => {
                tracing::warn!("the disk is full: the log lives on its reserve");
                *since = Some(Instant::now());
            }
            (false, Some(began)) => {
                tracing::info!(seconds = began.elapsed().as_secs(), "there is space on the disk again");
                *since = None;
            }
            _ => {}
        }
        self.0.full.store(full, Ordering::Relaxed);
    }
}

/// Whether an error says that there is no space.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn path(folder: &Folder) -> PathBuf {
    folder.log().join(NAME)
}

/// Make the reserve, unless it is there: a file that has its space and no content.
pub(crate) fn keep_reserve(folder: &Folder, bytes: u64) -> Result<(), FileError> {
    match folder.files.open(&path(folder)) {
        Ok(file) if file.bytes()? == bytes => return Ok(()),
        Ok(file) => folder.files.remove(file.path())?,
        Err(error) if error.source.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut file = folder.files.create(&folder.unfinished(&path(folder)))?;
    let made = folder.files.allocate(&file, bytes).and_then(|()| folder.files.sync(&file));
    match made.and_then(|()| folder.files.rename(&mut file, path(folder))) {
        Ok(()) => folder.files.sync_folder(&folder.log()),
        Err(error) => {
            let _ = folder.files.remove(file.path());
            Err(error)
        }
    }
}

/// The reserve, filled with zeros, to become a segment of so many bytes; nothing if it is used already or too small.
pub(crate) fn use_reserve(folder: &Folder, bytes: u64) -> Result<Option<OpenFile>, FileError> {
    let mut file = match folder.files.open(&path(folder)) {
        Err(error) if error.source.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    if file.bytes()? != bytes {
        return Ok(None);
    }
    // From here on the next start removes it, unless it has become a segment.
    folder.files.rename(&mut file, folder.unfinished(&path(folder)))?;
    folder.files.fill(&file, 0, bytes)?;
    folder.files.sync(&file)?;
    Ok(Some(file))
}

/// Whether there is a reserve, and space for one segment more.
pub(crate) fn is_enough(folder: &Folder, bytes: u64) -> Result<bool, FileError> {
    let made = keep_reserve(folder, bytes).and_then(|()| {
        let probe = folder.files.create(&folder.unfinished(&folder.log().join("probe")))?;
        let allocated = folder.files.allocate(&probe, bytes);
        folder.files.remove(probe.path())?;
        allocated
    });
    match made {
        Ok(()) => Ok(true),
        Err(error) if is_full(&error.source) => Ok(false),
        Err(error) => Err(error),
    }
}
