//! A store on this machine, run by `holdfast up` as a user would, and watched by what it prints.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use holdfast_api::http::Status;
use holdfast_api::names::PORT_STRIDE;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::http::{self, Http};
use crate::{programs, runtime, wait};

/// How long a store may take until it serves. It takes a fraction of a second; the machine may be compiling.
const START_WAIT_MAX: Duration = Duration::from_secs(30);

/// How long a runner may take to end after it was asked to.
const STOP_WAIT_MAX: Duration = Duration::from_secs(30);

/// Ports from which stores of tests are numbered: below those that the kernel gives to outgoing connections.
const PORTS: std::ops::Range<u16> = 10_000..30_000;

/// A running `holdfast up`. Dropping it kills the runner and its members.
#[derive(Debug)]
pub struct Laptop {
    runner: Child,
    programs: PathBuf,
    folder: TempDir,
    store: String,
    replicas: u8,
    port_base: u16,
    /// Everything that the runner reported, as JSON.
    events: Arc<Mutex<Vec<Value>>>,
    /// Everything else that it said.
    words: Arc<Mutex<String>>,
}

impl Laptop {
    /// Start the store that `manifest` describes, in a new folder, and wait until it has a leader and every member is
    /// ready.
    ///
    /// # Errors
    ///
    /// If it does not come up; the error holds what the runner said.
    pub fn up(manifest: &str) -> anyhow::Result<Laptop> {
        let folder = tempfile::tempdir().context("cannot make a folder")?;
        let laptop = Laptop::up_in(folder, manifest)?;
        laptop.wait_until_ready()?;
        Ok(laptop)
    }

    /// As [`Laptop::up`], on other ports than those that `held` holds until the runner starts.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn up_beside(held: Vec<TcpListener>, manifest: &str) -> anyhow::Result<Laptop> {
        programs::build(&[programs::HOLDFAST])?;
        let port_base = free_ports(u8::try_from(held.len())?)?;
        drop(held);
        let folder = tempfile::tempdir().context("cannot make a folder")?;
        let laptop = Laptop::up_at(folder, manifest, port_base)?;
        laptop.wait_until_ready()?;
        Ok(laptop)
    }

    /// Start the store that `manifest` describes, in a folder that may hold its data, and wait for nothing.
    ///
    /// # Errors
    ///
    /// If the runner cannot be started.
    pub fn up_in(folder: TempDir, manifest: &str) -> anyhow::Result<Laptop> {
        let parsed: Value = serde_yaml::from_str(manifest).context("the manifest is no YAML")?;
        let replicas = u8::try_from(parsed["spec"]["replicas"].as_u64().unwrap_or(1))?;
        Laptop::up_at(folder, manifest, free_ports(replicas)?)
    }

    fn up_at(folder: TempDir, manifest: &str, port_base: u16) -> anyhow::Result<Laptop> {
        let programs = programs::build(&[programs::HOLDFAST])?;
        let parsed: Value = serde_yaml::from_str(manifest).context("the manifest is no YAML")?;
        let store = parsed["metadata"]["name"].as_str().context("the store has no name")?.to_owned();
        let replicas = u8::try_from(parsed["spec"]["replicas"].as_u64().unwrap_or(1))?;
        let file = folder.path().join("store.yaml");
        fs::write(&file, manifest).context("cannot write the manifest")?;
        let mut up = Command::new(programs.join(programs::HOLDFAST));
        up.args(["up", "--output=json", "--file"]).arg(file).arg("--data").arg(folder.path().join("data"));
        up.arg(format!("--port-base={port_base}"));
        up.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut runner = up.spawn().context("cannot start holdfast up")?;
        let (events, words) = (Arc::default(), Arc::default());
        collect_events(&mut runner, Arc::clone(&events));
        collect_words(&mut runner, Arc::clone(&words));
        Ok(Laptop { runner, programs, folder, store, replicas, port_base, events, words })
    }

    /// Where clients of member `ordinal` connect.
    pub fn base(&self, ordinal: u8) -> String {
        format!("http://127.0.0.1:{}", self.port(ordinal))
    }

    /// Where clients of all members connect.
    pub fn bases(&self) -> Vec<String> {
        (0..self.replicas).map(|ordinal| self.base(ordinal)).collect()
    }

    /// The client port of member `ordinal`; its peer port is one higher, its admin port two.
    pub fn port(&self, ordinal: u8) -> u16 {
        self.port_base + PORT_STRIDE * u16::from(ordinal)
    }

    /// Where the manifest and, below `data`, the members' data lie.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The manifest that the runner follows.
    pub fn manifest(&self) -> PathBuf {
        self.folder.path().join("store.yaml")
    }

    /// The store's name.
    pub fn store(&self) -> &str {
        &self.store
    }

    /// A `holdfast` command about this store, as from another terminal. The verb may consist of several words.
    pub fn cli(&self, verb: &[&str]) -> Command {
        let mut command = Command::new(self.programs.join(programs::HOLDFAST));
        command.args(verb).arg(format!("--port-base={}", self.port_base));
        command
    }

    /// What the runner reported so far, of one kind.
    pub fn events(&self, kind: &str) -> Vec<Value> {
        let events = self.events.lock().expect("the reader does not panic");
        events.iter().filter(|event| event["event"] == kind).cloned().collect()
    }

    /// The process of member `ordinal` that the runner started last.
    ///
    /// # Errors
    ///
    /// If it never started one.
    pub fn pid(&self, ordinal: u8) -> anyhow::Result<i32> {
        let name = format!("{}-{ordinal}", self.store);
        let started = self.events("started");
        let last = started.iter().rev().find(|event| event["member"] == name.as_str());
        let pid =
            last.and_then(|event| event["pid"].as_i64()).with_context(|| format!("{name} never started"))?;
        Ok(i32::try_from(pid)?)
    }

    /// Send member `ordinal` a signal, without telling the runner. Returns the process.
    ///
    /// # Errors
    ///
    /// If there is no such process.
    pub fn signal(&self, ordinal: u8, signal: Signal) -> anyhow::Result<i32> {
        let number = self.pid(ordinal)?;
        kill_process(pid(number)?, signal).with_context(|| format!("member {ordinal} does not run"))?;
        Ok(number)
    }

    /// The leader's own status.
    ///
    /// # Errors
    ///
    /// If nobody leads.
    pub fn leader(&self, http: &Http) -> anyhow::Result<Status> {
        runtime().block_on(http::leader(http, &self.bases()))
    }

    /// Wait until there is a leader, every member follows it and has what it has. Returns the leader's status.
    ///
    /// # Errors
    ///
    /// If that does not come about; the error holds what the runner said.
    pub fn wait_until_ready(&self) -> anyhow::Result<Status> {
        let http = Http::default();
        let ready = wait::until("every member is ready", START_WAIT_MAX, || {
            let leader = self.leader(&http)?;
            for base in self.bases() {
                let status = runtime().block_on(http.status(&base))?;
                ensure!(
                    status.term == leader.term && status.leader == Some(leader.member),
                    "{base} follows nobody"
                );
                ensure!(status.positions.commit >= leader.positions.commit, "{base} is behind");
            }
            Ok(leader)
        });
        Ok(ready.with_context(|| format!("the runner said: {}", self.words()))?.0)
    }

    /// What the runner said on standard error.
    pub fn words(&self) -> String {
        self.words.lock().expect("the reader does not panic").clone()
    }

    /// The runner's own process.
    pub fn runner(&self) -> u32 {
        self.runner.id()
    }

    /// Ask the runner to end, and wait for it. The folder stays, for another start.
    ///
    /// # Errors
    ///
    /// If it does not end.
    pub fn stop(mut self) -> anyhow::Result<(ExitStatus, TempDir)> {
        kill_process(pid(i32::try_from(self.runner.id())?)?, Signal::TERM)
            .context("the runner does not run")?;
        let status = self.wait_for_end()?;
        let folder = std::mem::replace(&mut self.folder, tempfile::tempdir()?);
        Ok((status, folder))
    }

    /// Wait until the runner ends.
    ///
    /// # Errors
    ///
    /// If it does not.
    pub fn wait_for_end(&mut self) -> anyhow::Result<ExitStatus> {
        let runner = &mut self.runner;
        let ended = wait::until("the runner ends", STOP_WAIT_MAX, || runner.try_wait()?.context("it runs"));
        Ok(ended?.0)
    }
}

