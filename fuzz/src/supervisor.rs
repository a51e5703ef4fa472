//! Runs sessions in processes of their own and keeps what makes them fail: [`supervise`].
//!
//! A worker writes each input to a file before it gives it to the target. So whatever ends the worker (a panic, an
//! overflown stack, no memory) or stops it (a loop without end), the input is there. It is then made small, each try in
//! a process of its own too, and written to a folder.
//!
//! What it refuses to do: go on for ever. After a number of failures it has enough.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::minimise::minimise;
use crate::{Bounds, Target};

/// A worker that is at one input for so long will never be done with it.
const STUCK_AFTER: Duration = Duration::from_secs(60);

/// The same for the smaller inputs that are tried afterwards.
const STUCK_SMALL_AFTER: Duration = Duration::from_secs(20);

/// Time between two looks at a worker.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Most failures of one run; each costs a new worker and many tries.
const FAILURES_MAX: usize = 10;

/// Most tries to make an input smaller.
const TRIES_MAX: usize = 400;

/// Bytes before the input in a worker's file: how many inputs there were, and this one's length.
const HEAD_BYTES: usize = 16;

/// What to run.
#[derive(Clone, Copy)]
pub struct Order<'a> {
    /// What is under test.
    pub target: &'a Target,
    /// How long.
    pub bounds: Bounds,
    /// What the inputs are drawn by.
    pub seed: u64,
    /// Where failing inputs go.
    pub failures: &'a Path,
}

/// One input on which a target failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Where it is, as small as it was made.
    pub path: PathBuf,
    /// What the target said, from the panic's place on.
    pub message: String,
}

/// The file through which a worker says what it is at.
#[derive(Debug)]
pub struct Slot {
    file: File,
    inputs: u64,
}

impl Slot {
    /// Open the file that the supervisor made.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub fn open(path: &Path) -> std::io::Result<Slot> {
        Ok(Slot { file: File::options().write(true).open(path)?, inputs: 0 })
    }

    /// The worker goes on to this input.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub fn put(&mut self, input: &[u8]) -> std::io::Result<()> {
        self.inputs += 1;
        let mut bytes = Vec::with_capacity(HEAD_BYTES + input.len());
        bytes.extend_from_slice(&self.inputs.to_le_bytes());
        bytes.extend_from_slice(&(input.len() as u64).to_le_bytes());
        bytes.extend_from_slice(input);
        self.file.write_all_at(&bytes, 0)
    }
}

/// How many inputs a worker has come to.
fn count(slot: &File) -> std::io::Result<u64> {
    let mut count = [0; 8];
    slot.read_exact_at(&mut count, 0)?;
    Ok(u64::from_le_bytes(count))
}

/// The input that a worker was at.
fn input(slot: &Path) -> anyhow::Result<Vec<u8>> {
    let bytes = fs::read(slot)?;
    let length = bytes.get(8..HEAD_BYTES).context("the worker came to no input")?;
    let length = u64::from_le_bytes(length.try_into()?) as usize;
    Ok(bytes.get(HEAD_BYTES..HEAD_BYTES + length).context("the worker's input is cut off")?.to_vec())
}

/// Run workers until the bounds are reached, and say how it goes. Failures that look the same count once.
///
/// # Errors
///
/// The operating system's; that the target fails is none.
pub fn supervise(order: Order<'_>, out: &mut impl Write) -> anyhow::Result<Vec<Failure>> {
    let scratch = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())?;
    let (slot, said) = (scratch.path().join("input"), scratch.path().join("said"));
    let mut failures: Vec<Failure> = Vec::new();
    let (begin, mut seed) = (Instant::now(), order.seed);
    loop {
        let bounds = match order.bounds {
            Bounds::Time(time) => Bounds::Time(time.saturating_sub(begin.elapsed())),
            inputs => inputs,
        };
        fs::write(&slot, [0; HEAD_BYTES])?;
        let mut worker = program(scratch.path())?;
        match bounds {
            Bounds::Inputs(inputs) => worker.arg(format!("--inputs={inputs}")),
            Bounds::Time(time) => worker.arg(format!("--minutes={}", time.as_secs_f64() / 60.0)),
        };
        worker.arg(order.target.name).arg(format!("--seed={seed}")).arg("--worker").arg(&slot);
        let child = worker.stderr(File::create(&said)?).spawn().context("cannot start a worker")?;
        let Some(how) = ending(child, &slot, STUCK_AFTER)? else { return Ok(failures) };
        let (input, message) = (input(&slot)?, message(&said, &how)?);
        if failures.iter().all(|known| place(&known.message) != place(&message)) {
            writeln!(out, "{}: {message}", order.target.name)?;
            let failure = keep(order, scratch.path(), &input, message)?;
            tell(order.target, &failure, seed, out)?;
            failures.push(failure);
        }
        let over = matches!(order.bounds, Bounds::Time(time) if begin.elapsed() < time);
        if !over || failures.len() >= FAILURES_MAX {
            return Ok(failures);
        }
        seed = seed.wrapping_add(1);
    }
}

