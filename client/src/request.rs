//! One request, as the same bytes each time it is sent, and how its address is written.
//!
//! Refuses to leave the writing of a key to a URL library: those drop line breaks and resolve dots, and then another
//! key is written.

use std::fmt::Write;
use std::time::Duration;

use bytes::Bytes;
use holdfast_api::Span;
use holdfast_api::http::{ProblemCode, query};
use http::{HeaderMap, Method};
use reqwest::Url;

use crate::error::Error;
use crate::lanes::Lane;

/// How much sooner than we the member gives up, so that its answer, which knows more, comes first: this much or a
/// fifth of the time, whichever is less.
const HEAD_START_MAX: Duration = Duration::from_millis(250);

/// What is to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: Method,
    /// Encoded, from its first slash on.
    path: String,
    /// Encoded, without the question mark.
    query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) effect: Effect,
    /// Whether the member is told how long it may try.
    times_out: bool,
}

/// What sending a request twice would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It changes nothing.
    Reads,
    /// It changes something once, however often it is sent.
    WritesOnce,
    /// It changes something each time.
    Writes,
}

impl Request {
    /// A request to a route.
    pub(crate) fn new(method: Method, path: &str, effect: Effect) -> Request {
        Request {
            method,
            path: path.to_owned(),
            query: String::new(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            effect,
            times_out: false,
        }
    }

    /// A request to the route of one key.
    ///
    /// # Errors
    /// No URL can carry this key.
    pub(crate) fn of_key(method: Method, key: &str, effect: Effect) -> Result<Request, Error> {
        if matches!(key, "" | "." | "..") {
            let detail = format!("the key {key:?} cannot be part of a URL; only a transaction can use it");
            return Err(Error::refused(ProblemCode::InvalidKey, detail));
        }
        Ok(Request::new(method, &format!("/v1/kv/{}", encode(key)), effect))
    }

    /// A request to a route of a message log, which is below the log's own.
    ///
    /// # Errors
    /// No URL can carry this name, nor can a log have it.
    pub(crate) fn of_log(method: Method, log: &str, below: &str, effect: Effect) -> Result<Request, Error> {
        if matches!(log, "" | "." | "..") {
            return Err(Error::refused(ProblemCode::InvalidLogName, format!("no log can be named {log:?}")));
        }
        Ok(Request::new(method, &format!("/v1/logs/{}{below}", encode(log)), effect))
    }

    /// Tell the member how long it may try.
    pub(crate) fn timing_out(mut self) -> Request {
        self.times_out = true;
        self
    }

    pub(crate) fn with_query(mut self, name: &str, value: impl ToString) -> Request {
        append(&mut self.query, name, &value.to_string());
        self
    }

    pub(crate) fn with_body(mut self, body: impl Into<Bytes>) -> Request {
        self.body = body.into();
        self
    }

    /// The same write under the lane's session and number.
    pub(crate) fn stamped(&self, lane: &Lane) -> Request {
        let session = format!("{:032x}", lane.session);
        let mut stamped =
            self.clone().with_query(query::SESSION, session).with_query(query::SEQUENCE, lane.sequence);
        stamped.effect = Effect::WritesOnce;
        stamped
    }

    /// Completes a base URL; `wait` is how long we wait for the answer.
    pub(crate) fn address(&self, url: &mut Url, wait: Duration) {
        url.set_path(&self.path);
        let mut text = self.query.clone();
        if self.times_out {
            let theirs = wait.saturating_sub(HEAD_START_MAX.min(wait / 5)).as_millis().max(1);
            let theirs = Span::from_millis(u64::try_from(theirs).unwrap_or(u64::MAX));
            append(&mut text, query::TIMEOUT, &theirs.to_string());
        }
        url.set_query((!text.is_empty()).then_some(&text));
    }
}

fn append(text: &mut String, name: &str, value: &str) {
    if !text.is_empty() {
        text.push('&');
    }
    text.push_str(name);
    text.push('=');
    text.push_str(&encode(value));
}

/// Percent-encodes everything but RFC 3986's unreserved characters, for paths and queries alike.
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => encoded.push(byte.into()),
            _ => write!(encoded, "%{byte:02X}").expect("a string takes everything"),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(request: &Request, wait: Duration, expected: &str) {
        let mut url = Url::parse("http://a:1").expect("a URL");
        request.address(&mut url, wait);
        assert_eq!(url.as_str(), format!("http://a:1{expected}"));
    }

    #[test]
    fn every_key_arrives_as_it_is() {
        let of = |key| Request::of_key(Method::GET, key, Effect::Reads).expect("a key");
        let wait = Duration::ZERO;
        check(&of("a/b"), wait, "/v1/kv/a%2Fb");
        check(&of("../x y"), wait, "/v1/kv/..%2Fx%20y");
        check(&of("a\n\t%?#&+é"), wait, "/v1/kv/a%0A%09%25%3F%23%26%2B%C3%A9");
        check(&of("..."), wait, "/v1/kv/...");
        for key in ["", ".", ".."] {
            let error = Request::of_key(Method::GET, key, Effect::Reads).expect_err(key);
            assert_eq!(error.code(), Some(ProblemCode::InvalidKey));
        }
    }

    #[test]
    fn the_member_gives_up_a_little_sooner() {
        let request =
            Request::new(Method::GET, "/v1/kv", Effect::Reads).with_query("prefix", "a&b").timing_out();
        check(&request, Duration::from_secs(2), "/v1/kv?prefix=a%26b&timeout=1s750ms");
        check(&request, Duration::from_millis(100), "/v1/kv?prefix=a%26b&timeout=80ms");
        check(&request, Duration::ZERO, "/v1/kv?prefix=a%26b&timeout=1ms");
    }

    #[test]
    fn a_stamp_makes_a_write_repeatable() {
        let request = Request::new(Method::PUT, "/v1/kv/k", Effect::Writes);
        let stamped = request.stamped(&Lane { session: 255, sequence: 7 });
        assert_eq!(stamped.effect, Effect::WritesOnce);
        check(&stamped, Duration::ZERO, "/v1/kv/k?session=000000000000000000000000000000ff&sequence=7");
    }
}
