//! Who votes, and how a leader brings that to what is wanted: one voter added or removed at a time, each change an entry
//! of the log (Raft thesis, chapter 4).
//!
//! A leader starts a change only when the one before is committed and an entry of its own term is too (Ongaro's
//! correction of 2015). A lost member is replaced in two changes: the old incarnation is removed when its successor has
//! caught up, and the successor promoted next. No majority is ever smaller than what lives.

use super::leading::Follower;
use super::{Engine, State};
use crate::bug::seeded;
use crate::{Effects, EntryKind, MemberId, Membership, Moment, Ordinal, Outcast};

impl Engine {
    /// Who votes: by the last change in the log, committed or not.
    pub(super) fn membership(&self) -> &Membership {
        if seeded!(self, MembershipFromCommit) {
            return self.memberships.at(self.commit);
        }
        self.memberships.current()
    }

    pub(super) fn majority(&self) -> usize {
        if seeded!(self, ElectionRoundsDown) && !self.membership().is_empty() {
            return self.membership().len().div_ceil(2);
        }
        if self.membership().is_empty() { usize::MAX } else { self.membership().majority() }
    }

    /// An entry was appended to the log; false if it claims to be a membership and is none.
    pub(super) fn note_membership(&mut self, entry: &crate::Entry) -> bool {
        if entry.kind() != EntryKind::Membership {
            return true;
        }
        let Some(membership) = Membership::decode(&entry.payload()) else { return false };
        self.memberships.push(entry.index(), membership);
        true
    }

    /// What is committed says who belongs to the store: it may have removed this member.
    pub(super) fn note_committed_membership(&mut self, effects: &mut Effects) {
        let committed = self.memberships.at(self.commit);
        let me = self.config.me;
        if committed.is_voter(me) {
            self.was_voter = true;
        } else if self.was_voter || committed.was_removed(me) {
            effects.outcast = Some(Outcast::Removed);
        }
    }

    /// At a leader, with every heartbeat: make the next change, if one is wanted and safe.
    pub(super) fn tend_membership(&mut self, now: Moment, effects: &mut Effects) {
        let State::Leading(leading) = &self.state else { return };
        let under_way = self.memberships.changed_at() > self.commit && !seeded!(self, ChangesOverlap);
        let committed_own = self.log.term_at(self.commit) == Some(self.hard_state.term);
        if under_way || !committed_own || leading.is_handing_over() {
            return;
        }
        // A lost voter is replaced first, if those who would be left without the surplus one need it.
        let surplus = self.surplus().filter(|surplus| {
            self.is_carried(&self.membership().without(surplus.ordinal), now) || *surplus == self.config.me
        });
        if let Some(surplus) = surplus {
            if surplus == self.config.me {
                // The next leader removes it.
                return self.hand_over(now, None, effects);
            }
            return self.change_membership(self.membership().without(surplus.ordinal), effects);
        }
        let wanted = self.others().filter(|ordinal| ordinal.0 < self.config.members);
        let change = wanted.filter_map(|ordinal| self.change_at(now, ordinal)).next();
        if let Some(membership) = change {
            self.change_membership(membership, effects);
        }
    }

    /// The highest voter that the store is not to have any more.
    fn surplus(&self) -> Option<MemberId> {
        self.membership().voters().filter(|voter| voter.ordinal.0 >= self.config.members).last()
    }

    /// The membership after the next change at `ordinal`, if whoever answers there is to become a voter.
    fn change_at(&self, now: Moment, ordinal: Ordinal) -> Option<Membership> {
        let State::Leading(leading) = &self.state else { return None };
        let membership = self.membership();
        let follower = &leading.followers[usize::from(ordinal.0)];
        let member = MemberId { ordinal, incarnation: follower.incarnation? };
        let caught_up = follower.durable >= leading.committed_at_heartbeat && self.is_heard(follower, now);
        if membership.is_voter(member) || membership.was_removed(member) || !caught_up {
            return None;
        }
        let Some(lost) = membership.voter(ordinal) else { return Some(membership.with(member)) };
        let without = membership.without(lost.ordinal);
        self.is_carried(&without, now).then_some(without)
    }

    /// Whether a majority of these voters lives: else a change to them would never be committed.
    fn is_carried(&self, membership: &Membership, now: Moment) -> bool {
        membership.voters().filter(|voter| self.lives(*voter, now)).count() >= membership.majority()
    }

    /// Whether this very voter was heard of within an election timeout; a leader hears itself.
    pub(super) fn lives(&self, voter: MemberId, now: Moment) -> bool {
        let State::Leading(leading) = &self.state else { return false };
        let follower = &leading.followers[usize::from(voter.ordinal.0)];
        voter == self.config.me
            || follower.incarnation == Some(voter.incarnation) && self.is_heard(follower, now)
    }

    fn is_heard(&self, follower: &Follower, now: Moment) -> bool {
        follower.heard.is_some_and(|heard| now - heard < self.config.election_timeout)
    }

    fn change_membership(&mut self, membership: Membership, effects: &mut Effects) {
        self.append_one(EntryKind::Membership, &membership.encode(), effects);
        self.replicate(effects);
    }
}
