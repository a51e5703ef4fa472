//! `GET …/messages/stream`: the log as server-sent events, one for each message, whose id is its sequence.
//!
//! A stream reads the log page by page at the pace of its client, and is woken once for all that a round of the core has
//! committed: a slow client costs one page of memory and holds nobody up. It shows only what is committed, unless
//! `read=local` asks for more; then it says when messages that it has shown were undone. It refuses to skip: messages
//! that are gone before they could be sent end the stream.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use holdfast_api::http::query::{FROM, READ};
use holdfast_api::http::{LOG_END, LOG_STARTED, LOG_UNDONE, LogEnd, LogStarted, LogUndone};
use holdfast_store::{LogError, Message, Sequence};
use http::HeaderMap;
use serde::Serialize;
use warp::Reply;
use warp::filters::sse;
use warp::reply::Response;

use super::item::item;
use super::read::consistency;
use super::{Context, Head, name};
use crate::core::{Answer, Consistency, Failure, Follower, Handle, Query as CoreQuery, ReadRequest, Tail};
use crate::ending::Ending;
use crate::http::Query;
use crate::metrics::Gauge;
use crate::problem::Problem;

const NAMES: &[&str] = &[FROM, READ];

/// The header by which a client says what it has seen.
const LAST_EVENT_ID: &str = "last-event-id";

/// After so long without a message a comment is sent: as on a watch.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Messages that a stream reads at once. It holds them until its client has taken them.
const PAGE_MESSAGES_MAX: usize = 256;

/// Bytes of messages that a stream reads at once, or one message.
const PAGE_BYTES_MAX: usize = 256 * 1024;

/// The pause before a full core is asked for the next page again.
const FULL_PAUSE: Duration = Duration::from_millis(50);

/// How long the core may take for a page; it takes none at all unless it is stuck.
const PAGE_TIME_MAX: Duration = Duration::from_secs(5);

/// Answer with a stream.
pub(super) async fn stream(context: &Context, head: &Head, log: &str) -> Result<Response, Problem> {
    let query = Query::parse(&head.query, NAMES)?;
    let log = name(log)?;
    let local = is_local(&query)?;
    let from = match last_event_id(&head.headers)? {
        Some(seen) => Some(Sequence(seen + 1)),
        None => query.number(FROM, 0..=u64::MAX)?.map(Sequence),
    };
    let handle = context.running.handle()?.clone();
    let follower = handle.follow(log.clone()).await;
    let mut follower = follower.map_err(|failure| Problem::of_failure(failure, true))?;
    let position = Position::new(from, follower.tail(), local);
    let following = Following {
        handle,
        log,
        position,
        follower,
        ending: context.running.ending(),
        _counted: Counted::new(&context.running.metrics().log_followers),
    };
    Ok(sse::reply(following.events().map(Ok::<_, Infallible>)).into_response())
}

fn is_local(query: &Query) -> Result<bool, Problem> {
    match query.text(READ).map(|_| consistency(query)).transpose()? {
        None | Some(Consistency::Committed) => Ok(false),
        Some(Consistency::Local) => Ok(true),
        Some(Consistency::Linearizable) => Err(Problem::invalid(
            "a stream has no end, so that it cannot be linearizable; use read=committed",
        )),
    }
}

/// The last message that the client has seen. It goes before `from`: a client that connects again sends the same query as
/// the first time.
fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(value) = headers.get(LAST_EVENT_ID) else { return Ok(None) };
    let seen = value.to_str().ok().and_then(|text| text.parse::<u64>().ok()).filter(|&seen| seen < u64::MAX);
    seen.map(Some).ok_or_else(|| Problem::invalid("Last-Event-ID is not a message's id"))
}

/// How far a stream has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Position {
    /// The first message that was not sent; 0 is the oldest that is kept.
    next: Sequence,
    /// Messages before this one were committed when they were sent.
    safe: Sequence,
    /// Which log of the name it is.
    life: u64,
    rollbacks: u64,
    local: bool,
}

/// What a stream does next.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// Read on.
    Read,
    /// Say that what was sent from this one on is undone.
    Undone(Sequence),
    /// Say that the log is not what it was.
    Deleted,
    /// Wait.
    Wait,
}

impl Position {
    fn new(from: Option<Sequence>, tail: Tail, local: bool) -> Position {
        let next = from.unwrap_or_else(|| limit(tail, local).max(Sequence(1)));
        let safe = tail.committed_next.min(next);
        Position { next, safe, life: tail.life, rollbacks: tail.rollbacks, local }
    }

