//! Who leads: pre-votes, votes, and when to ask for them.
//!
//! Raft (Ongaro, Ousterhout 2014) with the pre-vote of the thesis (9.6) and its lease against disruption (4.2.3).
//! A member that lost its leader's *connection* forgets the leader without a new term, so that it may grant pre-votes
//! and ask for them at once; members that still hear the leader refuse, so one broken link deposes nobody.

use std::time::Duration;

use super::tickets::Wait;
use super::{Engine, State};
use crate::bug::seeded;
use crate::quorum::OrdinalSet;
use crate::{CampaignCause, Effects, HardState, MemberId, Message, Moment, Ordinal, Position, Term};

/// After a lost connection pre-votes are asked for this often in quick succession: the other followers may notice the
/// same loss a little later. After that the pace is that of timeouts.
const QUICK_TRIES: u32 = 10;

/// How long a quick try waits for the others to notice the loss themselves.
const QUICK_RETRY: Duration = Duration::from_millis(2);

/// How long a refused pre-vote is remembered: a quick candidate asks again by then.
const REFUSAL_REMEMBERED: Duration = Duration::from_millis(8);

/// How long a quick candidate waits for votes, each of which costs one write to disk, before it takes them for split.
/// Doubled with each try: slow disks must not make every vote come too late.
const QUICK_VOTE: Duration = Duration::from_millis(10);

/// A pre-vote that was refused because a leader was heard, which may be gone already.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refused {
    at: Moment,
    by: Ordinal,
    term: Term,
    last: Position,
}

/// An attempt to become leader.
#[derive(Debug)]
pub(super) struct Campaign {
    cause: CampaignCause,
    stage: Stage,
    granted: OrdinalSet,
    /// Attempts since the last leader, this one not counted.
    tries: u32,
    /// When to try again.
    pub(super) deadline: Moment,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Asking who would vote; nothing has changed yet.
    PreVote,
    /// Asking for votes in the term that is now ours.
    Vote,
}

impl Engine {
    /// After a start: campaign soon, the lowest ordinal first. If there is a leader its followers will refuse, and it
    /// makes itself heard.
    pub(super) fn wait_to_campaign(&mut self, now: Moment) {
        self.campaign_after(now, self.config.me.ordinal.0);
    }

    fn campaign_after(&mut self, now: Moment, others: u8) {
        let deadline = now + self.config.campaign_stagger * u32::from(others);
        self.state = State::Following { deadline };
    }

    pub(super) fn connection_lost(&mut self, now: Moment, peer: MemberId, left: bool, effects: &mut Effects) {
        self.cut_off.insert(peer.ordinal);
        match &mut self.state {
            State::Leading(leading) => leading.disconnected(peer, now, left),
            State::Following { .. } if self.leader == Some(peer) => {
                self.leader = None;
                // The one that is gone need not be waited for, and one that has asked already is about to win.
                let me = self.config.me.ordinal;
                let before = me.0 - u8::from(peer.ordinal < me && !self.has_authority());
                let granted = self.grant_after_all(now, effects);
                self.campaign_after(now, before + 2 * u8::from(granted));
            }
            _ => {}
        }
    }

    /// A member that noticed the loss of the leader a moment earlier has asked already: without this it would ask again
    /// only after milliseconds. Says whether there was one.
    fn grant_after_all(&mut self, now: Moment, effects: &mut Effects) -> bool {
        let Some(Refused { at, by, term, last }) = self.refused.take() else { return false };
        let possible = term > self.hard_state.term && self.log_is_at_least_ours(last);
        let granted = possible && now - at <= REFUSAL_REMEMBERED;
        if granted {
            effects.send.push((by, Message::PreVoteReply { term, granted }));
        }
        granted
    }

    pub(super) fn campaign_if_voter(&mut self, now: Moment, effects: &mut Effects) {
        if !self.is_voter(self.config.me) && !seeded!(self, LearnerCampaigns) {
            let deadline = now + self.config.election_timeout;
            self.state = State::Following { deadline };
            return;
        }
        let (cause, tries) = match &self.state {
            State::Campaigning(campaign) => (campaign.cause, campaign.tries + 1),
            // Without a leader the connection was lost, or there never was one; with one, it fell silent.
            State::Following { .. } if self.leader.is_none() => (CampaignCause::ConnectionLost, 0),
            _ => (CampaignCause::Timeout, 0),
        };
        self.leader = None;
        self.ask_for_pre_votes(now, cause, tries, effects);
    }

