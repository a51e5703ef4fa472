//! What a leader keeps: each follower's progress, the rounds that prove its leadership, and its own deadlines.

use std::collections::VecDeque;

use super::hand_over::HandOver;
use super::in_sync::{InSync, RECONNECT};
use super::read::Reads;
use super::replication::Send;
use super::{Engine, State};
use crate::bug::seeded;
use crate::entry::{RECORD_HEADER_BYTES, Records};
use crate::{
    Effects, Entry, EntryKind, Incarnation, Index, MEMBERS_MAX, MemberId, Moment, Ordinal, Position,
};

/// A leader's state. It is dropped with the leadership.
#[derive(Debug)]
pub(super) struct Leading {
    pub(super) followers: [Follower; MEMBERS_MAX],
    pub(super) next_heartbeat: Moment,
    /// When to look whether a majority was heard of since the last look.
    pub(super) quorum_check: Moment,
    pub(super) reads: Reads,
    pub(super) hand_over: Option<HandOver>,
    /// Who is in sync, where an authority decides.
    pub(super) in_sync: Option<InSync>,
    pub(super) uncommitted_bytes: usize,
    /// What was committed when the last heartbeat went out: who has it all is caught up.
    pub(super) committed_at_heartbeat: Index,
}

/// How far one follower is, as its leader knows.
#[derive(Clone, Debug)]
pub(super) struct Follower {
    /// Which life of the ordinal this is about; `None` until it was heard of.
    pub(super) incarnation: Option<Incarnation>,
    pub(super) flow: Flow,
    /// The next index to send.
    pub(super) next: Index,
    /// It has the log up to here, at least in memory.
    pub(super) written: Index,
    /// It has the log durable up to here. Never falls for one incarnation.
    pub(super) durable: Index,
    /// The highest round that it confirmed.
    pub(super) round: u64,
    pub(super) heard: Option<Moment>,
    /// Its connection ended, and it is given until then to come back; `None` once it is heard of again.
    pub(super) gone: Option<Moment>,
    /// Since when it has not flushed anything although it lacks something; `None` if it lacks nothing.
    pub(super) owes: Option<Moment>,
}

/// How entries go to a follower.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// Looking for the end of what both logs share: one message at a time; `sent` until the next heartbeat.
    Probe { sent: bool },
    /// Entries are sent ahead of their acknowledgement; the last index of each message under way.
    Replicate { in_flight: VecDeque<Index> },
    /// It needs entries that are released: it fetches a checkpoint.
    Checkpoint,
}

impl Follower {
    fn new(next: Index) -> Follower {
        Follower {
            incarnation: None,
            flow: Flow::Probe { sent: false },
            next,
            written: Index(0),
            durable: Index(0),
            round: 0,
            heard: None,
            gone: None,
            owes: None,
        }
    }

    /// It says how far it has flushed; the log ends with `last`.
    pub(super) fn flushed(&mut self, now: Moment, durable: Index, last: Index) {
        self.owes = match self.owes {
            _ if durable >= last => None,
            Some(since) if durable <= self.durable => Some(since),
            _ => Some(now),
        };
    }

    /// Look again for the end of what both logs share: what was under way may be lost.
    fn probe(&mut self) {
        if let Flow::Replicate { .. } = self.flow {
            self.next = self.written.next();
        }
        self.flow = Flow::Probe { sent: false };
    }
}

impl Leading {
    pub(super) fn deadline(&self) -> Moment {
        let hand_over = self.hand_over.as_ref().map_or(Moment(u64::MAX), |hand_over| hand_over.deadline);
        let in_sync = self.in_sync.as_ref().map_or(Moment(u64::MAX), InSync::deadline);
        self.next_heartbeat.min(self.quorum_check).min(hand_over).min(in_sync)
    }

    pub(super) fn follower(&mut self, ordinal: Ordinal) -> &mut Follower {
        &mut self.followers[usize::from(ordinal.0)]
    }

    /// Begin anew with a peer: what was under way is lost. Another incarnation has nothing.
    pub(super) fn meet(&mut self, peer: MemberId, last: Index) -> &mut Follower {
        let follower = self.follower(peer.ordinal);
        if follower.incarnation != Some(peer.incarnation) {
            *follower = Follower::new(last.next());
            follower.incarnation = Some(peer.incarnation);
        }
        follower
    }

