//! One member's replication state and the step that changes it. What a step does is in the modules below, by concern.

mod checkpoint;
mod claim;
mod commit;
mod election;
mod formation;
mod hand_over;
mod in_sync;
mod leading;
mod membership;
mod overruled;
mod read;
mod repair;
mod replication;
mod status;
mod tickets;

use std::time::Duration;

use bytes::Bytes;

use self::claim::Claim;
use self::election::{Campaign, Refused};
use self::formation::Forming;
use self::leading::Leading;
use self::overruled::Doubt;
pub use self::repair::Given;
pub use self::status::{Peer, Status};
use self::tickets::Tickets;
use crate::bug::seeded;
use crate::entry::{EntryKind, RECORD_HEADER_BYTES, Records};
use crate::log::Log;
use crate::membership::Memberships;
use crate::quorum::OrdinalSet;
use crate::random::Random;
use crate::{
    Apply, Checkpoint, Config, Effects, Formation, HardState, Index, Input, MEMBERS_MAX, MemberId,
    Membership, Message, Moment, Ordinal, Position, ProposalToken, QuestionToken, Refusal, Restored, Role,
    Term, Verdict,
};

/// Bytes of proposals that share one piece of memory, which stays until the log has released the last of them: enough that
/// asking for it costs nothing, and little beside what a log keeps anyway.
const RECORDS_BYTES_MAX: usize = 256 * 1024;

/// One member's replication state: a Raft state machine with pre-votes, check-quorum, pipelined replication,
/// read-index and elections on connection loss.
///
/// Invariants:
/// - `commit <= executed <= log.last()` at a leader, `commit == executed` or executed entries are its own former ones
///   at others; `log.base() <= commit`.
/// - `durable` names an entry that is durable *and* still in the log; it falls when the log is cut.
/// - `matched <= log.last()`: up to there the log is the leader's of this term. `durable` is only reported below it.
/// - Nothing that a majority must remember leaves before its ticket: votes, and counting oneself.
#[derive(Debug)]
pub struct Engine {
    config: Config,
    random: Random,
    formation: Option<Formation>,
    memberships: Memberships,
    /// A committed membership had this member in it.
    was_voter: bool,
    hard_state: HardState,
    log: Log,
    /// The log is durable up to here.
    durable: Index,
    commit: Index,
    /// The owner's state has executed up to here; beyond `commit` it can be rolled back.
    executed: Index,
    state: State,
    /// Who leads in `hard_state.term`; `None` when unknown or given up on.
    leader: Option<MemberId>,
    /// When the leader was last heard of.
    leader_heard: Moment,
    /// The last pre-vote that was refused only because a leader was heard.
    refused: Option<Refused>,
    /// At a follower: its log is the leader's up to here.
    matched: Index,
    /// At a follower: the highest round seen from the leader of this term.
    round_seen: u64,
    /// The newest durable checkpoint of the owner's state.
    checkpoint: Option<Checkpoint>,
    /// The checkpoint that is being fetched, and from whom.
    fetching: Option<(MemberId, Checkpoint)>,
    tickets: Tickets,
    /// Whose connection ended and was not established anew.
    cut_off: OrdinalSet,
    /// The last question to the authority.
    asked: QuestionToken,
    /// Whether a leader contradicts what is committed here.
    doubt: Option<Doubt>,
    /// The role as the owner last heard it.
    reported: Role,
    /// When this step happens.
    now: Moment,
}

/// What a member is doing.
#[derive(Debug)]
enum State {
    /// Waiting for the store to be formed.
    Unformed(Forming),
    /// Following, or waiting for somebody to follow; campaigns at `deadline`. Learners stay here for ever.
    Following { deadline: Moment },
    /// Asking for pre-votes or votes.
    Campaigning(Campaign),
    /// Asking the authority to be made primary.
    Claiming(Claim),
    /// Ordering writes.
    Leading(Box<Leading>),
}

