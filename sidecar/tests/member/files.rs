//! What members say of each other's files.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::process::{Cluster, Process, Store};

fn node(ordinal: usize) -> String {
    format!("node-{}", ordinal + 1)
}

/// Who has the only file there is, as a member lists it.
fn holders(member: &Process) -> BTreeSet<String> {
    let list = member.get("/files").json();
    let replicas = list["files"][0]["replicas"].as_array().unwrap_or_else(|| panic!("{list}"));
    replicas.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

#[test]
fn whoever_lost_its_disk_holds_nothing_until_it_has_it_again() {
    // Nobody recovers anything until it is asked to.
    let mut cluster = Cluster::start_with(&["--files-recovery-interval", "0s"]);
    let (leader, followers) = cluster.roles();
    let member = cluster.member(leader);
    member.until("sees the others", || {
        let nodes = member.get("/nodes").json();
        nodes.as_array().is_some_and(|nodes| nodes.iter().all(|node| node["status"] == "UP"))
    });
    let put = member.put("/files/a", b"bytes");
    assert_eq!((put.status, &put.json()["replication"]["successful"]), (200, &2.into()), "{}", put.text());
    let all: BTreeSet<_> = (0..3).map(node).collect();
    assert_eq!(holders(member), all);

    let lost = followers[0];
    cluster.take(lost).kill();
    fs::remove_dir_all(cluster.data(lost)).expect("its disk is gone");
    cluster.restart(lost);
    let others: BTreeSet<_> = all.iter().filter(|name| **name != node(lost)).cloned().collect();
    for member in cluster.members.iter().flatten() {
        member.until("knows that the file is gone there", || holders(member) == others);
    }
    let read = cluster.member(lost).get("/files/a");
    assert_eq!((read.status, read.body.as_slice()), (200, b"bytes".as_slice()), "it comes from another one");

    let target = format!("/nodes/{}/recover", node(lost));
    let recovered = cluster.member(leader).ask("POST", &target, &[], b"").json();
    assert_eq!((&recovered["success"], &recovered["failed"]), (&1.into(), &0.into()), "{recovered}");
    for member in cluster.members.iter().flatten() {
        assert_eq!(holders(member), all);
    }
}

#[test]
fn clients_of_files_read_up() {
    let store = Store::new("strategy: Replication\ndurability: Disk\nhealthWords: Files\n");
    let health = store.start().get("/health").json();
    let said = ["status", "node_id", "service", "hostname"].map(|field| health[field].clone());
    assert_eq!(said, ["UP", "node-1", "naming-service", "orders-0"], "{health}");
}