    /// What to do if the log is at `tail`.
    fn step(&mut self, tail: Tail) -> Step {
        if tail.life != self.life {
            return Step::Deleted;
        }
        if std::mem::replace(&mut self.rollbacks, tail.rollbacks) != tail.rollbacks
            && self.next > self.safe
            && self.local
        {
            self.next = self.safe;
            return Step::Undone(self.next);
        }
        self.safe = self.safe.max(tail.committed_next.min(self.next));
        if self.next.max(Sequence(1)) < limit(tail, self.local) { Step::Read } else { Step::Wait }
    }

    /// Whether the message that comes next is gone, because the log begins with `first`.
    fn lacks(&self, first: Sequence) -> bool {
        Sequence(0) < self.next && self.next < first
    }

    /// The log begins with `first`, which whoever asked for the oldest message did not know.
    fn read(&mut self, first: Sequence) {
        self.next = self.next.max(first);
    }

    /// These messages are sent.
    fn sent(&mut self, messages: &[Message]) {
        if let Some(last) = messages.last() {
            self.next = Sequence(last.sequence.0 + 1);
        }
    }
}

/// The first message that a reader may not see yet.
fn limit(tail: Tail, local: bool) -> Sequence {
    if local { tail.next } else { tail.committed_next }
}

/// A stream, as long as its client reads.
struct Following {
    handle: Handle,
    log: Bytes,
    position: Position,
    follower: Follower,
    ending: Ending,
    _counted: Counted,
}

impl Following {
    /// The events: that it has started, every message, why it ended.
    fn events(self) -> impl Stream<Item = sse::Event> + Send + Sync + 'static {
        let started = event(&LogStarted { from: self.position.next.0.max(1) }).event(LOG_STARTED);
        let rest = stream::unfold(Some(self), async |following| {
            let mut following = following?;
            match following.next().await {
                Ok(events) => Some((events, Some(following))),
                Err(end) => Some((vec![event(&end).event(LOG_END)], None)),
            }
        });
        stream::once(std::future::ready(started)).chain(rest.flat_map(stream::iter))
    }

    /// What comes next, or why nothing does.
    async fn next(&mut self) -> Result<Vec<sse::Event>, LogEnd> {
        loop {
            match self.position.step(self.follower.tail()) {
                Step::Deleted => return Err(self.end("LogDeleted", "the log was deleted", Sequence(1))),
                Step::Undone(from) => return Ok(vec![event(&LogUndone { from: from.0 }).event(LOG_UNDONE)]),
                Step::Read => {
                    let messages = self.page().await?;
                    self.position.sent(&messages);
                    if !messages.is_empty() {
                        return Ok(messages.into_iter().map(message).collect());
                    }
                    // It went back meanwhile; the next look says how far.
                }
                Step::Wait => {
                    let changed = tokio::select! {
                        changed = self.follower.changed() => Some(changed),
                        _ = self.ending.begun() => Some(false),
                        () = tokio::time::sleep(KEEP_ALIVE) => None,
                    };
                    match changed {
                        Some(true) => {}
                        Some(false) => return Err(self.stopping()),
                        None => return Ok(vec![sse::Event::default().comment("alive")]),
                    }
                }
            }
        }
    }

    async fn page(&mut self) -> Result<Vec<Message>, LogEnd> {
        let consistency = if self.position.local { Consistency::Local } else { Consistency::Committed };
        loop {
            let query = CoreQuery::Messages {
                log: self.log.clone(),
                from: self.position.next,
                limit: PAGE_MESSAGES_MAX,
                bytes_max: PAGE_BYTES_MAX,
            };
            let request = ReadRequest { query, consistency, timeout: PAGE_TIME_MAX };
            match self.handle.read(request).await.map(|reply| reply.answer) {
                Ok(Answer::Messages(Ok(page))) if self.position.lacks(page.first) => {
                    let first = page.first;
                    let detail =
                        format!("the log does not keep what comes next; its first message is {}", first.0);
                    return Err(self.end("Trimmed", &detail, first));
                }
                Ok(Answer::Messages(Ok(page))) => {
                    self.position.read(page.first);
                    return Ok(page.messages);
                }
                Ok(Answer::Messages(Err(LogError::NotFound))) => return Ok(Vec::new()),
                Ok(_) => unreachable!("messages are answered by messages"),
                Err(Failure::Refused { code: crate::core::RefusalCode::Overloaded, .. }) => {
                    tokio::time::sleep(FULL_PAUSE).await;
                }
                Err(_) => return Err(self.stopping()),
            }
        }
    }

    fn stopping(&self) -> LogEnd {
        self.end("ShuttingDown", "the member is stopping; go on at another", self.position.next)
    }

    fn end(&self, code: &str, detail: &str, resume: Sequence) -> LogEnd {
        LogEnd { code: code.to_owned(), detail: detail.to_owned(), resume: resume.0.max(1) }
    }
}

