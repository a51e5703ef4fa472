//! What is committed: by which rule, and telling the owner.

use super::leading::Follower;
use super::replication::Send;
use super::{Engine, State};
use crate::bug::seeded;
use crate::quorum;
use crate::{Apply, Effects, Index, MEMBERS_MAX, MemberId, Membership, Progress};

impl Engine {
    /// At a leader: commit what enough members have durable, if it is of this term (Raft, 5.4.2), and report progress.
    /// Enough are a majority of the voters, or all that are in sync.
    pub(super) fn advance_commit(&mut self, effects: &mut Effects) {
        let State::Leading(leading) = &self.state else { return };
        let in_sync = leading.in_sync.as_ref();
        let counted = match in_sync {
            Some(_) => leading.holders(self.config.me, self.config.members),
            None => *self.membership(),
        };
        let on_each = self.durable_on_each(&counted);
        let durable_on = quorum::reached_by(&on_each[..counted.len()]);
        let mut durable_by = [Index(0); MEMBERS_MAX];
        for (index, member) in on_each.iter().zip(counted.voters()) {
            durable_by[usize::from(member.ordinal.0)] = *index;
        }
        let needed =
            if seeded!(self, CommitOnHalf) { (counted.len() / 2).max(1) } else { counted.majority() };
        let (on_enough, voters, commit_from) = match in_sync {
            Some(in_sync) => {
                let on_all = in_sync.required().and_then(|required| {
                    let on_each = self.durable_on_each(required);
                    on_each[..required.len()].iter().min().copied()
                });
                (on_all.unwrap_or_default(), self.config.members, 2)
            }
            None => (durable_on[needed - 1], counted.len() as u8, counted.majority() as u8),
        };
        let own_term =
            self.log.term_at(on_enough) == Some(self.hard_state.term) || seeded!(self, CommitCountsOldTerms);
        if on_enough > self.commit && own_term {
            self.commit_as_leader(on_enough, effects);
        }
        let (term, commit) = (self.hard_state.term, self.commit);
        effects.progress = Some(Progress { term, commit, durable_on, durable_by, voters, commit_from });
    }

    /// How far each of `members` has the log durable, as this leader knows.
    fn durable_on_each(&self, members: &Membership) -> [Index; MEMBERS_MAX] {
        let own = if seeded!(self, LeaderCountsItselfEarly) { self.log.last().index } else { self.durable };
        self.of_each(members, own, |follower| {
            if seeded!(self, CommitOnWritten) { follower.written } else { follower.durable }
        })
    }

    /// A figure of each of `members`, of this leader its `own`; nothing of those that were not heard of.
    pub(super) fn of_each<T: Copy + Default>(
        &self,
        members: &Membership,
        own: T,
        figure: impl Fn(&Follower) -> T,
    ) -> [T; MEMBERS_MAX] {
        let mut figures = [T::default(); MEMBERS_MAX];
        let State::Leading(leading) = &self.state else { return figures };
        let heard = |member: MemberId, follower: &Follower| {
            follower.incarnation == Some(member.incarnation) || seeded!(self, AmnesiacVotes)
        };
        for (slot, member) in figures.iter_mut().zip(members.voters()) {
            let follower = &leading.followers[usize::from(member.ordinal.0)];
            *slot = if member == self.config.me {
                own
            } else if heard(member, follower) {
                figure(follower)
            } else {
                T::default()
            };
        }
        figures
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
        if !self.has_authority() {
            self.note_committed_membership(effects);
        }
    }
}
