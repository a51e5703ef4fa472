//! Members whose disks are damaged while they are down: what the others have comes back by itself, and what nobody has
//! is named.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use holdfast_sidecar::core::Consistency;
use holdfast_sidecar::member::{Member, StartError};
use holdfast_sidecar::repair::Progress;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::cluster::{Cluster, PATIENCE, get, put, write};

/// Bytes of a segment's header.
const HEADER_BYTES: usize = 4096;

/// Keys that are written before the damage; more than one segment of them.
const KEYS: u64 = 60;

fn value(key: u64) -> String {
    format!("value-{key}-").repeat(200)
}

/// A store of three members that all have these keys.
async fn written() -> Cluster {
    let cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    for key in 0..KEYS {
        let request = put(&format!("key-{key}"), value(key));
        write(&cluster.handle(leader), request).await.expect("written");
    }
    let applied = cluster.status(leader).await.positions.applied;
    for ordinal in 0..3 {
        cluster.until(ordinal, |status| status.positions.durable >= applied).await;
    }
    cluster
}

async fn stop_all(cluster: &mut Cluster) {
    for ordinal in cluster.running() {
        cluster.stop(ordinal).await;
    }
}

/// Flip a bit in the value of a key, wherever it is in the member's log.
fn flip(folder: &Path, key: u64) {
    let value = value(key);
    let found = fs::read_dir(folder.join("log")).expect("a folder");
    let mut flipped = 0;
    for path in found.map(|item| item.expect("an item").path()) {
        let mut bytes = fs::read(&path).expect("readable");
        let at = bytes.windows(value.len()).position(|window| window == value.as_bytes());
        if let Some(at) = at {
            assert!(at > HEADER_BYTES);
            bytes[at + 7] ^= 4;
            fs::write(&path, bytes).expect("writable");
            flipped += 1;
        }
    }
    assert_eq!(flipped, 1, "the key was written once");
}

/// The member has every key, of itself.
async fn check(cluster: &Cluster, ordinal: u8) {
    let leader = cluster.leader().await;
    let applied = cluster.status(leader).await.positions.applied;
    cluster.until(ordinal, |status| status.positions.applied >= applied).await;
    for key in 0..KEYS {
        let found = get(&cluster.handle(ordinal), &format!("key-{key}"), Consistency::Local).await;
        assert_eq!(found.as_deref(), Some(value(key).as_bytes()), "key {key} at member {ordinal}");
    }
}

fn repaired(cluster: &Cluster, ordinal: u8) -> Option<String> {
    cluster.members[usize::from(ordinal)].as_ref().expect("a running member").found().repaired.clone()
}

/// Start members that need each other to start.
async fn start_together(cluster: &mut Cluster, ordinals: &[u8]) {
    let starting = ordinals.iter().map(|&ordinal| starting(cluster, ordinal, Progress::default()));
    let mut tasks = Vec::new();
    for task in starting {
        tasks.push(task.await);
    }
    for (task, &ordinal) in tasks.into_iter().zip(ordinals) {
        let started = tokio::time::timeout(PATIENCE, task).await.expect("it starts").expect("no panic");
        cluster.members[usize::from(ordinal)] = Some(started.expect("a member"));
    }
}

