//! The systems that `bench` compares with: those that Debian has are installed, the others built from Go modules. It starts
//! none of them.

use std::io::Write as _;

use anyhow::Context as _;

use crate::{packages, tools};

/// Build and install what is missing, and print the folder of the programs that were built: `bench` asks for it. Half a
/// minute the first time.
///
/// # Errors
///
/// If something is missing and cannot be built or installed here; the error says what a person would have to do.
pub fn run() -> anyhow::Result<()> {
    packages::ensure(packages::BENCH)?;
    tools::ensure(tools::BENCH)?;
    writeln!(std::io::stdout(), "{}", tools::folder().display()).context("nobody listens")
}
