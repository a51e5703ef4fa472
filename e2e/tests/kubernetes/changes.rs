//! What a user does to a store on purpose.

use std::time::Instant;

use anyhow::ensure;
use holdfast_api::names::{DATA_VOLUME, SETTINGS_FILE, settings_config_map};
use holdfast_e2e::kubernetes::{NAMESPACE, PATIENCE, Pod};
use holdfast_e2e::suite::note;
use holdfast_e2e::wait;

use crate::shared::{SAMPLE, Shared};

/// All kinds of objects that an operator may make for a store, and those that follow from them.
const KINDS: &str = "statefulsets,pods,services,endpointslices,configmaps,secrets,poddisruptionbudgets,serviceaccounts,\
                     roles,rolebindings,leases,controllerrevisions,networkpolicies,jobs";

pub(crate) fn setting_changed(shared: &mut Shared) -> anyhow::Result<()> {
    let (pods, _) = shared.settled()?;
    let lives =
        |pods: &[Pod]| pods.iter().map(|pod| (pod.uid().to_owned(), pod.restarts())).collect::<Vec<_>>();
    for (interval, timeout) in [("150ms", "1500ms"), ("100ms", "1s")] {
        shared.patch(&format!(
            r#"{{"spec":{{"heartbeat":{{"interval":"{interval}","timeout":"{timeout}"}}}}}}"#
        ))?;
        wait::until("the operator has written the settings", PATIENCE, || {
            let store = shared.kubernetes.get(&format!("hfs/{}", shared.store))?;
            let (status, generation) = (&store["status"], &store["metadata"]["generation"]);
            ensure!(status["observedGeneration"] == *generation, "{status}");
            let settings =
                shared.kubernetes.get(&format!("configmap/{}", settings_config_map(&shared.store)))?;
            let text = settings["data"][SETTINGS_FILE].as_str().unwrap_or_default();
            ensure!(text.contains(interval), "{text}");
            Ok(())
        })?;
    }
    let (after, _) = shared.settled()?;
    ensure!(lives(&after) == lives(&pods), "{:?} became {:?}", lives(&pods), lives(&after));
    Ok(())
}

pub(crate) fn template_changed(shared: &mut Shared) -> anyhow::Result<()> {
    let (pods, _) = shared.settled()?;
    let load = shared.load(&pods)?;
    let begin = Instant::now();
    shared.patch(r#"{"spec":{"resources":{"requests":{"cpu":"11m"}}}}"#)?;
    let mut fewest = pods.len();
    wait::until("every member is restarted", 3 * PATIENCE, || {
        let now = shared.kubernetes.pods(&shared.store)?;
        let ready = now.iter().filter(|pod| pod.is_ready()).count();
        fewest = fewest.min(ready);
        let old = now.iter().filter(|now| pods.iter().any(|old| old.uid() == now.uid())).count();
        ensure!(ready == pods.len() && old == 0, "{ready} are ready and {old} are not restarted yet");
        Ok(())
    })?;
    note(format_args!("every member was restarted within {:.1?}", begin.elapsed()));
    shared.columns_are_true(3)?;
    shared.verify(load)?;
    ensure!(fewest + 1 >= pods.len(), "only {fewest} members were ready at one time");
    Ok(())
}

pub(crate) fn scaled(shared: &mut Shared) -> anyhow::Result<()> {
    let (pods, _) = shared.settled()?;
    let load = shared.load(&pods)?;
    for replicas in [5, 3] {
        let begin = Instant::now();
        let to = format!("--replicas={replicas}");
        let store = format!("hfs/{}", shared.store);
        shared.kubernetes.kubectl(&["scale", &store, "--namespace", NAMESPACE, &to])?;
        let wanted: Vec<u8> = (0..replicas).collect();
        // A kubelet may take a minute to bring changed settings to a member that runs.
        wait::until("the members are as many as they should be", 4 * PATIENCE, || {
            let pods = shared.kubernetes.ready_pods(&shared.store, replicas.into())?;
            let leader = shared.kubernetes.leader(&shared.http, &pods)?;
            ensure!(leader.voters == wanted, "{:?} vote", leader.voters);
            ensure!(shared.condition("Progressing")?["status"] == "False", "the operator is not done");
            ensure!(shared.condition("Ready")?["status"] == "True", "it is not ready");
            Ok(())
        })?;
        note(format_args!("kubectl scale to {replicas} members: {:.1?}", begin.elapsed()));
    }
    wait::until("the volumes of removed members go", PATIENCE, || {
        let claims = shared.kubernetes.objects_of("persistentvolumeclaims", &shared.store)?;
        ensure!(claims.len() == 3, "{} volumes are left", claims.len());
        Ok(())
    })?;
    shared.columns_are_true(3)?;
    shared.verify(load)
}

pub(crate) fn deleted(shared: &mut Shared) -> anyhow::Result<()> {
    shared.settled()?;
    shared.delete(&shared.store)?;
    everything_is_gone(shared)?;
    for member in 0..3 {
        let claim = format!("persistentvolumeclaim/{DATA_VOLUME}-{}-{member}", shared.store);
        let claim = shared.kubernetes.get(&claim)?;
        ensure!(claim["status"]["phase"] == "Bound", "{claim}");
    }
    // Whoever makes the store again finds its data.
    shared.kubernetes.apply_file(SAMPLE)?;
    shared.verify_all()?;
    shared.delete(&shared.store)?;
    everything_is_gone(shared)?;
    shared.forget_volumes()
}

fn everything_is_gone(shared: &Shared) -> anyhow::Result<()> {
    wait::until("everything that belonged to the store goes", PATIENCE, || {
        let left = shared.kubernetes.objects_of(KINDS, &shared.store)?;
        let left: Vec<_> = left.iter().map(|one| (&one["kind"], &one["metadata"]["name"])).collect();
        ensure!(left.is_empty(), "{left:?} are left");
        let all = shared.kubernetes.kubectl(&["get", KINDS, "--namespace", NAMESPACE, "--output=name"])?;
        let left: Vec<&str> = all.lines().filter(|name| name.contains(&shared.store)).collect();
        ensure!(left.is_empty(), "{left:?} are left");
        Ok(())
    })?;
    Ok(())
}
