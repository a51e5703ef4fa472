//! Files on three members: who has them when one is away, comes back, has lost its disk or has a bad one.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::process::{Answer, Cluster, Process, REPLICATION, Store, find};

/// Nobody recovers anything until somebody asks for it.
const BY_ORDER: &[&str] = &["--files-recovery-interval", "0s"];

/// Longer than any test.
const LATER: &[&str] = &["--files-recovery-interval", "1h"];

fn node(ordinal: usize) -> String {
    format!("node-{}", ordinal + 1)
}

fn nodes(ordinals: impl IntoIterator<Item = usize>) -> BTreeSet<String> {
    ordinals.into_iter().map(node).collect()
}

/// Wait until a member sees all others as they are.
fn sees(member: &Process, down: Option<usize>) {
    member.until("sees who is there", || {
        let status = member.get("/nodes").json();
        let status = status.as_array().expect("a list").iter().map(|node| node["status"] == "UP");
        status.enumerate().all(|(ordinal, up)| up == (Some(ordinal) != down))
    });
}

/// Whether a member gives these bytes from its own disk.
fn has(member: &Process, name: &str, bytes: &[u8]) -> bool {
    let read = member.get(&format!("/files/{name}"));
    assert_eq!((read.status, read.body.as_slice()), (200, bytes), "{name}");
    read.header("x-routed-from").is_empty()
}

/// As a browser sends a form with one file.
fn post(member: &Process, target: &str, bytes: &[u8]) -> Answer {
    let head = b"--xyz\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\r\n";
    let form = [head, bytes, b"\r\n--xyz--\r\n"].concat();
    member.ask("POST", target, &[("content-type", "multipart/form-data; boundary=xyz")], &form)
}

