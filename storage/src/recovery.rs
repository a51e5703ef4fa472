//! Reading the log of a member that starts: what is whole, what was never finished, and what is damaged.
//!
//! An unfinished write and damage look alike: bytes that are no record. What tells them apart is proof that the bytes
//! had once been flushed. A seal is written only after everything before it was flushed, and a segment is made only
//! after the one before it was; so whatever cannot be read and stands before a seal or in an earlier segment is
//! damage. After the last seal stands at most one write, which may never have been acknowledged. A crash may leave
//! any of its sectors and not the others, so there the log ends at the first bad byte, even if a record further on is
//! whole: this is the torn tail, and it is cut off and reported.
//!
//! A seal is written right after the write that it seals was acknowledged, or under load as the first thing of the next
//! write. After the end of a process, or power loss, the last seal may be missing; then the write before it is whole,
//! because it was flushed, unless the same sectors also rotted.
//!
//! What it refuses to do: shorten the log for any other reason, or change anything before all of it was read.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use holdfast_engine::{ENTRY_PAYLOAD_BYTES_MAX, Entry, Position, RECORD_HEADER_BYTES, RecordError};

use crate::files::OpenFile;
use crate::folder::Folder;
use crate::identity::Identity;
use crate::log::{Kept, Resumed};
use crate::mark::{MARK_BYTES, Mark};
use crate::scrub::Expected;
use crate::segment::{EXTENSION, HEADER_BYTES, Header, Segment};
use crate::span::Span;
use crate::{Damage, OpenError, TornTail};

/// Bytes of a segment that are looked at together for where its zeros begin: they fit a processor's cache.
const PIECE_BYTES: usize = 256 * 1024;

/// The log as it was found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) resumed: Resumed,
    /// All entries, in the order of their indexes.
    pub(crate) entries: Vec<Entry>,
    pub(crate) torn: Option<TornTail>,
    /// From here on the content may be in the page cache only, whatever a flush says.
    unproven: u64,
    /// Segments from before the log was begun anew.
    void: Vec<PathBuf>,
}

/// A segment with its header checked and nothing else read.
struct Headed {
    file: OpenFile,
    header: Header,
    digest: u32,
}

/// Where the walk through the segments has come to.
struct Walk {
    span: Span,
    entries: Vec<Entry>,
    kept: VecDeque<Kept>,
    /// Digest of what was read of the segment that was read last.
    digest: u32,
}

/// What a segment holds, besides what went into the walk.
struct Extent {
    /// Behind the last good record or mark.
    end: u64,
    /// Behind the last seal.
    sealed: u64,
    /// Behind the last byte that is not zero.
    used: u64,
}

/// Read the whole log. Changes nothing; [`Found::repair`] does.
pub(crate) fn read(folder: &Folder, identity: &Identity) -> Result<Found, OpenError> {
    let mut paths = folder.list(&folder.log(), EXTENSION)?;
    let mut rest = Vec::new();
    // From the newest back to the one that begins the log; what is before that is void, whatever it holds.
    while let Some(path) = paths.pop() {
        let file = folder.files.open(&path)?;
        let (header, digest) = Header::read(folder, &file)?;
        header.stamp.check(&path, header.formed, identity)?;
        let restart = header.restart;
        rest.push(Headed { file, header, digest });
        if restart {
            break;
        }
    }
    rest.reverse();
    let void = paths;
    let Some(first) = rest.first() else {
        return Err(OpenError::Damaged { path: folder.log(), offset: 0, what: Damage::Missing });
    };
    let mut walk = Walk {
        span: Span::new(first.header.previous),
        entries: Vec::new(),
        kept: VecDeque::new(),
        digest: first.header.chain,
    };
    let (mut number, last) = (first.header.number, rest.len() - 1);
    let (mut tail, mut closed) = (None, Vec::new());
    for (at, Headed { file, header, digest }) in rest.into_iter().enumerate() {
        walk.check_next(&file, &header, number)?;
        number += 1;
        walk.digest = digest;
        walk.kept.push_back(Kept { path: file.path().to_owned(), previous: header.previous });
        let extent = walk.read(&file, &header, at == last)?;
        if at != last {
            let path = file.path().to_owned();
            closed.push(Expected { path, end: extent.end, digest: walk.digest, closed: true });
        }
        tail = Some((file, header, extent));
    }
    let (file, header, extent) = tail.expect("there is a first segment");
    let torn = (extent.used > extent.end).then(|| TornTail {
        path: file.path().to_owned(),
        offset: extent.end,
        bytes: extent.used - extent.end,
    });
    let unsealed = extent.end > extent.sealed;
    let current = Segment::resume(file, header, extent.end, walk.digest, unsealed);
    let resumed = Resumed { span: walk.span, kept: walk.kept, closed, current };
    // What stands before a seal was flushed before the seal was written; the seal itself may not have been.
    let unproven = extent.sealed.saturating_sub(MARK_BYTES as u64).max(HEADER_BYTES);
    Ok(Found { resumed, entries: walk.entries, torn, unproven, void })
}

