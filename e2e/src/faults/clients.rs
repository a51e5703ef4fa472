//! Clients that do a bit of everything with a few keys, at a bounded rate, and remember what they were told. It retries only
//! what the product says may be retried: writes that carry a session.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::lots::Lots;
use super::network::Network;
use super::ways::{Answer, Way};
use crate::history::Attempt;
use crate::http::Outcome;
use crate::linearizability::{Call, Expect, Operation, Return};

/// Clients at once: enough that some request is always on its way to every member.
const CLIENTS: usize = 8;

/// Keys that all clients write and read.
pub const KEYS: usize = 5;

/// The longest pause of a client between two requests: about 500 requests a second from all.
const PAUSE_MAX_MS: u64 = 25;

/// How often a write with a session is sent while its outcome is unknown.
const TRIES_MAX: usize = 4;

/// Values of one client are numbered from this times its number.
const VALUES: u64 = 1_000_000;

/// Keys that are written once begin so.
pub const ONCE: &str = "once/";

/// Keys that are written again and again begin so.
pub const SHARED: &str = "shared/";

/// What one client was told by one request.
#[derive(Clone, Debug)]
pub enum Event {
    /// About one of the shared keys, with the store's revision if that was told.
    Shared {
        /// Which key.
        key: usize,
        /// What happened.
        operation: Operation,
        /// The store's revision, if a read was told.
        revision: Option<u64>,
    },
    /// About a key that is written only once.
    Once(Attempt),
    /// Refused, or a read without an answer: nothing happened.
    Refused,
}

/// A running load. Dropping it stops the clients.
#[derive(Debug)]
pub struct Clients {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<anyhow::Result<Vec<Event>>>>,
}

#[derive(Debug)]
struct Shared {
    /// Where the members' client ports are.
    bases: Vec<String>,
    begin: Instant,
    stopped: AtomicBool,
    acknowledged: AtomicU64,
    /// When the last write was acknowledged, in microseconds since the begin, and the longest time between two.
    last: AtomicU64,
    gap: AtomicU64,
}

impl Clients {
    /// Start them in the network.
    ///
    /// # Errors
    ///
    /// If the system has no thread to spare.
    pub fn start(
        network: &Arc<Network>,
        bases: &[String],
        begin: Instant,
        seed: u64,
    ) -> anyhow::Result<Clients> {
        let shared = Arc::new(Shared {
            bases: bases.to_vec(),
            begin,
            stopped: AtomicBool::new(false),
            acknowledged: AtomicU64::new(0),
            last: AtomicU64::new(begin.elapsed().as_micros() as u64),
            gap: AtomicU64::new(0),
        });
        let (network, its) = (Arc::clone(network), Arc::clone(&shared));
        let work = move || {
            network.enter()?;
            drop(network);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(all(its, seed))
        };
        let thread = std::thread::Builder::new().name("clients".to_owned()).spawn(work);
        Ok(Clients { shared, thread: Some(thread.context("cannot start the clients")?) })
    }

    /// Writes that were acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Ordering::Relaxed)
    }

    /// The longest time so far in which no write was acknowledged.
    pub fn gap(&self) -> Duration {
        Duration::from_micros(self.shared.gap.load(Ordering::Relaxed))
    }

    /// Stop them and return what they were told.
    ///
    /// # Errors
    ///
    /// If a client got an answer that makes no sense.
    pub fn stop(mut self) -> anyhow::Result<Vec<Event>> {
        self.shared.stopped.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("it is stopped once");
        thread.join().map_err(|_| anyhow::anyhow!("the clients panicked"))?
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn all(shared: Arc<Shared>, seed: u64) -> anyhow::Result<Vec<Event>> {
    let local = tokio::task::LocalSet::new();
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        clients.push(local.spawn_local(One::new(&shared, number, seed)?.run()));
    }
    local.await;
    let mut events = Vec::new();
    for client in clients {
        events.extend(client.await.context("a client panicked")??);
    }
    Ok(events)
}

/// One client.
struct One {
    shared: Arc<Shared>,
    way: Way,
    lots: Lots,
    number: usize,
    /// The member that it talks to.
    member: usize,
    session: Option<(u64, u64)>,
    /// By key: the last revision that it was told.
    known: [u64; KEYS],
    writes: u64,
}

impl One {
    fn new(shared: &Arc<Shared>, number: usize, seed: u64) -> anyhow::Result<One> {
        let mut lots = Lots::new(seed ^ (number as u64 + 1).wrapping_mul(0x5851_f42d_4c95_7f2d));
        let member = lots.below(shared.bases.len() as u64) as usize;
        let way = Way::of(number, &shared.bases)?;
        Ok(One {
            shared: Arc::clone(shared),
            way,
            lots,
            number,
            member,
            session: None,
            known: [0; KEYS],
            writes: 0,
        })
    }