/// How to see a failure again.
fn tell(target: &Target, failure: &Failure, seed: u64, out: &mut impl Write) -> anyhow::Result<()> {
    let (name, path) = (target.name, failure.path.display());
    writeln!(out, "  input: b\"{}\"", fs::read(&failure.path)?.escape_ascii())?;
    writeln!(out, "  again: cargo run -p holdfast-fuzz -- {name} --input {path}")?;
    writeln!(out, "  found: cargo run -p holdfast-fuzz -- {name} --seed {seed}")?;
    Ok(())
}

/// This program, whose temporary files are in the supervisor's scratch folder: in memory, where there is one, and gone
/// with it whatever ends the program.
fn program(scratch: &Path) -> anyhow::Result<Command> {
    let mut program = Command::new(std::env::current_exe().context("cannot find this program")?);
    program.stdin(Stdio::null()).env("RUST_BACKTRACE", "0").env("TMPDIR", scratch);
    Ok(program)
}

/// Wait for a worker. `None` if nothing failed, else how it ended.
fn ending(mut child: Child, slot: &Path, stuck_after: Duration) -> anyhow::Result<Option<String>> {
    let slot = File::open(slot)?;
    let (mut at, mut since) = (0, Instant::now());
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(failed(status));
        }
        let now_at = count(&slot)?;
        if now_at != at {
            (at, since) = (now_at, Instant::now());
        } else if since.elapsed() > stuck_after {
            child.kill()?;
            child.wait()?;
            return Ok(Some(format!("it was not done with an input after {stuck_after:?}")));
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
}

fn failed(status: ExitStatus) -> Option<String> {
    (!status.success()).then(|| format!("the worker ended with {status}"))
}

/// What the worker said last, from its panic on.
fn message(said: &Path, how: &str) -> anyhow::Result<String> {
    const SHOWN_CHARACTERS_MAX: usize = 2000;
    let said = String::from_utf8_lossy(&fs::read(said)?).into_owned();
    let from = said.find("panicked at").unwrap_or(0);
    let words = match said[from..].trim() {
        "" => how,
        words => words,
    };
    Ok(words.chars().take(SHOWN_CHARACTERS_MAX).collect())
}

/// By what failures are told apart: the place of the panic, or else what was said, without the process's number.
fn place(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    match line.starts_with("panicked at") {
        true => line.to_owned(),
        false => line.chars().filter(|c| !c.is_ascii_digit()).collect(),
    }
}

/// Make a failing input small, and write it down.
fn keep(order: Order<'_>, scratch: &Path, input: &[u8], message: String) -> anyhow::Result<Failure> {
    let small = minimise(input, TRIES_MAX, |candidate| {
        again(order.target, scratch, candidate)
            .is_ok_and(|again| again.as_deref().is_some_and(|again| place(again) == place(&message)))
    });
    fs::create_dir_all(order.failures)
        .with_context(|| format!("cannot create {}", order.failures.display()))?;
    let name = format!("{}-{:08x}", order.target.name, crc32c::crc32c(&small));
    let path = order.failures.join(name);
    fs::write(&path, &small).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(Failure { path, message })
}

/// What the target says to one input; `None` if nothing.
fn again(target: &Target, scratch: &Path, input: &[u8]) -> anyhow::Result<Option<String>> {
    let (file, said) = (scratch.join("candidate"), scratch.join("again"));
    fs::write(&file, [&[0; HEAD_BYTES], input].concat())?;
    let plain = scratch.join("plain");
    fs::write(&plain, input)?;
    let mut worker = program(scratch)?;
    worker.arg(target.name).arg("--input").arg(&plain).stdout(Stdio::null()).stderr(File::create(&said)?);
    let how = ending(worker.spawn()?, &file, STUCK_SMALL_AFTER)?;
    how.map(|how| message(&said, &how)).transpose()
}
