//! `holdfast kv`: a store's keys, one module per verb.

mod delete;
mod get;
mod list;
mod put;
mod watch;

use holdfast_client::{Client, ReadOptions, WriteOptions};

use super::{block_on, of_client};
use crate::arguments::{Consistency, Kv, Reach, Reading, TIMEOUT_DEFAULT, Writing};
use crate::discover;
use crate::exit::{Exit, Failure};

/// Reads or writes keys.
///
/// # Errors
/// No store is found, it refuses, it does not answer, or the outcome of a write is unknown.
pub fn run(kv: Kv) -> Result<Exit, Failure> {
    match kv {
        Kv::Put(put) => put::run(put),
        Kv::Get(get) => get::run(&get),
        Kv::Delete(delete) => delete::run(&delete),
        Kv::List(list) => list::run(&list),
        Kv::Watch(watch) => watch::run(&watch),
    }
}

/// A client of the store that is meant.
fn client(reach: &Reach) -> Result<Client, Failure> {
    let found = discover::reach(reach).map_err(Failure::general)?;
    Ok(Client::new(&found.endpoints)
        .map_err(Failure::usage)?
        .with_deadline(reach.timeout_or(TIMEOUT_DEFAULT)))
}

fn read_options(reading: Reading, revision: Option<u64>) -> ReadOptions {
    let consistency = match reading.consistency {
        Consistency::Linearizable => holdfast_client::Consistency::Linearizable,
        Consistency::Local => holdfast_client::Consistency::Local,
    };
    ReadOptions { consistency, revision }
}

fn write_options(writing: Writing, absent: bool) -> WriteOptions {
    let expect = match writing.if_revision {
        Some(revision) => holdfast_client::Expect::Revision(revision),
        None if absent => holdfast_client::Expect::Absent,
        None => holdfast_client::Expect::Any,
    };
    WriteOptions { concern: writing.concern, expect }
}

/// What the store wants its writer to know, on standard error.
fn warn(warning: Option<&String>) {
    if let Some(warning) = warning {
        crate::remark(&format!("warning: {warning}"));
    }
}
