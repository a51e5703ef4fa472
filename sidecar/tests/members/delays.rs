//! Members with faults on purpose: what is held back or lost, and what is not.

use std::time::{Duration, Instant};

use holdfast_api::Probability;
use holdfast_api::http::Role;
use holdfast_engine::WriteConcern;
use holdfast_sidecar::core::{Consistency, Failure, Faults, FaultsChange, RefusalCode, WriteRequest};

use crate::cluster::{Cluster, get, put, write};

const ENABLED: Faults =
    Faults { always_enabled: true, enabled: true, delay: Duration::ZERO, failure: Probability::NEVER };

/// Three members that may have faults, and who leads them.
async fn cluster() -> (Cluster, u8, [u8; 2]) {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    for ordinal in [0, 1, 2].into_iter().filter(|ordinal| *ordinal != leader) {
        cluster.kill(ordinal);
        cluster.faults[usize::from(ordinal)] = ENABLED;
        cluster.restart(ordinal).await;
        cluster.until(ordinal, |status| status.leader.is_some()).await;
    }
    let leader = cluster.leader().await;
    let followers: Vec<u8> = (0..3).filter(|ordinal| *ordinal != leader).collect();
    (cluster, leader, [followers[0], followers[1]])
}

async fn delay(cluster: &Cluster, ordinal: u8, milliseconds: u64) {
    let change = FaultsChange { delay: Some(Duration::from_millis(milliseconds)), ..FaultsChange::default() };
    cluster.handle(ordinal).set_faults(change).await.expect("it may have faults");
}

/// How long a write waits for so many members.
async fn took(cluster: &Cluster, leader: u8, key: &str, members: u8) -> Duration {
    let began = Instant::now();
    let concern = WriteConcern::Members(members);
    let request = WriteRequest { concern, ..put(key, key.to_owned()) };
    let written = write(&cluster.handle(leader), request).await.expect("written");
    assert!(written.satisfied);
    began.elapsed()
}

/// Wait until a member shows a key to local reads.
async fn wait_for(cluster: &Cluster, member: u8, key: &'static str) {
    let shown = async {
        while get(&cluster.handle(member), key, Consistency::Local).await.as_deref() != Some(key.as_bytes()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), shown).await.expect("it comes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delayed_member_acknowledges_late_and_stays_a_healthy_follower() {
    let (cluster, leader, [near, far]) = cluster().await;
    let before = cluster.status(leader).await;
    // Twice and six times what makes a follower campaign.
    delay(&cluster, near, 1000).await;
    delay(&cluster, far, 3000).await;
    let one = took(&cluster, leader, "one", 1).await;
    assert!(one < Duration::from_millis(1000), "{one:?}: nobody waits for the others");
    assert_eq!(get(&cluster.handle(near), "one", Consistency::Local).await, None, "it has not come yet");
    let held = cluster.status(near).await.faults.expect("faults").held;
    assert!(held >= 1, "{held}");
    let two = took(&cluster, leader, "two", 2).await;
    assert!(two >= Duration::from_millis(1000) && two < Duration::from_millis(2800), "{two:?}");
    // It has it, and shows it once it hears that it is committed.
    wait_for(&cluster, near, "one").await;
    assert_eq!(get(&cluster.handle(far), "one", Consistency::Local).await, None);
    let three = took(&cluster, leader, "three", 3).await;
    assert!(three >= Duration::from_millis(3000), "{three:?}");
    for ordinal in [near, far] {
        let status =
            cluster.until(ordinal, |status| status.faults.is_some_and(|faults| faults.held == 0)).await;
        assert_eq!((status.role, status.leader), (Role::Follower, Some(leader)));
        assert!(status.note.expect("it is said").contains("on purpose"));
    }
    let after = cluster.status(leader).await;
    assert_eq!((after.term, after.role), (before.term, before.role), "nobody campaigned");
    assert!(after.peers.iter().all(|peer| peer.connected && peer.lag == Some(0)), "{:?}", after.peers);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_is_held_back_whole_and_comes_at_once_when_the_delay_goes() {
    let (cluster, leader, [near, _]) = cluster().await;
    delay(&cluster, near, 600_000).await;
    // Far more messages than a leader has under way.
    for number in 0..500 {
        took(&cluster, leader, &format!("key-{number}"), 1).await;
    }
    assert_eq!(get(&cluster.handle(near), "key-0", Consistency::Local).await, None);
    let held = cluster.status(near).await.faults.expect("faults").held;
    assert!((1..=128).contains(&held), "{held}");
    delay(&cluster, near, 0).await;
    let written = cluster.status(leader).await.positions.written;
    cluster.until(near, |status| status.positions.applied >= written).await;
    assert_eq!(
        get(&cluster.handle(near), "key-499", Consistency::Local).await.as_deref(),
        Some(&b"key-499"[..])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_failing_member_loses_is_sent_again() {
    let (cluster, leader, followers) = cluster().await;
    let term = cluster.status(leader).await.term;
    for ordinal in followers {
        let failure = Some(Probability::new(0.5).expect("a probability"));
        let delay = Some(Duration::from_millis(20));
        cluster
            .handle(ordinal)
            .set_faults(FaultsChange { enabled: None, delay, failure })
            .await
            .expect("enabled");
    }
    for number in 0..30 {
        took(&cluster, leader, &format!("key-{number}"), 1 + number % 3).await;
    }
    let written = cluster.status(leader).await.positions.written;
    for ordinal in followers {
        let status = cluster.until(ordinal, |status| status.positions.applied >= written).await;
        let lost = status.faults.expect("faults").lost;
        assert!(lost > 0, "nothing was ever lost");
        assert_eq!(status.term, term, "nobody campaigned");
        for number in 0..30 {
            let key = format!("key-{number}");
            let value = get(&cluster.handle(ordinal), &key, Consistency::Local).await;
            assert_eq!(value.as_deref(), Some(key.as_bytes()));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delayed_leader_delays_nothing() {
    let (cluster, leader, followers) = cluster().await;
    // Both may have faults; whoever leads next has one.
    delay(&cluster, followers[0], 600_000).await;
    let (handle, next) = (cluster.handle(leader), holdfast_engine::Ordinal(followers[0]));
    let handed = handle.hand_over(Some(next), Duration::from_secs(20));
    assert_eq!(handed.await.expect("it has everything").leader.0, followers[0]);
    took(&cluster, followers[0], "key", 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_have_no_faults_gets_none() {
    let cluster = Cluster::start(1).await;
    cluster.leader().await;
    let change = FaultsChange { delay: Some(Duration::from_secs(2)), ..FaultsChange::default() };
    let refused = cluster.handle(0).set_faults(change).await.expect_err("not enabled");
    assert!(matches!(refused, Failure::Refused { code: RefusalCode::FaultsDisabled, .. }), "{refused:?}");
    let status = cluster.status(0).await;
    assert_eq!((status.faults, status.note), (None, None));
}
