//! Checkpoint files: which there are, how one is laid out, and which are removed.
//!
//! A file is a header, then chunks, then an end:
//!
//! ```text
//! header   a block: who wrote it, for which store, and what it covers
//! chunk    length u32 | checksum u32 | that many bytes, which may be compressed
//! end      0 u32      | checksum u32 | chunks u64 | bytes of them u64
//! ```
//!
//! Checksums are CRC-32C, seeded with the header's bytes and the chunk's number, so that no chunk passes for another
//! one or for one of another file. A file has its name only when it is whole and durable.
//!
//! What it refuses to do: know what the chunks mean, or remove the newest checkpoint.

mod compression;
mod outside;
mod reader;
mod taker;
mod writer;

use std::fs;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use holdfast_engine::{Checkpoint, Formation, Index, Position, Term};
use serde::{Deserialize, Serialize};

pub use self::compression::Compression;
pub use self::outside::{Newest, Outside};
pub use self::reader::CheckpointReader;
pub(crate) use self::taker::Nobody;
pub use self::taker::Taker;
pub use self::writer::CheckpointWriter;
use crate::CheckpointError;
use crate::block::{BlockError, Kind};
use crate::files::FileError;
use crate::folder::Folder;
use crate::identity::Stamp;

/// Most bytes of one chunk. A chunk is held in memory whole, on both sides of a transfer; the longest value with its
/// key and session fits several times.
pub const CHECKPOINT_CHUNK_BYTES_MAX: usize = 4 * 1024 * 1024;

const KIND: Kind = Kind { magic: *b"HOLDFchk", version: 1 };

/// A file whose chunks may be compressed: what only knows the first version must not call them damaged.
const KIND_COMPRESSED: Kind = Kind { version: 2, ..KIND };

/// How names of checkpoints end.
const EXTENSION: &str = "checkpoint";

/// Length and checksum of a chunk.
const CHUNK_HEADER_BYTES: usize = 8;

/// The whole end, with its length of 0.
const END_BYTES: usize = 24;

/// A member's checkpoints. Cheap to clone; the folder stays locked as long as one lives.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    folder: Arc<Folder>,
}

/// One finished checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointFile {
    /// The last entry that it covers.
    pub position: Position,
    /// The file's length.
    pub bytes: u64,
    /// When it was finished, by the file system's clock, if that has one.
    pub modified: Option<SystemTime>,
}

/// The first block of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Header {
    stamp: Stamp,
    /// How the store began: with it the file is enough to start from.
    formation: Option<Formation>,
    checkpoint: Checkpoint,
}

impl Checkpoints {
    pub(crate) fn new(folder: Arc<Folder>) -> Checkpoints {
        Checkpoints { folder }
    }

    /// Begin to write the checkpoint of a state, one's own or a fetched one.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Io`].
    pub fn create(&self, checkpoint: Checkpoint) -> Result<CheckpointWriter, CheckpointError> {
        self.create_with(checkpoint, Compression::None)
    }

    /// The same, with chunks that are compressed.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Io`].
    pub fn create_with(
        &self,
        checkpoint: Checkpoint,
        compression: Compression,
    ) -> Result<CheckpointWriter, CheckpointError> {
        CheckpointWriter::create(Arc::clone(&self.folder), checkpoint, compression)
    }

    /// Open the checkpoint at exactly this position. It can be read to its end even if it is removed meanwhile.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::NotFound`], or why it cannot be read.
    pub fn open(&self, position: Position) -> Result<CheckpointReader, CheckpointError> {
        CheckpointReader::open(&self.folder.files, &path(&self.folder, position), position)
    }

    /// Read the checkpoint at exactly this position from the disk, all of it, whatever the kernel holds of it.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::NotFound`], or what is wrong with it.
    pub fn verify(&self, position: Position) -> Result<(), CheckpointError> {
        let mut reader = self.open(position)?;
        reader.give_up_pages();
        reader.check()
    }

    /// All finished checkpoints, newest first. Their content is not looked at.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Io`].
    pub fn list(&self) -> Result<Vec<CheckpointFile>, CheckpointError> {
        let mut files = Vec::new();
        for (path, position) in paths(&self.folder)? {
            match fs::metadata(&path) {
                Ok(found) => files.push(CheckpointFile {
                    position,
                    bytes: found.len(),
                    modified: found.modified().ok(),
                }),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(FileError::new("read", &path, error).into()),
            }
        }
        Ok(files)
    }

    /// Remove all but the newest `keep`, oldest first. Returns how many were removed.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Io`]; some may be removed then.
    pub fn retain(&self, keep: NonZeroUsize) -> Result<usize, CheckpointError> {
        let found = paths(&self.folder)?;
        let old = found.get(keep.get()..).unwrap_or_default();
        for (path, _) in old.iter().rev() {
            self.folder.files.remove(path)?;
        }
        if !old.is_empty() {
            self.folder.files.sync_folder(&self.folder.checkpoints())?;
        }
        Ok(old.len())
    }
}

