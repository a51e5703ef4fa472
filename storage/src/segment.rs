//! One file of the log: a header of one page, then records and marks up to the end, then zeros.
//!
//! A segment gets its full length, filled with zeros and flushed, before it gets its name, so that appending to it
//! changes no metadata and one fdatasync is one write of data. It is only ever appended to: what was flushed is never
//! changed, not even to cut it. Each header carries the digest of the segment before it, so that the log is one
//! chain; and as a segment is created only when the one before it is flushed, its being there is that one's seal.
//!
//! What it refuses to do: be written after an error.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use holdfast_engine::{Position, StoreId};
use serde::{Deserialize, Serialize};

use crate::block::{self, Kind};
use crate::files::{FileError, OpenFile};
use crate::folder::Folder;
use crate::identity::Stamp;
use crate::mark::{MARK_BYTES, Mark, Place};
use crate::{Damage, OpenError};

/// Bytes before the first record: a page, so that no write of records touches the header's sectors.
pub(crate) const HEADER_BYTES: u64 = 4096;

/// What the kernel writes at once.
const PAGE_BYTES: u64 = 4096;

/// How names of segments end.
pub(crate) const EXTENSION: &str = "segment";

const KIND: Kind = Kind { magic: *b"HOLDFlog", version: 1 };

/// What a segment says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    pub(crate) stamp: Stamp,
    /// The store, unless it was not formed yet.
    pub(crate) formed: Option<StoreId>,
    /// Counts the segments of this life of the member from 1, without gaps.
    pub(crate) number: u64,
    /// The file's length.
    pub(crate) bytes: u64,
    /// The log's end when the segment was made.
    pub(crate) previous: Position,
    /// The digest of the segment before it; 0 if it begins the log anew.
    pub(crate) chain: u32,
    /// It begins the log anew: everything in earlier segments is void.
    pub(crate) restart: bool,
}

/// A segment that is appended to.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) file: OpenFile,
    pub(crate) header: Header,
    /// Where the next byte goes, behind what is pending.
    end: u64,
    /// CRC-32C of everything before `end`.
    digest: u32,
    /// What was flushed last has no seal yet.
    unsealed: bool,
    /// Not written yet.
    pending: Vec<u8>,
}

impl Header {
    /// Number first, so that names sort; the first index for people who look.
    pub(crate) fn path(&self, folder: &Folder) -> PathBuf {
        folder.log().join(format!("{:010}-{:020}.{EXTENSION}", self.number, self.previous.index.next()))
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut page = block::encode(KIND, self);
        page.resize(HEADER_BYTES as usize, 0);
        page
    }

    /// The number in a segment's name.
    pub(crate) fn number_of(path: &Path) -> Option<u64> {
        path.file_stem()?.to_str()?.split_once('-')?.0.parse().ok()
    }

    /// Decode a file's first page and hold it against the file's name and length. Also returns its digest.
    pub(crate) fn read(folder: &Folder, file: &OpenFile) -> Result<(Header, u32), OpenError> {
        let path = file.path();
        let damaged = |what| OpenError::Damaged { path: path.to_owned(), offset: 0, what };
        let bytes = file.bytes()?;
        if bytes < HEADER_BYTES {
            return Err(damaged(Damage::Length { found: bytes, expected: HEADER_BYTES }));
        }
        let page = file.read(HEADER_BYTES)?;
        let header = Header::decode(folder, path, &page)?;
        if page != header.encode() {
            return Err(damaged(Damage::Content));
        }
        if header.bytes != bytes {
            return Err(damaged(Damage::Length { found: bytes, expected: header.bytes }));
        }
        Ok((header, crc32c::crc32c(&page)))
    }

    /// Decode the header in a first page and hold it against the file's name. What is behind it is not looked at.
    pub(crate) fn decode(folder: &Folder, path: &Path, page: &[u8]) -> Result<Header, OpenError> {
        let damaged = |what| OpenError::Damaged { path: path.to_owned(), offset: 0, what };
        let (header, _) = block::decode::<Header>(KIND, page).map_err(|error| error.at(path, 0))?;
        if header.path(folder) != path {
            return Err(damaged(Damage::Name));
        }
        Ok(header)
    }

    /// The place of a mark at `offset`.
    pub(crate) fn place(&self, offset: u64) -> Place {
        Place { incarnation: self.stamp.member.incarnation, segment: self.number, offset }
    }
}

