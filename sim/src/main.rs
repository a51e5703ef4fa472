//! `holdfast-sim`: soak whole simulated clusters, or replay one seed.

use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Parser;
use holdfast_sim::{Flaw, IN_SYNC, MESSAGE_LOGS, Report, Scenario, hunt, run, run_scenario};

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
    /// Fresh seeds simulate in-sync mode, not majority mode.
    #[arg(long, conflicts_with = "seed")]
    in_sync: bool,
    /// Fresh seeds simulate clients of message logs.
    #[arg(long, conflicts_with_all = ["seed", "in_sync"])]
    message_logs: bool,
    /// One run, with faults until its message logs have so many messages.
    #[arg(long, conflicts_with_all = ["minutes", "in_sync", "message_logs", "hunt"])]
    messages: Option<u64>,
    /// How many clients that run has.
    #[arg(long, default_value_t = 64, requires = "messages")]
    clients: usize,
    /// Switch a deliberate bug on, by its name.
    #[arg(long)]
    bug: Option<Flaw>,
    /// Look for every deliberate bug, or for the one that `--bug` names, in the first so many seeds, and print where.
    #[arg(long, conflicts_with_all = ["seed", "from", "minutes"])]
    hunt: Option<u64>,
    /// Print every step of a replayed seed.
    #[arg(long, requires = "seed")]
    trace: bool,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let bug = arguments.bug;
    let mut out = std::io::stdout();
    if let Some(messages) = arguments.messages {
        let (start, seed) = (Instant::now(), arguments.seed.or(arguments.from).unwrap_or(1));
        let report = run_scenario(Scenario::soak(seed, arguments.clients, messages), bug, arguments.trace)?;
        writeln!(out, "seed {seed}, {:.1?}: {report:?}", start.elapsed())?;
        return Ok(());
    }
    if let Some(seed) = arguments.seed {
        let report = run(seed, bug, arguments.trace)?;
        writeln!(out, "seed {seed}: {report:?}")?;
        return Ok(());
    }
    if let Some(seeds_max) = arguments.hunt {
        return hunt_all(bug, seeds_max, &mut out);
    }
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let first = arguments.from.unwrap_or(since_epoch.context("the clock is before 1970")?.as_nanos() as u64);
    let first = match (arguments.in_sync, arguments.message_logs) {
        (true, _) => first | IN_SYNC,
        (_, true) => first | MESSAGE_LOGS,
        _ => first,
    };
    let (start, length) = (Instant::now(), Duration::from_secs_f64(arguments.minutes * 60.0));
    let (mut seeds, mut simulated, mut total) = (0u64, Duration::ZERO, Report::default());
    while start.elapsed() < length {
        let report = run(first.wrapping_add(seeds), bug, false)?;
        seeds += 1;
        simulated += report.virtual_time;
        total.faults += report.faults;
        total.elections += report.elections;
        total.operations += report.operations;
        total.damaged += report.damaged;
        total.repaired += report.repaired;
        total.resized += report.resized;
        if seeds.is_multiple_of(100) {
            let factor = simulated.as_secs_f64() / start.elapsed().as_secs_f64();
            writeln!(
                out,
                "{seeds} seeds from {first}: {:.1} simulated hours ({factor:.0} times real time), {} faults, {} elections, {} operations, {} disks damaged, {} repaired, {} resizes",
                simulated.as_secs_f64() / 3600.0,
                total.faults,
                total.elections,
                total.operations,
                total.damaged,
                total.repaired,
                total.resized
            )?;
        }
    }
    writeln!(out, "no invariant broken in {seeds} seeds from {first}")?;
    Ok(())
}

/// Print a line of a table for each bug: its name, the first seed that shows it, and what it broke.
fn hunt_all(bug: Option<Flaw>, seeds_max: u64, out: &mut (impl Write + Send)) -> anyhow::Result<()> {
    std::panic::set_hook(Box::new(|_| {}));
    let catalogue: Vec<Flaw> = bug.map_or_else(|| Flaw::all().collect(), |bug| vec![bug]);
    let out = Mutex::new(out);
    hunt(&catalogue, seeds_max, |hunted| {
        let line = match &hunted.found {
            Some(failure) => format!("| `{}` | {} | {} |", hunted.flaw, failure.seed, failure.what),
            None => format!("| `{}` | not in {seeds_max} seeds | |", hunted.flaw),
        };
        // Nobody reads on once the output is closed.
        let _ = writeln!(out.lock().unwrap_or_else(PoisonError::into_inner), "{line}");
    });
    Ok(())
}
