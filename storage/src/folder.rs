//! A member's folder: what is where in it, and the lock that keeps a second process out.
//!
//! ```text
//! lock            locked while a process has the folder open; empty
//! identity        whose folder this is, and how its store began
//! identity.copy   the same
//! vote            term and vote, twice
//! log/            segments, and the next one while it is filled with zeros
//! checkpoints/    one file per checkpoint
//! damaged/        files of a former life that could not be used, or may not be any more; nobody needs them
//! ```
//!
//! What it refuses to do: touch files that are not its own; a volume's `lost+found` may lie beside them.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::files::{FileError, Files};
use crate::identity::Identity;
use crate::{Damage, OpenError};

/// How names of unfinished files end; whatever has such a name when the folder is opened is removed.
pub(crate) const UNFINISHED: &str = "tmp";

/// Where files are moved that nobody can use any more and somebody may want to look at.
const ASIDE: &str = "damaged";

/// Why they are there, in the same place.
const WHY: &str = "why";

/// Longest reason that is read again: a few lines.
const WHY_BYTES_MAX: u64 = 4096;

/// An open folder. It is locked as long as this lives.
#[derive(Debug)]
pub(crate) struct Folder {
    pub(crate) files: Files,
    root: PathBuf,
    /// Changes only when the store is formed.
    identity: Mutex<Option<Identity>>,
    /// Counts unfinished files, so that no two ever have the same name.
    unfinished: AtomicU64,
    _lock: File,
}

