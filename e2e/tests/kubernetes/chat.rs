//! The chat as an application beside its members: five pods, of which the leader's is killed while a crowd writes.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use holdfast_chat::crowd::{Plan, run};
use holdfast_e2e::kubernetes::PATIENCE;
use holdfast_e2e::suite::note;
use holdfast_e2e::{runtime, wait};

use crate::shared::{Shared, name_in};

const SAMPLE: &str = "manifests/chat.yaml";
const MEMBERS: usize = 5;

/// How long the crowd writes at least: longer than it takes to find the leader and kill it.
const PAUSE: Duration = Duration::from_millis(100);

pub(crate) fn crowd(shared: &mut Shared) -> anyhow::Result<()> {
    let store = name_in(SAMPLE)?;
    shared.kubernetes.apply_file(SAMPLE)?;
    let ready = || shared.kubernetes.ready_pods(&store, MEMBERS);
    let (pods, _) = wait::until("all pods are ready", PATIENCE, ready)?;
    let server = |base: String| -> anyhow::Result<String> {
        let host = base.trim_start_matches("http://").rsplit_once(':').context("an address has a port")?.0;
        Ok(format!("{host}:50051"))
    };
    let servers = pods.iter().map(|pod| server(pod.base())).collect::<anyhow::Result<Vec<_>>>()?;
    let plan = Plan { users: 5, messages: 100, seed: 1, patience: PATIENCE, pause: PAUSE };
    let writing = runtime().spawn(async move { run(&servers, &plan).await });
    std::thread::sleep(Duration::from_secs(3));
    let leader = shared.kubernetes.leader(&shared.http, &pods)?.member;
    shared.kubernetes.crash(&pods[usize::from(leader)])?;
    let outcome = runtime().block_on(writing)??;
    note(format_args!("{outcome}"));
    ensure!(outcome.is_right() && outcome.sent == 500, "{outcome}");
    shared.delete(&store)?;
    shared.forget_volumes()
}
