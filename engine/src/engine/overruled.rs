//! Members that have committed what a person's forced start gave up: they notice, make sure, and go.
//!
//! In in-sync mode every primary has every committed entry, but for one that a person has made primary although it may lack
//! some. It writes others in their places, and whoever has committed the former ones is contradicted. Log matching shows it: an
//! entry of the leader's at a committed index has another term. Such a member acknowledges nothing: it would be taken in
//! with a state of its own. It refuses to take the leader's word for it, too: it asks the authority, which alone knows of the
//! order, and gives up only what is not later than the epoch that the order ended.

use std::iter;

use super::replication::Append;
use super::{Engine, State};
use crate::bug::seeded;
use crate::{
    Checkpoint, Configuration, Effects, Entry, Moment, Outcast, Position, Question, QuestionToken, Term,
    Verdict,
};

/// A leader contradicts what is committed here, and the authority was asked whether a person has ordered that.
#[derive(Clone, Copy, Debug)]
pub(super) struct Doubt {
    token: QuestionToken,
    /// Asked again after this, if the leader still contradicts.
    until: Moment,
}

impl Engine {
    /// Whether entries are not the ones that are committed here. Of the leader's log they need be no more than a part:
    /// at the latest its first entry of its own term is one that is not.
    pub(super) fn is_contradicted_by(&self, append: &Append) -> bool {
        let positions = iter::once(append.previous).chain(append.entries.iter().map(Entry::position));
        positions
            .take_while(|position| position.index <= self.commit)
            .any(|position| self.contradicts(position))
    }

    /// Whether a checkpoint is of another history than what is committed here.
    pub(super) fn is_contradicted_by_checkpoint(&self, checkpoint: &Checkpoint) -> bool {
        self.contradicts(checkpoint.position)
    }

    /// Whether a leader that has this in its log lacks something that is committed here.
    fn contradicts(&self, position: Position) -> bool {
        let base = self.log.base();
        if position.index > self.commit || !self.has_authority() || seeded!(self, OverruledGoesOn) {
            return false;
        }
        if position.index < base.index {
            // What was there is released; it was of no later term than the base.
            return position.term > base.term;
        }
        !self.log.contains(position)
    }

    /// The leader of this term contradicts what is committed here. There is no leader for this member until that is settled: whatever
    /// it asked that one, the answer would be about another state.
    pub(super) fn doubt(&mut self, now: Moment, term: Term, effects: &mut Effects) {
        if term == self.hard_state.term
            && (matches!(self.state, State::Leading(_)) || self.may_have_claimed())
        {
            return; // another leader in our own term: never, but bytes from the network prove nothing
        }
        self.follow(now, term.max(self.hard_state.term), None, effects);
        if self.doubt.is_some_and(|doubt| now < doubt.until) {
            return;
        }
        let token = self.ask_authority(Question::Read, effects);
        self.doubt = Some(Doubt { token, until: now + self.config.election_timeout });
    }

    /// The authority has answered a member that neither leads nor claims to.
    pub(super) fn doubt_answered(&mut self, token: QuestionToken, verdict: Verdict, effects: &mut Effects) {
        let doubted = self.doubt.is_some_and(|doubt| doubt.token == token);
        if let (State::Following { .. }, true, Verdict::Holds(Some(holds))) = (&self.state, doubted, verdict)
            && let Some(ended) = self.overruled_by(&holds)
        {
            effects.outcast = Some(Outcast::Overruled { ended, commit: self.commit });
        }
    }

    /// The epoch that a person has ended without what is committed here.
    fn overruled_by(&self, holds: &Configuration) -> Option<Term> {
        let own = self.formation.as_ref().is_some_and(|formation| formation.store == holds.store);
        let last = self.log.term_at(self.commit)?;
        // Whoever is in sync has what its primary has, whatever was ordered before.
        let counts = own && !holds.in_sync.is_voter(self.config.me);
        holds.forced.filter(|ended| counts && last <= *ended && *ended < holds.term)
    }
}
