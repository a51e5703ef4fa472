//! Entries from the leader's log into the followers', and what they say of it.

use super::leading::Flow;
use super::{Engine, State};
use crate::bug::seeded;
use crate::{
    AppendOutcome, Effects, Entry, Index, MemberId, Message, Moment, Ordinal, Outcast, Position, Receipt,
    Term,
};

/// The content of a [`Message::Append`].
pub(super) struct Append {
    pub(super) term: Term,
    pub(super) previous: Position,
    pub(super) entries: Vec<Entry>,
    pub(super) commit: Index,
    pub(super) round: u64,
    pub(super) receipt: Receipt,
    pub(super) answer: bool,
}

/// Whether to send a follower something although there may be no entries for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Send {
    /// Only entries.
    Entries,
    /// The commit has moved: say so, with entries if there are any.
    Commit,
    /// Ask for an answer at once: whether the follower is there, what it has, which round it has seen.
    Question,
}

// The leader's side.
impl Engine {
    /// Send every follower what it may have by now.
    pub(super) fn replicate(&mut self, effects: &mut Effects) {
        for ordinal in self.others() {
            self.send_entries(ordinal, Send::Entries, effects);
        }
    }

    /// Send one follower the entries that its window has room for; if there are none, what else there is to say.
    pub(super) fn send_entries(&mut self, ordinal: Ordinal, send: Send, effects: &mut Effects) {
        let mut send = send;
        loop {
            let State::Leading(leading) = &mut self.state else { return };
            let round = leading.reads.round();
            let follower = &mut leading.followers[usize::from(ordinal.0)];
            if follower.flow == Flow::Checkpoint {
                // Once is enough until it has it; the heartbeat repeats it in case it was lost.
                if send == Send::Question {
                    self.offer_checkpoint(ordinal, effects);
                }
                return;
            }
            let previous = follower.next.previous();
            let Some(previous) = self.log.position_at(previous) else {
                return self.offer_checkpoint(ordinal, effects);
            };
            let room = match &follower.flow {
                Flow::Probe { sent } => !sent,
                Flow::Replicate { in_flight } => in_flight.len() < self.config.appends_in_flight_max,
                Flow::Checkpoint => false,
            };
            let entries = if room && follower.next <= self.log.last().index {
                self.log.batch(follower.next, self.config.append_bytes_max)
            } else {
                Vec::new()
            };
            if entries.is_empty() && send == Send::Entries {
                return;
            }
            // While the logs are compared, each answer decides what to send next.
            let answer = send == Send::Question || matches!(follower.flow, Flow::Probe { .. });
            send = Send::Entries;
            let last = entries.last().map(Entry::index);
            let by = follower.incarnation.unwrap_or_default();
            let receipt = Receipt { by, durable: follower.durable };
            let (term, commit) = (self.hard_state.term, self.commit);
            let append = Append { term, previous, entries, commit, round, receipt, answer };
            let joined = push_append(ordinal, append, self.config.append_bytes_max, effects);
            match (&mut follower.flow, last) {
                (Flow::Probe { sent }, _) => *sent = true,
                (Flow::Replicate { in_flight }, Some(last)) => {
                    follower.next = last.next();
                    if joined {
                        in_flight.pop_back();
                    }
                    in_flight.push_back(last);
                }
                _ => {}
            }
        }
    }

    pub(super) fn append_reply(
        &mut self,
        now: Moment,
        from: MemberId,
        term: Term,
        outcome: AppendOutcome,
        round: u64,
        effects: &mut Effects,
    ) {
        if term > self.hard_state.term {
            if self.is_voter(from) {
                self.follow(now, term, None, effects);
            }
            return;
        }
        let last = self.log.last().index;
        let State::Leading(leading) = &mut self.state else { return };
        if term < self.hard_state.term {
            return;
        }
        let follower = leading.meet(from, last);
        follower.heard = Some(now);
        follower.gone = None;
        follower.round = follower.round.max(round);
        match outcome {
            AppendOutcome::Accepted { written, durable } if written <= last && durable <= written => {
                follower.flushed(now, durable, last);
                self.follower_has(from.ordinal, written, durable, effects);
            }
            AppendOutcome::Accepted { .. } => return, // says that it has more than there is
            AppendOutcome::Rejected { previous, hint } => {
                self.follower_lacks(from.ordinal, previous, hint, effects)
            }
        }
        self.confirm_reads(effects);
    }

