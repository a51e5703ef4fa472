//! The processes that are measured: started, signalled, weighed, and ended with this program.
//!
//! Each is started under `setpriv --pdeathsig=KILL`, so that the kernel ends it even if this program is killed. The
//! kernel minds the thread that started it, so all are started from the main thread.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use crate::{leftovers, wait};

/// Most characters of a log that an error carries.
const LAST_WORDS_MAX: usize = 2_000;

/// One member of a system, which may run or not.
#[derive(Debug)]
pub(crate) struct Process {
    program: PathBuf,
    arguments: Vec<OsString>,
    log: PathBuf,
    child: Option<Child>,
}

impl Process {
    /// A process that is not started yet. What it says goes to `log`.
    pub(crate) fn new<A: Into<OsString>>(
        program: PathBuf,
        arguments: impl IntoIterator<Item = A>,
        log: PathBuf,
    ) -> Process {
        Process { program, arguments: arguments.into_iter().map(Into::into).collect(), log, child: None }
    }

    /// Start it, with the same arguments every time.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub(crate) fn start(&mut self) -> anyhow::Result<()> {
        self.start_into(None)
    }

    /// As [`Process::start`], with its standard output apart from its log.
    fn start_into(&mut self, output: Option<&Path>) -> anyhow::Result<()> {
        let log = File::options().create(true).append(true).open(&self.log);
        let log = log.with_context(|| format!("cannot open {}", self.log.display()))?;
        let mut command = bound_to_us(&self.program);
        let output = match output {
            Some(path) => File::create(path)?,
            None => log.try_clone()?,
        };
        command.args(&self.arguments).stdin(Stdio::null()).stdout(output).stderr(log);
        let child = command.spawn().with_context(|| format!("cannot start {}", self.program.display()))?;
        leftovers::add(Pid::from_child(&child));
        self.child = Some(child);
        Ok(())
    }

    /// Its process id.
    ///
    /// # Errors
    ///
    /// If it does not run.
    pub(crate) fn pid(&self) -> anyhow::Result<Pid> {
        let child = self.child.as_ref().with_context(|| format!("{} does not run", self.program.display()));
        Ok(Pid::from_child(child?))
    }

    /// Send it a signal and return at once.
    ///
    /// # Errors
    ///
    /// If it does not run.
    pub(crate) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        kill_process(self.pid()?, signal).with_context(|| format!("cannot signal {}", self.program.display()))
    }

    /// Wait until it stands still after a [`Signal::STOP`]: all of its threads, each of which goes on for a moment.
    ///
    /// # Errors
    ///
    /// If it does not within `patience`.
    pub(crate) fn wait_until_stopped(&self, patience: Duration) -> anyhow::Result<()> {
        let pid = self.pid()?;
        wait::until("a process stands still", patience, Duration::from_micros(20), || {
            let options = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG;
            waitid(WaitId::Pid(pid), options)?.context("it goes on").map(|_| ())
        })
    }

    /// Wait until it ended by itself.
    ///
    /// # Errors
    ///
    /// If it does not within `patience`.
    pub(crate) fn wait_for_end(&mut self, patience: Duration) -> anyhow::Result<()> {
        let Some(child) = &mut self.child else { return Ok(()) };
        let pid = Pid::from_child(child);
        wait::until("a process ends", patience, Duration::from_millis(1), || {
            child.try_wait()?.context("it runs")
        })?;
        leftovers::forget(pid);
        self.child = None;
        Ok(())
    }

    /// Whether it runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Kill it, whatever state it is in.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            leftovers::forget(Pid::from_child(&child));
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Memory that it occupies, in bytes.
    ///
    /// # Errors
    ///
    /// If it does not run.
    pub(crate) fn resident_bytes(&self) -> anyhow::Result<u64> {
        self.memory("VmRSS:")
    }

    /// The most memory that it occupied since it was started, in bytes.
    ///
    /// # Errors
    ///
    /// If it does not run.
    pub(crate) fn resident_bytes_most(&self) -> anyhow::Result<u64> {
        self.memory("VmHWM:")
    }

    fn memory(&self, field: &str) -> anyhow::Result<u64> {
        let path = format!("/proc/{}/status", self.pid()?.as_raw_nonzero());
        let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let line = line.with_context(|| format!("{path} has no {field}"))?;
        let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().context("memory is no number")?;
        Ok(kibibytes * 1024)
    }

    /// Processor time that it has used so far; zero if it does not run.
    pub(crate) fn processor_time(&self) -> Duration {
        let Ok(pid) = self.pid() else { return Duration::ZERO };
        processor_times(&format!("/proc/{}/stat", pid.as_raw_nonzero()))
            .map_or(Duration::ZERO, |times| times.0)
    }

    /// The end of what it said.
    pub(crate) fn last_words(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let from = log.len().saturating_sub(LAST_WORDS_MAX);
        String::from_utf8_lossy(&log[from..]).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A command that the kernel ends when the thread that starts it ends.
fn bound_to_us(program: &Path) -> Command {
    if !Path::new("/usr/bin/setpriv").exists() {
        return Command::new(program);
    }
    let mut command = Command::new("/usr/bin/setpriv");
    command.args(["--pdeathsig=KILL", "--"]).arg(program);
    command
}

/// Run a program to its end and return what it printed; kill it when `patience` is over.
///
/// # Errors
///
/// If it cannot be started, takes too long, or ends badly.
pub(crate) fn run(program: &Path, arguments: &[String], patience: Duration) -> anyhow::Result<String> {
    let folder = tempfile::tempdir().context("no folder for a program's output")?;
    let (output, errors) = (folder.path().join("output"), folder.path().join("errors"));
    let mut process = Process::new(program.to_owned(), arguments, errors);
    process.start_into(Some(&output))?;
    let pid = process.pid()?;
    let child = process.child.as_mut().context("it was just started")?;
    let ended = wait::until("a program ends", patience, Duration::from_millis(2), || {
        child.try_wait()?.context("it runs")
    });
    let line = || format!("{} {}", program.display(), arguments.join(" "));
    let status = ended.with_context(line)?;
    leftovers::forget(pid);
    process.child = None;
    let words = fs::read_to_string(&output).unwrap_or_default();
    if !status.success() {
        bail!("{} ended with {status}: {} {}", line(), words.trim(), process.last_words().trim());
    }
    Ok(words)
}

/// Processor time of this program, and of the programs that it ran to their end.
pub(crate) fn own_processor_times() -> (Duration, Duration) {
    processor_times("/proc/self/stat").unwrap_or_default()
}

/// A process's own time and that of its waited-for children. The kernel counts in hundredths of a second.
fn processor_times(path: &str) -> Option<(Duration, Duration)> {
    let stat = fs::read_to_string(path).ok()?;
    // The name in parentheses may hold anything; the numbers follow the last of them.
    let fields: Vec<u64> =
        stat.rsplit_once(')')?.1.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect();
    let ticks = |at: usize| fields.get(at).copied().map(|ticks| Duration::from_millis(10 * ticks));
    Some((ticks(11)? + ticks(12)?, ticks(13)? + ticks(14)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_takes_too_long_is_killed() {
        let sleep = Path::new("/bin/sleep");
        let error = run(sleep, &["60".to_owned()], Duration::from_millis(50)).unwrap_err();
        assert!(format!("{error:#}").contains("/bin/sleep 60"), "{error:#}");
    }

    #[test]
    fn what_a_failed_program_said_is_in_the_error() {
        let script = ["-c".to_owned(), "echo no; exit 3".to_owned()];
        let error = run(Path::new("/bin/sh"), &script, Duration::from_secs(60)).unwrap_err().to_string();
        assert!(error.contains("exit status: 3: no"), "{error}");
    }

    #[test]
    fn a_dropped_process_is_gone() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut process = Process::new("/bin/sleep".into(), ["60"], folder.path().join("log"));
        process.start().expect("it starts");
        let pid = process.pid().expect("it runs");
        assert!(process.resident_bytes().expect("it has memory") > 0);
        drop(process);
        assert!(kill_process(pid, Signal::CONT).is_err());
    }
}
