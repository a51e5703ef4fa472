//! Files on the client port. What existing clients of such systems send and read is kept, names, texts and codes alike; the
//! rest is this project's way.
//!
//! | route | module |
//! |---|---|
//! | `POST /files`, `PUT /files/{key}`, `POST /upload` | [`upload`] |
//! | `GET`, `HEAD /files/{key}`, `/download/{key}` | [`download`] |
//! | `GET /files`, `DELETE /files/{key}`, `GET /replication-queue` | [`catalogue`] |
//! | `POST /files/register`, `POST /files/register-location` | [`register`] |
//! | `GET /nodes`, `GET /nodes/check`, `POST /nodes/{id}/recover` | [`nodes`] |
//!
//! A key is everything behind `/files/`, percent-decoded once, and nothing but data: `..%2Fa` is a name like any other. What
//! this refuses to do: decide where bytes are; it asks [`crate::files`].

mod catalogue;
mod download;
mod nodes;
mod range;
mod register;
mod upload;

pub(super) use catalogue::{entry as file_entry, queue_entry, statistics as queue_statistics};
use holdfast_wire::files::Refusal;
use http::{Method, Request};
use hyper::body::Incoming;
use warp::reply::Response;

use super::percent::decode_path;
use super::{Context, Head, Query, json, settle};
use crate::files::blobs::BlobError;
use crate::files::catalogue::CatalogueError;
use crate::files::limits::NAME_BYTES_MAX;
use crate::files::reading::ReadError;
use crate::files::upload::UploadError;
use crate::listener::chain;
use crate::problem::{Code, Problem};

/// What existing clients are told of a file that is not there.
const NOT_FOUND: &str = "file not found";

/// Whether a path is one of files.
pub(super) fn takes(path: &str) -> bool {
    let under =
        |prefix: &str| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    ["/files", "/upload", "/download", "/replication-queue", "/nodes"].into_iter().any(under)
}

/// Answer a request whose route and method are known to be there.
pub(super) async fn serve(context: &Context, request: Request<Incoming>) -> Response {
    let (parts, body) = request.into_parts();
    let head = Head {
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers,
    };
    let answered = answer(context, &parts.method, &head, body).await;
    settle(answered.map_err(|problem| problem.with_error(None)))
}

async fn answer(
    context: &Context,
    method: &Method,
    head: &Head,
    body: Incoming,
) -> Result<Response, Problem> {
    let files = context.running.files()?;
    let (get, post) = (matches!(*method, Method::GET | Method::HEAD), *method == Method::POST);
    match head.path.as_str() {
        "/files" if get => catalogue::list(files, head).await,
        "/files" => upload::form(files, head, body, upload::Through::ThisMember).await,
        "/upload" => upload::form(files, head, body, upload::Through::Any).await,
        "/files/register" if post => register::file(context, files, head, body).await,
        "/files/register-location" if post => register::location(context, files, head, body).await,
        "/replication-queue" => catalogue::queue(files, head).await,
        "/nodes" => nodes::list(files, head).await,
        "/nodes/check" => nodes::check(files, head).await,
        path => {
            if let Some(node) = path.strip_prefix("/nodes/") {
                return nodes::recover(files, head, node).await;
            }
            if let Some(key) = path.strip_prefix("/download/") {
                return download::get(files, head, method, &name(key)?, download::Through::Any).await;
            }
            let key = name(path.strip_prefix("/files/").unwrap_or_default())?;
            match *method {
                Method::PUT => upload::raw(files, head, body, key).await,
                Method::DELETE => catalogue::delete(files, head, &key).await,
                _ => download::get(files, head, method, &key, download::Through::ThisMember).await,
            }
        }
    }
}

/// The name in a path as it was sent.
fn name(raw: &str) -> Result<String, Problem> {
    let invalid = |detail| Problem::new(Code::InvalidKey, detail);
    let name = decode_path(raw).map_err(|error| invalid(format!("the name cannot be decoded: {error}")))?;
    check_name(&name).map(|()| name)
}

