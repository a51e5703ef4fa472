//! `FaultExperiment`s on the test cluster: how they are made, followed, and what they leave.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use crate::kubernetes::{Kubernetes, NAMESPACE, PATIENCE};
use crate::suite::note;
use crate::wait;

/// The manifest that installs the lab.
pub const LAB: &str = "manifests/lab.yaml";
/// How often an experiment is looked at. Seldom: a look takes a core for a moment, and stores are being measured.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// An experiment on a cluster.
#[derive(Debug)]
pub struct Experiment<'a> {
    kubernetes: &'a Kubernetes,
    /// Its name.
    pub name: &'static str,
}

impl Experiment<'_> {
    /// Make an experiment with this spec, in YAML's short form.
    ///
    /// # Errors
    ///
    /// If the API server refuses it.
    pub fn make<'a>(
        kubernetes: &'a Kubernetes,
        name: &'static str,
        spec: &str,
    ) -> anyhow::Result<Experiment<'a>> {
        let manifest = format!(
            "apiVersion: holdfast.dev/v1alpha1\nkind: FaultExperiment\nmetadata: {{name: {name}, namespace: {NAMESPACE}}}\nspec: {spec}\n"
        );
        kubernetes.apply(&manifest)?;
        Ok(Experiment { kubernetes, name })
    }

    /// Its status.
    ///
    /// # Errors
    ///
    /// If it does not exist.
    pub fn status(&self) -> anyhow::Result<Value> {
        Ok(self.kubernetes.get(&format!("hfe/{}", self.name))?["status"].take())
    }

    /// Look at it until it is as it should be, and do what a cluster with a provisioner does by itself meanwhile.
    ///
    /// # Errors
    ///
    /// If that does not come about in time, or the experiment ends before.
    pub fn follow(&self, patience: Duration, mut is_so: impl FnMut(&Value) -> bool) -> anyhow::Result<Value> {
        let (begin, mut told) = (Instant::now(), String::new());
        loop {
            self.kubernetes.cluster().recycle_volumes()?;
            let status = self.status()?;
            let progress = status["progress"].as_str().unwrap_or_default();
            if progress != told {
                told = progress.to_owned();
                note(format_args!("{told} after {:.0?}: {}", begin.elapsed(), status["message"]));
            }
            if is_so(&status) {
                return Ok(status);
            }
            let over = ["Complete", "Failed"].map(Value::from).contains(&status["phase"]);
            ensure!(!over, "it ended: {status}");
            if begin.elapsed() > patience {
                bail!("not after {patience:?}: {status}\n{}", self.surroundings());
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// The results, as CSV.
    ///
    /// # Errors
    ///
    /// If there are none.
    pub fn results(&self) -> anyhow::Result<String> {
        let kept = self.kubernetes.get(&format!("configmap/{}-results", self.name))?;
        Ok(kept["data"]["results.csv"].as_str().context("there are no results")?.to_owned())
    }

    /// The names of the stores, pods and volumes that there are of it.
    ///
    /// # Errors
    ///
    /// If the API server does not answer.
    pub fn left(&self) -> anyhow::Result<Vec<String>> {
        let kinds = "replicatedstores,statefulsets,pods,persistentvolumeclaims,services,configmaps";
        let all = ["get", kinds, "--namespace", NAMESPACE, "--output=name"];
        let all = self.kubernetes.kubectl(&all)?;
        let prefix = format!("{}-", self.name);
        Ok(all.lines().filter(|name| name.contains(&prefix)).map(str::to_owned).collect())
    }

    /// Wait until nothing is left but these.
    ///
    /// # Errors
    ///
    /// If something stays.
    pub fn leaves_only(&self, expected: &[String]) -> anyhow::Result<()> {
        wait::until("what the experiment made goes", 2 * PATIENCE, || {
            let left = self.left()?;
            ensure!(left == expected, "{left:?} are left");
            Ok(())
        })?;
        Ok(())
    }

    /// Delete it.
    ///
    /// # Errors
    ///
    /// If that fails.
    pub fn delete(&self) -> anyhow::Result<()> {
        self.kubernetes.kubectl(&["delete", "hfe", self.name, "--namespace", NAMESPACE, "--timeout=60s"])?;
        Ok(())
    }

    /// What a person would look at.
    fn surroundings(&self) -> String {
        let look = |arguments: &[&str]| {
            self.kubernetes.kubectl(arguments).unwrap_or_else(|error| format!("{error:#}"))
        };
        let lab = [
            "logs",
            "--namespace=holdfast-system",
            "--selector=app.kubernetes.io/name=holdfast-lab",
            "--tail=20",
        ];
        let pods = ["get", "hfs,pods,pvc", "--namespace", NAMESPACE, "--output=wide"];
        let events = ["get", "events", "--namespace", NAMESPACE, "--sort-by=.lastTimestamp"];
        [look(&lab), look(&pods), look(&events)].join("\n")
    }
}
