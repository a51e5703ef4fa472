//! What a primary does about who is in sync: everybody who must have an entry before it is committed.
//!
//! It takes out who fell silent and takes in who has caught up, one change at a time, by compare-and-set at the
//! authority. Until a change is known to have happened, an entry needs everybody of before *and* after it. A member that
//! is to be taken in counts before the authority is asked, and the authority is asked when the member has everything
//! that is committed: whoever the authority holds to be in sync may lead next.

use std::time::Duration;

use super::claim::ASK_AGAIN;
use super::leading::{Follower, Leading};
use super::{Engine, State};
use crate::bug::seeded;
use crate::{
    Configuration, Effects, EntryKind, Index, MemberId, Membership, Moment, Ordinal, Question, QuestionToken,
    Verdict,
};

/// So long after its connection ended a member is given to come back before it is taken out: about two of a dialer's
/// first tries.
pub(super) const RECONNECT: Duration = Duration::from_millis(50);

/// Who is in sync, as its primary knows.
#[derive(Debug)]
pub(super) struct InSync {
    /// What the authority held last, for sure.
    known: Configuration,
    /// The change that was asked for. It may have happened.
    pending: Option<Pending>,
    /// Who is to be taken in, and until when it is waited for.
    joining: Option<(MemberId, Moment)>,
    /// Everybody who must have an entry: of all three.
    required: Membership,
    /// The primary's first entry: whatever was committed before stands before it.
    first: Index,
    /// When this member became primary: who was not heard of since then may not know it yet.
    since: Moment,
    /// When to look again, if a connection ended.
    look: Option<Moment>,
    /// When the authority was asked last whether this member is still primary.
    checked: Moment,
    /// That question, until it is answered.
    check: Option<QuestionToken>,
}

#[derive(Debug)]
struct Pending {
    to: Configuration,
    token: QuestionToken,
    tries: u32,
    deadline: Moment,
}

impl InSync {
    pub(super) fn new(known: Configuration, first: Index, since: Moment) -> InSync {
        InSync {
            required: known.in_sync,
            known,
            pending: None,
            joining: None,
            first,
            since,
            look: None,
            checked: since,
            check: None,
        }
    }

    /// Who must have an entry before it is committed, and confirm a read. `None` while a member may or may not have been replaced
    /// by its next life: no one of the two can stand for both.
    pub(super) fn required(&self) -> Option<&Membership> {
        let pending = self.pending.as_ref().map(|pending| pending.to.in_sync);
        let replaces = |member: MemberId| {
            self.known.in_sync.voter(member.ordinal).is_some_and(|former| former != member)
        };
        let settled = !pending.is_some_and(|pending| pending.voters().any(replaces));
        settled.then_some(&self.required)
    }

    /// What the authority held last.
    pub(super) fn known(&self) -> &Configuration {
        &self.known
    }

    pub(super) fn deadline(&self) -> Moment {
        let pending = self.pending.as_ref().map(|pending| pending.deadline);
        pending.into_iter().chain(self.look).min().unwrap_or(Moment(u64::MAX))
    }

    /// A member's connection ended: look after it then.
    pub(super) fn look_at(&mut self, then: Moment) {
        self.look = Some(self.look.map_or(then, |look| look.min(then)));
    }

    fn settle(&mut self) {
        let pending = self.pending.as_ref().map(|pending| pending.to.in_sync);
        let joining = self.joining.map(|(member, _)| member);
        let more = pending.into_iter().flat_map(|pending| pending.voters()).chain(joining);
        let known = self.known.in_sync;
        let mut required = known;
        for member in more.filter(|member| known.voter(member.ordinal).is_none()) {
            if required.voter(member.ordinal).is_none() {
                required = required.with(member);
            }
        }
        self.required = required;
    }
}

