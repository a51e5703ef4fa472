//! `holdfast version`.

use serde::Serialize;

use crate::arguments::Version;
use crate::exit::{Exit, Failure};
use crate::output::print;

#[derive(Serialize)]
struct Data {
    version: &'static str,
}

/// Prints this program's version.
///
/// # Errors
/// Standard output is gone.
pub fn run(version: &Version) -> Result<Exit, Failure> {
    let data = Data { version: env!("CARGO_PKG_VERSION") };
    print(version.printed.output, &data, |out| writeln!(out, "holdfast {}", data.version)).map(|()| Exit::Ok)
}
