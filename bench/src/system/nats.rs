//! Three servers of NATS with JetStream, and one stream of three replicas, or of one, that keeps everything. A key-value bucket would also
//! have to forget the earlier value of each key, which makes it slower; the stream is the best that NATS has.

use std::path::Path;
use std::sync::OnceLock;

use anyhow::{Context as _, ensure};

use super::{Cluster, MEMBERS};
use crate::process::Process;
use crate::protocol::Protocol;
use crate::protocol::nats::{Publish, STREAM};
use crate::{exchange, ports};

/// Ports of one server: clients, and the others.
const STRIDE: u16 = 2;

/// The running servers.
pub(super) struct Nats {
    processes: Vec<Process>,
    port_base: u16,
    /// Servers that have the stream.
    replicas: usize,
    always: bool,
    /// Set once the stream exists.
    stream: OnceLock<()>,
}

impl Nats {
    /// Servers that are not started yet. With `always` they flush each write before they acknowledge it.
    pub(super) fn new(tools: &Path, folder: &Path, replicas: usize, always: bool) -> anyhow::Result<Nats> {
        let port_base = ports::free(STRIDE * MEMBERS as u16)?;
        let port = |at: usize| port_base + STRIDE * at as u16;
        let routes: Vec<String> =
            (0..MEMBERS).map(|at| format!("\"nats://127.0.0.1:{}\"", port(at) + 1)).collect();
        let mut processes = Vec::new();
        for at in 0..MEMBERS {
            let sync = if always { "\n  sync_interval: always" } else { "" };
            let store = folder.join(format!("m{at}"));
            let file = folder.join(format!("m{at}.conf"));
            let text = format!(
                "server_name: m{at}\nlisten: \"127.0.0.1:{}\"\njetstream {{\n  store_dir: \"{}\"{sync}\n}}\n\
                 cluster {{\n  name: bench\n  listen: \"127.0.0.1:{}\"\n  routes: [{}]\n}}\n",
                port(at),
                store.display(),
                port(at) + 1,
                routes.join(", ")
            );
            std::fs::write(&file, text)?;
            let arguments = ["--config".into(), file.into_os_string()];
            processes.push(Process::new(
                tools.join("nats-server"),
                arguments,
                folder.join(format!("m{at}.log")),
            ));
        }
        Ok(Nats { processes, port_base, replicas, always, stream: OnceLock::new() })
    }

    fn make_stream(&self) -> anyhow::Result<()> {
        if self.stream.get().is_some() {
            return Ok(());
        }
        let configuration = serde_json::json!({
            "name": STREAM, "subjects": ["bench.*"], "retention": "limits", "storage": "file",
            "num_replicas": self.replicas,
        });
        let subject = format!("$JS.API.STREAM.CREATE.{STREAM}");
        exchange::jetstream(self.port(0), &subject, &configuration.to_string())?;
        // Whoever is first is as good as any other.
        let _ = self.stream.set(());
        Ok(())
    }

    /// What the stream's leader says, asked by way of any server that answers.
    fn stream(&self, without: Option<usize>) -> anyhow::Result<serde_json::Value> {
        let mut asked = (0..MEMBERS).filter(|at| Some(*at) != without);
        let subject = format!("$JS.API.STREAM.INFO.{STREAM}");
        asked
            .find_map(|at| exchange::jetstream(self.port(at), &subject, "").ok())
            .context("nobody tells of the stream")
    }
}

impl Cluster for Nats {
    fn processes(&mut self) -> &mut [Process] {
        &mut self.processes
    }

    fn port(&self, at: usize) -> u16 {
        self.port_base + STRIDE * at as u16
    }

    fn leader(&self, without: Option<usize>) -> anyhow::Result<usize> {
        let info = self.stream(without)?;
        let leader = info["cluster"]["leader"].as_str().context("nobody leads the stream")?;
        leader.trim_start_matches('m').parse().context("an unknown server leads the stream")
    }

    fn look(&self) -> anyhow::Result<()> {
        self.make_stream()?;
        let info = self.stream(None)?;
        ensure!(info["cluster"]["leader"].is_string(), "nobody leads the stream");
        if self.replicas == 1 {
            return Ok(());
        }
        let replicas = info["cluster"]["replicas"].as_array().context("the stream has no replicas")?;
        ensure!(replicas.len() == self.replicas - 1, "the stream has {} followers", replicas.len());
        let current = |replica: &serde_json::Value| {
            replica["current"] == true
                && replica["offline"] != true
                && replica["lag"].as_u64().unwrap_or(0) == 0
        };
        ensure!(replicas.iter().all(current), "a replica is behind: {replicas:?}");
        Ok(())
    }

    fn writer(&self) -> Box<dyn Protocol> {
        Box::new(Publish)
    }

    fn settings(&self) -> String {
        let sync =
            if self.always { "sync_interval: always" } else { "its default sync_interval (2 minutes)" };
        format!("stream of {} replicas on file without limits, {sync}", self.replicas)
    }
}
