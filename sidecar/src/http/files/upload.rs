//! `POST /files` and `POST /upload` (a form with a file in it), `PUT /files/{key}` (the bytes themselves).
//!
//! Nothing is kept in memory but the pieces on their way. What a form has beside its file is not looked at.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Buf;
use futures::Stream;
use holdfast_api::http::files::{PartReply, Replication, ReplicationDetail, UploadReply};
use holdfast_api::http::query::CONCERN;
use holdfast_engine::Ordinal;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH, RANGE};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::BodyDataStream;
use hyper::body::Incoming;
use multer::{Constraints, Multipart, SizeLimit};
use warp::reply::Response;

use super::download::routed_from;
use super::{Head, Query, check_name, json};
use crate::files::Files;
use crate::files::blobs::to_hex;
use crate::files::nodes;
use crate::files::partial::Progress;
use crate::files::upload::{Uploaded, Wish, check_size};
use crate::listener::chain;
use crate::problem::{Code, Problem};

/// On how many members a file is to be.
const REPLICAS: &str = "replicas";
/// The id that the client wants the file to have.
const FILE_ID: &str = "file_id";
/// Keep it on this member alone, without a record.
const IS_REPLICA: &str = "is_replica";

/// The field of a form that the file is in.
const FIELD: &str = "file";

/// Longest of the other fields of a form. They are not read, only passed.
const OTHER_FIELD_BYTES_MAX: u64 = 1024 * 1024;

/// Through which route it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Through {
    ThisMember,
    Any,
}

/// Take a form.
pub(super) async fn form(
    files: &Files,
    head: &Head,
    body: Incoming,
    through: Through,
) -> Result<Response, Problem> {
    let query = Query::parse(&head.query, &[REPLICAS, CONCERN, FILE_ID, IS_REPLICA])?;
    let boundary = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let Some(boundary) = boundary.and_then(|value| multer::parse_boundary(value).ok()) else {
        return Err(no_file(through));
    };
    let limits = SizeLimit::new().for_field(FIELD, u64::MAX).per_field(OTHER_FIELD_BYTES_MAX);
    let limits = limits.whole_stream(u64::MAX);
    let body = BodyDataStream::new(body);
    let mut form = Multipart::with_constraints(body, boundary, Constraints::new().size_limit(limits));
    let field = loop {
        match form.next_field().await {
            Ok(Some(field)) if field.name() == Some(FIELD) => break field,
            Ok(Some(_)) => {}
            Ok(None) => return Err(no_file(through)),
            Err(error) => {
                return Err(Problem::invalid(format!("the form cannot be read: {}", chain(&error))));
            }
        }
    };
    let original = field.file_name().unwrap_or_default().to_owned();
    let name = query.text(FILE_ID).map_or_else(new_id, str::to_owned);
    check_name(&name)?;
    let original = if original.is_empty() { name.clone() } else { original };
    check_name(&original)?;
    // The form is longer than its file, but not by much: whether there is room is known before it is read.
    let mut wish = wish(&query, &head.headers, name, original)?;
    check_size(length(&head.headers))?;
    wish.size = None;
    if query.text(IS_REPLICA).is_some_and(|value| value == "true") {
        let kept = files.keep_here(None, field).await?;
        let reply = UploadReply {
            is_replica: true,
            replication: None,
            ..reply(files, &wish, kept.size, to_hex(&kept.digest))
        };
        return Ok(json(StatusCode::OK, &reply));
    }
    if through == Through::ThisMember {
        let uploaded = files.upload(wish.clone(), field).await?;
        return Ok(tagged(
            json(StatusCode::OK, &reply_to(files, &wish, files.me().ordinal, &uploaded)),
            &uploaded,
        ));
    }
    let (selected, uploaded) = files.upload_at_best(wish.clone(), length(&head.headers), field).await?;
    let latency = files.latency(selected).map_or(0, |latency| latency.as_millis() as u64);
    let reply = UploadReply {
        routed_via: Some("naming-service".to_owned()),
        selected_node: Some(nodes::name(selected)),
        node_latency_ms: Some(latency),
        ..reply_to(files, &wish, selected, &uploaded)
    };
    let mut response = tagged(json(StatusCode::OK, &reply), &uploaded);
    routed_from(response.headers_mut(), selected, latency);
    Ok(response)
}

