//! The failure experiments of the documents, on the test cluster: operator and lab are installed, one `FaultExperiment` is carried out, its
//! results are added to a file with those of earlier calls, and the cluster is taken down.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use holdfast_e2e::experiments::{Experiment, LAB};
use holdfast_e2e::kubernetes::{Kubernetes, PATIENCE};
use holdfast_e2e::wait;
use holdfast_figures::Machine;
use holdfast_lab::results::{self, Journal};
use holdfast_lab::{Plan, Run};

/// Carries out one FaultExperiment of the eight configurations on the test cluster.
#[derive(Debug, Parser)]
#[command(name = "experiments")]
struct Arguments {
    /// How often each is measured.
    #[arg(long, default_value_t = 20)]
    runs: u32,
    /// How many items are stored before each failure.
    #[arg(long, default_value_t = 100)]
    items: u32,
    /// Where the results go, as CSV; JSON beside it.
    #[arg(long)]
    results: PathBuf,
    /// How long it may take, in minutes.
    #[arg(long, default_value_t = 120)]
    minutes: u64,
}

// Not a runtime's thread: the cluster's network is entered before there are others.
fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let kubernetes = Kubernetes::start()?;
    kubernetes.apply_file("manifests/operator.yaml")?;
    kubernetes.apply_file(LAB)?;
    let spec = format!("{{runs: {}, items: {}}}", arguments.runs, arguments.items);
    let made = wait::until("the kind is served", PATIENCE, || Experiment::make(&kubernetes, "suite", &spec));
    let (experiment, _) = made?;
    let patience = Duration::from_secs(60 * arguments.minutes);
    let ended = experiment.follow(patience, |status| status["phase"] == "Complete").map(drop);
    // What was measured until then is worth keeping.
    if let Ok(csv) = experiment.results() {
        keep(&arguments, &csv)?;
    }
    experiment.delete()?;
    experiment.leaves_only(&[])?;
    kubernetes.stop()?;
    ended
}

/// Adds results to the file. Runs are numbered on where it ends.
fn keep(arguments: &Arguments, csv: &str) -> anyhow::Result<()> {
    let before = results::read(&arguments.results).map(|results| results.runs).unwrap_or_default();
    let offset = before.iter().map(|run| run.run_id).max().unwrap_or(0);
    let mut plan = Plan { runs: offset + arguments.runs, ..Plan::default() };
    plan.protocol.items = arguments.items;
    let machine = Machine::read(Path::new("/var"))?;
    let mut journal = Journal::open(&arguments.results, &plan, machine, env!("CARGO_PKG_VERSION"))?;
    let measured = results::parse(csv.as_bytes()).context("the ConfigMap holds no results")?;
    for run in measured.runs {
        journal.add(Run { run_id: run.run_id + offset, ..run })?;
    }
    Ok(journal.write_record()?)
}
