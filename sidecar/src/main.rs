//! `holdfast-sidecar`: one member of a store, as a process.
//!
//! It ends with code 0 when it was asked to stop, 1 with one message when something failed, 2 when the command line
//! makes no sense.

use std::process::ExitCode;

use clap::Parser;
use holdfast_sidecar::arguments::Arguments;

/// One member of a replicated store.
#[derive(Debug, Parser)]
#[command(name = "holdfast-sidecar", version, about)]
struct Line {
    #[command(flatten)]
    arguments: Arguments,
}

fn main() -> ExitCode {
    holdfast_sidecar::main(Line::parse().arguments)
}
