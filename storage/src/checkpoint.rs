//! Checkpoint files: written beside everything else under a temporary name, renamed when whole and durable.
//!
//! `header block | chunk … | footer`. A chunk is `length u32 | checksum u32 | bytes`, the footer `0 u32 | checksum u32 |
//! chunks u64 | bytes u64`, little-endian. Each checksum is CRC-32C seeded with the checkpoint's position and the chunk's
//! number, so that a chunk of another checkpoint, or of another place, does not pass.
//!
//! What it refuses to do: read a chunk that is not what was written, or take a file without its footer for whole.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use holdfast_engine::{Checkpoint, Index, Position, StoreId, Term};
use serde::{Deserialize, Serialize};

use crate::block::{self, BLOCK_HEADER_BYTES, BlockError, Kind};
use crate::files::OpenFile;
use crate::folder::Folder;
use crate::identity::Stamp;
use crate::{CheckpointError, Damage};

/// Most bytes of one chunk: the state makes them of some hundred KiB, a single value may be larger.
pub const CHECKPOINT_CHUNK_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Bytes before a chunk's own.
const CHUNK_HEADER_BYTES: usize = 8;

/// Bytes of the footer.
const FOOTER_BYTES: usize = CHUNK_HEADER_BYTES + 16;

/// Longest header: a block's own bytes and a stamp.
const HEADER_BYTES_MAX: u64 = 4096;

/// How names of checkpoints end.
pub(crate) const EXTENSION: &str = "checkpoint";

const KIND: Kind = Kind { magic: *b"HOLDFckp", version: 1 };

/// What a checkpoint says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    pub(crate) stamp: Stamp,
    pub(crate) formed: Option<StoreId>,
    pub(crate) position: Position,
}

/// A member's checkpoints. Cheap to clone; the folder stays locked as long as one lives.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    folder: Arc<Folder>,
}

/// One checkpoint on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointFile {
    /// What it covers.
    pub checkpoint: Checkpoint,
    /// The file's length in bytes.
    pub bytes: u64,
    /// When it was finished, by the file system's clock; `None` if that does not say.
    pub modified: Option<SystemTime>,
}

/// Writes one checkpoint. Dropped before [`CheckpointWriter::finish`], it leaves nothing.
#[derive(Debug)]
pub struct CheckpointWriter {
    folder: Arc<Folder>,
    checkpoint: Checkpoint,
    file: Option<OpenFile>,
    /// The file's length.
    end: u64,
    chunks: u64,
    bytes: u64,
}

/// Reads one checkpoint: an iterator of its verified chunks, which ends after an error.
pub struct CheckpointReader {
    file: OpenFile,
    header: Header,
    /// Where the first chunk begins.
    start: u64,
    /// The file's length.
    length: u64,
    at: u64,
    chunks: u64,
    bytes: u64,
    ended: bool,
}

impl Checkpoints {
    pub(crate) fn new(folder: Arc<Folder>) -> Checkpoints {
        Checkpoints { folder }
    }

    /// Begin to write a checkpoint.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Io`]
    pub fn create(&self, checkpoint: Checkpoint) -> Result<CheckpointWriter, CheckpointError> {
        let path = self.path(checkpoint.position);
        let file = self.folder.files.create(&self.folder.unfinished(&path))?;
        let identity = self.folder.identity();
        let header =
            Header { formed: identity.store(), stamp: identity.stamp, position: checkpoint.position };
        let header = block::encode(KIND, &header);
        let mut writer = CheckpointWriter {
            folder: Arc::clone(&self.folder),
            checkpoint,
            file: Some(file),
            end: 0,
            chunks: 0,
            bytes: 0,
        };
        writer.append(&header)?;
        Ok(writer)
    }

    /// Open a checkpoint to read it.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::NotFound`] also if it was removed meanwhile; a reader that is open goes on.
    pub fn open(&self, position: Position) -> Result<CheckpointReader, CheckpointError> {
        let path = self.path(position);
        if !path.exists() {
            return Err(CheckpointError::NotFound { position });
        }
        CheckpointReader::open(self.folder.files.open(&path)?, position)
    }

