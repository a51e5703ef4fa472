//! What becomes of writes: to this member's log, to the leader, or held until there is one; and their answers.
//!
//! A write is proposed again only if it is certain that it did not happen, or if its session makes asking twice
//! harmless. Everything else that went wrong is `unknown`, and said so.

use std::time::Duration;

use holdfast_engine::{
    ENTRY_PAYLOAD_BYTES_MAX, Input, MEMBERS_MAX, MemberId, Ordinal, ProposalToken, Refusal, WriteConcern,
};
use holdfast_store::{Command, Operation, Txn, TxnOperation};
use holdfast_wire::Frame;

use super::Core;
use super::asking::{Answer, Asker, Write};
use super::handle::{Failure, HandedOver, OVERLOAD_PAUSE, RefusalCode, Written};
use super::held::Request;
use super::writes::Verdict;
use crate::metrics::ProposalFailure;
use crate::peers::Pushed;

/// The leader's answer gets so much time to come back, of the time that a forwarded request has: a tenth of it, and
/// at most this. So the leader's "not in time" arrives before the member gives up by itself.
const ANSWER_MARGIN_MAX: Duration = Duration::from_millis(50);

/// When to try again after a refusal for lack of space: it is looked for once a second.
const SPACE_PAUSE: Duration = Duration::from_secs(1);

/// Whether carrying a command out may take more space than it gives back. What cannot be read does nothing.
fn grows(command: &[u8]) -> bool {
    Command::decode(command).is_ok_and(|command| match command.operation {
        Operation::Put { .. } | Operation::Append(_) => true,
        Operation::Delete { .. } | Operation::Compact { .. } => false,
        // Settings can be what makes a log smaller; one that they make is empty.
        Operation::ConfigureLog { .. } | Operation::DeleteLog { .. } | Operation::TrimLog { .. } => false,
        Operation::Txn(Txn { success, failure, .. }) => {
            success.iter().chain(&failure).any(|operation| matches!(operation, TxnOperation::Put { .. }))
        }
    })
}

impl Core {
    /// Somebody wants to write.
    pub(super) fn write(&mut self, write: Write) {
        let members = self.concern_max();
        if let WriteConcern::Members(asked) = write.concern
            && !(1..=members).contains(&asked)
        {
            let detail =
                format!("write concern {asked} is not one of 1 to {members}, the members of this store");
            return self.refuse(write, RefusalCode::ConcernTooHigh, detail, false);
        }
        if write.command.len() > ENTRY_PAYLOAD_BYTES_MAX {
            let detail = format!("a request of {} bytes is more than the log takes", write.command.len());
            return self.refuse(write, RefusalCode::TooLarge, detail, false);
        }
        if self.stopping.is_some() && matches!(write.asker, Asker::Client(_)) {
            return self.answer_write(write, Err(Failure::stopping()));
        }
        self.route(write);
    }

    /// Bring a write to whoever leads.
    fn route(&mut self, write: Write) {
        match (self.engine.role().leader(self.me), &write.asker) {
            (Some(leader), _) if leader == self.me => self.proposals.push(write),
            (Some(leader), Asker::Client(_)) => self.forward(write, leader),
            (None, Asker::Client(_)) => self.hold(write),
            (_, &Asker::Member { ordinal, id }) => self.reply_to(ordinal, id, &Answer::NotTaken),
        }
    }

