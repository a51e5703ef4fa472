//! A file that is kept: [`Blob`].
//!
//! What it refuses to do: give a byte that it has not checked.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::BytesMut;
use holdfast_wire::files::{Digest, Piece};
use sha2::{Digest as _, Sha256};

use super::{BLOCK_BYTES, BlobError, END_BYTES, MAGIC, fail};
use crate::files::buffers::Buffers;

/// A file that is open for reading.
#[derive(Debug)]
pub(crate) struct Blob {
    path: PathBuf,
    file: File,
    digest: Digest,
    size: u64,
}

impl Blob {
    pub(super) fn open(path: PathBuf, digest: &Digest) -> Result<Blob, BlobError> {
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(BlobError::Missing),
            Err(error) => return Err(fail("open", &path, error)),
        };
        let length = file.metadata().map_err(|error| fail("look at", &path, error))?.len();
        let size = size_of(&file, &path, length, digest)?;
        Ok(Blob { path, file, digest: *digest, size })
    }

    /// How long it is.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The bytes from `at` on to the end of their block, but not beyond `to`, which is larger than `at`; checked.
    pub(crate) fn read(&self, at: u64, to: u64, buffers: &mut Buffers) -> Result<Piece, BlobError> {
        let block = at / BLOCK_BYTES as u64;
        let mut bytes = buffers.take();
        let sum = self.block(block, &mut bytes)?;
        let first = block * BLOCK_BYTES as u64;
        let end = (to.min(self.size) - first).min(bytes.len() as u64) as usize;
        let wanted = (at - first) as usize..end;
        let whole = wanted == (0..bytes.len());
        let bytes = bytes.freeze().slice(wanted);
        Ok(if whole { Piece::with_sum(bytes, sum) } else { Piece::new(bytes) })
    }

    /// Read all of it; whether it is what it was.
    pub(crate) fn verify(&self) -> Result<(), BlobError> {
        let (mut hash, mut bytes) = (Sha256::new(), BytesMut::new());
        for block in 0..self.size.div_ceil(BLOCK_BYTES as u64) {
            self.block(block, &mut bytes)?;
            hash.update(&bytes);
        }
        if hash.finalize()[..] == self.digest {
            return Ok(());
        }
        Err(damaged(&self.path, "its SHA-256 is another"))
    }

    /// Read a block; its checksum, which is right.
    fn block(&self, block: u64, bytes: &mut BytesMut) -> Result<u32, BlobError> {
        let first = block * BLOCK_BYTES as u64;
        let length = (self.size.saturating_sub(first)).min(BLOCK_BYTES as u64) as usize;
        bytes.resize(length, 0);
        self.read_at(bytes, first)?;
        let mut sum = [0; 4];
        self.read_at(&mut sum, self.size + 4 * block)?;
        let sum = u32::from_le_bytes(sum);
        if crc32c::crc32c(bytes) != sum {
            return Err(damaged(&self.path, &format!("the block at byte {first} has another checksum")));
        }
        Ok(sum)
    }

    fn read_at(&self, bytes: &mut [u8], at: u64) -> Result<(), BlobError> {
        read_at(&self.file, &self.path, bytes, at)
    }
}

/// Read, or say that it is damaged: a disk that cannot read a sector is one way of it.
fn read_at(file: &File, path: &Path, bytes: &mut [u8], at: u64) -> Result<(), BlobError> {
    let read = file.read_exact_at(bytes, at);
    read.map_err(|error| damaged(path, &format!("it cannot be read at byte {at}: {error}")))
}

/// The size that a file's end says, if the end is right and the file is as long as that.
fn size_of(file: &File, path: &Path, length: u64, digest: &Digest) -> Result<u64, BlobError> {
    let mut end = [0; END_BYTES as usize];
    let Some(at) = length.checked_sub(END_BYTES) else { return Err(damaged(path, "it is too short")) };
    read_at(file, path, &mut end, at)?;
    let (end, sum) = end.split_at(END_BYTES as usize - 4);
    let size = u64::from_le_bytes(end[8..16].try_into().expect("eight bytes"));
    let sums = size.div_ceil(BLOCK_BYTES as u64).saturating_mul(4);
    let whole = end[..8] == MAGIC
        && end[16..] == digest[..]
        && crc32c::crc32c(end).to_le_bytes() == sum
        && size.saturating_add(sums) == at;
    if whole { Ok(size) } else { Err(damaged(path, "its end is not that of this file")) }
}

fn damaged(path: &Path, what: &str) -> BlobError {
    BlobError::Damaged { path: path.to_owned(), what: what.to_owned() }
}