impl Walk {
    /// Whether this segment follows the one that was read last.
    fn check_next(&self, file: &OpenFile, header: &Header, number: u64) -> Result<(), OpenError> {
        let end = self.span.end();
        let what = if header.number != number {
            Damage::Gap { next: header.previous.index.next() }
        } else if header.previous != end || header.chain != self.digest {
            Damage::Digest
        } else {
            return Ok(());
        };
        Err(OpenError::Damaged { path: file.path().to_owned(), offset: 0, what })
    }

    /// Read one segment to its end.
    fn read(&mut self, file: &OpenFile, header: &Header, last: bool) -> Result<Extent, OpenError> {
        let damaged =
            |at: usize, what| OpenError::Damaged { path: file.path().to_owned(), offset: at as u64, what };
        let (bytes, used) = content(file, header)?;
        let (mut at, mut sealed) = (HEADER_BYTES as usize, HEADER_BYTES as usize);
        loop {
            let length = if let Some((mark, digest)) = Mark::decode(&bytes[at..], header.place(at as u64)) {
                if digest != self.digest {
                    return Err(damaged(at, Damage::Digest));
                }
                self.mark(mark).map_err(|what| damaged(at, what))?;
                if matches!(mark, Mark::Seal(_)) {
                    sealed = at + MARK_BYTES;
                }
                MARK_BYTES
            } else {
                match Entry::decode(&mut bytes.slice(at..)) {
                    Ok(entry) if self.span.accepts(entry.position()) => self.push(entry),
                    // Its checksum is right, so it was written, by a version that knows more kinds.
                    Err(RecordError::Kind(_)) => return Err(damaged(at, Damage::Content)),
                    Ok(_) | Err(_) => break,
                }
            };
            self.digest = crc32c::crc32c_append(self.digest, &bytes[at..at + length]);
            at += length;
        }
        // A record may end in zeros, which are in use.
        let used = used.max(at);
        // A seal may end in zeros too.
        let tail = &bytes[at..bytes.len().min(used + MARK_BYTES)];
        if used > at && (!last || Mark::any_seal(tail, header.place(at as u64))) {
            return Err(damaged(at, Damage::Record));
        }
        Ok(Extent { end: at as u64, sealed: sealed as u64, used: used as u64 })
    }

    fn push(&mut self, entry: Entry) -> usize {
        let length = entry.record_bytes();
        self.span.push(entry.position());
        self.entries.push(entry);
        length
    }

    fn mark(&mut self, mark: Mark) -> Result<(), Damage> {
        match mark {
            Mark::Seal(end) if end == self.span.end() => {}
            Mark::Cut(keep) if self.span.contains(keep) => {
                self.entries.truncate((keep.index.0 - self.span.start().index.0) as usize);
                self.span.cut(keep.index);
            }
            // The segments with what it keeps were released: the log that is left starts here.
            Mark::Cut(keep) if keep.index < self.span.start().index => {
                self.entries.clear();
                self.span = Span::new(keep);
            }
            Mark::Seal(_) | Mark::Cut(_) => return Err(Damage::Digest),
        }
        Ok(())
    }
}

