//! Faults for as long as you like: `cargo run -p holdfast-e2e --example soak -- --runs 300`. It prints a line per run and a table at the
//! end; whoever finds a failure runs its seed again with `--runs 1 --seed N`. See `e2e/README.md`.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Parser;
use holdfast_e2e::faults::plan::Kind;
use holdfast_e2e::faults::report::Series;
use holdfast_e2e::faults::run::Report;
use holdfast_e2e::faults::{self, interrupt, stage};
use holdfast_e2e::programs;

/// Runs of a real store under faults, one after the other, until all are done or the time is up.
#[derive(Debug, Parser)]
#[command(name = "soak")]
struct Arguments {
    /// How many runs.
    #[arg(long, default_value_t = 300)]
    runs: usize,
    /// The first run's seed; each further run has the next one. Without it, the clock's.
    #[arg(long)]
    seed: Option<u64>,
    /// No run begins after so many minutes.
    #[arg(long, default_value_t = 24 * 60)]
    minutes: u64,
    /// Runs at once.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Only these kinds of faults, such as "kill-all" or a part of it such as "power-cut"; all by default.
    #[arg(long = "kind")]
    kinds: Vec<String>,
    /// Stores with consensus InSync: an authority decides who leads, not a majority. Without faults that only a person mends.
    #[arg(long)]
    in_sync: bool,
    /// Keep the folders of runs that went well too.
    #[arg(long)]
    keep: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    faults::prepare()?;
    interrupt::listen()?;
    let copy = Program::copy()?;
    let clock = std::time::UNIX_EPOCH.elapsed().map_or(1, |time| time.as_secs());
    let series = Series {
        seed: arguments.seed.unwrap_or(clock),
        runs: arguments.runs,
        time_max: Duration::from_secs(60 * arguments.minutes),
        jobs: arguments.jobs.max(1),
        kinds: kinds(&arguments.kinds, arguments.in_sync)?,
        in_sync: arguments.in_sync,
        program: copy.0.join(programs::SIDECAR),
        keep: arguments.keep,
    };
    let begin = Instant::now();
    print(&format!("{} runs from seed {}", series.runs, series.seed));
    let summary = series.run(|done, report| print(&line(done, series.runs, report)));
    print(&format!("\n{summary}\n{} runs in {:.0?}", summary.runs(), begin.elapsed()));
    if interrupt::raised() {
        print("interrupted");
    }
    Ok(if summary.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A copy of the program, so that all runs test the same although it may be built anew meanwhile. Dropping it removes it.
struct Program(PathBuf);

impl Program {
    fn copy() -> anyhow::Result<Program> {
        let built = programs::build(&[programs::SIDECAR])?;
        let folder = stage::folder().join(format!("{}-program", std::process::id()));
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        fs::copy(built.join(programs::SIDECAR), folder.join(programs::SIDECAR))
            .context("cannot copy the program")?;
        Ok(Program(folder))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn kinds(names: &[String], in_sync: bool) -> anyhow::Result<Vec<Kind>> {
    let wanted = |kind: &Kind| {
        (names.is_empty() || names.iter().any(|name| kind.name().contains(name.as_str())))
            && (!in_sync || kind.suits_in_sync())
    };
    let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(wanted).collect();
    if kinds.is_empty() {
        bail!("no kind is called so; there are {}", Kind::ALL.map(Kind::name).join(", "));
    }
    Ok(kinds)
}

fn line(done: usize, runs: usize, report: &Report) -> String {
    let missed = if report.hit { "" } else { ", missed" };
    let verdict =
        report.failure.as_ref().map_or_else(|| "ok".to_owned(), |failure| format!("FAILED: {failure}"));
    format!(
        "{done}/{runs} {}: {} acknowledged, {} unknown, gap {:.1?}, {:.0?}{missed}: {verdict}",
        report.plan, report.tally.acknowledged, report.tally.unknown, report.gap, report.took
    )
}

#[expect(clippy::print_stdout, reason = "this program reports on standard output")]
fn print(line: &str) {
    println!("{line}");
}
