//! `GET /nodes`, `GET /nodes/check` and `POST /nodes/{id}/recover`.

use std::time::Duration;

use futures::future::join_all;
use holdfast_api::http::Status;
use holdfast_api::http::files::{NodeChecked, NodeEntry, NodesCheck, QueueEntry, RecoverReply};
use holdfast_engine::Ordinal;
use http::StatusCode;
use jiff::Timestamp;
use warp::reply::Response;

use super::super::health::node_role;
use super::catalogue::queue_entry;
use super::{Head, Query, json};
use crate::dashboard::guard;
use crate::files::Files;
use crate::files::nodes;
use crate::files::records::QueueStatus;
use crate::problem::{Code, Problem};

/// List the members.
pub(super) async fn list(files: &Files, head: &Head) -> Result<Response, Problem> {
    Query::parse(&head.query, &[])?;
    let status = files.running().status().await?;
    let nodes: Vec<NodeEntry> =
        files.members().into_iter().map(|ordinal| entry(files, &status, ordinal)).collect();
    Ok(json(StatusCode::OK, &nodes))
}

/// Ask every member now.
pub(super) async fn check(files: &Files, head: &Head) -> Result<Response, Problem> {
    Query::parse(&head.query, &[])?;
    let checked_at = Timestamp::now();
    let checks = files.members().into_iter().map(async |ordinal| {
        let checked = files.check(ordinal).await;
        NodeChecked {
            id: nodes::name(ordinal),
            address: files.address(ordinal).unwrap_or_default(),
            status: up(checked.is_ok()),
            round_trip_ms: checked.as_ref().ok().map(|took| milliseconds(*took)),
            error: checked.err().map(|error| error.words()),
        }
    });
    Ok(json(StatusCode::OK, &NodesCheck { checked_at, nodes: join_all(checks).await }))
}

/// Recover a member's copies now.
pub(super) async fn recover(files: &Files, head: &Head, path: &str) -> Result<Response, Problem> {
    Query::parse(&head.query, &[])?;
    if guard::is_of_another_site(&head.headers) {
        let detail = "only pages of this member's own site may have files recovered";
        return Err(Problem::new(Code::ForeignPage, detail));
    }
    let Some(node) = path.strip_suffix("/recover") else {
        return Err(Problem::new(
            Code::RouteNotFound,
            format!("there is no route \"/nodes/{path}\"; it is /nodes/{{id}}/recover"),
        ));
    };
    let nothing = |message: &str| RecoverReply {
        message: message.to_owned(),
        total: 0,
        success: 0,
        failed: 0,
        count: 0,
        pending_items: Vec::new(),
    };
    let ordinal = nodes::ordinal(node).filter(|ordinal| files.members().contains(ordinal));
    // Existing clients are told the same of a node that does not exist as of one that misses nothing.
    let Some(ordinal) = ordinal else {
        return Ok(json(StatusCode::OK, &nothing("no pending replications")));
    };
    let before = pending(files, ordinal).await?;
    let reply = match files.recover_member(ordinal).await {
        Ok(round) if round.total == 0 && before.is_empty() => nothing("no pending replications"),
        Ok(round) => RecoverReply {
            message: "recovery completed".to_owned(),
            total: round.total,
            success: round.success,
            failed: round.failed,
            count: round.total,
            pending_items: pending(files, ordinal).await?,
        },
        Err(_) if before.is_empty() => nothing("no pending replications"),
        Err(why) => {
            let total = before.len() as u64;
            RecoverReply {
                message: format!("recovery is not possible now: {why}"),
                failed: total,
                total,
                count: total,
                pending_items: before,
                ..nothing("")
            }
        }
    };
    Ok(json(StatusCode::OK, &reply))
}

/// What a member misses, as far as the queue knows.
async fn pending(files: &Files, ordinal: Ordinal) -> Result<Vec<QueueEntry>, Problem> {
    let items = files.catalogue().queue().await?;
    let missing =
        items.iter().filter(|item| item.target == ordinal.0 && item.status != QueueStatus::Completed);
    Ok(missing.map(queue_entry).collect())
}

fn entry(files: &Files, status: &Status, ordinal: Ordinal) -> NodeEntry {
    let me = ordinal == files.me().ordinal;
    let peer = status.peers.iter().find(|peer| peer.ordinal == ordinal.0);
    let last = peer.and_then(|peer| peer.last_heartbeat_ms_ago).map(Duration::from_millis);
    let last = if me { Some(Duration::ZERO) } else { last };
    let round_trip = files.latency(ordinal).filter(|_| !me);
    NodeEntry {
        id: nodes::name(ordinal),
        address: files.address(ordinal).unwrap_or_default(),
        status: up(files.is_up(ordinal)),
        role: node_role(status, ordinal.0).name().to_owned(),
        last_heartbeat: last.and_then(|ago| Timestamp::now().checked_sub(ago).ok()),
        latency_ms: round_trip.map(|took| took.as_millis() as u64 + 1),
        round_trip_ms: round_trip.map(milliseconds),
    }
}

fn up(up: bool) -> String {
    if up { "UP" } else { "DOWN" }.to_owned()
}

fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}
