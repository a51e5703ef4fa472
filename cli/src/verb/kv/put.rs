//! `holdfast kv put`.

use std::io::{self, Read};

use super::{block_on, client, of_client, warn, write_options};
use crate::arguments::KvPut;
use crate::exit::{Exit, Failure};
use crate::output::print;

/// Largest value that is read from standard input: a byte more than what a store takes, so that the store says no.
const VALUE_BYTES_MAX: u64 = 1024 * 1024 + 1;

pub(super) fn run(put: KvPut) -> Result<Exit, Failure> {
    let client = client(&put.reach)?;
    let value = match put.value.as_deref() {
        None | Some("-") => standard_input()?,
        Some(value) => value.as_bytes().to_vec(),
    };
    let options = write_options(put.writing, put.if_absent);
    let written = block_on(async { client.put(&put.key, value, options).await.map_err(of_client) })?;
    warn(written.warning.as_ref());
    print(put.printed.output, &written, |out| writeln!(out, "revision {}", written.revision))?;
    Ok(Exit::Ok)
}

fn standard_input() -> Result<Vec<u8>, Failure> {
    let mut value = Vec::new();
    match io::stdin().lock().take(VALUE_BYTES_MAX).read_to_end(&mut value) {
        Ok(_) => Ok(value),
        Err(error) => Err(Failure::general(format!("cannot read the value from standard input: {error}"))),
    }
}
