//! Persistent volumes: folders of the nodes, made beforehand as an administrator without a provisioner makes them.

use std::fs;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::layout::{Layout, NODES, node_name};

/// Volumes on each node: enough for the stores of one test, and for those that the test before left behind.
const VOLUMES_PER_NODE: usize = 6;

/// The storage class, which claims get that name none.
const CLASS: &str = "local";

/// The objects that offer the volumes, and their folders. What an earlier claim left in a folder is deleted; the
/// caller makes sure that nobody uses it any more.
pub(super) fn prepare(layout: &Layout) -> anyhow::Result<String> {
    offer(layout, every())
}

/// The objects that offer these volumes again, and their folders, empty; as [`prepare`] does for all.
pub(super) fn renew(layout: &Layout, names: &[String]) -> anyhow::Result<String> {
    offer(layout, every().filter(|(node, number)| names.contains(&name(*node, *number))))
}

fn offer(layout: &Layout, volumes: impl Iterator<Item = (usize, usize)>) -> anyhow::Result<String> {
    let mut items = vec![class()];
    for (node, number) in volumes {
        let folder = layout.of_node(node, &format!("volumes/{number}"));
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("cannot empty {}", folder.display()))?;
        }
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        items.push(volume(&name(node, number), node, &folder.to_string_lossy()));
    }
    Ok(json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string())
}

/// The names of all volumes.
pub(super) fn names() -> Vec<String> {
    every().map(|(node, number)| name(node, number)).collect()
}

fn every() -> impl Iterator<Item = (usize, usize)> {
    (0..NODES).flat_map(|node| (0..VOLUMES_PER_NODE).map(move |number| (node, number)))
}

fn name(node: usize, number: usize) -> String {
    format!("{}-{number}", node_name(node))
}

/// A volume is chosen only when it is known where its pod will run.
fn class() -> Value {
    json!({
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": CLASS,
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "WaitForFirstConsumer",
    })
}

fn volume(name: &str, node: usize, folder: &str) -> Value {
    let here = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": [node_name(node)]});
    json!({
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": "10Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": CLASS,
            "local": {"path": folder},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
        },
    })
}
