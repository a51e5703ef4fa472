//! The failure experiments of the documents, on the test cluster: operator and lab are installed, one `FaultExperiment` is carried out, its
//! results are written into a file, and the cluster is taken down.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use holdfast_e2e::experiments::{Experiment, LAB};
use holdfast_e2e::kubernetes::{Kubernetes, PATIENCE};
use holdfast_e2e::wait;

/// Carries out one FaultExperiment on the test cluster.
#[derive(Debug, Parser)]
#[command(name = "experiments")]
struct Arguments {
    /// Its spec, in YAML's short form; by default the eight configurations.
    #[arg(long, default_value = "{}")]
    spec: String,
    /// Where the results go, as CSV.
    #[arg(long)]
    results: PathBuf,
    /// How long it may take, in minutes.
    #[arg(long, default_value_t = 120)]
    minutes: u64,
}

// Not a runtime's thread: the cluster's network is entered before there are others.
fn main() -> anyhow::Result<()> {
    let Arguments { spec, results, minutes } = Arguments::parse();
    let kubernetes = Kubernetes::start()?;
    kubernetes.apply_file("manifests/operator.yaml")?;
    kubernetes.apply_file(LAB)?;
    let made = wait::until("the kind is served", PATIENCE, || Experiment::make(&kubernetes, "suite", &spec));
    let (experiment, _) = made?;
    let followed =
        experiment.follow(Duration::from_secs(60 * minutes), |status| status["phase"] == "Complete");
    // What was measured until then is worth keeping.
    if let Ok(csv) = experiment.results() {
        std::fs::write(&results, csv)?;
    }
    let ended = followed.map(drop);
    experiment.delete()?;
    experiment.leaves_only(&[])?;
    kubernetes.stop()?;
    ended
}
