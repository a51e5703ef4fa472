//! What this member gives to another one that lost entries of its log: entries, or word that there are none.
//!
//! Log matching makes it safe: whoever holds the entry that the other's log held holds the same entries before it,
//! committed or not. What it refuses to do: say that an entry never was here if this member may have forgotten.

use super::Engine;
use crate::{Entry, Index, Position};

/// The answer to a member that lacks the entries up to one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    /// Entries that end with the one that was asked for, and the position before the first of them.
    Entries {
        /// Before the first.
        previous: Position,
        /// At least one.
        entries: Vec<Entry>,
    },
    /// The log begins behind it.
    Released,
    /// The log holds no such entry, and has forgotten none.
    Never,
    /// The log holds no such entry, but this member is no voter, and may be one that has forgotten.
    Unsure,
}

impl Engine {
    /// The entries after `after` up to `anchor`, from the end: as many as `bytes_max` allows, and at least one.
    pub fn give(&self, anchor: Position, after: Index, bytes_max: usize) -> Given {
        let base = self.log.base();
        if anchor.index <= base.index {
            return Given::Released;
        }
        if !self.log.contains(anchor) {
            return if self.is_voter(self.config.me) { Given::Never } else { Given::Unsure };
        }
        let (mut first, mut bytes) = (anchor.index, 0);
        for entry in (after.0.max(base.index.0) + 1..=anchor.index.0)
            .rev()
            .map_while(|index| self.log.get(Index(index)))
        {
            bytes += entry.record().len();
            if bytes > bytes_max && entry.index() != anchor.index {
                break;
            }
            first = entry.index();
        }
        let previous = self.log.position_at(first.previous()).expect("it is not before the base");
        let entries = self.log.after(previous.index).take((anchor.index.0 - previous.index.0) as usize);
        Given::Entries { previous, entries: entries.cloned().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, EntryKind, Formation, HardState, MemberId, Moment, Restored, StoreId, Term};

    fn position(index: u64, term: u64) -> Position {
        Position::new(Term(term), Index(index))
    }

    #[test]
    fn entries_are_given_downwards_from_an_anchor_that_is_here() {
        let terms = [1, 1, 2, 2, 3];
        let entries =
            (1..).zip(terms).map(|(index, term)| Entry::new(position(index, term), EntryKind::Command, b"x"));
        let entries = entries.collect::<Vec<_>>();
        let me = MemberId::default();
        let restored = |voters: Vec<MemberId>| Restored {
            formation: Some(Formation { store: StoreId(1), voters }),
            hard_state: HardState { term: Term(3), voted_for: None },
            entries: entries[1..].to_vec(),
            checkpoint: Some(crate::Checkpoint { position: position(1, 1), membership: Default::default() }),
            ..Restored::default()
        };
        let membership = crate::Membership::of(&Formation { store: StoreId(1), voters: vec![me] });
        let mut voter = restored(vec![me]);
        voter.checkpoint = Some(crate::Checkpoint { position: position(1, 1), membership });
        let voter = Engine::new(Config::default(), voter, Moment(0));
        let check = |anchor, after, bytes_max, expected: Option<(Position, &[Entry])>| {
            let expected =
                expected.map(|(previous, entries)| Given::Entries { previous, entries: entries.to_vec() });
            let given = voter.give(anchor, Index(after), bytes_max);
            assert_eq!(given, expected.unwrap_or(Given::Never), "{anchor}");
        };
        let record = entries[0].record().len();
        check(position(4, 2), 0, usize::MAX, Some((position(1, 1), &entries[1..4])));
        check(position(4, 2), 2, usize::MAX, Some((position(2, 1), &entries[2..4])));
        check(position(4, 2), 0, 2 * record, Some((position(2, 1), &entries[2..4])));
        check(position(4, 2), 0, 0, Some((position(3, 2), &entries[3..4])));
        check(position(4, 3), 0, usize::MAX, None);
        check(position(6, 3), 0, usize::MAX, None);
        assert_eq!(voter.give(position(1, 1), Index(0), 1), Given::Released);
        let other = MemberId { incarnation: crate::Incarnation(9), ..me };
        let learner = Engine::new(Config::default(), restored(vec![other]), Moment(0));
        assert_eq!(learner.give(position(6, 3), Index(0), 1), Given::Unsure);
    }
}
