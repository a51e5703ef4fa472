//! What the tests share: the cluster, the sample store in it, and everything that writers were ever told.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use holdfast_api::http::Status;
use holdfast_e2e::history::History;
use holdfast_e2e::http::{Http, Outcome};
use holdfast_e2e::kubernetes::{Kubernetes, NAMESPACE, PATIENCE, Pod, bases};
use holdfast_e2e::load::Load;
use holdfast_e2e::suite::note;
use holdfast_e2e::{runtime, wait};
use holdfast_xtask::checkout;
use serde_json::Value;

/// The manifest that installs the operator.
pub(crate) const OPERATOR: &str = "manifests/operator.yaml";

/// The sample that most tests are about.
pub(crate) const SAMPLE: &str = "manifests/store-three-members.yaml";

/// Writers of a load.
const WRITERS: usize = 8;

/// Writes that are acknowledged before a load counts as flowing.
const FLOWING: u64 = 100;

/// See the module.
pub(crate) struct Shared {
    pub(crate) kubernetes: Kubernetes,
    pub(crate) http: Http,
    /// The sample's name.
    pub(crate) store: String,
    /// Loads so far; each has a prefix of its own.
    loads: usize,
    /// What all loads so far were told, by their prefixes.
    told: Vec<(String, History)>,
}

impl Shared {
    pub(crate) fn start() -> anyhow::Result<Shared> {
        let kubernetes = Kubernetes::start()?;
        Ok(Shared { kubernetes, http: Http::default(), store: name_in(SAMPLE)?, loads: 0, told: Vec::new() })
    }

    pub(crate) fn stop(self) -> anyhow::Result<()> {
        self.kubernetes.stop()
    }

    /// The sample's pods and the leader's own status, once all three are ready and one leads.
    pub(crate) fn settled(&self) -> anyhow::Result<(Vec<Pod>, Status)> {
        let look = || {
            let pods = self.kubernetes.ready_pods(&self.store, 3)?;
            let leader = self.kubernetes.leader(&self.http, &pods)?;
            Ok((pods, leader))
        };
        Ok(wait::until("the store has settled", PATIENCE, look)?.0)
    }

    /// The sample's pods once none of them is one of `old`, and all are ready.
    pub(crate) fn replaced(&self, old: &[Pod]) -> anyhow::Result<Vec<Pod>> {
        let look = || {
            let new = self.kubernetes.ready_pods(&self.store, 3)?;
            let stays = old.iter().find(|old| new.iter().any(|new| new.uid() == old.uid()));
            ensure!(stays.is_none(), "{} is still the old one", stays.map_or("", Pod::name));
            Ok(new)
        };
        Ok(wait::until("pods are replaced", 3 * PATIENCE, look)?.0)
    }

    /// Start a load on some pods, and wait until it flows.
    pub(crate) fn load(&mut self, pods: &[Pod]) -> anyhow::Result<Load> {
        self.loads += 1;
        let load = Load::start(&bases(pods), &self.prefix(), WRITERS);
        wait::until("writes are acknowledged", PATIENCE, || {
            ensure!(load.acknowledged() >= FLOWING, "only {}", load.acknowledged());
            Ok(())
        })?;
        Ok(load)
    }

    /// Do something to the leader's pod under load, and return how long it took until a write was acknowledged in a
    /// later term.
    pub(crate) fn leaderless(
        &self,
        load: &Load,
        strike: impl FnOnce(&Pod) -> anyhow::Result<()>,
    ) -> anyhow::Result<Duration> {
        let (pods, leader) = self.settled()?;
        let term = leader.term.max(load.term());
        let begin = Instant::now();
        strike(&pods[usize::from(leader.member)])?;
        let look = || load.acknowledged_after(term).context("nothing was acknowledged in a later term");
        let (moment, _) = wait::until("a write is acknowledged by a new leader", PATIENCE, look)?;
        Ok(moment.duration_since(begin))
    }

    /// Stop a load, and hold what it and all before it were told against what every member has.
    pub(crate) fn verify(&mut self, load: Load) -> anyhow::Result<()> {
        let history = load.stop()?;
        note(format_args!("{:?}", history.counts()));
        self.told.push((self.prefix(), history));
        self.verify_all()
    }

    /// Hold what all loads so far were told against what every member has.
    pub(crate) fn verify_all(&self) -> anyhow::Result<()> {
        let (pods, _) = self.settled()?;
        for pod in &pods {
            for (prefix, history) in &self.told {
                // A member that has just crashed counts as ready for a moment. What it answers is never asked twice.
                let list = || runtime().block_on(self.http.list(&pod.base(), prefix));
                let (stored, _) = wait::until("a member answers", PATIENCE, list)?;
                history.check(&stored).with_context(|| format!("as {} tells it", pod.name()))?;
            }
        }
        Ok(())
    }