    fn ask_for_pre_votes(&mut self, now: Moment, cause: CampaignCause, tries: u32, effects: &mut Effects) {
        let timeout = self.config.election_timeout;
        let wait = if cause == CampaignCause::ConnectionLost && tries < QUICK_TRIES {
            self.random.between(QUICK_RETRY, 4 * QUICK_RETRY)
        } else {
            self.random.between(timeout / 8, timeout / 4)
        };
        let mut granted = OrdinalSet::default();
        granted.insert(self.config.me.ordinal);
        let campaign = Campaign { cause, stage: Stage::PreVote, granted, tries, deadline: now + wait };
        self.state = State::Campaigning(campaign);
        if self.majority() == 1 || seeded!(self, SkipsPreVote) {
            return self.ask_for_votes(now, effects);
        }
        let message = Message::PreVote { term: self.hard_state.term.next(), last: self.log.last(), cause };
        effects.send.extend(self.others().map(|ordinal| (ordinal, message.clone())));
    }

    fn ask_for_votes(&mut self, now: Moment, effects: &mut Effects) {
        let State::Campaigning(campaign) = &mut self.state else { return };
        let timeout = self.config.election_timeout;
        let wait = if campaign.cause == CampaignCause::ConnectionLost && campaign.tries < QUICK_TRIES {
            let quick = (QUICK_VOTE * (1 << campaign.tries)).min(timeout / 4);
            self.random.between(quick, (3 * quick).min(timeout / 2))
        } else {
            self.random.between(timeout / 4, timeout / 2)
        };
        campaign.stage = Stage::Vote;
        if !seeded!(self, PreVotesCountAsVotes) {
            campaign.granted = OrdinalSet::default();
        }
        campaign.deadline = now + wait;
        let cause = campaign.cause;
        let term = self.hard_state.term.next();
        let hard_state = HardState { term, voted_for: Some(self.config.me) };
        self.set_hard_state(hard_state, Wait::OwnVote { term }, effects);
        let message = Message::Vote { term, last: self.log.last(), cause };
        effects.send.extend(self.others().map(|ordinal| (ordinal, message.clone())));
    }

    /// The leader hands over to this member: no pre-vote, it has seen to that.
    pub(super) fn campaign_now(&mut self, now: Moment, from: MemberId, term: Term, effects: &mut Effects) {
        let asked_by_leader = term == self.hard_state.term && self.leader == Some(from);
        if !asked_by_leader || !self.is_voter(self.config.me) || matches!(self.state, State::Leading(_)) {
            return;
        }
        if self.has_authority() {
            return self.claim_now(now, effects);
        }
        self.leader = None;
        let cause = CampaignCause::HandOver;
        self.state = State::Campaigning(Campaign {
            cause,
            stage: Stage::PreVote,
            granted: OrdinalSet::default(),
            tries: 0,
            deadline: now,
        });
        self.ask_for_votes(now, effects);
    }

    /// Whether a leader was heard of within an election timeout: votes that would disrupt it are refused.
    fn hears_leader(&self, now: Moment) -> bool {
        match self.state {
            State::Leading(_) => true,
            _ => self.leader.is_some() && now - self.leader_heard < self.config.election_timeout,
        }
    }

    fn asks_for_pre_votes(&self) -> bool {
        matches!(&self.state, State::Campaigning(campaign) if campaign.stage == Stage::PreVote)
    }

    fn log_is_at_least_ours(&self, last: Position) -> bool {
        seeded!(self, VoteIgnoresLog) || last >= self.log.last()
    }

