//! `holdfast-lab`: carries out the `FaultExperiment`s of a cluster, and what it is asked for over HTTP; or is the knife in a pod of one of their stores.
//!
//! It ends with code 0 when it was asked to stop, 1 with one message when something failed, 2 when the command line makes no sense.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser as _;
use holdfast_lab::RunMetrics;
use holdfast_lab::kubernetes::own::{LabPod, Own};
use holdfast_lab::kubernetes::turns::Turns;
use holdfast_lab::kubernetes::worker::Worker;
use holdfast_lab::kubernetes::{chain, knife, serve};
use holdfast_sidecar::ending::ending;
use holdfast_sidecar::listener::bind;
use holdfast_sidecar::logging::{self, LogFormat};
use holdfast_sidecar::signals::Signals;
use prometheus::Registry;
use prometheus::process_collector::ProcessCollector;
use tokio::sync::watch;

/// The lab's image if nobody names another: this version's.
const IMAGE: &str = concat!("ghcr.io/holdfast-dev/holdfast-lab:", env!("CARGO_PKG_VERSION"));
/// How long answers that are under way may take at the end.
const GRACE: Duration = Duration::from_secs(1);

/// The command line.
#[derive(Debug, clap::Parser)]
#[command(name = "holdfast-lab", version, about)]
struct Arguments {
    /// What to do.
    #[command(subcommand)]
    verb: Verb,
}

/// What to do.
#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Carry out FaultExperiments until told to stop.
    Run(Run),
    /// Kill the member in the same pod when told to; what an experiment's stores have beside every member.
    Knife {
        /// Where it listens.
        #[arg(
            long,
            env = "HOLDFAST_KNIFE_LISTEN",
            value_name = "ADDRESS:PORT",
            default_value = "0.0.0.0:7405"
        )]
        listen: SocketAddr,
    },
}

/// Carry out FaultExperiments.
#[derive(Debug, clap::Args)]
struct Run {
    /// This program's own image, which the pods of its stores have beside their members.
    #[arg(long, env = "HOLDFAST_LAB_IMAGE", value_name = "IMAGE", default_value = IMAGE)]
    image: String,
    /// The only namespace whose experiments are carried out; without it, all.
    #[arg(long, env = "HOLDFAST_WATCH_NAMESPACE", value_name = "NAMESPACE")]
    watch_namespace: Option<String>,
    /// Where probes, metrics and the protocol's routes are served.
    #[arg(long, env = "HOLDFAST_LAB_LISTEN", value_name = "ADDRESS:PORT", default_value = "0.0.0.0:8000")]
    listen: SocketAddr,
    /// Where results are while they are measured. They are kept in the cluster.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/holdfast-lab")]
    scratch: PathBuf,
    /// Serve the research protocol's routes too, on a store in this pod's namespace that belongs to this pod.
    #[arg(long, requires_all = ["pod_namespace", "pod_uid"])]
    rest: bool,
    /// This process's name in events: its pod's.
    #[arg(long, env = "POD_NAME", value_name = "NAME", default_value = "holdfast-lab")]
    pod_name: String,
    /// The namespace of its pod.
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAMESPACE")]
    pod_namespace: Option<String>,
    /// The uid of its pod.
    #[arg(long, env = "POD_UID", value_name = "UID")]
    pod_uid: Option<String>,
    /// How log lines look; HOLDFAST_LOG says which there are.
    #[arg(long, env = "HOLDFAST_LOG_FORMAT", value_name = "FORMAT", default_value = "json")]
    log_format: LogFormat,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().verb {
        Verb::Run(arguments) => run(arguments),
        Verb::Knife { listen } => be_a_knife(listen),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to be told that nobody reads this.
            let _ = writeln!(std::io::stderr(), "holdfast-lab: {}", chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(worker_threads = 2)]
async fn run(arguments: Run) -> anyhow::Result<()> {
    logging::start(arguments.log_format)?;
    let mut signals = Signals::listen(false)?;
    let registry = Arc::new(Registry::new());
    let metrics = RunMetrics::register(&registry)?;
    registry.register(Box::new(ProcessCollector::for_self()))?;
    let socket = bind(arguments.listen, serve::PURPOSE).await?;
    let mut config = kube::Config::infer().await.context("cannot find out where the API server is")?;
    // What fails is tried again by whoever asked, who also tells of it.
    config.default_retry = false;
    let client = kube::Client::try_from(config).context("cannot make a client for the API server")?;
    let (end, heard) = ending();
    let turns = Turns::default();
    let own = match (arguments.rest, arguments.pod_namespace, arguments.pod_uid) {
        (true, Some(namespace), Some(uid)) => {
            let pod = LabPod { namespace, name: arguments.pod_name.clone(), uid };
            Some(Own::new(client.clone(), &pod, arguments.image.clone(), turns.clone())?)
        }
        _ => None,
    };
    let runs = metrics.clone();
    let serving = tokio::spawn(async move {
        if let Some(own) = own {
            return serve::serve_with_routes(socket, own, registry, runs, heard).await;
        }
        serve::serve(socket, registry, heard).await;
        Ok(())
    });
    let (stop, stopping) = watch::channel(false);
    let worker = Worker {
        client,
        namespace: arguments.watch_namespace,
        image: arguments.image,
        scratch: arguments.scratch,
        instance: arguments.pod_name,
        metrics,
        turns,
    };
    let working = tokio::spawn(async move { worker.work(stopping).await });
    signals.next().await;
    tracing::info!("asked to stop");
    let _ = stop.send(true);
    working.await.context("the lab has a defect")?;
    end.begin(GRACE);
    serving.await.context("the lab has a defect")??;
    Ok(())
}

/// One thread: it waits for a request, once in its life.
#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn be_a_knife(listen: SocketAddr) -> anyhow::Result<()> {
    Ok(knife::serve(listen).await?)
}
