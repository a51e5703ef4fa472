//! `holdfast kv delete`. That there is no such key is no failure.

use super::{block_on, client, of_client, warn, write_options};
use crate::arguments::KvDelete;
use crate::exit::{Exit, Failure};
use crate::output::print;

pub(super) fn run(delete: &KvDelete) -> Result<Exit, Failure> {
    let client = client(&delete.reach)?;
    let options = write_options(delete.writing.clone(), false);
    let done = block_on(async { client.delete(&delete.key, options).await.map_err(of_client) })?;
    warn(done.write.warning.as_ref());
    print(delete.printed.output, &done, |out| match done.deleted {
        0 => writeln!(out, "there was no such key"),
        _ => writeln!(out, "deleted at revision {}", done.write.revision),
    })?;
    Ok(Exit::Ok)
}
