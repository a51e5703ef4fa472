//! Stores that get more members, and fewer, while they serve.

use std::time::Duration;

use holdfast_engine::{Ordinal, WriteConcern};
use holdfast_sidecar::core::{Failure, RefusalCode, WriteRequest};
use holdfast_sidecar::member::Broken;

use crate::cluster::{Cluster, PATIENCE, put, write};
use crate::load::{Load, check_all};

#[tokio::test(flavor = "multi_thread")]
async fn one_becomes_three_and_loses_nothing() {
    let mut cluster = Cluster::start(1).await;
    cluster.leader().await;
    let load = Load::start(&cluster, &[0], false);
    load.more(50).await;
    cluster.grow(3).await;
    cluster.until(0, |status| status.voters == [0, 1, 2]).await;
    load.more(50).await;
    let on_all = WriteRequest { concern: WriteConcern::All, ..put("key", "value") };
    assert_eq!(write(&cluster.handle(2), on_all).await.expect("a write").reached, 3);
    let acknowledged = load.end().await;
    check_all(&cluster, &acknowledged).await;
    // The first one can be spared now.
    cluster.kill(0);
    cluster.leader().await;
    check_all(&cluster, &acknowledged).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_become_five_and_three_again_under_load() {
    let mut cluster = Cluster::start(3).await;
    cluster.leader().await;
    let load = Load::start(&cluster, &[0, 1, 2], false);
    load.more(50).await;
    cluster.grow(5).await;
    cluster.until(0, |status| status.voters == [0, 1, 2, 3, 4]).await;
    load.more(50).await;
    // One of those who are to go leads: it hands over first.
    let led = cluster.handle(1).hand_over(Some(Ordinal(4)), PATIENCE).await.expect("a hand-over");
    assert_eq!(led.leader, Ordinal(4));
    load.more(50).await;
    for end in cluster.shrink(3).await {
        assert!(matches!(end, Err(Broken::Removed)), "{end:?}");
    }
    load.more(50).await;
    assert!(cluster.leader().await < 3);
    let status = cluster.status(0).await;
    assert_eq!((status.voters, status.replicas, status.peers.len()), (vec![0, 1, 2], 3, 2));
    let acknowledged = load.end().await;
    check_all(&cluster, &acknowledged).await;
    let too_high = WriteRequest { concern: WriteConcern::Members(4), ..put("key", "value") };
    let refused = write(&cluster.handle(0), too_high).await;
    assert!(
        matches!(refused, Err(Failure::Refused { code: RefusalCode::ConcernTooHigh, .. })),
        "there are three: {refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_goes_and_the_other_serves_alone() {
    let mut cluster = Cluster::start(2).await;
    cluster.leader().await;
    write(&cluster.handle(0), put("key", "value")).await.expect("a write");
    cluster.shrink(1).await;
    write(&cluster.handle(0), put("key", "value")).await.expect("a write that needs nobody else");
    cluster.kill(0);
    cluster.restart(0).await;
    write(&cluster.handle(0), put("key", "value")).await.expect("a write after a start alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_member_does_not_come_back_with_its_disk() {
    let mut cluster = Cluster::start(3).await;
    cluster.leader().await;
    let kept = tempfile::tempdir().expect("a folder");
    write(&cluster.handle(0), put("key", "value")).await.expect("a write");
    let copy = cluster.data(2);
    cluster.shrink(2).await;
    std::fs::rename(&copy, kept.path().join("data")).expect("ours");
    cluster.grow(3).await;
    cluster.until(0, |status| status.voters == [0, 1, 2]).await;
    cluster.kill(2);
    std::fs::remove_dir_all(&copy).expect("ours");
    std::fs::rename(kept.path().join("data"), &copy).expect("ours");
    cluster.restart(2).await;
    let mut member = cluster.members[2].take().expect("it started");
    let ended = tokio::time::timeout(PATIENCE, member.ended()).await.expect("it is told");
    assert!(ended.is_err(), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_learner_is_asked_to_lead_in_vain() {
    let mut cluster = Cluster::start(1).await;
    cluster.leader().await;
    let handle = cluster.handle(0);
    // Who votes is known once something is committed.
    write(&handle, put("key", "value")).await.expect("one voter serves alone");
    // Two are wanted, and the second one does not start.
    let addresses = [cluster.addresses[0].clone(), "127.0.0.1:1".to_owned()];
    handle.resize(2, addresses.to_vec()).await.expect("it runs");
    let asked = handle.hand_over(Some(Ordinal(1)), Duration::from_secs(5)).await;
    let Err(Failure::Refused { code: RefusalCode::NoSuchMember, detail, .. }) = asked else {
        panic!("{asked:?}")
    };
    assert_eq!(detail, "member 1 has no vote, so that it cannot lead");
    write(&handle, put("key", "value")).await.expect("one voter serves alone");
    cluster.replicas = 2;
    cluster.kill(0);
}
