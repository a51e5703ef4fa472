//! The part of the log that is in memory: everything since the last release.

use std::collections::VecDeque;

use crate::{Entry, Index, Position, Term};

/// Entries after `base`, contiguous.
///
/// Invariants: the first entry's index is `base.index + 1`, each next one's is one more, and terms never fall;
/// `bytes` is the sum of the entries' record lengths.
#[derive(Debug)]
pub(crate) struct Log {
    base: Position,
    entries: VecDeque<Entry>,
    bytes: usize,
}

impl Log {
    /// A log that goes on after `checkpoint` with what the disk had.
    ///
    /// # Panics
    ///
    /// If the entries are not contiguous or leave a gap after the checkpoint: recovery has checked that.
    pub(crate) fn restore(checkpoint: Option<Position>, entries: Vec<Entry>) -> Log {
        let checkpoint = checkpoint.unwrap_or(Position::ZERO);
        let mut log = Log { base: checkpoint, entries: VecDeque::with_capacity(entries.len()), bytes: 0 };
        let mut entries = entries.into_iter().peekable();
        // The term before the oldest kept entry is unknown, so that entry itself becomes the base.
        if let Some(oldest) = entries.next_if(|oldest| oldest.index() <= checkpoint.index) {
            log.base = oldest.position();
        }
        entries.for_each(|entry| log.push(entry));
        assert!(log.last().index >= checkpoint.index, "the log ends before its checkpoint");
        log
    }

    /// The position before the first entry that is here.
    pub(crate) fn base(&self) -> Position {
        self.base
    }

    /// The position of the last entry.
    pub(crate) fn last(&self) -> Position {
        self.entries.back().map_or(self.base, Entry::position)
    }

    /// The term of the entry at `index`; `None` outside `[base, last]`.
    pub(crate) fn term_at(&self, index: Index) -> Option<Term> {
        if index == self.base.index { Some(self.base.term) } else { self.get(index).map(Entry::term) }
    }

    /// The position at `index`; `None` outside `[base, last]`.
    pub(crate) fn position_at(&self, index: Index) -> Option<Position> {
        self.term_at(index).map(|term| Position::new(term, index))
    }

    /// Whether the log holds the entry at `position`, or begins right after it.
    pub(crate) fn contains(&self, position: Position) -> bool {
        self.term_at(position.index) == Some(position.term)
    }

    /// The entry at `index`, if it is here.
    pub(crate) fn get(&self, index: Index) -> Option<&Entry> {
        let offset = index.0.checked_sub(self.base.index.0 + 1)?;
        self.entries.get(usize::try_from(offset).ok()?)
    }

    /// Entries from `from` on, until their records would exceed `bytes_max`; at least one, if there is one.
    pub(crate) fn batch(&self, from: Index, bytes_max: usize) -> Vec<Entry> {
        let mut bytes = 0;
        let start = (from.0 - self.base.index.0 - 1) as usize;
        let mut batch = Vec::new();
        for entry in self.entries.range(start.min(self.entries.len())..) {
            bytes += entry.record_bytes();
            if bytes > bytes_max && !batch.is_empty() {
                break;
            }
            batch.push(entry.clone());
        }
        batch
    }

    /// The entries after `index`.
    pub(crate) fn after(&self, index: Index) -> impl Iterator<Item = &Entry> {
        let start = index.0.saturating_sub(self.base.index.0) as usize;
        self.entries.range(start.min(self.entries.len())..)
    }

    /// Bytes of the records of all entries after `index`.
    pub(crate) fn bytes_after(&self, index: Index) -> usize {
        self.after(index).map(|entry| entry.record_bytes()).sum()
    }

    /// Bytes of the records of the entries after `from` up to `to`.
    pub(crate) fn bytes_between(&self, from: Index, to: Index) -> usize {
        let entries = to.0.saturating_sub(from.0.max(self.base.index.0)) as usize;
        self.after(from).take(entries).map(Entry::record_bytes).sum()
    }