fn path(folder: &Folder, position: Position) -> PathBuf {
    folder.checkpoints().join(name(position))
}

/// The name of the file that covers everything up to `position`.
fn name(position: Position) -> String {
    format!("{:020}-{}.{EXTENSION}", position.index.0, position.term)
}

/// The checkpoints and the positions that their names say, newest first. Files with other names are left alone.
pub(crate) fn paths(folder: &Folder) -> Result<Vec<(PathBuf, Position)>, FileError> {
    Ok(newest_first(folder.list(&folder.checkpoints(), EXTENSION)?))
}

fn newest_first(paths: Vec<PathBuf>) -> Vec<(PathBuf, Position)> {
    let mut found: Vec<_> =
        paths.into_iter().filter_map(|path| parse(&path).map(|position| (path, position))).collect();
    found.sort_by_key(|(_, position)| std::cmp::Reverse((position.index, position.term)));
    found
}

fn parse(path: &Path) -> Option<Position> {
    let (index, term) = path.file_stem()?.to_str()?.split_once('-')?;
    Some(Position::new(Term(term.parse().ok()?), Index(index.parse().ok()?)))
}

/// The seed of all checksums of one file.
fn seed(header: &[u8]) -> u32 {
    crc32c::crc32c(header)
}

/// The checksum of the chunk with this number, from 0; the end counts as one more chunk.
fn checksum(seed: u32, number: u64, length: u32, bytes: &[u8]) -> u32 {
    let place = crc32c::crc32c_append(seed, &number.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c_append(place, &length.to_le_bytes()), bytes)
}

fn block_error(error: BlockError, path: &Path) -> CheckpointError {
    let path = path.to_owned();
    match error {
        BlockError::Damaged(what) => CheckpointError::Damaged { path, offset: 0, what },
        BlockError::Version { found, known } => CheckpointError::Version { path, found, known },
    }
}

#[cfg(test)]
mod tests {
    use holdfast_engine::{Incarnation, Ordinal};
    use tempfile::TempDir;

    use super::*;
    use crate::{Damage, LogPolicy, Options, Owner, open_with};

    fn checkpoint(index: u64) -> Checkpoint {
        Checkpoint { position: Position::new(Term(3), Index(index)), membership: Default::default() }
    }

