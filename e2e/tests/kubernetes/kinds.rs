//! Stores of other kinds than the usual one.

use anyhow::{Context as _, ensure};
use holdfast_e2e::kubernetes::PATIENCE;
use holdfast_e2e::{runtime, wait};

use crate::shared::{Shared, name_in};

const SAMPLE_CHECKPOINTS: &str = "manifests/store-checkpointing.yaml";
const SAMPLE_APPLICATION: &str = "manifests/store-with-application.yaml";

pub(crate) fn checkpointing(shared: &mut Shared) -> anyhow::Result<()> {
    let store = name_in(SAMPLE_CHECKPOINTS)?;
    shared.kubernetes.apply_file(SAMPLE_CHECKPOINTS)?;
    let ready = || shared.kubernetes.ready_pods(&store, 1);
    let (pods, _) = wait::until("the member is ready", PATIENCE, ready)?;
    shared.put(&pods[0], "before", "value")?;
    let checkpoint = format!("{}/v1/checkpoint", pods[0].admin());
    runtime().block_on(async { shared.http.raw().post(checkpoint).send().await?.error_for_status() })?;
    shared.put(&pods[0], "after", "value")?;
    shared.kubernetes.crash(&pods[0])?;
    let (pods, _) = wait::until("the member is ready again", PATIENCE, || {
        let pods = ready()?;
        ensure!(pods[0].restarts() > 0, "it was not restarted");
        Ok(pods)
    })?;
    let get = |key: &str| runtime().block_on(shared.http.get(&pods[0].base(), key));
    ensure!(get("before")?.is_some(), "what the checkpoint held is gone");
    ensure!(get("after")?.is_none(), "what came after the checkpoint is there, from nowhere");
    shared.delete(&store)?;
    shared.forget_volumes()
}

pub(crate) fn application(shared: &mut Shared) -> anyhow::Result<()> {
    let store = name_in(SAMPLE_APPLICATION)?;
    shared.kubernetes.apply_file(SAMPLE_APPLICATION)?;
    let (pods, _) = wait::until("all pods are ready", PATIENCE, || shared.kubernetes.ready_pods(&store, 3))?;
    for pod in &pods {
        let spec = &pod.0["spec"];
        let main = spec["containers"].as_array().context("there are no containers")?;
        ensure!(main.len() == 1 && main[0]["name"] == "application", "{main:?}");
        let sidecar = &spec["initContainers"][0];
        ensure!(sidecar["restartPolicy"] == "Always", "the member is no native sidecar: {sidecar}");
    }
    shared.put(&pods[0], "key", "value")?;
    shared.delete(&store)?;
    shared.forget_volumes()
}
