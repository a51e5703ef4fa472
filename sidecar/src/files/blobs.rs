//! The bytes of files on this member's disk: [`Blobs`], a folder in which every file is named by its SHA-256.
//!
//! What two names have in common is there once. A name of a user never comes near a path. A file is
//!
//! ```text
//! bytes | crc32c u32 of each block of 256 KiB | magic 8 | size u64 | sha256 32 | crc32c u32 of these
//! ```
//!
//! so that any range of it can be checked before it is given to anybody. It has its name only when it is whole and
//! durable; what was being written when the member stopped is removed when it starts.
//!
//! What it refuses to do: know which files are wanted, and remove anything of its own accord.

mod blob;
mod flushing;
mod incoming;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::SystemTime;

use holdfast_wire::files::{Digest, PIECE_BYTES_MAX};

pub(crate) use blob::Blob;
pub(crate) use flushing::Flushing;
pub(crate) use incoming::{Complete, Incoming};

use super::limits::{SPACE_KEPT_MAX, SPACE_KEPT_PART};

/// Bytes that one checksum is for: what is sent as one piece.
pub(crate) const BLOCK_BYTES: usize = PIECE_BYTES_MAX;

/// What a file's end begins with.
const MAGIC: [u8; 8] = *b"HFBLOB\x02\n";

/// Bytes of a file's end, behind the checksums of its blocks.
const END_BYTES: u64 = 8 + 8 + 32 + 4;

/// Files that are not whole, in the folder itself.
const UNFINISHED: &str = ".part";

/// Files that are not what they were. They stay until there is a good one: it may be all that is left.
const DAMAGED: &str = ".damaged";

/// Why a file cannot be kept or given.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BlobError {
    /// It is not here.
    #[error("the file is not on this member")]
    Missing,
    /// It is not what it was.
    #[error("the file {} is damaged: {what}", path.display())]
    Damaged { path: PathBuf, what: String },
    /// What came is not what was named.
    #[error("what came is not what was named: {0}")]
    Mismatch(String),
    /// There is no room for it.
    #[error("the disk has no room for it: {free} bytes are free, and {kept} of them are kept for the log")]
    Full { free: u64, kept: u64 },
    /// It is larger than files may be.
    #[error("a file has at most {max} bytes")]
    TooLarge { max: u64 },
    /// The member is stopping.
    #[error("the member is stopping")]
    Stopping,
    /// The system said no.
    #[error("cannot {action} {}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// The folder. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Blobs(Arc<Folder>);

#[derive(Debug)]
struct Folder {
    path: PathBuf,
    /// Numbers what is being written.
    unfinished: AtomicU64,
}

impl Blobs {
    /// Open the folder, made if it is not there, and remove what was never finished.
    pub(crate) fn open(path: PathBuf) -> Result<Blobs, BlobError> {
        fs::create_dir_all(&path).map_err(|error| fail("create", &path, error))?;
        if let Some(parent) = path.parent() {
            sync_folder(parent)?;
        }
        for entry in fs::read_dir(&path).map_err(|error| fail("list", &path, error))? {
            let entry = entry.map_err(|error| fail("list", &path, error))?;
            if entry.file_name().to_string_lossy().ends_with(UNFINISHED) {
                fs::remove_file(entry.path()).map_err(|error| fail("remove", &entry.path(), error))?;
            }
        }
        Ok(Blobs(Arc::new(Folder { path, unfinished: AtomicU64::default() })))
    }

    /// Begin to write a file that will have `size` bytes, if that is known.
    pub(crate) fn begin(&self, size: Option<u64>) -> Result<Incoming, BlobError> {
        Incoming::begin(self.clone(), size)
    }

    /// Open a file.
    pub(crate) fn get(&self, digest: &Digest) -> Result<Blob, BlobError> {
        Blob::open(self.path_of(digest), digest)
    }

    /// Whether there is a file of this name, whole or not.
    pub(crate) fn has(&self, digest: &Digest) -> bool {
        self.path_of(digest).is_file()
    }

