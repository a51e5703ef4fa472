//! The few things this crate does to the file system, each with the path in its error.
//!
//! Everything that changes the disk goes through [`Files`], so that tests can record the order of changes, replay
//! any crash between two of them, and make any one of them fail.
//!
//! What it refuses to do: retry, and hide an error.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::{CheckpointError, OpenError, WriteError};

/// Bytes that are filled with zeros by one write: large enough to make the system call's cost vanish.
const FILL_BYTES: usize = 256 * 1024;

/// The file system.
#[derive(Clone, Debug, Default)]
pub(crate) struct Files {
    #[cfg(test)]
    pub(crate) trace: Option<std::sync::Arc<crate::trace::Trace>>,
}

/// One change to the disk.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(test), expect(dead_code, reason = "only tests look at the changes"))]
pub(crate) enum Change<'a> {
    Create(&'a Path),
    Write { path: &'a Path, offset: u64, bytes: &'a [u8] },
    Sync(&'a Path),
    Rename { from: &'a Path, to: &'a Path },
    Remove(&'a Path),
    SyncFolder(&'a Path),
}

/// A file that is open for reading and writing, and where it is.
#[derive(Debug)]
pub(crate) struct OpenFile {
    file: File,
    path: PathBuf,
}

/// The operating system failed; becomes the variant `Io` of whatever was being done.
#[derive(Debug)]
pub(crate) struct FileError {
    /// What was tried, as a verb.
    pub(crate) action: &'static str,
    pub(crate) path: PathBuf,
    pub(crate) source: io::Error,
}

impl FileError {
    pub(crate) fn new(action: &'static str, path: &Path, source: io::Error) -> FileError {
        FileError { action, path: path.to_owned(), source }
    }
}

impl Files {
    /// Create an empty file, in place of one that may be there.
    pub(crate) fn create(&self, path: &Path) -> Result<OpenFile, FileError> {
        self.change("create", path, Change::Create(path))?;
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path);
        Ok(OpenFile {
            file: file.map_err(|error| FileError::new("create", path, error))?,
            path: path.to_owned(),
        })
    }

    /// Open a file that is there.
    pub(crate) fn open(&self, path: &Path) -> Result<OpenFile, FileError> {
        let file = OpenOptions::new().read(true).write(true).open(path);
        Ok(OpenFile {
            file: file.map_err(|error| FileError::new("open", path, error))?,
            path: path.to_owned(),
        })
    }

    pub(crate) fn write_at(&self, file: &OpenFile, offset: u64, bytes: &[u8]) -> Result<(), FileError> {
        self.change("write", &file.path, Change::Write { path: &file.path, offset, bytes })?;
        file.file.write_all_at(bytes, offset).map_err(|error| FileError::new("write", &file.path, error))
    }

    /// Write zeros to `[from, to)`.
    pub(crate) fn fill(&self, file: &OpenFile, from: u64, to: u64) -> Result<(), FileError> {
        let zeros = vec![0; FILL_BYTES.min(to.saturating_sub(from) as usize)];
        let mut at = from;
        while at < to {
            let part = &zeros[..zeros.len().min((to - at) as usize)];
            self.write_at(file, at, part)?;
            at += part.len() as u64;
        }
        Ok(())
    }

    /// Give the file this length, and space on the disk for all of it. What was not written reads as zeros.
    pub(crate) fn allocate(&self, file: &OpenFile, bytes: u64) -> Result<(), FileError> {
        use rustix::io::Errno;
        #[cfg(test)]
        if self.trace.is_some() {
            // The model does not know space.
            return file.file.set_len(bytes).map_err(|error| FileError::new("allocate", &file.path, error));
        }
        match rustix::fs::fallocate(&file.file, rustix::fs::FallocateFlags::empty(), 0, bytes) {
            // Not every file system can; zeros take the space too.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.fill(file, 0, bytes),
            done => done.map_err(|error| FileError::new("allocate", &file.path, error.into())),
        }
    }

    /// Wait until content and length of the file survive power loss.
    pub(crate) fn sync(&self, file: &OpenFile) -> Result<(), FileError> {
        self.change("flush", &file.path, Change::Sync(&file.path))?;
        #[cfg(test)]
        if self.trace.is_some() {
            return Ok(()); // whoever watches the changes also models what survives
        }
        file.file.sync_data().map_err(|error| FileError::new("flush", &file.path, error))
    }

    /// Give an open file another name in the same folder, in place of one that may be there.
    pub(crate) fn rename(&self, file: &mut OpenFile, to: PathBuf) -> Result<(), FileError> {
        self.change("rename", &file.path, Change::Rename { from: &file.path, to: &to })?;
        fs::rename(&file.path, &to).map_err(|error| FileError::new("rename", &file.path, error))?;
        file.path = to;
        Ok(())
    }

    /// Remove a file; one that is not there is removed already.
    pub(crate) fn remove(&self, path: &Path) -> Result<(), FileError> {
        self.change("remove", path, Change::Remove(path))?;
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(FileError::new("remove", path, error))
            }
            _ => Ok(()),
        }
    }

    /// Wait until the names in a folder survive power loss.
    pub(crate) fn sync_folder(&self, path: &Path) -> Result<(), FileError> {
        self.change("flush", path, Change::SyncFolder(path))?;
        #[cfg(test)]
        if self.trace.is_some() {
            return Ok(());
        }
        let folder = File::open(path).map_err(|error| FileError::new("open", path, error))?;
        folder.sync_all().map_err(|error| FileError::new("flush", path, error))
    }

    /// Write a small file so that a crash leaves the old one or the new one, whole.
    pub(crate) fn replace(&self, path: &Path, bytes: &[u8]) -> Result<OpenFile, FileError> {
        let mut file = self.create(&path.with_extension("tmp"))?;
        self.write_at(&file, 0, bytes)?;
        self.sync(&file)?;
        self.rename(&mut file, path.to_owned())?;
        self.sync_folder(path.parent().expect("a file is in a folder"))?;
        Ok(file)
    }

    #[cfg(not(test))]
    fn change(&self, _action: &'static str, _path: &Path, _change: Change<'_>) -> Result<(), FileError> {
        Ok(())
    }

    #[cfg(test)]
    fn change(&self, action: &'static str, path: &Path, change: Change<'_>) -> Result<(), FileError> {
        let Some(trace) = &self.trace else { return Ok(()) };
        trace.record(change).map_err(|error| FileError::new(action, path, error))
    }
}