fn check_name(name: &str) -> Result<(), Problem> {
    match name.len() {
        0 => Err(Problem::new(Code::InvalidKey, "a file's name has at least one byte")),
        length if length > NAME_BYTES_MAX => {
            let detail = format!("the name has {length} bytes, {NAME_BYTES_MAX} is the most");
            Err(Problem::new(Code::InvalidKey, detail))
        }
        _ => Ok(()),
    }
}

impl From<CatalogueError> for Problem {
    fn from(error: CatalogueError) -> Problem {
        match error {
            CatalogueError::Core(failure) => Problem::of_failure(failure, true),
            CatalogueError::Refused(reason) => Problem::of_reason(&reason),
            CatalogueError::Late => Problem::new(Code::OutcomeUnknown, error.to_string()),
        }
    }
}

impl From<BlobError> for Problem {
    fn from(error: BlobError) -> Problem {
        let code = match error {
            BlobError::Full { .. } => Code::DiskFull,
            BlobError::TooLarge { .. } => Code::TooLarge,
            BlobError::Mismatch(_) => Code::DigestMismatch,
            BlobError::Stopping => Code::ShuttingDown,
            BlobError::Missing => Code::FileNotFound,
            BlobError::Damaged { .. } | BlobError::Io { .. } => Code::Internal,
        };
        Problem::new(code, chain(&error))
    }
}

impl From<UploadError> for Problem {
    fn from(error: UploadError) -> Problem {
        let code = match error {
            UploadError::Blob(error) => return error.into(),
            UploadError::Catalogue(error) => return error.into(),
            UploadError::Busy => Code::Overloaded,
            UploadError::Body(_) | UploadError::Stalled => Code::BadRequest,
            UploadError::Mismatch(_) => Code::DigestMismatch,
            UploadError::Exists(_) => Code::FileExists,
            UploadError::Offset { received } => {
                let problem = Problem::new(Code::RangeNotSatisfiable, error.to_string());
                return problem.with_header(http::header::RANGE, upload::received(received));
            }
            UploadError::TooMany => Code::QuotaExceeded,
            UploadError::Replicas { .. } => Code::ConcernTooHigh,
            UploadError::TooFew { .. } | UploadError::Nobody(_) => Code::TooFewCopies,
            UploadError::Passed { why, .. } => of_refusal(why),
        };
        Problem::new(code, error.to_string())
    }
}

/// What another member's refusal means to the client that sent an upload.
fn of_refusal(why: Refusal) -> Code {
    match why {
        Refusal::Busy => Code::Overloaded,
        Refusal::DiskFull => Code::DiskFull,
        Refusal::TooLarge => Code::TooLarge,
        Refusal::Mismatch => Code::DigestMismatch,
        Refusal::Exists => Code::FileExists,
        Refusal::TooMany => Code::QuotaExceeded,
        Refusal::Invalid => Code::BadRequest,
        Refusal::Unknown => Code::OutcomeUnknown,
        Refusal::TooFewCopies | Refusal::Missing | Refusal::Damaged | Refusal::Failed => Code::TooFewCopies,
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Problem {
        match error {
            ReadError::Busy => Problem::new(Code::Overloaded, error.to_string()),
            // What existing clients look for comes first.
            ReadError::Nowhere { .. } => {
                Problem::new(Code::TooFewCopies, format!("no available nodes: {error}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_data() {
        assert_eq!(name("..%2F..%2fetc/passwd").as_deref(), Ok("../../etc/passwd"));
        assert_eq!(name("a%00b").as_deref(), Ok("a\0b"));
        assert_eq!(name("gr%C3%B6%C3%9Fe").as_deref(), Ok("größe"));
        assert!(name(&"n".repeat(NAME_BYTES_MAX)).is_ok());
        for wrong in ["", "%ff", "%2", &"n".repeat(NAME_BYTES_MAX + 1)] {
            assert_eq!(name(wrong).map_err(|problem| problem.code), Err(Code::InvalidKey));
        }
    }

    #[test]
    fn only_paths_of_files_go_around() {
        for path in ["/files", "/files/a", "/nodes/check", "/download/a/b", "/upload"] {
            assert!(takes(path), "{path}");
        }
        for path in ["/filesystem", "/v1/kv/files", "/nodesx", "/"] {
            assert!(!takes(path), "{path}");
        }
    }
}
