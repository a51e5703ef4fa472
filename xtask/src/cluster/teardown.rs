//! Taking a cluster away, whatever state it is in: also one whose starter was killed half-way. Only what belongs to the
//! cluster is touched: processes it noted or that run in its cgroups, mounts under its folder, its namespaces.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::layout::{Layout, NODES};
use super::{daemon, network, node};
use crate::command;

/// How long killed containers may take to be gone; the kernel needs milliseconds.
const CONTAINERS_END_WAIT_MAX: Duration = Duration::from_secs(10);

/// Stop everything and remove every trace.
pub(super) fn everything(layout: &Layout) -> anyhow::Result<()> {
    // Kubelets first: they would start again what is stopped under them.
    let kubelets: Vec<String> = (0..NODES).map(|node| node::daemon_name(node, "kubelet")).collect();
    daemon::stop(layout, &kubelets)?;
    for node in 0..NODES {
        kill_containers(layout, node)?;
    }
    daemon::stop(layout, &daemon::names(layout))?;
    unmount(&layout.folder)?;
    for node in 0..NODES {
        node::remove_cgroups(node);
        forget_network(layout, node);
    }
    network::remove()?;
    remove_log_links(&layout.folder);
    if layout.folder.exists() {
        fs::remove_dir_all(&layout.folder)
            .with_context(|| format!("cannot remove {}", layout.folder.display()))?;
    }
    Ok(())
}

/// Kill all containers of a node, and the processes that watch over them.
pub(super) fn kill_containers(layout: &Layout, node: usize) -> anyhow::Result<()> {
    let begin = Instant::now();
    loop {
        let mut ids = node::shims(layout, node);
        ids.extend(node::container_processes(node));
        if ids.is_empty() {
            return Ok(());
        }
        if begin.elapsed() > CONTAINERS_END_WAIT_MAX {
            bail!("processes {ids:?} of node {node} do not end when they are killed");
        }
        ids.into_iter().for_each(daemon::kill_id);
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Unmount what is mounted below a folder, the innermost first.
fn unmount(folder: &Path) -> anyhow::Result<()> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("cannot read the list of mounts")?;
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    let mut points: Vec<&str> = points.filter(|point| Path::new(point).starts_with(folder)).collect();
    points.sort_unstable();
    for point in points.into_iter().rev() {
        // Something mounted twice at one place is listed twice; the first unmount may have taken both.
        let _ = command::capture(&mut command::words(["umount", "--lazy", point]));
    }
    Ok(())
}

/// Remove what the network plugins' library remembers of a node's pods outside the cluster's folder.
fn forget_network(layout: &Layout, node: usize) {
    let pods = layout.of_node(node, "containerd/root/io.containerd.grpc.v1.cri/sandboxes");
    let pods: Vec<_> = names(&pods).collect();
    let results = Path::new("/var/lib/cni/results");
    for name in names(results).filter(|name| pods.iter().any(|pod| name.contains(pod))) {
        let _ = fs::remove_file(results.join(name));
    }
}

fn names(folder: &Path) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}

/// Kubelets keep links to their containers' logs in a folder that cannot be chosen.
fn remove_log_links(folder: &Path) {
    for entry in fs::read_dir("/var/log/containers").into_iter().flatten().flatten() {
        if fs::read_link(entry.path()).is_ok_and(|target| target.starts_with(folder)) {
            let _ = fs::remove_file(entry.path());
        }
    }
}