impl Leading {
    /// Everybody who was heard of, and the leader itself: whose copies a write concern counts.
    pub(super) fn holders(&self, me: MemberId, members: u8) -> Membership {
        let heard = (0..members).map(Ordinal).filter_map(|ordinal| {
            let incarnation = self.followers[usize::from(ordinal.0)].incarnation?;
            (ordinal != me.ordinal).then_some(MemberId { ordinal, incarnation })
        });
        Membership::only(heard.chain([me]))
    }
}

impl Engine {
    /// At a primary: who is in sync.
    fn in_sync(&self) -> Option<&InSync> {
        let State::Leading(leading) = &self.state else { return None };
        leading.in_sync.as_ref()
    }

    /// Lead, as the authority has it.
    pub(super) fn lead_as(&mut self, now: Moment, configuration: Configuration, effects: &mut Effects) {
        let first = self.log.last().index.next();
        self.lead(now, Some(InSync::new(configuration, first, now)), effects);
        let State::Leading(leading) = &mut self.state else { return };
        for ordinal in self.cut_off.iter() {
            leading.follower(ordinal).gone = Some(now + RECONNECT);
        }
        if !self.cut_off.is_empty()
            && let Some(in_sync) = &mut leading.in_sync
        {
            in_sync.look_at(now + RECONNECT);
        }
        self.write_down_in_sync(effects);
        self.replicate(effects);
    }

    /// The log says who is in sync, for everybody to see; who decides is the authority.
    fn write_down_in_sync(&mut self, effects: &mut Effects) {
        let Some(in_sync) = self.in_sync() else { return };
        let now_in_sync = in_sync.known.in_sync;
        if now_in_sync != *self.membership() {
            self.append_one(EntryKind::Membership, &now_in_sync.encode(), effects);
        }
    }

    /// At a primary, with every heartbeat and whenever something may have changed: take out who is gone, take in who has
    /// caught up, ask again what was not answered.
    pub(super) fn tend_in_sync(&mut self, now: Moment, effects: &mut Effects) {
        let State::Leading(leading) = &mut self.state else { return };
        let Some(in_sync) = &mut leading.in_sync else { return };
        if in_sync.look.is_some_and(|look| now >= look) {
            in_sync.look = None;
        }
        if let Some(pending) = &in_sync.pending {
            if now >= pending.deadline {
                let to = pending.to;
                self.ask_for_change(now, to, effects);
            }
            return;
        }
        if let Some(smaller) = self.without_the_lost(now) {
            return self.ask_for_change(now, smaller, effects);
        }
        self.check_authority(now, effects);
        if self.config.me.ordinal.0 >= self.config.members && self.leave(now, effects) {
            // The next primary takes this one out.
            return;
        }
        self.take_in(now, effects);
    }

    /// Ask whether this member is still primary if it waits for somebody whom it cannot take out: that one may have been made
    /// primary itself, and have lost its disk before it said so to anybody.
    fn check_authority(&mut self, now: Moment, effects: &mut Effects) {
        let Some(in_sync) = self.in_sync() else { return };
        let mut others = in_sync.known.in_sync.voters().filter(|voter| *voter != self.config.me);
        let waits = others.any(|voter| !self.is_in_touch(voter, now));
        if !waits || now - in_sync.checked < self.config.election_timeout {
            return;
        }
        let token = self.ask_authority(Question::Read, effects);
        let State::Leading(leading) = &mut self.state else { return };
        let Some(in_sync) = &mut leading.in_sync else { return };
        (in_sync.checked, in_sync.check) = (now, Some(token));
    }

    /// Hand over to whoever can lead, if there is one.
    fn leave(&mut self, now: Moment, effects: &mut Effects) -> bool {
        let hands_over = |engine: &Engine| {
            let State::Leading(leading) = &engine.state else { return false };
            leading.is_handing_over()
        };
        if !hands_over(self) {
            self.hand_over(now, None, effects);
        }
        hands_over(self)
    }

