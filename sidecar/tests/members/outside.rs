//! A store that keeps checkpoints outside of its members, and loses the members.

use std::fs;
use std::time::Duration;

use holdfast_sidecar::core::Consistency;
use holdfast_sidecar::member::{Member, StartError};
use tokio::net::TcpListener;

use crate::cluster::{Cluster, get, put, write};

/// Members that would begin do so in a tenth of this.
const LONG_ENOUGH: Duration = Duration::from_secs(4);

/// Three members that keep checkpoints outside, with a checkpoint of `key` there that the leader took.
async fn store() -> Cluster {
    let mut cluster = Cluster::start(3).await;
    cluster.keeps_outside = true;
    for ordinal in 0..3 {
        cluster.stop(ordinal).await;
        cluster.restart(ordinal).await;
    }
    let leader = cluster.leader().await;
    write(&cluster.handle(leader), put("key", "value")).await.expect("a write");
    cluster.handle(leader).checkpoint().await.expect("a checkpoint");
    cluster
}

fn lose(cluster: &Cluster, ordinal: u8) {
    fs::remove_dir_all(cluster.data(ordinal)).expect("its folder");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_lost_all_members_begins_from_the_checkpoint_outside() {
    let mut cluster = store().await;
    // Only the member that leads brings its checkpoints there.
    let kept = fs::read_dir(cluster.outside()).expect("a folder").count();
    let follower = cluster.follower().await;
    cluster.handle(follower).checkpoint().await.expect("a checkpoint");
    assert_eq!(fs::read_dir(cluster.outside()).expect("a folder").count(), kept);

    let leader = cluster.leader().await;
    write(&cluster.handle(leader), put("later", "lost")).await.expect("a write");
    let before = cluster.status(leader).await;
    for round in 0..2 {
        for ordinal in 0..3 {
            cluster.kill(ordinal);
            lose(&cluster, ordinal);
        }
        // Ordinal 0 waits for the others, so that it comes last.
        for ordinal in [2, 1, 0] {
            cluster.restart(ordinal).await;
        }
        for ordinal in 0..3 {
            let status = cluster.until(ordinal, |status| status.voters.len() == 3).await;
            assert_ne!(status.store_id, before.store_id, "it is another life of the store");
        }
        let read = get(&cluster.handle(1), "key", Consistency::Linearizable).await;
        assert_eq!(read.as_deref(), Some(&b"value"[..]), "round {round}");
        let read = get(&cluster.handle(2), "later", Consistency::Linearizable).await;
        assert_eq!(read, None, "what came after the checkpoint is lost");
        // It goes on as a store of three.
        let leader = cluster.leader().await;
        cluster.kill(leader);
        let leads = cluster.leader().await;
        write(&cluster.handle(leads), put("again", "value")).await.expect("a write");
        cluster.restart(leader).await;
        let leads = cluster.leader().await;
        cluster.handle(leads).checkpoint().await.expect("a checkpoint of the new life");
    }
    let read = get(&cluster.handle(0), "again", Consistency::Linearizable).await;
    assert_eq!(read.as_deref(), Some(&b"value"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_lost_its_disk_alone_does_not_begin_anew() {
    let mut cluster = store().await;
    let leader = cluster.leader().await;
    write(&cluster.handle(leader), put("later", "kept")).await.expect("a write");
    cluster.kill(0);
    lose(&cluster, 0);
    cluster.restart(0).await;
    let status = cluster.until(0, |status| status.leader.is_some()).await;
    assert!(status.leader.is_some());
    let read = get(&cluster.handle(0), "later", Consistency::Linearizable).await;
    assert_eq!(read.as_deref(), Some(&b"kept"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_does_not_begin_empty_beside_checkpoints_that_cannot_be_read() {
    let mut cluster = store().await;
    for ordinal in 0..3 {
        cluster.kill(ordinal);
        lose(&cluster, ordinal);
    }
    for item in fs::read_dir(cluster.outside()).expect("a folder") {
        let path = item.expect("an item").path();
        let mut bytes = fs::read(&path).expect("readable");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, bytes).expect("writable");
    }
    let started = cluster.try_restart(0).await;
    assert!(matches!(started, Err(StartError::Outside { .. })), "{started:?}");
}

/// A member that cannot tell whose it is may still have everything.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_does_not_begin_anew_beside_a_member_in_repair() {
    let mut cluster = store().await;
    for ordinal in 0..3 {
        cluster.kill(ordinal);
    }
    lose(&cluster, 0);
    lose(&cluster, 2);
    let data = cluster.data(1);
    // A checkpoint would tell.
    fs::remove_dir_all(data.join("checkpoints")).expect("its checkpoints");
    for name in ["identity", "identity.copy"] {
        fs::write(data.join(name), b"rot").expect("writable");
    }
    cluster.restart(2).await;
    let mut starting = Vec::new();
    for ordinal in [1, 0] {
        let listener = TcpListener::bind(&cluster.addresses[usize::from(ordinal)]).await.expect("its port");
        starting.push(tokio::spawn(Member::start(cluster.options(ordinal, listener))));
    }
    tokio::time::sleep(LONG_ENOUGH).await;
    assert!(starting.iter().all(|start| !start.is_finished()), "both wait for a person");
    starting.iter().for_each(tokio::task::JoinHandle::abort);
}