    /// All checkpoints, newest first. Their content is not looked at.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Io`]
    pub fn list(&self) -> Result<Vec<CheckpointFile>, CheckpointError> {
        let mut files = Vec::new();
        for path in self.folder.list(&self.folder.checkpoints(), EXTENSION)? {
            let Some(position) = position_of(&path) else { continue };
            let metadata = std::fs::metadata(&path).map_err(|source| CheckpointError::Io {
                action: "read",
                path,
                source,
            })?;
            let checkpoint = Checkpoint { position };
            files.push(CheckpointFile {
                checkpoint,
                bytes: metadata.len(),
                modified: metadata.modified().ok(),
            });
        }
        files.sort_by_key(|file| std::cmp::Reverse(file.checkpoint.position.index));
        Ok(files)
    }

    /// Remove all but the newest `keep`; says how many were removed.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Io`]
    pub fn retain(&self, keep: NonZeroUsize) -> Result<usize, CheckpointError> {
        let old: Vec<CheckpointFile> = self.list()?.into_iter().skip(keep.get()).collect();
        for file in &old {
            self.folder.files.remove(&self.path(file.checkpoint.position))?;
        }
        Ok(old.len())
    }

    pub(crate) fn path(&self, position: Position) -> PathBuf {
        self.folder.checkpoints().join(format!("{:020}-{}.{EXTENSION}", position.index, position.term))
    }
}

/// The position that a file's name says.
fn position_of(path: &Path) -> Option<Position> {
    let (index, term) = path.file_stem()?.to_str()?.split_once('-')?;
    Some(Position::new(Term(term.parse().ok()?), Index(index.parse().ok()?)))
}

impl CheckpointWriter {
    /// Add a chunk of `[1, CHECKPOINT_CHUNK_BYTES_MAX]` bytes.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Chunk`] for another length, [`CheckpointError::Io`].
    pub fn chunk(&mut self, bytes: &[u8]) -> Result<(), CheckpointError> {
        if bytes.is_empty() || bytes.len() > CHECKPOINT_CHUNK_BYTES_MAX {
            return Err(CheckpointError::Chunk { bytes: bytes.len() });
        }
        let mut chunk = Vec::with_capacity(CHUNK_HEADER_BYTES + bytes.len());
        chunk.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        chunk.extend_from_slice(&checksum(self.checkpoint.position, self.chunks, bytes).to_le_bytes());
        chunk.extend_from_slice(bytes);
        self.append(&chunk)?;
        self.chunks += 1;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// How many chunks were added.
    pub fn chunks(&self) -> u64 {
        self.chunks
    }

    /// How many bytes they had together.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Make the checkpoint durable under its name, in place of one of the same position.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Io`]; nothing is left then.
    pub fn finish(mut self) -> Result<CheckpointFile, CheckpointError> {
        let mut sums = self.chunks.to_le_bytes().to_vec();
        sums.extend_from_slice(&self.bytes.to_le_bytes());
        let mut footer = vec![0; 4];
        footer.extend_from_slice(&checksum(self.checkpoint.position, self.chunks, &sums).to_le_bytes());
        footer.extend_from_slice(&sums);
        self.append(&footer)?;
        let checkpoints = Checkpoints::new(Arc::clone(&self.folder));
        let file = self.file.as_mut().expect("it is only taken here");
        self.folder.files.sync(file)?;
        self.folder.files.rename(file, checkpoints.path(self.checkpoint.position))?;
        self.file = None;
        self.folder.files.sync_folder(&self.folder.checkpoints())?;
        let modified = std::fs::metadata(checkpoints.path(self.checkpoint.position));
        let modified = modified.ok().and_then(|metadata| metadata.modified().ok());
        Ok(CheckpointFile { checkpoint: self.checkpoint, bytes: self.end, modified })
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), CheckpointError> {
        let file = self.file.as_ref().expect("it is taken when the checkpoint is finished");
        self.folder.files.write_at(file, self.end, bytes)?;
        self.end += bytes.len() as u64;
        Ok(())
    }
}

impl Drop for CheckpointWriter {
    fn drop(&mut self) {
        // What cannot be removed now is removed when the folder is opened next.
        if let Some(file) = self.file.take() {
            let _ = self.folder.files.remove(file.path());
        }
    }
}

impl CheckpointReader {
    pub(crate) fn open(file: OpenFile, position: Position) -> Result<CheckpointReader, CheckpointError> {
        let damaged = |offset, what| CheckpointError::Damaged { path: file.path().to_owned(), offset, what };
        let length = file.bytes()?;
        let mut head = vec![0; length.min(HEADER_BYTES_MAX) as usize];
        file.read_at(0, &mut head)?;
        let (header, start) = match block::decode::<Header>(KIND, &head) {
            Ok(decoded) => decoded,
            Err(BlockError::Damaged(what)) => return Err(damaged(0, what)),
            Err(BlockError::Version { found, known }) => {
                return Err(CheckpointError::Version { path: file.path().to_owned(), found, known });
            }
        };
        if header.position != position {
            return Err(damaged(BLOCK_HEADER_BYTES as u64, Damage::Name));
        }
        let start = start as u64;
        Ok(CheckpointReader { file, header, start, length, at: start, chunks: 0, bytes: 0, ended: false })
    }