    /// Append one entry.
    pub(crate) fn push(&mut self, entry: Entry) {
        let last = self.last();
        assert!(entry.index() == last.index.next(), "entry {} after {last}", entry.position());
        assert!(entry.term() >= last.term, "entry {} after {last}", entry.position());
        self.bytes += entry.record_bytes();
        self.entries.push_back(entry);
    }

    /// Drop every entry after `index`.
    pub(crate) fn cut_after(&mut self, index: Index) {
        while self.last().index > index && !self.entries.is_empty() {
            let entry = self.entries.pop_back().expect("not empty");
            self.bytes -= entry.record_bytes();
        }
    }

    /// Forget entries up to `index` at most, but keep the last `bytes_kept` of those; returns the new base's index if
    /// anything went.
    pub(crate) fn release(&mut self, index: Index, bytes_kept: usize) -> Option<Index> {
        let mut behind = self.bytes - self.bytes_after(index);
        let before = self.base.index;
        while behind > bytes_kept {
            let Some(entry) = self.entries.front() else { break };
            if entry.index() > index {
                break;
            }
            self.base = entry.position();
            behind -= entry.record_bytes();
            self.bytes -= entry.record_bytes();
            self.entries.pop_front();
        }
        (self.base.index > before).then_some(self.base.index)
    }

    /// Begin anew after `position`.
    pub(crate) fn reset(&mut self, position: Position) {
        self.base = position;
        self.entries.clear();
        self.bytes = 0;
    }

    /// The last position at or before `index` whose term is at most `term`: where two logs may still agree. The base
    /// if there is none.
    pub(crate) fn agreement(&self, index: Index, term: Term) -> Position {
        let mut index = index.min(self.last().index).max(self.base.index);
        while index > self.base.index && self.term_at(index).is_some_and(|at| at > term) {
            index = index.previous();
        }
        self.position_at(index).unwrap_or(self.base)
    }

    /// Bytes of all records that are here.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EntryKind;

    fn log(terms: &[u64]) -> Log {
        let entries = terms.iter().enumerate().map(|(at, &term)| {
            Entry::new(Position::new(Term(term), Index(at as u64 + 1)), EntryKind::Command, b"x")
        });
        Log::restore(None, entries.collect())
    }

    #[test]
    fn positions_are_known_from_the_base_to_the_end() {
        let mut log = log(&[1, 1, 2, 3]);
        assert_eq!(log.term_at(Index(0)), Some(Term(0)));
        assert_eq!(log.term_at(Index(4)), Some(Term(3)));
        assert_eq!(log.term_at(Index(5)), None);
        log.release(Index(2), 0);
        assert_eq!(log.base(), Position::new(Term(1), Index(2)));
        assert_eq!(log.term_at(Index(1)), None);
        assert_eq!(log.batch(Index(3), usize::MAX).len(), 2);
    }

    #[test]
    fn a_release_keeps_what_followers_may_still_need() {
        let mut log = log(&[1; 10]);
        let record = log.bytes() / 10;
        assert_eq!(log.bytes_between(Index(2), Index(4)), 2 * record);
        assert_eq!(log.release(Index(8), 3 * record), Some(Index(5)));
        assert_eq!(log.bytes_between(Index(2), Index(8)), 3 * record, "what is released does not count");
        assert_eq!(log.bytes(), 5 * record);
        assert_eq!(log.release(Index(8), 3 * record), None);
    }

    #[test]
    fn agreement_skips_terms_that_the_other_log_cannot_have() {
        let log = log(&[1, 1, 4, 4, 5]);
        assert_eq!(log.agreement(Index(9), Term(3)), Position::new(Term(1), Index(2)));
        assert_eq!(log.agreement(Index(4), Term(4)), Position::new(Term(4), Index(4)));
        assert_eq!(log.agreement(Index(3), Term(0)), Position::ZERO);
    }

    #[test]
    fn a_kept_entry_behind_the_checkpoint_becomes_the_base() {
        let entries = (5..=8)
            .map(|at| Entry::new(Position::new(Term(2), Index(at)), EntryKind::Command, b"x"))
            .collect();
        let log = Log::restore(Some(Position::new(Term(2), Index(7))), entries);
        assert_eq!(log.base().index, Index(5));
        assert_eq!(log.last().index, Index(8));
    }
}
