//! Reading a request's body into memory, within limits.
//!
//! It refuses a body that is too large before it reads it if the head says so, and as soon as it is too large
//! otherwise; one that does not arrive in time; and more bodies at once than the member has memory set aside for.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures::StreamExt;
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, EXPECT};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::byte_stream::ByteStream;
use crate::problem::{Code, Problem};

/// Bytes of bodies in memory at one time, over all requests: 64 of the largest values, or some 100,000 small ones,
/// which is more than the core's queue takes.
const BODIES_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How long a body may take to arrive: the largest one at 64 KiB/s, with room.
const BODY_TIME_MAX: Duration = Duration::from_secs(30);

/// Memory set aside for bodies.
#[derive(Clone, Debug)]
pub(crate) struct BodyBudget(Arc<Semaphore>);

/// Bytes of a body that is too large which are read and thrown away, so that a client that has begun to send it comes
/// to read the answer; closing the connection on it would reset it. A client that sends more sees the reset.
const DISCARDED_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How long throwing away may take.
const DISCARD_TIME_MAX: Duration = Duration::from_secs(5);

/// A body, and the memory that is set aside for it until this is dropped.
#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) bytes: Bytes,
    _memory: OwnedSemaphorePermit,
}

/// What a route takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyLimit {
    /// Most bytes.
    pub(crate) bytes_max: usize,
    /// What it is, for the one who sent too much.
    pub(crate) name: &'static str,
}

impl Default for BodyBudget {
    fn default() -> BodyBudget {
        BodyBudget(Arc::new(Semaphore::new(BODIES_BYTES_MAX)))
    }
}

impl BodyBudget {
    /// Read a body.
    pub(crate) async fn read(
        &self,
        headers: &HeaderMap,
        stream: impl ByteStream,
        limit: BodyLimit,
    ) -> Result<Body, Problem> {
        let mut stream = std::pin::pin!(stream);
        let declared = declared_bytes(headers)?;
        if declared.is_some_and(|bytes| bytes > limit.bytes_max as u64) {
            // A client that asks before it sends reads the answer instead of sending.
            if !headers.contains_key(EXPECT) {
                discard(stream).await;
            }
            return Err(limit.exceeded());
        }
        // A body of unknown length may become as large as the limit.
        let reserved = declared.unwrap_or(limit.bytes_max as u64) as u32;
        let memory = Arc::clone(&self.0).try_acquire_many_owned(reserved).map_err(|_| {
            Problem::new(
                Code::Overloaded,
                "the bodies of other requests fill the memory that is set aside for them",
            )
        })?;
        let read = tokio::time::timeout(BODY_TIME_MAX, collect(stream.as_mut(), limit)).await;
        let bytes = read.unwrap_or_else(|_| {
            let seconds = BODY_TIME_MAX.as_secs();
            Err(Problem::new(Code::BadRequest, format!("the body did not arrive within {seconds} seconds")))
        });
        if bytes.as_ref().is_err_and(|problem| problem.code == Code::TooLarge) {
            discard(stream).await;
        }
        Ok(Body { bytes: bytes?, _memory: memory })
    }
}

impl BodyLimit {
    fn exceeded(self) -> Problem {
        Problem::new(Code::TooLarge, format!("{} may have at most {} bytes", self.name, self.bytes_max))
    }
}

fn declared_bytes(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(value) = headers.get(CONTENT_LENGTH) else { return Ok(None) };
    let number = value.to_str().ok().and_then(|text| text.parse().ok());
    number.map(Some).ok_or_else(|| Problem::invalid("Content-Length is no number"))
}

/// Read on and forget what was read.
async fn discard(mut stream: Pin<&mut impl ByteStream>) {
    let all = async {
        let mut left = DISCARDED_BYTES_MAX;
        while let Some(Ok(chunk)) = stream.next().await {
            let Some(rest) = left.checked_sub(chunk.remaining()) else { return };
            left = rest;
        }
    };
    let _ = tokio::time::timeout(DISCARD_TIME_MAX, all).await;
}