impl Folder {
    /// Create the folder if it is not there, and lock it.
    pub(crate) fn lock(root: &Path, files: Files) -> Result<Folder, OpenError> {
        fs::create_dir_all(root).map_err(|source| OpenError::Create { path: root.to_owned(), source })?;
        let path = root.join("lock");
        let lock = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let lock = lock.map_err(|source| OpenError::Unwritable { path: root.to_owned(), source })?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::Locked { path }),
            Err(TryLockError::Error(source)) => return Err(OpenError::Io { action: "lock", path, source }),
        }
        let folder = Folder {
            files,
            root: root.to_owned(),
            identity: Mutex::new(None),
            unfinished: AtomicU64::new(0),
            _lock: lock,
        };
        for part in [folder.log(), folder.checkpoints()] {
            match fs::create_dir(&part) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(OpenError::Unwritable { path: part, source: error });
                }
                _ => {}
            }
        }
        Ok(folder)
    }

    pub(crate) fn identity_path(&self) -> PathBuf {
        self.root.join("identity")
    }

    pub(crate) fn identity_copy_path(&self) -> PathBuf {
        self.root.join("identity.copy")
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn vote_path(&self) -> PathBuf {
        self.root.join("vote")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    pub(crate) fn checkpoints(&self) -> PathBuf {
        self.root.join("checkpoints")
    }

    /// A name in the folder of `path` that nothing else has.
    pub(crate) fn unfinished(&self, path: &Path) -> PathBuf {
        let count = self.unfinished.fetch_add(1, Ordering::Relaxed);
        path.with_extension(format!("{count}.{UNFINISHED}"))
    }

    /// Whose folder this is.
    ///
    /// # Panics
    ///
    /// Before [`Folder::identify`].
    pub(crate) fn identity(&self) -> Identity {
        let identity = self.identity.lock().unwrap_or_else(PoisonError::into_inner);
        identity.clone().expect("the folder was identified when it was opened")
    }

    /// Write down whose folder this is, durably and twice. Returns how many bytes that took.
    pub(crate) fn identify(&self, identity: Identity) -> Result<usize, FileError> {
        let mut bytes = identity.write(&self.files, &self.identity_path())?;
        bytes += identity.write(&self.files, &self.identity_copy_path())?;
        self.know(identity);
        Ok(bytes)
    }

    /// Whose folder this is by the first of the two files, or else by the copy; [`Folder::mend`] writes what is wrong.
    /// If neither can be read, the error is the first one's, unless that is missing and the copy is there: then the folder
    /// is not new.
    pub(crate) fn read_identity(&self) -> Result<Identity, OpenError> {
        let first = Identity::read(&self.files, &self.identity_path());
        match first {
            Err(OpenError::Damaged { path, offset, what }) => {
                match Identity::read(&self.files, &self.identity_copy_path()) {
                    Err(OpenError::Damaged { what: Damage::Missing, .. }) => {
                        Err(OpenError::Damaged { path, offset, what })
                    }
                    Err(OpenError::Damaged { .. }) if what != Damage::Missing => {
                        Err(OpenError::Damaged { path, offset, what })
                    }
                    copy => copy,
                }
            }
            first => first,
        }
    }

    /// Make both identity files say this, if they do not.
    pub(crate) fn mend(&self, identity: &Identity) -> Result<(), FileError> {
        for path in [self.identity_path(), self.identity_copy_path()] {
            match Identity::read(&self.files, &path) {
                Ok(found) if found == *identity => {}
                found => {
                    if let Err(error) = found {
                        tracing::warn!(path = %path.display(), %error, "wrote the identity anew from its copy");
                    }
                    identity.write(&self.files, &path)?;
                }
            }
        }
        self.know(identity.clone());
        Ok(())
    }

    /// Remember what the identity file says.
    pub(crate) fn know(&self, identity: Identity) {
        *self.identity.lock().unwrap_or_else(PoisonError::into_inner) = Some(identity);
    }

    /// The files in a part of the folder that end in `extension`, by name.
    pub(crate) fn list(&self, part: &Path, extension: &str) -> Result<Vec<PathBuf>, FileError> {
        let failed = |error| FileError::new("list", part, error);
        let mut paths = Vec::new();
        for item in fs::read_dir(part).map_err(failed)? {
            let path = item.map_err(failed)?.path();
            if path.extension().is_some_and(|found| found == extension) {
                paths.push(path);
            }
        }
        paths.sort();
        Ok(paths)
    }

    /// Move everything into a folder of its own, in place of what was moved there before. Returns where the files are.
    /// That something was there is remembered by that folder, and `why`, for people.
    ///
    /// Until the last step there are files without an identity, which no start takes for a new folder.
    pub(crate) fn put_aside(&self, why: &str) -> Result<PathBuf, FileError> {
        let aside = self.root.join(ASIDE);
        let failed = |error| FileError::new("move aside", &aside, error);
        match fs::remove_dir_all(&aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => fs::create_dir(&aside).map_err(failed)?,
        }
        fs::write(aside.join(WHY), format!("{why}\n")).map_err(failed)?;
        for name in ["identity", "identity.copy", "vote", "checkpoints", "log"] {
            match fs::rename(self.root.join(name), aside.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
                _ => {}
            }
            self.files.sync_folder(&self.root)?;
        }
        self.files.sync_folder(&aside)?;
        Ok(aside)
    }

    /// Whether a former life's files were moved aside.
    pub(crate) fn has_put_aside(&self) -> bool {
        self.root.join(ASIDE).exists()
    }

    /// Why, if that can be read. Nothing depends on it.
    pub(crate) fn why_put_aside(&self) -> Option<String> {
        let file = File::open(self.root.join(ASIDE).join(WHY)).ok()?;
        let mut why = String::new();
        file.take(WHY_BYTES_MAX).read_to_string(&mut why).ok()?;
        Some(why.trim_end().to_owned()).filter(|why| !why.is_empty())
    }

    /// Make the folder's own name durable, as far as its parent lets us: that one is not ours.
    pub(crate) fn sync_parent(&self) {
        if let Ok(root) = self.root.canonicalize()
            && let Some(parent) = root.parent()
        {
            let _ = self.files.sync_folder(parent);
        }
    }

    /// Remove what an earlier process did not finish, and make durable which names there are: it may have been killed
    /// right after it gave a file its name, and what is done now counts on that name.
    pub(crate) fn settle(&self) -> Result<(), FileError> {
        for part in [self.root.clone(), self.log(), self.checkpoints()] {
            for path in self.list(&part, UNFINISHED)? {
                self.files.remove(&path)?;
            }
            self.files.sync_folder(&part)?;
        }
        Ok(())
    }
}
