//! `cargo xtask test`: every test there is, from the quickest kind to the slowest, and one line at the end that says how
//! many passed and failed. It compiles nothing that a stage does not need and stops at no failure.

use std::fmt::Arguments as Words;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{ExitCode, Stdio};
use std::time::Instant;

use anyhow::Context as _;
use clap::Args;

use crate::{checkout, command};

/// Switches on the tests that `cargo test` alone leaves out, because they are slow or change the machine.
const MACHINE: &str = "--features=holdfast-e2e/machine";

/// What `cargo xtask test` is told.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Only these kinds of tests; all by default.
    #[arg(value_enum)]
    kinds: Vec<Kind>,
}

/// The kinds of tests, in the order in which they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    /// Unit tests and simulated clusters: they need nothing but the compiler.
    Unit,
    /// Real processes on this machine.
    Process,
    /// The dashboard of a real store in a real browser.
    Dashboard,
    /// Real processes that are killed, whose disks fail and whose networks are cut.
    Faults,
    /// Dashboards and alerts, asked of a real Prometheus that watches a real store.
    Prometheus,
    /// A real Kubernetes of three nodes.
    Kubernetes,
}

/// What a kind's tests came to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: usize,
    failed: usize,
    /// Tests that were left out, with the reason.
    left_out: Vec<String>,
}

/// Run the tests and say how they went.
///
/// # Errors
///
/// If a test cannot even be started. Failed tests are no error; they decide the exit code.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let all = [Kind::Unit, Kind::Process, Kind::Dashboard, Kind::Faults, Kind::Prometheus, Kind::Kubernetes];
    let begin = Instant::now();
    let mut total = Tally::default();
    for kind in all.into_iter().filter(|kind| arguments.kinds.is_empty() || arguments.kinds.contains(kind)) {
        print(format_args!("\n==> {} ({:.0} s so far)", kind.title(), begin.elapsed().as_secs_f64()));
        total.add(run_kind(kind)?);
    }
    print(format_args!("\n==> done after {:.0} s", begin.elapsed().as_secs_f64()));
    if !total.left_out.is_empty() {
        print(format_args!("{} tests were left out:", total.left_out.len()));
        total.left_out.iter().for_each(|one| print(format_args!("  {one}")));
    }
    print(format_args!("{} passed, {} failed", total.passed, total.failed));
    Ok(if total.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Kind {
    fn title(self) -> &'static str {
        match self {
            Kind::Unit => "unit tests and simulation",
            Kind::Process => "real processes on this machine",
            Kind::Dashboard => "the dashboard in a real browser",
            Kind::Faults => "real processes under faults",
            Kind::Prometheus => "dashboards and alerts against a real Prometheus",
            Kind::Kubernetes => "a real Kubernetes of three nodes",
        }
    }

    /// What `cargo test` is told. All kinds select the whole workspace, because dependencies get the features that the
    /// selected crates ask for, and would be compiled again for every other selection.
    fn selection(self) -> &'static [&'static str] {
        match self {
            Kind::Unit => &[],
            Kind::Process => &[
                MACHINE,
                "--test=bad_input",
                "--test=laptop",
                "--test=demonstration",
                "--test=messages",
                "--test=files",
                "--test=lab",
                "--test=chat",
            ],
            Kind::Dashboard => &[MACHINE, "--test=dashboard"],
            Kind::Faults => &[MACHINE, "--test=faults"],
            Kind::Prometheus => &[MACHINE, "--test=prometheus"],
            Kind::Kubernetes => &[MACHINE, "--test=kubernetes"],
        }
    }
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.left_out.extend(other.left_out);
    }

    /// Take in a line that a test program printed.
    fn read(&mut self, line: &str) {
        if let Some((name, reason)) =
            line.strip_prefix("test ").and_then(|line| line.split_once(" ... ignored"))
        {
            self.left_out.push(format!("{name}{}", reason.replacen(", ", ": ", 1)));
        }
        let Some(result) = line.strip_prefix("test result: ") else { return };
        for part in result.split([';', '.']) {
            match part.trim().split_once(' ') {
                Some((number, "passed")) => self.passed += number.parse::<usize>().unwrap_or(0),
                Some((number, "failed")) => self.failed += number.parse::<usize>().unwrap_or(0),
                _ => {}
            }
        }
    }
}

fn run_kind(kind: Kind) -> anyhow::Result<Tally> {
    let mut cargo = command::cargo(["test", "--workspace", "--no-fail-fast"]);
    cargo.args(kind.selection()).current_dir(checkout());
    let mut child = cargo.stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
    let mut tally = Tally::default();
    for line in BufReader::new(child.stdout.take().expect("a piped output")).split(b'\n') {
        let line = line.context("cannot read what the tests say")?;
        let line = String::from_utf8_lossy(&line);
        tally.read(&line);
        print(format_args!("{line}"));
    }
    let status = child.wait().context("cannot wait for cargo")?;
    if !status.success() && tally.failed == 0 {
        // It did not compile, or a test program died; its tests must not vanish from the count.
        print(format_args!("cargo ended with {status}: {} did not run to their end", kind.title()));
        tally.failed = 1;
    }
    Ok(tally)
}

fn print(line: Words<'_>) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_test_programs_are_counted() {
        let mut tally = Tally::default();
        for line in [
            "test a::b ... ok",
            "test a::slow ... ignored",
            "test helm_installs ... ignored, no Go",
            "test result: ok. 4 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test result: FAILED. 10 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s",
        ] {
            tally.read(line);
        }
        let left_out = vec!["a::slow".to_owned(), "helm_installs: no Go".to_owned()];
        assert_eq!(tally, Tally { passed: 14, failed: 3, left_out });
    }
}
