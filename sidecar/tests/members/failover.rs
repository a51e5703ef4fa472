//! Members that die, stop, and come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use holdfast_sidecar::core::{Consistency, Failure, RefusalCode, WriteRequest};
use holdfast_sidecar::member::Member;
use holdfast_storage::LogPolicy;

use crate::cluster::{Cluster, get, put, write};
use crate::load::{Load, check_all};

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_leader_loses_nothing_acknowledged_and_comes_back() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let others: Vec<u8> = cluster.running().into_iter().filter(|&ordinal| ordinal != leader).collect();
    let load = Load::start(&cluster, &others, false);
    load.more(200).await;
    cluster.kill(leader);
    load.more(200).await;
    assert_ne!(cluster.leader().await, leader);
    cluster.restart(leader).await;
    load.more(200).await;
    let acknowledged = load.end().await;
    check_all(&cluster, &acknowledged).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_make_every_write_happen_once_whoever_dies() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let others: Vec<u8> = cluster.running().into_iter().filter(|&ordinal| ordinal != leader).collect();
    // These clients accept no other answer than that it is done.
    let load = Load::start(&cluster, &others, true);
    load.more(100).await;
    cluster.kill(leader);
    load.more(100).await;
    let acknowledged = load.end().await;
    check_all(&cluster, &acknowledged).await;
    for (key, _) in acknowledged.iter().take(50) {
        let query = holdfast_sidecar::core::Query::Get { key: Bytes::from(key.clone()), at: None };
        let request = holdfast_sidecar::core::ReadRequest {
            query,
            consistency: Consistency::Linearizable,
            timeout: crate::cluster::TIMEOUT,
        };
        let reply = cluster.handle(others[0]).read(request).await.expect("a reading");
        let holdfast_sidecar::core::Answer::Get(Some(item)) = reply.answer else { panic!("{key} is gone") };
        assert_eq!(item.version, 1, "{key} was written twice");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_leader_hands_over_and_no_client_notices() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let others: Vec<u8> = cluster.running().into_iter().filter(|&ordinal| ordinal != leader).collect();
    let load = Load::start(&cluster, &others, true);
    load.more(100).await;
    let term = cluster.status(leader).await.term;
    cluster.stop(leader).await;
    load.more(100).await;
    let now = cluster.leader().await;
    assert_ne!(now, leader);
    assert_eq!(cluster.status(now).await.term, term + 1, "one election, by hand-over");
    let acknowledged = load.end().await;
    check_all(&cluster, &acknowledged).await;
}

/// Requests without a session cannot be asked twice: each must be answered by the leader that took it.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_leaves_answers_what_was_passed_on_to_it_at_the_last_moment() {
    const TIMES: usize = 15;
    const CLIENTS: usize = 8;
    let mut cluster = Cluster::start(3).await;
    for time in 0..TIMES {
        let leader = cluster.leader().await;
        let stop = Arc::new(AtomicBool::new(false));
        let others = cluster.running().into_iter().filter(|&ordinal| ordinal != leader);
        let handles: Vec<_> = others.map(|ordinal| cluster.handle(ordinal)).cycle().take(CLIENTS).collect();
        let clients = handles.into_iter().map(|handle| {
            let stop = stop.clone();
            tokio::spawn(async move {
                while !stop.load(Relaxed) {
                    write(&handle, put("key", "value")).await?;
                }
                Ok::<(), Failure>(())
            })
        });
        let clients: Vec<_> = clients.collect();
        tokio::time::sleep(Duration::from_millis(20)).await;
        cluster.stop(leader).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        stop.store(true, Relaxed);
        for client in clients {
            client.await.expect("no panic").unwrap_or_else(|failure| panic!("time {time}: {failure}"));
        }
        cluster.restart(leader).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_members_killed_at_once_come_back_with_everything() {
    let mut cluster = Cluster::start(3).await;
    cluster.leader().await;
    let load = Load::start(&cluster, &[0, 1, 2], false);
    load.more(300).await;
    let acknowledged = load.end().await;
    for ordinal in 0..3 {
        cluster.kill(ordinal);
    }
    for ordinal in 0..3 {
        cluster.restart(ordinal).await;
    }
    cluster.leader().await;
    check_all(&cluster, &acknowledged).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_majority_nothing_is_acknowledged_and_clients_are_told() {
    let mut cluster = Cluster::start(3).await;
    let survivor = cluster.follower().await;
    for ordinal in cluster.running() {
        if ordinal != survivor {
            cluster.kill(ordinal);
        }
    }
    let timeout = Duration::from_millis(600);
    let handle = cluster.handle(survivor);
    // The first may still have been passed on to the leader, or have come when there was none any more.
    let first = write(&handle, WriteRequest { timeout, ..put("key", "value") }).await;
    assert!(first.is_err(), "{first:?}");
    let started = Instant::now();
    let second = write(&handle, WriteRequest { timeout, ..put("key", "value") }).await;
    let refused =
        matches!(second, Err(Failure::Refused { code: RefusalCode::NoLeader, retryable: true, .. }));
    assert!(refused, "{second:?}");
    assert!(started.elapsed() >= timeout, "it waited for a leader");
    let local = get(&handle, "key", Consistency::Local).await;
    assert_eq!(local, None);
    for ordinal in 0..3 {
        if ordinal != survivor {
            cluster.restart(ordinal).await;
        }
    }
    write(&handle, put("key", "value")).await.expect("a write, after the majority is back");
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_all_stop_do_not_wait_for_an_heir() {
    let mut timing = Cluster::timing();
    timing.heartbeat_timeout = Duration::from_secs(30);
    let mut cluster = Cluster::start_with(3, LogPolicy::Kept, timing).await;
    cluster.leader().await;
    let started = Instant::now();
    let members: Vec<Member> = cluster.members.iter_mut().filter_map(Option::take).collect();
    let stopping = members.into_iter().map(|mut member| async move {
        member.handle().shut_down().await;
        member.ended().await
    });
    for ended in futures::future::join_all(stopping).await {
        ended.expect("an end in order");
    }
    assert!(started.elapsed() < Duration::from_secs(20), "far less than the time that a hand-over may take");
}
