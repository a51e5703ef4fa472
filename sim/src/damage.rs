//! What a start makes of a damaged disk, and how it is repaired from what other members can read.
//!
//! Damage never shortens a log: what is missing comes from whoever has the position behind the hole, because two logs that
//! hold the same position are the same up to there; or a checkpoint that covers it takes its place. A member that cannot know
//! what it voted, or how far its log went, goes on as somebody else.

use holdfast_engine::{HardState, Index, Position};

use crate::disk::{CheckpointFile, Disk};
use crate::flaw::ShellBug;
use crate::journal::{Entries, find, holds};

/// What a start finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// Everything that was acknowledged.
    Whole,
    /// Something has to be fetched first.
    Lacking(Need),
    /// It cannot be known what was acknowledged or voted: the member must go on as another one, with what it has.
    NotItself,
    /// It cannot be known whose disk this is.
    Nobodys,
}

/// What has to be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// The log up to this position.
    Entries {
        /// Where the log ended behind the hole.
        anchor: Position,
    },
    /// A checkpoint of this index at least.
    Checkpoint {
        /// The index.
        at_least: Index,
    },
}

/// What another member can read.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    pub(crate) pieces: Vec<Entries>,
    pub(crate) checkpoint: Option<CheckpointFile>,
}

/// What can become unreadable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Damage {
    /// So many blocks of the log, from this one on: rotten bits, or a page of an older segment.
    Blocks { first: usize, count: usize },
    /// The log's last block and the mark behind it.
    End,
    /// A write went to the wrong place: it is missing where it belongs, and destroyed what was where it went.
    Misdirected { over: usize },
    /// The newest checkpoint.
    Checkpoint,
    /// Both copies of the vote.
    Vote,
    /// Both copies of the identity.
    Identity,
}

impl Disk {
    /// Damage it.
    pub(crate) fn damage(&mut self, damage: Damage) {
        let blocks = self.journal.blocks();
        match damage {
            Damage::Blocks { first, count } => {
                (first..first + count).for_each(|block| self.journal.rot(block, false));
            }
            Damage::End => self.journal.rot(blocks.saturating_sub(1), true),
            Damage::Misdirected { over } => {
                self.journal.rot(over, false);
                self.journal.rot(blocks.saturating_sub(1), false);
            }
            Damage::Checkpoint => self.checkpoint_readable = self.checkpoint.is_none(),
            Damage::Vote => self.vote_readable = false,
            Damage::Identity => self.identity_readable = false,
        }
    }

    /// Whether anything on it cannot be read.
    pub(crate) fn is_damaged(&self) -> bool {
        let parts = self.identity_readable && self.vote_readable && self.checkpoint_readable;
        !parts || self.journal.is_damaged()
    }

    /// What a start finds. What the disk can make good from its own copies is made good.
    pub(crate) fn condition(&mut self) -> Condition {
        if !self.is_damaged() {
            return Condition::Whole;
        }
        if !self.identity_readable {
            // Every file is stamped, and a checkpoint knows how the store began.
            if self.checkpoint().is_none() {
                return Condition::Nobodys;
            }
            self.identity_readable = true;
        }
        if !self.vote_readable {
            if self.has(ShellBug::OlderVoteCopy) {
                self.hard_state = self.former_hard_state;
            } else if self.has(ShellBug::VoteLostKeepsName) {
                self.hard_state = HardState::default();
            } else {
                return Condition::NotItself;
            }
            self.vote_readable = true;
        }
        if let Some(condition) = self.checkpoint_condition() {
            return condition;
        }
        while self.journal.is_damaged() {
            if self.has(ShellBug::TruncatesAtDamage) {
                self.journal.cut_at_first_hole();
                break;
            }
            match self.journal.survey().anchors[0] {
                Some(anchor) if self.covers(anchor.index) => self.journal.fill_first_hole(Entries::new()),
                Some(anchor) => return Condition::Lacking(Need::Entries { anchor }),
                None if self.has(ShellBug::EndUnknownKeepsName) => self.journal.cut_at_first_hole(),
                None => return Condition::NotItself,
            }
        }
        Condition::Whole
    }

    fn checkpoint_condition(&mut self) -> Option<Condition> {
        let file = self.checkpoint.as_ref().filter(|_| !self.checkpoint_readable)?;
        let covered = file.checkpoint.position.index;
        let first = self.journal.log().front().map_or(covered.next(), |entry| entry.index());
        if first == Index(1) && !self.journal.is_damaged() {
            // The log alone says everything: the checkpoint is put aside.
            self.checkpoint = None;
            self.checkpoint_readable = true;
            return None;
        }
        // Damage may hide where the log begins; a checkpoint as new as the old one will do in any case.
        let at_least = if self.journal.is_damaged() { covered } else { first.previous() };
        Some(Condition::Lacking(Need::Checkpoint { at_least }))
    }

