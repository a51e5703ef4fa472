//! The cluster's network: one namespace with a switch for the control plane, one per node on a cable to it. Pods of
//! different nodes reach each other by routes; there is no address translation and no way out.

use anyhow::Context as _;

use super::layout::{
    API_ADDRESS, NAME, NODES, cable, namespace_file, node_address, node_namespace, pod_network,
};
use crate::command;

/// Make the namespaces, cables, addresses and routes.
pub(super) fn create() -> anyhow::Result<()> {
    make_namespace(NAME)?;
    ip(NAME, "link add br0 type bridge")?;
    ip(NAME, &format!("addr add {API_ADDRESS}/24 dev br0"))?;
    ip(NAME, "link set br0 up")?;
    // Without a default route a process is refused before it can ask for a service's address.
    ip(NAME, "route add default dev br0")?;
    for node in 0..NODES {
        connect(node).with_context(|| format!("cannot connect node {node}"))?;
    }
    Ok(())
}

/// Pull a node's cable. What is on its way is lost, and nobody is told.
pub(super) fn cut(node: usize) -> anyhow::Result<()> {
    ip(NAME, &format!("link set {} down", cable(node)))
}

/// Put it back in.
pub(super) fn restore(node: usize) -> anyhow::Result<()> {
    ip(NAME, &format!("link set {} up", cable(node)))
}

/// Remove the namespaces that are there, and with them everything in them.
pub(super) fn remove() -> anyhow::Result<()> {
    let namespaces = (0..NODES).map(node_namespace).chain([NAME.to_owned()]);
    for namespace in namespaces.filter(|namespace| namespace_file(namespace).exists()) {
        command::capture(&mut command::words(["ip", "netns", "delete", &namespace]))?;
    }
    Ok(())
}

fn connect(node: usize) -> anyhow::Result<()> {
    let (namespace, address, cable) = (node_namespace(node), node_address(node), cable(node));
    make_namespace(&namespace)?;
    ip(NAME, &format!("link add {cable} type veth peer name eth0 netns {namespace}"))?;
    ip(NAME, &format!("link set {cable} master br0 up"))?;
    ip(NAME, &format!("route add {} via {address}", pod_network(node)))?;
    ip(&namespace, &format!("addr add {address}/24 dev eth0"))?;
    ip(&namespace, "link set eth0 up")?;
    ip(&namespace, &format!("route add default via {API_ADDRESS}"))?;
    for other in (0..NODES).filter(|other| *other != node) {
        ip(&namespace, &format!("route add {} via {}", pod_network(other), node_address(other)))?;
    }
    Ok(())
}

fn make_namespace(namespace: &str) -> anyhow::Result<()> {
    command::capture(&mut command::words(["ip", "netns", "add", namespace]))?;
    ip(namespace, "link set lo up")?;
    let forward = "echo 1 >/proc/sys/net/ipv4/ip_forward";
    let mut enter =
        command::words(["nsenter", &format!("--net=/run/netns/{namespace}"), "sh", "-c", forward]);
    command::capture(&mut enter)?;
    Ok(())
}

fn ip(namespace: &str, arguments: &str) -> anyhow::Result<()> {
    let mut ip = command::words(["ip", "-netns", namespace]);
    command::capture(ip.args(arguments.split(' ')))?;
    Ok(())
}
