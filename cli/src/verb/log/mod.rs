//! `holdfast log`: a store's message logs, one module per verb.

mod append;
mod follow;
mod line;
mod read;

use holdfast_api::Span;
use holdfast_client::Client;

use super::{block_on, of_client};
use crate::arguments::{Log, Reach};
use crate::discover;
use crate::exit::{Exit, Failure};

/// Appends, reads or follows messages.
///
/// # Errors
/// No store is found, it refuses, it does not answer, or the outcome of an append is unknown.
pub fn run(log: Log) -> Result<Exit, Failure> {
    match log {
        Log::Append(append) => append::run(append),
        Log::Read(read) => read::run(&read),
        Log::Follow(follow) => follow::run(&follow),
    }
}

/// A client of the store that is meant, whose calls take so long unless the command line says otherwise.
fn client(reach: &Reach, usual: Span) -> Result<Client, Failure> {
    let found = discover::reach(reach).map_err(Failure::general)?;
    Ok(Client::new(&found.endpoints).map_err(Failure::usage)?.with_deadline(reach.timeout_or(usual)))
}
