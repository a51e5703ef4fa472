//! Reading a damaged log: what of it is what was written, and where there are holes.
//!
//! The log is taken block by block, from one mark to the next. A block is taken only whole: every record in it reads
//! well, and the digest in the mark behind it, or in the header of the next segment, says that the bytes before are
//! those that were written. Else all of the block counts as a hole; the mark behind it says where the log ended there
//! ([`Pieces::anchor`]). A record that reads well behind damage proves nothing without a mark: its bytes may be what
//! a client put into a value. Marks cannot be made by clients.
//!
//! A segment's header that cannot be read is worked out from its name, its length and the log before it, and taken if
//! the digest in the segment's first mark agrees.
//!
//! What it refuses to do: change anything, and guess where a log ended whose end cannot be read.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use holdfast_engine::{Entry, Position};

use crate::files::OpenFile;
use crate::folder::Folder;
use crate::identity::Identity;
use crate::mark::{MARK_BYTES, Mark, Place};
use crate::pieces::Pieces;
use crate::recovery::used;
use crate::segment::{EXTENSION, HEADER_BYTES, Header};
use crate::{Damage, OpenError};

/// Something that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file, or the folder that it is missing from.
    pub path: PathBuf,
    /// Where in the file, in bytes from its start.
    pub offset: u64,
    /// What is wrong there.
    pub what: Damage,
}

/// What was read.
#[derive(Debug)]
pub(crate) struct Salvaged {
    pub(crate) pieces: Pieces,
    /// The end of the newest piece is where the log ended. If not, acknowledged entries may have followed.
    pub(crate) end_known: bool,
    pub(crate) faults: Vec<Fault>,
    /// All files of the log, and a number that is higher than theirs.
    pub(crate) paths: Vec<PathBuf>,
    pub(crate) next_number: u64,
}

/// One file, as far as it can be read.
struct Found {
    path: PathBuf,
    /// By its name.
    number: u64,
    header: Option<Header>,
    bytes: Bytes,
    /// Up to the last byte that is not zero.
    used: usize,
}

impl Found {
    /// Whether there is something of a header, and room behind it, and nothing in that.
    fn is_empty(&self) -> bool {
        let header = 1..=HEADER_BYTES as usize;
        self.bytes.len() > HEADER_BYTES as usize && header.contains(&self.used)
    }

    /// Whether the zeros behind the content are there that show that it ends: a file that was cut short may have had
    /// more.
    fn has_room_behind(&self, header: &Header) -> bool {
        let bytes = self.bytes.len();
        bytes as u64 >= header.bytes || bytes > self.used + MARK_BYTES
    }

    /// Where the segment's first byte is. Its marks tell the incarnation if the header does not.
    fn origin(&self, identity: &Identity) -> Place {
        if let Some(header) = &self.header {
            return header.place(0);
        }
        let incarnations = std::iter::once(&identity.stamp.member.incarnation).chain(&identity.former);
        let place = |incarnation| Place { incarnation, segment: self.number, offset: 0 };
        let content = &self.bytes[HEADER_BYTES as usize..];
        let marked =
            |origin: &Place| Mark::first(content, Place { offset: HEADER_BYTES, ..*origin }).is_some();
        let mut origins = incarnations.map(|&incarnation| place(incarnation));
        origins.find(marked).unwrap_or(place(identity.stamp.member.incarnation))
    }
}

/// Where the walk has come to.
#[derive(Default)]
struct Walk {
    pieces: Pieces,
    /// Records since the last mark.
    block: Vec<Entry>,
    /// Something since the last mark cannot be read.
    damaged: bool,
    /// Digest of the segment so far; nothing while it is not known.
    digest: Option<u32>,
    faults: Vec<Fault>,
}

