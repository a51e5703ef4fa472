//! A log with holes: what could be read of a damaged one, and how the holes are closed.
//!
//! What makes this safe is log matching: two logs that hold an entry of the same index and term hold the same entries
//! before it. So a position behind a hole, the *anchor*, says all that was in the hole, and whoever holds the anchor
//! can fill it, from its upper end down. It is filled where the entry before the filling is one that is here: below
//! that both logs are the same. This may be lower than where the damage began, since the damaged bytes may have said
//! that entries before them were replaced.
//!
//! What it refuses to do: touch the disk, or call a log whole whose parts do not fit.

use holdfast_engine::{Entry, Index, Position};

/// Entries without a hole between them.
///
/// Invariants: their indexes are those after `previous`, without gaps; terms never fall.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// The position before the first of them.
    pub(crate) previous: Position,
    pub(crate) entries: Vec<Entry>,
}

/// All that is left of a log, oldest first, with a hole before each piece.
///
/// Invariant: each piece begins after the one before it ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pieces(Vec<Piece>);

/// Why entries do not fit before a log's newest piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("these are not the entries up to {anchor}")]
pub struct Misfit {
    /// What they should end with.
    pub anchor: Position,
}

impl Piece {
    pub(crate) fn end(&self) -> Position {
        self.entries.last().map_or(self.previous, Entry::position)
    }

    /// What stands at `index`; `None` outside `[previous, end]`.
    fn at(&self, index: Index) -> Option<Position> {
        let offset = index.0.checked_sub(self.previous.index.0)?;
        match usize::try_from(offset).ok()? {
            0 => Some(self.previous),
            offset => self.entries.get(offset - 1).map(Entry::position),
        }
    }

    pub(crate) fn contains(&self, position: Position) -> bool {
        self.at(position.index) == Some(position)
    }

    /// Drop what stands at `index` and behind it.
    fn truncate(&mut self, index: Index) {
        let keep = index.0.saturating_sub(self.previous.index.next().0);
        self.entries.truncate(usize::try_from(keep).unwrap_or(usize::MAX));
    }
}

impl Pieces {
    /// An empty log after `start`.
    pub(crate) fn new(start: Position) -> Pieces {
        Pieces(vec![Piece { previous: start, entries: Vec::new() }])
    }

    /// The newest piece; `None` if nothing is known at all.
    pub(crate) fn top(&self) -> Option<&Piece> {
        self.0.last()
    }

    /// The piece before the newest one.
    pub(crate) fn lower(&self) -> Option<&Piece> {
        self.0.len().checked_sub(2).and_then(|at| self.0.get(at))
    }

    pub(crate) fn into_top(mut self) -> Option<Piece> {
        self.0.pop()
    }

    /// Give the newest piece up: what it held was never committed.
    pub(crate) fn drop_top(&mut self) {
        self.0.pop();
    }

    /// Where the log ends.
    pub(crate) fn end(&self) -> Option<Position> {
        self.top().map(Piece::end)
    }

    /// Add an entry that follows.
    pub(crate) fn push(&mut self, entry: Entry) {
        let top = self.0.last_mut().expect("an entry follows something");
        debug_assert_eq!(entry.index(), top.end().index.next());
        top.entries.push(entry);
    }

    /// The log ends at `position` now, whatever was between: entries behind it are void, and if it is not here, there
    /// is a hole before it.
    pub(crate) fn anchor(&mut self, position: Position) {
        while let Some(top) = self.0.last_mut() {
            if top.contains(position) {
                return top.truncate(position.index.next());
            }
            if top.previous.index < position.index {
                top.truncate(position.index);
                break;
            }
            self.0.pop();
        }
        self.0.push(Piece { previous: position, entries: Vec::new() });
    }

    /// Put entries before the newest piece: those after `previous`, up to what is its own beginning. The hole is
    /// closed when `previous` is in the piece below.
    ///
    /// # Errors
    ///
    /// [`Misfit`]; nothing was changed then.
    pub(crate) fn fill(&mut self, previous: Position, mut entries: Vec<Entry>) -> Result<(), Misfit> {
        let top = self.0.last_mut().ok_or(Misfit { anchor: previous })?;
        let mut end = previous;
        for entry in &entries {
            if entry.index() != end.index.next() || entry.term() < end.term {
                return Err(Misfit { anchor: top.previous });
            }
            end = entry.position();
        }
        if entries.is_empty() || end != top.previous {
            return Err(Misfit { anchor: top.previous });
        }
        entries.append(&mut top.entries);
        *top = Piece { previous, entries };
        self.close();
        Ok(())
    }

    /// Join the newest piece with those that it reaches.
    fn close(&mut self) {
        while self.0.len() > 1 {
            let top = self.0.pop().expect("more than one");
            let lower = self.0.last_mut().expect("one more");
            if lower.contains(top.previous) {
                lower.truncate(top.previous.index.next());
                lower.entries.extend(top.entries);
                continue;
            }
            if top.previous.index <= lower.previous.index {
                // All that the lower piece held was replaced.
                self.0.pop();
                self.0.push(top);
                continue;
            }
            lower.truncate(top.previous.index.next());
            self.0.push(top);
            return;
        }
    }