    /// Propose what has collected, in one step: all of it goes to the disk and to each member in one piece.
    pub(super) fn propose_collected(&mut self) {
        if self.proposals.is_empty() {
            return;
        }
        let mut writes = std::mem::take(&mut self.proposals);
        if self.disk.is_behind() {
            writes.drain(..).for_each(|write| self.refuse_overloaded(write, "the disk is behind"));
            self.proposals = writes;
            return;
        }
        if self.disk.is_full() {
            let (growing, taken) = writes.drain(..).partition(|write| grows(&write.command));
            self.refuse_for_space(growing);
            writes = taken;
        }
        let first = self.last_token + 1;
        self.last_token += writes.len() as u64;
        let payloads = writes.iter().map(|write| write.command.clone()).collect();
        self.step(Input::ProposeAll { first: ProposalToken(first), payloads });
        // Both come in the order of the proposals.
        let mut accepted = std::mem::take(&mut self.effects.accepted);
        let mut refused = std::mem::take(&mut self.effects.refused);
        let mut positions = accepted.drain(..).peekable();
        let mut refusals = refused.drain(..).peekable();
        for (write, token) in writes.drain(..).zip(first..) {
            let token = ProposalToken(token);
            if let Some((_, position)) = positions.next_if(|(accepted, _)| *accepted == token) {
                self.writes.add(position, write, self.now);
                continue;
            }
            match refusals.next_if(|(refused, _)| *refused == token) {
                Some((_, Refusal::Overloaded)) => {
                    self.refuse_overloaded(write, "too much is under way at the leader");
                }
                _ => self.not_taken(write),
            }
        }
        drop((positions, refusals));
        // With the memory that they have.
        (self.effects.accepted, self.effects.refused) = (accepted, refused);
        self.proposals = writes;
    }

    /// Nothing happened yet: hold it for later, or tell the member that passed it on.
    fn not_taken(&mut self, write: Write) {
        if let Asker::Member { ordinal, id } = write.asker {
            return self.reply_to(ordinal, id, &Answer::NotTaken);
        }
        self.hold(write);
        self.held.retry_later(self.now);
    }

    pub(super) fn hold(&mut self, write: Write) {
        if self.is_refused_as_read_only(&write) {
            return self.refuse_read_only(write);
        }
        if let Err(write) = self.held.add(write) {
            self.refuse_overloaded(write, "too many requests wait for a leader");
        }
    }

    fn forward(&mut self, write: Write, leader: MemberId) {
        let link = self.peers.link(leader.ordinal);
        if !link.is_connected() || self.leaving[usize::from(leader.ordinal.0)] {
            return self.hold(write);
        }
        if self.forwarded.is_full() {
            return self.refuse_overloaded(write, "too many requests wait for the leader");
        }
        let id = self.forwarded.next_id();
        let (concern, command) = (write.concern, write.command.clone());
        let timeout_ms = self.time_for_leader(write.deadline);
        match link.push(&Frame::Forward { id, concern, timeout_ms, command }) {
            Pushed::Sent => {
                self.unflushed[usize::from(leader.ordinal.0)] = true;
                self.forwarded.add(id, leader.ordinal, Request::Write(write));
            }
            // It broke just now.
            Pushed::Dropped if !link.is_connected() => self.hold(write),
            Pushed::Dropped => {
                self.refuse_overloaded(write, "too much waits for the connection to the leader")
            }
            Pushed::TooLarge => {
                self.refuse(
                    write,
                    RefusalCode::TooLarge,
                    "the request is larger than members take".into(),
                    false,
                );
            }
        }
    }

    /// Of the time until `deadline`, what the leader may use, in milliseconds.
    pub(super) fn time_for_leader(&self, deadline: holdfast_engine::Moment) -> u32 {
        let left = deadline - self.now;
        let time = left - (left / 10).min(ANSWER_MARGIN_MAX);
        u32::try_from(time.as_millis()).unwrap_or(u32::MAX).max(1)
    }

    /// Try everything that is held again.
    pub(super) fn release_held(&mut self) {
        for write in self.held.take() {
            self.route(write);
        }
    }

    /// Another member leads than the one that some writes were passed on to: those that may be asked twice are. If the
    /// old leader fell silent, who waits for the others is told so now, and not only when its connection is given up:
    /// until then a client that waits for an answer would wait on, although the store serves again.
    pub(super) fn forward_again(&mut self, leader: Ordinal) {
        let mut forwarded = std::mem::take(&mut self.forwarded);
        let elsewhere = forwarded.take_elsewhere(leader, |write| self.may_repeat(write));
        self.forwarded = forwarded;
        for write in elsewhere {
            self.route(Write { uncertain: true, ..write });
        }
        for ordinal in (0..MEMBERS_MAX as u8).map(Ordinal).filter(|ordinal| *ordinal != leader) {
            let heard = self.heard[usize::from(ordinal.0)];
            if heard.is_some_and(|(_, heard)| self.now - heard >= self.election_timeout) {
                for request in self.forwarded.lost(ordinal) {
                    self.forward_lost(
                        request,
                        "the leader fell silent before its answer came, and another one leads",
                    );
                }
            }
        }
    }

