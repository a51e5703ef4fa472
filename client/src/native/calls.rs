//! Asks until there is an answer: one member after the other, as long as asking again is safe.
//!
//! Refuses to repeat what may have happened already and must not happen twice, and to call it refused or done when it
//! may be either.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use holdfast_api::http::{Problem, ProblemCode};
use holdfast_wire::native::{Refusal, Reply, Request};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::address::Address;
use super::link::{Link, Lost, Shared};
use crate::endpoints::Endpoints;
use crate::error::{Error, Tried};
use crate::request::Effect;
use crate::transport::{Tally, settles};

/// After all members were asked in vain, wait this long; then twice as long, and so on.
const PAUSE_FIRST: Duration = Duration::from_millis(5);

/// No pause is longer.
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// How long a connection and its greetings may take.
const CONNECT_MAX: Duration = Duration::from_secs(1);

/// A way to some members.
#[derive(Debug)]
pub(super) struct Calls {
    endpoints: Endpoints<Address>,
    places: Vec<Place>,
    /// Most time for one try, if there are several endpoints.
    attempt: Duration,
}

/// What is open to one endpoint.
#[derive(Debug, Default)]
struct Place {
    link: RwLock<Option<Arc<Shared>>>,
    /// Held while connecting, so that one connection is made for all who need it.
    connecting: Mutex<()>,
}

/// How one try ended, if the call goes on.
enum Attempt {
    Answered(Reply),
    /// Nothing happened, and nothing of this try will.
    NotSent(String),
    /// It may have happened, or may still.
    Unknown(String),
    /// The same: there was no answer within this time.
    Silent(Duration),
    TooLarge(usize),
}

impl Calls {
    pub(super) fn new(endpoints: Endpoints<Address>, attempt: Duration) -> Calls {
        let places = (0..endpoints.len()).map(|_| Place::default()).collect();
        Calls { endpoints, places, attempt }
    }

