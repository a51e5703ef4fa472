//! Checkpoints: releasing the log behind them, and bringing far members up by them. Their bytes are the owner's.

use super::leading::Flow;
use super::tickets::Wait;
use super::{Engine, State};
use crate::bug::seeded;
use crate::membership::Memberships;
use crate::{Apply, Checkpoint, Effects, MemberId, Message, Moment, Ordinal, Term, Write};

impl Engine {
    /// The owner's state up to here is durable elsewhere: the log before it may go.
    pub(super) fn checkpoint_taken(&mut self, checkpoint: Checkpoint, effects: &mut Effects) {
        let index = checkpoint.position.index;
        assert!(index <= self.commit, "a checkpoint at {index} of what is committed up to {}", self.commit);
        if self.checkpoint.is_some_and(|newest| newest.position.index >= index) {
            return;
        }
        self.checkpoint = Some(checkpoint);
        self.memberships.cover(index);
        self.release_log(effects);
    }

    fn release_log(&mut self, effects: &mut Effects) {
        let Some(checkpoint) = self.checkpoint else { return };
        if let Some(released) = self.log.release(checkpoint.position.index, self.config.log_bytes_kept) {
            self.durable = self.durable.max(released);
            self.persist(Write::Release(released), Wait::Nothing, effects);
        }
    }

    /// At a leader: this follower needs what is released. Said again with every heartbeat until it has it.
    pub(super) fn offer_checkpoint(&mut self, ordinal: Ordinal, effects: &mut Effects) {
        let Some(checkpoint) = self.checkpoint else { return };
        let term = self.hard_state.term;
        let State::Leading(leading) = &mut self.state else { return };
        leading.follower(ordinal).flow = Flow::Checkpoint;
        effects.send.push((ordinal, Message::CheckpointOffer { term, checkpoint }));
    }

    pub(super) fn checkpoint_offer(
        &mut self,
        now: Moment,
        from: MemberId,
        term: Term,
        checkpoint: Checkpoint,
        effects: &mut Effects,
    ) {
        if term < self.hard_state.term {
            return;
        }
        if self.is_contradicted_by_checkpoint(&checkpoint) {
            return self.doubt(now, term, effects);
        }
        if !self.heard_leader(now, from, term, effects) {
            return;
        }
        if checkpoint.position.index <= self.commit {
            // What is committed here is in every later leader's log, unless a person has forced one: its entries will tell.
            let forced = self.has_authority() && !seeded!(self, OverruledGoesOn);
            let known = if forced { checkpoint.position.index } else { self.commit };
            self.matched = self.matched.max(known);
            return self.acknowledge(effects);
        }
        if self.fetching.is_none_or(|(source, _)| source != from) {
            self.fetching = Some((from, checkpoint));
            effects.fetch = Some((from, checkpoint));
        }
        // The leader counts us as alive by this.
        self.acknowledge(effects);
    }

    /// The fetched checkpoint is durable here: it replaces what it covers.
    pub(super) fn checkpoint_fetched(&mut self, checkpoint: Checkpoint, effects: &mut Effects) {
        self.fetching = None;
        let position = checkpoint.position;
        let newer = position.index > self.commit || seeded!(self, CheckpointOverNewerLog);
        if !newer || matches!(self.state, State::Leading(_) | State::Unformed(_)) {
            return;
        }
        if self.log.contains(position) {
            self.log.release(position.index, 0);
            self.memberships.cover(position.index);
            self.persist(Write::Release(position.index), Wait::Nothing, effects);
        } else {
            self.log.reset(position);
            if !seeded!(self, CheckpointForgetsMembership) {
                self.memberships = Memberships::starting_with(checkpoint.membership);
            }
            self.matched = position.index;
            self.durable = position.index;
            self.tickets.cut_after(position);
            self.persist(Write::Reset(position), Wait::Nothing, effects);
        }
        self.durable = self.durable.max(position.index);
        self.matched = self.matched.max(position.index);
        self.checkpoint = Some(checkpoint);
        self.commit = position.index;
        self.executed = position.index;
        effects.apply.push(Apply::Restore(checkpoint));
        if !self.has_authority() {
            // Who is not in sync is no less a member.
            self.note_committed_membership(effects);
        }
        self.acknowledge(effects);
    }
}
