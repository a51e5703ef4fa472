//! `GET` and `HEAD /files/{key}` and `/download/{key}`: a file, or some of its bytes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::{Stream, StreamExt};
use holdfast_engine::Ordinal;
use http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName,
    HeaderValue, LAST_MODIFIED,
};
use http::{HeaderMap, Method, StatusCode};
use tokio::sync::mpsc;
use warp::Reply;
use warp::reply::Response;

use super::range::{Wanted, wanted};
use super::{Head, NOT_FOUND, Query};
use crate::files::Files;
use crate::files::blobs::to_hex;
use crate::files::nodes;
use crate::files::reading::ReadError;
use crate::files::records::FileRecord;
use crate::problem::{Code, Problem};

/// SHA-256 over what the reply has.
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");
/// SHA-256 over all of the file.
const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");
/// The member that the bytes come from.
const ROUTED_FROM: HeaderName = HeaderName::from_static("x-routed-from");
/// Its round trip.
const NODE_LATENCY: HeaderName = HeaderName::from_static("x-node-latency-ms");

/// Pieces that are read before the client has taken those before.
const AHEAD_MAX: usize = 2;

/// Through which route it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Through {
    ThisMember,
    Any,
}

/// Answer a reader.
pub(super) async fn get(
    files: &Files,
    head: &Head,
    method: &Method,
    name: &str,
    through: Through,
) -> Result<Response, Problem> {
    Query::parse(&head.query, &[])?;
    let found = files.catalogue().get(name).await?;
    let Some(record) = found.map(|found| found.record) else {
        return Err(Problem::new(Code::FileNotFound, NOT_FOUND));
    };
    let (size, tag) = (record.size, format!("\"{}\"", to_hex(&record.digest)));
    let (status, from, to) = match wanted(&head.headers, size, &tag) {
        Wanted::Whole => (StatusCode::OK, 0, size),
        Wanted::Part { from, to } => (StatusCode::PARTIAL_CONTENT, from, to),
        Wanted::Known => {
            let mut known = Response::default();
            *known.status_mut() = StatusCode::NOT_MODIFIED;
            known.headers_mut().insert(ETAG, text(tag));
            return Ok(known);
        }
        Wanted::Nothing => {
            let problem = Problem::new(Code::RangeNotSatisfiable, format!("the file has {size} bytes"));
            return Err(problem.with_header(CONTENT_RANGE, text(format!("bytes */{size}"))));
        }
    };
    let mut response = if *method == Method::HEAD {
        Response::default()
    } else {
        let (reading, first) = files.read(record.clone(), from, to).await?;
        let source = reading.source();
        let latency = files.latency(source).map_or(0, |latency| latency.as_millis() as u64);
        let mut response = body(reading.stream(first));
        if through == Through::Any || source != files.me().ordinal {
            routed_from(response.headers_mut(), source, latency);
        }
        response
    };
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(to - from));
    headers.insert(ETAG, text(tag));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CONTENT_DISPOSITION, disposition(&record.original));
    headers.insert(LAST_MODIFIED, modified(&record));
    let guessed = mime_guess::from_path(&record.original).first_or_octet_stream();
    headers.insert(CONTENT_TYPE, text(guessed.essence_str().to_owned()));
    headers.insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
    let digest = text(format!("sha-256=:{}:", STANDARD.encode(record.digest)));
    headers.insert(REPR_DIGEST, digest.clone());
    if status == StatusCode::OK {
        headers.insert(CONTENT_DIGEST, digest);
    } else {
        headers.insert(CONTENT_RANGE, text(format!("bytes {from}-{}/{size}", to.saturating_sub(1))));
    }
    Ok(response)
}

/// Say which member it was, and how far away it is in milliseconds.
pub(super) fn routed_from(headers: &mut HeaderMap, member: Ordinal, latency_ms: u64) {
    headers.insert(ROUTED_FROM, text(nodes::name(member)));
    headers.insert(NODE_LATENCY, HeaderValue::from(latency_ms));
}

/// A body that is read a little ahead of its client, and no further. It ends without its end if there is no more.
fn body(stream: impl Stream<Item = Result<Bytes, ReadError>> + Send + 'static) -> Response {
    let (sender, mut receiver) = mpsc::channel(AHEAD_MAX);
    tokio::spawn(async move {
        let mut stream = std::pin::pin!(stream);
        while let Some(piece) = stream.next().await {
            // Nobody reads any more.
            if sender.send(piece).await.is_err() {
                return;
            }
        }
    });
    let pieces = futures::stream::poll_fn(move |task| receiver.poll_recv(task));
    warp::reply::stream(pieces).into_response()
}

/// A file is to be kept, and is called what it was called.
fn disposition(original: &str) -> HeaderValue {
    let plain = |letter: char| {
        letter.is_ascii_graphic() && !matches!(letter, '"' | '\\' | '/' | '%') || letter == ' '
    };
    let shown: String = original.chars().map(|letter| if plain(letter) { letter } else { '_' }).collect();
    if shown == original {
        return text(format!("attachment; filename=\"{shown}\""));
    }
    let encoded: String = original.bytes().fold(String::new(), |mut encoded, byte| {
        use std::fmt::Write;
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(byte.into());
        } else {
            write!(encoded, "%{byte:02X}").expect("a string takes everything");
        }
        encoded
    });
    text(format!("attachment; filename=\"{shown}\"; filename*=UTF-8''{encoded}"))
}

fn modified(record: &FileRecord) -> HeaderValue {
    let time = jiff::Timestamp::from_millisecond(record.uploaded_ms as i64).unwrap_or_default();
    text(time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string())
}

fn text(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("letters, digits and signs")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_a_header_is_harmless() {
        assert_eq!(disposition("a b.txt"), "attachment; filename=\"a b.txt\"");
        assert_eq!(
            disposition("../\"größe\r\n\0"),
            "attachment; filename=\"..__gr__e___\"; filename*=UTF-8''..%2F%22gr%C3%B6%C3%9Fe%0D%0A%00"
        );
    }
}
