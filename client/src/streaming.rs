//! [`Stream`]: server-sent events from whichever member gives them.
//!
//! It refuses to know what the events mean, and to go on after a stream has ended: from where, only its reader knows.

use std::collections::VecDeque;
use std::time::Duration;

use holdfast_api::http::{PROBLEM_TYPE, Problem, ProblemCode};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use crate::client::Client;
use crate::error::{Error, Tried};
use crate::event_stream::{Message, Parser};
use crate::request::Request;
use crate::transport::{problem, whole, words};

/// A stream without so much as a keep-alive for this long is dead: several times what a member lets pass.
const SILENCE_MAX: Duration = Duration::from_secs(45);
/// How long a member may take to begin a stream.
const BEGIN_MAX: Duration = Duration::from_secs(2);
/// After all members were asked in vain, wait this long; then twice as long, and so on.
const PAUSE_FIRST: Duration = Duration::from_millis(5);
/// No pause is longer.
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// Events of one member, from its first one on.
#[derive(Debug)]
pub(crate) struct Stream {
    place: usize,
    response: reqwest::Response,
    parser: Parser,
    messages: VecDeque<Message>,
}

/// Why a member gives no stream.
enum Begin {
    Refused(Box<Problem>),
    Failed(String),
}

impl Stream {
    /// A stream from some member, that has said something already.
    pub(crate) async fn connect(client: &Client, request: &Request) -> Result<Stream, Error> {
        let transport = &client.transport;
        let deadline = client.until();
        let mut pause = PAUSE_FIRST;
        let mut tried: Vec<Tried> = Vec::new();
        loop {
            for place in transport.endpoints.order() {
                let begin = Stream::begin(client, place, request);
                let begin = timeout_at(deadline.min(Instant::now() + BEGIN_MAX), begin).await;
                let silent = begin.is_err();
                let why = match begin {
                    Ok(Ok(stream)) => {
                        transport.endpoints.prefer(place);
                        return Ok(stream);
                    }
                    Ok(Err(Begin::Refused(problem))) if !worth_another(&problem) => {
                        return Err(Error::Refused(problem));
                    }
                    Ok(Err(Begin::Refused(problem))) => format!("{} ({})", problem.detail, problem.code),
                    Ok(Err(Begin::Failed(why))) => why,
                    Err(_) => "no answer in time".to_owned(),
                };
                let endpoint = transport.name(place);
                tried.retain(|tried| tried.endpoint != endpoint);
                tried.push(Tried { endpoint, why, silent });
            }
            let next = Instant::now() + pause;
            if next >= deadline {
                return Err(Error::Unreachable { tried });
            }
            sleep_until(next).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn begin(client: &Client, place: usize, request: &Request) -> Result<Stream, Begin> {
        let failed = |error: reqwest::Error| Begin::Failed(words(&error));
        let mut response = client.transport.send(place, request, BEGIN_MAX).await.map_err(failed)?;
        if !response.status().is_success() {
            let body = whole(&mut response).await.map_err(Begin::Failed)?;
            return Err(match problem(response.headers(), &body) {
                Some(problem) => Begin::Refused(Box::new(problem)),
                None => Begin::Failed(format!("HTTP status {} without {PROBLEM_TYPE}", response.status())),
            });
        }
        let mut stream = Stream { place, response, parser: Parser::default(), messages: VecDeque::new() };
        let first =
            stream.message().await.ok_or_else(|| Begin::Failed("the stream ended at once".to_owned()))?;
        stream.messages.push_front(first);
        Ok(stream)
    }

    /// Which endpoint gives it.
    pub(crate) fn place(&self) -> usize {
        self.place
    }

    /// The message that is next, if it is here already and of this kind and can be read.
    pub(crate) fn take_first<T: DeserializeOwned>(&mut self, event: &str) -> Option<T> {
        let first = self.messages.front().filter(|first| first.event == event)?;
        let data = serde_json::from_str(&first.data).ok()?;
        self.messages.pop_front();
        Some(data)
    }

    /// The next message; `None` when the stream is over, or dead, or not what it should be.
    pub(crate) async fn message(&mut self) -> Option<Message> {
        loop {
            if let Some(message) = self.messages.pop_front() {
                return Some(message);
            }
            let bytes = timeout(SILENCE_MAX, self.response.chunk()).await.ok()?.ok()??;
            self.parser.feed(&bytes, &mut self.messages).ok()?;
        }
    }
}

/// Whether another member, or the same one later, may give the stream. A follower may not have the revision yet at
/// which another member's stream broke off.
fn worth_another(problem: &Problem) -> bool {
    problem.retryable || matches!(problem.code, ProblemCode::FutureRevision)
}
