//! The part of the command line that is about a store as a whole: `holdfast up`, `status`, `validate`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{DATA_DEFAULT, PORT_BASE_DEFAULT, Printed, Reach};

/// `holdfast up`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  holdfast up -f manifests/store-three-members.yaml
  holdfast up -f store.yaml --data /tmp/second --port-base 7500

Member I listens on 127.0.0.1: clients at BASE+10*I, its peers one port higher, metrics and health two ports higher.
The dashboard is at http://127.0.0.1:BASE+3/dashboard, and at each member's client port.
Edits of the file are followed. Ctrl-c or SIGTERM ends all members and keeps their data; ctrl-c again kills them.
Without a terminal, or with -o json, every event is one line on standard output.")]
pub struct Up {
    /// The manifest: a file with one ReplicatedStore
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub file: PathBuf,
    /// Where the members keep their data, in a folder named after the store
    #[arg(long, value_name = "DIR", default_value = DATA_DEFAULT)]
    pub data: PathBuf,
    /// The first member's first port
    #[arg(long, value_name = "PORT", default_value_t = PORT_BASE_DEFAULT)]
    pub port_base: u16,
    /// Where the dashboard is, on 127.0.0.1 [default: three above the port base]
    #[arg(long, env = "HOLDFAST_DASHBOARD_PORT", value_name = "PORT")]
    pub dashboard_port: Option<u16>,
    /// How to show what happens: a live table on a terminal, or one JSON object per event
    #[arg(short, long, value_enum, default_value_t = UpOutput::Table)]
    pub output: UpOutput,
}

/// What `holdfast up` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum UpOutput {
    /// A live table on a terminal, else a line per event
    Table,
    /// A JSON object per event
    Json,
}

/// `holdfast status`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit code 0: every member is well; 3: the store serves without some; 4: it does not serve."
)]
pub struct Status {
    /// The store
    #[command(flatten)]
    pub reach: Reach,
    /// How to print
    #[command(flatten)]
    pub printed: Printed,
}

/// `holdfast validate`.
#[derive(Debug, Args)]
pub struct Validate {
    /// The manifest: a file with one ReplicatedStore or FaultExperiment
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub file: PathBuf,
    /// How to print
    #[command(flatten)]
    pub printed: Printed,
}