    /// Ask until `deadline`, a bound on the whole call. `bytes` is about how long the request is.
    pub(super) async fn call(
        &self,
        request: &Request,
        bytes: usize,
        effect: Effect,
        deadline: Instant,
    ) -> Result<Reply, Error> {
        let mut tally = Tally::default();
        let mut pause = PAUSE_FIRST;
        loop {
            let mut wished = Duration::ZERO;
            for place in self.endpoints.order() {
                if tally.attempts > 0 && Instant::now() >= deadline {
                    return Err(tally.conclude());
                }
                tally.attempts += 1;
                let attempt = self.attempt(place, request, bytes, deadline).await;
                if let Some(result) = self.judge(place, effect, attempt, &mut tally) {
                    return result;
                }
                let asked = tally.refusal.as_ref().and_then(|problem| problem.retry_after_ms);
                wished = Duration::from_millis(asked.unwrap_or(0));
            }
            let next = Instant::now() + pause.max(wished.min(PAUSE_MAX));
            if next >= deadline {
                return Err(tally.conclude());
            }
            sleep_until(next).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// The call's result, or `None` to try on.
    fn judge(
        &self,
        place: usize,
        effect: Effect,
        attempt: Attempt,
        tally: &mut Tally,
    ) -> Option<Result<Reply, Error>> {
        let mut silent = false;
        let why = match attempt {
            Attempt::Answered(Reply::Refused(refusal)) => self.refused(place, problem(refusal), tally),
            Attempt::Answered(Reply::Unknown { detail, .. }) => self.doubt(place, effect, detail, tally),
            Attempt::Answered(reply) => {
                self.answered(place, tally);
                return Some(Ok(reply));
            }
            Attempt::Unknown(why) => self.doubt(place, effect, why, tally),
            Attempt::Silent(wait) => {
                silent = true;
                self.doubt(place, effect, format!("no answer within {} ms", wait.as_millis()), tally)
            }
            Attempt::NotSent(why) => Ok(why),
            Attempt::TooLarge(bytes) => {
                let detail = format!("a request of {bytes} bytes is larger than members take");
                Err(Error::refused(ProblemCode::TooLarge, detail))
            }
        };
        match why {
            Ok(why) => {
                self.endpoints.avoid(place);
                tally.tried(Tried { endpoint: self.name(place), why, silent });
                None
            }
            Err(error) => Some(Err(error)),
        }
    }

    /// This one answers: if others did not, ask it first. Else the leader stays first, if it is known.
    fn answered(&self, place: usize, tally: &Tally) {
        if tally.attempts > 1 {
            self.endpoints.prefer(place);
        }
    }

    /// What a lost answer comes to: words, and another try is worth it, or the call's error.
    fn doubt(&self, place: usize, effect: Effect, why: String, tally: &mut Tally) -> Result<String, Error> {
        if effect != Effect::Reads {
            tally.doubt = Some(format!("{}: {why}", self.name(place)));
        }
        if effect == Effect::Writes { Err(tally.unknown()) } else { Ok(why) }
    }

    /// What a refusal comes to: words, and another try is worth it, or the call's error.
    fn refused(&self, place: usize, problem: Problem, tally: &mut Tally) -> Result<String, Error> {
        if problem.retryable {
            let why = format!("{} ({})", problem.detail, problem.code);
            tally.refusal = Some(Box::new(problem));
            Ok(why)
        } else if tally.doubt.is_some() && !settles(problem.code) {
            Err(tally.unknown())
        } else {
            self.answered(place, tally);
            Err(Error::Refused(Box::new(problem)))
        }
    }

    async fn attempt(&self, place: usize, request: &Request, bytes: usize, deadline: Instant) -> Attempt {
        let now = Instant::now();
        // With nobody else to ask there is no reason to stop waiting.
        let end = if self.endpoints.len() == 1 { deadline } else { deadline.min(now + self.attempt) };
        let link = match self.link(place, end).await {
            Ok(link) => link,
            Err(why) => return Attempt::NotSent(why),
        };
        match link.ask(request, bytes, end).await {
            Ok(reply) => Attempt::Answered(reply),
            Err(Lost::NotSent(why)) => Attempt::NotSent(why),
            Err(Lost::Broken(why)) => Attempt::Unknown(why),
            Err(Lost::Late) => Attempt::Silent(end.saturating_duration_since(now)),
            Err(Lost::TooLarge(bytes)) => Attempt::TooLarge(bytes),
        }
    }

    /// The connection to an endpoint, made if there is none.
    async fn link(&self, place: usize, deadline: Instant) -> Result<Arc<Shared>, String> {
        if let Some(link) = self.open(place) {
            return Ok(link);
        }
        let end = deadline.min(Instant::now() + CONNECT_MAX);
        let connected = timeout_at(end, async {
            let _alone = self.places[place].connecting.lock().await;
            if let Some(link) = self.open(place) {
                return Ok(link);
            }
            let stream = self.endpoints.address(place).connect().await?;
            let link = Arc::new(Link::start(stream).await?);
            *self.places[place].link.write().unwrap_or_else(PoisonError::into_inner) = Some(link.clone());
            Ok::<_, std::io::Error>(link)
        });
        let link = match connected.await {
            Ok(connected) => connected.map_err(|error| error.to_string())?,
            Err(_) => return Err("no connection in time".to_owned()),
        };
        self.learn(place, &link);
        Ok(link)
    }

    fn open(&self, place: usize) -> Option<Arc<Shared>> {
        let link = self.places[place].link.read().unwrap_or_else(PoisonError::into_inner);
        link.as_ref().filter(|link| !link.is_over()).cloned()
    }

    /// Ask the leader first from now on, or look for it among the endpoints that nobody has seen yet.
    fn learn(&self, place: usize, link: &Link) {
        let member = link.welcome.member.ordinal.0;
        self.endpoints.learn(place, member);
        match link.welcome.leader {
            Some(leader) if leader.0 != member => self.endpoints.prefer_member_or_unseen(leader.0),
            _ => {}
        }
    }

    fn name(&self, place: usize) -> String {
        self.endpoints.address(place).to_string()
    }
}

/// A refusal as errors have it.
fn problem(refusal: Refusal) -> Problem {
    let Refusal { code, retryable, retry_after_ms, leader, revision, detail } = refusal;
    let code = serde_json::from_value(code.into()).unwrap_or(ProblemCode::Unrecognized);
    Problem {
        retryable,
        retry_after_ms: retry_after_ms.map(u64::from),
        leader: leader.map(|leader| leader.0),
        revision,
        ..Problem::new(code, detail, "")
    }
}
