//! `holdfast kv get`: the bytes as they are, so that they can be piped on.

use std::io::IsTerminal;

use holdfast_client::reply::Base64;
use serde::Serialize;

use super::{block_on, client, of_client, read_options};
use crate::arguments::KvGet;
use crate::exit::{Exit, Failure};
use crate::output::print;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Data<'a> {
    key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<Base64>,
    mod_revision: u64,
    revision: u64,
}

pub(super) fn run(get: &KvGet) -> Result<Exit, Failure> {
    let client = client(&get.reach)?;
    let options = read_options(get.reading, get.revision);
    let found = block_on(async { client.get(&get.key, options).await.map_err(of_client) })?;
    let Some(found) = found else {
        return Err(Failure::general(format!("there is no key {:?}", get.key)));
    };
    let (value, value_base64) = match String::from_utf8(found.bytes.to_vec()) {
        Ok(text) => (Some(text), None),
        Err(error) => (None, Some(Base64(error.into_bytes()))),
    };
    let (mod_revision, revision) = (found.mod_revision, found.revision);
    let data = Data { key: &get.key, value, value_base64, mod_revision, revision };
    print(get.printed.output, &data, |out| {
        out.write_all(&found.bytes)?;
        // A person wants the next prompt on a line of its own; a program wants the bytes alone.
        if std::io::stdout().is_terminal() { out.write_all(b"\n") } else { Ok(()) }
    })?;
    Ok(Exit::Ok)
}
