//! Clients that do a bit of everything with a few keys, at a bounded rate, and remember what they were told. It retries only
//! what the product says may be retried: writes that carry a session.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use holdfast_api::http::{DeleteReply, Problem, ProblemCode, WriteReply, header};
use reqwest::header::{ETAG, IF_MATCH, IF_NONE_MATCH};
use reqwest::{Client, RequestBuilder, Response};

use super::lots::Lots;
use super::network::Network;
use crate::history::Attempt;
use crate::http::Outcome;
use crate::linearizability::{Call, Expect, Operation, Return};

/// Clients at once: enough that some request is always on its way to every member.
const CLIENTS: usize = 8;

/// Keys that all clients write and read.
pub const KEYS: usize = 5;

/// The longest pause of a client between two requests: about 500 requests a second from all.
const PAUSE_MAX_MS: u64 = 25;

/// How long a member may let a request wait. Longer than an election, shorter than most faults.
const TIMEOUT: &str = "1s";

/// How long a client waits for an answer; a member that is paused gives none.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(2);

/// How long a connection may take.
const CONNECT_TIME_MAX: Duration = Duration::from_millis(500);

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

/// A client for requests of the runner itself.
pub fn http() -> Client {
    let builder = Client::builder().timeout(ANSWER_WAIT_MAX).connect_timeout(CONNECT_TIME_MAX);
    builder.no_proxy().tcp_nodelay(true).build().expect("a client without any file or certificate")
}

async fn all(shared: Arc<Shared>, seed: u64) -> anyhow::Result<Vec<Event>> {
    let local = tokio::task::LocalSet::new();
    let clients: Vec<_> =
        (0..CLIENTS).map(|number| local.spawn_local(One::new(&shared, number, seed).run())).collect();
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
    http: Client,
    lots: Lots,
    number: usize,
    /// The member that it talks to.
    member: usize,
    session: Option<(u64, u64)>,
    /// By key: the last revision that it was told.
    known: [u64; KEYS],
    writes: u64,
}

/// What one answer says.
enum Answer {
    /// See [`Return`]; with the store's revision if that was told.
    Told(Return, Option<u64>),
    /// With the reason.
    Refused(String),
    /// As refused, and the session is of no use any more.
    NoSession,
    Unknown,
}

impl One {
    fn new(shared: &Arc<Shared>, number: usize, seed: u64) -> One {
        let mut lots = Lots::new(seed ^ (number as u64 + 1).wrapping_mul(0x5851_f42d_4c95_7f2d));
        let member = lots.below(shared.bases.len() as u64) as usize;
        One {
            shared: Arc::clone(shared),
            http: http(),
            lots,
            number,
            member,
            session: None,
            known: [0; KEYS],
            writes: 0,
        }
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
        let stamp = (call != Call::Get && self.lots.chance(50)).then(|| {
            let (session, last) = self.session.unwrap_or_else(|| (self.lots.draw(), 0));
            self.session = Some((session, last + 1));
            (session, last + 1)
        });
        let mut unknown = false;
        for _ in 0..if stamp.is_some() { TRIES_MAX } else { 1 } {
            let answer = self.try_once(key, call, text, stamp).await?;
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
            self.member = (self.member + 1) % self.shared.bases.len();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(Answer::Unknown)
    }

    async fn try_once(
        &self,
        key: &str,
        call: Call,
        text: Option<&str>,
        stamp: Option<(u64, u64)>,
    ) -> anyhow::Result<Answer> {
        let url = format!("{}/v1/kv/{key}?timeout={TIMEOUT}", self.shared.bases[self.member]);
        let url = match stamp {
            Some((session, sequence)) => format!("{url}&session={session:x}&sequence={sequence}"),
            None => url,
        };
        let request = match call {
            Call::Get => self.http.get(url),
            Call::Delete(expect) => expecting(self.http.delete(url), expect),
            Call::Put(value, expect) => {
                let body = text.map_or_else(|| value.to_string(), str::to_owned);
                expecting(self.http.put(url), expect).body(body)
            }
        };
        match request.send().await {
            Ok(response) => answer(call, response).await,
            // Without a connection nothing was sent.
            Err(error) if error.is_connect() => Ok(Answer::Refused(format!("{error:?}"))),
            Err(_) => Ok(Answer::Unknown),
        }
    }
}

fn expecting(request: RequestBuilder, expect: Expect) -> RequestBuilder {
    match expect {
        Expect::Any => request,
        Expect::Absent => request.header(IF_NONE_MATCH, "*"),
        Expect::Revision(revision) => request.header(IF_MATCH, format!("\"{revision}\"")),
    }
}

/// What a response says. Whatever cannot be read leaves the outcome unknown; what makes no sense is an error.
async fn answer(call: Call, response: Response) -> anyhow::Result<Answer> {
    let number = |name: &str| -> Option<u64> {
        response.headers().get(name)?.to_str().ok()?.trim_matches('"').parse().ok()
    };
    let (status, tag, at) = (response.status(), number(ETAG.as_str()), number(header::REVISION));
    let Ok(body) = response.bytes().await else { return Ok(Answer::Unknown) };
    let shown = || format!("{call:?} was answered {status}: {}", String::from_utf8_lossy(&body));
    if !status.is_success() {
        let Ok(problem) = serde_json::from_slice::<Problem>(&body) else {
            anyhow::bail!("{} is no problem", shown())
        };
        return Ok(refusal(&problem, at));
    }
    let told = match call {
        Call::Get => {
            let value = std::str::from_utf8(&body).ok().and_then(|text| text.parse().ok());
            Return::Found(value.with_context(shown)?, tag.with_context(shown)?)
        }
        Call::Put(..) => {
            Return::Done(serde_json::from_slice::<WriteReply>(&body).with_context(shown)?.revision)
        }
        Call::Delete(_) => {
            let reply: DeleteReply = serde_json::from_slice(&body).with_context(shown)?;
            if reply.deleted == 0 { Return::Absent } else { Return::Done(reply.write.revision) }
        }
    };
    Ok(Answer::Told(told, at))
}

fn refusal(problem: &Problem, at: Option<u64>) -> Answer {
    match problem.code {
        ProblemCode::KeyNotFound => Answer::Told(Return::Absent, at),
        ProblemCode::PreconditionFailed => match problem.revision {
            Some(revision) => Answer::Told(Return::Mismatch(revision), None),
            None => Answer::Refused("another revision, without saying which".to_owned()),
        },
        ProblemCode::SessionExpired | ProblemCode::StaleSequence => Answer::NoSession,
        _ if problem.outcome == holdfast_api::http::Outcome::Refused => Answer::Refused(problem.to_string()),
        _ => Answer::Unknown,
    }
}
