//! Where an entry stands in the log, and who wrote it: [`Term`], [`Index`] and the pair of both.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A period with at most one leader. The first term in which anybody campaigns is 1; 0 means "none yet".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Term(pub u64);

/// A place in the log. The first entry has index 1; 0 stands before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Index(pub u64);

/// An entry's index together with the term it was written in.
///
/// Two logs that hold an entry at the same position hold the same entries up to it (Raft, log matching). The order
/// is the one that votes go by: first term, then index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    /// The term of the leader that wrote the entry.
    pub term: Term,
    /// The entry's place in the log.
    pub index: Index,
}

impl Term {
    /// The term after this one.
    pub fn next(self) -> Term {
        Term(self.0 + 1)
    }
}

impl Index {
    /// The index after this one.
    pub fn next(self) -> Index {
        Index(self.0 + 1)
    }

    /// The index before this one; the one before 0 is 0.
    pub fn previous(self) -> Index {
        Index(self.0.saturating_sub(1))
    }
}

impl Position {
    /// Before the first entry of every log.
    pub const ZERO: Position = Position { term: Term(0), index: Index(0) };

    /// The position of `index` as written in `term`.
    pub fn new(term: Term, index: Index) -> Position {
        Position { term, index }
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.index, self.term)
    }
}