    fn checkpoints() -> (TempDir, Checkpoints) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let owner = Owner { store: "default/words".to_owned(), ordinal: Ordinal(0) };
        let opened = open_with(folder.path(), owner, LogPolicy::None, Incarnation(1), Options::default());
        (folder, opened.expect("a new folder").disk.checkpoints())
    }

    fn written(checkpoints: &Checkpoints, index: u64, chunks: &[&[u8]]) -> PathBuf {
        written_with(checkpoints, index, chunks, Compression::None)
    }

    fn written_with(
        checkpoints: &Checkpoints,
        index: u64,
        chunks: &[&[u8]],
        compression: Compression,
    ) -> PathBuf {
        let mut writer = checkpoints.create_with(checkpoint(index), compression).expect("created");
        for chunk in chunks {
            writer.chunk(chunk).expect("written");
        }
        assert_eq!(writer.chunks(), chunks.len() as u64);
        assert_eq!(writer.bytes(), chunks.concat().len() as u64);
        writer.finish().expect("finished");
        path(&checkpoints.folder, checkpoint(index).position)
    }

    fn read(checkpoints: &Checkpoints, index: u64) -> Result<Vec<Vec<u8>>, CheckpointError> {
        let reader = checkpoints.open(checkpoint(index).position)?;
        reader.map(|chunk| chunk.map(|chunk| chunk.to_vec())).collect()
    }

    #[test]
    fn chunks_read_back_as_they_were_written_and_can_be_read_again() {
        let (_folder, checkpoints) = checkpoints();
        for chunks in [vec![], vec![&b"one"[..]], vec![&b"one"[..], &[0; 100_000], b"\0"]] {
            written(&checkpoints, 7, &chunks);
            assert_eq!(read(&checkpoints, 7).expect("whole"), chunks);
            let mut reader = checkpoints.open(checkpoint(7).position).expect("there");
            assert_eq!(reader.checkpoint(), checkpoint(7));
            for _ in 0..2 {
                assert_eq!(reader.by_ref().map(|chunk| chunk.expect("whole")).collect::<Vec<_>>(), chunks);
                assert!(reader.next().is_none());
                reader.rewind();
            }
        }
    }

    #[test]
    fn compressed_chunks_read_back_as_they_were_and_take_less_room() {
        let (_folder, checkpoints) = checkpoints();
        let chunks = [&b"one"[..], &b"some value ".repeat(10_000), &[7; CHECKPOINT_CHUNK_BYTES_MAX]];
        let path = written_with(&checkpoints, 7, &chunks, Compression::Lz4);
        assert_eq!(read(&checkpoints, 7).expect("whole"), chunks);
        assert!(fs::metadata(path).expect("written").len() < 50_000);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        for compression in [Compression::None, Compression::Lz4] {
            damage_is_found(compression);
        }
    }

    fn damage_is_found(compression: Compression) {
        let (_folder, checkpoints) = checkpoints();
        let chunks = [&b"one"[..], &b"the second ".repeat(20), b"three"];
        let path = written_with(&checkpoints, 7, &chunks, compression);
        let whole = fs::read(&path).expect("written");
        let damaged = |bytes: &[u8], what: &str| {
            fs::write(&path, bytes).expect("writable");
            let read = read(&checkpoints, 7);
            assert!(matches!(read, Err(CheckpointError::Damaged { .. })), "{what}: {read:?}");
        };
        checkpoints.verify(checkpoint(7).position).expect("whole");
        let mut bytes = whole.clone();
        bytes[whole.len() / 2] ^= 1;
        fs::write(&path, &bytes).expect("writable");
        let verified = checkpoints.verify(checkpoint(7).position);
        assert!(matches!(verified, Err(CheckpointError::Damaged { .. })), "{verified:?}");
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            damaged(&bytes, &format!("bit {bit}"));
        }
        for length in 0..whole.len() {
            damaged(&whole[..length], &format!("cut to {length}"));
        }
        damaged(&[&whole[..], b"\0"].concat(), "longer");
    }

    #[test]
    fn exchanged_chunks_and_files_are_found() {
        let (_folder, checkpoints) = checkpoints();
        let first = written(&checkpoints, 7, &[b"aaa", b"bbb"]);
        let second = written(&checkpoints, 8, &[b"aaa", b"bbb"]);
        let whole = fs::read(&first).expect("written");
        let header = whole.len() - END_BYTES - 2 * (CHUNK_HEADER_BYTES + 3);
        let (one, two) = whole[header..whole.len() - END_BYTES].split_at(CHUNK_HEADER_BYTES + 3);
        let exchanged = [&whole[..header], two, one, &whole[whole.len() - END_BYTES..]].concat();
        fs::write(&first, exchanged).expect("writable");
        assert!(matches!(
            read(&checkpoints, 7),
            Err(CheckpointError::Damaged { what: Damage::Checksum, .. })
        ));
        fs::write(&second, whole).expect("writable");
        assert!(matches!(read(&checkpoints, 8), Err(CheckpointError::Damaged { what: Damage::Name, .. })));
    }

    #[test]
    fn what_is_not_finished_leaves_nothing() {
        let (folder, checkpoints) = checkpoints();
        let mut writer = checkpoints.create(checkpoint(7)).expect("created");
        writer.chunk(b"one").expect("written");
        assert!(matches!(checkpoints.open(checkpoint(7).position), Err(CheckpointError::NotFound { .. })));
        drop(writer);
        let left = fs::read_dir(folder.path().join("checkpoints")).expect("there").count();
        assert_eq!(left, 0);
    }

    #[test]
    fn chunks_outside_their_bounds_are_refused() {
        let (_folder, checkpoints) = checkpoints();
        let mut writer = checkpoints.create(checkpoint(7)).expect("created");
        for bytes in [0, CHECKPOINT_CHUNK_BYTES_MAX + 1] {
            let refused = writer.chunk(&vec![1; bytes]);
            assert!(
                matches!(refused, Err(CheckpointError::Chunk { bytes: found }) if found == bytes),
                "{refused:?}"
            );
        }
        writer.chunk(&vec![1; CHECKPOINT_CHUNK_BYTES_MAX]).expect("the longest chunk");
    }

    #[test]
    fn the_newest_are_retained() {
        let (_folder, checkpoints) = checkpoints();
        for index in [5, 30, 7, 100] {
            written(&checkpoints, index, &[b"state"]);
        }
        let listed = |checkpoints: &Checkpoints| {
            let files = checkpoints.list().expect("listed").into_iter();
            files.map(|file| file.position.index.0).collect::<Vec<_>>()
        };
        assert_eq!(listed(&checkpoints), [100, 30, 7, 5]);
        let retain = |keep| checkpoints.retain(NonZeroUsize::new(keep).expect("not zero")).expect("removed");
        assert_eq!((retain(9), retain(2)), (0, 2));
        assert_eq!(listed(&checkpoints), [100, 30]);
        assert_eq!(retain(1), 1);
        assert_eq!(read(&checkpoints, 100).expect("whole"), [b"state"]);
    }
}
