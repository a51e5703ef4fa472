//! The test cluster with the product's images on every node, as the tests use it: objects in and out as JSON, pods by
//! their addresses, containers that crash.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use holdfast_api::http::Status;
use holdfast_api::names::{ADMIN_PORT, CLIENT_PORT, CONTAINER, label};
use holdfast_xtask::cluster::{self, Cluster};
use holdfast_xtask::{checkout, command, image};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;

use crate::http::{self, Http};
use crate::suite::{LeftOut, note};
use crate::{programs, runtime};

/// The namespace of the tests' stores.
pub const NAMESPACE: &str = "default";

/// A running test cluster.
#[derive(Debug)]
pub struct Kubernetes {
    cluster: Cluster,
}

/// A pod of a store, as the API server describes it.
#[derive(Clone, Debug)]
pub struct Pod(pub Value);

impl Kubernetes {
    /// Start a cluster with the product's images, and move this process into its network.
    ///
    /// It must be called before the process has other threads: threads that exist stay outside.
    ///
    /// # Errors
    ///
    /// [`LeftOut`] if this machine cannot run one; else if something fails that should not.
    pub fn start() -> anyhow::Result<Kubernetes> {
        cluster::build().map_err(|error| LeftOut(format!("{error:#}")))?;
        let binaries =
            programs::build(&[crate::chat::CHAT, programs::LAB, programs::OPERATOR, programs::SIDECAR])?;
        let images = image::build(&binaries)?;
        let cluster = Cluster::up()?;
        for image in &images {
            cluster.load_image(&image.archive)?;
        }
        enter(&cluster.network()).context("cannot enter the cluster's network")?;
        note(format_args!("the cluster is up"));
        Ok(Kubernetes { cluster })
    }

    /// Take the cluster down.
    ///
    /// # Errors
    ///
    /// If something stays.
    pub fn stop(self) -> anyhow::Result<()> {
        self.cluster.down()
    }

    /// The machinery below.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Run kubectl and return what it printed.
    ///
    /// # Errors
    ///
    /// If it fails.
    pub fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        command::capture(&mut self.cluster.kubectl(arguments))
    }

    /// Run helm and return what it printed.
    ///
    /// # Errors
    ///
    /// If it fails.
    pub fn helm(&self, arguments: &[&str]) -> anyhow::Result<String> {
        command::capture(self.cluster.helm(arguments).current_dir(checkout()))
    }

    /// Apply a file of the checkout.
    ///
    /// # Errors
    ///
    /// If the API server refuses it.
    pub fn apply_file(&self, path: &str) -> anyhow::Result<String> {
        let path = checkout().join(path);
        self.kubectl(&["apply", "--server-side", &format!("--filename={}", path.display())])
    }

    /// Apply a manifest.
    ///
    /// # Errors
    ///
    /// If the API server refuses it.
    pub fn apply(&self, manifest: &str) -> anyhow::Result<String> {
        command::feed(&mut self.cluster.kubectl(["apply", "--server-side", "--filename=-"]), manifest)
    }

    /// One object, such as `service/example`.
    ///
    /// # Errors
    ///
    /// If it does not exist.
    pub fn get(&self, object: &str) -> anyhow::Result<Value> {
        let json = self.kubectl(&["get", object, "--namespace", NAMESPACE, "--output=json"])?;
        serde_json::from_str(&json).with_context(|| format!("{object} is no JSON"))
    }

    /// Do something where Services can be reached: on a thread in the network of a node.
    ///
    /// # Errors
    ///
    /// If the thread cannot get there, or what is done there fails.
    pub fn on_node<T: Send>(
        &self,
        node: usize,
        act: impl FnOnce() -> anyhow::Result<T> + Send,
    ) -> anyhow::Result<T> {
        let network = self.cluster.node_network(node);
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                enter(&network).context("cannot enter the node's network")?;
                act()
            });
            thread.join().map_err(|_| anyhow::anyhow!("the thread on the node panicked"))?
        })
    }

    /// Where clients of a Service connect.
    ///
    /// # Errors
    ///
    /// If there is no such Service, or it has no address.
    pub fn service_base(&self, service: &str) -> anyhow::Result<String> {
        let spec = &self.get(&format!("service/{service}"))?["spec"];
        let address = spec["clusterIP"].as_str().filter(|address| *address != "None");
        let address = address.with_context(|| format!("{service} has no address"))?;
        let port = spec["ports"][0]["port"].as_u64().with_context(|| format!("{service} has no port"))?;
        Ok(format!("http://{address}:{port}"))
    }

    /// All objects of some kinds, such as `pods,services`, that belong to a store.
    ///
    /// # Errors
    ///
    /// If the API server does not answer.
    pub fn objects_of(&self, kinds: &str, store: &str) -> anyhow::Result<Vec<Value>> {
        let selector = format!("--selector={}={store}", label::STORE);
        let json = self.kubectl(&["get", kinds, "--namespace", NAMESPACE, &selector, "--output=json"])?;
        let mut list: Value = serde_json::from_str(&json).context("the list is no JSON")?;
        match list["items"].take() {
            Value::Array(items) => Ok(items),
            other => anyhow::bail!("{other} is no list"),
        }
    }

    /// The pods of a store, by their ordinals.
    ///
    /// # Errors
    ///
    /// If the API server does not answer.
    pub fn pods(&self, store: &str) -> anyhow::Result<Vec<Pod>> {
        let mut pods: Vec<Pod> = self.objects_of("pods", store)?.into_iter().map(Pod).collect();
        pods.sort_by(|one, other| one.name().cmp(other.name()));
        Ok(pods)
    }

    /// The pods of a store, if there are `count` and all of them are ready.
    ///
    /// # Errors
    ///
    /// If it is not so.
    pub fn ready_pods(&self, store: &str, count: usize) -> anyhow::Result<Vec<Pod>> {
        let pods = self.pods(store)?;
        ensure!(pods.len() == count, "there are {} of {count} pods", pods.len());
        for pod in &pods {
            ensure!(pod.is_ready(), "{} is not ready: {}", pod.name(), pod.0["status"]["conditions"]);
        }
        Ok(pods)
    }

    /// The store's leader, by its own word.
    ///
    /// # Errors
    ///
    /// If nobody leads.
    pub fn leader(&self, http: &Http, pods: &[Pod]) -> anyhow::Result<Status> {
        runtime().block_on(http::leader(http, &bases(pods)))
    }

    /// Kill a member's process on its node as a crash would. The kubelet starts it again.
    ///
    /// # Errors
    ///
    /// If it does not run.
    pub fn crash(&self, pod: &Pod) -> anyhow::Result<()> {
        let container =
            pod.container_id().with_context(|| format!("{} has no running member", pod.name()))?;
        self.cluster.kill_container(pod.node()?, &container)
    }
}