    async fn run(mut self) -> anyhow::Result<Vec<Event>> {
        let mut events = Vec::new();
        while !self.shared.stopped.load(Ordering::Relaxed) {
            let event = if self.lots.chance(35) { self.once().await? } else { self.shared_key().await? };
            events.push(event);
            tokio::time::sleep(self.lots.time(1, PAUSE_MAX_MS)).await;
        }
        Ok(events)
    }

    /// Write a key that nobody else writes.
    async fn once(&mut self) -> anyhow::Result<Event> {
        self.writes += 1;
        let key = format!("{ONCE}{}-{}", self.number, self.writes);
        let begin = Instant::now();
        let answer = self.send(&key, Call::Put(0, Expect::Any), Some(&key)).await?;
        let end = Instant::now();
        let outcome = match answer {
            Answer::Told(Return::Done(revision), _) => Outcome::Acknowledged { revision, term: 0 },
            Answer::Told(other, _) => anyhow::bail!("a put of a new key was answered by {other:?}"),
            Answer::Refused(reason) => Outcome::Refused(reason),
            Answer::NoSession => Outcome::Refused("the session is not known".to_owned()),
            Answer::Unknown => Outcome::Unknown(String::new()),
        };
        self.note(&outcome);
        Ok(Event::Once(Attempt { key, begin, end, outcome }))
    }

    async fn shared_key(&mut self) -> anyhow::Result<Event> {
        let key = self.lots.below(KEYS as u64) as usize;
        let expect = match self.lots.below(10) {
            0 => Expect::Absent,
            1..4 if self.known[key] != 0 => Expect::Revision(self.known[key]),
            _ => Expect::Any,
        };
        self.writes += 1;
        let value = self.number as u64 * VALUES + self.writes;
        let call = match self.lots.below(20) {
            0..7 => Call::Get,
            7..9 => Call::Delete(if expect == Expect::Absent { Expect::Any } else { expect }),
            _ => Call::Put(value, expect),
        };
        let begin = self.shared.begin.elapsed();
        let answer = self.send(&format!("{SHARED}{key}"), call, None).await?;
        let end = self.shared.begin.elapsed();
        let (result, revision) = match answer {
            Answer::Told(result, revision) => (result, revision),
            Answer::Unknown if call != Call::Get => (Return::Unknown, None),
            Answer::Unknown | Answer::Refused(_) | Answer::NoSession => {
                self.member = (self.member + 1) % self.shared.bases.len();
                return Ok(Event::Refused);
            }
        };
        match result {
            Return::Done(revision) => {
                self.known[key] = revision;
                self.note(&Outcome::Acknowledged { revision, term: 0 });
            }
            Return::Found(_, revision) | Return::Mismatch(revision) => self.known[key] = revision,
            Return::Unknown => self.note(&Outcome::Unknown(String::new())),
            Return::Absent => {}
        }
        let operation = Operation { client: self.number, begin, end, call, result };
        Ok(Event::Shared { key, operation, revision })
    }

    /// Count, and go to another member if this one was of no help.
    fn note(&mut self, outcome: &Outcome) {
        if !matches!(outcome, Outcome::Acknowledged { .. }) {
            self.member = (self.member + 1) % self.shared.bases.len();
            return;
        }
        let now = self.shared.begin.elapsed().as_micros() as u64;
        let before = self.shared.last.swap(now, Ordering::Relaxed);
        self.shared.gap.fetch_max(now.saturating_sub(before), Ordering::Relaxed);
        self.shared.acknowledged.fetch_add(1, Ordering::Relaxed);
    }

    /// Send it, and again if it carries a session and nobody can say what became of it.
    async fn send(&mut self, key: &str, call: Call, text: Option<&str>) -> anyhow::Result<Answer> {
        let stamp = (!self.way.repeats() && call != Call::Get && self.lots.chance(50)).then(|| {
            let (session, last) = self.session.unwrap_or_else(|| (self.lots.draw(), 0));
            self.session = Some((session, last + 1));
            (session, last + 1)
        });
        let mut unknown = false;
        for _ in 0..if stamp.is_some() { TRIES_MAX } else { 1 } {
            let base = &self.shared.bases[self.member];
            let value = match (call, text) {
                (Call::Put(value, _), None) => value.to_string(),
                (_, text) => text.unwrap_or_default().to_owned(),
            };
            let answer = self.way.ask(base, key, call, value, stamp).await?;
            match answer {
                Answer::Told(..) => return Ok(answer),
                Answer::NoSession => {
                    self.session = None;
                    return Ok(if unknown { Answer::Unknown } else { Answer::NoSession });
                }
                // Refused now says nothing about the time before.
                Answer::Refused(_) if !unknown => return Ok(answer),
                Answer::Refused(_) | Answer::Unknown => unknown = true,
            }
            if self.way.repeats() {
                break;
            }
            self.member = (self.member + 1) % self.shared.bases.len();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(Answer::Unknown)
    }
}
