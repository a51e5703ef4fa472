//! The log as it stands on a simulated disk: a journal of blocks, each of which one flush made durable.
//!
//! A block is read whole or not at all, and the mark behind it says where the log ended there; this is what the real
//! storage promises. What the blocks add up to is kept beside them, for the checks that know more than a member does.

use std::collections::VecDeque;

use holdfast_engine::{Entry, Index, Position};

/// Entries, contiguous.
pub(crate) type Entries = VecDeque<Entry>;

/// What one flush made durable.
#[derive(Clone, Debug)]
struct Block {
    /// The log is cut after this index first.
    cut: Option<Index>,
    entries: Vec<Entry>,
    readable: bool,
    /// The mark behind the block can be read: it says where the log ended.
    marked: bool,
}

/// A log's blocks, oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Journal {
    blocks: VecDeque<Block>,
    /// What the blocks add up to.
    log: Entries,
}

/// What can be read of a journal.
#[derive(Clone, Debug, Default)]
pub(crate) struct Survey {
    /// What was read, and between two pieces there is a hole.
    pub(crate) pieces: Vec<Entries>,
    /// Where the log ended behind each hole; unknown only behind the last one.
    pub(crate) anchors: Vec<Option<Position>>,
}

/// The entry at `index`.
pub(crate) fn find(entries: &Entries, index: Index) -> Option<&Entry> {
    let first = entries.front()?.index();
    entries.get(usize::try_from(index.0.checked_sub(first.0)?).ok()?)
}

/// Whether the entry at `position` is among `entries`.
pub(crate) fn holds(entries: &Entries, position: Position) -> bool {
    find(entries, position.index).is_some_and(|entry| entry.position() == position)
}

fn cut_after(entries: &mut Entries, index: Index) {
    while entries.back().is_some_and(|last| last.index() > index) {
        entries.pop_back();
    }
}

impl Journal {
    /// What was made durable and not cut since, whether or not it can be read.
    pub(crate) fn log(&self) -> &Entries {
        &self.log
    }

    /// Add a block of entries, which may replace some that are there.
    pub(crate) fn append(&mut self, entries: Vec<Entry>) {
        let (Some(first), Some(last)) = (entries.first(), self.log.back()) else {
            if !entries.is_empty() {
                self.push_block(None, entries);
            }
            return;
        };
        let cut = (first.index() <= last.index()).then(|| first.index().previous());
        self.push_block(cut, entries);
    }

    fn push_block(&mut self, cut: Option<Index>, entries: Vec<Entry>) {
        if let Some(cut) = cut {
            cut_after(&mut self.log, cut);
        }
        self.log.extend(entries.iter().cloned());
        self.blocks.push_back(Block { cut, entries, readable: true, marked: true });
    }

    /// Begin anew.
    pub(crate) fn clear(&mut self) {
        self.blocks.clear();
        self.log.clear();
    }

    /// Forget entries up to `index`, which a checkpoint covers.
    pub(crate) fn release(&mut self, index: Index) {
        while self.log.front().is_some_and(|entry| entry.index() <= index) {
            self.log.pop_front();
        }
        let behind = |block: &Block| block.entries.last().is_some_and(|entry| entry.index() <= index);
        while self.blocks.front().is_some_and(behind) {
            self.blocks.pop_front();
        }
    }

    /// How many blocks there are.
    pub(crate) fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// Make a block unreadable; the mark behind it too, if `mark`.
    pub(crate) fn rot(&mut self, block: usize, mark: bool) {
        if let Some(block) = self.blocks.get_mut(block) {
            block.readable = false;
            block.marked &= !mark;
        }
    }

    /// Whether anything in it cannot be read.
    pub(crate) fn is_damaged(&self) -> bool {
        self.blocks.iter().any(|block| !block.readable)
    }

