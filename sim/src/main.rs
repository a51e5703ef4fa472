//! `holdfast-sim`: soak whole simulated clusters, or replay one seed.

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Parser;
use holdfast_sim::{Bug, Report, run};

/// Simulate whole clusters under seeded faults, in virtual time.
#[derive(Parser)]
struct Arguments {
    /// Replay this seed alone.
    #[arg(long)]
    seed: Option<u64>,
    /// Run fresh seeds for so many minutes.
    #[arg(long, default_value_t = 1.0, conflicts_with = "seed")]
    minutes: f64,
    /// The first of the fresh seeds; drawn from the time without it.
    #[arg(long, conflicts_with = "seed")]
    from: Option<u64>,
    /// Switch a deliberate bug on, by its name.
    #[arg(long)]
    bug: Option<String>,
    /// Print every step of a replayed seed.
    #[arg(long, requires = "seed")]
    trace: bool,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let bug = arguments.bug.as_deref().map(bug_named).transpose()?;
    let mut out = std::io::stdout().lock();
    if let Some(seed) = arguments.seed {
        let report = run(seed, bug, arguments.trace)?;
        writeln!(out, "seed {seed}: {report:?}")?;
        return Ok(());
    }
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let first = arguments.from.unwrap_or(since_epoch.context("the clock is before 1970")?.as_nanos() as u64);
    let (start, length) = (Instant::now(), Duration::from_secs_f64(arguments.minutes * 60.0));
    let (mut seeds, mut simulated, mut total) = (0u64, Duration::ZERO, Report::default());
    while start.elapsed() < length {
        let report = run(first.wrapping_add(seeds), bug, false)?;
        seeds += 1;
        simulated += report.virtual_time;
        total.faults += report.faults;
        total.elections += report.elections;
        total.operations += report.operations;
        if seeds.is_multiple_of(100) {
            let factor = simulated.as_secs_f64() / start.elapsed().as_secs_f64();
            writeln!(
                out,
                "{seeds} seeds from {first}: {:.1} simulated hours ({factor:.0} times real time), {} faults, {} elections, {} operations",
                simulated.as_secs_f64() / 3600.0,
                total.faults,
                total.elections,
                total.operations
            )?;
        }
    }
    writeln!(out, "no invariant broken in {seeds} seeds from {first}")?;
    Ok(())
}

fn bug_named(name: &str) -> anyhow::Result<Bug> {
    match Bug::ALL.into_iter().find(|bug| format!("{bug:?}") == name) {
        Some(bug) => Ok(bug),
        None => bail!("no bug is called {name:?}; there are {:?}", Bug::ALL),
    }
}
