//! Which running store a verb means, and how long it waits for it.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use holdfast_api::Span;

/// How long most verbs wait for an answer.
pub const TIMEOUT_DEFAULT: Span = Span::from_secs(5);

/// Which running store is meant.
#[derive(Clone, Debug, Default, Args)]
pub struct Target {
    /// The store whose runner has this data folder
    #[arg(long, value_name = "DIR", conflicts_with = "port_base")]
    pub data: Option<PathBuf>,
    /// The store whose runner has this port base [default: 7400, or the only runner there is]
    #[arg(long, value_name = "PORT")]
    pub port_base: Option<u16>,
}

/// Which running store is meant, also one that no runner on this machine runs.
#[derive(Clone, Debug, Args)]
pub struct Reach {
    /// The store
    #[command(flatten)]
    pub target: Target,
    /// A member's client address, such as http://127.0.0.1:7400; may be repeated. No runner is looked for then
    #[arg(long = "endpoint", value_name = "URL", conflicts_with_all = ["data", "port_base"])]
    pub endpoints: Vec<String>,
    /// How long to wait for an answer, such as 500ms or 5s [default: 5s; of log append: 30s]
    #[arg(long, value_name = "DURATION")]
    pub timeout: Option<Span>,
}

impl Reach {
    /// How long to wait for an answer; `usual` is how long if nobody says.
    pub fn timeout_or(&self, usual: Span) -> Duration {
        self.timeout.unwrap_or(usual).get()
    }
}
