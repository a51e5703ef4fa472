//! One member as a real process, started again whenever it ends, as by a kubelet; and what strace does to it.

use std::fs;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use holdfast_xtask::command;
use rustix::process::{Pid, Signal, kill_process};

/// The pause before a member that ended is started again.
const RESTART_PAUSE: Duration = Duration::from_millis(50);

/// A log segment's length: a run writes many of them.
const SEGMENT_BYTES: u64 = 64 * 1024;

/// The system calls by which a member changes its disk. Writes to sockets and logs go by others.
pub const WRITE_SIDE: &str = "pwrite64,pwritev,pwritev2,write,fdatasync,fsync,sync_file_range,ftruncate,fallocate,rename,\
                              renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,linkat";

/// The calls that write to files.
pub const WRITES: &str = "pwrite64,pwritev,pwritev2,ftruncate,fallocate";

/// The calls that make writes durable.
pub const FLUSHES: &str = "fdatasync,fsync";

/// What strace does to a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Injection {
    /// To which system calls, separated by commas.
    pub calls: &'static str,
    /// What: such as `error=EIO`.
    pub what: String,
    /// At which call of a thread, from 1; at every one without.
    pub nth: Option<u64>,
}

/// How a member's process is started.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Its place in the store.
    pub ordinal: u8,
    /// `holdfast-sidecar`.
    pub program: PathBuf,
    /// Where it runs.
    pub namespace: PathBuf,
    /// Its address there.
    pub address: String,
    /// The store's settings.
    pub settings: PathBuf,
    /// Its data.
    pub data: PathBuf,
    /// The file that decides who leads, if a majority does not.
    pub authority: Option<PathBuf>,
    /// The run's folder, for logs.
    pub folder: PathBuf,
}

/// The member. Dropping it kills its process.
#[derive(Debug)]
pub struct Member {
    launch: Launch,
    process: Option<Child>,
    /// When it may be started again.
    rests_until: Option<Instant>,
    /// What the next starts are done under, the last one first.
    injections: Vec<Injection>,
    /// Until when it may end by itself with an error: its disk fails.
    excused_until: Option<Instant>,
    /// How often it was started.
    starts: usize,
    /// How often strace did something to it at a start.
    tracers: usize,
}

/// A strace that is attached to a running member. Dropping it lets the member go.
#[derive(Debug)]
pub struct Tracer {
    process: Child,
    output: PathBuf,
}

impl Member {
    /// A member that does not run yet.
    pub fn new(launch: Launch) -> Member {
        Member {
            launch,
            process: None,
            rests_until: None,
            injections: Vec::new(),
            excused_until: None,
            starts: 0,
            tracers: 0,
        }
    }

    /// Start it, if it does not run and may. Called again and again.
    ///
    /// # Errors
    ///
    /// If the system refuses, or if it ended by itself although nobody did anything to it.
    pub fn keep_running(&mut self) -> anyhow::Result<()> {
        if let Some(process) = &mut self.process {
            let Some(status) = process.try_wait().context("a member cannot be waited for")? else {
                return Ok(());
            };
            self.process = None;
            let until = Instant::now() + RESTART_PAUSE;
            self.rests_until = self.rests_until.max(Some(until));
            self.judge(status)?;
        }
        if self.rests_until.is_some_and(|until| Instant::now() < until) {
            return Ok(());
        }
        self.start()
    }

    /// Do not start it for so long.
    pub fn rest(&mut self, time: Duration) {
        self.rests_until = Some(Instant::now() + time);
    }

    /// Start it as soon as it does not run, and under nothing.
    pub fn wake(&mut self) {
        self.rests_until = None;
        self.injections.clear();
    }

    /// Whether a process of it is there; it may be stopped.
    pub fn runs(&self) -> bool {
        self.process.is_some()
    }

    /// It may end with an error from now on for so long.
    pub fn excuse(&mut self, time: Duration) {
        self.excused_until = Some(Instant::now() + time);
    }

    /// Do its next starts under these.
    pub fn start_under(&mut self, injections: Vec<Injection>) {
        self.injections = injections;
    }

    /// What it says about itself in its log.
    pub fn log(&self) -> String {
        let path = self.launch.folder.join(format!("member-{}.log", self.launch.ordinal));
        fs::read_to_string(path).unwrap_or_default()
    }

    /// How often it was started.
    pub fn starts(&self) -> usize {
        self.starts
    }