    pub(super) fn disconnected(&mut self, peer: MemberId, now: Moment, left: bool) {
        let follower = self.follower(peer.ordinal);
        follower.probe();
        let until = if left { now } else { now + RECONNECT };
        let gone = *follower.gone.get_or_insert(until);
        if let Some(in_sync) = &mut self.in_sync {
            in_sync.look_at(gone);
        }
    }
}

impl Engine {
    /// Elected, or made primary: take the lead with an entry of the new term.
    pub(super) fn lead(&mut self, now: Moment, in_sync: Option<InSync>, effects: &mut Effects) {
        let next = self.log.last().index.next();
        self.leader = Some(self.config.me);
        self.leader_heard = now;
        self.fetching = None;
        self.state = State::Leading(Box::new(Leading {
            followers: std::array::from_fn(|_| Follower::new(next)),
            next_heartbeat: now + self.config.heartbeat_interval,
            quorum_check: now + self.config.election_timeout,
            reads: Reads::default(),
            hand_over: None,
            in_sync,
            uncommitted_bytes: self.log.bytes_after(self.commit),
            // Nobody has caught up before the first heartbeat.
            committed_at_heartbeat: Index(u64::MAX),
        }));
        self.append_one(EntryKind::Noop, &[], effects);
        self.replicate(effects);
    }

    /// Append one entry of this leader's own.
    pub(super) fn append_one(&mut self, kind: EntryKind, payload: &[u8], effects: &mut Effects) {
        let mut records = Records::with_room(RECORD_HEADER_BYTES + payload.len());
        records.add(Position::new(self.hard_state.term, self.log.last().index.next()), kind, payload);
        if let State::Leading(leading) = &mut self.state {
            leading.uncommitted_bytes += records.bytes();
        }
        self.append_own(records, effects);
    }

    /// Append entries of this leader's own, which follow the log and whose bytes are counted, and execute them (and what
    /// earlier terms left before them).
    pub(super) fn append_own(&mut self, records: Records, effects: &mut Effects) {
        let entries = records.into_entries();
        for entry in &entries {
            assert!(self.note_membership(entry), "a membership of this leader's own");
            self.log.push(entry.clone());
        }
        if let Some(last) = entries.last().map(Entry::index) {
            self.persist_entries(entries, effects);
            self.execute_up_to(last, effects);
        }
    }

    pub(super) fn connected(&mut self, now: Moment, peer: MemberId, effects: &mut Effects) {
        self.cut_off.remove(peer.ordinal);
        let last = self.log.last().index;
        match &mut self.state {
            State::Leading(leading) => {
                leading.meet(peer, last).probe();
                self.send_entries(peer.ordinal, Send::Question, effects);
            }
            State::Unformed(_) => self.announce(now, effects),
            _ => {}
        }
    }

    /// A leader's deadline: heartbeats, and whether it may still call itself one.
    pub(super) fn lead_on(&mut self, now: Moment, effects: &mut Effects) {
        let interval = self.config.heartbeat_interval;
        let timeout = self.config.election_timeout;
        let State::Leading(leading) = &mut self.state else { return };
        if leading.hand_over.as_ref().is_some_and(|hand_over| now >= hand_over.deadline) {
            leading.hand_over = None;
        }
        if now >= leading.quorum_check {
            leading.quorum_check = now + timeout / 2;
            // Who needs everybody that is in sync acknowledges nothing that others could contradict.
            if !self.has_authority() && !self.hears_majority(now) && !seeded!(self, NeverStepsDown) {
                let term = self.hard_state.term;
                return self.follow(now, term, None, effects);
            }
        }
        let State::Leading(leading) = &mut self.state else { return };
        if now >= leading.next_heartbeat {
            leading.next_heartbeat = now + interval;
            for follower in &mut leading.followers {
                if let Flow::Probe { sent } = &mut follower.flow {
                    *sent = false;
                }
            }
            for ordinal in self.others() {
                self.send_entries(ordinal, Send::Question, effects);
            }
            if !self.has_authority() {
                self.tend_membership(now, effects);
            }
            self.leave_if_disk_stalls(now, effects);
            let commit = self.commit;
            let State::Leading(leading) = &mut self.state else { return };
            leading.committed_at_heartbeat = commit;
        }
        self.tend_in_sync(now, effects);
    }

    /// Whether a majority of the voters, this member among them, was heard of within an election timeout.
    fn hears_majority(&self, now: Moment) -> bool {
        self.membership().voters().filter(|voter| self.lives(*voter, now)).count() >= self.majority()
    }
}
