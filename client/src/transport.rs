//! Sends one request until it has an answer: to one member after the other, as long as repeating it is safe.
//!
//! Refuses to repeat what may have happened already and must not happen twice, and to call it refused or done when it
//! may be either.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use holdfast_api::http::{Outcome, PROBLEM_TYPE, Problem, ProblemCode};
use http::{HeaderMap, StatusCode};
use reqwest::Url;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::endpoints::Endpoints;
use crate::error::{Error, Tried};
use crate::request::{Effect, Request};

/// Largest answer: a page of the largest values as Base64, with room.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// After all members were asked in vain, wait this long; then twice as long, and so on. Shorter than an election, so
/// that the first wait does not hide how fast one is.
const PAUSE_FIRST: Duration = Duration::from_millis(5);
/// No pause is longer.
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// A successful answer.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Which endpoint gave it.
    pub(crate) place: usize,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// How one try ended.
enum Attempt {
    /// Done.
    Answered(Answer),
    /// Nothing happened, and nothing of this try will.
    Refused(Box<Problem>),
    /// It may have happened, or may still.
    Unknown(String),
    /// The same: there was no answer within this time.
    Silent(Duration),
    /// No member took it.
    NotSent(String),
    /// Whoever answered did nothing, and is no member.
    Foreign(String),
}

/// A way to some members.
#[derive(Debug)]
pub(crate) struct Transport {
    pub(crate) http: reqwest::Client,
    pub(crate) endpoints: Endpoints,
    /// Most time for one try, if there are several endpoints.
    pub(crate) attempt: Duration,
}

/// What the tries so far say together.
#[derive(Default)]
pub(crate) struct Tally {
    /// A try that may have changed something.
    pub(crate) doubt: Option<String>,
    /// A refusal that may not last.
    pub(crate) refusal: Option<Box<Problem>>,
    /// The newest failure at each member.
    tried: Vec<Tried>,
    pub(crate) attempts: u32,
}