/// Read what can be read of the log.
///
/// # Errors
///
/// What is not damage: the operating system's errors, other owners and versions.
pub(crate) fn read(folder: &Folder, identity: &Identity) -> Result<Salvaged, OpenError> {
    let paths = folder.list(&folder.log(), EXTENSION)?;
    let mut walk = Walk::default();
    let mut segments = Vec::new();
    let mut next_number = 1;
    for path in paths.iter().rev() {
        let Some(number) = Header::number_of(path) else {
            walk.fault(path, 0, Damage::Name);
            continue;
        };
        next_number = next_number.max(number.saturating_add(1));
        let found = walk.open(folder, identity, path, number)?;
        let restart = found.header.as_ref().is_some_and(|header| header.restart);
        segments.push(found);
        if restart {
            break; // what is before is void
        }
    }
    segments.reverse();
    let mut expected = None;
    let mut end_known = !segments.is_empty();
    let last = segments.len().saturating_sub(1);
    for (at, mut segment) in segments.into_iter().enumerate() {
        if expected.is_some_and(|number| number != segment.number) {
            walk.lose(&segment.path, 0, Damage::Missing);
        }
        expected = Some(segment.number + 1);
        if segment.header.is_none() {
            segment.header = walk.work_out(identity, &segment);
        }
        end_known = walk.segment(identity, &segment, at == last);
    }
    if paths.is_empty() {
        walk.fault(&folder.log(), 0, Damage::Missing);
    }
    walk.faults.sort_by(|one, other| (&one.path, one.offset).cmp(&(&other.path, other.offset)));
    let Walk { pieces, faults, .. } = walk;
    let end_known = end_known && pieces.top().is_some();
    Ok(Salvaged { pieces, end_known, faults, paths, next_number })
}

impl Walk {
    fn fault(&mut self, path: &Path, offset: usize, what: Damage) {
        self.faults.push(Fault { path: path.to_owned(), offset: offset as u64, what });
    }

    /// The block that is being read is lost.
    fn lose(&mut self, path: &Path, offset: usize, what: Damage) {
        self.fault(path, offset, what);
        self.damaged = true;
        self.digest = None;
    }

    fn open(
        &mut self,
        folder: &Folder,
        identity: &Identity,
        path: &Path,
        number: u64,
    ) -> Result<Found, OpenError> {
        let file = folder.files.open(path)?;
        let (bytes, used) = content(&file)?;
        let header = match Header::decode(folder, path, &bytes[..HEADER_BYTES as usize]) {
            Ok(header) => {
                header.stamp.check(path, header.formed, identity)?;
                let (found, expected) = (file.bytes()?, header.bytes);
                if bytes[..HEADER_BYTES as usize] != header.encode() {
                    self.fault(path, 0, Damage::Content);
                }
                if found != expected {
                    self.fault(path, 0, Damage::Length { found, expected });
                }
                Some(header)
            }
            Err(OpenError::Damaged { path, offset, what }) => {
                self.faults.push(Fault { path, offset, what });
                None
            }
            Err(error) => return Err(error),
        };
        Ok(Found { path: path.to_owned(), number, header, bytes, used })
    }

    /// The header that a segment without a readable one must have had: the one with which its first mark agrees.
    fn work_out(&self, identity: &Identity, segment: &Found) -> Option<Header> {
        let first = segment.number == 1;
        let previous = if first {
            Position::ZERO
        } else {
            self.block.last().map(Entry::position).or_else(|| self.pieces.end())?
        };
        let content = &segment.bytes[HEADER_BYTES as usize..];
        let formed = [identity.store(), None];
        formed.into_iter().find_map(|formed| {
            let header = Header {
                stamp: identity.stamp.clone(),
                formed,
                number: segment.number,
                bytes: segment.bytes.len() as u64,
                previous,
                chain: if first { 0 } else { self.digest? },
                restart: first,
            };
            let (at, digest) = Mark::first(content, header.place(HEADER_BYTES))?;
            let page = crc32c::crc32c(&header.encode());
            (crc32c::crc32c_append(page, &content[..at]) == digest).then_some(header)
        })
    }

    /// Read one segment. Whether the log's end is known if this is its last one.
    fn segment(&mut self, identity: &Identity, segment: &Found, last: bool) -> bool {
        let header = segment.header.as_ref();
        match header {
            Some(header) if header.restart => {
                let faults = std::mem::take(&mut self.faults);
                *self = Walk { pieces: Pieces::new(header.previous), faults, ..Walk::default() };
                self.digest = Some(crc32c::crc32c(&header.encode()));
            }
            Some(header) => {
                if !self.damaged && self.block.is_empty() && self.pieces.top().is_none() {
                    // The oldest one; those before it were released.
                    (self.pieces, self.digest) = (Pieces::new(header.previous), Some(header.chain));
                }
                self.close(Some(header.chain), header.previous, &segment.path, 0);
                self.digest = Some(crc32c::crc32c(&header.encode()));
            }
            // Nothing was written behind this header, so that nothing is lost with it.
            None if segment.is_empty() && self.pieces.top().is_some() => return self.end_block(),
            None => (self.damaged, self.digest) = (true, None),
        }
        let known = self.content(segment, segment.origin(identity), last);
        known && (!last || header.is_none_or(|header| segment.has_room_behind(header)))
    }