fn message(message: Message) -> sse::Event {
    let id = message.sequence.0.to_string();
    event(&item(message)).id(id)
}

fn event(data: &impl Serialize) -> sse::Event {
    sse::Event::default().json_data(data).expect("numbers, strings and lists can always be written")
}

/// Counts a stream while it lives.
struct Counted(Gauge);

impl Counted {
    fn new(gauge: &Gauge) -> Counted {
        gauge.increment();
        Counted(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.decrement();
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;
    use crate::problem::Code;

    fn tail(committed_next: u64, next: u64, rollbacks: u64) -> Tail {
        let (committed_next, next) = (Sequence(committed_next), Sequence(next));
        Tail { life: 0, committed_next, next, rollbacks }
    }

    #[test]
    fn a_stream_begins_with_what_comes_next() {
        let next = |from, local| Position::new(from, tail(5, 8, 0), local).next;
        assert_eq!(next(None, false), Sequence(5));
        assert_eq!(next(None, true), Sequence(8));
        assert_eq!(next(Some(Sequence(2)), false), Sequence(2));
        assert_eq!(Position::new(None, tail(1, 1, 0), false).next, Sequence(1));
    }

    #[test]
    fn only_what_is_committed_is_read_unless_more_is_asked_for() {
        let mut committed = Position::new(Some(Sequence(5)), tail(5, 8, 0), false);
        assert_eq!(committed.step(tail(5, 8, 0)), Step::Wait);
        assert_eq!(committed.step(tail(6, 8, 0)), Step::Read);
        let mut local = Position::new(Some(Sequence(5)), tail(5, 8, 0), true);
        assert_eq!(local.step(tail(5, 8, 0)), Step::Read);
        local.next = Sequence(8);
        assert_eq!(local.step(tail(5, 8, 0)), Step::Wait);
    }

    #[test]
    fn the_oldest_message_is_waited_for_if_there_is_none() {
        let mut oldest = Position::new(Some(Sequence(0)), tail(1, 1, 0), false);
        assert_eq!(oldest.step(tail(1, 1, 0)), Step::Wait);
        assert_eq!(oldest.step(tail(5, 5, 0)), Step::Read);
        assert!(!oldest.lacks(Sequence(5)), "it asked for no particular one");
        oldest.read(Sequence(5));
        assert_eq!(oldest.step(tail(5, 5, 0)), Step::Wait, "all of them are trimmed");
        assert!(oldest.lacks(Sequence(6)) && !oldest.lacks(Sequence(5)));
    }

    #[test]
    fn what_was_shown_and_undone_is_taken_back() {
        let mut local = Position::new(Some(Sequence(5)), tail(5, 8, 0), true);
        local.next = Sequence(8);
        assert_eq!(local.step(tail(6, 8, 0)), Step::Wait);
        // The log has gone on, with other messages, before the stream looked again.
        assert_eq!(local.step(tail(9, 9, 1)), Step::Undone(Sequence(6)));
        assert_eq!(local.step(tail(9, 9, 1)), Step::Read);
        let mut committed = Position::new(Some(Sequence(5)), tail(5, 8, 0), false);
        assert_eq!(committed.step(tail(5, 5, 1)), Step::Wait, "it has shown nothing of it");
    }

    #[test]
    fn another_log_of_the_same_name_is_another_log() {
        let mut position = Position::new(None, tail(1, 1, 0), false);
        assert_eq!(position.step(tail(1, 1, 0)), Step::Wait, "it is still to come");
        assert_eq!(position.step(tail(2, 2, 0)), Step::Read);
        assert_eq!(position.step(Tail { life: 1, ..tail(2, 2, 0) }), Step::Deleted);
    }

    #[test]
    fn the_last_id_is_a_message() {
        let of = |id: &'static str| {
            let name = HeaderName::from_static(LAST_EVENT_ID);
            let headers = HeaderMap::from_iter([(name, HeaderValue::from_static(id))]);
            last_event_id(&headers).map_err(|problem| problem.code)
        };
        assert_eq!(of("41"), Ok(Some(41)));
        for wrong in ["", "x", "-1", "18446744073709551615"] {
            assert_eq!(of(wrong), Err(Code::BadRequest), "{wrong}");
        }
    }

    #[test]
    fn a_stream_cannot_be_linearizable() {
        let of = |raw| is_local(&Query::parse(raw, NAMES).expect("known")).map_err(|problem| problem.code);
        assert_eq!(of(""), Ok(false));
        assert_eq!(of("read=committed"), Ok(false));
        assert_eq!(of("read=local"), Ok(true));
        assert_eq!(of("read=linearizable"), Err(Code::BadRequest));
    }
}
