//! A file that is being written: [`Incoming`].
//!
//! What it refuses to do: have a name before it is whole and durable, and leave anything behind if it never is.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::time::SystemTime;

use holdfast_wire::files::{Digest, Piece};
use sha2::{Digest as _, Sha256};

use super::flushing::{FLUSH_BYTES, Flushing};
use super::{BLOCK_BYTES, BlobError, Blobs, MAGIC, fail, sync_folder, to_hex};
use crate::files::limits::FILE_BYTES_MAX;

/// A file that is being written. Dropped before [`Incoming::keep`], it leaves nothing behind.
#[derive(Debug)]
pub(crate) struct Incoming {
    blobs: Blobs,
    path: PathBuf,
    file: File,
    hash: Sha256,
    /// The checksums of whole blocks.
    sums: Vec<u8>,
    /// The checksum of the block that is not whole.
    sum: u32,
    size: u64,
    flushing: Flushing,
}

/// A file that is complete, but has no name yet.
#[derive(Debug)]
pub(crate) struct Complete {
    incoming: Incoming,
    digest: Digest,
}

impl Incoming {
    pub(super) fn begin(blobs: Blobs, size: Option<u64>) -> Result<Incoming, BlobError> {
        if size.is_some_and(|size| size > FILE_BYTES_MAX) {
            return Err(BlobError::TooLarge { max: FILE_BYTES_MAX });
        }
        blobs.check_room(size.unwrap_or(FLUSH_BYTES))?;
        let path = blobs.unfinished();
        let file = OpenOptions::new().write(true).create_new(true).open(&path);
        let file = file.map_err(|error| fail("create", &path, error))?;
        let (hash, flushing) = (Sha256::new(), Flushing::default());
        Ok(Incoming { blobs, path, file, hash, sums: Vec::new(), sum: 0, size: 0, flushing })
    }

    /// Write the next bytes.
    pub(crate) fn write(&mut self, piece: &Piece) -> Result<(), BlobError> {
        let bytes = piece.bytes();
        if self.size + bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(BlobError::TooLarge { max: FILE_BYTES_MAX });
        }
        self.file.write_all(bytes).map_err(|error| fail("write", &self.path, error))?;
        self.hash.update(bytes);
        let begins_a_block = self.size.is_multiple_of(BLOCK_BYTES as u64);
        if begins_a_block && bytes.len() == BLOCK_BYTES {
            self.sums.extend_from_slice(&piece.sum().to_le_bytes());
            self.size += bytes.len() as u64;
        } else {
            self.add_to_sums(bytes);
        }
        let flushed = self.flushing.wrote(&self.file, bytes.len());
        if flushed.map_err(|error| fail("flush", &self.path, error))? {
            // Whether there is room for as many more.
            self.blobs.check_room(FLUSH_BYTES)?;
        }
        Ok(())
    }

    fn add_to_sums(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let filled = (self.size % BLOCK_BYTES as u64) as usize;
            let (now, later) = rest.split_at(rest.len().min(BLOCK_BYTES - filled));
            self.sum = crc32c::crc32c_append(self.sum, now);
            self.size += now.len() as u64;
            if filled + now.len() == BLOCK_BYTES {
                self.sums.extend_from_slice(&std::mem::take(&mut self.sum).to_le_bytes());
            }
            rest = later;
        }
    }

    /// Nothing follows.
    pub(crate) fn complete(mut self) -> Complete {
        let digest = std::mem::take(&mut self.hash).finalize().into();
        Complete { incoming: self, digest }
    }
}

impl Complete {
    /// What it is.
    pub(crate) fn digest(&self) -> Digest {
        self.digest
    }

    /// How long it is.
    pub(crate) fn size(&self) -> u64 {
        self.incoming.size
    }

    /// Make it durable and give it its name, if it is `expected`.
    pub(crate) fn keep(self, expected: &Digest, size: u64) -> Result<(), BlobError> {
        if self.digest != *expected || self.incoming.size != size {
            let (found, named) = (to_hex(&self.digest), to_hex(expected));
            return Err(BlobError::Mismatch(format!(
                "{} bytes with SHA-256 {found}, not {size} with {named}",
                self.incoming.size
            )));
        }
        self.keep_as_it_is()
    }

    /// Make it durable and give it its name.
    pub(crate) fn keep_as_it_is(mut self) -> Result<(), BlobError> {
        let target = self.incoming.blobs.path_of(&self.digest);
        if self.is_there_already() {
            // Whoever wonders whether it may be removed sees that it was promised again.
            let file = OpenOptions::new().write(true).open(&target);
            let touched = file.and_then(|file| file.set_modified(SystemTime::now()));
            if touched.is_ok() {
                return Ok(()); // dropping removes what came
            }
        }
        let end = self.end();
        let Incoming { blobs, path, file, flushing, .. } = &mut self.incoming;
        file.write_all(&end).map_err(|error| fail("write", path, error))?;
        flushing.end().map_err(|error| fail("flush", path, error))?;
        file.sync_all().map_err(|error| fail("flush", path, error))?;
        let folder = target.parent().expect("a file is in a folder");
        if !folder.is_dir() {
            fs::create_dir_all(folder).map_err(|error| fail("create", folder, error))?;
            sync_folder(&blobs.0.path)?;
        }
        fs::rename(&*path, &target).map_err(|error| fail("rename", path, error))?;
        sync_folder(folder)?;
        blobs.remove_damaged(&self.digest)
    }

    /// Whether the same bytes are kept already. They are read again: what is damaged must not take the place of what came.
    fn is_there_already(&self) -> bool {
        self.incoming.blobs.get(&self.digest).is_ok_and(|blob| blob.verify().is_ok())
    }

    /// What is behind the bytes.
    fn end(&mut self) -> Vec<u8> {
        let Incoming { sums, sum, size, .. } = &mut self.incoming;
        let mut end = std::mem::take(sums);
        if !size.is_multiple_of(BLOCK_BYTES as u64) {
            end.extend_from_slice(&sum.to_le_bytes());
        }
        let from = end.len();
        end.extend_from_slice(&MAGIC);
        end.extend_from_slice(&size.to_le_bytes());
        end.extend_from_slice(&self.digest);
        let sum = crc32c::crc32c(&end[from..]);
        end.extend_from_slice(&sum.to_le_bytes());
        end
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // It has another name if it was kept.
        let _ = fs::remove_file(&self.path);
    }
}