    fn covers(&self, index: Index) -> bool {
        self.checkpoint().is_some_and(|file| file.checkpoint.position.index >= index)
    }

    /// What this disk can give others: what is readable, or in the memory of the process that `runs` on it.
    pub(crate) fn offer(&self, runs: bool) -> Offer {
        let pieces = if runs { vec![self.journal.log().clone()] } else { self.journal.survey().pieces };
        Offer { pieces, checkpoint: self.checkpoint().cloned() }
    }

    /// Whether `offer` has what is needed; if so it is put in its place.
    pub(crate) fn repair(&mut self, need: Need, offer: &Offer) -> bool {
        let covering =
            |index| offer.checkpoint.clone().filter(|file| file.checkpoint.position.index >= index);
        match need {
            Need::Checkpoint { at_least } => {
                let Some(file) = covering(at_least) else { return false };
                self.put_checkpoint(file);
                true
            }
            Need::Entries { anchor } => {
                let survey = self.journal.survey();
                let covered = self.checkpoint().map_or(Index(0), |file| file.checkpoint.position.index);
                let fill = |piece| filling(&survey.pieces[0], covered, piece, anchor);
                if let Some(whole) = offer.pieces.iter().find_map(fill) {
                    self.journal.fill_first_hole(whole);
                    return true;
                }
                let Some(file) = covering(anchor.index) else { return false };
                self.put_checkpoint(file);
                self.journal.fill_first_hole(Entries::new());
                true
            }
        }
    }

    /// Go on as another member, with what can be read of the log up to the first hole.
    pub(crate) fn become_another(&mut self, incarnation: holdfast_engine::Incarnation) {
        self.incarnation = incarnation;
        (self.hard_state, self.former_hard_state) = Default::default();
        self.vote_readable = true;
        self.journal.cut_at_first_hole();
        if !self.checkpoint_readable {
            self.checkpoint = None;
            self.checkpoint_readable = true;
            self.journal.clear();
        }
    }
}

/// The whole log up to `anchor`: from `piece`, another member's, down to where it is ours (`prefix`), or to what is
/// `covered` by our checkpoint.
fn filling(prefix: &Entries, covered: Index, piece: &Entries, anchor: Position) -> Option<Entries> {
    if !holds(piece, anchor) {
        return None;
    }
    let mut from = anchor.index.next();
    let mut ours = 0;
    loop {
        let before = from.previous();
        if before <= covered {
            break;
        }
        let entry = find(piece, before)?;
        if holds(prefix, entry.position()) {
            ours = prefix.iter().take_while(|ours| ours.index() <= before).count();
            break;
        }
        from = before;
    }
    let theirs = piece.iter().filter(|entry| entry.index() >= from && entry.index() <= anchor.index);
    Some(prefix.iter().take(ours).chain(theirs).cloned().collect())
}

#[cfg(test)]
mod tests {
    use holdfast_engine::{Entry, EntryKind, Term};

    use super::*;

    fn log(terms: &[u64]) -> Entries {
        let entry = |(at, &term): (usize, &u64)| {
            Entry::new(Position::new(Term(term), Index(at as u64 + 1)), EntryKind::Noop, b"")
        };
        terms.iter().enumerate().map(entry).collect()
    }

    #[test]
    fn a_hole_is_filled_by_whoever_has_what_stands_behind_it() {
        let anchor = Position::new(Term(3), Index(5));
        let peer = log(&[1, 1, 2, 2, 3, 3]);
        let whole = filling(&log(&[1, 1]), Index(0), &peer, anchor);
        assert_eq!(whole, Some(log(&[1, 1, 2, 2, 3])));
        // What we had there was replaced, and the damage took the record of it.
        let whole = filling(&log(&[1, 1, 1, 1]), Index(0), &peer, anchor);
        assert_eq!(whole, Some(log(&[1, 1, 2, 2, 3])));
    }

    #[test]
    fn nobody_fills_a_hole_who_lacks_what_stands_behind_it() {
        let anchor = Position::new(Term(3), Index(5));
        assert_eq!(filling(&log(&[1, 1]), Index(0), &log(&[1, 1, 2, 2, 4]), anchor), None);
        let short: Entries = log(&[1, 1, 2, 2, 3]).split_off(3);
        assert_eq!(filling(&log(&[1, 1]), Index(0), &short, anchor), None, "it does not reach back");
        assert_eq!(filling(&log(&[1, 1]), Index(3), &short, anchor), Some(short));
    }
}