    /// Write a key through a pod.
    pub(crate) fn put(&self, pod: &Pod, key: &str, value: &str) -> anyhow::Result<u64> {
        match runtime().block_on(self.http.put(&pod.base(), key, value.to_owned())) {
            Outcome::Acknowledged { revision, .. } => Ok(revision),
            other => anyhow::bail!("a write through {}: {other:?}", pod.name()),
        }
    }

    /// Change the sample's spec.
    pub(crate) fn patch(&self, patch: &str) -> anyhow::Result<String> {
        let store = format!("hfs/{}", self.store);
        self.kubernetes.kubectl(&[
            "patch",
            &store,
            "--namespace",
            NAMESPACE,
            "--type=merge",
            "--patch",
            patch,
        ])
    }

    /// Delete a store and wait until its pods are gone.
    pub(crate) fn delete(&self, store: &str) -> anyhow::Result<()> {
        self.kubernetes.kubectl(&["delete", "hfs", store, "--namespace", NAMESPACE, "--timeout=60s"])?;
        wait::until("its pods go", PATIENCE, || {
            ensure!(self.kubernetes.pods(store)?.is_empty(), "some are left");
            Ok(())
        })?;
        Ok(())
    }

    /// Delete all claims, and make the volumes free for the next test.
    pub(crate) fn forget_volumes(&self) -> anyhow::Result<()> {
        let claims = ["delete", "persistentvolumeclaims", "--all", "--namespace", NAMESPACE, "--timeout=60s"];
        self.kubernetes.kubectl(&claims)?;
        self.kubernetes.cluster().renew_volumes()
    }

    /// One of the sample's conditions.
    pub(crate) fn condition(&self, type_: &str) -> anyhow::Result<Value> {
        let store = self.kubernetes.get(&format!("hfs/{}", self.store))?;
        let conditions = store["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let found = conditions.into_iter().find(|condition| condition["type"] == type_);
        found.with_context(|| format!("there is no condition {type_}"))
    }

    /// Wait until `kubectl get hfs` names the leader that the members themselves name, and a phase other than Ready if
    /// and only if a member is missing.
    pub(crate) fn leader_is_shown(&self, whole: bool) -> anyhow::Result<()> {
        let look = || {
            let columns = self.columns()?;
            let pods: Vec<Pod> =
                self.kubernetes.pods(&self.store)?.into_iter().filter(Pod::is_ready).collect();
            let leader = self.kubernetes.leader(&self.http, &pods)?;
            let leader = format!("{}-{}", self.store, leader.member);
            ensure!(cell(&columns, "LEADER")? == leader, "{leader} leads, and the columns are {columns:?}");
            ensure!((cell(&columns, "PHASE")? == "Ready") == whole, "the columns are {columns:?}");
            Ok(())
        };
        let ((), took) = wait::until("kubectl get hfs shows the leader and the phase", PATIENCE, look)?;
        note(format_args!("after {took:.1?} kubectl get hfs shows the leader and the phase"));
        Ok(())
    }

    /// Wait until `kubectl get hfs` shows the truth, with so many members ready.
    pub(crate) fn columns_are_true(&self, ready: usize) -> anyhow::Result<()> {
        self.leader_is_shown(ready == 3)?;
        let look = || {
            let columns = self.columns()?;
            ensure!(cell(&columns, "REPLICAS")? == "3", "{columns:?}");
            ensure!(cell(&columns, "READY")? == ready.to_string(), "{columns:?}");
            Ok(columns)
        };
        let (columns, took) = wait::until("kubectl get hfs shows the ready members", PATIENCE, look)?;
        let cells: Vec<String> = columns.iter().map(|(head, cell)| format!("{head} {cell}")).collect();
        note(format_args!("after {took:.1?} more it shows {}", cells.join(", ")));
        Ok(())
    }

    /// The columns of `kubectl get hfs`, with their headings.
    fn columns(&self) -> anyhow::Result<Vec<(String, String)>> {
        let table = ["get", "hfs", &self.store, "--namespace", NAMESPACE, "--output=wide"];
        let table = self.kubernetes.kubectl(&table)?;
        let mut lines = table.lines().map(|line| line.split_whitespace().map(str::to_owned));
        let (heads, cells) = (lines.next().context("no headings")?, lines.next().context("no line")?);
        Ok(heads.zip(cells).collect())
    }

    fn prefix(&self) -> String {
        format!("load-{}/", self.loads)
    }
}

fn cell<'a>(columns: &'a [(String, String)], name: &str) -> anyhow::Result<&'a str> {
    let found = columns.iter().find(|(head, _)| head == name);
    found.map(|(_, cell)| cell.as_str()).with_context(|| format!("no column {name} in {columns:?}"))
}

/// The name of the store in a manifest of the checkout.
pub(crate) fn name_in(path: &str) -> anyhow::Result<String> {
    let path = checkout().join(path);
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let manifest: Value = serde_yaml::from_str(&text)?;
    Ok(manifest["metadata"]["name"].as_str().context("the sample has no name")?.to_owned())
}
