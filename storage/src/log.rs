//! The log as it is written: entries at the end, segments one after the other, old segments removed.
//!
//! The log is a journal: entries are added at its end, and so is the mark that voids some of them when a new leader
//! replaces them. Nothing is rewritten or zeroed in place, so every crash leaves a prefix of what was asked for, and
//! a change of any byte that was flushed is damage, whatever it was for.
//!
//! What it refuses to do: read. Recovery does, once, before there is a [`Log`].

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use holdfast_engine::{Entry, Index, Position};

use crate::folder::Folder;
use crate::housekeeper::{Housekeeper, zeros};
use crate::identity::Identity;
use crate::mark::{MARK_BYTES, Mark};
use crate::queue::Queue;
use crate::scrub::{Expected, Ledger};
use crate::segment::{HEADER_BYTES, Header, Segment};
use crate::space::Space;
use crate::span::Span;
use crate::writer::{Flush, Flushed, Observer};
use crate::{OpenError, WriteError};

/// Bytes that are written and flushed at once at most, plus one record: 8 MiB take a slow disk (100 MB/s) less than
/// 0.1 s, and whoever waits for the first of them waits no longer.
pub(crate) const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;

/// One segment that is there.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) path: PathBuf,
    /// The log's end when it was made.
    pub(crate) previous: Position,
}

/// The log of a running member.
#[derive(Debug)]
pub(crate) struct Log {
    folder: Arc<Folder>,
    segment_bytes: u64,
    housekeeper: Housekeeper,
    observer: Observer,
    ledger: Arc<Ledger>,
    queue: Arc<Queue>,
    span: Span,
    /// All segments, oldest first; the last is `current`.
    kept: VecDeque<Kept>,
    current: Segment,
    /// Entries that are pending in `current`.
    pending_entries: usize,
}

/// What a [`Log`] shares with others.
pub(crate) struct Shared {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) space: Space,
    pub(crate) queue: Arc<Queue>,
}

/// Everything that a [`Log`] goes on from.
#[derive(Debug)]
pub(crate) struct Resumed {
    pub(crate) span: Span,
    pub(crate) kept: VecDeque<Kept>,
    /// What all of them but the last hold.
    pub(crate) closed: Vec<Expected>,
    pub(crate) current: Segment,
}

impl Resumed {
    /// Make a log that goes on after `position`, in a first segment with this number.
    pub(crate) fn begin(
        folder: &Folder,
        identity: &Identity,
        number: u64,
        position: Position,
        segment_bytes: u64,
    ) -> Result<Resumed, OpenError> {
        let file = zeros(folder, segment_bytes, &AtomicBool::new(false))?.expect("nobody stops it");
        let header = Header {
            stamp: identity.stamp.clone(),
            formed: identity.store(),
            number,
            bytes: segment_bytes,
            previous: position,
            chain: 0,
            restart: true,
        };
        let current = Segment::create(folder, file, header)?;
        Ok(Resumed {
            span: Span::new(position),
            kept: VecDeque::from([Kept { path: current.path().to_owned(), previous: position }]),
            closed: Vec::new(),
            current,
        })
    }
}

impl Log {
    pub(crate) fn start(
        folder: Arc<Folder>,
        segment_bytes: u64,
        observer: Observer,
        shared: Shared,
        resumed: Resumed,
    ) -> std::io::Result<Log> {
        let Shared { ledger, space, queue } = shared;
        let housekeeper = Housekeeper::start(Arc::clone(&folder), segment_bytes, space)?;
        let Resumed { span, kept, closed, current } = resumed;
        ledger.replace(closed.into_iter().chain([expected(&current)]));
        let pending_entries = 0;
        Ok(Log {
            folder,
            segment_bytes,
            housekeeper,
            observer,
            ledger,
            queue,
            span,
            kept,
            current,
            pending_entries,
        })
    }

    /// Bytes that wait for [`Log::flush`].
    pub(crate) fn pending(&self) -> usize {
        self.current.pending()
    }

    /// Add entries, which are durable after the next [`Log::flush`]. Those that stand in their place are cut first.
    pub(crate) fn append(&mut self, entries: &[Entry]) -> Result<(), WriteError> {
        let Some(first) = entries.first().map(Entry::index) else { return Ok(()) };
        let (start, end) = (self.span.start(), self.span.end());
        let gap = move |first| WriteError::Gap { first, start, end };
        if first <= start.index || first > end.index.next() {
            return Err(gap(first));
        }
        if first <= end.index {
            self.cut(first.previous())?;
        }
        for entry in entries {
            if !self.span.accepts(entry.position()) {
                return Err(gap(entry.index()));
            }
            let record = entry.as_record();
            self.make_room(record.len())?;
            self.current.add(record, self.span.end());
            self.span.push(entry.position());
            self.pending_entries += 1;
        }
        Ok(())
    }