    /// The leader has answered.
    pub(super) fn forward_replied(&mut self, from: Ordinal, id: u64, body: &[u8]) {
        let Some(request) = self.forwarded.answered(from, id) else { return };
        let answer = Answer::decode(body).unwrap_or_else(|| Answer::Unknown {
            detail: "the leader's answer was not understood".to_owned(),
        });
        match request {
            Request::Write(write) => self.write_replied(write, answer),
            Request::HandOver(hand_over) => {
                let result = match answer {
                    Answer::HandedOver { leader, term } => Ok(HandedOver { leader, term }),
                    Answer::Refused { code, detail, retryable, retry_after_ms } => {
                        let retry_after = retry_after_ms.map(Duration::from_millis);
                        Err(Failure::Refused { code, detail, retryable, retry_after })
                    }
                    Answer::Unknown { detail } => Err(Failure::Unknown { detail }),
                    Answer::NotTaken | Answer::Written { .. } | Answer::Stored { .. } => Err(no_leader()),
                };
                self.answer_hand_over(hand_over.asker, result);
            }
        }
    }

    fn write_replied(&mut self, write: Write, answer: Answer) {
        let answer = match answer.into_written() {
            Ok(written) if self.waits_on(&write, &written) => {
                return self.not_taken(Write { uncertain: true, ..write });
            }
            Ok(written) => return self.answer_write(write, Ok(written)),
            Err(answer) => answer,
        };
        match answer {
            Answer::NotTaken => self.not_taken(write),
            Answer::Refused { code, detail, retryable, retry_after_ms } => {
                let retry_after = retry_after_ms.map(Duration::from_millis);
                self.count_refusal(code);
                self.answer_write(write, Err(Failure::Refused { code, detail, retryable, retry_after }));
            }
            Answer::Unknown { detail } => self.lost(write, detail),
            Answer::HandedOver { .. } | Answer::Written { .. } | Answer::Stored { .. } => {
                self.lost(write, "the leader's answer was not understood".to_owned())
            }
        }
    }

    /// A request was passed on, and its answer will not come.
    pub(super) fn forward_lost(&mut self, request: Request, detail: &str) {
        match request {
            Request::Write(write) => self.lost(write, detail.to_owned()),
            Request::HandOver(hand_over) => {
                self.answer_hand_over(hand_over.asker, Err(Failure::Unknown { detail: detail.to_owned() }));
            }
        }
    }

    /// A request was passed on, and its time is up.
    pub(super) fn forward_expired(&mut self, request: Request) {
        let detail = "the leader did not answer in time".to_owned();
        match request {
            Request::Write(write) => {
                self.metrics.proposal_failed(ProposalFailure::Timeout);
                self.answer_write(write, Err(Failure::Unknown { detail }));
            }
            Request::HandOver(hand_over) => {
                self.answer_hand_over(hand_over.asker, Err(Failure::Unknown { detail }));
            }
        }
    }

    /// It cannot be told what became of a write: ask again if that is harmless, else say so.
    fn lost(&mut self, write: Write, detail: String) {
        if write.deadline > self.now && self.stopping.is_none() && self.may_repeat(&write) {
            return self.not_taken(Write { uncertain: true, ..write });
        }
        self.metrics.proposal_failed(ProposalFailure::Lost);
        self.answer_write(write, Err(Failure::Unknown { detail }));
    }

    /// Answer all writes that have a verdict by now.
    pub(super) fn answer_done(&mut self) {
        let mut done = std::mem::take(&mut self.done);
        for (write, verdict) in done.drain(..) {
            match verdict {
                Verdict::Written(written) if self.waits_on(&write, &written) => {
                    self.not_taken(Write { uncertain: true, ..write });
                }
                Verdict::Written(written) => self.answer_write(write, Ok(written)),
                Verdict::Superseded => self.not_taken(write),
                Verdict::Unknown(_) if write.deadline > self.now && self.may_repeat(&write) => {
                    self.not_taken(Write { uncertain: true, ..write });
                }
                Verdict::Unknown(detail) => {
                    let late = write.deadline <= self.now;
                    let reason = if late { ProposalFailure::Timeout } else { ProposalFailure::Lost };
                    self.metrics.proposal_failed(reason);
                    self.answer_write(write, Err(Failure::Unknown { detail: detail.to_owned() }));
                }
            }
        }
        done.append(&mut self.done); // whatever came in between; with the memory that it has
        self.done = done;
    }