impl Engine {
    /// Start a member with what its disk remembers.
    ///
    /// # Panics
    ///
    /// If `config` is out of its ranges or `restored` is not contiguous: both are checked before they get here.
    pub fn new(config: Config, restored: Restored, now: Moment) -> Engine {
        assert!((1..=MEMBERS_MAX as u8).contains(&config.members), "{} members", config.members);
        assert!(usize::from(config.me.ordinal.0) < MEMBERS_MAX, "ordinal {}", config.me.ordinal);
        let first = match (&restored.formation, &restored.checkpoint) {
            (None, _) => Membership::default(),
            (Some(_), Some(checkpoint)) => checkpoint.membership,
            (Some(formation), None) => Membership::of(formation),
        };
        let mut memberships = Memberships::starting_with(first);
        let log = Log::restore(restored.checkpoint.map(|checkpoint| checkpoint.position), restored.entries);
        let start = restored.checkpoint.map_or(Index(0), |checkpoint| checkpoint.position.index);
        memberships.restore(log.after(start));
        let mut hard_state = restored.hard_state;
        if log.last().term > hard_state.term {
            // Only a member that keeps no votes on disk comes here: it starts after the terms it knows of.
            hard_state = HardState { term: log.last().term, voted_for: None };
        }
        let mut engine = Engine {
            random: Random::new(config.seed),
            was_voter: memberships.at(start).is_voter(config.me),
            memberships,
            formation: restored.formation,
            hard_state,
            durable: log.last().index,
            commit: start,
            executed: start,
            log,
            state: State::Unformed(Forming::new(now, restored.formed_before)),
            leader: None,
            leader_heard: Moment(0),
            refused: None,
            matched: Index(0),
            round_seen: 0,
            checkpoint: restored.checkpoint,
            fetching: None,
            tickets: Tickets::default(),
            cut_off: OrdinalSet::default(),
            asked: QuestionToken(0),
            doubt: None,
            reported: Role::default(),
            now,
            config,
        };
        if engine.formation.is_some() {
            engine.wait_to_campaign(now);
        }
        engine.reported = engine.role();
        engine
    }

    /// Let one thing happen, and add what follows from it to `effects`. `now` must not fall between steps.
    pub fn step(&mut self, now: Moment, input: Input, effects: &mut Effects) {
        self.now = now;
        match input {
            Input::Tick => {}
            Input::Receive { from, message } => self.receive(now, from, message, effects),
            Input::Connected { peer } => self.connected(now, peer, effects),
            Input::ConnectionLost { peer, left } => self.connection_lost(now, peer, left, effects),
            Input::Authority { token, verdict } => self.authority_answered(now, token, verdict, effects),
            Input::Propose { token, payload } => self.propose(token, &[payload], effects),
            Input::ProposeAll { first, payloads } => self.propose(first, &payloads, effects),
            Input::Read { token } => self.read(token, effects),
            Input::Durable { ticket } => self.became_durable(now, ticket, effects),
            Input::CheckpointTaken { checkpoint } => self.checkpoint_taken(checkpoint, effects),
            Input::CheckpointFetched { checkpoint } => self.checkpoint_fetched(checkpoint, effects),
            Input::CheckpointFailed if seeded!(self, FailedFetchForgotten) => {}
            Input::CheckpointFailed => self.fetching = None,
            Input::HandOver { to } => self.hand_over(now, to, effects),
        }
        if now >= self.deadline() {
            self.tick(now, effects);
        }
        let role = self.role();
        if role != self.reported {
            self.reported = role;
            effects.role = Some(role);
        }
    }

    /// When the engine wants its next [`Input::Tick`], if nothing else comes before.
    pub fn deadline(&self) -> Moment {
        match &self.state {
            State::Unformed(forming) => forming.deadline(),
            State::Following { deadline, .. } => *deadline,
            State::Campaigning(campaign) => campaign.deadline,
            State::Claiming(claim) => claim.deadline,
            State::Leading(leading) => leading.deadline(),
        }
    }