async fn collect(mut stream: Pin<&mut impl ByteStream>, limit: BodyLimit) -> Result<Bytes, Problem> {
    let mut next = async || match stream.next().await {
        None => Ok(None),
        Some(Ok(mut chunk)) => Ok(Some(chunk.copy_to_bytes(chunk.remaining()))),
        Some(Err(error)) => {
            let error = crate::listener::chain(&error);
            Err(Problem::invalid(format!("the body could not be read: {error}")))
        }
    };
    let Some(first) = next().await? else { return Ok(Bytes::new()) };
    let mut all: Option<BytesMut> = None;
    let mut length = first.len();
    while length <= limit.bytes_max {
        let Some(chunk) = next().await? else { return Ok(all.map_or(first, BytesMut::freeze)) };
        length += chunk.len();
        all.get_or_insert_with(|| BytesMut::from(&first[..])).extend_from_slice(&chunk);
    }
    Err(limit.exceeded())
}

#[cfg(test)]
mod tests {
    use std::io::Error;

    use futures::stream;
    use http::HeaderValue;

    use super::*;

    const LIMIT: BodyLimit = BodyLimit { bytes_max: 8, name: "a test" };

    async fn check(declared: Option<&'static str>, chunks: &[&'static str], expected: Result<&str, Code>) {
        let mut headers = HeaderMap::new();
        if let Some(length) = declared {
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static(length));
        }
        let chunks = stream::iter(chunks.iter().map(|chunk| Ok::<_, Error>(chunk.as_bytes())));
        let read = BodyBudget::default().read(&headers, chunks, LIMIT).await;
        let read =
            read.as_ref().map(|body| std::str::from_utf8(&body.bytes).expect("text")).map_err(|p| p.code);
        assert_eq!(read, expected);
    }

    #[tokio::test]
    async fn bodies_are_put_together_up_to_the_limit() {
        check(Some("0"), &[], Ok("")).await;
        check(Some("3"), &["abc"], Ok("abc")).await;
        check(None, &["abcd", "efgh"], Ok("abcdefgh")).await;
        check(None, &["abcd", "efgh", "i"], Err(Code::TooLarge)).await;
        check(None, &["abcdefghi"], Err(Code::TooLarge)).await;
        check(Some("x"), &["abc"], Err(Code::BadRequest)).await;
    }

    #[tokio::test]
    async fn a_client_that_asks_first_need_not_send_what_is_too_large() {
        let asks = (EXPECT, HeaderValue::from_static("100-continue"));
        let headers = HeaderMap::from_iter([(CONTENT_LENGTH, HeaderValue::from_static("9")), asks]);
        let unread =
            stream::poll_fn(|_| -> std::task::Poll<Option<Result<&[u8], Error>>> { panic!("it was read") });
        let problem = BodyBudget::default().read(&headers, unread, LIMIT).await.expect_err("too large");
        assert_eq!(problem.code, Code::TooLarge);
    }

    #[tokio::test]
    async fn a_client_that_sends_too_much_gets_rid_of_it() {
        let mut sent = 0;
        let chunks = stream::iter(std::iter::repeat_n("abcd", 5)).map(|chunk| {
            sent += chunk.len();
            Ok::<_, Error>(chunk.as_bytes())
        });
        let problem =
            BodyBudget::default().read(&HeaderMap::new(), chunks, LIMIT).await.expect_err("too large");
        assert_eq!((problem.code, sent), (Code::TooLarge, 20));
    }

    #[tokio::test]
    async fn bodies_share_one_budget() {
        let budget = BodyBudget(Arc::new(Semaphore::new(10)));
        let headers = HeaderMap::from_iter([(CONTENT_LENGTH, HeaderValue::from_static("6"))]);
        let body = || stream::iter([Ok::<_, Error>("abcdef".as_bytes())]);
        let first = budget.read(&headers, body(), LIMIT).await.expect("it fits");
        let refused = budget.read(&headers, body(), LIMIT).await.expect_err("two do not fit");
        assert_eq!(refused.code, Code::Overloaded);
        drop(first);
        budget.read(&headers, body(), LIMIT).await.expect("it fits again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_arrive_is_given_up() {
        let silent = stream::pending::<Result<&[u8], Error>>();
        let problem =
            BodyBudget::default().read(&HeaderMap::new(), silent, LIMIT).await.expect_err("too slow");
        assert_eq!(problem.code, Code::BadRequest);
    }
}