/// Take the bytes themselves.
pub(super) async fn raw(
    files: &Files,
    head: &Head,
    body: Incoming,
    name: String,
) -> Result<Response, Problem> {
    let query = Query::parse(&head.query, &[REPLICAS, CONCERN])?;
    let original = name.rsplit('/').next().filter(|last| !last.is_empty()).unwrap_or(&name).to_owned();
    let wish = wish(&query, &head.headers, name, original)?;
    if let Some(range) = head.headers.get(CONTENT_RANGE) {
        return part(files, wish, range, body).await;
    }
    check_size(wish.size)?;
    let uploaded = files.upload(wish.clone(), data(body)).await?;
    Ok(tagged(json(StatusCode::OK, &reply_to(files, &wish, files.me().ordinal, &uploaded)), &uploaded))
}

/// Take a part of a file: `Content-Range: bytes 0-99/1000`, or `bytes */1000` to ask how many bytes are here.
async fn part(files: &Files, wish: Wish, range: &HeaderValue, body: Incoming) -> Result<Response, Problem> {
    let wrong = || Problem::invalid("Content-Range is not bytes FIRST-LAST/SIZE, or bytes */SIZE");
    let (from, size) = range.to_str().ok().and_then(part_of).ok_or_else(wrong)?;
    match files.part(wish.clone(), size, from, data(body)).await? {
        Progress::Uploaded(uploaded) => {
            let reply = reply_to(files, &wish, files.me().ordinal, &uploaded);
            Ok(tagged(json(StatusCode::OK, &reply), &uploaded))
        }
        Progress::Received(bytes) => {
            let mut response = json(StatusCode::PERMANENT_REDIRECT, &PartReply { received: bytes, size });
            if bytes > 0 {
                response.headers_mut().insert(RANGE, received(bytes));
            }
            Ok(response)
        }
    }
}

/// Where a part begins, if it is one, and how long all of it is.
fn part_of(range: &str) -> Option<(Option<u64>, u64)> {
    let (part, size) = range.trim().strip_prefix("bytes ")?.split_once('/')?;
    let size: u64 = size.parse().ok()?;
    if part == "*" {
        return Some((None, size));
    }
    let (first, last) = part.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last && last < size).then_some((Some(first), size))
}

/// What has come of a file, as a range.
pub(super) fn received(bytes: u64) -> HeaderValue {
    HeaderValue::try_from(format!("bytes=0-{}", bytes.saturating_sub(1))).expect("digits and signs")
}

fn data(body: Incoming) -> impl Stream<Item = Result<impl Buf, hyper::Error>> {
    BodyDataStream::new(body)
}

fn no_file(through: Through) -> Problem {
    match through {
        Through::ThisMember => {
            Problem::new(Code::NoFile, "no file uploaded: send a form with the field \"file\"")
        }
        // Existing clients of this route read 400.
        Through::Any => Problem::invalid("no file uploaded"),
    }
}

fn wish(query: &Query, headers: &HeaderMap, name: String, original: String) -> Result<Wish, Problem> {
    if headers.contains_key(IF_MATCH) {
        return Err(Problem::invalid(
            "an upload takes no If-Match; If-None-Match: * is for files that must be new",
        ));
    }
    let only_if_absent = match headers.get(IF_NONE_MATCH).map(HeaderValue::as_bytes) {
        None => false,
        Some(b"*") => true,
        Some(_) => {
            return Err(Problem::invalid("an upload takes only If-None-Match: *, the file must not exist"));
        }
    };
    Ok(Wish {
        name,
        original,
        size: length(headers),
        replicas: query.number(REPLICAS, 1..=u64::from(u8::MAX))?.map(|replicas| replicas as u8),
        concern: query.parsed(CONCERN)?,
        digest: digest(headers)?,
        only_if_absent,
    })
}

/// How long the body is, if it says so.
fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The SHA-256 that the client says its body has.
fn digest(headers: &HeaderMap) -> Result<Option<[u8; 32]>, Problem> {
    let Some(value) = headers.get("content-digest").or_else(|| headers.get("repr-digest")) else {
        return Ok(None);
    };
    let wrong = || Problem::invalid("Content-Digest is not sha-256=:…:, 32 bytes in Base64");
    let text = value.to_str().map_err(|_| wrong())?;
    let each = text.split(',').map(str::trim);
    // Other algorithms are not looked at.
    let Some(encoded) = each.filter_map(|part| part.strip_prefix("sha-256=:")).next() else {
        return Ok(None);
    };
    let bytes =
        encoded.strip_suffix(':').and_then(|encoded| STANDARD.decode(encoded).ok()).ok_or_else(wrong)?;
    bytes.try_into().map(Some).map_err(|_| wrong())
}

