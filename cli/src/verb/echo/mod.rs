//! `holdfast echo`: is a port reachable, and how long is the way there and back? One end answers, the other asks.
//!
//! A line is sent, and comes back as `[2026-11-21 14:00:00] Echo: the line`, with the time (UTC) of the end that answers. It
//! refuses to know anything of stores: it is there for the moment when one does not work.

mod lines;
mod send;
mod serve;

pub use lines::LINE_BYTES_MAX;
pub use serve::{Limits, serve};

use super::block_on;
use crate::arguments::Echo;
use crate::exit::{Exit, Failure};

/// Answers or asks.
///
/// # Errors
/// The address cannot be listened at or reached, or no answer came in time.
pub fn run(echo: Echo) -> Result<Exit, Failure> {
    match echo {
        Echo::Serve(arguments) => block_on(serve::run(&arguments)),
        Echo::Send(arguments) => block_on(send::run(&arguments)),
    }
}
