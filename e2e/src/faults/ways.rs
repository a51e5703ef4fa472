//! The ways in which clients ask: HTTP with nothing between, and the product's own clients of both protocols, whose word on
//! what became of a write is held against the history too.

use std::time::Duration;

use anyhow::{Context as _, bail};
use holdfast_api::http::{DeleteReply, Outcome, Problem, ProblemCode, WriteReply, header};
use holdfast_client::{Client, Error, NativeClient, ReadOptions, WriteOptions};
use holdfast_wire::native;
use reqwest::header::{ETAG, IF_MATCH, IF_NONE_MATCH};
use reqwest::{RequestBuilder, Response};

use crate::linearizability::{Call, Expect, Return};

/// How long a member may let a request wait. Longer than an election, shorter than most faults.
const TIMEOUT: &str = "1s";

/// How long a client waits for an answer; a member that is paused gives none.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(2);

/// How long a connection may take.
const CONNECT_TIME_MAX: Duration = Duration::from_millis(500);

/// One way.
#[derive(Debug)]
pub(super) enum Way {
    /// HTTP to one member, once.
    Raw(reqwest::Client),
    /// The product's client of HTTP, which finds the leader and asks again by itself.
    Http(Client),
    /// The product's client of the binary protocol, likewise.
    Native(NativeClient),
}

/// What one answer says.
#[derive(Debug)]
pub(super) enum Answer {
    /// See [`Return`]; with the store's revision if that was told.
    Told(Return, Option<u64>),
    /// With the reason.
    Refused(String),
    /// As refused, and the session is of no use any more.
    NoSession,
    Unknown,
}

/// A client that asks once. The runner itself uses it too.
pub(super) fn http() -> reqwest::Client {
    let builder = reqwest::Client::builder().timeout(ANSWER_WAIT_MAX).connect_timeout(CONNECT_TIME_MAX);
    builder.no_proxy().tcp_nodelay(true).build().expect("a client without any file or certificate")
}

impl Way {
    /// The way of client `number`: half of them ask by themselves, a quarter each by the product's clients.
    pub(super) fn of(number: usize, bases: &[String]) -> anyhow::Result<Way> {
        Ok(match number % 4 {
            0 | 1 => Way::Raw(http()),
            2 => Way::Http(Client::new(bases)?.with_deadline(ANSWER_WAIT_MAX)),
            _ => {
                let addresses = bases.iter().map(|base| base.trim_start_matches("http://"));
                Way::Native(NativeClient::new(addresses)?.with_deadline(ANSWER_WAIT_MAX))
            }
        })
    }

    /// Whether it asks again by itself where that is safe.
    pub(super) fn repeats(&self) -> bool {
        !matches!(self, Way::Raw(_))
    }

    /// Ask. Only [`Way::Raw`] cares about `base` and `stamp`: the member, and the session with the sequence.
    ///
    /// # Errors
    ///
    /// If the answer makes no sense.
    pub(super) async fn ask(
        &self,
        base: &str,
        key: &str,
        call: Call,
        value: String,
        stamp: Option<(u64, u64)>,
    ) -> anyhow::Result<Answer> {
        match self {
            Way::Raw(http) => match raw(http, base, key, call, value, stamp).send().await {
                Ok(response) => answer(call, response).await,
                // Without a connection nothing was sent.
                Err(error) if error.is_connect() => Ok(Answer::Refused(format!("{error:?}"))),
                Err(_) => Ok(Answer::Unknown),
            },
            Way::Http(client) => by_http(client, key, call, value).await,
            Way::Native(client) => by_native(client, key.to_owned(), call, value).await,
        }
    }
}

fn raw(
    http: &reqwest::Client,
    base: &str,
    key: &str,
    call: Call,
    value: String,
    stamp: Option<(u64, u64)>,
) -> RequestBuilder {
    let url = format!("{base}/v1/kv/{key}?timeout={TIMEOUT}");
    let url = match stamp {
        Some((session, sequence)) => format!("{url}&session={session:x}&sequence={sequence}"),
        None => url,
    };
    match call {
        Call::Get => http.get(url),
        Call::Delete(expect) => expecting(http.delete(url), expect),
        Call::Put(_, expect) => expecting(http.put(url), expect).body(value),
    }
}

