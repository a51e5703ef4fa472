//! Message logs: `/messages`, which is the log of that name, and `/v1/logs/…` for any.
//!
//! | route | module |
//! |---|---|
//! | `POST …/messages` | [`append`] |
//! | `GET …/messages`, `GET …/messages/{id}`, `GET /v1/logs`, `GET /v1/logs/{log}` | [`read`] |
//! | `GET …/messages/stream` | [`stream`] |
//! | `PUT`, `DELETE /v1/logs/{log}`, `POST /v1/logs/{log}/trim` | [`change`] |
//!
//! Clients written for other replicated logs find the fields, status codes and words that they know, and with every problem
//! a member `error`. What is new beside them refuses, as everywhere, what it does not understand.

mod append;
mod change;
mod item;
mod read;
mod stream;
mod wanted;

pub(super) use read::log_reply;

use bytes::Bytes;
use holdfast_api::http::LOG_DEFAULT;
use holdfast_store::{LOG_NAME_BYTES_MAX, Reason};
use http::{Method, Request};
use http_body_util::BodyDataStream;
use hyper::body::Incoming;
use warp::reply::Response;

use super::percent::decode_path;
use super::{Context, Head, Route, settle};
use crate::problem::{Code, Problem};

/// The routes of message logs; a stream stands before the message that its name could be.
pub(super) const ROUTES: [Route; 9] = [
    Route { path: "/messages", methods: &["GET", "HEAD", "POST"] },
    Route { path: "/messages/stream", methods: &["GET"] },
    Route { path: "/messages/{id}", methods: &["GET", "HEAD"] },
    Route { path: "/v1/logs", methods: &["GET", "HEAD"] },
    Route { path: "/v1/logs/{log}", methods: &["GET", "HEAD", "PUT", "DELETE"] },
    Route { path: "/v1/logs/{log}/trim", methods: &["POST"] },
    Route { path: "/v1/logs/{log}/messages", methods: &["GET", "HEAD", "POST"] },
    Route { path: "/v1/logs/{log}/messages/stream", methods: &["GET"] },
    Route { path: "/v1/logs/{log}/messages/{id}", methods: &["GET", "HEAD"] },
];

/// Where the logs are.
const LOGS: &str = "/v1/logs";
/// The default log's messages.
const MESSAGES: &str = "/messages";

/// What a path means, with the pieces of it as they were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place<'a> {
    Logs,
    Log(&'a str),
    Trim(&'a str),
    Messages(&'a str),
    Stream(&'a str),
    Message(&'a str, &'a str),
}

/// Whether a path, or the route that it has, is about message logs.
pub(super) fn are_meant(path: &str) -> bool {
    [LOGS, MESSAGES]
        .iter()
        .any(|start| path.strip_prefix(start).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

/// Answer a request whose route and method are known to be there.
pub(super) async fn serve(context: &Context, request: Request<Incoming>) -> Response {
    let (parts, body) = request.into_parts();
    let head = Head {
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers,
    };
    let body = BodyDataStream::new(body);
    let answer = match (place(&head.path), parts.method) {
        (Place::Logs, _) => read::logs(context, &head).await,
        (Place::Log(log), Method::PUT) => change::configure(context, &head, log, body).await,
        (Place::Log(log), Method::DELETE) => change::delete(context, &head, log).await,
        (Place::Log(log), _) => read::log(context, &head, log).await,
        (Place::Trim(log), _) => change::trim(context, &head, log, body).await,
        (Place::Messages(log), Method::POST) => append::append(context, &head, log, body).await,
        (Place::Messages(log), _) => read::messages(context, &head, log).await,
        (Place::Stream(log), _) => stream::stream(context, &head, log).await,
        (Place::Message(log, id), _) => read::message(context, &head, log, id).await,
    };
    settle(answer)
}

/// What a path means that fits one of [`ROUTES`].
fn place(path: &str) -> Place<'_> {
    let (log, rest) = match path.strip_prefix(LOGS) {
        None => (LOG_DEFAULT, path.strip_prefix('/').unwrap_or(path)),
        Some("") => return Place::Logs,
        Some(path) => {
            let path = path.strip_prefix('/').unwrap_or(path);
            match path.split_once('/') {
                None => return Place::Log(path),
                Some((log, "trim")) => return Place::Trim(log),
                Some((log, rest)) => (log, rest),
            }
        }
    };
    match rest.split_once('/') {
        None => Place::Messages(log),
        Some((_, "stream")) => Place::Stream(log),
        Some((_, id)) => Place::Message(log, id),
    }
}

/// A log's name in a path.
fn name(raw: &str) -> Result<Bytes, Problem> {
    let invalid = |detail: String| Problem::new(Code::InvalidLogName, detail);
    let name =
        decode_path(raw).map_err(|error| invalid(format!("the log's name cannot be decoded: {error}")))?;
    let possible = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let fits = (1..=LOG_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(possible);
    if fits && !matches!(name.as_str(), "." | "..") {
        Ok(Bytes::from(name))
    } else {
        Err(Problem::of_reason(&Reason::LogNameInvalid))
    }
}

/// There is no such log.
fn no_log(log: &[u8]) -> Problem {
    let log = String::from_utf8_lossy(log);
    Problem::new(Code::LogNotFound, format!("there is no log {log:?}; the first message makes it"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Routes;

    #[test]
    fn every_route_has_its_place() {
        let check = |path: &str, route: &str, expected: Place<'_>| {
            static ALL: Routes = Routes(&ROUTES);
            assert_eq!(ALL.find(path).map(|route| route.path), Some(route), "{path}");
            assert!(are_meant(path) && are_meant(route), "{path}");
            assert_eq!(place(path), expected, "{path}");
        };
        check("/messages", "/messages", Place::Messages("messages"));
        check("/messages/stream", "/messages/stream", Place::Stream("messages"));
        check("/messages/7", "/messages/{id}", Place::Message("messages", "7"));
        check("/v1/logs", "/v1/logs", Place::Logs);
        check("/v1/logs/a", "/v1/logs/{log}", Place::Log("a"));
        check("/v1/logs/a/trim", "/v1/logs/{log}/trim", Place::Trim("a"));
        check("/v1/logs/a/messages", "/v1/logs/{log}/messages", Place::Messages("a"));
        check("/v1/logs/a/messages/stream", "/v1/logs/{log}/messages/stream", Place::Stream("a"));
        check("/v1/logs/a/messages/x", "/v1/logs/{log}/messages/{id}", Place::Message("a", "x"));
    }

    #[test]
    fn other_paths_are_not_of_logs() {
        for path in ["/messagesx", "/v1/logsx", "/v1/kv/messages", "/"] {
            assert!(!are_meant(path), "{path}");
        }
    }

    #[test]
    fn a_name_is_one_that_a_log_can_have() {
        assert_eq!(name("orders-2.x_y").ok(), Some(Bytes::from("orders-2.x_y")));
        assert_eq!(name("a%2Db").ok(), Some(Bytes::from("a-b")));
        for wrong in ["a%20b", "a%2Fb", "%", "%C3%A9", &"x".repeat(1000)] {
            assert_eq!(name(wrong).map_err(|problem| problem.code), Err(Code::InvalidLogName), "{wrong}");
        }
    }
}
