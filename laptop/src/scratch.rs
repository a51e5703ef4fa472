//! A folder for stores that last no longer than the program that makes them: experiments.
//!
//! ```text
//! DATA/scratch-PID/scratch.lock     held by the program for as long as it lives
//! DATA/scratch-PID/STORE/           a store's folder, see `folder`
//! ```
//!
//! Three who remove it, each in case those before could not: the program at its end, the janitor that it started, and the next
//! program that makes a scratch folder in the same place. Refuses to remove what it did not make.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::janitor;
use crate::process::Program;

/// The file by which a scratch folder is known, and its owner to live.
pub(crate) const LOCK: &str = "scratch.lock";
/// How the folders' names begin.
const PREFIX: &str = "scratch-";

/// A folder that goes with the program.
#[derive(Debug)]
pub struct Scratch {
    root: PathBuf,
    stores: AtomicU32,
    _lock: File,
    janitor: Child,
}

/// Why there is no scratch folder.
#[derive(Debug, thiserror::Error)]
pub enum ScratchError {
    /// The folder cannot be made or written to.
    #[error("cannot use {} for the stores of experiments; give a folder that you may write to", .path.display())]
    Unwritable {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The process that would clear up cannot be started.
    #[error("cannot start the process that clears up after us")]
    Janitor(#[source] io::Error),
}

impl Scratch {
    /// Makes one below `data`, and removes those whose programs are gone. `program` with the arguments `janitor` and the folder must
    /// call [`janitor::run`].
    ///
    /// # Errors
    /// The folder cannot be made, or the janitor cannot be started.
    pub fn new(data: &Path, program: &Program, janitor: &[OsString]) -> Result<Scratch, ScratchError> {
        let unwritable = |source| ScratchError::Unwritable { path: data.to_path_buf(), source };
        let data = std::path::absolute(data).map_err(unwritable)?;
        fs::create_dir_all(&data).map_err(unwritable)?;
        clear(&data);
        let root = data.join(format!("{PREFIX}{}", std::process::id()));
        fs::create_dir_all(&root).map_err(unwritable)?;
        let lock = File::create(root.join(LOCK)).map_err(unwritable)?;
        lock.try_lock().map_err(io::Error::from).map_err(unwritable)?;
        let janitor = Command::new(program.path())
            .arg0("holdfast")
            .args(janitor)
            .arg(&root)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A ctrl-c at the terminal is not meant for it.
            .process_group(0)
            .spawn()
            .map_err(ScratchError::Janitor)?;
        Ok(Scratch { root, stores: AtomicU32::new(0), _lock: lock, janitor })
    }

    /// A folder for another store that does not exist yet.
    pub(crate) fn next(&self) -> PathBuf {
        self.root.join(self.stores.fetch_add(1, Ordering::Relaxed).to_string())
    }

    /// Where the stores are.
    pub fn root(&self) -> &Path {
        &self.root
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let removed = fs::remove_dir_all(&self.root);
        drop(self.janitor.stdin.take());
        // It ends at once if there is nothing to do, and else it does not need us.
        if removed.is_ok() {
            let _ = self.janitor.wait();
        }
    }
}

/// Removes what programs left that are gone together with their janitors.
fn clear(data: &Path) {
    for entry in fs::read_dir(data).into_iter().flatten().flatten() {
        let path = entry.path();
        let ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        let Ok(lock) = File::open(path.join(LOCK)) else { continue };
        if ours && !matches!(lock.try_lock(), Err(TryLockError::WouldBlock)) {
            // What cannot be removed now is tried again by the next program.
            let _ = janitor::remove(&path);
        }
    }
}