async fn by_http(client: &Client, key: &str, call: Call, value: String) -> anyhow::Result<Answer> {
    match call {
        Call::Get => match client.get(key, ReadOptions::default()).await {
            Ok(None) => Ok(Answer::Told(Return::Absent, None)),
            Ok(Some(found)) => read(&found.bytes, found.mod_revision, found.revision),
            Err(error) => failed(error),
        },
        Call::Put(_, expect) => match client.put(key, value, options(expect)).await {
            Ok(reply) => Ok(Answer::Told(Return::Done(reply.revision), None)),
            Err(error) => failed(error),
        },
        Call::Delete(expect) => match client.delete(key, options(expect)).await {
            Ok(reply) => Ok(deleted(reply.deleted, reply.write.revision)),
            Err(error) => failed(error),
        },
    }
}

async fn by_native(client: &NativeClient, key: String, call: Call, value: String) -> anyhow::Result<Answer> {
    match call {
        Call::Get => match client.get(key, ReadOptions::default()).await {
            Ok(None) => Ok(Answer::Told(Return::Absent, None)),
            Ok(Some(found)) => read(&found.bytes, found.mod_revision, found.revision),
            Err(error) => failed(error),
        },
        Call::Put(_, expect) => match client.put(key, value, options(expect)).await {
            Ok(reply) => Ok(Answer::Told(Return::Done(reply.revision), None)),
            Err(error) => failed(error),
        },
        Call::Delete(expect) => match client.delete(key, options(expect)).await {
            Ok(native::Written { outcome: native::Outcome::Deleted { count }, revision, .. }) => {
                Ok(deleted(count, revision))
            }
            Ok(other) => bail!("a delete was answered by {other:?}"),
            Err(error) => failed(error),
        },
    }
}

fn options(expect: Expect) -> WriteOptions {
    let expect = match expect {
        Expect::Any => holdfast_client::Expect::Any,
        Expect::Absent => holdfast_client::Expect::Absent,
        Expect::Revision(revision) => holdfast_client::Expect::Revision(revision),
    };
    WriteOptions { expect, ..WriteOptions::default() }
}

fn read(bytes: &[u8], made: u64, revision: u64) -> anyhow::Result<Answer> {
    let value = std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok());
    let value = value.with_context(|| format!("{bytes:?} is no value of ours"))?;
    Ok(Answer::Told(Return::Found(value, made), Some(revision)))
}

fn deleted(count: u64, revision: u64) -> Answer {
    let done = if count == 0 { Return::Absent } else { Return::Done(revision) };
    Answer::Told(done, Some(revision))
}

/// What the product's clients say that went wrong.
fn failed(error: Error) -> anyhow::Result<Answer> {
    match error {
        Error::Refused(problem) => Ok(refusal(&problem, None)),
        Error::Unknown { .. } => Ok(Answer::Unknown),
        Error::Unreachable { .. } => Ok(Answer::Refused(error.to_string())),
        Error::Protocol { .. } => bail!("a client of the product's says: {error}"),
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
            bail!("{} is no problem", shown())
        };
        return Ok(refusal(&problem, at));
    }
    match call {
        Call::Get => read(&body, tag.with_context(shown)?, at.with_context(shown)?),
        Call::Put(..) => {
            let reply: WriteReply = serde_json::from_slice(&body).with_context(shown)?;
            Ok(Answer::Told(Return::Done(reply.revision), at))
        }
        Call::Delete(_) => {
            let reply: DeleteReply = serde_json::from_slice(&body).with_context(shown)?;
            Ok(deleted(reply.deleted, reply.write.revision))
        }
    }
}

fn refusal(problem: &Problem, at: Option<u64>) -> Answer {
    match problem.code {
        ProblemCode::KeyNotFound => Answer::Told(Return::Absent, at),
        ProblemCode::PreconditionFailed => match problem.revision {
            Some(revision) => Answer::Told(Return::Mismatch(revision), None),
            None => Answer::Refused("another revision, without saying which".to_owned()),
        },
        ProblemCode::SessionExpired | ProblemCode::StaleSequence => Answer::NoSession,
        _ if problem.outcome == Outcome::Refused => Answer::Refused(problem.to_string()),
        _ => Answer::Unknown,
    }
}
