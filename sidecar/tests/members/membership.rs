//! Members that lose what they had: they come back as others and take their own places.

use std::fs;

use holdfast_api::http::Role;
use holdfast_sidecar::core::{Broken, Consistency};
use holdfast_storage::LogPolicy;

use crate::cluster::{Cluster, get, put, write};

/// Wait until this member votes, and the leader and itself say so.
async fn until_it_votes(cluster: &Cluster, ordinal: u8) {
    cluster.until(ordinal, |status| status.role.votes() && status.voters.len() == 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_lost_its_disk_takes_its_place_again() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    write(&cluster.handle(leader), put("k", "before")).await.expect("a write");
    let lost = cluster.follower().await;
    let before = cluster.status(lost).await.incarnation;
    cluster.kill(lost);
    fs::remove_dir_all(cluster.data(lost)).expect("a folder");
    cluster.restart(lost).await;
    until_it_votes(&cluster, lost).await;
    assert_ne!(cluster.status(lost).await.incarnation, before, "another life");

    // Its word counts: with it and one other there is a majority.
    let other = cluster.running().into_iter().find(|&it| it != lost && it != leader).expect("a third");
    cluster.kill(other);
    write(&cluster.handle(lost), put("k", "after")).await.expect("a write at the new member");
    assert_eq!(
        get(&cluster.handle(lost), "k", Consistency::Linearizable).await.as_deref(),
        Some(&b"after"[..])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_was_replaced_is_told_and_stops() {
    let mut cluster = Cluster::start(3).await;
    cluster.leader().await;
    let replaced = cluster.follower().await;
    cluster.stop(replaced).await;
    let aside = cluster.data(replaced).with_extension("aside");
    fs::rename(cluster.data(replaced), &aside).expect("a folder");
    cluster.restart(replaced).await;
    until_it_votes(&cluster, replaced).await;
    cluster.stop(replaced).await;
    fs::remove_dir_all(cluster.data(replaced)).expect("a folder");
    fs::rename(&aside, cluster.data(replaced)).expect("the first folder");
    cluster.restart(replaced).await;
    let member = cluster.members[usize::from(replaced)].as_mut().expect("a member");
    let ended = member.ended().await;
    assert!(matches!(ended, Err(Broken::Removed)), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_copy_of_a_disk_is_found() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let member = cluster.follower().await;
    let before = cluster.status(member).await.incarnation;
    cluster.kill(member);
    let copy = cluster.data(member).with_extension("copy");
    copy_folder(&cluster.data(member), &copy);
    cluster.restart(member).await;
    for n in 0..10 {
        write(&cluster.handle(leader), put("k", n.to_string())).await.expect("a write");
    }
    let end = cluster.status(leader).await.positions.commit;
    cluster.until(member, |status| status.positions.durable >= end).await;
    // The leader has heard of it too.
    cluster.until(leader, |status| status.peers.iter().any(|peer| peer.durable >= Some(end))).await;
    cluster.kill(member);
    fs::remove_dir_all(cluster.data(member)).expect("a folder");
    fs::rename(&copy, cluster.data(member)).expect("the copy");
    cluster.restart(member).await;
    let ended = cluster.members[usize::from(member)].as_mut().expect("a member").ended().await;
    assert!(matches!(ended, Err(Broken::OldDisk { .. })), "{ended:?}");
    // It is another member from then on, and takes its place as one.
    drop(cluster.members[usize::from(member)].take());
    cluster.restart(member).await;
    until_it_votes(&cluster, member).await;
    assert_ne!(cluster.status(member).await.incarnation, before, "another life");
}

/// Without a log on disk, every start is another member: one after the other can be restarted and nothing is lost.
#[tokio::test(flavor = "multi_thread")]
async fn members_without_a_log_are_replaced_one_after_the_other() {
    let timing = Cluster::timing();
    let mut cluster = Cluster::start_with(3, LogPolicy::None, timing).await;
    let leader = cluster.leader().await;
    write(&cluster.handle(leader), put("k", "kept")).await.expect("a write");
    for ordinal in 0..3 {
        cluster.kill(ordinal);
        cluster.restart(ordinal).await;
        until_it_votes(&cluster, ordinal).await;
        let leader = cluster.leader().await;
        cluster.until(leader, |status| status.role == Role::Leader && status.voters.len() == 3).await;
    }
    for ordinal in 0..3 {
        let found = get(&cluster.handle(ordinal), "k", Consistency::Linearizable).await;
        assert_eq!(found.as_deref(), Some(&b"kept"[..]), "member {ordinal}");
    }
}

/// All that remembered is gone at once. They must not form an empty store and call it the same.
#[tokio::test(flavor = "multi_thread")]
async fn members_that_all_forgot_do_not_begin_anew() {
    let timing = Cluster::timing();
    let mut cluster = Cluster::start_with(3, LogPolicy::None, timing).await;
    let leader = cluster.leader().await;
    write(&cluster.handle(leader), put("k", "lost")).await.expect("a write");
    (0..3).for_each(|ordinal| cluster.kill(ordinal));
    for ordinal in 0..3 {
        cluster.restart(ordinal).await;
    }
    // Long enough for a new store to have been formed and led several times over.
    tokio::time::sleep(timing.heartbeat_timeout * 4).await;
    for ordinal in 0..3 {
        assert_eq!(cluster.status(ordinal).await.role, Role::Unformed, "member {ordinal}");
    }
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a copy");
        }
    }
}
