//! A store with consensus InSync: three members that survive two faults, because a Lease decides who leads.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use holdfast_api::http::{AuthorityState, Status};
use holdfast_api::names::label;
use holdfast_e2e::http::Outcome;
use holdfast_e2e::kubernetes::{NAMESPACE, PATIENCE, Pod, bases};
use holdfast_e2e::load::Load;
use holdfast_e2e::suite::note;
use holdfast_e2e::{runtime, wait};
use serde_json::Value;

use crate::shared::Shared;

const STORE: &str = "ledger";

const LEASE: &str = "lease/ledger-authority";

const MANIFEST: &str = "
apiVersion: holdfast.dev/v1alpha1
kind: ReplicatedStore
metadata: {name: ledger, namespace: default}
spec: {replicas: 3, consensus: InSync, heartbeat: {interval: 250ms, timeout: 1s}, storage: {size: 1Gi}}
";

/// A store that stands still for longer is broken, however busy the machine is. What is aimed at is the heartbeat timeout and 1 s.
const STANDSTILL_MAX: Duration = Duration::from_secs(20);

/// Members of the store that answer, and the one that leads.
fn led(shared: &Shared) -> anyhow::Result<(Vec<Pod>, Status)> {
    let pods = shared.kubernetes.pods(STORE)?;
    let leader = shared.kubernetes.leader(&shared.http, &pods)?;
    Ok((pods, leader))
}

/// The pods, once all of them are ready: readiness is seen later than it is.
fn ready(shared: &Shared) -> anyhow::Result<Vec<Pod>> {
    let look = || shared.kubernetes.ready_pods(STORE, 3);
    Ok(wait::until("all pods are ready", 3 * PATIENCE, look)?.0)
}

fn in_sync(shared: &Shared, members: &[u8]) -> anyhow::Result<Status> {
    let look = || {
        let (_, leader) = led(shared)?;
        let known = leader.in_sync.clone().context("it says nothing of who is in sync")?;
        ensure!(known.members == members, "{:?} are in sync", known.members);
        ensure!(known.authority.state == AuthorityState::Reachable, "{:?}", known.authority);
        Ok(leader)
    };
    Ok(wait::until("members are in sync", 2 * PATIENCE, look)?.0)
}

