//! What the operator is told on its command line and by its environment. It has no configuration file: what concerns a
//! store is in the store.

use std::net::SocketAddr;

use crate::logging::LogFormat;

/// The image that members run if neither the store nor the operator's command line names one: this version's.
pub const SIDECAR_IMAGE: &str = concat!("ghcr.io/holdfast-dev/holdfast-sidecar:", env!("CARGO_PKG_VERSION"));

/// The command line.
#[derive(Debug, clap::Parser)]
#[command(name = "holdfast-operator", version, about)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// Look after stores until told to stop.
    Run(Run),
    /// Check an installation: is the kind served, and is the operator ready? Ends with 0 if so.
    Check(Check),
}

/// Look after stores.
#[derive(Clone, Debug, clap::Args)]
pub struct Run {
    /// What members run, unless their store names an image.
    #[arg(long, env = "HOLDFAST_SIDECAR_IMAGE", value_name = "IMAGE", default_value = SIDECAR_IMAGE)]
    pub sidecar_image: String,
    /// The only namespace whose stores are looked after; without it, all.
    #[arg(long, env = "HOLDFAST_WATCH_NAMESPACE", value_name = "NAMESPACE")]
    pub watch_namespace: Option<String>,
    /// Where health and metrics are served.
    #[arg(long, env = "HOLDFAST_LISTEN", value_name = "ADDRESS:PORT", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// Work without holding the lease. Only for a single process that nobody else can start beside.
    #[arg(long)]
    pub no_leader_election: bool,
    /// Stores that are reconciled at the same time.
    #[arg(long, value_name = "NUMBER", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub concurrency: u16,
    /// This process's name in the lease and in events.
    #[arg(long, env = "POD_NAME", value_name = "NAME", default_value = "holdfast-operator")]
    pub pod_name: String,
    /// The namespace of the lease; by default the one of the kubeconfig or service account.
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAMESPACE")]
    pub pod_namespace: Option<String>,
    /// How log lines look; HOLDFAST_LOG says which there are.
    #[arg(long, env = "HOLDFAST_LOG_FORMAT", value_name = "FORMAT", default_value = "json")]
    pub log_format: LogFormat,
}

/// Check an installation.
#[derive(Clone, Debug, clap::Args)]
pub struct Check {
    /// The operator's base URL, such as http://holdfast-operator.holdfast-system.svc:8080.
    #[arg(long, value_name = "URL")]
    pub operator: String,
    /// How long to wait for everything to be well, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub within: u64,
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn members_run_this_version_unless_somebody_says_otherwise() {
        let Verb::Run(run) = Arguments::parse_from(["holdfast-operator", "run"]).verb else { panic!() };
        assert_eq!(run.sidecar_image, SIDECAR_IMAGE);
        let line = ["holdfast-operator", "run", "--sidecar-image=mirror/sidecar:1", "--watch-namespace=shop"];
        let Verb::Run(run) = Arguments::parse_from(line).verb else { panic!() };
        assert_eq!(run.sidecar_image, "mirror/sidecar:1");
        assert_eq!(run.watch_namespace.as_deref(), Some("shop"));
    }
}