    /// Void the entries after `keep`, which is in the log or right before it.
    fn cut(&mut self, keep: Index) -> Result<(), WriteError> {
        let term = self.span.term_at(keep).expect("it was checked");
        self.make_room(MARK_BYTES)?;
        self.current.add_mark(Mark::Cut(Position::new(term, keep)), self.span.end());
        self.span.cut(keep);
        Ok(())
    }

    /// Write and flush what was added.
    pub(crate) fn flush(&mut self) -> Result<(), WriteError> {
        let bytes = self.current.pending();
        if bytes == 0 {
            return Ok(());
        }
        let (write, fsync) = self.current.flush(&self.folder)?;
        self.ledger.flushed(self.current.end(), self.current.digest());
        let entries = std::mem::take(&mut self.pending_entries);
        self.observer.observe(Flush { what: Flushed::Log, bytes, entries, write, fsync });
        if self.current.is_half_full() {
            self.housekeeper.prepare(self.segment_bytes);
        }
        Ok(())
    }

    /// Mark everything that was flushed as durable. Called when there is nothing else to write.
    pub(crate) fn seal(&mut self) -> Result<(), WriteError> {
        Ok(self.current.seal(&self.folder, self.span.end())?)
    }

    /// The log ends here for this process: flush the last seal too.
    pub(crate) fn close(&mut self) -> Result<(), WriteError> {
        self.flush()?;
        self.seal()?;
        Ok(self.folder.files.sync(&self.current.file)?)
    }

    fn make_room(&mut self, bytes: usize) -> Result<(), WriteError> {
        if self.current.pending() >= BATCH_BYTES_MAX {
            self.flush()?;
        }
        if self.current.has_room(bytes) {
            return Ok(());
        }
        self.flush()?;
        // One record may be longer than a whole segment of the usual length.
        let whole = HEADER_BYTES + (bytes + 2 * MARK_BYTES) as u64;
        self.roll(self.segment_bytes.max(whole), false, self.span.end())
    }

    fn roll(&mut self, bytes: u64, restart: bool, previous: Position) -> Result<(), WriteError> {
        assert_eq!(self.current.pending(), 0, "a segment is left only when everything in it is flushed");
        // Its last seal may not be: it is not flushed when it is written, and the new header's chain counts on it.
        self.folder.files.sync(&self.current.file)?;
        self.ledger.flushed(self.current.end(), self.current.digest());
        let queue = &self.queue;
        let file = self.housekeeper.take(bytes, || queue.is_stopped())?;
        let identity = self.folder.identity();
        let header = Header {
            formed: identity.store(),
            stamp: identity.stamp,
            number: self.current.header.number + 1,
            bytes,
            previous,
            chain: if restart { 0 } else { self.current.digest() },
            restart,
        };
        self.current = Segment::create(&self.folder, file, header)?;
        self.ledger.rolled(expected(&self.current));
        self.kept.push_back(Kept { path: self.current.path().to_owned(), previous });
        Ok(())
    }

    /// Begin anew after a checkpoint at `position`, which is durable. Everything before is void at once, when the
    /// new segment has its name; the old ones are removed after that.
    pub(crate) fn reset(&mut self, position: Position) -> Result<(), WriteError> {
        self.flush()?;
        self.roll(self.segment_bytes, true, position)?;
        self.span = Span::new(position);
        self.ledger.replace([expected(&self.current)]);
        let current = self.kept.pop_back().expect("it was just made");
        let old = std::mem::replace(&mut self.kept, VecDeque::from([current]));
        self.housekeeper.remove(old.into_iter().map(|kept| kept.path).collect());
        Ok(())
    }

    /// Remove the segments that hold nothing after `index`, which a durable checkpoint covers: those before the last
    /// one that was made when the log ended there or earlier.
    pub(crate) fn release(&mut self, index: Index) {
        let index = index.min(self.span.end().index);
        let Some(first) = self.kept.iter().rposition(|kept| kept.previous.index <= index) else { return };
        if first == 0 {
            return;
        }
        // Cuts may have replaced the entry that the segment was made after, so its term is asked for anew; and they may
        // have moved the segment's beginning behind what was released before.
        let start = self.kept[first].previous.index.max(self.span.start().index);
        let term = self.span.term_at(start).expect("it is between the log's start and its end");
        self.span.release(Position::new(term, start));
        self.ledger.released(first);
        self.housekeeper.remove(self.kept.drain(..first).map(|kept| kept.path).collect());
    }
}

/// What a segment that is appended to should hold, as far as it is flushed.
fn expected(current: &Segment) -> Expected {
    let (path, end, digest) = (current.path().to_owned(), current.end(), current.digest());
    Expected { path, end, digest, closed: false }
}
