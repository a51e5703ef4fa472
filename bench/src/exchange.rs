//! One question, one answer: a member's status, a stream's leader. It opens a connection for each, because nobody counts
//! how long these take.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::SockAddr;

use crate::load::connection::Connection;
use crate::load::next_client;
use crate::ports;
use crate::protocol::http::{post, response};
use crate::protocol::{Malformed, Message, Protocol, What, nats};

/// How long an answer may take, unless the caller says otherwise.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Ask `protocol`'s one question at `address`; return whether it was done and the whole message.
///
/// # Errors
///
/// If there is no answer within `patience`.
pub(crate) fn ask(
    address: &SockAddr,
    protocol: &dyn Protocol,
    patience: Duration,
) -> anyhow::Result<(bool, Vec<u8>)> {
    let until = Instant::now() + patience;
    let mut connection = Connection::open(address, protocol, next_client())?;
    connection.ask(protocol, Instant::now(), &mut || 0);
    loop {
        connection.flush()?;
        let left = until.saturating_duration_since(Instant::now());
        ensure!(!left.is_zero(), "no answer within {patience:?}");
        let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
        poll(&mut [PollFd::new(connection.socket(), PollFlags::IN)], Some(&left))?;
        connection.receive()?;
        if let Some(reply) = connection.next_reply(protocol)? {
            return Ok((reply.done, connection.last_message().to_vec()));
        }
    }
}

/// Any request over HTTP; the answer's body if it is a success.
///
/// # Errors
///
/// If nobody answers within `patience`, or not with success.
pub(crate) fn http(
    port: u16,
    method: &'static str,
    path: &str,
    body: &str,
    patience: Duration,
) -> anyhow::Result<String> {
    let request = Request { method, path, body };
    let (done, message) = ask(&ports::address(port), &request, patience)?;
    let head = response(&message)?.context("a whole response")?.head;
    let body = String::from_utf8_lossy(&message[head..]).into_owned();
    if !done {
        bail!("{method} {path} at port {port}: {body}");
    }
    Ok(body)
}

/// As [`http`], with the answer read as JSON.
///
/// # Errors
///
/// As [`http`], and if the answer is no JSON.
pub(crate) fn json(
    port: u16,
    method: &'static str,
    path: &str,
    body: &str,
) -> anyhow::Result<serde_json::Value> {
    let answer = http(port, method, path, body, PATIENCE)?;
    serde_json::from_str(&answer).with_context(|| format!("{path} answered no JSON: {answer}"))
}

/// A request to JetStream's own API; the answer.
///
/// # Errors
///
/// If there is no answer, or it tells of an error.
pub(crate) fn jetstream(port: u16, subject: &str, body: &str) -> anyhow::Result<serde_json::Value> {
    let question = JetStream { subject, body };
    let (_, message) = ask(&ports::address(port), &question, Duration::from_secs(3))?;
    let answer: serde_json::Value = serde_json::from_slice(nats::payload(&message))
        .with_context(|| format!("{subject} answered {}", String::from_utf8_lossy(&message)))?;
    ensure!(answer.get("error").is_none(), "{subject} answered {answer}");
    Ok(answer)
}

struct Request<'a> {
    method: &'static str,
    path: &'a str,
    body: &'a str,
}

impl Protocol for Request<'_> {
    fn request(&self, _client: u64, _tag: u64, _keys: &mut dyn FnMut() -> u64, out: &mut Vec<u8>) {
        if self.method == "POST" {
            post(self.path, self.body.as_bytes(), out);
        } else {
            let head = format!("{} {} HTTP/1.1\r\nhost: localhost\r\n\r\n", self.method, self.path);
            out.extend_from_slice(head.as_bytes());
        }
    }

    fn read(&self, bytes: &[u8]) -> Result<Option<Message>, Malformed> {
        let whole = response(bytes)?.map(|response| Message {
            bytes: response.head + response.body,
            what: What::Reply { done: response.status == 200, tag: None },
        });
        Ok(whole)
    }
}

struct JetStream<'a> {
    subject: &'a str,
    body: &'a str,
}

impl Protocol for JetStream<'_> {
    fn open(&self, client: u64, out: &mut Vec<u8>) -> bool {
        nats::open(client, out);
        true
    }

    fn request(&self, client: u64, _tag: u64, _keys: &mut dyn FnMut() -> u64, out: &mut Vec<u8>) {
        nats::ask(client, self.subject, self.body, out);
    }

    fn read(&self, bytes: &[u8]) -> Result<Option<Message>, Malformed> {
        nats::read(bytes)
    }
}