    /// Change the times while running. Takes effect with the next deadline that is set.
    pub fn retime(&mut self, heartbeat_interval: Duration, election_timeout: Duration) {
        self.config.heartbeat_interval = heartbeat_interval;
        self.config.election_timeout = election_timeout;
    }

    /// Change how many members the store is to have: `[1, MEMBERS_MAX]`. A leader adds and removes voters, one at a
    /// time, until it is so.
    pub fn resize(&mut self, members: u8) {
        assert!((1..=MEMBERS_MAX as u8).contains(&members), "{members} members");
        self.config.members = members;
    }

    /// Who votes by the log up to `index`, which must not lie before the newest checkpoint.
    pub fn membership_at(&self, index: Index) -> Membership {
        *self.memberships.at(index)
    }

    /// The highest term this member has seen.
    pub fn term(&self) -> Term {
        self.hard_state.term
    }

    /// The position of the log's entry at `index`; `None` where the log does not reach, or does not reach back any more.
    pub fn position_at(&self, index: Index) -> Option<Position> {
        self.log.position_at(index)
    }

    /// The log's entry at `index`, if it is in memory.
    pub fn entry(&self, index: Index) -> Option<crate::Entry> {
        self.log.get(index).cloned()
    }

    fn tick(&mut self, now: Moment, effects: &mut Effects) {
        match self.state {
            State::Unformed(_) => self.announce(now, effects),
            State::Following { .. } if self.has_authority() => self.claim(now, effects),
            State::Following { .. } | State::Campaigning(_) => self.campaign_if_voter(now, effects),
            State::Claiming(_) => self.claim(now, effects),
            State::Leading(_) => self.lead_on(now, effects),
        }
    }

    fn receive(&mut self, now: Moment, from: MemberId, message: Message, effects: &mut Effects) {
        if usize::from(from.ordinal.0) >= MEMBERS_MAX || from.ordinal == self.config.me.ordinal {
            return;
        }
        self.cut_off.remove(from.ordinal);
        if let Message::Announce { formation, answers } = message {
            return self.announced(from, formation, answers, effects);
        }
        if self.formation.is_none() || matches!(self.state, State::Unformed(_)) {
            return;
        }
        match message {
            Message::Announce { .. } => {}
            Message::PreVote { term, last, .. } => self.pre_vote(now, from, term, last, effects),
            Message::PreVoteReply { term, granted } => self.pre_vote_reply(now, from, term, granted, effects),
            // Nobody's vote counts where an authority decides.
            Message::Vote { .. } | Message::VoteReply { .. } if self.has_authority() => {}
            Message::Vote { term, last, cause } => self.vote(now, from, term, last, cause, effects),
            Message::VoteReply { term, granted } => self.vote_reply(now, from, term, granted, effects),
            Message::Append { term, previous, entries, commit, round, receipt, answer } => {
                let append = replication::Append { term, previous, entries, commit, round, receipt, answer };
                self.append(now, from, append, effects);
            }
            Message::AppendReply { term, outcome, round } => {
                self.append_reply(now, from, term, outcome, round, effects);
            }
            Message::CheckpointOffer { term, checkpoint } => {
                self.checkpoint_offer(now, from, term, checkpoint, effects);
            }
            Message::CampaignNow { term } => self.campaign_now(now, from, term, effects),
            Message::ReadIndex { token, .. } => self.read_index(from, token, effects),
            Message::ReadIndexReply { token, index, .. } => effects.reads.push((token, index)),
        }
    }

    /// Whether this very incarnation of `member` has a vote. Where an authority decides nobody has, and a higher term
    /// that anybody knows of is one that the authority has given.
    fn is_voter(&self, member: MemberId) -> bool {
        self.has_authority() || seeded!(self, AmnesiacVotes) || self.membership().is_voter(member)
    }

    fn authority_answered(
        &mut self,
        now: Moment,
        token: QuestionToken,
        verdict: Verdict,
        effects: &mut Effects,
    ) {
        match self.state {
            State::Claiming(_) => self.claim_answered(now, token, verdict, effects),
            State::Leading(_) => self.change_answered(now, token, verdict, effects),
            _ => self.doubt_answered(token, verdict, effects),
        }
    }

