//! Failure experiments over HTTP, with the routes, fields and names of the research protocol, so that its scripts run unchanged.
//!
//! | part | does |
//! |---|---|
//! | [`routes`] | which path and method is what, CORS, and what FastAPI answers to the rest |
//! | [`request`] | bodies, and what FastAPI says of wrong ones |
//! | [`manager`] | the one store that all clients share; what changes it goes one after the other |
//! | [`catalogue`] | strategies and presets |
//! | [`metrics`] | what is counted |
//!
//! Refuses to wait for time to pass, to make up a number, and to stop answering while a store recovers.

mod catalogue;
mod manager;
mod metrics;
mod request;
mod routes;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use holdfast_sidecar::ending::ending;
use holdfast_sidecar::listener::{BindError, Limits, Listener, Purpose, bind};
use holdfast_sidecar::signals::Signals;

use self::manager::Manager;
use crate::testbed::{Processes, TestbedError};

/// A lab has a dashboard, a script and a few curls at a time.
const LIMITS: Limits =
    Limits { connections_max: 256, header_timeout: Duration::from_secs(60), head_bytes_max: 64 * 1024 };
/// How long an experiment that is under way may take when the lab ends: none is worth more than a person's patience.
const GRACE: Duration = Duration::from_secs(2);
/// How the port's address is changed.
const PURPOSE: Purpose =
    Purpose { name: "lab", flag: "--listen", environment: "HOLDFAST_LAB_LISTEN", also: "" };

/// Why the lab does not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The port cannot be opened.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Signals cannot be had.
    #[error("the process cannot listen for signals")]
    Signals(#[source] io::Error),
    /// The first store does not start.
    #[error(transparent)]
    Testbed(#[from] TestbedError),
}

/// Serves until SIGTERM or SIGINT. `ready` is told where, when requests are answered. Must run inside a multi-threaded runtime.
///
/// # Errors
/// It cannot begin.
pub async fn serve(
    listen: SocketAddr,
    testbed: Processes,
    ready: impl FnOnce(SocketAddr),
) -> Result<(), ServeError> {
    let mut signals = Signals::listen(false).map_err(ServeError::Signals)?;
    let socket = bind(listen, PURPOSE).await?;
    let address = socket.local_addr().map_err(ServeError::Signals)?;
    let manager = Arc::new(Manager::new(testbed).await?);
    let (end, heard) = ending();
    let listener = Listener::apart(socket, LIMITS);
    let serving = tokio::spawn(listener.serve(routes::service(manager.clone()), heard));
    ready(address);
    signals.next().await;
    end.begin(GRACE);
    let _ = serving.await;
    manager.close(GRACE).await;
    Ok(())
}
