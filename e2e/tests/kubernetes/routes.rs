//! The research protocol's routes as the lab of a cluster serves them: through its Service, on a store of pods of its own.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use holdfast_e2e::experiments::{Experiment, LAB};
use holdfast_e2e::kubernetes::{Kubernetes, PATIENCE};
use holdfast_e2e::suite::note;
use holdfast_e2e::wait;
use serde_json::{Value, json};

use crate::shared::Shared;

/// Where the lab is.
const NAMESPACE: &str = "--namespace=holdfast-system";
/// How long one request may take: a store goes, another one comes, on a machine that may do much else.
const REQUEST_MAX: Duration = Duration::from_secs(400);
/// Below it are the experiments' routes.
const PREFIX: &str = "/api/fault-tolerance";

/// A lab that is asked through its Service.
struct Lab<'a> {
    kubernetes: &'a Kubernetes,
    base: String,
}

impl Lab<'_> {
    fn of(kubernetes: &Kubernetes) -> anyhow::Result<Lab<'_>> {
        let address = ["get", "service", "holdfast-lab", NAMESPACE, "--output=jsonpath={.spec.clusterIP}"];
        let base = format!("http://{}:8000", kubernetes.kubectl(&address)?.trim());
        let lab = Lab { kubernetes, base };
        wait::until("the lab answers", 2 * PATIENCE, || lab.get("/api/health"))?;
        Ok(lab)
    }

    /// Status and answer of a request; one with a body is a POST.
    fn ask(&self, path: &str, body: Option<Value>) -> anyhow::Result<(u16, Value)> {
        // What a cluster with a provisioner does by itself: stores come and go here.
        self.kubernetes.cluster().recycle_volumes()?;
        let url = format!("{}{path}", self.base);
        let text = self.kubernetes.on_node(0, || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let client = reqwest::Client::builder().no_proxy().timeout(REQUEST_MAX).build()?;
                let request = match body {
                    None => client.get(&url),
                    Some(body) => client.post(&url).body(body.to_string()),
                };
                let answer = request.send().await?;
                Ok((answer.status().as_u16(), answer.text().await?))
            })
        });
        let (status, text) = text.with_context(|| path.to_owned())?;
        let answer = serde_json::from_str(&text).with_context(|| format!("{path}: {text}"))?;
        Ok((status, answer))
    }

    fn get(&self, path: &str) -> anyhow::Result<Value> {
        let (status, answer) = self.ask(path, None)?;
        ensure!(status == 200, "{path}: {status} {answer}");
        Ok(answer)
    }

    fn post(&self, path: &str, body: Value) -> anyhow::Result<Value> {
        let (status, answer) = self.ask(&format!("{PREFIX}{path}"), Some(body))?;
        ensure!(status == 200, "{path}: {status} {answer}");
        note(format_args!("{path}: {answer}"));
        Ok(answer)
    }

    fn refused(&self, path: &str, body: Value, expected: u16) -> anyhow::Result<String> {
        let (status, answer) = self.ask(&format!("{PREFIX}{path}"), Some(body))?;
        ensure!(status == expected, "{path}: {status} {answer}, and not {expected}");
        Ok(answer["detail"].to_string())
    }

    fn status(&self) -> anyhow::Result<Value> {
        self.get(&format!("{PREFIX}/status"))
    }

    fn has(&self, key: &str) -> anyhow::Result<bool> {
        let answer = self.get(&format!("{PREFIX}/retrieve/{key}"))?;
        ensure!(answer["error"].is_null(), "{answer}");
        Ok(answer["found"] == true)
    }

    /// What there is of its own stores.
    fn left(&self) -> anyhow::Result<Vec<String>> {
        let kinds = "replicatedstores,statefulsets,pods,persistentvolumeclaims,services,configmaps";
        let all = self.kubernetes.kubectl(&["get", kinds, NAMESPACE, "--output=name"])?;
        Ok(all.lines().filter(|name| name.contains("/lab-")).map(str::to_owned).collect())
    }
}

