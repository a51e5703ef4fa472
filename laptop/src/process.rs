//! One life of one member: a real process with a lifeline.
//!
//! The member's standard input is a pipe whose other end only the runner holds. However the runner ends, the pipe
//! closes, and the member ends too. Refuses to restart anything.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, ChildStdin, Command};

use crate::log_file::LogFile;

/// How to start one member, again and again.
#[derive(Clone, Debug)]
pub struct Launch {
    /// What to run.
    pub program: Program,
    /// What it is called in lists of processes.
    pub title: OsString,
    /// Its arguments, without the program's name.
    pub arguments: Vec<OsString>,
    /// What its environment has beyond ours.
    pub environment: Vec<(String, OsString)>,
    /// Where its standard output and error go.
    pub log: LogFile,
}

/// An executable that stays the same even if its file is replaced while we run, as a rebuild does.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    /// Device and inode at the time of asking.
    file: (u64, u64),
}

/// A running member.
#[derive(Debug)]
pub struct Process {
    child: Child,
    pid: u32,
    started: Instant,
    log_from: u64,
    /// Closing it tells the member that its runner is gone.
    _lifeline: ChildStdin,
}

/// Why a member could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// Its log cannot be opened.
    #[error("cannot open the log {}", .path.display())]
    Log {
        /// The log.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The system refuses a process.
    #[error("cannot start {}", .program.display())]
    Spawn {
        /// What was to be run.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Program {
    /// The program that runs right now.
    ///
    /// # Errors
    /// Its path is unknown, or nothing is there any more.
    pub fn current() -> io::Result<Program> {
        Program::at(&std::env::current_exe()?)
    }

    /// The program at `path`.
    ///
    /// # Errors
    /// Nothing is there.
    pub fn at(path: &Path) -> io::Result<Program> {
        let found = std::fs::metadata(path)?;
        Ok(Program { path: path.to_path_buf(), file: (found.dev(), found.ino()) })
    }

    /// Where it was found.
    pub fn file(&self) -> &Path {
        &self.path
    }

    /// The path while it leads to the same file, else Linux' own handle to what we are.
    pub(crate) fn path(&self) -> &Path {
        let same = std::fs::metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.file);
        if same || cfg!(not(target_os = "linux")) { &self.path } else { Path::new("/proc/self/exe") }
    }
}

impl Launch {
    /// Starts the member.
    ///
    /// # Errors
    /// Its log cannot be opened, or the system refuses.
    pub fn start(&self) -> Result<Process, LaunchError> {
        let log = |source| LaunchError::Log { path: self.log.path().to_path_buf(), source };
        let (output, log_from) = self.log.open().map_err(log)?;
        // The lock is the open file's, which the member shares: it is held until the member has ended, whoever else has.
        // See `janitor`. A file system without locks has none, and then nobody waits for them.
        let _ = output.try_lock_shared();
        let errors = output.try_clone().map_err(log)?;
        let program = self.program.path();
        let mut child = Command::new(program)
            .arg0(&self.title)
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(output)
            .stderr(errors)
            // A ctrl-c at the terminal goes to the runner alone, which then ends the members in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| LaunchError::Spawn { program: program.to_path_buf(), source })?;
        let lifeline = child.stdin.take().expect("standard input is a pipe");
        let pid = child.id().expect("nobody waited for it yet");
        Ok(Process { child, pid, started: Instant::now(), log_from, _lifeline: lifeline })
    }
}

impl Process {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// How long it has run.
    pub fn lived(&self) -> Duration {
        self.started.elapsed()
    }

    /// Where in the log this life began, in bytes.
    pub fn log_from(&self) -> u64 {
        self.log_from
    }

    /// Waits for its end. May be given up and called again.
    pub async fn ended(&mut self) -> Ending {
        // Waiting fails only if somebody else reaped our child, and nobody else does.
        Ending(self.child.wait().await.ok())
    }

    /// Asks it to end, by SIGTERM.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        // The child is not reaped before `ended` says so, hence the number is still its own; a process that ended in
        // this instant needs no signal.
        if self.child.id().is_some()
            && let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw)
        {
            let _ = kill_process(pid, signal);
        }
    }

    /// Ends it, by SIGKILL.
    pub fn kill(&mut self) {
        // Fails only for a process that ended by itself.
        let _ = self.child.start_kill();
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending(Option<ExitStatus>);

impl Ending {
    /// With which code it exited, if it did.
    pub fn code(self) -> Option<i32> {
        self.0.and_then(|status| status.code())
    }

    /// Somebody ended it from outside, so that it had no say in it.
    pub fn is_kill(self) -> bool {
        self.0.is_some_and(|status| matches!(status.signal(), Some(9 | 15)))
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(status) = self.0 else { return f.write_str("ended") };
        match (status.code(), status.signal()) {
            (Some(0), _) => f.write_str("exited with code 0"),
            (Some(code), _) => write!(f, "exited with code {code}"),
            (None, Some(9)) => f.write_str("killed by SIGKILL"),
            (None, Some(15)) => f.write_str("killed by SIGTERM"),
            (None, Some(6)) => f.write_str("aborted (SIGABRT)"),
            (None, Some(signal)) => write!(f, "killed by signal {signal}"),
            (None, None) => f.write_str("ended"),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A launch of a shell script.
    pub(crate) fn script(folder: &tempfile::TempDir, text: &str) -> Launch {
        Launch {
            program: Program::at(Path::new("/bin/sh")).expect("every unix has one"),
            title: "sh".into(),
            arguments: vec!["-c".into(), text.into()],
            environment: Vec::new(),
            log: LogFile::new(folder.path().join("log")),
        }
    }

    async fn check(text: &str, ending: &str) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut process = script(&folder, text).start().expect("a shell");
        assert_eq!(process.ended().await.to_string(), ending, "{text}");
    }

    #[tokio::test]
    async fn endings_are_told_apart() {
        check("exit 0", "exited with code 0").await;
        check("exit 3", "exited with code 3").await;
        check("kill -9 $$", "killed by SIGKILL").await;
    }

    #[tokio::test]
    async fn the_lifeline_ends_a_member_with_its_runner() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let process = script(&folder, "cat; echo let go").start().expect("a shell");
        let log = folder.path().join("log");
        // What the system does when the runner dies: the pipe closes. (Taken apart, so that nothing kills the child.)
        let Process { mut child, _lifeline: lifeline, .. } = process;
        drop(lifeline);
        assert!(child.wait().await.expect("our child").success());
        assert_eq!(std::fs::read_to_string(log).expect("readable"), "let go\n");
    }

    #[tokio::test]
    async fn a_member_can_be_asked_and_be_made_to_end() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut asked = script(&folder, "exec sleep 600").start().expect("a shell");
        asked.terminate();
        assert_eq!(asked.ended().await.to_string(), "killed by SIGTERM");
        let mut made = script(&folder, "trap '' TERM; exec sleep 600").start().expect("a shell");
        made.kill();
        assert_eq!(made.ended().await.to_string(), "killed by SIGKILL");
        made.terminate();
    }
}