    fn follower_has(&mut self, ordinal: Ordinal, written: Index, durable: Index, effects: &mut Effects) {
        let State::Leading(leading) = &mut self.state else { return };
        let follower = leading.follower(ordinal);
        follower.written = follower.written.max(written);
        let more_durable = durable > follower.durable;
        follower.durable = follower.durable.max(durable);
        match &mut follower.flow {
            Flow::Replicate { in_flight } => {
                while in_flight.front().is_some_and(|&last| last <= written) {
                    in_flight.pop_front();
                }
            }
            Flow::Checkpoint if written < self.log.base().index => {}
            Flow::Probe { .. } | Flow::Checkpoint => {
                follower.flow = Flow::Replicate { in_flight: Default::default() };
                follower.next = follower.written.next();
            }
        }
        if more_durable {
            self.advance_commit(effects);
            self.tend_in_sync_of(ordinal, effects);
        }
        self.send_entries(ordinal, Send::Entries, effects);
        self.hand_over_when_caught_up(ordinal, effects);
    }

    fn follower_lacks(&mut self, ordinal: Ordinal, previous: Index, hint: Position, effects: &mut Effects) {
        let State::Leading(leading) = &mut self.state else { return };
        let follower = leading.follower(ordinal);
        // What is durable there cannot be lacking: an old message.
        let stale = previous <= follower.durable
            || match &follower.flow {
                Flow::Probe { .. } => previous != follower.next.previous(),
                Flow::Replicate { .. } => previous >= follower.next,
                Flow::Checkpoint => true,
            };
        if stale {
            return;
        }
        let agreement = self.log.agreement(hint.index.min(previous.previous()), hint.term).index;
        // Below the base nothing is known: one step before it makes `send_entries` offer a checkpoint.
        let agreement = if hint.index < self.log.base().index { hint.index } else { agreement };
        follower.next = agreement.max(follower.durable).next();
        follower.written = follower.written.min(follower.next.previous());
        follower.flow = Flow::Probe { sent: false };
        self.send_entries(ordinal, Send::Entries, effects);
    }
}

// The follower's side.
impl Engine {
    pub(super) fn append(&mut self, now: Moment, from: MemberId, append: Append, effects: &mut Effects) {
        if append.term < self.hard_state.term && !seeded!(self, AppendIgnoresTerm) {
            let hint = Position::ZERO;
            let outcome = AppendOutcome::Rejected { previous: append.previous.index, hint };
            let reply = Message::AppendReply { term: self.hard_state.term, outcome, round: append.round };
            effects.send.push((from.ordinal, reply));
            return;
        }
        if append.previous.index <= self.commit && self.is_contradicted_by(&append) {
            return self.doubt(now, append.term, effects);
        }
        if !self.heard_leader(now, from, append.term, effects) || !is_contiguous(&append) {
            return;
        }
        let lacks = append.receipt.durable > self.durable && !seeded!(self, ReceiptIgnored);
        if append.receipt.by == self.config.me.incarnation && lacks {
            let (acknowledged, last) = (append.receipt.durable, self.log.last().index);
            effects.outcast = Some(Outcast::OldDisk { acknowledged, last });
            return;
        }
        self.round_seen = self.round_seen.max(append.round);
        let term = self.hard_state.term;
        if !self.agrees(append.previous) && !seeded!(self, AppendIgnoresPrevious) {
            let previous = append.previous;
            let hint = self.log.agreement(previous.index.previous(), previous.term);
            let outcome = AppendOutcome::Rejected { previous: previous.index, hint };
            let reply = Message::AppendReply { term, outcome, round: self.round_seen };
            effects.send.push((from.ordinal, reply));
            return;
        }
        let asked = append.answer;
        let end = append.entries.last().map_or(append.previous.index, Entry::index);
        let Some(taken) = self.take_entries(append.previous, append.entries, effects) else {
            return; // it contradicts what is committed: only a broken peer sends this
        };
        self.matched = self.matched.max(end.min(self.log.last().index));
        let known = if seeded!(self, CommitBeyondMatched) { self.log.last().index } else { self.matched };
        self.commit_as_follower(append.commit.min(known), effects);
        // What was here already is not going to be durable once more.
        let repeated = taken == 0 && end > append.previous.index;
        if asked || repeated {
            self.acknowledge(effects);
        }
    }