impl OpenFile {
    /// Let the kernel forget what it holds of the file and has written, so that the next reading is one of the disk.
    pub(crate) fn give_up_pages(&self) {
        // Where it cannot, memory is read instead, which finds less.
        let _ = rustix::fs::fadvise(&self.file, 0, None, rustix::fs::Advice::DontNeed);
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn bytes(&self) -> Result<u64, FileError> {
        let metadata = self.file.metadata().map_err(|error| FileError::new("read", &self.path, error))?;
        Ok(metadata.len())
    }

    /// The whole file, of which the caller has checked the length.
    pub(crate) fn read(&self, bytes: u64) -> Result<Vec<u8>, FileError> {
        let mut content = vec![0; bytes as usize];
        self.read_at(0, &mut content)?;
        Ok(content)
    }

    pub(crate) fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), FileError> {
        self.file.read_exact_at(into, offset).map_err(|error| FileError::new("read", &self.path, error))
    }
}

impl From<FileError> for OpenError {
    fn from(FileError { action, path, source }: FileError) -> OpenError {
        OpenError::Io { action, path, source }
    }
}

impl From<FileError> for WriteError {
    fn from(FileError { action, path, source }: FileError) -> WriteError {
        WriteError::Io { action, path, source }
    }
}

impl From<FileError> for CheckpointError {
    fn from(FileError { action, path, source }: FileError) -> CheckpointError {
        CheckpointError::Io { action, path, source }
    }
}
