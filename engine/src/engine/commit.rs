//! What is committed: the rule of majority mode, and telling the owner.

use super::replication::Send;
use super::{Engine, State};
use crate::bug::seeded;
use crate::quorum;
use crate::{Apply, Effects, Index, MEMBERS_MAX, Progress};

impl Engine {
    /// At a leader: commit what a majority has durable, if it is of this term (Raft, 5.4.2), and report progress.
    pub(super) fn advance_commit(&mut self, effects: &mut Effects) {
        let State::Leading(leading) = &self.state else { return };
        let membership = self.membership();
        let own = if seeded!(self, LeaderCountsItselfEarly) { self.log.last().index } else { self.durable };
        let mut positions = [Index(0); MEMBERS_MAX];
        for (slot, voter) in positions.iter_mut().zip(membership.voters()) {
            let follower = &leading.followers[usize::from(voter.ordinal.0)];
            *slot = if voter == self.config.me {
                own
            } else if follower.incarnation == Some(voter.incarnation) || seeded!(self, AmnesiacVotes) {
                if seeded!(self, CommitOnWritten) { follower.written } else { follower.durable }
            } else {
                Index(0)
            };
        }
        let durable_on = quorum::reached_by(&positions[..membership.len()]);
        let needed =
            if seeded!(self, CommitOnHalf) { (membership.len() / 2).max(1) } else { membership.majority() };
        let on_majority = durable_on[needed - 1];
        let own_term = self.log.term_at(on_majority) == Some(self.hard_state.term)
            || seeded!(self, CommitCountsOldTerms);
        let voters = membership.len() as u8;
        if on_majority > self.commit && own_term {
            self.commit_as_leader(on_majority, effects);
        }
        effects.progress =
            Some(Progress { term: self.hard_state.term, commit: self.commit, durable_on, voters });
    }

    fn commit_as_leader(&mut self, index: Index, effects: &mut Effects) {
        let committed_bytes = self.log.bytes_between(self.commit, index);
        self.set_commit(index, effects);
        let State::Leading(leading) = &mut self.state else { return };
        if !seeded!(self, UncommittedBytesLeak) {
            leading.uncommitted_bytes = leading.uncommitted_bytes.saturating_sub(committed_bytes);
        }
        self.start_waiting_reads(effects);
        // Followers hold linearizable reads until they know of the commit: tell them now, not with the next heartbeat.
        for ordinal in self.others() {
            self.send_entries(ordinal, Send::Commit, effects);
        }
    }

    /// At a follower: the leader has committed up to `index`, which this member has.
    pub(super) fn commit_as_follower(&mut self, index: Index, effects: &mut Effects) {
        if index > self.commit {
            self.execute_up_to(index, effects);
            self.set_commit(index, effects);
        }
    }

    fn set_commit(&mut self, index: Index, effects: &mut Effects) {
        self.commit = index;
        if let Some(Apply::Commit(before)) = effects.apply.last_mut() {
            *before = index;
        } else {
            effects.apply.push(Apply::Commit(index));
        }
        self.note_committed_membership(effects);
    }
}
