//! A real Kubernetes of three nodes for the tests: control plane, kubelets and containers in network namespaces of their
//! own, on this machine. No packet leaves them, nothing is downloaded but Debian packages and Go modules, and a node
//! can be cut off or killed for real. It is not secured against the machine's root and must not be used for anything else.

mod control_plane;
mod daemon;
mod layout;
mod network;
mod node;
mod teardown;
mod volumes;

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Subcommand;

use crate::{command, image, packages, tools};
use layout::Layout;

pub use layout::NODES;

/// How long a part of the cluster may take to come up. It takes a second or two on two free cores; a machine that also
/// compiles may be twenty times slower.
const START_WAIT_MAX: Duration = Duration::from_secs(60);

/// How long to wait for others that use the cluster: one run of all its tests takes a few minutes.
const OTHERS_WAIT_MAX: Duration = Duration::from_secs(20 * 60);

/// What `cargo xtask cluster` can do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Build the cluster's programs and install the packages they need.
    Build,
    /// Start a fresh cluster; one that runs is taken down before.
    Up,
    /// Stop everything and take every trace away.
    Down,
    /// Run kubectl as the cluster's administrator.
    Kubectl {
        /// What kubectl is told.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run helm as the cluster's administrator.
    Helm {
        /// What helm is told.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Pull a node's network cable.
    Cut {
        /// The node, from 0.
        node: usize,
    },
    /// Put a node's network cable back in.
    Restore {
        /// The node, from 0.
        node: usize,
    },
    /// Kill everything that runs on a node, its containers first.
    Kill {
        /// The node, from 0.
        node: usize,
    },
    /// Start a killed node again.
    Start {
        /// The node, from 0.
        node: usize,
    },
}

/// Do what a person asked for.
///
/// # Errors
///
/// Whatever went wrong, with what the failed program said.
pub fn run(verb: Verb) -> anyhow::Result<()> {
    let cluster = || Cluster { layout: Layout::new(), _lock: None };
    match verb {
        Verb::Build => build(),
        Verb::Up => command::show(&mut Cluster::up()?.kubectl(["get", "nodes", "--output=wide"])),
        Verb::Down => cluster().down(),
        Verb::Kubectl { arguments } => command::show(&mut cluster().kubectl(arguments)),
        Verb::Helm { arguments } => command::show(&mut cluster().helm(arguments)),
        Verb::Cut { node } => cluster().cut(node),
        Verb::Restore { node } => cluster().restore(node),
        Verb::Kill { node } => cluster().kill(node),
        Verb::Start { node } => cluster().start(node),
    }
}

/// Build and install what a cluster needs.
///
/// # Errors
///
/// If this machine cannot run a cluster; the error says what is missing.
pub fn build() -> anyhow::Result<()> {
    if !packages::is_root() {
        bail!("only root can make the network namespaces and cgroups of a cluster");
    }
    packages::ensure(packages::CLUSTER)?;
    tools::ensure(tools::CLUSTER)?;
    image::ensure_pause()
}

/// A running cluster. It runs on when this value is dropped, and even when the process ends, until somebody calls
/// [`Cluster::down`] or starts another.
#[derive(Debug)]
pub struct Cluster {
    layout: Layout,
    /// Keeps others from taking the cluster down under whoever started it. `None` for who only looks at it.
    _lock: Option<File>,
}

impl Cluster {
    /// Start a fresh cluster, after taking down what an earlier run left behind. There is one per machine.
    ///
    /// # Errors
    ///
    /// If another process uses the cluster, something that is needed is missing, or a part does not come up.
    pub fn up() -> anyhow::Result<Cluster> {
        build()?;
        let lock = lock()?;
        let layout = Layout::new();
        teardown::everything(&layout).context("cannot take the old cluster away")?;
        for folder in ["log", "etcd", "certificates"] {
            std::fs::create_dir_all(layout.path(folder)).context("cannot make the cluster's folder")?;
        }
        let cluster = Cluster { layout, _lock: Some(lock) };
        cluster.start_everything()?;
        Ok(cluster)
    }

    /// Stop everything and take every trace away.
    ///
    /// # Errors
    ///
    /// If something does not end or cannot be removed.
    pub fn down(self) -> anyhow::Result<()> {
        teardown::everything(&self.layout)
    }

    /// A `kubectl` of the cluster's administrator, to be completed and run.
    pub fn kubectl<S: AsRef<std::ffi::OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        self.administrator("kubectl", arguments)
    }

    /// A `helm` of the cluster's administrator, to be completed and run.
    pub fn helm<S: AsRef<std::ffi::OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        self.administrator("helm", arguments)
    }

    /// The network namespace from which pods can be reached; a thread that enters it can connect to them.
    pub fn network(&self) -> PathBuf {
        layout::namespace_file(layout::NAME)
    }

    /// The network namespace of a node, from which services can be reached too.
    pub fn node_network(&self, node: usize) -> PathBuf {
        layout::namespace_file(&layout::node_namespace(node))
    }

    /// Give every node an image, from a file that an image builder made.
    ///
    /// # Errors
    ///
    /// If a node's container runtime does not take it.
    pub fn load_image(&self, archive: &Path) -> anyhow::Result<()> {
        (0..NODES).try_for_each(|node| {
            let mut import = self.container_runtime(node);
            command::capture(import.args(["images", "import"]).arg(archive))?;
            Ok(())
        })
    }

    /// Kill the processes of a container as a crash would: at once and without a word to them.
    ///
    /// # Errors
    ///
    /// If the node does not know the container.
    pub fn kill_container(&self, node: usize, container: &str) -> anyhow::Result<()> {
        let mut kill = self.container_runtime(node);
        command::capture(kill.args(["tasks", "kill", "--signal=SIGKILL", container]))?;
        Ok(())
    }

    /// Pull a node's network cable.
    ///
    /// # Errors
    ///
    /// If the cluster does not run.
    pub fn cut(&self, node: usize) -> anyhow::Result<()> {
        network::cut(node)
    }

    /// Put a node's network cable back in.
    ///
    /// # Errors
    ///
    /// If the cluster does not run.
    pub fn restore(&self, node: usize) -> anyhow::Result<()> {
        network::restore(node)
    }

    /// Kill everything that runs on a node. What is on its disks stays.
    ///
    /// # Errors
    ///
    /// If something does not end.
    pub fn kill(&self, node: usize) -> anyhow::Result<()> {
        daemon::kill(&self.layout, &node::daemons(node))?;
        teardown::kill_containers(&self.layout, node)
    }

    /// Start a killed node again.
    ///
    /// # Errors
    ///
    /// If its container runtime does not come up.
    pub fn start(&self, node: usize) -> anyhow::Result<()> {
        self.start_runtime(node)?;
        node::start_rest(&self.layout, node)
    }

    /// Make all volumes empty and free again. Nobody may use them any more.
    ///
    /// # Errors
    ///
    /// If a volume is still in use.
    pub fn renew_volumes(&self) -> anyhow::Result<()> {
        let mut delete = self.kubectl(["delete", "persistentvolumes", "--ignore-not-found", "--timeout=60s"]);
        command::capture(delete.args(volumes::names()))?;
        self.offer_volumes()
    }

    /// Make the volumes empty and free again that nobody claims any more, as a provisioner does by itself.
    ///
    /// # Errors
    ///
    /// If one cannot be made anew.
    pub fn recycle_volumes(&self) -> anyhow::Result<()> {
        let path = "--output=jsonpath={range .items[?(@.status.phase==\"Released\")]}{.metadata.name} {end}";
        let released = command::capture(&mut self.kubectl(["get", "persistentvolumes", path]))?;
        let released: Vec<String> = released.split_whitespace().map(str::to_owned).collect();
        if released.is_empty() {
            return Ok(());
        }
        let mut delete = self.kubectl(["delete", "persistentvolumes", "--ignore-not-found", "--timeout=60s"]);
        command::capture(delete.args(&released))?;
        let offer = volumes::renew(&self.layout, &released)?;
        command::feed(&mut self.kubectl(["apply", "--filename=-"]), &offer)?;
        Ok(())
    }

    fn offer_volumes(&self) -> anyhow::Result<()> {
        let offer = volumes::prepare(&self.layout)?;
        command::feed(&mut self.kubectl(["apply", "--filename=-"]), &offer)?;
        Ok(())
    }

    fn start_everything(&self) -> anyhow::Result<()> {
        network::create().context("cannot make the cluster's network")?;
        control_plane::prepare(&self.layout)?;
        control_plane::start_api(&self.layout)?;
        for node in 0..NODES {
            node::prepare(&self.layout, node)?;
            self.start_runtime(node)?;
        }
        self.wait_for("the API server", "apiserver", || self.kubectl(["get", "--raw=/readyz"]))?;
        control_plane::start_rest(&self.layout)?;
        for node in 0..NODES {
            node::start_rest(&self.layout, node)?;
        }
        self.offer_volumes()?;
        self.load_image(&image::pause_archive())?;
        for node in 0..NODES {
            let name = format!("node/{}", layout::node_name(node));
            self.wait_for(&name, &node::daemon_name(node, "kubelet"), || {
                self.kubectl(["wait", "--for=condition=Ready", "--timeout=2s", &name])
            })?;
        }
        Ok(())
    }

    fn start_runtime(&self, node: usize) -> anyhow::Result<()> {
        node::start_runtime(&self.layout, node)?;
        let name = node::daemon_name(node, "containerd");
        self.wait_for(&name, &name, || {
            let mut version = self.container_runtime(node);
            version.arg("version");
            version
        })
    }

    /// Wait until `attempt` ends well, while the process `daemon` runs.
    fn wait_for(&self, what: &str, daemon: &str, attempt: impl Fn() -> Command) -> anyhow::Result<()> {
        let begin = Instant::now();
        loop {
            let Err(error) = command::capture(&mut attempt()) else { return Ok(()) };
            if let Some(obituary) = daemon::obituary(&self.layout, daemon) {
                bail!("{obituary}");
            }
            if begin.elapsed() > START_WAIT_MAX {
                let log = self.layout.path(format!("log/{daemon}.log"));
                return Err(error).with_context(|| format!("{what} does not come up; see {}", log.display()));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn container_runtime(&self, node: usize) -> Command {
        let mut ctr = Command::new("ctr");
        ctr.arg("--address").arg(self.layout.container_socket(node)).arg("--namespace=k8s.io");
        ctr
    }

    fn administrator<S: AsRef<std::ffi::OsStr>>(
        &self,
        tool: &str,
        arguments: impl IntoIterator<Item = S>,
    ) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={}", self.network().display()))
            .arg(self.layout.tool(tool))
            .args(arguments);
        command.env("KUBECONFIG", self.layout.kubeconfig("admin"));
        // What the tools remember of one cluster is wrong for the next.
        command.env("KUBECACHEDIR", self.layout.path("cache/kubectl"));
        for (variable, folder) in [("CACHE", "cache"), ("CONFIG", "config"), ("DATA", "data")] {
            command.env(format!("HELM_{variable}_HOME"), self.layout.path(format!("cache/helm-{folder}")));
        }
        command
    }
}

/// Make this process the only one that starts or stops the cluster, once those before it are done.
fn lock() -> anyhow::Result<File> {
    let path = std::env::temp_dir().join("holdfast-cluster.lock");
    let lock = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
    let begin = Instant::now();
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::Error(error)) => return Err(error).context("cannot lock the cluster"),
            Err(TryLockError::WouldBlock) if begin.elapsed() > OTHERS_WAIT_MAX => {
                bail!("another process uses the cluster and does not end ({} is locked)", path.display())
            }
            Err(TryLockError::WouldBlock) => {
                crate::say(format_args!("waiting for another process that uses the cluster"));
                std::thread::sleep(Duration::from_secs(10));
            }
        }
    }
}