    /// Every ordinal but this member's own that has a member, may get one, or had one that is to learn of its removal.
    fn others(&self) -> impl Iterator<Item = Ordinal> + use<> {
        let (me, members, membership) = (self.config.me.ordinal, self.config.members, *self.membership());
        (0..MEMBERS_MAX as u8).map(Ordinal).filter(move |&ordinal| {
            let known = || membership.voter(ordinal).is_some() || membership.anybody_removed(ordinal);
            ordinal != me && (ordinal.0 < members || known())
        })
    }

    /// Enter a higher term, or fall back to following in this one.
    fn follow(&mut self, now: Moment, term: Term, leader: Option<MemberId>, effects: &mut Effects) {
        if let State::Leading(leading) = &mut self.state {
            if seeded!(self, DeposedAnswersReads) {
                leading.answer_unconfirmed(effects);
            }
            leading.give_up_reads(effects);
        }
        if term > self.hard_state.term {
            self.set_hard_state(HardState { term, voted_for: None }, tickets::Wait::Nothing, effects);
            self.round_seen = 0;
            self.matched = Index(0);
        }
        if self.leader != leader {
            self.matched = Index(0);
            self.round_seen = 0;
        }
        self.leader = leader;
        if leader.is_some() {
            self.leader_heard = now;
        }
        self.state = State::Following { deadline: now + self.patience() };
    }

    /// How long this member waits for word from a leader. The spread keeps members from campaigning at once; it may be
    /// small, because pre-votes change nothing and who asks too early asks again soon.
    fn patience(&mut self) -> Duration {
        let timeout = self.config.election_timeout;
        self.random.between(timeout, timeout + timeout / 4)
    }

    /// Append proposals, if this member leads, and send them on together.
    fn propose(&mut self, first: ProposalToken, payloads: &[Bytes], effects: &mut Effects) {
        let accepted = effects.accepted.len();
        let mut bytes_left: usize = payloads.iter().map(|payload| RECORD_HEADER_BYTES + payload.len()).sum();
        let mut records = Records::default();
        let mut next = self.log.last().index;
        for (payload, token) in payloads.iter().zip(first.0..) {
            let token = ProposalToken(token);
            if let Some(refusal) = self.refusal() {
                effects.refused.push((token, refusal));
                continue;
            }
            let bytes = RECORD_HEADER_BYTES + payload.len();
            if records.bytes() == 0 {
                records = Records::with_room(bytes_left.min(RECORDS_BYTES_MAX).max(bytes));
            }
            bytes_left -= bytes;
            next = next.next();
            let position = Position::new(self.hard_state.term, next);
            records.add(position, EntryKind::Command, payload);
            effects.accepted.push((token, position));
            if let State::Leading(leading) = &mut self.state {
                leading.uncommitted_bytes += bytes;
            }
            if records.bytes() >= RECORDS_BYTES_MAX {
                self.append_own(std::mem::take(&mut records), effects);
            }
        }
        self.append_own(records, effects);
        if effects.accepted.len() > accepted {
            self.replicate(effects);
        }
    }

    /// Why a proposal would not be taken now.
    fn refusal(&self) -> Option<Refusal> {
        match &self.state {
            State::Leading(leading) if leading.is_handing_over() => Some(Refusal::HandingOver),
            State::Leading(leading) if leading.uncommitted_bytes >= self.config.uncommitted_bytes_max => {
                Some(Refusal::Overloaded)
            }
            State::Leading(_) => None,
            _ => Some(Refusal::NotLeader { leader: self.leader }),
        }
    }

    /// Tell the owner to execute everything up to `index` that it has not executed yet.
    fn execute_up_to(&mut self, index: Index, effects: &mut Effects) {
        while self.executed < index {
            let entry =
                self.log.get(self.executed.next()).expect("an unexecuted entry is in the log").clone();
            self.executed = entry.index();
            effects.apply.push(Apply::Execute(entry));
        }
    }
}