    /// What it covers.
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint { position: self.header.position }
    }

    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }

    /// Go back to the first chunk.
    ///
    /// # Errors
    ///
    /// None today; a reader may come to read from something else than a file.
    pub fn rewind(&mut self) -> Result<(), CheckpointError> {
        (self.at, self.chunks, self.bytes, self.ended) = (self.start, 0, 0, false);
        Ok(())
    }

    fn damaged(&self, what: Damage) -> CheckpointError {
        CheckpointError::Damaged { path: self.file.path().to_owned(), offset: self.at, what }
    }

    /// `bytes` at the reader's place, if the file is long enough.
    fn bytes_at(&self, offset: u64, bytes: usize) -> Result<Vec<u8>, CheckpointError> {
        let end = self.at + offset + bytes as u64;
        if end > self.length {
            return Err(self.damaged(Damage::Length { found: self.length, expected: end }));
        }
        let mut taken = vec![0; bytes];
        self.file.read_at(self.at + offset, &mut taken)?;
        Ok(taken)
    }

    fn read(&mut self) -> Result<Option<Bytes>, CheckpointError> {
        let head = self.bytes_at(0, CHUNK_HEADER_BYTES)?;
        let word = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("four bytes"));
        let (length, expected) = (word(0) as usize, word(4));
        if length == 0 {
            return self.read_footer(expected).map(|()| None);
        }
        if length > CHECKPOINT_CHUNK_BYTES_MAX {
            return Err(self.damaged(Damage::Checksum));
        }
        let bytes = self.bytes_at(CHUNK_HEADER_BYTES as u64, length)?;
        if checksum(self.header.position, self.chunks, &bytes) != expected {
            return Err(self.damaged(Damage::Checksum));
        }
        self.at += (CHUNK_HEADER_BYTES + length) as u64;
        self.chunks += 1;
        self.bytes += length as u64;
        Ok(Some(bytes.into()))
    }

    fn read_footer(&mut self, expected: u32) -> Result<(), CheckpointError> {
        let sums = self.bytes_at(CHUNK_HEADER_BYTES as u64, FOOTER_BYTES - CHUNK_HEADER_BYTES)?;
        if checksum(self.header.position, self.chunks, &sums) != expected {
            return Err(self.damaged(Damage::Checksum));
        }
        let long = |at: usize| u64::from_le_bytes(sums[at..at + 8].try_into().expect("eight bytes"));
        if (long(0), long(8)) != (self.chunks, self.bytes) {
            return Err(self.damaged(Damage::Content));
        }
        let end = self.at + FOOTER_BYTES as u64;
        if end != self.length {
            return Err(self.damaged(Damage::Length { found: self.length, expected: end }));
        }
        Ok(())
    }
}

impl Iterator for CheckpointReader {
    type Item = Result<Bytes, CheckpointError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let chunk = self.read().transpose();
        self.ended = !matches!(chunk, Some(Ok(_)));
        chunk
    }
}

impl fmt::Debug for CheckpointReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckpointReader")
            .field("path", &self.file.path())
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

fn checksum(position: Position, number: u64, bytes: &[u8]) -> u32 {
    let mut seed = [0; 24];
    seed[..8].copy_from_slice(&position.index.0.to_le_bytes());
    seed[8..16].copy_from_slice(&position.term.0.to_le_bytes());
    seed[16..].copy_from_slice(&number.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c(&seed), bytes)
}