    /// Read a segment's records and marks; whether the log's end is known then.
    fn content(&mut self, segment: &Found, origin: Place, last: bool) -> bool {
        let mut at = HEADER_BYTES as usize;
        loop {
            let place = Place { offset: at as u64, ..origin };
            let rest = &segment.bytes[at..];
            if let Some((mark, digest)) = Mark::decode(rest, place) {
                let (Mark::Seal(end) | Mark::Cut(end)) = mark;
                self.close_at_mark(digest, mark, end, &segment.path, at);
                self.digest = Some(crc32c::crc32c_append(digest, &rest[..MARK_BYTES]));
                at += MARK_BYTES;
                continue;
            }
            if !self.damaged
                && let Ok(entry) = Entry::decode(&mut segment.bytes.slice(at..))
                && self.follows(&entry)
            {
                let length = entry.record().len();
                self.digest = self.digest.map(|digest| crc32c::crc32c_append(digest, &rest[..length]));
                self.block.push(entry);
                at += length;
                continue;
            }
            if segment.used <= at {
                break; // nothing but zeros
            }
            // A mark may end in zeros, which are not counted as used.
            let tail = &rest[..rest.len().min(segment.used - at + MARK_BYTES)];
            let sealed = !last || Mark::any_seal(tail, place);
            match Mark::first(tail, place).filter(|_| sealed) {
                Some((mark, _)) => {
                    self.lose(&segment.path, at, Damage::Record);
                    at += mark;
                }
                // What was never finished, or what stood behind it would be sealed.
                None if last && !self.damaged => break,
                None => {
                    self.lose(&segment.path, at, Damage::Record);
                    return false;
                }
            }
        }
        if last { self.end_block() } else { true }
    }

    /// Whether an entry can be the next one of the block.
    fn follows(&self, entry: &Entry) -> bool {
        let end = self.block.last().map(Entry::position).or_else(|| self.pieces.end());
        end.is_some_and(|end| entry.index() == end.index.next() && entry.term() >= end.term)
    }

    /// The last block of all has no mark behind it. If nothing in it is damaged, it is what it is.
    fn end_block(&mut self) -> bool {
        let block = std::mem::take(&mut self.block);
        if self.damaged {
            return false;
        }
        block.into_iter().for_each(|entry| self.pieces.push(entry));
        true
    }

    fn close_at_mark(&mut self, digest: u32, mark: Mark, end: Position, path: &Path, at: usize) {
        if let Mark::Cut(keep) = mark {
            // What is cut was in the block or before it; only the digest says whether the block is whole.
            let whole = !self.damaged && self.digest == Some(digest);
            if whole {
                self.end_block();
            } else {
                self.spoil(path, at);
            }
            self.pieces.anchor(keep);
        } else {
            self.close(Some(digest), end, path, at);
        }
    }

    /// The block ends here, where the log ended with `end`.
    fn close(&mut self, digest: Option<u32>, end: Position, path: &Path, at: usize) {
        let reached = self.block.last().map(Entry::position).or_else(|| self.pieces.end());
        if !self.damaged && self.digest == digest && reached == Some(end) {
            self.end_block();
        } else {
            self.spoil(path, at);
        }
        self.pieces.anchor(end);
    }

    /// The block is lost, and begins anew.
    fn spoil(&mut self, path: &Path, at: usize) {
        if !self.damaged {
            self.fault(path, at, Damage::Digest);
        }
        self.block.clear();
        self.damaged = false;
    }
}

/// A file's bytes, at least a header's, and how many there are up to the last one that is not zero.
fn content(file: &OpenFile) -> Result<(Bytes, usize), OpenError> {
    let mut bytes = file.read(file.bytes()?)?;
    let used = used(&bytes);
    if bytes.len() < HEADER_BYTES as usize {
        bytes.resize(HEADER_BYTES as usize, 0);
    }
    Ok((Bytes::from(bytes), used))
}