    /// Who asks and who is asked need not know each other as voters: the last change of the membership may not have
    /// reached them yet. Who counts is the candidate's to know (Raft thesis, 4.1).
    pub(super) fn pre_vote(
        &mut self,
        now: Moment,
        from: MemberId,
        term: Term,
        last: Position,
        effects: &mut Effects,
    ) {
        // An authority does not ask for logs.
        let log_will_do = self.has_authority() || self.log_is_at_least_ours(last);
        let possible = term > self.hard_state.term && log_will_do;
        let granted = possible && !self.hears_leader(now);
        if possible && !granted && !self.has_authority() {
            self.refused = Some(Refused { at: now, by: from.ordinal, term, last });
        }
        if granted && self.has_authority() {
            self.after_you(now);
        } else if granted && from.ordinal < self.config.me.ordinal && self.asks_for_pre_votes() {
            // Two that ask at once would both go on to votes, and split them. The lower one goes first.
            self.campaign_after(now, 2);
        }
        let term = if granted { term } else { self.hard_state.term };
        effects.send.push((from.ordinal, Message::PreVoteReply { term, granted }));
    }

    pub(super) fn pre_vote_reply(
        &mut self,
        now: Moment,
        from: MemberId,
        term: Term,
        granted: bool,
        effects: &mut Effects,
    ) {
        if !self.is_voter(from) {
            return;
        }
        if self.has_authority() && (granted || term <= self.hard_state.term) {
            return self.claim_heard(now, from, granted, effects);
        }
        if !granted {
            if term > self.hard_state.term {
                self.follow(now, term, None, effects);
                self.wait_to_campaign(now);
            }
            return;
        }
        let majority = self.majority();
        let expected = self.hard_state.term.next();
        let State::Campaigning(campaign) = &mut self.state else { return };
        if campaign.stage != Stage::PreVote || term != expected {
            return;
        }
        campaign.granted.insert(from.ordinal);
        if campaign.granted.len() >= majority {
            self.ask_for_votes(now, effects);
        }
    }

    pub(super) fn vote(
        &mut self,
        now: Moment,
        from: MemberId,
        term: Term,
        last: Position,
        cause: CampaignCause,
        effects: &mut Effects,
    ) {
        if term < self.hard_state.term {
            let reply = Message::VoteReply { term: self.hard_state.term, granted: false };
            effects.send.push((from.ordinal, reply));
            return;
        }
        if term > self.hard_state.term {
            if self.hears_leader(now) && cause != CampaignCause::HandOver {
                return;
            }
            self.follow(now, term, None, effects);
        }
        let free =
            self.hard_state.voted_for.is_none_or(|voted_for| voted_for == from) || seeded!(self, VoteTwice);
        if !free || !self.log_is_at_least_ours(last) || self.leader.is_some() {
            effects.send.push((from.ordinal, Message::VoteReply { term, granted: false }));
            return;
        }
        let hard_state = HardState { term, voted_for: Some(from) };
        self.set_hard_state(hard_state, Wait::Vote { to: from, term }, effects);
        if seeded!(self, VoteBeforeDurable) {
            effects.send.push((from.ordinal, Message::VoteReply { term, granted: true }));
        }
        if let State::Following { deadline, .. } = &mut self.state {
            let timeout = self.config.election_timeout;
            *deadline = now + self.random.between(timeout / 2, timeout);
        }
    }

    pub(super) fn vote_reply(
        &mut self,
        now: Moment,
        from: MemberId,
        term: Term,
        granted: bool,
        effects: &mut Effects,
    ) {
        if !self.is_voter(from) {
            return;
        }
        if term > self.hard_state.term {
            self.follow(now, term, None, effects);
            return;
        }
        if granted && term == self.hard_state.term {
            self.count_vote(now, from, effects);
        }
    }

    pub(super) fn own_vote_counts(&mut self, now: Moment, term: Term, effects: &mut Effects) {
        if term == self.hard_state.term {
            self.count_vote(now, self.config.me, effects);
        }
    }

    fn count_vote(&mut self, now: Moment, from: MemberId, effects: &mut Effects) {
        let majority = self.majority();
        let State::Campaigning(campaign) = &mut self.state else { return };
        if campaign.stage != Stage::Vote {
            return;
        }
        campaign.granted.insert(from.ordinal);
        if campaign.granted.len() >= majority {
            self.lead(now, None, effects);
        }
    }
}