impl Segment {
    /// Give a flushed file of zeros its header and then its name.
    pub(crate) fn create(folder: &Folder, file: OpenFile, header: Header) -> Result<Segment, FileError> {
        let mut segment = Segment::unnamed(folder, file, header)?;
        segment.name(folder)?;
        Ok(segment)
    }

    /// Give a flushed file of zeros its header. It counts when it has its name.
    pub(crate) fn unnamed(folder: &Folder, file: OpenFile, header: Header) -> Result<Segment, FileError> {
        let page = header.encode();
        folder.files.write_at(&file, 0, &page)?;
        let digest = crc32c::crc32c(&page);
        Ok(Segment { file, header, end: HEADER_BYTES, digest, unsealed: false, pending: Vec::new() })
    }

    /// Make it durable as it is, and part of the log.
    pub(crate) fn name(&mut self, folder: &Folder) -> Result<(), FileError> {
        folder.files.sync(&self.file)?;
        folder.files.rename(&mut self.file, self.header.path(folder))?;
        folder.files.sync_folder(&folder.log())
    }

    /// Go on in a segment that was read up to `end`, everything before which is durable.
    pub(crate) fn resume(file: OpenFile, header: Header, end: u64, digest: u32, unsealed: bool) -> Segment {
        Segment { file, header, end, digest, unsealed, pending: Vec::new() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }

    /// Where the next byte goes.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    pub(crate) fn digest(&self) -> u32 {
        self.digest
    }

    /// Bytes that wait for [`Segment::flush`].
    pub(crate) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Whether so many bytes can be added, with the seal that may have to go before them and the one behind them.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        self.end + (bytes + 2 * MARK_BYTES) as u64 <= self.header.bytes
    }

    /// Whether more than half of it is used.
    pub(crate) fn is_half_full(&self) -> bool {
        self.end > self.header.bytes / 2
    }

    /// Add a record. The first addition after a flush also seals what was flushed.
    pub(crate) fn add(&mut self, record: &[u8], log_end: Position) {
        self.add_seal(log_end);
        self.extend(record);
    }

    /// Add a mark, likewise.
    pub(crate) fn add_mark(&mut self, mark: Mark, log_end: Position) {
        self.add_seal(log_end);
        let mark = mark.encode(self.header.place(self.end), self.digest);
        self.extend(&mark);
    }

    fn add_seal(&mut self, log_end: Position) {
        if self.unsealed && self.pending.is_empty() {
            self.unsealed = false;
            let seal = Mark::Seal(log_end).encode(self.header.place(self.end), self.digest);
            self.extend(&seal);
        }
    }

    fn extend(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
        self.end += bytes.len() as u64;
        self.digest = crc32c::crc32c_append(self.digest, bytes);
        assert!(self.end <= self.header.bytes, "room was made before");
    }

    /// Write and flush what is pending: one write, one fdatasync. Says how long each took.
    pub(crate) fn flush(&mut self, folder: &Folder) -> Result<(Duration, Duration), FileError> {
        let started = Instant::now();
        self.write(folder)?;
        let written = Instant::now();
        folder.files.sync(&self.file)?;
        self.unsealed = true;
        Ok((written - started, written.elapsed()))
    }

    /// Write what is pending as a part of its own, which the next part seals. A later flush makes it durable.
    pub(crate) fn write_part(&mut self, folder: &Folder) -> Result<(), FileError> {
        self.write(folder)?;
        self.unsealed = true;
        Ok(())
    }

    fn write(&mut self, folder: &Folder) -> Result<(), FileError> {
        let start = self.end - self.pending.len() as u64;
        folder.files.write_at(&self.file, start, &self.pending)?;
        self.pending.clear();
        Ok(())
    }

    /// Write what stands from `from` on once more, as it can be read.
    pub(crate) fn write_again(&self, folder: &Folder, from: u64) -> Result<(), FileError> {
        // Whole pages, since that is what the kernel writes.
        let from = from / PAGE_BYTES * PAGE_BYTES;
        let mut bytes = vec![0; self.end.saturating_sub(from) as usize];
        self.file.read_at(from, &mut bytes)?;
        folder.files.write_at(&self.file, from, &bytes)
    }

    /// Seal what was flushed, if nothing else is pending that would. The seal is not flushed: it is there to tell
    /// damage from a torn tail after the process ended, and the kernel writes it to the disk in its own time.
    pub(crate) fn seal(&mut self, folder: &Folder, log_end: Position) -> Result<(), FileError> {
        if !self.unsealed || !self.pending.is_empty() {
            return Ok(());
        }
        self.add_seal(log_end);
        self.write(folder)
    }
}
