//! Reading a member's log when its folder is opened: everything, once, and with one question: is what is there what was
//! written?
//!
//! A bad end of the last segment is a torn tail only if no seal stands behind it: a seal proves that what is before it
//! was durable. Everything else that does not read as it was written is damage.
//!
//! What it refuses to do: shorten the log for any other reason.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use holdfast_engine::{ENTRY_PAYLOAD_BYTES_MAX, Entry, Index, RECORD_HEADER_BYTES};

use crate::files::OpenFile;
use crate::folder::Folder;
use crate::identity::Identity;
use crate::log::{Kept, Resumed};
use crate::mark::{MARK_BYTES, Mark};
use crate::segment::{EXTENSION, HEADER_BYTES, Header, Segment};
use crate::span::Span;
use crate::{Damage, OpenError, TornTail};

/// What the segments hold.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) resumed: Resumed,
    pub(crate) entries: Vec<Entry>,
    pub(crate) torn: Option<TornTail>,
}

/// A segment's file and header, checked against each other and against the folder's identity.
struct Opened {
    file: OpenFile,
    header: Header,
    /// The digest of the header's page.
    digest: u32,
}

/// The log as far as it was read.
struct Reading {
    span: Span,
    entries: VecDeque<Entry>,
}

/// How the content of one segment ended.
struct End {
    /// Behind the last good record or mark.
    offset: u64,
    /// The digest of everything before `offset`.
    digest: u32,
    /// Behind the last seal; 0 if there is none.
    sealed: u64,
    lowest_cut: Index,
    /// Behind the last byte that is not zero.
    used: u64,
}

/// Read all segments of the folder; `None` if there are none. Makes durable what it returns.
pub(crate) fn recover(folder: &Folder, identity: &Identity) -> Result<Option<Recovered>, OpenError> {
    let mut segments = Vec::new();
    for path in folder.list(&folder.log(), EXTENSION)? {
        segments.push(open_segment(folder, identity, &path)?);
    }
    // What begins the log anew makes everything before it void; a crash may have left some of that.
    let first = segments.iter().rposition(|segment| segment.header.restart).unwrap_or(0);
    for void in segments.drain(..first) {
        folder.files.remove(void.file.path())?;
    }
    let Some(last) = segments.pop() else { return Ok(None) };
    let start = segments.first().unwrap_or(&last).header.previous;
    let mut reading = Reading { span: Span::new(start), entries: VecDeque::new() };
    let mut kept = VecDeque::new();
    let mut before: Option<(u64, u32)> = None;
    for segment in segments {
        segment.follows(before, &reading.span)?;
        let end = reading.read(&segment)?;
        if end.used > end.offset {
            // The next segment was made only after all of this one was flushed.
            return Err(segment.damaged(end.offset, Damage::Record));
        }
        before = Some((segment.header.number, end.digest));
        kept.push_back(segment.kept(end.lowest_cut));
    }
    last.follows(before, &reading.span)?;
    let end = reading.read(&last)?;
    let torn = cut_torn_tail(folder, &last, &end)?;
    // What was read may be in the page cache only, and is about to be counted as durable.
    folder.files.sync(&last.file)?;
    kept.push_back(last.kept(end.lowest_cut));
    let unsealed = end.offset > HEADER_BYTES && end.sealed != end.offset;
    let current = Segment::resume(last.file, last.header, end.offset, end.digest, unsealed);
    let resumed = Resumed { span: reading.span, kept, current };
    Ok(Some(Recovered { resumed, entries: reading.entries.into(), torn }))
}

fn open_segment(folder: &Folder, identity: &Identity, path: &Path) -> Result<Opened, OpenError> {
    let file = folder.files.open(path)?;
    let (header, digest) = Header::read(folder, &file)?;
    header.stamp.check(path, header.formed, identity)?;
    Ok(Opened { file, header, digest })
}

