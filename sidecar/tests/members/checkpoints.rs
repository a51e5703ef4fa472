//! Checkpoints of running members, and members that need one to come back.

use holdfast_sidecar::core::Consistency;

use crate::cluster::{Cluster, get, put, write};

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_on_request_is_what_a_member_starts_from() {
    let mut cluster = Cluster::start(3).await;
    cluster.leader().await;
    for n in 0..50 {
        write(&cluster.handle(0), put(&format!("key/{n}"), format!("{n}"))).await.expect("a write");
    }
    let taken = cluster.handle(1).checkpoint().await.expect("a checkpoint");
    assert!(taken.position.index.0 >= 40 && taken.bytes > 0, "{taken:?}");
    let status = cluster.status(1).await;
    assert_eq!(status.last_checkpoint.map(|last| last.index), Some(taken.position.index.0));
    write(&cluster.handle(0), put("after", "it")).await.expect("a write");
    cluster.stop(1).await;
    cluster.restart(1).await;
    let status = cluster.status(1).await;
    assert_eq!(status.last_checkpoint.map(|last| last.index), Some(taken.position.index.0));
    let read = get(&cluster.handle(1), "after", Consistency::Linearizable).await;
    assert_eq!(read.as_deref(), Some(&b"it"[..]));
    let read = get(&cluster.handle(1), "key/7", Consistency::Local).await;
    assert_eq!(read.as_deref(), Some(&b"7"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_too_far_behind_fetches_a_checkpoint() {
    let mut cluster = Cluster::start(3).await;
    let (leader, behind) = (cluster.leader().await, cluster.follower().await);
    write(&cluster.handle(leader), put("first", "value")).await.expect("a write");
    cluster.kill(behind);
    // More than a member keeps of its log behind a checkpoint.
    for n in 0..24 {
        write(&cluster.handle(leader), put(&format!("large/{n}"), vec![n; 1024 * 1024]))
            .await
            .expect("a write");
    }
    for ordinal in cluster.running() {
        cluster.handle(ordinal).checkpoint().await.expect("a checkpoint");
    }
    write(&cluster.handle(leader), put("last", "value")).await.expect("a write");
    let commit = cluster.status(leader).await.positions.commit;
    cluster.restart(behind).await;
    let status = cluster.until(behind, |status| status.positions.commit >= commit).await;
    assert!(status.last_checkpoint.is_some(), "it came by a checkpoint: {status:?}");
    for (key, value) in [("first", &b"value"[..]), ("large/23", &[23; 1024 * 1024]), ("last", b"value")] {
        let read = get(&cluster.handle(behind), key, Consistency::Linearizable).await;
        assert_eq!(read.as_deref(), Some(value), "{key}");
    }
    let leads = cluster.status(cluster.leader().await).await;
    let follows = cluster.until(behind, |status| status.positions.commit >= leads.positions.commit).await;
    assert_eq!(leads.state_hash, follows.state_hash);
    // And it starts again from what it fetched.
    cluster.kill(behind);
    cluster.restart(behind).await;
    let read = get(&cluster.handle(behind), "large/7", Consistency::Linearizable).await;
    assert_eq!(read.as_deref(), Some(&[7; 1024 * 1024][..]));
}