    /// The configuration without who is not there, or not to be there, any more; `None` if it is the same.
    fn without_the_lost(&self, now: Moment) -> Option<Configuration> {
        let in_sync = self.in_sync()?;
        let known = in_sync.known;
        let mut spare = known.in_sync.len().saturating_sub(self.in_sync_min());
        let kept: Vec<MemberId> = known
            .in_sync
            .voters()
            .filter(|voter| {
                let stays = *voter == self.config.me
                    || voter.ordinal.0 < self.config.members && self.is_in_touch(*voter, now);
                let goes = !stays && spare > 0;
                spare -= usize::from(goes);
                !goes
            })
            .collect();
        (kept.len() < known.in_sync.len()).then(|| self.next_configuration(&known, Membership::only(kept)))
    }

    fn next_configuration(&self, known: &Configuration, in_sync: Membership) -> Configuration {
        Configuration { version: known.version + 1, in_sync, ..*known }
    }

    /// Whether this very member was heard of lately, its connection has not ended, and its disk goes on.
    pub(super) fn is_in_touch(&self, member: MemberId, now: Moment) -> bool {
        let State::Leading(leading) = &self.state else { return false };
        let Some(in_sync) = &leading.in_sync else { return false };
        let follower = &leading.followers[usize::from(member.ordinal.0)];
        let another = follower.incarnation.is_some_and(|incarnation| incarnation != member.incarnation);
        let heard = follower.heard.unwrap_or(in_sync.since);
        let gone = follower.gone.is_some_and(|until| now >= until);
        let stalls = follower.owes.is_some_and(|since| now - since >= self.config.disk_stall_max);
        !another && !gone && !stalls && now - heard < self.config.election_timeout
    }

    /// Take in one member that has caught up. It counts from now on, and the authority is asked when it has everything
    /// that is committed.
    fn take_in(&mut self, now: Moment, effects: &mut Effects) {
        let candidate = self.others().find_map(|ordinal| self.candidate(ordinal, now));
        let mut committed = self.commit;
        let knows_less = seeded!(self, TakesInBeforeFirstCommit);
        let patience = self.config.election_timeout;
        let State::Leading(leading) = &mut self.state else { return };
        if leading.is_handing_over() {
            return;
        }
        let Leading { followers, in_sync: Some(in_sync), .. } = &mut **leading else { return };
        if !knows_less {
            committed = committed.max(in_sync.first);
        }
        if let Some((member, until)) = in_sync.joining {
            let follower = &followers[usize::from(member.ordinal.0)];
            let same = follower.incarnation == Some(member.incarnation);
            if !same || follower.gone.is_some() || now >= until {
                // It was never asked for: nobody counts on it.
                in_sync.joining = None;
                in_sync.settle();
                self.required_changed(effects);
                return;
            }
        } else if let Some(candidate) = candidate {
            in_sync.joining = Some((candidate, now + patience));
            in_sync.settle();
        }
        let Some((member, _)) = in_sync.joining else { return };
        let follower = &followers[usize::from(member.ordinal.0)];
        if follower.durable >= committed || seeded!(self, TakesInWhoLags) {
            let known = in_sync.known;
            let others = known.in_sync.voters().filter(|voter| voter.ordinal != member.ordinal);
            let to = self.next_configuration(&known, Membership::only(others.chain([member])));
            self.ask_for_change(now, to, effects);
        }
    }

    /// Who answers at `ordinal`, if it is to be in sync, is not, and has nearly everything.
    fn candidate(&self, ordinal: Ordinal, now: Moment) -> Option<MemberId> {
        let State::Leading(leading) = &self.state else { return None };
        let in_sync = leading.in_sync.as_ref()?;
        let follower: &Follower = &leading.followers[usize::from(ordinal.0)];
        let member = MemberId { ordinal, incarnation: follower.incarnation? };
        // Who could not be taken out, because too few would stay, is replaced by its next life. Nothing is committed until it
        // is known which of the two counts.
        let place = in_sync.known.in_sync.voter(ordinal);
        let free = place.is_none_or(|former| former != member) && ordinal.0 < self.config.members;
        let near = follower.durable >= leading.committed_at_heartbeat || seeded!(self, TakesInWhoLags);
        (free && near && follower.gone.is_none() && self.lives(member, now)).then_some(member)
    }

