//! Clients that append: most by plain HTTP with nothing between, each fourth by the product's own client.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{bail, ensure};
use holdfast_api::WriteConcern;
use holdfast_api::http::{AppendReply, Problem, ProblemCode};
use holdfast_client::{AppendOptions, Client as Product, Error};
use reqwest::StatusCode;
use serde_json::json;

use super::LOG;
use crate::http::Http;

/// How long an append waits for its concern. Shorter than a member is away, so that some come short of it.
const TIMEOUT: Duration = Duration::from_secs(1);

/// The pause before a message is sent again.
const PAUSE: Duration = Duration::from_millis(50);

/// Tries of one message. With the pause and the timeout far longer than any outage here.
const TRIES_MAX: u32 = 400;

/// What a client knows of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// What it is.
    pub text: String,
    /// Where it is said to be.
    pub id: u64,
    /// Whether that is said to be for ever.
    pub committed: bool,
    /// Whether fewer members than asked for had it in time.
    pub short: bool,
    /// Tries beyond the first.
    pub retries: u64,
}

/// One client.
#[derive(Debug)]
pub(super) struct Client {
    number: usize,
    bases: Vec<String>,
    next: Arc<AtomicU64>,
    messages: u64,
    http: Http,
}

impl Client {
    /// Client `number`, which takes messages from `next` until there are so many.
    pub(super) fn new(number: usize, bases: Vec<String>, next: Arc<AtomicU64>, messages: u64) -> Client {
        Client { number, bases, next, messages, http: Http::default() }
    }

    /// Append until all messages are taken.
    pub(super) async fn run(self) -> anyhow::Result<Vec<Told>> {
        let product = Product::new(&self.bases)?.with_deadline(TIMEOUT * 30);
        let mut told = Vec::new();
        loop {
            let message = self.next.fetch_add(1, Ordering::Relaxed);
            if message >= self.messages {
                return Ok(told);
            }
            let text = format!("message {message} of client {}", self.number);
            let concern = concern(message);
            told.push(if self.number.is_multiple_of(4) {
                by_product(&product, text, concern).await?
            } else {
                self.by_http(text, concern, message).await?
            });
        }
    }

    async fn by_http(&self, text: String, concern: WriteConcern, message: u64) -> anyhow::Result<Told> {
        let body =
            json!({"message": text, "w": concern, "timeout_ms": TIMEOUT.as_millis() as u64}).to_string();
        let mut why = String::new();
        // Whether a try may have put the message there: then it being there is no surprise.
        let mut doubt = false;
        for attempt in 0..TRIES_MAX {
            let base = &self.bases[(message as usize + attempt as usize) % self.bases.len()];
            let request = self.http.raw().post(format!("{base}/messages")).body(body.clone());
            match self.http.answer(request.header("content-type", "application/json")).await {
                Ok((StatusCode::CREATED | StatusCode::ACCEPTED, body)) => {
                    let reply: AppendReply = serde_json::from_str(&body)?;
                    ensure!(
                        reply.message.as_deref() == Some(&text),
                        "another message is acknowledged: {body}"
                    );
                    return Ok(of_reply(text, &reply, attempt));
                }
                Ok((StatusCode::CONFLICT, body)) => {
                    let problem: Problem = serde_json::from_str(&body)?;
                    ensure!(doubt, "the first try is a duplicate: {body}");
                    let Some(id) = problem.id else { bail!("a duplicate of nothing: {body}") };
                    // With w=1 this is said before it is certain.
                    let committed = concern != WriteConcern::Members(1);
                    return Ok(Told { text, id, committed, short: false, retries: attempt.into() });
                }
                Ok((status, body)) => {
                    let problem: Problem = serde_json::from_str(&body)
                        .map_err(|error| anyhow::anyhow!("{status} is no problem ({error}): {body}"))?;
                    doubt |= problem.code == ProblemCode::OutcomeUnknown;
                    ensure!(
                        problem.retryable || problem.code == ProblemCode::OutcomeUnknown,
                        "a good message is refused: {body}"
                    );
                    why = body;
                }
                Err(error) => {
                    doubt |= !error.is_connect();
                    why = error.to_string();
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
        bail!("{text} was sent {TRIES_MAX} times in vain: {why}")
    }
}

async fn by_product(product: &Product, text: String, concern: WriteConcern) -> anyhow::Result<Told> {
    let mut why = String::new();
    // An error that leaves the outcome open is the caller's to deal with: only then may the message be there.
    let mut doubt = false;
    for attempt in 0..TRIES_MAX {
        let options = AppendOptions { concern: Some(concern), key: None };
        // What waits for all members need not wait for longer than a plain client does.
        let log = product.with_deadline(TIMEOUT * if concern == WriteConcern::All { 2 } else { 30 }).log(LOG);
        match log.append(text.clone(), options).await {
            Ok(reply) => return Ok(of_reply(text, &reply, attempt)),
            Err(Error::Refused(problem)) if problem.code == ProblemCode::DuplicateMessage => {
                ensure!(doubt, "the client has repeated itself: {problem}");
                let Some(id) = problem.id else { bail!("a duplicate of nothing: {problem}") };
                let committed = concern != WriteConcern::Members(1);
                return Ok(Told { text, id, committed, short: false, retries: attempt.into() });
            }
            Err(error) => {
                doubt |= matches!(error, Error::Unknown { .. });
                why = error.to_string();
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    bail!("{text} was given to the client {TRIES_MAX} times in vain: {why}")
}

fn of_reply(text: String, reply: &AppendReply, attempt: u32) -> Told {
    let (id, committed) = (reply.id, reply.committed);
    Told { text, id, committed, short: reply.warning.is_some(), retries: attempt.into() }
}

/// Every concern, mixed.
fn concern(message: u64) -> WriteConcern {
    match message % 10 {
        0..3 => WriteConcern::Members(1),
        3..5 => WriteConcern::Members(2),
        5..8 => WriteConcern::Majority,
        8 => WriteConcern::Members(3),
        _ => WriteConcern::All,
    }
}
