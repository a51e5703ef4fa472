//! `GET /files`, `DELETE /files/{key}` and `GET /replication-queue`.

use std::fmt::Write;

use bytes::Bytes;
use holdfast_api::http::files::{FileDeleted, FileEntry, FileList, QueueEntry, QueueReply, QueueStatistics};
use holdfast_api::http::query::{CURSOR, LIMIT};
use holdfast_engine::Ordinal;
use holdfast_store::Revision;
use http::StatusCode;
use jiff::Timestamp;
use warp::reply::Response;

use super::{Head, Query, json};
use crate::files::Files;
use crate::files::blobs::to_hex;
use crate::files::nodes;
use crate::files::records::{CATALOGUE, FileRecord, QueueItem, QueueStatus, TIME};
use crate::problem::Problem;

/// Files or items if nobody says how many; as many as existing clients expect at most.
const LIMIT_DEFAULT: u64 = 100;

/// Most files or items in one answer.
const LIMIT_MAX: u64 = 1000;

/// Only items of this member.
const NODE_ID: &str = "node_id";
/// Only items that are in this state.
const STATUS: &str = "status";

/// List files.
pub(super) async fn list(files: &Files, head: &Head) -> Result<Response, Problem> {
    let query = Query::parse(&head.query, &[LIMIT, CURSOR])?;
    let limit = query.number(LIMIT, 1..=LIMIT_MAX)?.unwrap_or(LIMIT_DEFAULT) as usize;
    let after = query.text(CURSOR).map(|text| {
        parse_cursor(text).ok_or_else(|| Problem::invalid("the cursor is not one that a listing gave"))
    });
    let page = files.catalogue().list(after.transpose()?, limit).await?;
    let list = FileList {
        count: page.files.len(),
        files: page.files.into_iter().map(|record| entry(files, record)).collect(),
        total: page.count,
        cursor: page.next.map(|(key, revision)| cursor(&key, revision)),
    };
    Ok(json(StatusCode::OK, &list))
}

/// Delete a file.
pub(super) async fn delete(files: &Files, head: &Head, name: &str) -> Result<Response, Problem> {
    Query::parse(&head.query, &[])?;
    let removed = files.remove(name).await?;
    let message = match (&removed.record, removed.later.len()) {
        (None, _) => "there was no such file",
        (Some(_), 0) => "File deleted from all nodes and database",
        (Some(_), _) => {
            "File deleted from the database; the nodes that are down delete it when they are back"
        }
    };
    let deleted = FileDeleted {
        success: true,
        file_key: name.to_owned(),
        deleted_from: removed.deleted.len(),
        failed: removed.later.len(),
        total_nodes: removed.deleted.len() + removed.later.len(),
        deleted_nodes: removed.deleted.into_iter().map(nodes::name).collect(),
        message: message.to_owned(),
    };
    Ok(json(StatusCode::OK, &deleted))
}

/// Show the queue.
pub(super) async fn queue(files: &Files, head: &Head) -> Result<Response, Problem> {
    let query = Query::parse(&head.query, &[NODE_ID, STATUS, LIMIT])?;
    let limit = query.number(LIMIT, 1..=LIMIT_MAX)?.unwrap_or(LIMIT_DEFAULT) as usize;
    let status = query.text(STATUS).filter(|text| !text.is_empty()).map(|text| {
        let known = QueueStatus::ALL.into_iter().find(|status| status.name().eq_ignore_ascii_case(text));
        known.ok_or_else(|| {
            let all = QueueStatus::ALL.map(QueueStatus::name).join(", ");
            Problem::invalid(format!("the query parameter \"status\" is {text:?}, it must be one of {all}"))
        })
    });
    let status = status.transpose()?;
    let node = query.text(NODE_ID).filter(|text| !text.is_empty());
    let mut items = files.catalogue().queue().await?;
    items.retain(|item| {
        node.is_none_or(|node| nodes::name(Ordinal(item.target)) == node)
            && status.is_none_or(|status| item.status == status)
    });
    let statistics = statistics(&items);
    items.sort_by_key(|item| (std::cmp::Reverse(item.created_ms), item.target));
    items.truncate(limit);
    let items: Vec<QueueEntry> = items.iter().map(queue_entry).collect();
    Ok(json(StatusCode::OK, &QueueReply { count: items.len(), items, statistics }))
}

/// A file as clients read it.
pub(in crate::http) fn entry(files: &Files, record: FileRecord) -> FileEntry {
    FileEntry {
        replicas: files.holders(&record).into_iter().map(nodes::name).collect(),
        replicas_wanted: Some(record.wanted.len() as u8).filter(|&wanted| wanted > 0),
        checksum_sha256: to_hex(&record.digest),
        uploaded_at: time(record.uploaded_ms),
        file_key: record.name,
        original_filename: record.original,
        size_bytes: record.size,
    }
}

/// An item as clients read it.
pub(in crate::http) fn queue_entry(item: &QueueItem) -> QueueEntry {
    QueueEntry {
        id: item.id(),
        file_key: item.name.clone(),
        target_node_id: nodes::name(Ordinal(item.target)),
        source_node_id: item.source.map(|source| nodes::name(Ordinal(source))),
        status: item.status.name().to_owned(),
        retry_count: item.retry_count,
        last_attempt: item.last_attempt_ms.map(time),
        created_at: time(item.created_ms),
        error_message: item.error.clone(),
    }
}

/// How many items there are in which state.
pub(in crate::http) fn statistics(items: &[QueueItem]) -> QueueStatistics {
    let count = |status| items.iter().filter(|item| item.status == status).count();
    QueueStatistics {
        total: items.len(),
        pending: count(QueueStatus::Pending),
        in_progress: count(QueueStatus::InProgress),
        completed: count(QueueStatus::Completed),
        failed: count(QueueStatus::Failed),
    }
}

/// A time of the catalogue; clocks that are wrong beyond all measure read as the beginning.
fn time(ms: u64) -> Timestamp {
    i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or_default()
}

/// Where a page ended: `revision.key`, in hexadecimal digits.
fn cursor(key: &[u8], revision: Revision) -> String {
    let mut text = format!("{:x}.", revision.0);
    for byte in key.strip_prefix(TIME).unwrap_or(key) {
        write!(text, "{byte:02x}").expect("a string takes everything");
    }
    text
}

fn parse_cursor(text: &str) -> Option<(Bytes, Revision)> {
    let (revision, digits) = text.split_once('.')?;
    let revision = Revision(u64::from_str_radix(revision, 16).ok()?);
    // Eight bytes of time and a hash.
    if digits.len() != 80 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let pair = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).ok();
    let bytes = (0..digits.len()).step_by(2).map(pair).collect::<Option<Vec<u8>>>()?;
    debug_assert!(TIME.starts_with(CATALOGUE));
    Some(([TIME, &bytes].concat().into(), revision))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_and_nothing_else_is_one() {
        let key = [TIME, &[7; 40]].concat();
        let text = cursor(&key, Revision(300));
        assert_eq!(parse_cursor(&text), Some((key.into(), Revision(300))));
        for wrong in ["", ".", "1.00", &format!("g.{}", "0".repeat(80)), &format!("1.{}", "g".repeat(80))] {
            assert_eq!(parse_cursor(wrong), None, "{wrong}");
        }
    }
}
