//! `cargo run --release -p holdfast-bench`: Holdfast and its peers on this machine's loopback, in one run, in turns, under
//! the same loads; figures, tables and plots into `docs/performance/`.
//!
//! Every figure is taken several times and shown as median (min – max), beside the floor of the machine: one flush of a
//! zero-filled file, one loopback round trip. It refuses to compare with figures of another run, another machine or
//! somebody else's page; what is not measured in the run is not in the tables. How to read them: `docs/performance/README.md`.

mod arguments;
mod contender;
mod exchange;
mod figure;
mod floor;
mod histogram;
mod leftovers;
mod load;
mod machine;
mod ports;
mod probe;
mod process;
mod protocol;
mod report;
mod run;
mod scenario;
mod system;
mod transfer;
mod wait;

use clap::Parser as _;

use crate::arguments::Arguments;

fn main() -> anyhow::Result<std::process::ExitCode> {
    run::run(&Arguments::parse())
}

/// Tell the person at the terminal what goes on.
fn say(what: std::fmt::Arguments<'_>) {
    use std::io::Write as _;
    // Nobody is left to be told that nobody listens.
    let _ = writeln!(std::io::stderr(), "{what}");
}
