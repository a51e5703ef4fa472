//! Who leads in in-sync mode: whoever the authority makes primary.
//!
//! A member that lost its leader asks the others whether they lost it too, as before a vote: a hint that saves a change,
//! no more. Then it reads what the authority holds and asks to be primary in a term of its own. From then on it takes
//! nothing more of the leader before it, until it knows what became of that: what was asked may have happened. A member
//! that is not in sync never asks; what the authority forgot is not made up again.

use std::time::Duration;

use super::tickets::Wait;
use super::{Engine, State};
use crate::bug::seeded;
use crate::quorum::OrdinalSet;
use crate::{
    CampaignCause, Configuration, Consensus, Effects, HardState, Index, MemberId, Membership, Message,
    Moment, Question, QuestionToken, Term, Verdict,
};

/// After a lost connection the others are asked this often in quick succession: they may notice the same loss a little
/// later. After that the pace is that of timeouts.
const QUICK_TRIES: u32 = 10;

/// How long a quick try waits for them.
const QUICK_WAIT: Duration = Duration::from_millis(2);

/// Members that neither answer nor are known to be gone are asked so often before they are not waited for any longer. A
/// member that is cut off itself hears nobody: by then its leader has taken it out, and is not deposed by it.
const SILENT_TRIES: u32 = 8;

/// How long nobody claims after it has let another one go first: about what a change at the authority takes there.
const AFTER_YOU: Duration = Duration::from_millis(50);

/// The first pause before a question is asked again; doubled with each try up to a quarter of the election timeout.
pub(super) const ASK_AGAIN: Duration = Duration::from_millis(10);

/// An attempt to become primary.
#[derive(Debug)]
pub(super) struct Claim {
    cause: CampaignCause,
    /// The leader that fell silent: it is not waited for.
    lost: Option<MemberId>,
    stage: Stage,
    /// Attempts since the last leader, this one not counted.
    tries: u32,
    /// When to go on without an answer.
    pub(super) deadline: Moment,
}

#[derive(Debug)]
enum Stage {
    /// Asking the others whether they still hear a leader; who said no, and whether one said yes.
    Others { lost_it_too: OrdinalSet, refused: bool },
    /// Asking what the authority holds.
    Reading(QuestionToken),
    /// Asking to be primary.
    Changing(QuestionToken, Box<Configuration>),
    /// Made primary; the term is on its way to the disk.
    Made(Box<Configuration>),
}

impl Engine {
    /// Whether an authority decides who leads.
    pub(super) fn has_authority(&self) -> bool {
        matches!(self.config.consensus, Consensus::InSync { .. })
    }

    /// The least number of members that stay in sync.
    pub(super) fn in_sync_min(&self) -> usize {
        match self.config.consensus {
            Consensus::InSync { min } => usize::from(min.max(1)),
            Consensus::Majority => 1,
        }
    }

    /// Ask the authority something new.
    pub(super) fn ask_authority(&mut self, question: Question, effects: &mut Effects) -> QuestionToken {
        self.asked = QuestionToken(self.asked.0 + 1);
        effects.questions.push((self.asked, question));
        self.asked
    }

    /// A claim's deadline, or that of waiting for a leader, has come.
    pub(super) fn claim(&mut self, now: Moment, effects: &mut Effects) {
        let (cause, lost, tries) = match &self.state {
            State::Claiming(Claim { stage: Stage::Others { refused: false, .. }, tries, .. })
                if *tries >= SILENT_TRIES =>
            {
                return self.read_authority(now, effects);
            }
            State::Claiming(Claim { cause, lost, tries, stage: Stage::Others { .. }, .. }) => {
                (*cause, *lost, tries + 1)
            }
            State::Claiming(Claim { stage: Stage::Reading(_), cause: CampaignCause::HandOver, .. }) => {
                return self.stay_with_leader(now, effects);
            }
            State::Claiming(Claim { stage: Stage::Reading(_), .. }) => {
                return self.read_authority(now, effects);
            }
            State::Claiming(Claim { stage: Stage::Made(_), .. }) => return,
            State::Claiming(Claim { stage: Stage::Changing(_, to), .. }) => {
                let to = **to;
                return self.ask_to_lead(now, to, effects);
            }
            // Without a leader the connection was lost, or there never was one; with one, it fell silent.
            _ if self.leader.is_none() => (CampaignCause::ConnectionLost, None, 0),
            _ => (CampaignCause::Timeout, self.leader, 0),
        };
        self.leader = None;
        let timeout = self.config.election_timeout;
        let quick = cause == CampaignCause::ConnectionLost && tries < QUICK_TRIES;
        let (from, to) = if quick { (QUICK_WAIT, 4 * QUICK_WAIT) } else { (timeout / 8, timeout / 4) };
        let deadline = now + self.random.between(from, to);
        let stage = Stage::Others { lost_it_too: OrdinalSet::default(), refused: false };
        self.state = State::Claiming(Claim { cause, lost, stage, tries, deadline });
        let message = Message::PreVote { term: self.hard_state.term.next(), last: self.log.last(), cause };
        effects.send.extend(self.others().map(|ordinal| (ordinal, message.clone())));
        self.read_if_all_lost_it(now, effects);
    }

