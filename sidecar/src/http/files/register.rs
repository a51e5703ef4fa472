//! `POST /files/register` and `/files/register-location`: a member has a file already, and the catalogue does not know.
//!
//! What it refuses to do: believe it. The member is asked to read the file from its beginning to its end.

use holdfast_api::http::files::{RegisterLocationRequest, RegisterRequest, Registered};
use holdfast_engine::{MemberId, Ordinal, WriteConcern};
use holdfast_wire::files::Digest;
use http::StatusCode;
use http_body_util::BodyDataStream;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use warp::reply::Response;

use super::super::BodyLimit;
use super::{Context, Head, NOT_FOUND, Query, check_name, json};
use crate::files::Files;
use crate::files::blobs::from_hex;
use crate::files::catalogue::Change;
use crate::files::nodes;
use crate::files::records::{FileRecord, QueueItem, now_ms};
use crate::problem::{Code, Problem};

/// What is registered in JSON: two names, each as long as it may be and escaped, and what belongs to them.
const REGISTRATION: BodyLimit = BodyLimit { bytes_max: 64 * 1024, name: "a registration" };

/// Register a file.
pub(super) async fn file(
    context: &Context,
    files: &Files,
    head: &Head,
    body: Incoming,
) -> Result<Response, Problem> {
    let request: RegisterRequest = read(context, head, body).await?;
    check_name(&request.file_key)?;
    let original = request.original_filename.unwrap_or_else(|| request.file_key.clone());
    check_name(&original)?;
    let digest = from_hex(&request.checksum_sha256)
        .ok_or_else(|| Problem::invalid("invalid request: checksum_sha256 is not 64 hexadecimal digits"))?;
    let holder = holder(files, &request.node_id, digest, request.size_bytes).await?;
    let failed = request.failed_nodes.unwrap_or_default();
    let failed = failed.iter().map(|name| member(files, name)).collect::<Result<Vec<_>, _>>()?;
    let record = FileRecord {
        name: request.file_key.clone(),
        original,
        size: request.size_bytes,
        digest,
        uploaded_ms: now_ms(),
        generation: crate::files::upload::draw(),
        wanted: Vec::new(),
        holders: vec![holder.into()],
    };
    let missing = failed
        .into_iter()
        .filter(|&ordinal| ordinal != holder.ordinal)
        .map(|ordinal| QueueItem::new(&request.file_key, ordinal, Some(holder.ordinal), None));
    files.register(&record, missing.collect()).await?;
    let message = Some("file metadata registered".to_owned());
    Ok(json(StatusCode::OK, &Registered { success: true, message }))
}

/// Register one more member that has a file.
pub(super) async fn location(
    context: &Context,
    files: &Files,
    head: &Head,
    body: Incoming,
) -> Result<Response, Problem> {
    let request: RegisterLocationRequest = read(context, head, body).await?;
    let Some(found) = files.catalogue().get(&request.file_key).await? else {
        return Err(Problem::new(Code::FileNotFound, NOT_FOUND));
    };
    let read = found.record;
    let holder = holder(files, &request.node_id, read.digest, read.size).await?;
    let decide = |record: Option<&FileRecord>| {
        let record =
            record.filter(|record| record.generation == read.generation && !record.is_held_by(holder))?;
        let mut record = record.clone();
        record.add_holder(holder);
        Some(Change { record: Some(record), items: vec![], done: vec![holder.ordinal] })
    };
    files.catalogue().change(&request.file_key, WriteConcern::Majority, decide).await?;
    Ok(json(StatusCode::OK, &Registered { success: true, message: None }))
}

async fn read<T: DeserializeOwned>(context: &Context, head: &Head, body: Incoming) -> Result<T, Problem> {
    Query::parse(&head.query, &[])?;
    let body = context.bodies.read(&head.headers, BodyDataStream::new(body), REGISTRATION).await?;
    serde_json::from_slice(&body.bytes).map_err(|error| Problem::invalid(format!("invalid request: {error}")))
}

fn member(files: &Files, name: &str) -> Result<Ordinal, Problem> {
    let ordinal = nodes::ordinal(name).filter(|ordinal| files.members().contains(ordinal));
    ordinal.ok_or_else(|| Problem::new(Code::NoSuchMember, format!("there is no node {name:?}")))
}

/// The member of this name, once it has read the file and found it whole.
async fn holder(files: &Files, name: &str, digest: Digest, size: u64) -> Result<MemberId, Problem> {
    let ordinal = member(files, name)?;
    match files.verify_at(ordinal, digest).await {
        Ok((found, member)) if found == size => Ok(member),
        Ok((found, _)) => Err(Problem::new(
            Code::DigestMismatch,
            format!("the file at {name} has {found} bytes, not {size}"),
        )),
        Err(why) => Err(Problem::new(Code::DigestMismatch, format!("{name} does not have this file: {why}"))),
    }
}
