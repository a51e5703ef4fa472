//! Failure experiments over HTTP, with the routes, fields and names of the research protocol, so that its scripts run unchanged.
//!
//! | part | does |
//! |---|---|
//! | [`routes`] | which path and method is what, CORS, and what FastAPI answers to the rest |
//! | [`request`] | bodies, and what FastAPI says of wrong ones |
//! | [`manager`] | the one store that all clients share; what changes it goes one after the other |
//! | [`active`] | that store, and what was done with it |
//! | [`place`] | where that store lives; [`here`] is this machine, and a cluster is in `kubernetes` |
//! | [`catalogue`] | strategies and presets |
//! | [`metrics`] | what is counted |
//!
//! Refuses to wait for time to pass, to make up a number, and to stop answering while a store recovers.

mod active;
mod catalogue;
mod here;
mod manager;
mod metrics;
pub(crate) mod place;
mod request;
mod routes;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use holdfast_sidecar::ending::{Ending, ending};
use holdfast_sidecar::listener::{BindError, Limits, Listener, Purpose, Socket, bind};
use holdfast_sidecar::signals::Signals;

use self::manager::Manager;
use self::metrics::Metrics;
use self::place::Place;
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
    /// Metrics cannot be registered.
    #[error("the metrics cannot be registered")]
    Metrics(#[from] prometheus::Error),
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
    let manager = Arc::new(Manager::new(testbed, Metrics::alone()?));
    // Processes start at once: no request has to wait for the first store.
    manager.begin().await?;
    let (end, heard) = ending();
    let serving = tokio::spawn(attend(socket.into(), manager, heard));
    ready(address);
    signals.next().await;
    end.begin(GRACE);
    let _ = serving.await;
    Ok(())
}

/// Serves on the one store of another place until the end has come, and ends the store. What is counted of requests is registered
/// beside what is counted of experiments.
///
/// # Errors
/// The metrics are registered already.
#[cfg(feature = "kubernetes")]
pub(crate) async fn serve_in<P: Place>(
    place: P,
    socket: Socket,
    registry: Arc<prometheus::Registry>,
    runs: crate::RunMetrics,
    ending: Ending,
) -> Result<(), ServeError> {
    let manager = Manager::new(place, Metrics::beside(registry, runs)?);
    attend(socket, Arc::new(manager), ending).await;
    Ok(())
}

async fn attend<P: Place>(socket: Socket, manager: Arc<Manager<P>>, ending: Ending) {
    Listener::apart(socket, LIMITS).serve(routes::service(manager.clone()), ending).await;
    manager.close(GRACE).await;
}
