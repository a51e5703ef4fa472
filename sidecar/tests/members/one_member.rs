//! Stores of one member, which keep no log on disk.

use std::num::NonZeroUsize;
use std::time::Duration;

use holdfast_sidecar::core::{Consistency, Failure, RefusalCode, Timing};
use holdfast_sidecar::member::StartError;
use holdfast_storage::{Compression, LogPolicy};

use crate::cluster::{Cluster, get, put, write};

fn timing(checkpoint_interval: Option<Duration>) -> Timing {
    Timing {
        heartbeat_interval: Duration::from_millis(50),
        heartbeat_timeout: Duration::from_millis(500),
        checkpoint_interval,
        checkpoint_retain: NonZeroUsize::MIN,
        checkpoint_compression: Compression::Lz4,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn baseline_serves_and_starts_empty_after_any_end_and_says_so() {
    let mut cluster = Cluster::start_with(1, LogPolicy::None, timing(None)).await;
    assert!(!cluster.members[0].as_ref().expect("it runs").found().lost_everything);
    let written = write(&cluster.handle(0), put("key", "value")).await.expect("a write");
    assert!(written.satisfied && written.reached == 1, "{written:?}");
    assert!(get(&cluster.handle(0), "key", Consistency::Linearizable).await.is_some());
    let refused = cluster.handle(0).checkpoint().await;
    assert!(
        matches!(refused, Err(Failure::Refused { code: RefusalCode::CheckpointFailed, .. })),
        "{refused:?}"
    );
    for crash in [true, false] {
        let before = cluster.status(0).await.incarnation;
        match crash {
            true => cluster.kill(0),
            false => cluster.stop(0).await,
        }
        cluster.restart(0).await;
        assert!(cluster.members[0].as_ref().expect("it runs").found().lost_everything);
        assert_eq!(get(&cluster.handle(0), "key", Consistency::Linearizable).await, None);
        let status = cluster.status(0).await;
        assert!(status.note.is_some() && status.incarnation != before, "{status:?}");
        write(&cluster.handle(0), put("key", "value")).await.expect("a write");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn baseline_does_not_keep_a_log_that_nobody_needs() {
    let cluster = Cluster::start_with(1, LogPolicy::None, timing(None)).await;
    for _ in 0..16 {
        write(&cluster.handle(0), put("key", vec![0; 1024 * 1024])).await.expect("a write");
    }
    let figures = cluster.handle(0).figures().await.expect("figures");
    assert!(figures.log_bytes < 8 * 1024 * 1024, "{figures:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpointing_keeps_everything_over_a_stop_and_the_last_checkpoint_over_a_crash() {
    let interval = Some(Duration::from_secs(3600));
    let mut cluster = Cluster::start_with(1, LogPolicy::None, timing(interval)).await;
    cluster.until(0, |status| status.last_checkpoint.is_some()).await;
    write(&cluster.handle(0), put("first", "value")).await.expect("a write");
    cluster.stop(0).await;
    cluster.restart(0).await;
    assert!(
        get(&cluster.handle(0), "first", Consistency::Linearizable).await.is_some(),
        "a stop loses nothing"
    );
    write(&cluster.handle(0), put("second", "value")).await.expect("a write");
    cluster.handle(0).checkpoint().await.expect("a checkpoint");
    write(&cluster.handle(0), put("third", "value")).await.expect("a write");
    cluster.kill(0);
    cluster.restart(0).await;
    assert!(get(&cluster.handle(0), "second", Consistency::Linearizable).await.is_some());
    assert_eq!(get(&cluster.handle(0), "third", Consistency::Linearizable).await, None);
    cluster.kill(0);
    let checkpoints = cluster.data(0).join("checkpoints");
    std::fs::remove_dir_all(&checkpoints).expect("they are there");
    std::fs::create_dir(&checkpoints).expect("a folder");
    let gone = cluster.try_restart(0).await;
    assert!(
        matches!(gone, Err(StartError::CheckpointsGone { .. } | StartError::Open { .. })),
        "a store that was formed never starts empty: {gone:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_come_by_themselves() {
    let interval = Some(Duration::from_millis(200));
    let cluster = Cluster::start_with(1, LogPolicy::None, timing(interval)).await;
    write(&cluster.handle(0), put("first", "value")).await.expect("a write");
    let first = cluster.until(0, |status| status.last_checkpoint.is_some_and(|last| last.index >= 2)).await;
    write(&cluster.handle(0), put("second", "value")).await.expect("a write");
    cluster
        .until(0, |status| {
            status.last_checkpoint.map(|last| last.index) > first.last_checkpoint.map(|last| last.index)
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_member_with_a_log_keeps_everything() {
    let mut cluster = Cluster::start(1).await;
    for n in 0..100 {
        write(&cluster.handle(0), put(&format!("{n}"), "value")).await.expect("a write");
    }
    cluster.kill(0);
    cluster.restart(0).await;
    for n in 0..100 {
        assert!(get(&cluster.handle(0), &format!("{n}"), Consistency::Linearizable).await.is_some());
    }
}