    /// When somebody was last told that this file is kept.
    pub(crate) fn promised_at(&self, digest: &Digest) -> Option<SystemTime> {
        fs::metadata(self.path_of(digest)).and_then(|data| data.modified()).ok()
    }

    /// Remove a file, and what there may be of its damaged copies.
    pub(crate) fn remove(&self, digest: &Digest) -> Result<(), BlobError> {
        remove_if_there(&self.path_of(digest))?;
        self.remove_damaged(digest)
    }

    /// A file is not what it was: it has its name no longer.
    pub(crate) fn set_aside(&self, digest: &Digest) -> Result<(), BlobError> {
        let path = self.path_of(digest);
        match fs::rename(&path, with_suffix(&path, DAMAGED)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(fail("set aside", &path, error)),
            _ => Ok(()),
        }
    }

    /// There is a good copy again.
    pub(crate) fn remove_damaged(&self, digest: &Digest) -> Result<(), BlobError> {
        remove_if_there(&with_suffix(&self.path_of(digest), DAMAGED))
    }

    /// The files whose digests begin with `first`, and whether each is one that was set aside.
    pub(crate) fn list(&self, first: u8) -> Result<Vec<(Digest, bool)>, BlobError> {
        let folder = self.0.path.join(format!("{first:02x}"));
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(fail("list", &folder, error)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let name = entry.map_err(|error| fail("list", &folder, error))?.file_name();
            let Some(name) = name.to_str() else { continue };
            let (name, damaged) = match name.strip_suffix(DAMAGED) {
                Some(name) => (name, true),
                None => (name, false),
            };
            found.extend(from_hex(name).map(|digest| (digest, damaged)));
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Bytes that are free for files, and bytes that are kept for the log.
    pub(crate) fn free(&self) -> Result<(u64, u64), BlobError> {
        let volume = rustix::fs::statvfs(&self.0.path);
        let volume = volume.map_err(|error| fail("look at", &self.0.path, error.into()))?;
        let kept = (volume.f_blocks * volume.f_frsize / SPACE_KEPT_PART).min(SPACE_KEPT_MAX);
        Ok((volume.f_bavail * volume.f_frsize, kept))
    }

    /// Whether there is room for so many bytes more.
    pub(super) fn check_room(&self, bytes: u64) -> Result<(), BlobError> {
        let (free, kept) = self.free()?;
        if free < kept.saturating_add(bytes) { Err(BlobError::Full { free, kept }) } else { Ok(()) }
    }

    /// Where the files are.
    pub(super) fn folder(&self) -> &Path {
        &self.0.path
    }

    fn path_of(&self, digest: &Digest) -> PathBuf {
        let name = to_hex(digest);
        self.0.path.join(&name[..2]).join(name)
    }

    fn unfinished(&self) -> PathBuf {
        let number = self.0.unfinished.fetch_add(1, Relaxed);
        self.0.path.join(format!("{number}{UNFINISHED}"))
    }
}

/// A digest as people and paths have it.
pub(crate) fn to_hex(digest: &Digest) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(64);
    for byte in digest {
        write!(text, "{byte:02x}").expect("a string takes everything");
    }
    text
}

/// The reverse of [`to_hex`]; capital letters are taken too.
pub(crate) fn from_hex(text: &str) -> Option<Digest> {
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut digest = [0; 32];
    for (place, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * place..2 * place + 2], 16).ok()?;
    }
    Some(digest)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

fn remove_if_there(path: &Path) -> Result<(), BlobError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(fail("remove", path, error)),
        _ => Ok(()),
    }
}

fn sync_folder(path: &Path) -> Result<(), BlobError> {
    let synced = File::open(path).and_then(|folder| folder.sync_all());
    synced.map_err(|error| fail("flush", path, error))
}

fn fail(action: &'static str, path: &Path, source: io::Error) -> BlobError {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            BlobError::Full { free: 0, kept: 0 }
        }
        _ => BlobError::Io { action, path: path.to_owned(), source },
    }
}

#[cfg(test)]
mod tests;
