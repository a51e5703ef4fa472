//! The operator itself.

use std::collections::BTreeSet;

use anyhow::{Context as _, ensure};
use holdfast_e2e::experiments::LAB;
use holdfast_e2e::kubernetes::PATIENCE;
use holdfast_e2e::suite::note;
use holdfast_e2e::{runtime, wait};
use holdfast_xtask::checkout;
use serde_json::Value;

use crate::shared::{OPERATOR, SAMPLE, Shared};

/// What its objects are labelled with, however they were installed.
const SELECTOR: &str = "--selector=app.kubernetes.io/name=holdfast-operator";

/// Let so many operators run, and return how many there were.
pub(crate) fn scale(shared: &Shared, replicas: u64) -> anyhow::Result<u64> {
    let deployment = &objects(shared, "deployments")?[0];
    let name = deployment["metadata"]["name"].as_str().context("a deployment without a name")?;
    let namespace =
        deployment["metadata"]["namespace"].as_str().context("a deployment without a namespace")?;
    let count = format!("--replicas={replicas}");
    shared.kubernetes.kubectl(&["scale", "deployment", name, "--namespace", namespace, &count])?;
    wait::until("the operators go or come", PATIENCE, || {
        let pods = objects(shared, "pods").map_or(0, |pods| pods.len());
        ensure!(pods as u64 == replicas, "there are {pods}");
        Ok(())
    })?;
    deployment["spec"]["replicas"].as_u64().context("a deployment without replicas")
}

pub(crate) fn metrics(shared: &mut Shared) -> anyhow::Result<()> {
    let mut exported = String::new();
    for pod in objects(shared, "pods")? {
        let address = pod["status"]["podIP"].as_str().context("an operator without an address")?;
        exported += &runtime().block_on(shared.http.text(&format!("http://{address}:8080/metrics")))?;
    }
    let mut drawn = BTreeSet::new();
    for entry in std::fs::read_dir(checkout().join("dashboards"))? {
        let text = std::fs::read_to_string(entry?.path())?;
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let ours = ["holdfast_operator_", "holdfast_store_"];
        let ours = words.filter(|word| ours.iter().any(|prefix| word.starts_with(prefix)));
        drawn.extend(ours.map(str::to_owned));
    }
    ensure!(!drawn.is_empty(), "nothing is drawn of the operator");
    let missing: Vec<&String> = drawn.iter().filter(|name| !exported.contains(name.as_str())).collect();
    ensure!(missing.is_empty(), "the operator does not export {missing:?}, only:\n{exported}");
    note(format_args!("the operator exports all {} metrics that are drawn or alerted on", drawn.len()));
    Ok(())
}

pub(crate) fn helm(shared: &mut Shared) -> anyhow::Result<()> {
    let kubernetes = &shared.kubernetes;
    for manifest in [LAB, OPERATOR] {
        let manifest = format!("--filename={}", checkout().join(manifest).display());
        kubernetes.kubectl(&["delete", &manifest, "--ignore-not-found", "--timeout=60s"])?;
    }
    let helm = |arguments: &[&str]| kubernetes.helm(&[arguments, &["--namespace=holdfast-system"]].concat());
    let all = ["--create-namespace", "--set=lab.enabled=true", "--wait", "--timeout=120s"];
    helm(&[&["install", "holdfast", "charts/holdfast"], &all[..]].concat())?;
    let said = helm(&["test", "holdfast", "--timeout=60s"])?;
    ensure!(said.contains("Succeeded"), "{said}");
    kubernetes.apply_file(SAMPLE)?;
    let (pods, _) = shared.settled()?;
    helm(&["uninstall", "holdfast", "--wait", "--timeout=60s"])?;
    // The operator is gone; the definition, and so the store, is not.
    shared.put(&pods[0], "key", "value")?;
    kubernetes.get(&format!("hfs/{}", shared.store))?;
    Ok(())
}

/// The operator's objects of a kind, of which there is at least one.
fn objects(shared: &Shared, kind: &str) -> anyhow::Result<Vec<Value>> {
    let json = shared.kubernetes.kubectl(&["get", kind, "--all-namespaces", SELECTOR, "--output=json"])?;
    let list: Value = serde_json::from_str(&json)?;
    let items = list["items"].as_array().cloned().unwrap_or_default();
    ensure!(!items.is_empty(), "there are no {kind} of an operator");
    Ok(items)
}
