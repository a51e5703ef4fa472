//! One node: container runtime, kubelet and kube-proxy, with a folder, a cgroup and a network namespace of their own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use super::daemon;
use super::layout::{API_ADDRESS, Layout, node_address, node_name, node_namespace, pod_network};
use crate::image::PAUSE_IMAGE;

/// The programs of a node, in the order in which they start.
const PROGRAMS: [&str; 3] = ["containerd", "kubelet", "proxy"];

/// The names under which a node's programs run.
pub(super) fn daemons(node: usize) -> Vec<String> {
    PROGRAMS.iter().map(|program| daemon_name(node, program)).collect()
}

/// The name under which one of a node's programs runs.
pub(super) fn daemon_name(node: usize, program: &str) -> String {
    format!("{}-{program}", node_name(node))
}

/// Write a node's files and make its cgroup.
pub(super) fn prepare(layout: &Layout, node: usize) -> anyhow::Result<()> {
    for folder in ["cni", "kubelet", "pods"] {
        fs::create_dir_all(layout.of_node(node, folder))?;
    }
    fs::write(layout.of_node(node, "cni/10-bridge.conflist"), network_settings(layout, node))?;
    fs::write(layout.of_node(node, "containerd.toml"), containerd_settings(layout, node))?;
    fs::write(layout.of_node(node, "kubelet.yaml"), kubelet_settings(layout, node))?;
    make_cgroups(node)
}

/// Start the container runtime; it needs a moment until it answers.
pub(super) fn start_runtime(layout: &Layout, node: usize) -> anyhow::Result<()> {
    // One that was killed leaves its socket behind, and it must not be taken for the new one's.
    let _ = fs::remove_file(layout.container_socket(node));
    let mut containerd = Command::new("containerd");
    containerd.arg("--config").arg(layout.of_node(node, "containerd.toml"));
    daemon::start(layout, &node_namespace(node), &daemon_name(node, "containerd"), &containerd)
}

/// Start what needs the container runtime.
pub(super) fn start_rest(layout: &Layout, node: usize) -> anyhow::Result<()> {
    let (namespace, name) = (node_namespace(node), node_name(node));
    let mut kubelet = Command::new(layout.tool("kubelet"));
    kubelet.args([
        format!("--config={}", layout.of_node(node, "kubelet.yaml").display()),
        format!("--kubeconfig={}", layout.kubeconfig(&name).display()),
        format!("--root-dir={}", layout.of_node(node, "kubelet").display()),
        format!("--cert-dir={}", layout.of_node(node, "kubelet/certificates").display()),
        format!("--hostname-override={name}"),
        format!("--node-ip={}", node_address(node)),
        format!("--node-labels=topology.kubernetes.io/zone=z{node}"),
    ]);
    daemon::start(layout, &namespace, &daemon_name(node, "kubelet"), &kubelet)?;

    let mut proxy = Command::new(layout.tool("kube-proxy"));
    proxy.arg(format!("--kubeconfig={}", layout.kubeconfig("proxy").display()));
    proxy.arg(format!("--hostname-override={name}"));
    proxy.arg("--cluster-cidr=10.244.0.0/16");
    // The connection table's limits belong to the whole machine; leave them alone.
    proxy.args(["--conntrack-max-per-core=0", "--conntrack-tcp-timeout-established=0s"]);
    proxy.arg("--conntrack-tcp-timeout-close-wait=0s");
    daemon::start(layout, &namespace, &daemon_name(node, "proxy"), &proxy)
}

/// The process ids of everything that runs in a node's containers.
pub(super) fn container_processes(node: usize) -> Vec<i32> {
    let mut ids = Vec::new();
    for root in cgroups(node) {
        collect_processes(&root, &mut ids);
    }
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// The processes between a node's container runtime and its containers. They know the runtime by its socket, whose
/// path nobody else has.
pub(super) fn shims(layout: &Layout, node: usize) -> Vec<i32> {
    let socket = layout.container_socket(node);
    let socket = socket.to_str().expect("a path that this program made").as_bytes();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = processes.filter_map(|process| process.file_name().to_str()?.parse::<i32>().ok());
    ids.filter(|id| {
        let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        let mut words = line.split(|byte| *byte == 0);
        let is_shim = words.next().is_some_and(|program| program.ends_with(b"containerd-shim-runc-v2"));
        is_shim && words.any(|word| word == socket)
    })
    .collect()
}

/// Remove a node's cgroups; nothing may run in them any more.
pub(super) fn remove_cgroups(node: usize) {
    for root in cgroups(node) {
        remove_folders(&root);
    }
}

/// The folders of a node's cgroup: one for each controller, or the only one.
fn cgroups(node: usize) -> Vec<PathBuf> {
    hierarchies()
        .into_iter()
        .map(|root| root.join(node_namespace(node)))
        .filter(|path| path.is_dir())
        .collect()
}

fn hierarchies() -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    if root.join("cgroup.controllers").exists() {
        return vec![root.to_owned()];
    }
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.join("cgroup.procs").exists()).collect()
}

