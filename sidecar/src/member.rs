//! One member, put together: its folder, its core thread, its writer thread and its connections.
//!
//! What it refuses to do: speak HTTP, read settings files, or start again by itself when something broke. Whoever
//! started it ends the process then, and whatever runs the process starts the next one.

use std::path::PathBuf;

use holdfast_engine::Ordinal;
use holdfast_storage::LogPolicy;

use crate::core::{Handle, Timing};
use crate::metrics::Metrics;

/// What a member is told when it starts.
#[derive(Debug)]
pub struct MemberOptions {
    /// The store's name, `namespace/name`.
    pub store: String,
    /// Which member of it this is.
    pub ordinal: Ordinal,
    /// The peer addresses of all members by ordinal, `host:port`; their number is the number of members. Host names
    /// are looked up at every dial.
    pub peers: Vec<String>,
    /// The folder that holds what the member must not forget. Created if it is not there.
    pub data: PathBuf,
    /// Whether there is a log on disk.
    pub log: LogPolicy,
    /// Whether checkpoints are taken at [`Timing::checkpoint_interval`], when the log has grown, and at the end.
    pub checkpoints: bool,
    /// Intervals.
    pub timing: Timing,
    /// Where durations and events are counted.
    pub metrics: Metrics,
    /// Where the other members connect to; already bound, so that a taken port is found before anything is opened.
    pub peer_listener: tokio::net::TcpListener,
}

/// A running member.
#[derive(Debug)]
pub struct Member {
    handle: Handle,
}

/// What a member found when it started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The store was formed before, and everything it held is lost: a store without log or checkpoint starts empty.
    pub lost_everything: bool,
    /// Bytes cut off the log's end because their write was never finished.
    pub torn_bytes: u64,
}

/// Why a member did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {}

/// Why a running member ended by itself. The process must end, with a non-zero code.
#[derive(Debug, thiserror::Error)]
pub enum Broken {}

impl Member {
    /// Open the folder, restore the state, start the threads and connect. Must run inside a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`StartError`]; nothing is left running then.
    pub async fn start(_options: MemberOptions) -> Result<Member, StartError> {
        unimplemented!()
    }

    /// The way to the core.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// What it found when it started.
    pub fn found(&self) -> &Found {
        unimplemented!()
    }

    /// Wait until the member has ended: `Ok` after [`Handle::shut_down`], else what broke.
    ///
    /// # Errors
    ///
    /// [`Broken`].
    pub async fn ended(&mut self) -> Result<(), Broken> {
        unimplemented!()
    }
}
