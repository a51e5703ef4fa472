//! `holdfast lab`.

use std::path::PathBuf;

use clap::Args;

use super::DATA_DEFAULT;

/// `holdfast lab`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  holdfast lab &
  curl -d '{\"strategy\": \"replication\", \"data_items\": 100}' localhost:8000/api/fault-tolerance/run-experiment

It makes stores, kills their members, and removes them; other stores on this machine are left alone.")]
pub struct Lab {
    /// Where to listen
    #[arg(long, env = "HOLDFAST_LAB_LISTEN", value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8000")]
    pub listen: std::net::SocketAddr,
    /// Where its stores keep their data while they last
    #[arg(long, value_name = "DIR", default_value = DATA_DEFAULT)]
    pub data: PathBuf,
}
