//! One look at a member: everything that the dashboard shows, collected from those who know it.
//!
//! It refuses to make up what nobody knows: what is unknown is absent.

use std::time::Duration;

use holdfast_api::http::{
    Live, LiveCounts, LiveFiles, LiveHappening, LiveLogs, LiveMember, LiveQueue, LiveState, LiveTiming,
    LiveWhat, Status,
};
use holdfast_engine::Ordinal;
use holdfast_store::QUOTA_BYTES;
use jiff::Timestamp;

use super::live::INTERVAL;
use crate::core::{
    Answer, Consistency, Failure, Figures, Handle, Happening, Query as CoreQuery, ReadRequest, What,
};
use crate::files::{Files, nodes};
use crate::http::files::{file_entry, queue_entry, queue_statistics};
use crate::http::health::{health, server_id};
use crate::http::logs::log_reply;
use crate::metrics::{Metrics, Reading};
use crate::problem::{Code, Problem};
use crate::running::Running;

/// How long a look may take. It asks the core a few dozen questions, each answered between two events.
const LOOK_TIME_MAX: Duration = Duration::from_secs(2);

/// Logs that are shown: a screen of them.
const LOGS_MAX: usize = 50;

/// Files that are shown.
const FILES_MAX: usize = 20;

/// Items of the queue that are counted. More than that, and the page says that there are more.
const QUEUE_COUNTED_MAX: usize = 1000;

/// Items of the queue that are shown.
const QUEUE_MAX: usize = 50;

/// Look at the member, which has served for so long.
pub(super) async fn collect(running: &Running, uptime: Duration) -> Result<Live, Problem> {
    match tokio::time::timeout(LOOK_TIME_MAX, look(running, uptime)).await {
        Ok(live) => live,
        Err(_) => Err(Problem::new(Code::Overloaded, "this member did not say in time how it is")),
    }
}

async fn look(running: &Running, uptime: Duration) -> Result<Live, Problem> {
    let handle = running.handle()?;
    let files = running.files()?;
    let (status, figures) = running.figures().await?;
    let failed = |failure| Problem::of_failure(failure, true);
    let history = handle.history().await.map_err(failed)?;
    let logs = logs(handle).await.map_err(failed)?;
    let newest = files.newest_seen(FILES_MAX).await.map_err(failed)?;
    let queue = queue(files).await.map_err(failed)?;
    Ok(Live {
        time: Timestamp::now(),
        uptime_ms: millis(uptime),
        interval_ms: millis(INTERVAL),
        health: health(&status, &figures, running.settings().heartbeat),
        members: members(&status, files),
        counts: counts(running.metrics()),
        state: state(&figures),
        logs,
        files: LiveFiles {
            items: newest.items.into_iter().map(|record| file_entry(files, record)).collect(),
            more: newest.more,
        },
        queue,
        history: history.into_iter().map(happening).collect(),
        status,
    })
}

/// Those that the store is to have and those that vote.
fn members(status: &Status, files: &Files) -> Vec<LiveMember> {
    let mut ordinals: Vec<u8> = (0..status.replicas).chain(status.voters.iter().copied()).collect();
    ordinals.sort_unstable();
    ordinals.dedup();
    let member = |ordinal| LiveMember {
        ordinal,
        name: server_id(status, ordinal),
        node: nodes::name(Ordinal(ordinal)),
        // Before a member has said which its clients' port is, only that of its peers is known.
        address: files.address(Ordinal(ordinal)).filter(|address| address.starts_with("http://")),
    };
    ordinals.into_iter().map(member).collect()
}

fn counts(metrics: &Metrics) -> LiveCounts {
    LiveCounts {
        committed: metrics.proposals_committed.value(),
        applied: metrics.proposals_applied.value(),
        commit: timing(metrics.commit_seconds.reading()),
        fsync: timing(metrics.fsync_seconds.reading()),
    }
}

fn timing(reading: Reading) -> LiveTiming {
    let Reading { count, sum_seconds, buckets } = reading;
    // What took longer than the last bound is in `count`; infinity is no number in JSON.
    let buckets = buckets.into_iter().filter(|(bound, _)| bound.is_finite()).collect();
    LiveTiming { count, sum_seconds, buckets }
}

fn state(figures: &Figures) -> LiveState {
    let statistics = &figures.statistics;
    LiveState {
        keys: statistics.keys,
        live_bytes: statistics.live_bytes,
        quota_bytes: QUOTA_BYTES,
        history_bytes: statistics.history_bytes,
        log_bytes: figures.log_bytes as u64,
        sessions: statistics.sessions,
        writes_pending: figures.writes_pending as u64,
        reads_pending: figures.reads_pending as u64,
        disk_waits_ms: millis(figures.disk_waits),
        disk_full: figures.disk_full,
    }
}

async fn logs(handle: &Handle) -> Result<LiveLogs, Failure> {
    let (query, consistency) = (CoreQuery::Logs, Consistency::Committed);
    let reply = handle.read(ReadRequest { query, consistency, timeout: LOOK_TIME_MAX }).await?;
    let Answer::Logs(logs) = reply.answer else { unreachable!("logs are answered by logs") };
    let items = logs.iter().take(LOGS_MAX).map(log_reply).collect();
    Ok(LiveLogs { items, more: logs.len() > LOGS_MAX })
}

async fn queue(files: &Files) -> Result<LiveQueue, Failure> {
    let mut seen = files.queue_seen(QUEUE_COUNTED_MAX).await?;
    let statistics = queue_statistics(&seen.items);
    seen.items.sort_by_key(|item| (std::cmp::Reverse(item.created_ms), item.target));
    let items = seen.items.iter().take(QUEUE_MAX).map(queue_entry).collect();
    Ok(LiveQueue { items, statistics, more: seen.more })
}

fn happening(happening: Happening) -> LiveHappening {
    let (what, member) = match happening.what {
        What::Leads(ordinal) => (LiveWhat::Leads, Some(ordinal)),
        What::NoLeader => (LiveWhat::NoLeader, None),
        What::Connected(ordinal) => (LiveWhat::Connected, Some(ordinal)),
        What::Lost(ordinal) => (LiveWhat::Lost, Some(ordinal)),
    };
    LiveHappening {
        number: happening.number,
        ms_ago: millis(happening.ago),
        what,
        member: member.map(|ordinal| ordinal.0),
        term: happening.term.0,
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