impl Pod {
    /// Its name.
    pub fn name(&self) -> &str {
        self.0["metadata"]["name"].as_str().unwrap_or_default()
    }

    /// Its identity: another one after it was deleted and made anew.
    pub fn uid(&self) -> &str {
        self.0["metadata"]["uid"].as_str().unwrap_or_default()
    }

    /// Where its clients connect.
    pub fn base(&self) -> String {
        format!("http://{}:{CLIENT_PORT}", self.address())
    }

    /// Where probes and scrapes connect.
    pub fn admin(&self) -> String {
        format!("http://{}:{ADMIN_PORT}", self.address())
    }

    /// The node that it runs on.
    ///
    /// # Errors
    ///
    /// If it runs on none.
    pub fn node(&self) -> anyhow::Result<usize> {
        let name =
            self.0["spec"]["nodeName"].as_str().with_context(|| format!("{} has no node", self.name()))?;
        name.trim_start_matches('n').parse().with_context(|| format!("{name} is no node of the test cluster"))
    }

    /// Whether the kubelet calls it ready and nobody deletes it.
    pub fn is_ready(&self) -> bool {
        let conditions = self.0["status"]["conditions"].as_array().into_iter().flatten();
        let ready =
            conditions.filter(|condition| condition["type"] == "Ready").any(|one| one["status"] == "True");
        ready && self.0["metadata"]["deletionTimestamp"].is_null()
    }

    /// How often its member was started again.
    pub fn restarts(&self) -> u64 {
        self.member().and_then(|status| status["restartCount"].as_u64()).unwrap_or_default()
    }

    fn container_id(&self) -> Option<String> {
        let id = self.member()?["containerID"].as_str()?;
        Some(id.trim_start_matches("containerd://").to_owned())
    }

    /// The state of the member's container, which may run beside an application's.
    fn member(&self) -> Option<&Value> {
        let status = &self.0["status"];
        let all = ["containerStatuses", "initContainerStatuses"].map(|list| status[list].as_array());
        all.into_iter().flatten().flatten().find(|container| container["name"] == CONTAINER)
    }

    fn address(&self) -> &str {
        self.0["status"]["podIP"].as_str().unwrap_or("0.0.0.0")
    }
}

/// Where the clients of some pods connect.
pub fn bases(pods: &[Pod]) -> Vec<String> {
    pods.iter().map(Pod::base).collect()
}

/// How long something may take that Kubernetes does in seconds, on a machine that may do much else.
pub const PATIENCE: Duration = Duration::from_secs(60);

fn enter(network: &Path) -> anyhow::Result<()> {
    let namespace =
        std::fs::File::open(network).with_context(|| format!("cannot open {}", network.display()))?;
    move_into_link_name_space(std::os::fd::AsFd::as_fd(&namespace), Some(LinkNameSpaceType::Network))?;
    Ok(())
}