/// Zero what follows the last good record, if it was never durable.
fn cut_torn_tail(folder: &Folder, last: &Opened, end: &End) -> Result<Option<TornTail>, OpenError> {
    if end.used == end.offset {
        return Ok(None);
    }
    let mut rest = vec![0; (end.used - end.offset) as usize];
    last.file.read_at(end.offset, &mut rest)?;
    if Mark::any_seal(&rest, last.header.place(end.offset)) {
        return Err(last.damaged(end.offset, Damage::Record));
    }
    folder.files.fill(&last.file, end.offset, end.used)?;
    Ok(Some(TornTail { path: last.file.path().to_owned(), offset: end.offset, bytes: end.used - end.offset }))
}

impl Opened {
    fn damaged(&self, offset: u64, what: Damage) -> OpenError {
        OpenError::Damaged { path: self.path(), offset, what }
    }

    fn path(&self) -> PathBuf {
        self.file.path().to_owned()
    }

    fn kept(&self, lowest_cut: Index) -> Kept {
        Kept { path: self.path(), previous: self.header.previous, lowest_cut }
    }

    /// Whether this segment is the one that was made after the one before it, number and digest of which are `before`.
    fn follows(&self, before: Option<(u64, u32)>, span: &Span) -> Result<(), OpenError> {
        let Some((number, digest)) = before else { return Ok(()) };
        if self.header.number != number + 1 {
            return Err(self.damaged(0, Damage::Gap { next: self.header.previous.index.next() }));
        }
        if self.header.chain != digest || self.header.previous != span.end() {
            return Err(self.damaged(0, Damage::Digest));
        }
        Ok(())
    }

    /// The content after the header and how much of it is used: up to the last byte that is not zero. Of the zeros
    /// behind that only so many are kept as the last record may have at its end.
    fn content(&self) -> Result<(Bytes, usize), OpenError> {
        let mut content = vec![0; (self.header.bytes - HEADER_BYTES) as usize];
        self.file.read_at(HEADER_BYTES, &mut content)?;
        let used = content.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        content.truncate(used + RECORD_HEADER_BYTES + ENTRY_PAYLOAD_BYTES_MAX);
        content.shrink_to_fit();
        Ok((content.into(), used))
    }
}

impl Reading {
    /// Read one segment up to its end, or to the first bytes that are neither record nor mark.
    fn read(&mut self, segment: &Opened) -> Result<End, OpenError> {
        let (content, used) = segment.content()?;
        let used = HEADER_BYTES + used as u64;
        let mut end = End {
            offset: HEADER_BYTES,
            digest: segment.digest,
            sealed: 0,
            lowest_cut: Index(u64::MAX),
            used,
        };
        while end.offset < used {
            let rest = content.slice((end.offset - HEADER_BYTES) as usize..);
            let length = if let Some((mark, digest)) = Mark::decode(&rest, segment.header.place(end.offset)) {
                if digest != end.digest {
                    return Err(segment.damaged(end.offset, Damage::Digest));
                }
                self.obey(segment, mark, &mut end)?;
                MARK_BYTES
            } else if let Some(entry) = self.record(&rest) {
                let length = entry.record().len();
                self.span.push(entry.position());
                self.entries.push_back(entry);
                length
            } else {
                break;
            };
            end.digest = crc32c::crc32c_append(end.digest, &rest[..length]);
            end.offset += length as u64;
        }
        // A record may end in zeros, which were taken for the segment's empty rest.
        end.used = end.used.max(end.offset);
        Ok(end)
    }

    /// The next entry, if the bytes are one and it can follow.
    fn record(&self, rest: &Bytes) -> Option<Entry> {
        Entry::decode(&mut rest.clone()).ok().filter(|entry| self.span.accepts(entry.position()))
    }

    fn obey(&mut self, segment: &Opened, mark: Mark, end: &mut End) -> Result<(), OpenError> {
        match mark {
            Mark::Seal(index) if index == self.span.end().index => {
                end.sealed = end.offset + MARK_BYTES as u64;
                Ok(())
            }
            Mark::Cut(keep) if (self.span.start().index..=self.span.end().index).contains(&keep) => {
                self.span.cut(keep);
                while self.entries.back().is_some_and(|entry| entry.index() > keep) {
                    self.entries.pop_back();
                }
                end.lowest_cut = end.lowest_cut.min(keep);
                Ok(())
            }
            Mark::Seal(_) | Mark::Cut(_) => Err(segment.damaged(end.offset, Damage::Content)),
        }
    }
}
