//! `PUT`, `GET` and `DELETE /v1/kv/{key}`: one key, its value as the raw body.
//!
//! The key is everything behind `/v1/kv/`, percent-decoded once: `a/b` and `a%2Fb` are the same key. So keys may hold
//! slashes, written either way, and a trailing slash belongs to the key. Write `%2F` where a client would fold `//` or
//! `..` away. It refuses keys that are not UTF-8, empty, or too long.

use bytes::Bytes;
use holdfast_api::http::DeleteReply;
use holdfast_api::http::query::{READ, REVISION, TIMEOUT};
use holdfast_store::{KEY_BYTES_MAX, KeyValue, Operation, Outcome, Revision, VALUE_BYTES_MAX};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, StatusCode};
use http_body_util::BodyDataStream;
use hyper::body::Incoming;
use warp::reply::Response;

use super::body::BodyLimit;
use super::conditions::{TAG, expectation, known_revision, tag};
use super::parameters::{WriteParameters, consistency, revision, timeout};
use super::percent::decode_path;
use super::reads::read;
use super::writes::{Done, write};
use super::{Context, Head, Query, at_revision, json, settle};
use crate::byte_stream::ByteStream;
use crate::core::{Answer, Query as CoreQuery, ReadRequest};
use crate::problem::{Code, Problem};
use crate::reserved;

/// What stands before the key.
pub(super) const PREFIX: &str = "/v1/kv/";

/// Parameters of a read.
const READ_NAMES: &[&str] = &[READ, REVISION, TIMEOUT];

/// What a value may be.
const VALUE: BodyLimit = BodyLimit { bytes_max: VALUE_BYTES_MAX, name: "a value" };

/// Answer a request to one key, whose route and method are known to be there.
pub(super) async fn serve(context: &Context, request: Request<Incoming>) -> Response {
    let (parts, body) = request.into_parts();
    let head = Head {
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers,
    };
    settle(match parts.method {
        Method::PUT => put(context, &head, BodyDataStream::new(body)).await,
        Method::DELETE => delete(context, &head).await,
        _ => get(context, &head).await,
    })
}

async fn get(context: &Context, head: &Head) -> Result<Response, Problem> {
    let query = Query::parse(&head.query, READ_NAMES)?;
    let known = known_revision(&head.headers)?;
    let core_query = CoreQuery::Get { key: key(head)?, at: revision(&query)? };
    let request =
        ReadRequest { query: core_query, consistency: consistency(&query)?, timeout: timeout(&query)? };
    let reply = read(context, request).await?;
    let Answer::Get(item) = reply.answer else { unreachable!("a get is answered by a get") };
    let Some(item) = item else {
        let detail = format!("the key does not exist at revision {}", reply.revision);
        let now = HeaderValue::from(reply.revision.0);
        return Err(Problem::new(Code::KeyNotFound, detail).with_header(super::REVISION, now));
    };
    Ok(at_revision(found(item, known), reply.revision))
}

fn found(item: KeyValue, known: Option<Revision>) -> Response {
    let tag = tag(item.mod_revision);
    let mut response = if known == Some(item.mod_revision) {
        let mut unchanged = Response::default();
        *unchanged.status_mut() = StatusCode::NOT_MODIFIED;
        unchanged
    } else {
        let mut changed = Response::new(item.value.into());
        changed.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        changed
    };
    response.headers_mut().insert(TAG, tag);
    response
}

async fn put(context: &Context, head: &Head, body: impl ByteStream) -> Result<Response, Problem> {
    let parameters = WriteParameters::of(&Query::parse(&head.query, WriteParameters::NAMES)?)?;
    let (key, expect) = (key(head)?, expectation(&head.headers)?);
    let body = context.bodies.read(&head.headers, body, VALUE).await?;
    let operation = Operation::Put { key, value: body.bytes.clone(), expect };
    let done = write(context, &parameters, operation).await?;
    let Outcome::Put { revision, .. } = done.outcome else { unreachable!("a put is answered by a put") };
    let mut response = json(done.status, &done.reply(revision));
    response.headers_mut().insert(TAG, tag(revision));
    Ok(at_revision(response, revision))
}

async fn delete(context: &Context, head: &Head) -> Result<Response, Problem> {
    let parameters = WriteParameters::of(&Query::parse(&head.query, WriteParameters::NAMES)?)?;
    let operation = Operation::Delete { key: key(head)?, expect: expectation(&head.headers)? };
    let done: Done = write(context, &parameters, operation).await?;
    let Outcome::Deleted { revision, count } = done.outcome else {
        unreachable!("a delete is answered by a delete")
    };
    let reply = DeleteReply { write: done.reply(revision), deleted: count };
    Ok(at_revision(json(done.status, &reply), revision))
}

/// The key of a request.
fn key(head: &Head) -> Result<Bytes, Problem> {
    key_of(head.path.as_str())
}

/// The key in a path as it was sent.
pub(super) fn key_of(path: &str) -> Result<Bytes, Problem> {
    let invalid = |detail| Problem::new(Code::InvalidKey, detail);
    let raw = path.strip_prefix(PREFIX).unwrap_or_default();
    let key = decode_path(raw).map_err(|error| invalid(format!("the key cannot be decoded: {error}")))?;
    match key.len() {
        0 => Err(invalid("a key has at least one byte".to_owned())),
        length if length > KEY_BYTES_MAX => {
            Err(invalid(format!("the key has {length} bytes, {KEY_BYTES_MAX} is the most")))
        }
        _ => reserved::check(key.as_bytes()).map(|()| Bytes::from(key)),
    }
}
