//! The chat as an application beside its members, while a crowd writes: of five pods the leader's is killed; of three in sync two
//! are lost, one after the other.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use holdfast_chat::caller::Caller;
use holdfast_chat::crowd::{Outcome, Plan, run};
use holdfast_e2e::chat::packets::PacketClient;
use holdfast_e2e::chat::receive;
use holdfast_e2e::kubernetes::{PATIENCE, Pod};
use holdfast_e2e::suite::note;
use holdfast_e2e::{runtime, wait};
use tokio::task::JoinHandle;

use crate::in_sync::{delete_now, keep_down};
use crate::shared::{Shared, name_in};

const SAMPLE: &str = "manifests/chat.yaml";
const MEMBERS: usize = 5;

const IN_SYNC_SAMPLE: &str = "manifests/chat-primary-backup.yaml";
const IN_SYNC_MEMBERS: usize = 3;

/// Where clients reach the server in a pod.
const GRPC_PORT: u16 = 50051;
const PACKET_PORT: u16 = 26201;

/// Everybody in a crowd waits so long after each message, so that it writes on while leaders are found and killed.
const PAUSE: Duration = Duration::from_millis(100);
const USERS: u32 = 5;

pub(crate) fn crowd(shared: &mut Shared) -> anyhow::Result<()> {
    let store = name_in(SAMPLE)?;
    shared.kubernetes.apply_file(SAMPLE)?;
    let pods = ready(shared, &store, MEMBERS)?;
    let writing = start(servers(&pods, GRPC_PORT)?, 100);
    std::thread::sleep(Duration::from_secs(3));
    let leader = shared.kubernetes.leader(&shared.http, &pods)?.member;
    shared.kubernetes.crash(&pods[usize::from(leader)])?;
    finish(writing, 100)?;
    shared.delete(&store)?;
    shared.forget_volumes()
}

/// Two primaries are killed and do not come back while a crowd writes; the third goes on alone. When all are back, whoever was
/// away meanwhile gets everything that was sent, by either protocol.
pub(crate) fn crowd_in_sync(shared: &mut Shared) -> anyhow::Result<()> {
    let store = name_in(IN_SYNC_SAMPLE)?;
    shared.kubernetes.apply_file(IN_SYNC_SAMPLE)?;
    let pods = ready(shared, &store, IN_SYNC_MEMBERS)?;
    let (grpc, packets) = (servers(&pods, GRPC_PORT)?, servers(&pods, PACKET_PORT)?);
    let mut alice = runtime().block_on(accounts(&grpc))?;
    let mut carol = packet_accounts(&packets)?;
    let mut sent = Vec::new();
    let mut send = |text: &str| {
        sent.push(text.to_owned());
        runtime().block_on(alice.send("bob", text)).map(drop).with_context(|| text.to_owned())
    };
    send("with three")?;
    let nodes = pods.iter().map(Pod::node).collect::<anyhow::Result<Vec<_>>>()?;
    keep_down(shared, &nodes, true)?;
    let writing = start(grpc, 150);
    let mut lost = Vec::new();
    for left in ["two", "one"] {
        std::thread::sleep(Duration::from_secs(2));
        let pod = primary(shared, &store)?;
        shared.kubernetes.crash(&pod)?;
        delete_now(shared, &pod)?;
        lost.push(pod);
        send(&format!("with {left}"))?;
        ensure!(!writing.is_finished(), "the crowd had ended before {left} were left");
    }
    wait::until("two are gone", PATIENCE, || {
        for pod in &lost {
            let status = runtime().block_on(shared.http.status(&pod.base()));
            ensure!(status.is_err(), "{} answers", pod.name());
        }
        Ok(())
    })?;
    carol.connect()?;
    let text = carol.ask(5, "dave|with one")?;
    ensure!(text == "<server> Account \"dave\" not online. Message queued to send", "{text:?}");
    finish(writing, 150)?;
    keep_down(shared, &nodes, false)?;
    let pods = ready(shared, &store, IN_SYNC_MEMBERS)?;
    // They are other pods now, at other addresses.
    let (grpc, packets) = (servers(&pods, GRPC_PORT)?, servers(&pods, PACKET_PORT)?);
    let got = runtime().block_on(received(&grpc, sent.len()))?;
    ensure!(got == sent, "bob got {got:?} of {sent:?}");
    let mut dave = PacketClient::new(packets);
    dave.ask(2, "dave")?;
    let text = dave.ask(6, "")?;
    ensure!(text == "<carol> with one", "dave got {text:?}");
    finish(start(grpc, 20), 20)?;
    shared.delete(&store)?;
    shared.forget_volumes()
}

