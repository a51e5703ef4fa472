//! Failure experiments as a user of Kubernetes has them: the operator makes the pods, the lab has them killed.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use holdfast_e2e::experiments::{Experiment, LAB};
use holdfast_e2e::kubernetes::{NAMESPACE, PATIENCE};
use holdfast_e2e::suite::note;
use holdfast_e2e::wait;
use serde_json::Value;

use crate::shared::Shared;

/// A run takes some ten seconds; these are half a dozen, on a machine that may do much else.
const RUNS_MAX: Duration = Duration::from_secs(480);

/// The protocol's own columns.
const COLUMNS: &str = "config_name,strategy,run_id,timestamp,recovery_time_seconds,data_recovery_rate,items_recovered,store_time_seconds";

const THREE: &str = "{runs: 2, items: 100, configurations: [\
    {name: Baseline, strategy: Baseline},\
    {name: Checkpoint_15s, strategy: Checkpointing, checkpointInterval: 15s},\
    {name: Replication_F3, strategy: Replication, replicas: 3}]}";

/// Three configurations, twice each; the lab is killed in between and goes on.
pub(crate) fn completes(shared: &mut Shared) -> anyhow::Result<()> {
    let kubernetes = &shared.kubernetes;
    kubernetes.apply_file(LAB)?;
    let experiment = Experiment::make(kubernetes, "trio", THREE)?;
    let done = |status: &Value| status["completedRuns"].as_u64().unwrap_or(0);
    let before = experiment.follow(RUNS_MAX, |status| done(status) >= 2)?;
    let lab = "--selector=app.kubernetes.io/name=holdfast-lab";
    let delete = ["delete", "pods", lab, "--namespace=holdfast-system", "--grace-period=0", "--force"];
    kubernetes.kubectl(&delete)?;
    let status = experiment.follow(RUNS_MAX, |status| status["phase"] == "Complete")?;
    ensure!(status["progress"] == "6/6" && status["failedRuns"] == 0, "{status}");
    ensure!(status["startTime"] == before["startTime"] && status["completionTime"].is_string(), "{status}");

    let csv = experiment.results()?;
    let mut lines = csv.lines();
    let head = lines.next().context("no head")?;
    ensure!(head.starts_with(COLUMNS), "{head}");
    let mut rows: Vec<&str> = lines.collect();
    rows.sort_unstable();
    rows.iter().for_each(|row| note(format_args!("{row}")));
    let runs: Vec<String> =
        rows.iter().map(|row| row.split(',').take(3).collect::<Vec<_>>().join(" ")).collect();
    let expected = ["Baseline baseline", "Checkpoint_15s checkpointing", "Replication_F3 replication"];
    let expected: Vec<String> =
        expected.iter().flat_map(|one| [1, 2].map(|run| format!("{one} {run}"))).collect();
    ensure!(runs == expected, "{runs:?}");

    let summary = status["summary"].as_array().context("no summary")?;
    ensure!(summary.len() == 3 && summary.iter().all(|one| one["runs"] == 2), "{summary:?}");
    for (one, percent) in summary.iter().zip([0.0, 100.0, 100.0]) {
        ensure!(one["recoveredPercent"] == percent, "{one}");
        ensure!(one["p50Seconds"].as_f64().is_some_and(|time| time > 0.0 && time < 60.0), "{one}");
    }
    conditions(&status, "Complete")?;
    columns(shared, experiment.name, "Complete", "6/6")?;
    let events = ["get", "events", "--namespace", NAMESPACE, "--output=jsonpath={.items[*].reason}"];
    let events = kubernetes.kubectl(&events)?;
    ensure!(events.contains("Started") && events.contains("AllRunsMeasured"), "{events}");
    experiment.leaves_only(&["configmap/trio-results".to_owned()])?;
    experiment.delete()?;
    experiment.leaves_only(&[])?;
    renew(shared)
}