    /// A member has more: it may be the one that is to be taken in.
    pub(super) fn tend_in_sync_of(&mut self, ordinal: Ordinal, effects: &mut Effects) {
        let Some(in_sync) = self.in_sync() else { return };
        if in_sync.joining.is_some_and(|(member, _)| member.ordinal == ordinal) {
            self.tend_in_sync(self.now, effects);
        }
    }

    fn ask_for_change(&mut self, now: Moment, to: Configuration, effects: &mut Effects) {
        let token = self.ask_authority(Question::Change(Box::new(to)), effects);
        let patience = 2 * self.config.election_timeout;
        let State::Leading(leading) = &mut self.state else { return };
        let Some(in_sync) = &mut leading.in_sync else { return };
        let tries = in_sync.pending.as_ref().map_or(0, |pending| pending.tries.saturating_add(1));
        in_sync.pending = Some(Pending { to, token, tries, deadline: now + patience });
        in_sync.settle();
        if seeded!(self, CountsWhenTakenIn) {
            in_sync.required = in_sync.known.in_sync;
        }
        if seeded!(self, ActsOnUnsettledChange) {
            in_sync.required = to.in_sync;
            self.required_changed(effects);
        }
    }

    /// The authority has answered a primary.
    pub(super) fn change_answered(
        &mut self,
        now: Moment,
        token: QuestionToken,
        verdict: Verdict,
        effects: &mut Effects,
    ) {
        let timeout = self.config.election_timeout;
        let State::Leading(leading) = &mut self.state else { return };
        let Some(in_sync) = &mut leading.in_sync else { return };
        if in_sync.check == Some(token) {
            in_sync.check = None;
            let own = [Some(in_sync.known), in_sync.pending.as_ref().map(|pending| pending.to)];
            if let Verdict::Holds(Some(holds)) = verdict
                && !own.contains(&Some(*holds))
            {
                self.follow(now, holds.term.max(self.hard_state.term), None, effects);
            }
            return;
        }
        let Some(pending) = &mut in_sync.pending else { return };
        if pending.token != token {
            return;
        }
        let to = pending.to;
        match verdict {
            Verdict::Unknown if seeded!(self, UnknownIsDone) => self.changed(now, to, effects),
            Verdict::Unknown => {
                let pause = (ASK_AGAIN * (1 << pending.tries.min(8))).min(timeout / 4);
                pending.deadline = now + self.random.between(pause, 2 * pause);
            }
            Verdict::Changed => self.changed(now, to, effects),
            // An earlier request of the same content has come through.
            Verdict::Holds(Some(holds)) if *holds == to => self.changed(now, to, effects),
            Verdict::Holds(holds) => {
                if seeded!(self, DeposedGoesOn) {
                    in_sync.pending = None;
                    return in_sync.settle();
                }
                // Somebody else was made primary, or somebody has tampered with it: this member knows nothing for sure.
                let term = holds.map_or(self.hard_state.term, |holds| holds.term);
                self.follow(now, term.max(self.hard_state.term), None, effects);
            }
        }
    }

    fn changed(&mut self, now: Moment, to: Configuration, effects: &mut Effects) {
        let State::Leading(leading) = &mut self.state else { return };
        let Some(in_sync) = &mut leading.in_sync else { return };
        in_sync.known = to;
        in_sync.pending = None;
        in_sync.joining = None;
        in_sync.settle();
        self.write_down_in_sync(effects);
        self.required_changed(effects);
        self.replicate(effects);
        self.tend_in_sync(now, effects);
    }

    /// Other members decide now: look again what they all have.
    fn required_changed(&mut self, effects: &mut Effects) {
        self.advance_commit(effects);
        self.confirm_reads(effects);
    }
}
