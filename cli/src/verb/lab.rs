//! `holdfast lab`: failure experiments over HTTP, until it is asked to end.

use std::io::Write;
use std::time::Duration;

use holdfast_lab::Processes;
use holdfast_lab::rest;

use crate::arguments::Lab;
use crate::exit::{Exit, Failure};

/// What is under way at the end and cannot be cut off, such as a file that is being removed, has so long.
const END_MAX: Duration = Duration::from_secs(5);

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// The port or the folder cannot be used, or the first store does not start.
pub fn run(lab: &Lab) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::general(format!("cannot start: {error}")))?;
    let testbed = Processes::new(&lab.data).map_err(Failure::general)?;
    let served = runtime.block_on(rest::serve(lab.listen, testbed, |address| {
        // Whoever started it may not listen.
        let _ = writeln!(std::io::stdout(), "experiments at http://{address}/api/fault-tolerance");
    }));
    runtime.shutdown_timeout(END_MAX);
    served.map(|()| Exit::Ok).map_err(Failure::general)
}