/// Every route, as a person with curl would ask it.
pub(crate) fn every_route(shared: &mut Shared) -> anyhow::Result<()> {
    let kubernetes = &shared.kubernetes;
    kubernetes.apply_file(LAB)?;
    let lab = Lab::of(kubernetes)?;
    ensure!(lab.get("/")?["version"] == "1.0.0", "the root");
    ensure!(
        lab.get(&format!("{PREFIX}/experiment-presets"))?["presets"].as_array().map(Vec::len) == Some(8),
        "presets"
    );
    let strategies = lab.get(&format!("{PREFIX}/strategies"))?;
    let failures = strategies["failure_types"].to_string();
    ensure!(failures.contains("pod_kill") && !failures.contains("disk"), "{failures}");
    let status = lab.status()?;
    ensure!(status["strategy"] == "baseline" && status["is_healthy"] == true, "{status}");
    let unknown = lab.refused("/run-experiment", json!({"strategy": "prayer"}), 422)?;
    ensure!(unknown.contains("'replication'"), "{unknown}");
    let partition = json!({"strategy": "replication", "failure_type": "partition"});
    let refused = lab.refused("/run-experiment", partition, 409)?;
    ensure!(refused.contains("write one of default, leader"), "{refused}");
    ensure!(lab.left()?.is_empty(), "a store is made before anybody needs one");

    // The control group, which forgets.
    ensure!(lab.post("/store", json!({"key": "a key", "value": {"n": 1}}))?["success"] == true, "stored");
    ensure!(lab.has("a%20key")? && !lab.left()?.is_empty(), "it is there, in a store of pods");
    // Who stands still does so until somebody recovers, and has forgotten nothing.
    let pause = json!({"failure_type": "pause"});
    ensure!(lab.post("/simulate-failure", pause.clone())?["is_healthy"] == false, "nobody else serves");
    let recovered = lab.post("/recover", json!({}))?;
    ensure!(recovered["note"] == "measured from this request to the first verified read", "{recovered}");
    ensure!(recovered["is_healthy"] == true && lab.has("a%20key")?, "{recovered}");
    ensure!(lab.post("/simulate-failure", json!({}))?["is_healthy"] == false, "nobody else serves");
    let recovered = lab.post("/recover", json!({}))?;
    ensure!(
        recovered["is_healthy"] == true && recovered["recovery_time_seconds"].as_f64() > Some(0.0),
        "{recovered}"
    );
    ensure!(
        recovered["note"].to_string().contains("the data is gone") && !lab.has("a%20key")?,
        "{recovered}"
    );

    for (strategy, factor, name) in [
        ("checkpointing", 3, "Checkpointing (Interval: 15s)"),
        ("replication", 2, "Replication (Factor: 2)"),
        ("replication", 3, "Replication (Factor: 3)"),
    ] {
        let asked = json!({
            "strategy": strategy, "data_items": 100, "checkpoint_interval": 15, "replication_factor": factor,
        });
        let found = lab.post("/run-experiment", asked)?;
        ensure!(found["strategy_full_name"] == name && found["items_recovered"] == 100, "{found}");
        ensure!(
            found["data_recovery_rate_percent"] == 100.0 && found["stats"]["is_failed"] == false,
            "{found}"
        );
    }

    // A pod that is made anew has another address.
    lab.post("/configure", json!({"strategy": "replication", "replication_factor": 3}))?;
    ensure!(!lab.has("issue_0")?, "nothing leaks from the experiment");
    lab.post("/store", json!({"key": "kept", "value": 2}))?;
    for failure in [json!({"failure_type": "pod_kill"}), pause] {
        ensure!(lab.post("/simulate-failure", failure)?["is_healthy"] == true, "two serve");
        ensure!(
            lab.post("/recover", json!({}))?["is_healthy"] == true && lab.has("kept")?,
            "all three serve"
        );
    }
    Ok(())
}

/// A `FaultExperiment` and requests; then the lab is killed.
pub(crate) fn in_turn(shared: &mut Shared) -> anyhow::Result<()> {
    let lab = Lab::of(&shared.kubernetes)?;
    let spec = "{runs: 2, configurations: [{name: Baseline, strategy: Baseline}]}";
    let experiment = Experiment::make(&shared.kubernetes, "turns", spec)?;
    wait::until("the experiment waits for the requests", PATIENCE, || {
        ensure!(lab.has("kept")?, "the store serves");
        let status = experiment.status()?;
        let message = status["message"].as_str().unwrap_or_default();
        ensure!(status["phase"] == "Pending" && message.contains("requests over HTTP"), "{status}");
        note(format_args!("{message}"));
        Ok(())
    })?;
    experiment.follow(2 * PATIENCE, |status| status["phase"] == "Running")?;
    let refused = lab.refused("/configure", json!({"strategy": "baseline"}), 503)?;
    ensure!(refused.contains("the FaultExperiment default/turns is measured"), "{refused}");
    ensure!(lab.status()?["strategy"] == "replication", "questions are answered");
    experiment.follow(4 * PATIENCE, |status| status["phase"] == "Complete")?;
    ensure!(lab.has("kept")?, "the store is as it was");
    experiment.delete()?;
    experiment.leaves_only(&[])?;

    ensure!(!lab.left()?.is_empty(), "the store is there");
    let pods = "--selector=app.kubernetes.io/name=holdfast-lab";
    shared.kubernetes.kubectl(&["delete", "pods", pods, NAMESPACE, "--grace-period=0", "--force"])?;
    wait::until("the killed lab's store goes", 2 * PATIENCE, || {
        let left = lab.left()?;
        ensure!(left.is_empty(), "{left:?} are left");
        Ok(())
    })?;
    wait::until("the next lab begins anew", 2 * PATIENCE, || {
        let status = lab.status()?;
        ensure!(status["strategy"] == "baseline" && status["store"] == "made when it is needed", "{status}");
        Ok(())
    })?;
    shared.kubernetes.cluster().recycle_volumes()
}
