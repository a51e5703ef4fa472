//! `GET …/messages`, `GET …/messages/{id}`, `GET /v1/logs` and `GET /v1/logs/{log}`: what this member has.
//!
//! A page is in order and has no gap, whatever the consistency; it ends early rather than be too large. It refuses to
//! decide what is committed: every message says so itself.

use holdfast_api::http::query::{FROM, LIMIT, READ, TIMEOUT};
use holdfast_api::http::{LOG_DEFAULT, LogReply, LogSettings as Settings, LogsReply, MessagesReply};
use holdfast_store::{Deduplication, LogError, LogSettings, LogState, MessagesPage, Sequence};
use http::StatusCode;
use warp::reply::Response;

use super::item::item;
use super::{Context, Head, name, no_log};
use crate::core::{Answer, Consistency, Query as CoreQuery, ReadRequest};
use crate::http::parameters::timeout;
use crate::http::reads::{read, text};
use crate::http::{Query, json};
use crate::problem::{Code, Problem};

const PAGE_NAMES: &[&str] = &[FROM, LIMIT, READ, TIMEOUT];
const NAMES: &[&str] = &[READ, TIMEOUT];

/// Messages on a page, if nobody says, and at most. Clients of other replicated logs know no pages and read all that
/// there is; a demonstration never has so many.
const LIMIT_MAX: u64 = 10_000;

/// Bytes of messages on a page: as of a listing of keys.
const PAGE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Messages in order, from one on.
pub(super) async fn messages(context: &Context, head: &Head, log: &str) -> Result<Response, Problem> {
    let query = Query::parse(&head.query, PAGE_NAMES)?;
    let log = name(log)?;
    let from = Sequence(query.number(FROM, 0..=u64::MAX)?.unwrap_or(0));
    let core_query = CoreQuery::Messages {
        log: log.clone(),
        from,
        limit: query.number(LIMIT, 0..=LIMIT_MAX)?.unwrap_or(LIMIT_MAX) as usize,
        bytes_max: PAGE_BYTES_MAX,
    };
    let Answer::Messages(page) = ask(context, &query, core_query).await? else {
        unreachable!("messages are answered by messages")
    };
    match page {
        Ok(page) if from < page.first && from > Sequence(0) => Err(trimmed(page.first)),
        Ok(page) => Ok(json(StatusCode::OK, &reply(&log, page))),
        // The default log is there from the beginning, as far as its readers can tell.
        Err(LogError::NotFound) if log == LOG_DEFAULT => Ok(json(StatusCode::OK, &empty())),
        Err(LogError::NotFound) => Err(no_log(&log)),
    }
}

/// One message.
pub(super) async fn message(
    context: &Context,
    head: &Head,
    log: &str,
    id: &str,
) -> Result<Response, Problem> {
    let query = Query::parse(&head.query, NAMES)?;
    let log = name(log)?;
    let id = id.parse().ok().filter(|&id| id > 0).ok_or_else(|| {
        Problem::invalid(format!("{:?} is no message's id, which is a whole number from 1", shown(id)))
    })?;
    let core_query = CoreQuery::Message { log: log.clone(), sequence: Sequence(id) };
    let Answer::Message(message) = ask(context, &query, core_query).await? else {
        unreachable!("a message is answered by a message")
    };
    match message {
        Ok(Some(message)) => Ok(json(StatusCode::OK, &item(message))),
        // It may be gone, or still to come: the log says which.
        Ok(None) => match ask(context, &query, CoreQuery::Log { log }).await? {
            Answer::Log(Some(log)) if Sequence(id) < log.first => Err(trimmed(log.first)),
            _ => Err(no_message(id)),
        },
        Err(LogError::NotFound) if log == LOG_DEFAULT => Err(no_message(id)),
        Err(LogError::NotFound) => Err(no_log(&log)),
    }
}

/// All logs.
pub(super) async fn logs(context: &Context, head: &Head) -> Result<Response, Problem> {
    let query = Query::parse(&head.query, NAMES)?;
    let Answer::Logs(logs) = ask(context, &query, CoreQuery::Logs).await? else {
        unreachable!("logs are answered by logs")
    };
    Ok(json(StatusCode::OK, &LogsReply { logs: logs.iter().map(log_reply).collect() }))
}