    /// How often a start under strace came to what was to be done. Counts only ended processes for certain.
    pub fn hits_at_start(&self) -> usize {
        (1..=self.tracers).filter(|number| was_hit(&self.trace(*number))).count()
    }

    /// Send its process a signal, if there is one.
    pub fn signal(&self, signal: Signal) {
        // It may have ended in this instant; the number is its own until it is waited for.
        let pid = self.process.as_ref().and_then(|process| Pid::from_raw(process.id() as i32));
        if let Some(pid) = pid {
            let _ = kill_process(pid, signal);
        }
    }

    /// Kill its process and wait for its end.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Let strace do something to the process that runs, until the tracer is dropped. Nothing if none runs.
    ///
    /// # Errors
    ///
    /// If strace cannot be started.
    pub fn attach(&self, injection: &Injection, number: usize) -> anyhow::Result<Option<Tracer>> {
        let Some(process) = &self.process else { return Ok(None) };
        let output = self.launch.folder.join(format!("strace-{}-attached-{number}", self.launch.ordinal));
        let mut strace = Command::new("strace");
        strace.args(injection.arguments()).arg("-o").arg(&output).arg("-p").arg(process.id().to_string());
        strace.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        Ok(Some(Tracer { process: strace.spawn().context("cannot start strace")?, output }))
    }

    fn start(&mut self) -> anyhow::Result<()> {
        let launch = &self.launch;
        let path = launch.folder.join(format!("member-{}.log", launch.ordinal));
        let log = fs::File::options().create(true).append(true).open(&path)?;
        let mut line = command::words(["nsenter", &format!("--net={}", launch.namespace.display()), "--"]);
        // However this thread ends, the member does too.
        line.args(["setpriv", "--pdeathsig", "KILL", "--"]);
        if let Some(injection) = self.injections.pop() {
            self.tracers += 1;
            line.args(["strace", "-D"]).args(injection.arguments()).arg("-o").arg(self.trace(self.tracers));
        }
        let launch = &self.launch;
        line.arg(&launch.program).arg(format!("--ordinal={}", launch.ordinal));
        line.arg("--settings").arg(&launch.settings).arg("--data").arg(&launch.data);
        for (flag, port) in [("client", 7400), ("peer", 7401), ("admin", 7402)] {
            line.arg(format!("--{flag}-address={}:{port}", launch.address));
        }
        if let Some(authority) = &launch.authority {
            line.arg("--authority").arg(authority);
        }
        line.args(["--log-format=text", "--lifeline"])
            .env("HOLDFAST_SEGMENT_BYTES", SEGMENT_BYTES.to_string());
        line.stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log).process_group(0);
        self.process = Some(line.spawn().context("cannot start a member")?);
        self.starts += 1;
        Ok(())
    }

    fn trace(&self, number: usize) -> PathBuf {
        self.launch.folder.join(format!("strace-{}-start-{number}", self.launch.ordinal))
    }

    /// Killed and asked to end is fine; an error is fine while its disk fails.
    fn judge(&self, status: ExitStatus) -> anyhow::Result<()> {
        let excused = self.excused_until.is_some_and(|until| Instant::now() < until);
        let killed = matches!(status.signal(), Some(9 | 15));
        if killed || status.success() || (excused && status.code() == Some(1)) {
            return Ok(());
        }
        let log = self.log();
        let words: Vec<&str> = log.lines().rev().take(3).collect();
        let words: Vec<&str> = words.into_iter().rev().collect();
        anyhow::bail!("member {} ended by itself with {status}: {}", self.launch.ordinal, words.join(" / "))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Injection {
    fn arguments(&self) -> Vec<String> {
        let when = self.nth.map(|nth| format!(":when={nth}")).unwrap_or_default();
        let (trace, inject) =
            (format!("trace={}", self.calls), format!("inject={}:{}{when}", self.calls, self.what));
        ["-f", "-q", "-e", &trace, "-e", &inject, "-e", "signal=KILL"].map(str::to_owned).to_vec()
    }
}

impl Tracer {
    /// Whether it came to what was to be done.
    pub fn hit(&self) -> bool {
        was_hit(&self.output)
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // Asked to end, strace lets go of the process in order.
        if let Some(pid) = Pid::from_raw(self.process.id() as i32) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.process.wait();
    }
}

/// Whether a trace shows that something was done.
fn was_hit(path: &Path) -> bool {
    let trace = fs::read_to_string(path).unwrap_or_default();
    ["(INJECTED)", "(DELAYED)", "killed by SIGKILL"].iter().any(|word| trace.contains(word))
}