/// A segment's bytes, and how many of them there are up to the last one that is not zero. Of the zeros behind that
/// only so many are kept in memory as a last record may end in.
fn content(file: &OpenFile, header: &Header) -> Result<(Bytes, usize), OpenError> {
    let used = used_of(file, header.bytes as usize)?.max(HEADER_BYTES as usize);
    let kept = (used + RECORD_HEADER_BYTES + ENTRY_PAYLOAD_BYTES_MAX).min(header.bytes as usize);
    let mut bytes = vec![0; kept];
    file.read_at(0, &mut bytes[..used])?;
    Ok((Bytes::from(bytes), used))
}

/// The same number as [`used`] of a whole file, from its end, piece by piece into the same memory: a segment is mostly
/// zeros, and fresh memory for all of them takes longer than reading them.
fn used_of(file: &OpenFile, bytes: usize) -> Result<usize, OpenError> {
    let mut piece = vec![0; PIECE_BYTES.min(bytes)];
    let mut end = bytes;
    while end > 0 {
        let start = (end - 1) / PIECE_BYTES * PIECE_BYTES;
        let piece = &mut piece[..end - start];
        file.read_at(start as u64, piece)?;
        match used(piece) {
            0 => end = start,
            used => return Ok(start + used),
        }
    }
    Ok(0)
}

/// How many bytes there are up to the last one that is not zero.
pub(crate) fn used(bytes: &[u8]) -> usize {
    /// Compared at once: byte by byte a whole segment takes too long.
    const PAGE: [u8; 4096] = [0; 4096];
    let mut end = bytes.len();
    while end > 0 {
        let start = (end - 1) / PAGE.len() * PAGE.len();
        if bytes[start..end] != PAGE[..end - start] {
            let last = bytes[start..end].iter().rposition(|byte| *byte != 0);
            return start + last.expect("a byte that is not zero") + 1;
        }
        end = start;
    }
    0
}

impl Found {
    /// Make durable what was found, cut off what was not finished, and remove what is void.
    ///
    /// Every step leaves a log that reads as this one: until the seal is written, what is behind the last good record
    /// is a torn tail, whatever of it is zeroed already.
    pub(crate) fn repair(&mut self, folder: &Folder) -> Result<(), OpenError> {
        let current = &mut self.resumed.current;
        // If the last process ended because a flush failed, the kernel may call bytes clean that never reached the
        // disk: they are written once more, so that the next flush is about them.
        current.write_again(folder, self.unproven)?;
        if let Some(torn) = &self.torn {
            folder.files.fill(&current.file, torn.offset, torn.offset + torn.bytes)?;
        }
        folder.files.sync(&current.file)?;
        current.seal(folder, self.resumed.span.end())?;
        for path in self.void.drain(..) {
            folder.files.remove(&path)?;
        }
        Ok(folder.files.sync_folder(&folder.log())?)
    }

    /// The log does not lead up to the checkpoint at `position`: begin it anew after that.
    pub(crate) fn replace(
        &mut self,
        folder: &Folder,
        identity: &Identity,
        position: Position,
        segment_bytes: u64,
    ) -> Result<(), OpenError> {
        let number = self.resumed.current.header.number + 1;
        let resumed = Resumed::begin(folder, identity, number, position, segment_bytes)?;
        let old = std::mem::replace(&mut self.resumed, resumed);
        self.entries.clear();
        for kept in old.kept {
            folder.files.remove(&kept.path)?;
        }
        Ok(folder.files.sync_folder(&folder.log())?)
    }
}

/// Whether the log's folder holds nothing but what an interrupted first start leaves: segments without content.
pub(crate) fn is_untouched(folder: &Folder) -> Result<bool, OpenError> {
    for path in folder.list(&folder.log(), EXTENSION)? {
        if !is_empty(folder, &path)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_empty(folder: &Folder, path: &Path) -> Result<bool, OpenError> {
    let file = folder.files.open(path)?;
    let bytes = file.read(file.bytes()?)?;
    Ok(used(&bytes) <= HEADER_BYTES as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_byte_that_is_not_zero_is_found_wherever_it_is() {
        assert_eq!(used(&[]), 0);
        for length in [1, 4095, 4096, 4097, 10_000] {
            assert_eq!(used(&vec![0; length]), 0);
            for at in [0, length / 2, length - 1] {
                let mut bytes = vec![0; length];
                bytes[at] = 1;
                assert_eq!(used(&bytes), at + 1, "{at} of {length}");
            }
        }
    }
}