    /// One of the others has said whether it still hears a leader.
    pub(super) fn claim_heard(&mut self, now: Moment, from: MemberId, lost_it: bool, effects: &mut Effects) {
        let State::Claiming(Claim { stage: Stage::Others { lost_it_too, refused }, .. }) = &mut self.state
        else {
            return;
        };
        if lost_it {
            lost_it_too.insert(from.ordinal);
            self.read_if_all_lost_it(now, effects);
        } else {
            *refused = true;
        }
    }

    /// Who cannot be reached is not waited for.
    fn read_if_all_lost_it(&mut self, now: Moment, effects: &mut Effects) {
        let State::Claiming(Claim { stage: Stage::Others { lost_it_too, refused: false }, lost, .. }) =
            &self.state
        else {
            return;
        };
        let gone =
            |ordinal| self.cut_off.contains(ordinal) || lost.is_some_and(|lost| lost.ordinal == ordinal);
        if self.others().all(|ordinal| lost_it_too.contains(ordinal) || gone(ordinal)) {
            self.read_authority(now, effects);
        }
    }

    fn read_authority(&mut self, now: Moment, effects: &mut Effects) {
        let token = self.ask_authority(Question::Read, effects);
        self.wait_for_authority(now, Stage::Reading(token));
    }

    fn ask_to_lead(&mut self, now: Moment, to: Configuration, effects: &mut Effects) {
        let token = self.ask_authority(Question::Change(Box::new(to)), effects);
        self.wait_for_authority(now, Stage::Changing(token, Box::new(to)));
    }

    /// An answer that does not come in time counts as unknown.
    fn wait_for_authority(&mut self, now: Moment, next: Stage) {
        let patience = 2 * self.config.election_timeout;
        let State::Claiming(claim) = &mut self.state else { return };
        claim.stage = next;
        claim.tries = claim.tries.saturating_add(1);
        claim.deadline = now + patience;
    }

    /// The leader hands over to this member: the others need not be asked.
    pub(super) fn claim_now(&mut self, now: Moment, effects: &mut Effects) {
        self.leader = None;
        let stage = Stage::Others { lost_it_too: OrdinalSet::default(), refused: false };
        let cause = CampaignCause::HandOver;
        self.state = State::Claiming(Claim { cause, lost: None, stage, tries: 0, deadline: now });
        self.read_authority(now, effects);
    }

    /// The authority does not answer who was handed over to: nothing was asked to change, and the leader goes on leading.
    fn stay_with_leader(&mut self, now: Moment, effects: &mut Effects) {
        self.follow(now, self.hard_state.term, None, effects);
    }

    /// Whether this member has asked to lead, so that it may lead already: nothing of the term before counts any more.
    pub(super) fn may_have_claimed(&self) -> bool {
        let State::Claiming(claim) = &self.state else { return false };
        matches!(claim.stage, Stage::Changing(..) | Stage::Made(_)) || claim.cause == CampaignCause::HandOver
    }

    /// The authority has answered a claim.
    pub(super) fn claim_answered(
        &mut self,
        now: Moment,
        token: QuestionToken,
        verdict: Verdict,
        effects: &mut Effects,
    ) {
        let State::Claiming(claim) = &mut self.state else { return };
        let changing = match &claim.stage {
            Stage::Reading(asked) if *asked == token => None,
            Stage::Changing(asked, to) if *asked == token => Some(**to),
            _ => return,
        };
        match (verdict, changing) {
            (Verdict::Unknown, None) if claim.cause == CampaignCause::HandOver => {
                self.stay_with_leader(now, effects);
            }
            (Verdict::Unknown, _) => {
                let pause = ASK_AGAIN * (1 << claim.tries.min(8));
                let pause = pause.min(self.config.election_timeout / 4);
                claim.deadline = now + self.random.between(pause, 2 * pause);
            }
            (Verdict::Changed, Some(to)) => self.made_primary(now, to, effects),
            // An earlier request of the same content has come through.
            (Verdict::Holds(Some(holds)), Some(to)) if *holds == to => self.made_primary(now, to, effects),
            (Verdict::Holds(Some(holds)), _) => self.consider(now, *holds, effects),
            (Verdict::Holds(None), None) => self.consider_first(now, effects),
            (Verdict::Holds(None) | Verdict::Changed, _) => self.give_way(now, Term(0), effects),
        }
    }

