//! Names, addresses and folders of the test cluster: the one place that knows where everything is.

use std::path::{Path, PathBuf};

/// How many nodes a cluster has, each in a zone of its own: as many as the usual store has members.
pub const NODES: usize = 3;

/// The control plane's address, where the API server and the DNS server listen.
pub(super) const API_ADDRESS: &str = "172.30.0.1";

/// The network namespace of the control plane; nodes add their number to it. Cgroups are called the same.
pub(super) const NAME: &str = "holdfast";

/// Where a cluster keeps its files.
#[derive(Debug)]
pub(super) struct Layout {
    /// Everything that the cluster writes.
    pub(super) folder: PathBuf,
    /// The programs it runs.
    pub(super) tools: PathBuf,
}

impl Layout {
    /// The cluster of this machine. Its files are not under `/tmp`, which is often memory: members of a store must meet
    /// a disk when they ask for one.
    pub(super) fn new() -> Layout {
        Layout { folder: Path::new("/var/tmp").join("holdfast-cluster"), tools: crate::tools::folder() }
    }

    /// A file or folder of the cluster.
    pub(super) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.join(name)
    }

    /// A file or folder of one node.
    pub(super) fn of_node(&self, node: usize, name: &str) -> PathBuf {
        self.folder.join(node_name(node)).join(name)
    }

    /// A program that was built for the cluster.
    pub(super) fn tool(&self, name: &str) -> PathBuf {
        self.tools.join(name)
    }

    /// The credentials of one of the users in [`super::control_plane::USERS`].
    pub(super) fn kubeconfig(&self, user: &str) -> PathBuf {
        self.folder.join(format!("{user}.kubeconfig"))
    }

    /// Where a node's container runtime listens.
    pub(super) fn container_socket(&self, node: usize) -> PathBuf {
        self.of_node(node, "containerd.sock")
    }
}

/// What Kubernetes calls a node.
pub(super) fn node_name(node: usize) -> String {
    format!("n{node}")
}

/// A node's network namespace and cgroup.
pub(super) fn node_namespace(node: usize) -> String {
    format!("{NAME}-n{node}")
}

/// A node's address.
pub(super) fn node_address(node: usize) -> String {
    format!("172.30.0.{}", 10 + node)
}

/// The addresses of a node's pods.
pub(super) fn pod_network(node: usize) -> String {
    format!("10.244.{node}.0/24")
}

/// The control plane's end of a node's network cable.
pub(super) fn cable(node: usize) -> String {
    format!("p{node}")
}

/// The file that stands for a network namespace.
pub(super) fn namespace_file(namespace: &str) -> PathBuf {
    Path::new("/run/netns").join(namespace)
}
