//! A primary of Redis and two replicas. It is no consensus and nobody takes the primary's place; it is here because people
//! compare with it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

use super::{Cluster, MEMBERS};
use crate::process::Process;
use crate::protocol::Protocol;
use crate::protocol::redis::{Ask, SetAndWait};
use crate::{exchange, ports};

/// What differs from the defaults.
const SETTINGS: [&str; 8] = [
    "--appendonly",
    "yes",
    "--appendfsync",
    "always",
    "--save",
    "",
    // Replicas need not wait for others that might want the same copy.
    "--repl-diskless-sync-delay",
    "0",
];

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The running processes; the first is the primary.
pub(super) struct Redis {
    processes: Vec<Process>,
    port_base: u16,
}

impl Redis {
    /// Processes that are not started yet.
    pub(super) fn new(program: &Path, folder: &Path) -> anyhow::Result<Redis> {
        let port_base = ports::free(MEMBERS as u16)?;
        let mut processes = Vec::new();
        for at in 0..MEMBERS {
            let data = folder.join(format!("m{at}"));
            std::fs::create_dir_all(&data)?;
            let port = (port_base + at as u16).to_string();
            let mut arguments = vec!["--port".to_owned(), port, "--bind".to_owned(), "127.0.0.1".to_owned()];
            arguments.extend(["--dir".to_owned(), data.display().to_string()]);
            arguments.extend(SETTINGS.map(str::to_owned));
            if at > 0 {
                arguments.extend(["--replicaof".to_owned(), format!("127.0.0.1 {port_base}")]);
            }
            let log = folder.join(format!("m{at}.log"));
            processes.push(Process::new(program.to_owned(), arguments, log));
        }
        Ok(Redis { processes, port_base })
    }
}

/// One answer of the process at `port`.
fn ask(port: u16, words: &'static [&'static str]) -> anyhow::Result<String> {
    let (done, message) = exchange::ask(&ports::address(port), &Ask(words), PATIENCE)?;
    let text = String::from_utf8_lossy(&message).into_owned();
    if !done {
        bail!("Redis answered {text}");
    }
    Ok(text)
}

/// How many keys the process at `port` has.
pub(super) fn keys(port: u16) -> anyhow::Result<u64> {
    let size = ask(port, &["DBSIZE"])?;
    size.trim().trim_start_matches(':').parse().with_context(|| format!("DBSIZE is {size}"))
}

/// That the process at `port` is not rewriting its log, nor about to.
fn no_rewrite(port: u16) -> anyhow::Result<()> {
    let info = ask(port, &["INFO", "persistence"])?;
    let idle = ["aof_rewrite_in_progress:0", "aof_rewrite_scheduled:0"];
    ensure!(idle.iter().all(|line| info.contains(line)), "the log is being rewritten");
    Ok(())
}

impl Cluster for Redis {
    fn processes(&mut self) -> &mut [Process] {
        &mut self.processes
    }

    fn port(&self, at: usize) -> u16 {
        self.port_base + at as u16
    }

    fn leader(&self, _without: Option<usize>) -> anyhow::Result<usize> {
        Ok(0)
    }

    fn look(&self) -> anyhow::Result<()> {
        let info = ask(self.port_base, &["INFO", "replication"])?;
        let online = info.lines().filter(|line| line.contains("state=online")).count();
        ensure!(online == MEMBERS - 1, "{online} replicas are online");
        let offset = |mark: &str| info.split(mark).nth(1)?.split(['\r', ',']).next()?.parse::<u64>().ok();
        let (primary, replica) = (offset("master_repl_offset:"), offset("offset="));
        ensure!(replica >= primary, "a replica is behind: {replica:?} of {primary:?}");
        Ok(())
    }

    /// The log is rewritten, so that it is not replayed command by command. Redis also rewrites it unasked when it has
    /// grown, and refuses to be asked meanwhile: that rewrite has to end first, and it lacks what came since it began.
    fn settle(&mut self, at: usize) -> anyhow::Result<()> {
        let port = self.port(at);
        crate::wait::until("a rewrite can be asked for", super::START_TIME_MAX, super::LOOK_PAUSE, || {
            no_rewrite(port)?;
            ask(port, &["BGREWRITEAOF"])
        })?;
        crate::wait::until("the log is rewritten", super::START_TIME_MAX, super::LOOK_PAUSE, || {
            no_rewrite(port)
        })
    }

    fn writer(&self) -> Box<dyn Protocol> {
        Box::new(SetAndWait { sets: 1 })
    }

    fn settings(&self) -> String {
        "one primary and two replicas; appendonly yes, appendfsync always, save \"\"; SET and WAIT 1 0 sent together. \
         Nobody takes the primary's place when it fails"
            .to_owned()
    }
}
