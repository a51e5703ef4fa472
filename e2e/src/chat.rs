//! The chat under test: run by `holdfast up` as its manifests say, on ports that are free, and used by clients of its own, by one
//! that knows the contract alone, and by one of the packet protocol.

pub mod demo;
pub mod older;
pub mod packets;

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use holdfast_chat::caller::Caller;
use holdfast_chat::inbox::Inbox;
use holdfast_xtask::checkout;
use tempfile::TempDir;
use tokio::time::timeout;

use crate::laptop::Laptop;
use crate::programs;

/// The chat's program.
pub const CHAT: &str = "holdfast-chat";

/// Ports of chat servers in tests: below those that the kernel gives to outgoing connections, and apart from members'.
const PORTS: std::ops::Range<u16> = 31_000..32_000;

/// Where ports that are not next to each other begin, after those that are.
const STRIDED_OFFSET: u16 = 50;

/// A chat that `holdfast up` runs.
#[derive(Debug)]
pub struct Chat {
    /// The store and its runner.
    pub store: Laptop,
    /// The first server's gRPC port.
    port: u16,
    /// The first server's port of the packet protocol.
    packet_port: u16,
    members: u8,
    manifest: String,
    programs: PathBuf,
}

impl Chat {
    /// The chat of one of the samples.
    ///
    /// # Errors
    ///
    /// If it does not come up.
    pub fn up(sample: &str) -> anyhow::Result<Chat> {
        let programs = programs::build(&[programs::HOLDFAST, CHAT])?;
        let path = checkout().join("manifests").join(sample);
        let manifest =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let (port, packet_port) = (free_ports(5, 1)?, free_ports(3, 10)?);
        let told = format!("--lifeline, --port={port}, --packet-port={packet_port}]");
        ensure!(manifest.contains("--lifeline]"), "{sample} has an application");
        let manifest = manifest.replace("--lifeline]", &told);
        let members = if manifest.contains("replicas: 5") { 5 } else { 3 };
        let store = Laptop::up(&manifest)?;
        Ok(Chat { store, port, packet_port, members, manifest, programs })
    }

    /// Ends everything, and starts it again with what it had kept.
    ///
    /// # Errors
    ///
    /// If it does not end or come up.
    pub fn again(self) -> anyhow::Result<Chat> {
        let (status, folder): (_, TempDir) = self.store.stop()?;
        ensure!(status.success(), "the runner ended with {status}");
        let store = Laptop::up_in(folder, &self.manifest)?;
        store.wait_until_ready()?;
        Ok(Chat { store, ..self })
    }

    /// Every gRPC address.
    pub fn servers(&self) -> Vec<String> {
        (0..u16::from(self.members)).map(|ordinal| format!("127.0.0.1:{}", self.port + ordinal)).collect()
    }

    /// Every address of the packet protocol.
    pub fn packet_servers(&self) -> Vec<String> {
        (0..u16::from(self.members))
            .map(|ordinal| format!("127.0.0.1:{}", self.packet_port + 10 * ordinal))
            .collect()
    }

    /// A command of the chat's program about this chat.
    pub fn program(&self, verb: &str) -> Command {
        let mut command = Command::new(self.programs.join(CHAT));
        command.arg(verb).arg("--servers").arg(self.servers().join(","));
        command
    }

    /// Kills a member with the server beside it.
    ///
    /// # Errors
    ///
    /// If it cannot be.
    pub fn fail(&self, ordinal: u8) -> anyhow::Result<()> {
        said(&self.store.cli(&["fail", &ordinal.to_string()]).output()?).map(drop)
    }

    /// Starts a member with the server beside it.
    ///
    /// # Errors
    ///
    /// If it cannot be.
    pub fn start(&self, ordinal: u8) -> anyhow::Result<()> {
        said(&self.store.cli(&["start", &ordinal.to_string()]).output()?).map(drop)
    }
}

/// The next so many messages of an account, each waited for so long at most.
///
/// # Errors
///
/// If one does not come.
pub async fn receive(caller: &Caller, count: usize, patience: Duration) -> anyhow::Result<Vec<String>> {
    let mut inbox = Inbox::new(caller);
    let mut texts = Vec::new();
    while texts.len() < count {
        let message = timeout(patience, inbox.next()).await;
        texts.push(message.with_context(|| format!("no more than {texts:?}"))??.content);
    }
    inbox.flush().await?;
    Ok(texts)
}

/// What a program said, if it ended well.
///
/// # Errors
///
/// If not, with what it said.
pub fn said(output: &Output) -> anyhow::Result<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    ensure!(
        output.status.success(),
        "it ended with {}: {}{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
    Ok(text(&output.stdout))
}

/// The first of so many ports, so far apart, that nobody listens on just now.
///
/// # Errors
///
/// If there is none.
pub fn free_ports(count: u16, stride: u16) -> anyhow::Result<u16> {
    let span = count * stride;
    // Ports of two kinds are looked for before either is taken: they begin at different places.
    let offset = u16::try_from(std::process::id() % 8)? * 100 + if stride > 1 { STRIDED_OFFSET } else { 0 };
    for base in (PORTS.start + offset..PORTS.end - span).step_by(usize::from(span)) {
        let mut ports = (0..count).map(|number| base + number * stride);
        if ports.all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return Ok(base);
        }
    }
    bail!("there are no {count} free ports")
}