impl Transport {
    /// Sends a request until `deadline`, a bound on the whole call.
    pub(crate) async fn call(&self, request: &Request, deadline: Instant) -> Result<Answer, Error> {
        let mut tally = Tally::default();
        let mut pause = PAUSE_FIRST;
        loop {
            for place in self.endpoints.order() {
                if tally.attempts > 0 && Instant::now() >= deadline {
                    return Err(tally.conclude());
                }
                tally.attempts += 1;
                let attempt = self.attempt(place, request, deadline).await;
                if let Some(result) = self.judge(place, request.effect, attempt, &mut tally) {
                    return result;
                }
            }
            let next = Instant::now() + pause;
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
    ) -> Option<Result<Answer, Error>> {
        let silent = matches!(attempt, Attempt::Silent(_));
        let why = match attempt {
            Attempt::Answered(answer) => {
                self.endpoints.prefer(place);
                return Some(Ok(answer));
            }
            Attempt::Refused(problem) => self.refused(place, problem, tally),
            Attempt::Unknown(why) => self.doubt(place, effect, why, tally),
            Attempt::Silent(wait) => {
                self.doubt(place, effect, format!("no answer within {} ms", wait.as_millis()), tally)
            }
            Attempt::NotSent(why) => Ok(why),
            Attempt::Foreign(why) if tally.doubt.is_some() => Ok(why),
            Attempt::Foreign(detail) => Err(Error::Protocol { endpoint: self.name(place), detail }),
        };
        let why = match why {
            Ok(why) => why,
            Err(error) => return Some(Err(error)),
        };
        self.endpoints.avoid(place);
        tally.tried(Tried { endpoint: self.name(place), why, silent });
        None
    }

    /// What a lost answer comes to: words, and another try is worth it, or the call's error.
    fn doubt(&self, place: usize, effect: Effect, why: String, tally: &mut Tally) -> Result<String, Error> {
        if effect != Effect::Reads {
            tally.doubt = Some(format!("{}: {why}", self.name(place)));
        }
        if effect == Effect::Writes { Err(tally.unknown()) } else { Ok(why) }
    }

    /// What a refusal comes to: words, and another try is worth it, or the call's error.
    fn refused(&self, place: usize, problem: Box<Problem>, tally: &mut Tally) -> Result<String, Error> {
        if let Some(leader) = problem.leader {
            self.endpoints.prefer_member(leader);
        }
        if problem.retryable {
            let why = format!("{} ({})", problem.detail, problem.code);
            tally.refusal = Some(problem);
            Ok(why)
        } else if tally.doubt.is_some() && !settles(problem.code) {
            Err(tally.unknown())
        } else {
            self.endpoints.prefer(place);
            Err(Error::Refused(problem))
        }
    }

    async fn attempt(&self, place: usize, request: &Request, deadline: Instant) -> Attempt {
        let now = Instant::now();
        // With nobody else to ask there is no reason to stop waiting.
        let end = if self.endpoints.len() == 1 { deadline } else { deadline.min(now + self.attempt) };
        let wait = end.saturating_duration_since(now);
        match timeout_at(end, self.exchange(place, request, wait)).await {
            Ok(attempt) => attempt,
            Err(_) => Attempt::Silent(wait),
        }
    }

    async fn exchange(&self, place: usize, request: &Request, wait: Duration) -> Attempt {
        let mut response = match self.send(place, request, wait).await {
            Ok(response) => response,
            // No connection, so nothing was sent. After that nobody knows how far it came.
            Err(error) if error.is_connect() => return Attempt::NotSent(words(&error)),
            Err(error) => return Attempt::Unknown(words(&error)),
        };
        let (status, headers) = (response.status(), response.headers().clone());
        match whole(&mut response).await {
            Ok(body) => sort(status, Answer { place, headers, body }),
            Err(why) => Attempt::Unknown(why),
        }
    }

    /// Sends a request once; `wait` is how long it may take.
    pub(crate) async fn send(
        &self,
        place: usize,
        request: &Request,
        wait: Duration,
    ) -> Result<reqwest::Response, reqwest::Error> {
        let mut url = self.endpoints.url(place).clone();
        request.address(&mut url, wait);
        self.http
            .request(request.method.clone(), url)
            .headers(request.headers.clone())
            .body(request.body.clone())
            .send()
            .await
    }

    /// An endpoint as its user wrote it.
    pub(crate) fn name(&self, place: usize) -> String {
        name(self.endpoints.url(place))
    }
}

pub(crate) fn name(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

/// Whether a refusal for this reason says that an earlier try of the same stamped bytes did nothing either: the session
/// remembers what the state answered, and what is wrong with the request itself was wrong with it then. A session that
/// was forgotten or has gone on cannot tell, nor can a member of another version.
pub(crate) fn settles(code: ProblemCode) -> bool {
    matches!(
        code,
        ProblemCode::PreconditionFailed
            | ProblemCode::DuplicateMessage
            | ProblemCode::KeyReused
            | ProblemCode::QuotaExceeded
            | ProblemCode::TooLarge
            | ProblemCode::InvalidKey
            | ProblemCode::TooManyOperations
            | ProblemCode::ConcernTooHigh
    )
}

/// The whole body of an answer, or why there is none.
pub(crate) async fn whole(response: &mut reqwest::Response) -> Result<Bytes, String> {
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| words(&error))? {
        if all.len() + first.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(format!("the answer is longer than {ANSWER_BYTES_MAX} bytes"));
        }
        // Most answers are one chunk and need no copy.
        if first.is_empty() && all.is_empty() {
            first = chunk;
        } else {
            all.extend_from_slice(&std::mem::take(&mut first));
            all.extend_from_slice(&chunk);
        }
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

fn sort(status: StatusCode, answer: Answer) -> Attempt {
    if status.is_success() {
        return Attempt::Answered(answer);
    }
    match problem(&answer.headers, &answer.body) {
        Some(problem) if problem.outcome == Outcome::Unknown => {
            Attempt::Unknown(format!("{} ({})", problem.detail, problem.code))
        }
        Some(problem) => Attempt::Refused(Box::new(problem)),
        None if status.is_server_error() => {
            // Perhaps somebody between us and a member, who may have passed the request on.
            Attempt::Unknown(format!("HTTP status {status} without the reason that a member gives"))
        }
        None => Attempt::Foreign(format!("HTTP status {status} without the reason that a member gives")),
    }
}

/// The reason in a member's answer, if it is a member's.
pub(crate) fn problem(headers: &HeaderMap, body: &[u8]) -> Option<Problem> {
    let media_type = headers.get(http::header::CONTENT_TYPE)?.to_str().ok()?.split(';').next()?;
    if media_type.trim().eq_ignore_ascii_case(PROBLEM_TYPE) {
        serde_json::from_slice(body).ok()
    } else {
        None
    }
}

/// An HTTP error in words, without the URL, which the caller says.
pub(crate) fn words(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        // Each layer of the HTTP client adds "client error" or the like; the last cause says what happened.
        text = error.to_string();
        cause = error.source();
    }
    if text.is_empty() { error.to_string() } else { text }
}

impl Tally {
    pub(crate) fn tried(&mut self, newest: Tried) {
        match self.tried.iter_mut().find(|tried| tried.endpoint == newest.endpoint) {
            Some(tried) => *tried = newest,
            None => self.tried.push(newest),
        }
    }