impl Drop for Laptop {
    fn drop(&mut self) {
        // Members end by themselves when their runner does; whoever tests that does not need this.
        let members: Vec<i32> = (0..self.replicas).filter_map(|ordinal| self.pid(ordinal).ok()).collect();
        let running = matches!(self.runner.try_wait(), Ok(None));
        let _ = self.runner.kill();
        let _ = self.runner.wait();
        if running {
            for member in members {
                let _ = pid(member).map(|member| kill_process(member, Signal::KILL));
            }
        }
    }
}

/// A number as a process id.
///
/// # Errors
///
/// If it cannot be one.
pub fn pid(number: i32) -> anyhow::Result<Pid> {
    Pid::from_raw(number).with_context(|| format!("{number} is no process"))
}

/// A port base whose ports nobody listens on just now.
///
/// # Errors
///
/// If there is none.
pub fn free_ports(replicas: u8) -> anyhow::Result<u16> {
    let span = PORT_STRIDE * u16::from(replicas);
    // Test programs that run at the same time begin their search at different places.
    let offset = u16::try_from(std::process::id() % 1000)? * 10;
    for base in (PORTS.start + offset..PORTS.end - span).step_by(usize::from(span)) {
        let mut ports = (0..u16::from(replicas))
            .flat_map(|member| (0..3).map(move |port| base + PORT_STRIDE * member + port));
        if ports.all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return Ok(base);
        }
    }
    bail!("there are no {span} free ports in a row")
}

fn collect_events(runner: &mut Child, events: Arc<Mutex<Vec<Value>>>) {
    let output = runner.stdout.take().expect("a piped output");
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if let Ok(event) = serde_json::from_str(&line) {
                events.lock().expect("nobody panics while holding this").push(event);
            }
        }
    });
}

fn collect_words(runner: &mut Child, words: Arc<Mutex<String>>) {
    let output = runner.stderr.take().expect("a piped output");
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let mut words = words.lock().expect("nobody panics while holding this");
            words.push_str(&line);
            words.push('\n');
        }
    });
}
