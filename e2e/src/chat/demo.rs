//! A running `holdfast demo chat`: commands go in line by line, and what it says is waited for.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Signal, kill_process};

use super::CHAT;
use crate::laptop::pid;
use crate::{programs, wait};

/// How long one command may take on a busy machine.
const COMMAND_MAX: Duration = Duration::from_secs(90);
/// Lines that may wait for whoever reads them.
const LINES_MAX: usize = 1000;
/// How long everything may take to end.
const END_MAX: Duration = Duration::from_secs(40);

/// A demonstration that runs. Dropping it kills it; its processes end with it.
#[derive(Debug)]
pub struct Demo {
    process: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    /// Everything that it said.
    said: Vec<String>,
}

impl Demo {
    /// Starts one with these arguments, in the namespace at `inside` if there is one.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub fn start(arguments: &[&str], inside: Option<&Path>) -> anyhow::Result<Demo> {
        let programs = programs::build(&[programs::HOLDFAST, CHAT])?;
        let program = programs.join(programs::HOLDFAST);
        let mut command = match inside {
            None => Command::new(program),
            Some(namespace) => {
                let mut command = Command::new("nsenter");
                command.arg(format!("--net={}", namespace.display())).arg("--").arg(program);
                command
            }
        };
        command.args(["demo", "chat"]).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut process = command.spawn().context("cannot start the demonstration")?;
        let input = process.stdin.take();
        let output = process.stdout.take().context("a piped output")?;
        let (lines_in, lines) = sync_channel(LINES_MAX);
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if lines_in.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Demo { process, input, lines, said: Vec::new() })
    }

    /// Waits until it says something of this kind, and gives what it said until then.
    ///
    /// # Errors
    ///
    /// If it does not; the error holds all that it said.
    pub fn until(&mut self, what: &str) -> anyhow::Result<Vec<String>> {
        let from = self.said.len();
        let end = Instant::now() + COMMAND_MAX;
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    let found = line.contains(what);
                    self.said.push(line);
                    if found {
                        return Ok(self.said[from..].to_vec());
                    }
                }
                Err(RecvTimeoutError::Timeout) => bail!("it did not say {what:?}:\n{}", self.said.join("\n")),
                Err(RecvTimeoutError::Disconnected) => {
                    bail!("it ended and did not say {what:?}:\n{}", self.said.join("\n"))
                }
            }
        }
    }

    /// Types a command and waits until it says something of this kind.
    ///
    /// # Errors
    ///
    /// As [`Demo::until`].
    pub fn tell(&mut self, command: &str, what: &str) -> anyhow::Result<Vec<String>> {
        let input = self.input.as_mut().context("its input is closed")?;
        writeln!(input, "{command}").context("it reads no more")?;
        self.until(what)
    }

    /// Closes its input, and waits for its end.
    ///
    /// # Errors
    ///
    /// If it does not end.
    pub fn close(&mut self) -> anyhow::Result<ExitStatus> {
        self.input = None;
        self.ended()
    }

    /// Types ctrl-c, and waits for its end.
    ///
    /// # Errors
    ///
    /// If it does not end.
    pub fn interrupt(&mut self) -> anyhow::Result<ExitStatus> {
        kill_process(pid(i32::try_from(self.process.id())?)?, Signal::INT).context("it does not run")?;
        self.ended()
    }

    fn ended(&mut self) -> anyhow::Result<ExitStatus> {
        let process = &mut self.process;
        let ended = wait::until("the demonstration ends", END_MAX, || process.try_wait()?.context("it runs"));
        Ok(ended?.0)
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
