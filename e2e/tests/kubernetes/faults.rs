//! What happens to a store by accident: nothing acknowledged may be lost by it.

use std::time::{Duration, Instant};

use anyhow::ensure;
use holdfast_api::names::label;
use holdfast_e2e::kubernetes::{NAMESPACE, PATIENCE};
use holdfast_e2e::suite::note;
use holdfast_e2e::{runtime, wait};

use crate::operator;
use crate::shared::Shared;

/// A store that stands still for longer is broken, however busy the machine is. What is aimed at is printed with what was
/// measured: 1 s after a crash, and 1 s more than the heartbeat timeout when a node is cut off.
const STANDSTILL_MAX: Duration = Duration::from_secs(20);

pub(crate) fn leader_crashed(shared: &mut Shared) -> anyhow::Result<()> {
    let (pods, _) = shared.settled()?;
    let load = shared.load(&pods)?;
    let gap = shared.leaderless(&load, |leader| shared.kubernetes.crash(leader))?;
    note(format_args!(
        "leader crashed to next acknowledged write: {gap:.1?} (goal: 1s), with what killing it takes"
    ));
    shared.columns_are_true(3)?;
    shared.verify(load)?;
    ensure!(gap <= STANDSTILL_MAX, "nothing was acknowledged for {gap:?}");
    Ok(())
}

pub(crate) fn leader_deleted(shared: &mut Shared) -> anyhow::Result<()> {
    let (pods, _) = shared.settled()?;
    let load = shared.load(&pods)?;
    let mut deleted = None;
    let gap = shared.leaderless(&load, |leader| {
        deleted = Some(leader.clone());
        shared.kubernetes.kubectl(&[
            "delete",
            "pod",
            leader.name(),
            "--namespace",
            NAMESPACE,
            "--wait=false",
        ])?;
        Ok(())
    })?;
    note(format_args!(
        "leader's pod deleted to next write in a new term: {gap:.1?}, with what the kubelet takes"
    ));
    shared.replaced(deleted.as_slice())?;
    shared.columns_are_true(3)?;
    shared.verify(load)
}

pub(crate) fn operator_away(shared: &mut Shared) -> anyhow::Result<()> {
    let replicas = operator::scale(shared, 0)?;
    let (pods, _) = shared.settled()?;
    let load = shared.load(&pods)?;
    let gap = shared.leaderless(&load, |leader| shared.kubernetes.crash(leader));
    operator::scale(shared, replicas)?;
    note(format_args!("without an operator: leader crashed to next acknowledged write: {:.1?}", gap?));
    shared.verify(load)
}

pub(crate) fn node_cut(shared: &mut Shared) -> anyhow::Result<()> {
    let (pods, _) = shared.settled()?;
    let load = shared.load(&pods)?;
    let mut lost = None;
    let gap = shared.leaderless(&load, |leader| {
        lost = Some(leader.clone());
        shared.kubernetes.cluster().cut(leader.node()?)
    });
    let seen = gap.as_ref().ok().map(|_| shared.columns_are_true(2));
    let Some(lost) = lost else { return gap.map(|_| ()) };
    shared.kubernetes.cluster().restore(lost.node()?)?;
    let gap = gap?;
    note(format_args!("leader's node cut off to next acknowledged write: {gap:.1?} (goal: 2s)"));
    seen.transpose()?;
    let (_, took) = wait::until("the member comes back by itself", 2 * PATIENCE, || {
        let pods = shared.kubernetes.ready_pods(&shared.store, 3)?;
        let back = pods.iter().find(|pod| pod.name() == lost.name());
        let status = runtime().block_on(shared.http.status(&back.unwrap_or(&lost).base()))?;
        ensure!(status.leader.is_some_and(|leader| leader != status.member), "it follows nobody: {status:?}");
        Ok(())
    })?;
    note(format_args!("its member follows again {took:.1?} after the node came back"));
    shared.columns_are_true(3)?;
    shared.verify(load)?;
    ensure!(gap <= STANDSTILL_MAX, "the rest stood still for {gap:?}");
    Ok(())
}

pub(crate) fn all_deleted(shared: &mut Shared) -> anyhow::Result<()> {
    let (pods, _) = shared.settled()?;
    let load = shared.load(&pods)?;
    let selector = format!("--selector={}={}", label::STORE, shared.store);
    let delete = [
        "delete",
        "pods",
        &selector,
        "--namespace",
        NAMESPACE,
        "--wait=false",
        "--grace-period=0",
        "--force",
    ];
    shared.kubernetes.kubectl(&delete)?;
    let begin = Instant::now();
    shared.replaced(&pods)?;
    note(format_args!("all pods were back and ready after {:.1?}", begin.elapsed()));
    // The writers know only the addresses of the pods that are gone.
    shared.verify(load)?;
    shared.columns_are_true(3)
}