    /// The entries after `after` up to `anchor` and what stands before them, from the end: as many as `bytes_max`
    /// allows, and at least one. `None` if they cannot be vouched for.
    pub(crate) fn up_to(
        &self,
        anchor: Position,
        after: Index,
        bytes_max: usize,
    ) -> Option<(Position, Vec<Entry>)> {
        let piece = self.0.iter().find(|piece| piece.contains(anchor) && piece.previous != anchor)?;
        let end = (anchor.index.0 - piece.previous.index.0) as usize;
        let mut bytes = 0;
        let wanted = piece.entries[..end].iter().rev().take_while(|entry| {
            let first = bytes == 0;
            bytes += entry.record().len();
            entry.index() > after && (first || bytes <= bytes_max)
        });
        let count = wanted.count();
        let first = end - count;
        (count > 0).then(|| {
            let previous =
                piece.at(Index(piece.previous.index.0 + first as u64)).expect("it is in the piece");
            (previous, piece.entries[first..end].to_vec())
        })
    }
}

#[cfg(test)]
mod tests {
    use holdfast_engine::{EntryKind, Term};

    use super::*;

    fn position(index: u64, term: u64) -> Position {
        Position::new(Term(term), Index(index))
    }

    fn entry(index: u64, term: u64) -> Entry {
        Entry::new(position(index, term), EntryKind::Command, &[index as u8, term as u8])
    }

    /// A log after index 0 whose entries have these terms.
    fn log(terms: &[u64]) -> Vec<Entry> {
        (1..).zip(terms).map(|(index, term)| entry(index, *term)).collect()
    }

    fn pieces(entries: &[Entry]) -> Pieces {
        let mut pieces = Pieces::new(Position::ZERO);
        entries.iter().for_each(|entry| pieces.push(entry.clone()));
        pieces
    }

    fn spans(pieces: &Pieces) -> Vec<(u64, u64)> {
        pieces.0.iter().map(|piece| (piece.previous.index.0, piece.end().index.0)).collect()
    }

    #[test]
    fn an_anchor_that_is_here_cuts_and_one_that_is_not_makes_a_hole() {
        let whole = log(&[1, 1, 2, 2, 3]);
        for (anchor, expected) in [
            (position(3, 2), vec![(0, 3)]),
            (position(0, 0), vec![(0, 0)]),
            (position(9, 3), vec![(0, 5), (9, 9)]),
            (position(4, 3), vec![(0, 3), (4, 4)]),
            (position(1, 2), vec![(0, 0), (1, 1)]),
        ] {
            let mut log = pieces(&whole);
            log.anchor(anchor);
            assert_eq!(spans(&log), expected, "{anchor}");
            assert_eq!(log.end(), Some(anchor));
        }
        let mut released = Pieces::new(position(7, 2));
        released.anchor(position(4, 1));
        assert_eq!(spans(&released), [(4, 4)]);
    }

    #[test]
    fn a_hole_is_filled_from_its_upper_end_down_and_closes_where_both_logs_agree() {
        // The damaged part replaced entry 4 of term 2 and went on to 8.
        let real = log(&[1, 1, 2, 3, 3, 3, 3, 3, 3]);
        let mut log = pieces(&log(&[1, 1, 2, 2]));
        log.anchor(position(8, 3));
        log.push(real[8].clone());
        assert_eq!(spans(&log), [(0, 4), (8, 9)]);
        let misfits = [(position(5, 3), &real[5..7]), (position(6, 2), &real[7..8]), (position(8, 3), &[])];
        for (previous, entries) in misfits {
            assert!(log.fill(previous, entries.to_vec()).is_err(), "{previous}");
        }
        log.fill(position(4, 3), real[4..8].to_vec()).expect("it fits");
        assert_eq!(spans(&log), [(0, 4), (4, 9)], "entry 4 is another one here");
        log.fill(position(3, 2), real[3..4].to_vec()).expect("it fits");
        assert_eq!(log.into_top().expect("whole"), Piece { previous: Position::ZERO, entries: real });
    }

    #[test]
    fn a_filling_that_passes_a_piece_without_agreeing_voids_it() {
        let real = log(&[1, 1, 3, 3]);
        let mut log = pieces(&real[..1]);
        log.anchor(position(3, 2));
        log.anchor(position(4, 3));
        assert_eq!(spans(&log), [(0, 1), (3, 3), (4, 4)]);
        log.fill(position(1, 1), real[1..].to_vec()).expect("it fits");
        assert_eq!(spans(&log), [(0, 4)]);
    }

    #[test]
    fn entries_are_given_downwards_from_an_anchor_within_one_piece() {
        let whole = log(&[1, 1, 2, 2, 3]);
        let mut log = pieces(&whole[..3]);
        log.anchor(position(7, 3));
        let record = whole[0].record().len();
        let check = |anchor, after, bytes_max, expected: Option<(Position, &[Entry])>| {
            let given = log.up_to(anchor, Index(after), bytes_max);
            assert_eq!(given, expected.map(|(previous, entries)| (previous, entries.to_vec())), "{anchor}");
        };
        check(position(3, 2), 0, usize::MAX, Some((Position::ZERO, &whole[..3])));
        check(position(3, 2), 1, usize::MAX, Some((position(1, 1), &whole[1..3])));
        check(position(3, 2), 0, 2 * record, Some((position(1, 1), &whole[1..3])));
        check(position(2, 1), 0, 0, Some((position(1, 1), &whole[1..2])));
        check(position(3, 1), 0, usize::MAX, None);
        check(position(7, 3), 0, usize::MAX, None);
        check(position(3, 2), 3, usize::MAX, None);
    }
}
