//! Which term the entries that the state has executed are of, so that a checkpoint can be named by its position.

use std::collections::VecDeque;

use holdfast_engine::{Index, Position, Term};

/// The terms of executed entries, as runs: each element is the first position of its term that is known.
#[derive(Debug)]
pub(super) struct Terms {
    runs: VecDeque<Position>,
}

impl Terms {
    /// The state is at `start`.
    pub(super) fn after(start: Position) -> Terms {
        Terms { runs: VecDeque::from([start]) }
    }

    /// The entry at `position` was executed.
    pub(super) fn executed(&mut self, position: Position) {
        if self.runs.back().is_none_or(|run| run.term != position.term) {
            self.runs.push_back(position);
        }
    }

    /// What was executed after `index` was undone.
    pub(super) fn rolled_back(&mut self, index: Index) {
        while self.runs.len() > 1 && self.runs.back().is_some_and(|run| run.index > index) {
            self.runs.pop_back();
        }
    }

    /// Nobody will ask about entries before `index` any more.
    pub(super) fn forget_before(&mut self, index: Index) {
        while self.runs.get(1).is_some_and(|run| run.index <= index) {
            self.runs.pop_front();
        }
    }

    /// The position of the executed entry at `index`.
    pub(super) fn position(&self, index: Index) -> Position {
        let run = self.runs.iter().rev().find(|run| run.index <= index);
        Position::new(run.map_or(Term(0), |run| run.term), index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(term: u64, index: u64) -> Position {
        Position::new(Term(term), Index(index))
    }

    #[test]
    fn every_executed_entry_has_its_term() {
        let mut terms = Terms::after(at(2, 10));
        for position in [at(2, 11), at(3, 12), at(3, 13), at(5, 14)] {
            terms.executed(position);
        }
        for position in [at(2, 10), at(2, 11), at(3, 12), at(3, 13), at(5, 14)] {
            assert_eq!(terms.position(position.index), position);
        }
        terms.rolled_back(Index(12));
        terms.executed(at(6, 13));
        assert_eq!(terms.position(Index(12)), at(3, 12));
        assert_eq!(terms.position(Index(13)), at(6, 13));
        terms.forget_before(Index(12));
        assert_eq!(terms.position(Index(12)), at(3, 12));
        assert_eq!(terms.runs.len(), 2);
    }
}