async fn starting(
    cluster: &Cluster,
    ordinal: u8,
    progress: Progress,
) -> JoinHandle<Result<Member, StartError>> {
    let deadline = Instant::now() + PATIENCE;
    let listener = loop {
        match TcpListener::bind(&cluster.addresses[usize::from(ordinal)]).await {
            Ok(listener) => break listener,
            Err(error) => assert!(Instant::now() < deadline, "the port is not free again: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let options = cluster.options(ordinal, listener);
    tokio::spawn(async move { Member::start_and_tell(options, &progress).await })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_with_a_flipped_bit_comes_back_by_itself_with_everything() {
    let mut cluster = written().await;
    let me = cluster.status(2).await.incarnation;
    cluster.stop(2).await;
    flip(&cluster.data(2), 7);
    cluster.restart(2).await;
    let text = repaired(&cluster, 2).expect("it was repaired");
    assert!(text.contains("came from other members"), "{text}");
    check(&cluster, 2).await;
    assert_eq!(cluster.status(2).await.incarnation, me, "it is who it was");
    cluster.stop(2).await;
    cluster.restart(2).await;
    assert_eq!(repaired(&cluster, 2), None, "it was repaired for good");
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_in_different_places_on_every_member_is_repaired() {
    let mut cluster = written().await;
    stop_all(&mut cluster).await;
    for ordinal in 0..3 {
        for key in [5, 20, 40] {
            flip(&cluster.data(ordinal), key + u64::from(ordinal) * 3);
        }
    }
    start_together(&mut cluster, &[0, 1, 2]).await;
    for ordinal in 0..3 {
        assert!(repaired(&cluster, ordinal).is_some());
        check(&cluster, ordinal).await;
    }
    let leader = cluster.leader().await;
    write(&cluster.handle(leader), put("later", "value")).await.expect("it goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_everywhere_is_named_and_not_served_until_a_copy_comes_back() {
    let mut cluster = written().await;
    stop_all(&mut cluster).await;
    let copy: Vec<(PathBuf, Vec<u8>)> = fs::read_dir(cluster.data(1).join("log"))
        .expect("a folder")
        .map(|item| item.expect("an item").path())
        .map(|path| (path.clone(), fs::read(path).expect("readable")))
        .collect();
    for ordinal in 0..3 {
        flip(&cluster.data(ordinal), 30);
    }
    let progress = [(); 3].map(|()| Progress::default());
    let mut tasks = Vec::new();
    for ordinal in 0..3 {
        tasks.push(starting(&cluster, ordinal, progress[usize::from(ordinal)].clone()).await);
    }
    let deadline = Instant::now() + PATIENCE;
    for progress in &progress {
        while !progress.repairing().is_some_and(|text| text.contains("are lost")) {
            assert!(Instant::now() < deadline, "{:?}", progress.repairing());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let text = progress.repairing().expect("it is still there");
        let first =
            text.split_whitespace().nth(1).and_then(|word| word.parse::<u64>().ok()).expect("an index");
        assert!((25..40).contains(&first), "{text}");
    }
    assert!(tasks.iter().all(|task| !task.is_finished()), "nobody serves");
    // A person brings back a copy of one member's folder.
    let task = tasks.remove(1);
    task.abort();
    let _ = task.await;
    for (path, bytes) in copy {
        fs::write(path, bytes).expect("writable");
    }
    cluster.restart(1).await;
    for (ordinal, task) in [0, 2].into_iter().zip(tasks) {
        let started = tokio::time::timeout(PATIENCE, task).await.expect("it starts").expect("no panic");
        cluster.members[ordinal] = Some(started.expect("a member"));
    }
    for ordinal in 0..3 {
        check(&cluster, ordinal).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_checkpoint_that_the_log_needs_comes_back() {
    let mut cluster = written().await;
    for ordinal in 0..3 {
        cluster.handle(ordinal).checkpoint().await.expect("a checkpoint");
    }
    let leader = cluster.leader().await;
    // What the checkpoint covers leaves the log in memory and on disk only with what follows it.
    for key in 0..40 {
        write(&cluster.handle(leader), put("other", value(key))).await.expect("written");
    }
    cluster.stop(2).await;
    let file = fs::read_dir(cluster.data(2).join("checkpoints")).expect("a folder").next();
    let path = file.expect("a checkpoint").expect("an item").path();
    let mut bytes = fs::read(&path).expect("readable");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).expect("writable");
    // As long as the log reaches back it is not needed.
    for path in fs::read_dir(cluster.data(2).join("log")).expect("a folder") {
        let path = path.expect("an item").path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("0000000001-")) {
            fs::remove_file(path).expect("removed");
        }
    }
    cluster.restart(2).await;
    assert!(repaired(&cluster, 2).is_some());
    check(&cluster, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_without_its_votes_goes_on_as_another_one_and_votes_again_later() {
    let mut cluster = written().await;
    let former = cluster.status(2).await.incarnation;
    cluster.stop(2).await;
    fs::write(cluster.data(2).join("vote"), vec![0; 8192]).expect("writable");
    cluster.restart(2).await;
    assert!(repaired(&cluster, 2).is_some_and(|text| text.contains("goes on as incarnation")));
    check(&cluster, 2).await;
    assert_ne!(cluster.status(2).await.incarnation, former);
    votes(&cluster, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_whose_identity_is_lost_begins_anew_and_keeps_its_files_aside() {
    let mut cluster = written().await;
    cluster.stop(2).await;
    for name in ["identity", "identity.copy"] {
        fs::write(cluster.data(2).join(name), b"nonsense").expect("writable");
    }
    cluster.restart(2).await;
    assert!(repaired(&cluster, 2).is_some_and(|text| text.contains("old files")));
    assert!(cluster.data(2).join("damaged").join("vote").exists());
    check(&cluster, 2).await;
    votes(&cluster, 2).await;
}

/// The leader takes the member in as a voter.
async fn votes(cluster: &Cluster, ordinal: u8) {
    use holdfast_api::http::Role;
    cluster.until(ordinal, |status| matches!(status.role, Role::Follower | Role::Leader)).await;
}
