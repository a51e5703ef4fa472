//! Which positions the log on disk holds, without the entries themselves.
//!
//! What it refuses to do: touch the disk.

use std::collections::VecDeque;

use holdfast_engine::{Index, Position, Term};

/// The positions in `(start, end]`. A term is kept once for all entries that it wrote.
///
/// Invariants: terms rise along `runs`; every run begins after `start` and not after `end`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    start: Position,
    end: Index,
    /// The first index of each term.
    runs: VecDeque<(Index, Term)>,
}

impl Span {
    /// An empty log that goes on after `start`.
    pub(crate) fn new(start: Position) -> Span {
        Span { start, end: start.index, runs: VecDeque::new() }
    }

    pub(crate) fn start(&self) -> Position {
        self.start
    }

    pub(crate) fn end(&self) -> Position {
        Position::new(self.runs.back().map_or(self.start.term, |run| run.1), self.end)
    }

    /// Whether an entry at `position` can follow.
    pub(crate) fn accepts(&self, position: Position) -> bool {
        position.index == self.end.next() && position.term >= self.end().term
    }

    /// Add the next entry.
    ///
    /// # Panics
    ///
    /// If it cannot follow.
    pub(crate) fn push(&mut self, position: Position) {
        assert!(self.accepts(position), "{position} after {}", self.end());
        if self.runs.back().is_none_or(|run| run.1 < position.term) {
            self.runs.push_back((position.index, position.term));
        }
        self.end = position.index;
    }

    /// Drop the entries after `keep`, which is in `[start, end]`.
    pub(crate) fn cut(&mut self, keep: Index) {
        assert!((self.start.index..=self.end).contains(&keep), "cut to {keep}");
        while self.runs.back().is_some_and(|run| run.0 > keep) {
            self.runs.pop_back();
        }
        self.end = keep;
    }

    /// Drop the entries up to `start`, which the log holds or starts at.
    pub(crate) fn release(&mut self, start: Position) {
        assert!(self.contains(start), "release of {start}");
        while self.runs.get(1).is_some_and(|run| run.0 <= start.index.next()) {
            self.runs.pop_front();
        }
        if start.index == self.end {
            self.runs.clear();
        } else if let Some(first) = self.runs.front_mut() {
            first.0 = first.0.max(start.index.next());
        }
        self.start = start;
    }

    /// The term of the entry at `index`; `None` outside `[start, end]`.
    pub(crate) fn term_at(&self, index: Index) -> Option<Term> {
        if index == self.start.index {
            return Some(self.start.term);
        }
        if index < self.start.index || index > self.end {
            return None;
        }
        self.runs.iter().rev().find(|run| run.0 <= index).map(|run| run.1)
    }

    /// Whether the log holds the entry at `position`, or begins right after it.
    pub(crate) fn contains(&self, position: Position) -> bool {
        self.term_at(position.index) == Some(position.term)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(index: u64, term: u64) -> Position {
        Position::new(Term(term), Index(index))
    }

    /// The span, and the plain list of positions that it stands for.
    fn check(span: &Span, start: Position, positions: &[Position]) {
        assert_eq!(span.start(), start);
        assert_eq!(span.end(), positions.last().copied().unwrap_or(start));
        for index in 0..20 {
            let expected =
                std::iter::once(&start).chain(positions).find(|p| p.index.0 == index).map(|p| p.term);
            assert_eq!(span.term_at(Index(index)), expected, "{index} in {span:?}");
        }
    }

    #[test]
    fn it_stands_for_the_list_of_positions() {
        let start = position(3, 1);
        let mut span = Span::new(start);
        check(&span, start, &[]);
        let mut list = Vec::new();
        for (index, term) in [(4, 1), (5, 1), (6, 2), (7, 5), (8, 5), (9, 6)] {
            span.push(position(index, term));
            list.push(position(index, term));
            check(&span, start, &list);
        }
        for keep in (3..=9).rev() {
            let mut cut = span.clone();
            cut.cut(Index(keep));
            check(&cut, start, &list[..keep as usize - 3]);
        }
        for released in 0..list.len() {
            let mut rest = span.clone();
            rest.release(list[released]);
            check(&rest, list[released], &list[released + 1..]);
        }
    }

    #[test]
    fn only_what_follows_is_accepted() {
        let mut span = Span::new(position(3, 2));
        assert!(span.accepts(position(4, 2)) && span.accepts(position(4, 9)));
        assert!(
            !span.accepts(position(5, 2)) && !span.accepts(position(4, 1)) && !span.accepts(position(3, 2))
        );
        span.push(position(4, 5));
        assert!(span.accepts(position(5, 5)) && !span.accepts(position(5, 4)));
    }
}