/// The pods, once all of them are ready.
fn ready(shared: &Shared, store: &str, members: usize) -> anyhow::Result<Vec<Pod>> {
    let look = || shared.kubernetes.ready_pods(store, members);
    Ok(wait::until("all pods are ready", 3 * PATIENCE, look)?.0)
}

/// The pod of whoever leads now.
fn primary(shared: &Shared, store: &str) -> anyhow::Result<Pod> {
    let look = || {
        let pods = shared.kubernetes.pods(store)?;
        let leader = format!("{store}-{}", shared.kubernetes.leader(&shared.http, &pods)?.member);
        pods.into_iter().find(|pod| pod.name() == leader).context("the leader has no pod")
    };
    Ok(wait::until("somebody leads", PATIENCE, look)?.0)
}

/// Where the servers in these pods listen.
fn servers(pods: &[Pod], port: u16) -> anyhow::Result<Vec<String>> {
    let server = |pod: &Pod| -> anyhow::Result<String> {
        let base = pod.base();
        let host = base.trim_start_matches("http://").rsplit_once(':').context("an address has a port")?.0;
        Ok(format!("{host}:{port}"))
    };
    pods.iter().map(server).collect()
}

type Writing = JoinHandle<Result<Outcome, holdfast_chat::caller::CallError>>;

/// A crowd begins to write.
fn start(servers: Vec<String>, messages: u32) -> Writing {
    let plan = Plan { users: USERS, messages, seed: 1, patience: PATIENCE, pause: PAUSE };
    runtime().spawn(async move { run(&servers, &plan).await })
}

/// Everybody has written all, and all of it has come: once, and in order.
fn finish(writing: Writing, messages: u32) -> anyhow::Result<()> {
    let outcome = runtime().block_on(writing)??;
    note(format_args!("{outcome}"));
    ensure!(outcome.is_right() && outcome.sent == (USERS * messages) as usize, "{outcome}");
    Ok(())
}

/// Makes accounts for alice, who is logged in after that, and for bob, who is not.
async fn accounts(servers: &[String]) -> anyhow::Result<Caller> {
    let mut alice = Caller::new(servers)?.with_deadline(PATIENCE);
    for name in ["alice", "bob"] {
        alice.create_account(name, "secret").await?;
    }
    alice.log_in("alice", "secret").await?;
    Ok(alice)
}

/// The same with packets: carol stays, dave has gone.
fn packet_accounts(servers: &[String]) -> anyhow::Result<PacketClient> {
    let make = |name: &str| -> anyhow::Result<PacketClient> {
        let mut client = PacketClient::new(servers.to_vec());
        let text = client.ask(1, name)?;
        ensure!(text == format!("<server> Account created with username \"{name}\"."), "{text:?}");
        Ok(client)
    };
    make("dave")?;
    make("carol")
}

/// What bob finds when he comes.
async fn received(servers: &[String], count: usize) -> anyhow::Result<Vec<String>> {
    let mut bob = Caller::new(servers)?.with_deadline(PATIENCE);
    bob.log_in("bob", "secret").await?;
    receive(&bob, count, PATIENCE).await
}
