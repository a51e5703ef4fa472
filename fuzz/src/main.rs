//! `holdfast-fuzz`: fuzz one target or all of them, or give one of them one input again.

use std::cell::Cell;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use clap::Parser;
use holdfast_fuzz::supervisor::{Order, Slot, supervise};
use holdfast_fuzz::{Bounds, Meter, Session, Target, targets};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Mutate what comes from peers, clients and disks until a property of its reader breaks.
#[derive(Parser)]
struct Arguments {
    /// One of the targets, or `all`. Without it they are listed.
    target: Option<String>,
    /// How long, for each target.
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// So many inputs for each target, however long that takes.
    #[arg(long, conflicts_with = "minutes")]
    inputs: Option<u64>,
    /// What the inputs are drawn by; taken from the time without it.
    #[arg(long)]
    seed: Option<u64>,
    /// Give the target this file and nothing else.
    #[arg(long, conflicts_with_all = ["minutes", "inputs", "seed"])]
    input: Option<PathBuf>,
    /// Where failing inputs go.
    #[arg(long, default_value = "target/fuzz-failures")]
    failures: PathBuf,
    /// Be the process that runs the target, and write here what it is at.
    #[arg(long, hide = true)]
    worker: Option<PathBuf>,
}

/// The allocator's count of this process.
#[derive(Default)]
struct Allocator {
    before: Cell<usize>,
}

impl Meter for Allocator {
    fn begin(&self) {
        MEMORY.reset_peak_usage();
        self.before.set(MEMORY.current_usage());
    }

    fn most(&self) -> usize {
        MEMORY.peak_usage().saturating_sub(self.before.get())
    }
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let mut out = std::io::stdout();
    let Some(name) = &arguments.target else {
        for Target { name, about, .. } in targets::all() {
            writeln!(out, "{name:<16} {about}")?;
        }
        return Ok(ExitCode::SUCCESS);
    };
    let chosen = targets::named(name);
    anyhow::ensure!(!chosen.is_empty(), "there is no target {name:?}; call without one to list them");
    let meter = Allocator::default();
    if let Some(path) = &arguments.input {
        let input = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        for target in chosen {
            Session::new(target, 0, &meter).run_one(&input);
            writeln!(out, "{}: {} bytes, nothing is wrong", target.name, input.len())?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
    let seed = arguments.seed.unwrap_or(now.as_nanos() as u64);
    let bounds = match arguments.inputs {
        Some(inputs) => Bounds::Inputs(inputs),
        None => Bounds::Time(Duration::from_secs_f64(arguments.minutes * 60.0)),
    };
    if let (Some(slot), &[target]) = (&arguments.worker, &chosen[..]) {
        work(target, bounds, seed, &mut Slot::open(slot)?, &meter);
        return Ok(ExitCode::SUCCESS);
    }
    let mut failed = 0;
    for target in chosen {
        let order = Order { target, bounds, seed, failures: &arguments.failures };
        failed += supervise(order, &mut out)?.len();
    }
    if failed > 0 {
        writeln!(out, "{failed} failures, inputs in {}", arguments.failures.display())?;
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn work(target: &Target, bounds: Bounds, seed: u64, slot: &mut Slot, meter: &dyn Meter) {
    let before = |input: &[u8]| slot.put(input).expect("the supervisor made the file");
    let report = |tried: u64, kept: usize| {
        let mut out = std::io::stdout();
        let _ = writeln!(out, "{}: seed {seed}, {tried} inputs, {kept} kept", target.name);
    };
    Session::new(target, seed, meter).run(bounds, before, report);
}