/// Failures that are no SIGKILL.
pub(crate) fn other_failures(shared: &mut Shared) -> anyhow::Result<()> {
    for (name, failure) in [("pods", "pod_kill"), ("pauses", "pause")] {
        let three = "configurations: [{name: Replication_F3, strategy: Replication, replicas: 3}]";
        let spec = format!("{{runs: 1, failureType: {failure}, {three}}}");
        let experiment = Experiment::make(&shared.kubernetes, name, &spec)?;
        let status = experiment.follow(RUNS_MAX, |status| status["phase"] == "Complete")?;
        ensure!(status["summary"][0]["recoveredPercent"] == 100.0, "{status}");
        note(format_args!("{failure}: {}", status["summary"][0]));
        experiment.delete()?;
        experiment.leaves_only(&[])?;
    }
    renew(shared)
}

/// One that is deleted while a store is measured.
pub(crate) fn cancelled(shared: &mut Shared) -> anyhow::Result<()> {
    let spec = "{runs: 50, configurations: [{name: Replication_F3, strategy: Replication, replicas: 3}]}";
    let experiment = Experiment::make(&shared.kubernetes, "cancelled", spec)?;
    wait::until("a store's pods are there", 2 * PATIENCE, || {
        let left = experiment.left()?;
        ensure!(left.iter().any(|name| name.starts_with("pod/")), "{left:?}");
        Ok(())
    })?;
    experiment.delete()?;
    experiment.leaves_only(&[])?;
    // Nothing comes after it either.
    std::thread::sleep(Duration::from_secs(5));
    let left = experiment.left()?;
    ensure!(left.is_empty(), "{left:?} came afterwards");
    renew(shared)
}

/// A store of somebody else that has the name of a run's.
pub(crate) fn stranger(shared: &mut Shared) -> anyhow::Result<()> {
    let kubernetes = &shared.kubernetes;
    let metadata = format!("{{name: clash-c0-r1, namespace: {NAMESPACE}}}");
    kubernetes.apply(&format!(
        "apiVersion: holdfast.dev/v1alpha1\nkind: ReplicatedStore\nmetadata: {metadata}\nspec: {{strategy: Baseline, replicas: 1}}\n"
    ))?;
    let (pods, _) =
        wait::until("the stranger is ready", PATIENCE, || kubernetes.ready_pods("clash-c0-r1", 1))?;
    shared.put(&pods[0], "key", "value")?;
    let spec = "{runs: 1, configurations: [{name: Baseline, strategy: Baseline}]}";
    let experiment = Experiment::make(kubernetes, "clash", spec)?;
    let status = experiment.follow(RUNS_MAX, |status| status["phase"] == "Failed")?;
    let message = status["message"].as_str().unwrap_or_default();
    ensure!(message.contains("clash-c0-r1") && message.contains("did not make"), "{message}");
    note(format_args!("{message}"));
    conditions(&status, "Failed")?;
    experiment.delete()?;
    std::thread::sleep(Duration::from_secs(5));
    let after = kubernetes.ready_pods("clash-c0-r1", 1)?;
    ensure!(after[0].uid() == pods[0].uid() && after[0].restarts() == pods[0].restarts(), "it was touched");
    shared.delete("clash-c0-r1")
}

fn conditions(status: &Value, phase: &str) -> anyhow::Result<()> {
    ensure!(status["phase"] == phase, "{status}");
    let conditions = status["conditions"].as_array().context("no conditions")?;
    for condition in conditions {
        let is = condition["type"] == phase;
        ensure!(condition["status"] == if is { "True" } else { "False" }, "{condition}");
    }
    ensure!(conditions.len() == 3, "{conditions:?}");
    Ok(())
}

fn columns(shared: &Shared, name: &str, phase: &str, progress: &str) -> anyhow::Result<()> {
    let table = shared.kubernetes.kubectl(&["get", "hfe", name, "--namespace", NAMESPACE])?;
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    ensure!(lines[0] == ["NAME", "PHASE", "PROGRESS", "FAILED", "FAILURE", "AGE"], "{table}");
    ensure!(lines[1][..5] == [name, phase, progress, "0", "default"], "{table}");
    Ok(())
}

fn renew(shared: &Shared) -> anyhow::Result<()> {
    shared.kubernetes.cluster().recycle_volumes()
}