    pub(super) fn refuse_without_leader(&mut self, write: Write) {
        self.metrics.proposal_failed(ProposalFailure::NoLeader);
        self.answer_write(write, Err(no_leader()));
    }

    fn refuse_read_only(&mut self, write: Write) {
        self.metrics.proposal_failed(ProposalFailure::NoLeader);
        let failure = Failure::Refused {
            code: RefusalCode::NoLeader,
            detail: "no member leads with a majority: the store is read-only until one does; read=local and \
                read=committed go on"
                .to_owned(),
            retryable: true,
            retry_after: None,
        };
        self.answer_write(write, Err(failure));
    }

    /// The reserve is for what makes the store smaller.
    fn refuse_for_space(&mut self, growing: Vec<Write>) {
        for write in growing {
            self.metrics.proposal_failed(ProposalFailure::Overloaded);
            let failure = Failure::Refused {
                code: RefusalCode::DiskFull,
                detail: "the leader's disk is full; it takes deletes and compaction until there is space"
                    .to_owned(),
                retryable: true,
                retry_after: Some(SPACE_PAUSE),
            };
            self.answer_write(write, Err(failure));
        }
    }

    fn refuse_overloaded(&mut self, write: Write, detail: &str) {
        self.metrics.proposal_failed(ProposalFailure::Overloaded);
        let failure = Failure::Refused {
            code: RefusalCode::Overloaded,
            detail: detail.to_owned(),
            retryable: true,
            retry_after: Some(OVERLOAD_PAUSE),
        };
        self.answer_write(write, Err(failure));
    }

    fn refuse(&mut self, write: Write, code: RefusalCode, detail: String, retryable: bool) {
        self.answer_write(write, Err(Failure::Refused { code, detail, retryable, retry_after: None }));
    }

    fn count_refusal(&self, code: RefusalCode) {
        match code {
            RefusalCode::Overloaded => self.metrics.proposal_failed(ProposalFailure::Overloaded),
            RefusalCode::NoLeader => self.metrics.proposal_failed(ProposalFailure::NoLeader),
            _ => {}
        }
    }

    pub(super) fn answer_write(&mut self, write: Write, result: Result<Written, Failure>) {
        let result = if write.uncertain { result.map_err(after_an_unknown) } else { result };
        match write.asker {
            Asker::Client(client) => client.answer(result, &mut self.unsent),
            Asker::Member { ordinal, id } => self.reply_to(ordinal, id, &result.into()),
        }
    }

    pub(super) fn reply_to(&mut self, ordinal: Ordinal, id: u64, answer: &Answer) {
        let link = self.peers.link(ordinal);
        let pushed = link.push(&Frame::ForwardReply { id, body: answer.encode() });
        if pushed == Pushed::TooLarge {
            let answer = Answer::Unknown { detail: "the answer is larger than members take".to_owned() };
            link.push(&Frame::ForwardReply { id, body: answer.encode() });
        }
        self.unflushed[usize::from(ordinal.0)] = true;
    }
}

/// Nobody leads who could be asked.
pub(super) fn no_leader() -> Failure {
    Failure::Refused {
        code: RefusalCode::NoLeader,
        detail: "no leader was found in time".to_owned(),
        retryable: true,
        retry_after: None,
    }
}

/// The failure of a write that was asked before without an answer: what refuses it now says nothing about that time.
fn after_an_unknown(failure: Failure) -> Failure {
    match failure {
        Failure::Refused { detail, .. } => {
            Failure::Unknown { detail: format!("it was asked before without an answer, and then {detail}") }
        }
        unknown @ Failure::Unknown { .. } => unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_have_been_done_is_never_refused() {
        assert!(matches!(after_an_unknown(no_leader()), Failure::Unknown { .. }));
        assert!(matches!(after_an_unknown(Failure::stopping()), Failure::Unknown { .. }));
    }
}
