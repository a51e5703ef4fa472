//! Wishes for another leader: carried out here if this member leads, else passed on.

use holdfast_engine::{Input, Ordinal, Term};
use holdfast_wire::Frame;

use super::Core;
use super::asking::{Asker, Client, HandOver};
use super::handle::{Failure, HandedOver, RefusalCode};
use super::held::Request;
use super::requests::no_leader;
use crate::peers::Pushed;

impl Core {
    /// Somebody wants another leader.
    pub(super) fn hand_over(&mut self, hand_over: HandOver) {
        let HandOver { to, deadline, .. } = hand_over;
        let nobody = match to {
            _ if self.voters.is_empty() => None,
            Some(to) if !self.is_peer(to) && to != self.me.ordinal => {
                Some(format!("there is no member {to}"))
            }
            Some(to) if self.voters.voter(to).is_none() => {
                Some(format!("member {to} has no vote, so that it cannot lead"))
            }
            _ if self.voters.len() == 1 => {
                Some("the store has one voter, and so nobody to hand over to".to_owned())
            }
            _ => None,
        };
        if let Some(detail) = nobody {
            let code = RefusalCode::NoSuchMember;
            let failure = Failure::Refused { code, detail, retryable: false, retry_after: None };
            return self.answer_hand_over(hand_over.asker, Err(failure));
        }
        match (self.engine.role().leader(self.me), &hand_over.asker) {
            (Some(leader), _) if leader == self.me && to == Some(self.me.ordinal) => {
                let handed_over = HandedOver { leader: self.me.ordinal, term: self.term() };
                self.answer_hand_over(hand_over.asker, Ok(handed_over));
            }
            (Some(leader), _) if leader == self.me => {
                self.step(Input::HandOver { to });
                // The engine gives up after an election timeout; nobody needs to wait for much longer.
                let deadline = deadline.min(self.now + self.election_timeout * 2);
                self.hand_overs.push(HandOver { deadline, ..hand_over });
            }
            (Some(leader), Asker::Client(_)) => {
                let (id, timeout_ms) = (self.forwarded.next_id(), self.time_for_leader(deadline));
                match self.peers.link(leader.ordinal).push(&Frame::HandOver { id, to, timeout_ms }) {
                    Pushed::Sent => {
                        self.unflushed[usize::from(leader.ordinal.0)] = true;
                        self.forwarded.add(id, leader.ordinal, Request::HandOver(hand_over));
                    }
                    Pushed::Dropped | Pushed::TooLarge => {
                        self.answer_hand_over(hand_over.asker, Err(no_leader()));
                    }
                }
            }
            _ => self.answer_hand_over(hand_over.asker, Err(no_leader())),
        }
    }

    /// Another member leads now.
    pub(super) fn handed_over(&mut self, leader: Ordinal, term: Term) {
        for hand_over in std::mem::take(&mut self.hand_overs) {
            self.answer_hand_over(hand_over.asker, Ok(HandedOver { leader, term }));
        }
    }

    pub(super) fn expire_hand_overs(&mut self) {
        let now = self.now;
        let expired: Vec<HandOver> = self.hand_overs.extract_if(.., |h| h.deadline <= now).collect();
        for hand_over in expired {
            let failure = Failure::Refused {
                code: RefusalCode::HandOverFailed,
                detail: "nobody took the leadership over in time; the leader goes on".to_owned(),
                retryable: true,
                retry_after: None,
            };
            self.answer_hand_over(hand_over.asker, Err(failure));
        }
    }

    pub(super) fn answer_hand_over(&mut self, asker: Asker<HandedOver>, result: Result<HandedOver, Failure>) {
        match asker {
            Asker::Client(Client::Task(reply)) => drop(reply.send(result)),
            Asker::Client(Client::Connection { .. }) => {
                unreachable!("the binary protocol has no such request")
            }
            Asker::Member { ordinal, id } => self.reply_to(ordinal, id, &result.into()),
        }
    }
}