    /// The authority holds nothing: this store has never had a primary, unless somebody deleted what it held.
    fn consider_first(&mut self, now: Moment, effects: &mut Effects) {
        let me = self.config.me;
        let Some(formation) = &self.formation else { return };
        let founders = Membership::of(formation);
        let untouched = self.log.last().index == Index(0) && self.hard_state.term == Term(0);
        if !founders.is_voter(me) || !(untouched || seeded!(self, MakesAuthorityUpAgain)) {
            return self.give_way(now, Term(0), effects);
        }
        let store = formation.store;
        let term = self.hard_state.term.next();
        let to = Configuration { store, version: 1, term, primary: me, in_sync: founders, forced: None };
        self.ask_to_lead(now, to, effects);
    }

    /// The authority holds this: ask to lead, if this member may.
    fn consider(&mut self, now: Moment, holds: Configuration, effects: &mut Effects) {
        let me = self.config.me;
        let State::Claiming(Claim { cause, .. }) = self.state else { return };
        let own = self.formation.as_ref().is_some_and(|formation| formation.store == holds.store);
        // A term that is lower than one that was seen is not what the authority once held.
        let gone_back = holds.term < self.hard_state.term && !seeded!(self, BelievesOlderAuthority);
        let known_as_another = holds.in_sync.voter(me.ordinal).is_some();
        let mistaken = seeded!(self, AmnesiacClaims) && known_as_another;
        let in_sync = holds.in_sync.is_voter(me) || mistaken || seeded!(self, AnyoneClaims);
        // There is a newer primary than the one that was lost: it makes itself heard.
        let newer = holds.term > self.hard_state.term
            && holds.primary != me
            && !self.cut_off.contains(holds.primary.ordinal);
        if !own || gone_back || !in_sync || newer {
            return self.give_way(now, holds.term, effects);
        }
        let mut next = holds.in_sync;
        if cause != CampaignCause::HandOver && holds.primary != me && next.len() > self.in_sync_min() {
            next = Membership::only(next.voters().filter(|voter| *voter != holds.primary));
        }
        let term = if seeded!(self, SecondLifeKeepsTerm) && holds.primary == me {
            holds.term
        } else {
            holds.term.max(self.hard_state.term).next()
        };
        let to = Configuration { version: holds.version + 1, term, primary: me, in_sync: next, ..holds };
        self.ask_to_lead(now, to, effects);
    }

    /// Somebody else leads, or nobody can: wait to hear of it.
    fn give_way(&mut self, now: Moment, term: Term, effects: &mut Effects) {
        self.follow(now, term.max(self.hard_state.term), None, effects);
    }

    /// Nothing of the new term leaves before the term is durable. A member that forgot it would acknowledge the former
    /// primary's entries again, after others have replaced theirs by its own.
    fn made_primary(&mut self, now: Moment, configuration: Configuration, effects: &mut Effects) {
        if configuration.term <= self.hard_state.term && !seeded!(self, SecondLifeKeepsTerm) {
            return self.give_way(now, configuration.term, effects); // overtaken while it waited
        }
        let term = configuration.term;
        let State::Claiming(claim) = &mut self.state else { return };
        claim.stage = Stage::Made(Box::new(configuration));
        claim.deadline = Moment(u64::MAX);
        self.set_hard_state(HardState { term, voted_for: None }, Wait::Primary { term }, effects);
    }

    /// The term that this member was made primary in is durable.
    pub(super) fn lead_in(&mut self, now: Moment, term: Term, effects: &mut Effects) {
        let State::Claiming(Claim { stage: Stage::Made(configuration), .. }) = &self.state else { return };
        if configuration.term == term && self.hard_state.term == term {
            let configuration = **configuration;
            self.lead_as(now, configuration, effects);
        }
    }

    /// Another member goes first: it has asked whether this one lost the leader too, and it has.
    pub(super) fn after_you(&mut self, now: Moment) {
        let later = now + AFTER_YOU.min(self.config.election_timeout / 4);
        match &mut self.state {
            State::Following { deadline } => *deadline = later.max(*deadline),
            State::Claiming(Claim { stage: Stage::Others { .. }, deadline, .. }) => *deadline = later,
            _ => {}
        }
    }
}