    pub(crate) fn unknown(&mut self) -> Error {
        let detail = self.doubt.take().expect("only called in doubt");
        Error::Unknown { detail, attempts: self.attempts }
    }

    /// What it comes to when the time is up.
    pub(crate) fn conclude(mut self) -> Error {
        if self.doubt.is_some() {
            return self.unknown();
        }
        match self.refusal {
            Some(problem) => Error::Refused(problem),
            None => Error::Unreachable { tried: self.tried },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scripted::{Server, Step, nobody};
    use crate::{Client, Consistency, ReadOptions, WriteOptions};

    /// What a call came to, in a word.
    fn word<T>(result: Result<T, Error>) -> &'static str {
        match result {
            Ok(_) => "done",
            Err(Error::Refused(_)) => "refused",
            Err(Error::Unknown { .. }) => "unknown",
            Err(Error::Unreachable { .. }) => "unreachable",
            Err(Error::Protocol { .. }) => "protocol",
        }
    }

    /// What a read, a write with a session and one without come to if two members do so, and how many requests
    /// arrive in all. The second member's script ends every call.
    async fn check(one: Step, other: Step, expected: [(&str, usize); 3]) {
        let mut got = Vec::new();
        for call in ["read", "write", "bare write"] {
            let first = Server::start([one.clone(), Step::Close]).await;
            let second = Server::start([other.clone(), Step::Close]).await;
            let client = quick([&first.endpoint, &second.endpoint]);
            let result = match call {
                "read" => word(client.get("k", ReadOptions::default()).await),
                "write" => word(client.put("k", "v", WriteOptions::default()).await),
                _ => word(client.without_sessions().put("k", "v", WriteOptions::default()).await),
            };
            // Requests after the scripts' ends depend on how fast the machine is; two mean "tried on".
            got.push((result, (first.seen().len() + second.seen().len()).min(2)));
        }
        assert_eq!(got, expected, "{one:?}, then {other:?}");
    }

    /// A client that gives up soon.
    fn quick<const N: usize>(endpoints: [&str; N]) -> Client {
        Client::new(endpoints).expect("addresses").with_deadline(Duration::from_millis(400))
    }

    /// Good for a read and for a write.
    fn good() -> Step {
        let Step::Reply(status, _, body) = Step::written(3) else { panic!("a reply") };
        let Step::Reply(_, headers, _) = Step::value("") else { panic!("a reply") };
        Step::Reply(status, headers, body)
    }

    #[tokio::test]
    async fn what_is_safe_is_tried_elsewhere_and_what_is_not_is_unknown() {
        let retried = [("done", 2), ("done", 2), ("unknown", 1)];
        check(Step::Close, good(), retried).await;
        check(Step::problem(ProblemCode::OutcomeUnknown), good(), retried).await;
        check(Step::problem(ProblemCode::Internal), good(), retried).await;
        check(Step::Reply(502, Vec::new(), "bad gateway".to_owned()), good(), retried).await;
    }

    #[tokio::test]
    async fn a_refusal_that_may_not_last_is_tried_elsewhere_whatever_was_asked() {
        for code in [ProblemCode::NoLeader, ProblemCode::Overloaded, ProblemCode::ShuttingDown] {
            check(Step::problem(code), good(), [("done", 2); 3]).await;
        }
    }

    #[tokio::test]
    async fn a_refusal_that_lasts_is_final() {
        for code in [ProblemCode::PreconditionFailed, ProblemCode::TooLarge, ProblemCode::QuotaExceeded] {
            check(Step::problem(code), good(), [("refused", 1); 3]).await;
        }
        check(Step::Reply(404, Vec::new(), "no such page".to_owned()), good(), [("protocol", 1); 3]).await;
    }

    #[tokio::test]
    async fn a_write_in_doubt_is_settled_by_its_session_or_stays_in_doubt() {
        let refused = Step::problem(ProblemCode::PreconditionFailed);
        check(Step::Close, refused, [("refused", 2), ("refused", 2), ("unknown", 1)]).await;
        let forgotten = Step::problem(ProblemCode::SessionExpired);
        check(Step::Close, forgotten, [("refused", 2), ("unknown", 2), ("unknown", 1)]).await;
        let no_leader = Step::problem(ProblemCode::NoLeader);
        check(Step::Close, no_leader, [("refused", 2), ("unknown", 2), ("unknown", 1)]).await;
    }

    #[tokio::test]
    async fn a_member_that_does_not_answer_costs_one_attempt() {
        let silent = Server::start([Step::Hang]).await;
        let well = Server::start([Step::written(3)]).await;
        let client = Client::new([&silent.endpoint, &well.endpoint]).expect("addresses");
        let written = client.put("k", "v", WriteOptions::default()).await.expect("the other one is well");
        assert_eq!(written.revision, 3);
        assert_eq!(silent.parameter(0, "session"), well.parameter(0, "session"));
        assert_eq!(silent.parameter(0, "sequence"), well.parameter(0, "sequence"));
        client.put("k", "v", WriteOptions::default()).await.expect("asked first now");
        assert_eq!((silent.seen().len(), well.seen().len()), (1, 2));
    }

    #[tokio::test]
    async fn nobody_there_is_no_doubt() {
        let (one, other) = (nobody().await, nobody().await);
        let error = quick([&one, &other]).put("k", "v", WriteOptions::default()).await.expect_err("nobody");
        let text = error.to_string();
        assert!(matches!(error, Error::Unreachable { .. }), "{text}");
        assert!(text.contains(&one) && text.contains(&other) && text.contains("refused"), "{text}");
    }

    #[tokio::test]
    async fn a_refusal_until_the_end_is_a_refusal() {
        let member = Server::start([Step::problem(ProblemCode::NoLeader)]).await;
        let error =
            quick([&member.endpoint]).put("k", "v", WriteOptions::default()).await.expect_err("no leader");
        assert_eq!(error.code(), Some(ProblemCode::NoLeader));
        assert!(member.seen().len() > 2, "it was tried again and again");
        assert_eq!(error.to_string(), "the script says so (NoLeader, request r-1)");
    }

    #[tokio::test]
    async fn the_leader_is_asked_first_once_it_is_known() {
        let status = |member: u8| {
            let body = format!(
                r#"{{"store":"a/b","strategy":"Replication","member":{member},"incarnation":"0","version":"0",
                "role":"follower","leader":1,"term":1,"positions":{{"written":0,"durable":0,"commit":0,"applied":0}},
                "revision":1,"peers":[]}}"#
            );
            Step::Reply(200, Vec::new(), body)
        };
        let follower = Server::start([status(0), Step::value("")]).await;
        let leader = Server::start([status(1), Step::value("")]).await;
        let client = Client::new([&follower.endpoint, &leader.endpoint]).expect("addresses");
        client.status().await.expect("it answers");
        client.transport.endpoints.prefer(1);
        client.status().await.expect("it answers");
        client.transport.endpoints.prefer(0);
        client.transport.endpoints.prefer_member(1);
        let local = ReadOptions { consistency: Consistency::Local, revision: None };
        client.get("k", local).await.expect("it answers");
        assert_eq!((follower.seen().len(), leader.seen().len()), (1, 2));
    }
}