/// An id in the form that existing clients know (RFC 9562, version 4).
fn new_id() -> String {
    let (high, low) = (crate::peers::random(), crate::peers::random());
    let (high, low) = (high & !0xf000 | 0x4000, low & !(0b11 << 62) | 0b10 << 62);
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    )
}

/// What the client of an upload is told that the member `taker` took.
fn reply_to(files: &Files, wish: &Wish, taker: Ordinal, uploaded: &Uploaded) -> UploadReply {
    UploadReply {
        node_id: nodes::name(taker),
        replication: Some(replication(taker, uploaded)),
        ..reply(files, wish, uploaded.kept.size, to_hex(&uploaded.kept.digest))
    }
}

fn reply(files: &Files, wish: &Wish, size_bytes: u64, checksum_sha256: String) -> UploadReply {
    let ending =
        wish.original.rsplit_once('.').filter(|(stem, _)| !stem.is_empty()).map(|(_, ending)| ending);
    let stored_name =
        match ending.filter(|_| wish.name != wish.original && !wish.name.ends_with(&wish.original)) {
            Some(ending) => format!("{}.{ending}", wish.name),
            None => wish.name.clone(),
        };
    UploadReply {
        success: true,
        file_id: wish.name.clone(),
        file_key: wish.name.clone(),
        stored_name,
        original_filename: wish.original.clone(),
        size_bytes,
        checksum_sha256,
        node_id: nodes::name(files.me().ordinal),
        is_replica: false,
        replication: None,
        routed_via: None,
        selected_node: None,
        node_latency_ms: None,
    }
}

/// What became of the copies on the members beside the one that took it.
fn replication(taker: Ordinal, uploaded: &Uploaded) -> Replication {
    let others = uploaded.copies.iter().filter(|(ordinal, _)| *ordinal != taker);
    let details: Vec<ReplicationDetail> = others
        .map(|(ordinal, result)| ReplicationDetail {
            node: nodes::name(*ordinal),
            success: result.is_ok(),
            error: result.as_ref().err().cloned(),
        })
        .collect();
    let names = |success: bool| {
        let those = details.iter().filter(|detail| detail.success == success);
        those.map(|detail| detail.node.clone()).collect::<Vec<_>>()
    };
    let (successful_nodes, failed_nodes) = (names(true), names(false));
    Replication {
        total_nodes: details.len(),
        successful: successful_nodes.len(),
        failed: failed_nodes.len(),
        successful_nodes,
        failed_nodes,
        details,
    }
}

fn tagged(mut response: Response, uploaded: &Uploaded) -> Response {
    let tag = format!("\"{}\"", to_hex(&uploaded.kept.digest));
    response.headers_mut().insert(ETAG, HeaderValue::try_from(tag).expect("digits in quotes"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_says_where_it_begins_and_what_it_is_of() {
        assert_eq!(part_of("bytes 0-99/1000"), Some((Some(0), 1000)));
        assert_eq!(part_of("bytes 5-5/6"), Some((Some(5), 6)));
        assert_eq!(part_of("bytes */7"), Some((None, 7)));
        for wrong in ["bytes 5-4/9", "bytes 0-9/9", "bytes 0-1/*", "0-1/2", "bytes -1/2", ""] {
            assert_eq!(part_of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn ids_have_the_form_that_clients_know() {
        let id = new_id();
        let parts: Vec<&str> = id.split('-').collect();
        assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), [8, 4, 4, 4, 12], "{id}");
        assert!(parts[2].starts_with('4') && "89ab".contains(&parts[3][..1]), "{id}");
        assert_ne!(new_id(), id);
    }

    #[test]
    fn a_digest_is_read_or_refused_and_never_guessed() {
        let with = |value: &'static str| {
            digest(&HeaderMap::from_iter([(
                http::header::HeaderName::from_static("content-digest"),
                HeaderValue::from_static(value),
            )]))
        };
        let empty = "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:";
        assert_eq!(with(empty).ok().flatten().map(|digest| digest[0]), Some(0xe3));
        assert_eq!(with("sha-512=:AA==:"), Ok(None));
        for wrong in ["sha-256=:AA==:", "sha-256=:!:", "sha-256=:47DEQpj8HBSa"] {
            assert!(with(wrong).is_err(), "{wrong}");
        }
        assert_eq!(digest(&HeaderMap::new()), Ok(None));
    }
}