    /// Read it block by block.
    pub(crate) fn survey(&self) -> Survey {
        if !self.is_damaged() {
            return Survey { pieces: vec![self.log.clone()], anchors: Vec::new() };
        }
        let mut survey = Survey { pieces: vec![Entries::new()], anchors: Vec::new() };
        let mut in_hole = false;
        for (at, block) in self.blocks.iter().enumerate() {
            if block.readable {
                if in_hole {
                    survey.pieces.push(Entries::new());
                    in_hole = false;
                }
                let piece = survey.pieces.last_mut().expect("one at least");
                if let Some(cut) = block.cut {
                    cut_after(piece, cut);
                }
                piece.extend(block.entries.iter().cloned());
                continue;
            }
            // Whatever follows a block proves that it was whole, and where it ended.
            let known = block.marked || at + 1 < self.blocks.len();
            let end = block.entries.last().map(Entry::position).filter(|_| known);
            if in_hole {
                *survey.anchors.last_mut().expect("in a hole") = end;
            } else {
                survey.anchors.push(end);
                in_hole = true;
            }
        }
        survey
    }

    /// Put `whole` in the place of everything up to the end of the first hole.
    pub(crate) fn fill_first_hole(&mut self, whole: Entries) {
        while self.blocks.pop_front_if(|block| block.readable).is_some() {}
        while self.blocks.pop_front_if(|block| !block.readable).is_some() {}
        self.replay_after(whole);
    }

    /// Keep only what is before the first hole: what is behind it may not have been acknowledged, nobody knows.
    pub(crate) fn cut_at_first_hole(&mut self) {
        let first = self.blocks.iter().position(|block| !block.readable).unwrap_or(self.blocks.len());
        let whole = self.survey().pieces.swap_remove(0);
        self.blocks.truncate(first);
        self.log = whole;
    }

    /// Leave the blocks of the first hole out, as if nothing had been in them.
    fn replay_after(&mut self, whole: Entries) {
        let rest = std::mem::take(&mut self.blocks);
        self.log = Entries::new();
        if !whole.is_empty() {
            self.push_block(None, whole.into());
        }
        for block in rest {
            if let Some(cut) = block.cut {
                cut_after(&mut self.log, cut);
            }
            self.log.extend(block.entries.iter().cloned());
            self.blocks.push_back(block);
        }
    }
}

#[cfg(test)]
mod tests {
    use holdfast_engine::{EntryKind, Term};

    use super::*;

    fn entries(term: u64, indexes: std::ops::RangeInclusive<u64>) -> Vec<Entry> {
        let entry = |at| Entry::new(Position::new(Term(term), Index(at)), EntryKind::Noop, b"");
        indexes.map(entry).collect()
    }

    fn positions(entries: &Entries) -> Vec<(u64, u64)> {
        entries.iter().map(|entry| (entry.term().0, entry.index().0)).collect()
    }

    #[test]
    fn a_hole_has_the_position_where_the_log_ended_behind_it() {
        let mut journal = Journal::default();
        journal.append(entries(1, 1..=3));
        journal.append(entries(1, 4..=6));
        journal.append(entries(2, 5..=5));
        journal.rot(1, false);
        let survey = journal.survey();
        assert_eq!(positions(&survey.pieces[0]), [(1, 1), (1, 2), (1, 3)]);
        assert_eq!(positions(&survey.pieces[1]), [(2, 5)]);
        assert_eq!(survey.anchors, [Some(Position::new(Term(1), Index(6)))]);
        let mut whole = survey.pieces[0].clone();
        whole.extend(entries(1, 4..=6));
        journal.fill_first_hole(whole);
        assert!(!journal.is_damaged());
        assert_eq!(positions(journal.log()), [(1, 1), (1, 2), (1, 3), (1, 4), (2, 5)]);
    }

    #[test]
    fn the_end_of_a_log_whose_last_mark_is_lost_is_unknown() {
        let mut journal = Journal::default();
        journal.append(entries(1, 1..=3));
        journal.append(entries(1, 4..=6));
        journal.rot(1, true);
        assert_eq!(journal.survey().anchors, [None]);
        journal.cut_at_first_hole();
        assert_eq!(positions(journal.log()), [(1, 1), (1, 2), (1, 3)]);
    }
}