fn condition(shared: &Shared, type_: &str) -> anyhow::Result<(String, String)> {
    let store = shared.kubernetes.get(&format!("hfs/{STORE}"))?;
    let conditions = store["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let found = conditions.into_iter().find(|condition| condition["type"] == type_);
    let found = found.with_context(|| format!("there is no condition {type_}"))?;
    let word = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    Ok((word("status"), word("reason")))
}

fn wait_for_condition(shared: &Shared, type_: &str, status: &str) -> anyhow::Result<()> {
    wait::until("the condition is as it should be", 2 * PATIENCE, || {
        let is = condition(shared, type_)?;
        ensure!(is.0 == status, "{type_} is {is:?}");
        Ok(())
    })?;
    Ok(())
}

fn acknowledged_after(load: &Load, term: u64) -> anyhow::Result<Instant> {
    let look = || load.acknowledged_after(term).context("nothing was acknowledged in a later term");
    Ok(wait::until("a write is acknowledged by a new primary", PATIENCE, look)?.0)
}

/// Let no pod of the store run on any node, or let them again: what is killed then stays down.
pub(crate) fn keep_down(shared: &Shared, nodes: &[usize], down: bool) -> anyhow::Result<()> {
    for node in nodes {
        let verb = if down { "cordon" } else { "uncordon" };
        shared.kubernetes.kubectl(&[verb, &format!("n{node}")])?;
    }
    Ok(())
}

/// Delete a pod at once, whatever its node says.
pub(crate) fn delete_now(shared: &Shared, pod: &Pod) -> anyhow::Result<()> {
    let delete = [
        "delete",
        "pod",
        pod.name(),
        "--namespace",
        NAMESPACE,
        "--wait=false",
        "--grace-period=0",
        "--force",
    ];
    shared.kubernetes.kubectl(&delete)?;
    Ok(())
}

/// Two primaries are killed one after the other, the third goes on alone; with it the store stands still; when all are
/// back, everything that was acknowledged is there.
pub(crate) fn two_faults(shared: &mut Shared) -> anyhow::Result<()> {
    shared.kubernetes.apply(MANIFEST)?;
    let (pods, _) =
        wait::until("all pods are ready", 3 * PATIENCE, || shared.kubernetes.ready_pods(STORE, 3))?;
    let first = in_sync(shared, &[0, 1, 2])?;
    let lease = shared.kubernetes.get(LEASE)?;
    let holder = format!("{STORE}-{}", first.member);
    ensure!(lease["spec"]["holderIdentity"] == holder.as_str(), "the Lease is {lease}");
    wait_for_condition(shared, "LastCopy", "False")?;
    wait_for_condition(shared, "AuthorityLost", "False")?;
    let load = Load::start(&bases(&pods), "in-sync/", 8);
    let flowing = |more: u64| {
        let wanted = load.acknowledged() + more;
        wait::until("writes are acknowledged", PATIENCE, || {
            ensure!(load.acknowledged() >= wanted, "only {}", load.acknowledged());
            Ok(())
        })
    };
    flowing(100)?;
    let nodes: Vec<usize> = pods.iter().map(Pod::node).collect::<anyhow::Result<_>>()?;
    keep_down(shared, &nodes, true)?;
    let mut gaps = Vec::new();
    for _ in 0..2 {
        let ((pods, leader), _) = wait::until("somebody leads", PATIENCE, || led(shared))?;
        let killed = pods.iter().find(|pod| pod.name() == format!("{STORE}-{}", leader.member));
        let term = leader.term.max(load.term());
        let begin = Instant::now();
        delete_now(shared, killed.context("the primary has no pod")?)?;
        gaps.push(acknowledged_after(&load, term)?.duration_since(begin));
        flowing(50)?;
    }
    note(format_args!("the primary's pod deleted to the next acknowledged write: {gaps:.1?} (goal: 2s)"));
    ensure!(gaps.iter().all(|gap| *gap <= STANDSTILL_MAX), "the store stood still: {gaps:?}");
    let ((_, last), _) = wait::until("the last one leads", PATIENCE, || led(shared))?;
    wait_for_condition(shared, "LastCopy", "True")?;
    let pods = shared.kubernetes.pods(STORE)?;
    let alone = pods.iter().find(|pod| pod.name() == format!("{STORE}-{}", last.member));
    let alone = alone.context("the last one has no pod")?.clone();
    delete_now(shared, &alone)?;
    wait::until("nobody leads", PATIENCE, || {
        ensure!(led(shared).is_err(), "somebody leads");
        Ok(())
    })?;
    let history = load.stop()?;
    keep_down(shared, &nodes, false)?;
    let (pods, took) =
        wait::until("all pods are ready again", 3 * PATIENCE, || shared.kubernetes.ready_pods(STORE, 3))?;
    in_sync(shared, &[0, 1, 2])?;
    note(format_args!("all in sync again, pods ready after {took:.1?}; {:?}", history.counts()));
    for pod in &pods {
        let list = || runtime().block_on(shared.http.list(&pod.base(), "in-sync/"));
        let (stored, _) = wait::until("a member answers", PATIENCE, list)?;
        history.check(&stored).with_context(|| format!("as {} tells it", pod.name()))?;
    }
    Ok(())
}

/// Nodes are drained, the primary's first: the next one waits until who had to go is in sync again, and nothing is lost.
pub(crate) fn drained(shared: &mut Shared) -> anyhow::Result<()> {
    let leader = in_sync(shared, &[0, 1, 2])?;
    let pods = ready(shared)?;
    let load = Load::start(&bases(&pods), "drained/", 8);
    let first = pods[usize::from(leader.member)].node()?;
    let second = pods[usize::from((leader.member + 1) % 3)].node()?;
    drain(shared, first)?;
    // It cannot come back before its node may be used: its volume is there.
    let refused = drain(shared, second).err().context("two members were evicted at once")?;
    let why = format!("{refused:#}");
    ensure!(why.contains("disruption budget"), "{why}");
    keep_down(shared, &[first], false)?;
    ready(shared)?;
    in_sync(shared, &[0, 1, 2])?;
    let ((), took) = wait::until("the second node is drained", PATIENCE, || drain(shared, second))?;
    note(format_args!("drained after the one before had come back, in {took:.1?}"));
    keep_down(shared, &[second], false)?;
    let history = load.stop()?;
    note(format_args!("{:?}", history.counts()));
    for pod in ready(shared)? {
        let list = || runtime().block_on(shared.http.list(&pod.base(), "drained/"));
        let (stored, _) = wait::until("a member answers", PATIENCE, list)?;
        history.check(&stored).with_context(|| format!("as {} tells it", pod.name()))?;
    }
    Ok(())
}

/// Evict the store's pods from a node, as `kubectl drain` does; with the node cordoned, whatever comes of it.
fn drain(shared: &Shared, node: usize) -> anyhow::Result<()> {
    let selector = format!("--pod-selector={}={STORE}", label::STORE);
    let node = format!("n{node}");
    let drain = ["drain", &node, &selector, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=20s"];
    shared.kubernetes.kubectl(&drain).map(drop)
}

/// The primary's node is cut off from everything, the API server included: it acknowledges nothing, and the others go on.
pub(crate) fn primary_cut_off(shared: &mut Shared) -> anyhow::Result<()> {
    let leader = in_sync(shared, &[0, 1, 2])?;
    let pods = ready(shared)?;
    let lost = pods[usize::from(leader.member)].clone();
    let others: Vec<Pod> = pods.iter().filter(|pod| pod.name() != lost.name()).cloned().collect();
    let load = Load::start(&bases(&others), "cut-off/", 8);
    let term = leader.term;
    let node = lost.node()?;
    let begin = Instant::now();
    shared.kubernetes.cluster().cut(node)?;
    let cut = (|| {
        let gap = acknowledged_after(&load, term)?.duration_since(begin);
        // Who is on the node that was cut off still reaches its member, and is told that nothing is sure.
        let alone = shared.kubernetes.on_node(node, || {
            Ok(runtime().block_on(shared.http.put(&lost.base(), "cut-off-alone", "value")))
        })?;
        Ok((gap, alone))
    })();
    shared.kubernetes.cluster().restore(node)?;
    let (gap, alone): (Duration, Outcome) = cut.map_err(|error: anyhow::Error| error)?;
    note(format_args!("the primary's node cut off to the next acknowledged write: {gap:.1?} (goal: 2s)"));
    ensure!(
        !matches!(alone, Outcome::Acknowledged { .. }),
        "a primary that is cut off acknowledged: {alone:?}"
    );
    ensure!(gap <= STANDSTILL_MAX, "the rest stood still for {gap:?}");
    in_sync(shared, &[0, 1, 2])?;
    let history = load.stop()?;
    let pods = ready(shared)?;
    for pod in &pods {
        let list = || runtime().block_on(shared.http.list(&pod.base(), "cut-off/"));
        let (stored, _) = wait::until("a member answers", PATIENCE, list)?;
        history.check(&stored).with_context(|| format!("as {} tells it", pod.name()))?;
    }
    Ok(())
}

/// The Lease is deleted: that is said everywhere, nobody makes it again, and a person's order starts the store from the member
/// that it names, once.
pub(crate) fn authority_deleted(shared: &mut Shared) -> anyhow::Result<()> {
    let leader = in_sync(shared, &[0, 1, 2])?;
    let former = shared.kubernetes.get(LEASE)?["metadata"]["uid"].clone();
    shared.kubernetes.kubectl(&["delete", LEASE, "--namespace", NAMESPACE])?;
    wait_for_condition(shared, "AuthorityLost", "True")?;
    let pods = ready(shared)?;
    let (state, _) = wait::until("the members say so", PATIENCE, || {
        let status = runtime().block_on(shared.http.status(&pods[usize::from(leader.member)].base()))?;
        let authority = status.in_sync.context("it says nothing of its authority")?.authority;
        ensure!(authority.state == AuthorityState::Lost, "{authority:?}");
        Ok(authority)
    })?;
    ensure!(state.note.as_deref().unwrap_or_default().contains("was deleted"), "{state:?}");
    ensure!(shared.kubernetes.get(LEASE).is_err(), "the Lease was made again");
    // Everybody is there, so the store goes on; only a change of who leads is not possible.
    shared.put(&pods[0], "without-authority", "value")?;
    for pod in &pods {
        delete_now(shared, pod)?;
    }
    wait::until("nobody leads", PATIENCE, || {
        ensure!(led(shared).is_err(), "somebody leads");
        Ok(())
    })?;
    wait::until("the members are back", 3 * PATIENCE, || {
        let pods = shared.kubernetes.pods(STORE)?;
        ensure!(pods.len() == 3, "there are {}", pods.len());
        for pod in &pods {
            runtime().block_on(shared.http.status(&pod.base()))?;
        }
        ensure!(led(shared).is_err(), "somebody leads without an authority");
        Ok(())
    })?;
    let epoch =
        shared.kubernetes.get(&format!("hfs/{STORE}"))?["status"]["term"].as_u64().context("no term")?;
    let order = format!("holdfast.dev/force-start={}@{epoch}", leader.member);
    let annotate = ["annotate", "hfs", STORE, &order, "--namespace", NAMESPACE];
    shared.kubernetes.kubectl(&annotate)?;
    let now = in_sync(shared, &[0, 1, 2])?;
    ensure!(now.term > epoch, "{} is not after {epoch}", now.term);
    wait_for_condition(shared, "AuthorityLost", "False")?;
    let lease = shared.kubernetes.get(LEASE)?;
    let text = lease["metadata"]["annotations"]["holdfast.dev/authority"].as_str().unwrap_or_default();
    let document: Value = serde_json::from_str(text).with_context(|| format!("the Lease is {lease}"))?;
    ensure!(
        document["forced"]["epoch"] == epoch && document["forced"]["replaces"] == former,
        "the order is not written down: {document}"
    );
    let pods = ready(shared)?;
    let kept = runtime().block_on(shared.http.get(&pods[0].base(), "without-authority"))?;
    ensure!(kept.is_some(), "what was acknowledged is gone");
    shared.delete(STORE)?;
    let claims = format!("--selector={}={STORE}", label::STORE);
    let delete = ["delete", "persistentvolumeclaims", &claims, "--namespace", NAMESPACE, "--timeout=60s"];
    shared.kubernetes.kubectl(&delete)?;
    Ok(())
}
