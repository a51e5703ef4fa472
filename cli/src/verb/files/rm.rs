//! `holdfast files rm`.

use super::{block_on, client, of_client};
use crate::arguments::FilesRm;
use crate::exit::{Exit, Failure};
use crate::output::print;

pub(super) fn run(rm: &FilesRm) -> Result<Exit, Failure> {
    let client = client(&rm.reach)?;
    let deleted = block_on(async { client.remove(&rm.name).await.map_err(of_client) })?;
    print(rm.printed.output, &deleted, |out| writeln!(out, "{}", deleted.message))?;
    Ok(Exit::Ok)
}