/// A kubelet does not make the cgroup that it is told to use.
fn make_cgroups(node: usize) -> anyhow::Result<()> {
    for root in hierarchies() {
        let own = root.join(node_namespace(node));
        fs::create_dir_all(&own).with_context(|| format!("cannot make the cgroup {}", own.display()))?;
        // The first version's cpuset starts empty, and then nothing may run in it.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if let (Ok(all), true) = (fs::read(root.join(file)), own.join(file).exists()) {
                fs::write(own.join(file), all)
                    .with_context(|| format!("cannot set {file} of {}", own.display()))?;
            }
        }
        // The second version hands controllers down only when it is told to.
        if let Ok(controllers) = fs::read_to_string(root.join("cgroup.controllers")) {
            for controller in controllers.split_whitespace() {
                let _ = fs::write(root.join("cgroup.subtree_control"), format!("+{controller}"));
            }
        }
    }
    Ok(())
}

fn collect_processes(folder: &Path, ids: &mut Vec<i32>) {
    let here = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    ids.extend(here.lines().filter_map(|line| line.parse::<i32>().ok()));
    for child in subfolders(folder) {
        collect_processes(&child, ids);
    }
}

fn remove_folders(folder: &Path) {
    for child in subfolders(folder) {
        remove_folders(&child);
    }
    // A process that is just ending keeps its cgroup for a moment; the next cluster takes it over then.
    let _ = fs::remove_dir(folder);
}

fn subfolders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

fn network_settings(layout: &Layout, node: usize) -> String {
    let (name, network) = (node_namespace(node), pod_network(node));
    let addresses = layout.of_node(node, "addresses");
    serde_json::json!({
        "cniVersion": "0.4.0",
        "name": name,
        "plugins": [{
            "type": "bridge",
            "bridge": "cni0",
            "isGateway": true,
            "ipMasq": false,
            "hairpinMode": true,
            "ipam": {
                "type": "host-local",
                "dataDir": addresses,
                "ranges": [[{"subnet": network}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }],
    })
    .to_string()
}

fn containerd_settings(layout: &Layout, node: usize) -> String {
    let folder = layout.of_node(node, "");
    let folder = folder.display();
    format!(
        "version = 2
root = \"{folder}containerd/root\"
state = \"{folder}containerd/state\"
[grpc]
address = \"{folder}containerd.sock\"
[plugins.\"io.containerd.grpc.v1.cri\"]
sandbox_image = \"{PAUSE_IMAGE}\"
# Without CAP_SYS_RESOURCE every pod would fail otherwise.
restrict_oom_score_adj = true
# So that they lie where only this cluster's are.
netns_mounts_under_state_dir = true
[plugins.\"io.containerd.grpc.v1.cri\".cni]
bin_dir = \"/usr/lib/cni\"
conf_dir = \"{folder}cni\"
"
    )
}

fn kubelet_settings(layout: &Layout, node: usize) -> String {
    let (folder, cluster) = (layout.of_node(node, ""), layout.path(""));
    let (folder, cluster, cgroup) = (folder.display(), cluster.display(), node_namespace(node));
    format!(
        "apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix://{folder}containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: /{cgroup}
failCgroupV1: false
failSwapOn: false
# Whoever reaches a node is root on this machine already.
authentication: {{anonymous: {{enabled: true}}, webhook: {{enabled: false}}}}
authorization: {{mode: AlwaysAllow}}
clusterDNS: [{API_ADDRESS}]
clusterDomain: cluster.local
resolvConf: {cluster}resolv.conf
podLogsDir: {folder}pods
localStorageCapacityIsolation: false
evictionHard: {{memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%}}
nodeStatusUpdateFrequency: 3s
syncFrequency: 5s
"
    )
}
