//! Clients: each does one operation at a time, knows its own session, retries what is safe, and remembers what it saw.

use std::time::Duration;

use bytes::Bytes;
use holdfast_engine::{Random, WriteConcern};
use holdfast_store::{Command, Expect, Operation as Request, Outcome, Revision, SessionId, Stamp};

use crate::flaw::ShellBug;
use crate::history::{Done, Operation};
use crate::member::{Answer, RequestId};

/// A client gives an attempt up after so long.
pub(crate) const PATIENCE: Duration = Duration::from_millis(800);

/// A write with a session is retried so often before its client gives up for good.
const TRIES_MAX: u32 = 20;

/// Few keys, so that operations meet.
const KEYS: u64 = 4;

/// One client.
#[derive(Debug)]
pub(crate) struct Client {
    session: SessionId,
    sequence: u64,
    number: u64,
    values: u64,
    /// The last revision it saw of a key: what its conditional writes expect.
    seen: Option<Revision>,
    current: Option<Current>,
    flaw: Option<ShellBug>,
}

#[derive(Clone, Debug)]
struct Current {
    invoked: u64,
    tries: u32,
    what: What,
}

/// What a client asks for.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// A write: the encoded command.
    Write { payload: Bytes, concern: WriteConcern, retries: bool },
    /// A linearizable read.
    Read { key: Bytes },
}

/// What a client does after an answer.
#[derive(Debug)]
pub(crate) enum Next {
    /// Ask the same again, of any member, after a while.
    Again,
    /// Go on with something new after a while.
    New(Option<Operation>),
}

impl Client {
    pub(crate) fn new(number: usize, flaw: Option<ShellBug>) -> Client {
        let session = SessionId(number as u128 + 1);
        Client { session, sequence: 0, number: 0, values: 0, seen: None, current: None, flaw }
    }

    /// Think of something to do; how often that is a read, `reads` says. `order` counts events.
    pub(crate) fn invent(&mut self, order: u64, members: u8, reads: f64, random: &mut Random) {
        let key = Bytes::from(format!("key-{}", random.below(KEYS)));
        let what =
            if random.chance(reads) { What::Read { key } } else { self.invent_write(key, members, random) };
        self.current = Some(Current { invoked: order, tries: 0, what });
    }

    fn invent_write(&mut self, key: Bytes, members: u8, random: &mut Random) -> What {
        self.values += 1;
        let value = Bytes::from(format!("{}-{}", self.session.0, self.values));
        let operation = match random.below(10) {
            0 => Request::Delete { key, expect: Expect::Any },
            1 => Request::Put { key, value, expect: Expect::Absent },
            2 | 3 => {
                let expect = self.seen.map_or(Expect::Any, Expect::Revision);
                Request::Put { key, value, expect }
            }
            _ => Request::Put { key, value, expect: Expect::Any },
        };
        let retries = random.chance(0.6);
        let session = retries.then(|| {
            self.sequence += 1;
            Stamp { session: self.session, sequence: self.sequence }
        });
        let concern = match random.below(10) {
            0 => WriteConcern::Members(1),
            1 => WriteConcern::All,
            2 => WriteConcern::Members(1 + random.below(u64::from(members)) as u8),
            _ => WriteConcern::Majority,
        };
        What::Write { payload: Command { session, operation }.encode(), concern, retries }
    }

    /// Whether an operation is under way.
    pub(crate) fn is_busy(&self) -> bool {
        self.current.is_some()
    }

    /// The next attempt at the current operation, if there is one.
    pub(crate) fn attempt(&mut self, client: usize) -> Option<(RequestId, What)> {
        self.number += 1;
        let what = self.current.as_ref()?.what.clone();
        Some((RequestId { client, number: self.number }, what))
    }

    /// The attempt that is under way, if `request` is it.
    pub(crate) fn awaits(&self, request: RequestId) -> bool {
        self.current.is_some() && request.number == self.number
    }

    /// What an answer, or its absence (`None`), means for the current operation.
    pub(crate) fn hear(&mut self, answer: Option<Answer>, order: u64) -> Next {
        let Some(current) = &mut self.current else { return Next::New(None) };
        current.tries += 1;
        // One answer per attempt: what still comes for it is not awaited any more.
        self.number += 1;
        let exhausted = current.tries > TRIES_MAX;
        let blind = self.flaw == Some(ShellBug::RetriesWithoutSession);
        let answer = match (answer, &current.what) {
            (Some(Answer::Unknown) | None, What::Write { .. }) if blind && !exhausted => return Next::Again,
            (Some(Answer::Refused), _) if !exhausted => return Next::Again,
            (Some(Answer::Unknown) | None, What::Write { retries: true, .. }) if !exhausted => {
                return Next::Again;
            }
            (Some(Answer::Unknown) | None, What::Read { .. }) if !exhausted => return Next::Again,
            (answer, _) => answer,
        };
        let invoked = current.invoked;
        let done = match (answer, &current.what) {
            (Some(Answer::Written { position, outcome, committed }), _) => {
                let revision = revision_of(&outcome);
                self.seen = revision.or(self.seen);
                committed.then_some(Done::Write { index: position.index, revision })
            }
            (Some(Answer::Read { revision, found }), What::Read { key }) => {
                self.seen = found.as_ref().map(|(revision, _)| Revision(*revision)).or(self.seen);
                Some(Done::Read { key: key.clone(), revision: Revision(revision), found })
            }
            _ => None,
        };
        self.current = None;
        Next::New(done.map(|done| Operation { invoked, returned: order, done }))
    }
}

/// The revision that a write made, if it changed anything.
fn revision_of(outcome: &Outcome) -> Option<Revision> {
    match outcome {
        Outcome::Put { revision, .. } => Some(*revision),
        Outcome::Deleted { revision, count } if *count > 0 => Some(*revision),
        _ => None,
    }
}

/// How long a client thinks.
pub(crate) fn pause(random: &mut Random) -> Duration {
    random.between(Duration::from_micros(100), Duration::from_millis(20))
}