/// One log.
pub(super) async fn log(context: &Context, head: &Head, log: &str) -> Result<Response, Problem> {
    let query = Query::parse(&head.query, NAMES)?;
    let log = name(log)?;
    let Answer::Log(state) = ask(context, &query, CoreQuery::Log { log: log.clone() }).await? else {
        unreachable!("a log is answered by a log")
    };
    state.map(|state| json(StatusCode::OK, &log_reply(&state))).ok_or_else(|| no_log(&log))
}

async fn ask(context: &Context, query: &Query, core_query: CoreQuery) -> Result<Answer, Problem> {
    let request =
        ReadRequest { query: core_query, consistency: consistency(query)?, timeout: timeout(query)? };
    read(context, request).await.map(|reply| reply.answer)
}

/// How fresh the answer has to be: by default what this member has.
pub(crate) fn consistency(query: &Query) -> Result<Consistency, Problem> {
    match query.text(READ) {
        None | Some("local") => Ok(Consistency::Local),
        Some("committed") => Ok(Consistency::Committed),
        Some("linearizable") => Ok(Consistency::Linearizable),
        Some(other) => Err(Problem::invalid(format!(
            "the query parameter \"read\" is {:?}, it must be local, committed or linearizable",
            shown(other)
        ))),
    }
}

/// What a client sent, as far as a message repeats it.
fn shown(text: &str) -> String {
    text.chars().take(32).collect()
}

fn reply(log: &[u8], page: MessagesPage) -> MessagesReply {
    let MessagesPage { messages, more, first, next: end, committed_next } = page;
    let next = messages.last().filter(|_| more).map(|last| last.sequence.0 + 1);
    MessagesReply {
        messages: messages.into_iter().map(item).collect(),
        log: text(log),
        first: first.0,
        last: end.0 - 1,
        committed: committed_next.0 - 1,
        next,
    }
}

fn empty() -> MessagesReply {
    let log = LOG_DEFAULT.to_owned();
    MessagesReply { messages: Vec::new(), log, first: 1, last: 0, committed: 0, next: None }
}

fn no_message(id: u64) -> Problem {
    Problem::new(Code::MessageNotFound, format!("there is no message {id} here yet")).about(id)
}

/// What was asked for is gone; the log begins with `first`.
fn trimmed(first: Sequence) -> Problem {
    let detail =
        format!("the log does not keep this any more; its first message is {first}", first = first.0);
    Problem::new(Code::MessageTrimmed, detail).about(first.0)
}

/// A log as clients read it.
pub(in crate::http) fn log_reply(log: &LogState) -> LogReply {
    LogReply {
        name: log.name.to_string(),
        first: log.first.0,
        last: log.next.0 - 1,
        committed: log.committed_next.0 - 1,
        bytes: log.bytes,
        settings: settings(&log.settings),
    }
}

fn settings(settings: &LogSettings) -> Settings {
    Settings {
        deduplication: Some(match settings.deduplication {
            Deduplication::Content => holdfast_api::http::Deduplication::Content,
            Deduplication::Key => holdfast_api::http::Deduplication::Key,
            Deduplication::None => holdfast_api::http::Deduplication::None,
        }),
        deduplication_window: Some(settings.deduplication_window),
        retain_messages: settings.retain_messages,
        retain_age: settings.retain_ms.map(holdfast_api::Span::from_millis),
        retain_bytes: settings.retain_bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_says_how_fresh_it_is_to_be() {
        let of =
            |raw| consistency(&Query::parse(raw, &[READ]).expect("known")).map_err(|problem| problem.code);
        assert_eq!(of(""), Ok(Consistency::Local));
        assert_eq!(of("read=local"), Ok(Consistency::Local));
        assert_eq!(of("read=committed"), Ok(Consistency::Committed));
        assert_eq!(of("read=linearizable"), Ok(Consistency::Linearizable));
        assert_eq!(of("read=fresh"), Err(Code::BadRequest));
    }

    #[test]
    fn what_is_gone_says_where_to_go_on() {
        let problem = trimmed(Sequence(9));
        assert_eq!((problem.code, problem.id()), (Code::MessageTrimmed, Some(9)));
    }
}