    /// A valid word from the leader of `term`; false if it cannot be one.
    pub(super) fn heard_leader(
        &mut self,
        now: Moment,
        from: MemberId,
        term: Term,
        effects: &mut Effects,
    ) -> bool {
        if self.leader == Some(from) && term == self.hard_state.term {
            self.leader_heard = now;
            let patience = self.patience();
            if let State::Following { deadline, .. } = &mut self.state {
                *deadline = now + patience;
                return true;
            }
        }
        if self.may_have_claimed() && term == self.hard_state.term {
            return false;
        }
        if matches!(self.state, State::Leading(_)) && term == self.hard_state.term {
            return false; // another leader in our own term: never, but bytes from the network prove nothing
        }
        self.follow(now, term.max(self.hard_state.term), Some(from), effects);
        true
    }

    /// Whether the log up to `previous` is the leader's. What the base stands for is committed, so it is.
    fn agrees(&self, previous: Position) -> bool {
        previous.index < self.log.base().index || self.log.contains(previous)
    }

    /// Make the log say what `entries` say. Returns how many of them are new; `None` if that cannot be.
    fn take_entries(
        &mut self,
        previous: Position,
        entries: Vec<Entry>,
        effects: &mut Effects,
    ) -> Option<usize> {
        if seeded!(self, AppendAlwaysCuts) && !entries.is_empty() && previous.index >= self.commit {
            self.cut_log_after(previous.index, effects);
        }
        let mut new = Vec::new();
        for entry in entries {
            let known = entry.index() <= self.log.base().index || self.log.contains(entry.position());
            if known && new.is_empty() {
                continue;
            }
            if entry.index() <= self.log.last().index {
                if entry.index() <= self.commit {
                    return None;
                }
                self.cut_log_after(entry.index().previous(), effects);
            }
            if entry.index() != self.log.last().index.next() {
                return None;
            }
            if !self.note_membership(&entry) {
                return None;
            }
            self.log.push(entry.clone());
            new.push(entry);
        }
        let taken = new.len();
        self.persist_entries(new, effects);
        Some(taken)
    }

    /// Tell the leader how far this member is.
    pub(super) fn acknowledge(&mut self, effects: &mut Effects) {
        let Some(leader) = self.leader else { return };
        if leader == self.config.me || !matches!(self.state, State::Following { .. }) {
            return;
        }
        let written = if seeded!(self, AckWholeLog) { self.log.last().index } else { self.matched };
        let durable =
            if seeded!(self, AcknowledgeBeforeDurable) { written } else { self.durable.min(written) };
        let term = self.hard_state.term;
        let round = self.round_seen;
        let outcome = AppendOutcome::Accepted { written, durable };
        // Acknowledgements are cumulative: the last of a step says it all.
        if let Some((
            to,
            Message::AppendReply { term: t, outcome: o @ AppendOutcome::Accepted { .. }, round: r },
        )) = effects.send.last_mut()
            && *to == leader.ordinal
            && *t == term
        {
            (*o, *r) = (outcome, round);
        } else {
            effects.send.push((leader.ordinal, Message::AppendReply { term, outcome, round }));
        }
    }
}

/// Whether the entries follow `previous` without a gap and their terms do not fall or exceed the leader's.
fn is_contiguous(append: &Append) -> bool {
    let mut before = append.previous;
    append.entries.iter().all(|entry| {
        let follows = entry.index() == before.index.next() && entry.term() >= before.term;
        before = entry.position();
        follows && entry.term() <= append.term
    })
}

/// Send `append`, or join it to the last message to the same member if it goes on where that one ends: several
/// proposals of one batch become one message. Says whether it joined a message that has entries.
fn push_append(to: Ordinal, append: Append, bytes_max: usize, effects: &mut Effects) -> bool {
    let Append { term, previous, entries, commit, round, receipt, answer } = append;
    let last = effects.send.iter_mut().rev().find(|(ordinal, _)| *ordinal == to);
    if let Some((_, Message::Append { term: t, previous: p, entries: e, commit: c, round: r, answer: a, .. })) =
        last
        && *t == term
        && e.last().map_or(*p, Entry::position) == previous
        && e.iter().map(|entry| entry.record_bytes()).sum::<usize>() < bytes_max
    {
        let joined = !e.is_empty();
        e.extend(entries);
        (*c, *r, *a) = (commit, round, *a || answer);
        return joined;
    }
    effects.send.push((to, Message::Append { term, previous, entries, commit, round, receipt, answer }));
    false
}
