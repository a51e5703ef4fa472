//! Linearizable reads by read-index (Raft thesis, 6.4): the commit index at the time of asking is safe to read at once
//! a majority, or everybody that is in sync, has confirmed after that time that the leader still leads. One round serves
//! all reads that wait.

use std::collections::VecDeque;

use super::leading::Leading;
use super::replication::Send;
use super::{Engine, State};
use crate::bug::seeded;
use crate::quorum;
use crate::{Effects, Index, MemberId, Message, ReadToken, Term};

/// Most reads that wait at one leader. A read costs some 40 bytes here; more than this means that the owner's own
/// limits do not work.
const READS_WAITING_MAX: usize = 100_000;

/// Reads that wait for a round. Rounds count up with every question; a follower echoes the highest it has seen.
#[derive(Debug, Default)]
pub(super) struct Reads {
    /// The last round that was asked.
    asked: u64,
    /// The last round that a majority has confirmed.
    confirmed: u64,
    /// Oldest first. A read without an index waits for the leader's first commit.
    waiting: VecDeque<WaitingRead>,
}

#[derive(Debug)]
struct WaitingRead {
    token: ReadToken,
    /// The follower that asked; `None`: this member's own.
    from: Option<MemberId>,
    /// Where to read, and the round that must be confirmed for it.
    at: Option<(Index, u64)>,
}

impl Reads {
    /// The round that goes out with every append.
    pub(super) fn round(&self) -> u64 {
        self.asked
    }
}

impl Leading {
    /// Leadership ends: nobody here can say any more where these reads may happen.
    pub(super) fn give_up_reads(&mut self, effects: &mut Effects) {
        for read in self.reads.waiting.drain(..) {
            match read.from {
                None => effects.reads.push((read.token, None)),
                Some(from) => {
                    let reply = Message::ReadIndexReply { term: Term(0), token: read.token, index: None };
                    effects.send.push((from.ordinal, reply));
                }
            }
        }
    }
}

impl Leading {
    /// What `Bug::DeposedAnswersReads` does: answer reads whose round nobody has confirmed.
    pub(super) fn answer_unconfirmed(&mut self, effects: &mut Effects) {
        let own = |read: &WaitingRead| Some((read.token, Some(read.at.filter(|_| read.from.is_none())?.0)));
        effects.reads.extend(self.reads.waiting.iter().filter_map(own));
        self.reads.waiting.retain(|read| own(read).is_none());
    }
}

impl Engine {
    pub(super) fn read(&mut self, token: ReadToken, effects: &mut Effects) {
        match (&self.state, self.leader) {
            (State::Leading(_), _) => self.wait_for_round(token, None, effects),
            // What is committed here may be what a person's forced start gave up. The first answer to the leader tells.
            _ if self.has_authority() && self.matched < self.commit => effects.reads.push((token, None)),
            (_, Some(leader)) => {
                let question = Message::ReadIndex { term: self.hard_state.term, token };
                effects.send.push((leader.ordinal, question));
            }
            (_, None) => effects.reads.push((token, None)),
        }
    }

    pub(super) fn read_index(&mut self, from: MemberId, token: ReadToken, effects: &mut Effects) {
        if matches!(self.state, State::Leading(_)) {
            self.wait_for_round(token, Some(from), effects);
        } else {
            let reply = Message::ReadIndexReply { term: self.hard_state.term, token, index: None };
            effects.send.push((from.ordinal, reply));
        }
    }

    fn wait_for_round(&mut self, token: ReadToken, from: Option<MemberId>, effects: &mut Effects) {
        let State::Leading(leading) = &mut self.state else { return };
        if seeded!(self, ReadWithoutRound) && from.is_none() {
            effects.reads.push((token, Some(self.commit)));
            return;
        }
        if leading.reads.waiting.len() >= READS_WAITING_MAX {
            match from {
                None => effects.reads.push((token, None)),
                Some(from) => {
                    let reply = Message::ReadIndexReply { term: self.hard_state.term, token, index: None };
                    effects.send.push((from.ordinal, reply));
                }
            }
            return;
        }
        leading.reads.waiting.push_back(WaitingRead { token, from, at: None });
        self.start_waiting_reads(effects);
    }

    /// Give reads their index and round, if the leader knows what is committed, and ask the round if none is under way.
    pub(super) fn start_waiting_reads(&mut self, effects: &mut Effects) {
        let committed_own = self.log.term_at(self.commit) == Some(self.hard_state.term)
            || seeded!(self, ReadBeforeFirstCommit);
        let commit = self.commit;
        let State::Leading(leading) = &mut self.state else { return };
        if !committed_own {
            return;
        }
        let reads = &mut leading.reads;
        // A round that was asked before a read came proves nothing for it; it takes the next.
        let round = reads.asked + 1;
        let mut any = false;
        for read in
            reads.waiting.iter_mut().rev().take_while(|read| read.at.is_none_or(|(_, at)| at == round))
        {
            any = true;
            read.at.get_or_insert((commit, round));
        }
        if any && reads.confirmed == reads.asked {
            self.ask_round(effects);
        }
    }

    fn ask_round(&mut self, effects: &mut Effects) {
        let State::Leading(leading) = &mut self.state else { return };
        leading.reads.asked += 1;
        for ordinal in self.others() {
            self.send_entries(ordinal, Send::Question, effects);
        }
        self.confirm_reads(effects);
    }

    /// Answer the reads whose round a majority has confirmed, and ask the next round if reads wait for it.
    pub(super) fn confirm_reads(&mut self, effects: &mut Effects) {
        let State::Leading(leading) = &self.state else { return };
        let asked = leading.reads.asked;
        let confirmed = match &leading.in_sync {
            Some(in_sync) => {
                let Some(required) = in_sync.required() else { return };
                let mut rounds = self.of_each(required, asked, |follower| follower.round);
                let rounds = &mut rounds[..required.len()];
                rounds.sort_unstable_by(|a, b| b.cmp(a));
                let last = rounds.len() - 1;
                rounds[if seeded!(self, OneConfirmsReads) { last.min(1) } else { last }]
            }
            None => {
                let membership = self.memberships.current();
                let mut rounds = self.of_each(membership, asked, |follower| follower.round);
                quorum::majority(&mut rounds[..membership.len()])
            }
        };
        let State::Leading(leading) = &mut self.state else { return };
        let reads = &mut leading.reads;
        reads.confirmed = reads.confirmed.max(confirmed);
        while let Some(&WaitingRead { token, from, at: Some((index, round)) }) = reads.waiting.front() {
            if round > reads.confirmed {
                break;
            }
            reads.waiting.pop_front();
            match from {
                None => effects.reads.push((token, Some(index))),
                Some(from) => {
                    let reply =
                        Message::ReadIndexReply { term: self.hard_state.term, token, index: Some(index) };
                    effects.send.push((from.ordinal, reply));
                }
            }
        }
        let next_waits = reads.waiting.front().is_some_and(|read| read.at.is_some());
        if next_waits && reads.confirmed == reads.asked {
            self.ask_round(effects);
        }
    }
}
