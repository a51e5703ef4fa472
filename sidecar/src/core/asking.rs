//! Who asked, and how an answer gets back: to a client of this member, or to the member that passed a request on.

use std::sync::Arc;

use bytes::Bytes;
use holdfast_engine::{Moment, Ordinal, OrdinalSet, Position, Term, WriteConcern};
use holdfast_store::Outcome;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::handle::{Failure, HandedOver, ReadReply, RefusalCode, Written};
use super::messages::is_append;
use crate::native::{Outbox, Unsent, replies};

/// A client of this member that waits for an answer of type `T`.
#[derive(Debug)]
pub(super) enum Client<T> {
    /// A task of this process.
    Task(oneshot::Sender<Result<T, Failure>>),
    /// A client of the binary protocol.
    Connection {
        /// The way back.
        outbox: Arc<Outbox>,
        /// Its name for the request.
        id: u64,
        /// How many bytes the request brought.
        bytes: usize,
        /// Whether the request can be sent again without harm even if it took effect.
        repeatable: bool,
    },
}

/// Who waits for an answer of type `T`.
#[derive(Debug)]
pub(super) enum Asker<T> {
    /// A client of this member.
    Client(Client<T>),
    /// Another member, whose client waits there.
    Member {
        /// Which member.
        ordinal: Ordinal,
        /// Its name for the request.
        id: u64,
    },
}

/// A write on its way, wherever it waits.
#[derive(Debug)]
pub(super) struct Write {
    /// The encoded command.
    pub(super) command: Bytes,
    /// What the answer waits for.
    pub(super) concern: WriteConcern,
    /// When there has to be an answer.
    pub(super) deadline: Moment,
    /// Whether asking twice is harmless.
    pub(super) retryable: bool,
    /// Whether it was asked before without an answer, and may have been done then: it cannot be refused any more.
    pub(super) uncertain: bool,
    /// Who waits.
    pub(super) asker: Asker<Written>,
}

/// A wish for another leader on its way.
#[derive(Debug)]
pub(super) struct HandOver {
    /// Who should lead.
    pub(super) to: Option<Ordinal>,
    /// When there has to be an answer.
    pub(super) deadline: Moment,
    /// Who waits.
    pub(super) asker: Asker<HandedOver>,
}

/// What a leader answers to a member that passed a request on. Travels in postcard's encoding.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Answer {
    /// The write is done.
    Written { position: Position, outcome: Outcome, concern: WriteConcern, reached: u8, satisfied: bool },
    /// Another member leads now.
    HandedOver { leader: Ordinal, term: Term },
    /// Nothing happened, and the request may be right at another member or a little later.
    NotTaken,
    /// Nothing happened, and nothing will.
    Refused { code: RefusalCode, detail: String, retryable: bool, retry_after_ms: Option<u64> },
    /// It cannot be told what happened.
    Unknown { detail: String },
    /// As `Written`, with who has it and whether it is committed: what is said of messages of a log. A variant of its
    /// own, so that members of an older version still understand the answers to what they can ask.
    Stored {
        position: Position,
        outcome: Outcome,
        concern: WriteConcern,
        reached: u8,
        /// [`OrdinalSet::bits`].
        holders: u8,
        satisfied: bool,
        committed: bool,
    },
}

impl Client<Written> {
    /// Answer a write. A client that has gone needs no answer.
    pub(super) fn answer(self, result: Result<Written, Failure>, unsent: &mut Unsent) {
        match self {
            Client::Task(reply) => drop(reply.send(result)),
            Client::Connection { outbox, id, bytes, repeatable } => {
                unsent.reply(outbox, id, bytes, &replies::to_write(result, repeatable));
            }
        }
    }
}

impl Client<ReadReply> {
    /// Answer a read.
    pub(super) fn answer(self, result: Result<ReadReply, Failure>, unsent: &mut Unsent) {
        match self {
            Client::Task(reply) => drop(reply.send(result)),
            Client::Connection { outbox, id, bytes, .. } => {
                unsent.reply(outbox, id, bytes, &replies::to_read(result));
            }
        }
    }
}

impl Answer {
    /// The answer's bytes.
    pub(super) fn encode(&self) -> Bytes {
        postcard::to_allocvec(self).expect("answers are plain data").into()
    }

    /// The answer in these bytes; `None` if there is none.
    pub(super) fn decode(bytes: &[u8]) -> Option<Answer> {
        postcard::from_bytes(bytes).ok()
    }
}

impl From<Result<Written, Failure>> for Answer {
    fn from(result: Result<Written, Failure>) -> Answer {
        match result {
            Ok(Written { position, outcome, concern, reached, holders, satisfied, committed }) => {
                if is_append(&outcome) {
                    let holders = holders.bits();
                    Answer::Stored { position, outcome, concern, reached, holders, satisfied, committed }
                } else {
                    Answer::Written { position, outcome, concern, reached, satisfied }
                }
            }
            Err(failure) => failure.into(),
        }
    }
}

impl Answer {
    /// What a write came to, if the answer says that it is done.
    pub(super) fn into_written(self) -> Result<Written, Answer> {
        match self {
            Answer::Written { position, outcome, concern, reached, satisfied } => {
                let holders = OrdinalSet::default();
                // Nobody asks about the commit of what is no message.
                let committed = !satisfied;
                Ok(Written { position, outcome, concern, reached, holders, satisfied, committed })
            }
            Answer::Stored { position, outcome, concern, reached, holders, satisfied, committed } => {
                let holders = OrdinalSet::from_bits(holders);
                Ok(Written { position, outcome, concern, reached, holders, satisfied, committed })
            }
            other => Err(other),
        }
    }
}

impl From<Result<HandedOver, Failure>> for Answer {
    fn from(result: Result<HandedOver, Failure>) -> Answer {
        match result {
            Ok(HandedOver { leader, term }) => Answer::HandedOver { leader, term },
            Err(failure) => failure.into(),
        }
    }
}

impl From<Failure> for Answer {
    fn from(failure: Failure) -> Answer {
        match failure {
            Failure::Refused { code, detail, retryable, retry_after } => Answer::Refused {
                code,
                detail,
                retryable,
                retry_after_ms: retry_after.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
            },
            Failure::Unknown { detail } => Answer::Unknown { detail },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use holdfast_engine::Index;
    use holdfast_store::Revision;

    use super::*;

    #[test]
    fn answers_travel_as_they_are() {
        let written = Answer::Written {
            position: Position::new(Term(3), Index(9)),
            outcome: Outcome::Put { revision: Revision(7), previous: None },
            concern: WriteConcern::All,
            reached: 2,
            satisfied: false,
        };
        let refused = Failure::Refused {
            code: RefusalCode::Overloaded,
            detail: "too much".to_owned(),
            retryable: true,
            retry_after: Some(Duration::from_millis(100)),
        };
        let handed_over = Answer::HandedOver { leader: Ordinal(2), term: Term(4) };
        for answer in [written, refused.into(), handed_over, Answer::NotTaken] {
            assert_eq!(Answer::decode(&answer.encode()), Some(answer));
        }
        assert_eq!(Answer::decode(&[250, 1]), None);
    }
}
