//! Data on standard output, in the form that was asked for.
//!
//! Refuses to print talk: that goes to standard error.

use std::io::{self, Write};

use serde::Serialize;

use crate::arguments::Output;
use crate::exit::Failure;

/// Prints data: by `table` for people, else as it is serialized.
///
/// # Errors
/// Standard output is gone for another reason than that its reader has enough.
pub(crate) fn print<T: Serialize>(
    output: Output,
    data: &T,
    table: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let printed = match output {
        Output::Table => table(&mut out),
        Output::Json => json(&mut out, data),
        Output::Yaml => yaml(&mut out, data),
    };
    settle(printed.and_then(|()| out.flush())).map(drop)
}

/// Write one of many: a line for people, a line of JSON, or a document of YAML.
///
/// # Errors
/// `out` does not take it.
pub(crate) fn write_one(
    out: &mut impl Write,
    output: Output,
    data: &impl Serialize,
    line: impl FnOnce() -> String,
) -> io::Result<()> {
    match output {
        Output::Table => writeln!(out, "{}", line()),
        Output::Json => {
            serde_json::to_writer(&mut *out, data)?;
            out.write_all(b"\n")
        }
        Output::Yaml => {
            out.write_all(b"---\n")?;
            yaml(out, data)
        }
    }
}

/// A JSON object that people can read too.
fn json(out: &mut impl Write, data: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, data)?;
    out.write_all(b"\n")
}

fn yaml(out: &mut impl Write, data: &impl Serialize) -> io::Result<()> {
    let text = serde_yaml::to_string(data).map_err(io::Error::other)?;
    out.write_all(text.as_bytes())
}

/// What a write to standard output came to: false if its reader has gone, which is its right.
///
/// # Errors
/// It failed otherwise.
pub(crate) fn settle(written: io::Result<()>) -> Result<bool, Failure> {
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::general(format!("cannot write to standard output: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_has_gone_is_no_failure() {
        assert!(settle(Ok(())).expect("written"));
        assert!(!settle(Err(io::ErrorKind::BrokenPipe.into())).expect("no failure"));
        settle(Err(io::ErrorKind::StorageFull.into())).expect_err("a failure");
    }
}
