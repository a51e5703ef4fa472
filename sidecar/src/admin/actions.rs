//! What operators ask a member for: its version, a checkpoint, another leader.

use holdfast_api::http::query::{EPOCH, TIMEOUT, TO, VERIFY};
use holdfast_api::http::{CheckpointReply, ForceStartReply, TransferReply, VersionReply};
use holdfast_engine::{MEMBERS_MAX, Ordinal, Term};
use http::StatusCode;
use serde::Deserialize;
use warp::Filter;
use warp::reply::Response;

use crate::byte_stream::ByteStream;
use crate::http::{BodyBudget, BodyLimit, Group, Head, Query, head, json, settle, timeout, with};
use crate::problem::Problem;
use crate::running::Running;

/// The body of a transfer: one number.
const TRANSFER: BodyLimit = BodyLimit { bytes_max: 1024, name: "a transfer" };

/// What `POST /v1/leadership/transfer` takes as its body; nothing at all is the same as `{}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Transfer {
    /// The ordinal of the member that is to lead next; without it the member that has most of the log.
    to: Option<u8>,
}

/// The routes of this module.
pub(super) fn routes(running: Running) -> Group {
    let version = warp::path("version")
        .and(warp::path::end())
        .and(head())
        .then(async |head: Head| settle(version(&head)));
    let checkpoint = warp::path!("v1" / "checkpoint")
        .and(with(running.clone()))
        .and(head())
        .then(async |running: Running, head: Head| settle(checkpoint(&running, &head).await));
    let transfer = warp::path!("v1" / "leadership" / "transfer")
        .and(with((running.clone(), BodyBudget::default())))
        .and(head())
        .and(warp::body::stream())
        .then(async |(running, bodies): (Running, BodyBudget), head: Head, body| {
            settle(transfer(&running, &bodies, &head, body).await)
        });
    let force = warp::path!("v1" / "authority" / "force-start")
        .and(with(running))
        .and(head())
        .then(async |running: Running, head: Head| settle(force_start(&running, &head).await));
    version.or(checkpoint).unify().or(transfer).unify().or(force).unify().boxed()
}

fn version(head: &Head) -> Result<Response, Problem> {
    Query::parse(&head.query, &[])?;
    Ok(json(StatusCode::OK, &VersionReply { version: env!("CARGO_PKG_VERSION").to_owned() }))
}

/// Takes as long as it takes: whoever asks knows how large the state is.
async fn checkpoint(running: &Running, head: &Head) -> Result<Response, Problem> {
    let query = Query::parse(&head.query, &[VERIFY])?;
    let verify = verifies(&query)?;
    let handle = running.handle()?;
    let taken = handle.checkpoint().await.map_err(|failure| Problem::of_failure(failure, true))?;
    if verify {
        let verified = handle.verify_checkpoint(taken.position).await;
        verified.map_err(|failure| Problem::of_failure(failure, true))?;
    }
    let reply = CheckpointReply {
        index: taken.position.index.0,
        term: taken.position.term.0,
        bytes: taken.bytes,
        took_ms: taken.took.as_millis() as u64,
        verified: verify,
    };
    Ok(json(StatusCode::OK, &reply))
}

/// A person's order. It works once, so that to give it again is harmless.
async fn force_start(running: &Running, head: &Head) -> Result<Response, Problem> {
    let query = Query::parse(&head.query, &[EPOCH])?;
    let epoch = query.number(EPOCH, 1..=u64::MAX - 1)?.map(Term).ok_or_else(|| {
        Problem::invalid(format!(
            "name the epoch that the order ends, such as {EPOCH}=7; the status says which it is"
        ))
    })?;
    let handle = running.handle()?;
    let started = handle.force_start(epoch).await.map_err(|failure| Problem::of_failure(failure, true))?;
    let member = handle.member().ordinal.0;
    let reply = ForceStartReply { member, ended: started.ended.0, epoch: started.epoch.0 };
    Ok(json(StatusCode::OK, &reply))
}

/// Whether the checkpoint is to be read back: `?verify`, or `?verify=true`.
fn verifies(query: &Query) -> Result<bool, Problem> {
    match query.text(VERIFY) {
        None | Some("false") => Ok(false),
        Some("" | "true") => Ok(true),
        Some(other) => Err(Problem::invalid(format!("{VERIFY}={other} is neither true nor false"))),
    }
}

async fn transfer(
    running: &Running,
    bodies: &BodyBudget,
    head: &Head,
    body: impl ByteStream,
) -> Result<Response, Problem> {
    let query = Query::parse(&head.query, &[TO, TIMEOUT])?;
    let body = bodies.read(&head.headers, body, TRANSFER).await?;
    let to = wanted(&query, &body.bytes)?;
    let handed_over = running.handle()?.hand_over(to, timeout(&query)?).await;
    // Asking again is harmless: at worst the leadership goes to the same member once more.
    let handed_over = handed_over.map_err(|failure| Problem::of_failure(failure, true))?;
    let reply = TransferReply { leader: handed_over.leader.0, term: handed_over.term.0 };
    Ok(json(StatusCode::OK, &reply))
}

/// Who is to lead: by the query or by the body.
fn wanted(query: &Query, body: &[u8]) -> Result<Option<Ordinal>, Problem> {
    let by_query = query.number(TO, 0..=MEMBERS_MAX as u64 - 1)?.map(|ordinal| ordinal as u8);
    let by_body = match body.trim_ascii() {
        [] => Transfer::default(),
        text => serde_json::from_slice(text)
            .map_err(|error| Problem::invalid(format!("the body is not such as {{\"to\": 1}}: {error}")))?,
    };
    match (by_query, by_body.to) {
        (Some(query), Some(body)) if query != body => {
            Err(Problem::invalid(format!("the query asks for member {query}, the body for {body}")))
        }
        (query, body) => Ok(query.or(body).map(Ordinal)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_leader_is_named_by_query_or_body() {
        let of = |query: &str, body: &str| {
            let query = Query::parse(query, &[TO]).expect("known");
            wanted(&query, body.as_bytes()).map_err(|problem| problem.detail)
        };
        assert_eq!(of("", ""), Ok(None));
        assert_eq!(of("", "{}\n"), Ok(None));
        assert_eq!(of("to=2", ""), Ok(Some(Ordinal(2))));
        assert_eq!(of("", "{\"to\": 1}"), Ok(Some(Ordinal(1))));
        assert_eq!(of("to=1", "{\"to\": 1}"), Ok(Some(Ordinal(1))));
        for (query, body) in
            [("to=1", "{\"to\":2}"), ("to=7", ""), ("", "{\"too\":1}"), ("", "[]"), ("", "{\"to\":-1}")]
        {
            assert!(of(query, body).is_err(), "{query} {body}");
        }
    }
}
