//! The dashboard of a pod, as a browser asks for it.

use anyhow::{Context as _, ensure};
use holdfast_api::http::Live;
use holdfast_e2e::http::Http;
use holdfast_e2e::kubernetes::{PATIENCE, Pod};
use holdfast_e2e::{runtime, wait};

use crate::shared::Shared;

/// Any pod alone shows all members, and where each of them is asked inside the cluster.
pub(crate) fn shows_all(shared: &mut Shared) -> anyhow::Result<()> {
    let (pods, leader) = shared.settled()?;
    for pod in &pods {
        let url = format!("{}/dashboard", pod.base());
        let (status, page) = runtime().block_on(shared.http.answer(shared.http.raw().get(&url)))?;
        ensure!(status == 200 && page.contains("data-served-by=\"member\""), "{url}: {status} {page}");
        // Members tell each other within seconds where their clients connect.
        wait::until("a pod shows all members", PATIENCE, || {
            let live = runtime().block_on(look(&shared.http, pod))?;
            is_whole(&live, pod, &pods)?;
            ensure!(live.status.leader == Some(leader.member), "{} leads by {live:?}", leader.member);
            Ok(())
        })?;
    }
    Ok(())
}

/// The first event of a pod's stream.
async fn look(http: &Http, pod: &Pod) -> anyhow::Result<Live> {
    let url = format!("{}/dashboard/live", pod.base());
    let mut answer = http.raw().get(&url).send().await?.error_for_status()?;
    let mut bytes = Vec::new();
    while !bytes.windows(2).any(|pair| pair == b"\n\n") {
        let chunk = answer.chunk().await?;
        let ended = || format!("{url} ends after {:?}", String::from_utf8_lossy(&bytes));
        bytes.extend_from_slice(&chunk.with_context(ended)?);
    }
    let text = String::from_utf8_lossy(&bytes);
    let data = text.lines().find_map(|line| line.strip_prefix("data:"));
    let data = data.with_context(|| format!("{url} begins with {text:?}"))?;
    serde_json::from_str(data).with_context(|| format!("{url} says {data}"))
}

fn is_whole(live: &Live, pod: &Pod, pods: &[Pod]) -> anyhow::Result<()> {
    ensure!(live.health.server_id == pod.name(), "{} says it is {}", pod.name(), live.health.server_id);
    let names: Vec<&str> = live.members.iter().map(|member| member.name.as_str()).collect();
    let expected: Vec<&str> = pods.iter().map(Pod::name).collect();
    ensure!(names == expected, "{} shows {names:?}", pod.name());
    for member in &live.members {
        let address = member.address.as_deref().unwrap_or_default();
        let named = format!("http://{}.", member.name);
        ensure!(address.starts_with(&named), "{} shows {} at {address:?}", pod.name(), member.name);
    }
    let there = live.health.peers.iter().filter(|peer| peer.connected).count();
    ensure!(there == pods.len() - 1, "{} sees {:?}", pod.name(), live.health.peers);
    Ok(())
}
