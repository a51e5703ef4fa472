//! Processes that outlive the command that started them. Each is known by its process id and the moment it started, so
//! that a number that the kernel gave to somebody else since is never signalled.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::layout::{Layout, namespace_file};

/// How long a process may take to end after it was asked to; then it is killed.
const END_WAIT_MAX: Duration = Duration::from_secs(3);

/// Start `command` in a network namespace under a name by which [`stop`] finds it; what it says goes to
/// `log/NAME.log`.
///
/// It is entered with `nsenter`: `ip netns exec` would also mount another `/sys`, and a kubelet finds no cgroups there.
pub(super) fn start(layout: &Layout, namespace: &str, name: &str, command: &Command) -> anyhow::Result<()> {
    let log = layout.path(format!("log/{name}.log"));
    let log = fs::File::options().create(true).append(true).open(&log);
    let log = log.with_context(|| format!("cannot write the log of {name}"))?;
    let mut enter = Command::new("nsenter");
    enter.arg(format!("--net={}", namespace_file(namespace).display()));
    enter.arg(command.get_program()).args(command.get_args());
    // A group of its own keeps it from the signals that the terminal sends to ours.
    enter.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
    let child = enter.spawn().with_context(|| format!("cannot start {name}"))?;
    let started = Process::find(child.id() as i32).with_context(|| format!("{name} ended at once"))?;
    fs::write(pid_file(layout, name), format!("{} {}", started.id, started.moment))
        .with_context(|| format!("cannot note the process id of {name}"))
}

/// Ask the named processes to end, wait for each, and kill those that do not. Names that do not run are passed over.
pub(super) fn stop(layout: &Layout, names: &[String]) -> anyhow::Result<()> {
    end(layout, names, END_WAIT_MAX)
}

/// Kill the named processes.
pub(super) fn kill(layout: &Layout, names: &[String]) -> anyhow::Result<()> {
    end(layout, names, Duration::ZERO)
}

/// The names of all processes that were started and not yet stopped.
pub(super) fn names(layout: &Layout) -> Vec<String> {
    let entries = fs::read_dir(&layout.folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".pid")?.to_owned()))
        .collect();
    names.sort();
    names
}

/// Why a process that should run does not: the end of its log. `None` while it runs.
pub(super) fn obituary(layout: &Layout, name: &str) -> Option<String> {
    if noted(layout, name).is_some_and(|process| process.runs()) {
        return None;
    }
    let log = fs::read_to_string(layout.path(format!("log/{name}.log"))).unwrap_or_default();
    let lines: Vec<&str> = log.lines().rev().take(10).collect();
    Some(format!("{name} ended: {}", lines.into_iter().rev().collect::<Vec<_>>().join("\n")))
}

/// Kill a process that another tool named; it may be gone already.
pub(super) fn kill_id(id: i32) {
    if let Some(pid) = Pid::from_raw(id) {
        // The only failure that root can meet is that it ended meanwhile.
        let _ = kill_process(pid, Signal::KILL);
    }
}

fn end(layout: &Layout, names: &[String], patience: Duration) -> anyhow::Result<()> {
    let running: Vec<(&String, Process)> =
        names.iter().filter_map(|name| Some((name, noted(layout, name)?))).collect();
    for (_, process) in &running {
        process.signal(if patience.is_zero() { Signal::KILL } else { Signal::TERM });
    }
    for (name, process) in &running {
        if !process.ends_within(patience) {
            process.signal(Signal::KILL);
            if !process.ends_within(END_WAIT_MAX) {
                bail!("{name} (process {}) does not even end when it is killed", process.id);
            }
        }
    }
    for name in names {
        let _ = fs::remove_file(pid_file(layout, name));
    }
    Ok(())
}

fn pid_file(layout: &Layout, name: &str) -> PathBuf {
    layout.path(format!("{name}.pid"))
}

fn noted(layout: &Layout, name: &str) -> Option<Process> {
    let note = fs::read_to_string(pid_file(layout, name)).ok()?;
    let (id, moment) = note.split_once(' ')?;
    Some(Process { id: id.parse().ok()?, moment: moment.parse().ok()? })
}

/// A process, told apart from a later one with the same id.
struct Process {
    id: i32,
    /// When it started, in clock ticks since the machine did.
    moment: u64,
}

impl Process {
    /// The process that has this id now, unless it is dead and only waits to be collected.
    fn find(id: i32) -> Option<Process> {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // The second field is the program's name in parentheses and may hold anything, also parentheses.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let (state, moment) = (fields.first()?, fields.get(19)?);
        (!["Z", "X"].contains(state)).then_some(Process { id, moment: moment.parse().ok()? })
    }

    fn runs(&self) -> bool {
        Process::find(self.id).is_some_and(|process| process.moment == self.moment)
    }

    fn signal(&self, signal: Signal) {
        if let (true, Some(pid)) = (self.runs(), Pid::from_raw(self.id)) {
            let _ = kill_process(pid, signal);
        }
    }

    fn ends_within(&self, patience: Duration) -> bool {
        let begin = Instant::now();
        while self.runs() {
            if begin.elapsed() > patience {
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_process_does_not_run() {
        let mut child = Command::new("sleep").arg("60").spawn().expect("sleep starts");
        let process = Process::find(child.id() as i32).expect("it runs");
        assert!(process.runs());
        assert!(
            !Process { id: process.id, moment: process.moment + 1 }.runs(),
            "another process of the same id"
        );
        process.signal(Signal::KILL);
        assert!(process.ends_within(END_WAIT_MAX), "it is dead although nobody waited for it");
        child.wait().expect("it can be waited for");
    }
}
