//! Clients: each does one operation at a time, knows its own session, retries what is safe, and remembers what it saw.

use std::time::Duration;

use bytes::Bytes;
use holdfast_engine::{Random, WriteConcern};
use holdfast_store::{
    Append, Command, DEDUPLICATION_WINDOW, Deduplication, Expect, LogSettings, MessagesQuery,
    Operation as Request, Outcome, Revision, Sequence, SessionId, Stamp, View,
};

use crate::flaw::ShellBug;
use crate::history::{Done, Operation};
use crate::member::{Answer, RequestId};

/// A client gives an attempt up after so long.
pub(crate) const PATIENCE: Duration = Duration::from_millis(800);

/// A write with a session is retried so often before its client gives up for good.
const TRIES_MAX: u32 = 20;

/// Few keys, so that operations meet.
const KEYS: u64 = 4;

/// Logs that clients use. None of them is ever deleted: a sequence names one message for good.
const LOGS: [&[u8]; 5] = [b"messages", b"messages", b"small", b"keyed", b"free"];

/// The log that looks back to few messages, and keeps few.
const SMALL: &[u8] = b"small";

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
    /// It adds messages to logs, and reads them.
    messages: bool,
    /// Where the list goes on that it reads.
    next: Sequence,
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
    /// Messages of a log, from whoever is asked.
    List(MessagesQuery),
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
    pub(crate) fn new(number: usize, flaw: Option<ShellBug>, messages: bool) -> Client {
        let session = SessionId(number as u128 + 1);
        Client {
            session,
            sequence: 0,
            number: 0,
            values: 0,
            seen: None,
            current: None,
            flaw,
            messages,
            next: Sequence(0),
        }
    }

    /// Think of something to do; how often that is a read, `reads` says. `order` counts events.
    pub(crate) fn invent(&mut self, order: u64, members: u8, reads: f64, random: &mut Random) {
        if self.messages && random.chance(0.8) {
            let what = self.invent_message(order, members, random);
            self.current = Some(Current { invoked: order, tries: 0, what });
            return;
        }
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
        let concern = concern(members, random);
        What::Write { payload: Command { session, operation }.encode(), concern, retries }
    }

    /// A message, a list, or now and then other settings.
    fn invent_message(&mut self, order: u64, members: u8, random: &mut Random) -> What {
        let log = Bytes::from_static(LOGS[random.below(LOGS.len() as u64) as usize]);
        if random.chance(0.25) {
            let view = if random.chance(0.5) { View::Committed } else { View::Executed };
            let from = if random.chance(0.3) { Sequence(0) } else { self.next };
            let limit = 1 + random.below(40) as usize;
            return What::List(MessagesQuery { log, from, limit, bytes_max: usize::MAX, view });
        }
        let deduplication = deduplication(&log);
        if random.chance(0.02) || (self.values < 3 && random.chance(0.2)) {
            let small = log == SMALL;
            let draw = |random: &mut Random| small.then(|| 2 + random.below(6));
            let settings = LogSettings {
                deduplication,
                deduplication_window: draw(random).unwrap_or(DEDUPLICATION_WINDOW),
                retain_messages: draw(random),
                retain_ms: draw(random).map(|many| many * 20),
                retain_bytes: None,
            };
            let payload = Command::new(Request::ConfigureLog { log, settings }).encode();
            return What::Write { payload, concern: WriteConcern::Majority, retries: false };
        }
        self.values += 1;
        // Some come again, from the same client and from others.
        let number = if random.chance(0.15) { random.below(self.values) + 1 } else { self.values };
        let author = if random.chance(0.1) { 1 } else { self.session.0 };
        let text = format!("{author}-{number}");
        let key = random.chance(0.7).then(|| Bytes::from(format!("{author}-{}", number / 2)));
        let session = random.chance(0.3).then(|| {
            self.sequence += 1;
            Stamp { session: self.session, sequence: self.sequence }
        });
        // A log that tells messages apart by their content needs no session: its retries are safe.
        let safe = match deduplication {
            Deduplication::Content => log != SMALL,
            Deduplication::Key => key.is_some(),
            Deduplication::None => false,
        };
        let retries = session.is_some() || safe;
        // Members' clocks differ.
        let time_ms = order + random.below(50);
        let attempt = random.draw();
        let operation = Request::Append(Append { log, message: Bytes::from(text), key, time_ms, attempt });
        let concern = concern(members, random);
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
            (Some(Answer::Unknown) | None, What::Read { .. } | What::List(_)) if !exhausted => {
                return Next::Again;
            }
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
            (Some(Answer::Listed { next }), _) => {
                self.next = next;
                None
            }
            _ => None,
        };
        self.current = None;
        Next::New(done.map(|done| Operation { invoked, returned: order, done }))
    }
}

fn concern(members: u8, random: &mut Random) -> WriteConcern {
    match random.below(10) {
        0 => WriteConcern::Members(1),
        1 => WriteConcern::All,
        2 => WriteConcern::Members(1 + random.below(u64::from(members)) as u8),
        _ => WriteConcern::Majority,
    }
}

/// What a log of the simulated clients tells messages apart by.
fn deduplication(log: &[u8]) -> Deduplication {
    match log {
        b"keyed" => Deduplication::Key,
        b"free" => Deduplication::None,
        _ => Deduplication::Content,
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
