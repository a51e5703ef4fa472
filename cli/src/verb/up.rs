//! `holdfast up`: runs a store on this machine until it is asked to end.

use super::block_on;
use crate::arguments::Up;
use crate::exit::{Exit, Failure};
use crate::runner::running;
use crate::runner::setup::Setup;

/// Runs the store in the foreground.
///
/// # Errors
/// Something is wrong before anything starts, or members had to be killed at the end.
pub fn run(up: &Up) -> Result<Exit, Failure> {
    if up.file.as_os_str() == "-" {
        return Err(Failure::usage(
            "`up` follows the manifest's edits and needs a file for that, not standard input",
        ));
    }
    let setup = Setup::new(up).map_err(Failure::general)?;
    block_on(running::run(up, setup))
}