/// Who has the only file there is, as a member lists it.
fn holders(member: &Process) -> BTreeSet<String> {
    let list = member.get("/files").json();
    let replicas = list["files"][0]["replicas"].as_array().unwrap_or_else(|| panic!("{list}"));
    replicas.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

#[test]
fn whoever_comes_back_gets_at_once_what_it_missed() {
    let mut cluster = Cluster::start_with(LATER);
    let (leader, followers) = cluster.roles();
    let away = followers[0];
    cluster.take(away).kill();
    let member = cluster.member(leader);
    sees(member, Some(away));
    let put = member.put("/files/a", b"bytes").json();
    assert_eq!(put["replication"]["failed_nodes"], json!([node(away)]), "{put}");
    assert_eq!(holders(member), nodes([leader, followers[1]]), "nobody else has said that it has it");
    let queue = member.get("/replication-queue").json();
    assert_eq!((&queue["count"], &queue["items"][0]["status"]), (&1.into(), &"PENDING".into()), "{queue}");

    cluster.restart(away);
    let back = cluster.member(away);
    back.until("has the file", || has(back, "a", b"bytes"));
    back.until("is named", || holders(back) == nodes(0..3));
    let queue = back.get("/replication-queue?status=COMPLETED").json();
    assert_eq!(queue["items"][0]["target_node_id"], node(away).as_str(), "{queue}");
}

#[test]
fn an_upload_that_too_few_members_have_leaves_nothing() {
    let mut cluster = Cluster::start_with(LATER);
    let (leader, followers) = cluster.roles();
    cluster.take(followers[0]).kill();
    let member = cluster.member(leader);
    sees(member, Some(followers[0]));
    assert_eq!(member.put("/files/a?w=all", b"bytes").problem(503), "TooFewCopies");
    assert_eq!(member.get("/files").json()["files"], json!([]));
    assert_eq!(member.get("/files/a").problem(404), "FileNotFound");
    // SHA-256 of the bytes.
    let digest = "277089d91c0bdf4f2e6862ba7e4a07605119431f5d13f726dd352b06f1b206a9";
    for ordinal in [leader, followers[1]] {
        let folder = cluster.data(ordinal).join("files");
        member.until("is rid of it", || find(&folder, digest).is_none());
    }
    let put = member.put("/files/a?w=2", b"bytes");
    assert_eq!((put.status, &put.json()["checksum_sha256"]), (200, &digest.into()), "{}", put.text());
}

#[test]
fn what_must_be_new_is_not_written_over() {
    let store = Store::new(REPLICATION);
    let member = store.start();
    let new = |bytes| member.ask("PUT", "/files/a", &[("if-none-match", "*")], bytes);
    assert_eq!(new(b"first").status, 200);
    assert_eq!(new(b"second").problem(412), "FileExists");
    assert!(has(&member, "a", b"first"));
    assert_eq!(member.put("/files/a", b"third").status, 200);
    assert!(has(&member, "a", b"third"));
    let wrong = ("content-digest", "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:");
    assert_eq!(member.ask("PUT", "/files/a", &[wrong], b"fourth").problem(400), "DigestMismatch");
    assert!(has(&member, "a", b"third"));
}

#[test]
fn bytes_stay_as_long_as_a_name_has_them() {
    let store = Store::new(REPLICATION);
    let member = store.start();
    let put = member.put("/files/a", b"bytes").json();
    assert_eq!(member.put("/files/b", b"bytes").status, 200);
    member.stop();
    // Nobody relies on what an upload was promised an hour ago.
    let folder = store.data().join("files");
    let digest = put["checksum_sha256"].as_str().expect("a checksum");
    let file = File::options().write(true).open(find(&folder, digest).expect("it is there"));
    let old = SystemTime::now() - Duration::from_secs(3600);
    file.and_then(|file| file.set_modified(old)).expect("it can be made old");

    let member = store.start();
    let delete = |name: &str| member.ask("DELETE", &format!("/files/{name}"), &[], b"").status;
    assert_eq!(delete("a"), 200);
    assert!(has(&member, "b", b"bytes"));
    assert_eq!(delete("b"), 200);
    member.until("is rid of it", || find(&folder, digest).is_none());
}

#[test]
fn what_is_registered_was_read() {
    let cluster = Cluster::start();
    let (leader, followers) = cluster.roles();
    let holder = cluster.member(followers[0]);
    let kept = post(holder, "/files?is_replica=true&file_id=a", b"bytes").json();
    let member = cluster.member(leader);
    sees(member, None);
    assert_eq!(member.get("/files").json()["files"], json!([]), "nobody has registered it: {kept}");
    let register = |size: u64, checksum: &str, at: usize| {
        let request = json!({
            "file_key": "a", "original_filename": "a.txt", "size_bytes": size, "checksum_sha256": checksum,
            "node_id": node(at), "failed_nodes": [],
        });
        member.ask("POST", "/files/register", &[], request.to_string().as_bytes())
    };
    let checksum = kept["checksum_sha256"].as_str().expect("a checksum");
    assert_eq!(register(6, checksum, followers[0]).problem(400), "DigestMismatch");
    assert_eq!(register(5, &"0".repeat(64), followers[0]).problem(400), "DigestMismatch");
    assert_eq!(register(5, checksum, followers[1]).problem(400), "DigestMismatch", "it has no such file");
    let registered = register(5, checksum, followers[0]);
    assert_eq!(registered.status, 200, "{}", registered.text());
    assert!(has(holder, "a", b"bytes"));
    // A record without copies elsewhere has them made.
    let recover = format!("/nodes/{}/recover", node(followers[1]));
    member.ask("POST", &recover, &[], b"");
    let other = cluster.member(followers[1]);
    other.until("has it too", || has(other, "a", b"bytes"));
}

#[test]
fn what_nobody_reads_is_repaired_too() {
    let cluster =
        Cluster::start_with(&["--files-scrub-interval", "100ms", "--files-recovery-interval", "1h"]);
    let (leader, followers) = cluster.roles();
    let member = cluster.member(leader);
    sees(member, None);
    let bytes = vec![7; 300_000];
    let put = member.put("/files/a", &bytes).json();
    assert_eq!(put["replication"]["successful"], 2, "{put}");
    let digest = put["checksum_sha256"].as_str().expect("a checksum");
    let path = find(&cluster.data(followers[0]).join("files"), digest).expect("it is there");
    let good = fs::read(&path).expect("it can be read");
    let mut bad = good.clone();
    bad[200_000] ^= 1;
    fs::write(&path, &bad).expect("it can be written");
    let spoilt = cluster.member(followers[0]);
    spoilt.until("mends it", || fs::read(&path).is_ok_and(|now| now == good));
    spoilt.until("is rid of the bad copy", || {
        find(&cluster.data(followers[0]).join("files"), ".damaged").is_none()
    });
    let metrics = spoilt.get_admin("/metrics").text();
    let counted = metrics.lines().filter(|line| line.starts_with("holdfast_files_damaged_total"));
    assert!(counted.clone().any(|line| line.ends_with(" 1")), "{:?}", counted.collect::<Vec<_>>());
}

#[test]
fn whoever_lost_its_disk_holds_nothing_until_it_has_it_again() {
    let mut cluster = Cluster::start_with(BY_ORDER);
    let (leader, followers) = cluster.roles();
    let member = cluster.member(leader);
    sees(member, None);
    let put = member.put("/files/a", b"bytes");
    assert_eq!((put.status, &put.json()["replication"]["successful"]), (200, &2.into()), "{}", put.text());
    assert_eq!(holders(member), nodes(0..3));

    let lost = followers[0];
    cluster.take(lost).kill();
    fs::remove_dir_all(cluster.data(lost)).expect("its disk is gone");
    cluster.restart(lost);
    let others = nodes([leader, followers[1]]);
    for member in cluster.members.iter().flatten() {
        member.until("knows that the file is gone there", || holders(member) == others);
    }
    assert!(!has(cluster.member(lost), "a", b"bytes"), "it comes from another one");

    let target = format!("/nodes/{}/recover", node(lost));
    let recovered = cluster.member(leader).ask("POST", &target, &[], b"").json();
    assert_eq!((&recovered["success"], &recovered["failed"]), (&1.into(), &0.into()), "{recovered}");
    for member in cluster.members.iter().flatten() {
        assert_eq!(holders(member), nodes(0..3));
    }
}

#[test]
fn clients_of_files_read_up() {
    let store = Store::new("strategy: Replication\ndurability: Disk\nhealthWords: Files\n");
    let health = store.start().get("/health").json();
    let said = ["status", "node_id", "service", "hostname"].map(|field| health[field].clone());
    assert_eq!(said, ["UP", "node-1", "naming-service", "orders-0"], "{health}");
}
