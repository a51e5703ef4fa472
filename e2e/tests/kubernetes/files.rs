//! Files, through the Service that applications use; and a member that comes back with nothing.

use std::time::Instant;

use anyhow::{Context as _, ensure};
use holdfast_api::names::{DATA_VOLUME, members_service};
use holdfast_e2e::files::{self, Download, content, length};
use holdfast_e2e::http::Http;
use holdfast_e2e::kubernetes::{NAMESPACE, PATIENCE, Pod};
use holdfast_e2e::suite::note;
use holdfast_e2e::{runtime, wait};

use crate::shared::Shared;

/// Files that are uploaded: three of some MiB, three of nothing.
const FILES: usize = 30;

pub(crate) fn volume_emptied(shared: &mut Shared) -> anyhow::Result<()> {
    let (pods, leader) = shared.settled()?;
    let service = shared.kubernetes.service_base(&members_service(&shared.store))?;
    shared.kubernetes.on_node(0, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(upload_and_read(&service))
    })?;

    let lost = &pods[(usize::from(leader.member) + 1) % pods.len()];
    let claim = format!("persistentvolumeclaim/{DATA_VOLUME}-{}", lost.name());
    let uid = |claim: &str| anyhow::Ok(shared.kubernetes.get(claim)?["metadata"]["uid"].clone());
    let before = uid(&claim)?;
    let pod = format!("pod/{}", lost.name());
    // The volume goes when its pod has gone: the member has no time to say farewell with what it has.
    let delete = ["delete", &claim, &pod, "--namespace", NAMESPACE, "--wait=false", "--grace-period=0"];
    shared.kubernetes.kubectl(&delete)?;
    let begin = Instant::now();
    shared.replaced(std::slice::from_ref(lost))?;
    ensure!(uid(&claim)? != before, "it has the volume that it had");
    let (pods, _) = wait::until("every member has every file on its own disk", 2 * PATIENCE, || {
        let (pods, _) = shared.settled()?;
        pods.iter().try_for_each(|pod| runtime().block_on(has_all(&shared.http, pod)))?;
        Ok(pods)
    })?;
    note(format_args!(
        "{FILES} files were back on a member with a new volume {:.1?} after its pod was deleted",
        begin.elapsed()
    ));
    for pod in &pods {
        let listed = runtime().block_on(files::list(&shared.http, &pod.base()))?;
        let missing: Vec<_> = listed.iter().filter(|file| file.replicas.len() != 3).collect();
        ensure!(listed.len() == FILES && missing.is_empty(), "{} lists {missing:?}", pod.name());
    }
    Ok(())
}

async fn upload_and_read(service: &str) -> anyhow::Result<()> {
    let http = Http::default();
    for seed in 0..FILES {
        let reply = files::must_put(&http, service, &name(seed), content(seed, length(seed))).await?;
        let replication = reply.replication.context("there are no counts")?;
        ensure!((replication.successful, replication.failed) == (2, 0), "{replication:?}");
    }
    for seed in 0..FILES {
        let read = files::get(&http, service, &name(seed)).await;
        ensure!(read == Download::Whole(content(seed, length(seed))), "{} is another", name(seed));
    }
    Ok(())
}

/// Whether a member gives every file from its own disk.
async fn has_all(http: &Http, pod: &Pod) -> anyhow::Result<()> {
    for seed in 0..FILES {
        let response = http.raw().get(format!("{}/files/{}", pod.base(), name(seed))).send().await?;
        ensure!(response.status() == 200, "{} of {}: {}", pod.name(), name(seed), response.status());
        // It is there when the bytes come from another member.
        let elsewhere = response.headers().get("x-routed-from").cloned();
        ensure!(elsewhere.is_none(), "{} has not {}: it came from {elsewhere:?}", pod.name(), name(seed));
        ensure!(
            response.bytes().await? == content(seed, length(seed)),
            "{} is another at {}",
            name(seed),
            pod.name()
        );
    }
    Ok(())
}

fn name(seed: usize) -> String {
    format!("file{seed}")
}
