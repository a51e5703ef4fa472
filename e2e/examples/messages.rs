//! The message log under stress for as long as you like: 64 clients, 100,000 messages, every write concern, members killed
//! throughout. See `e2e/README.md`.

use std::process::ExitCode;

use clap::Parser;
use holdfast_e2e::laptop::Laptop;
use holdfast_e2e::messages::Stress;

/// Appends to the message log of a real store of three members while they are killed, and judges what is there.
#[derive(Debug, Parser)]
#[command(name = "messages")]
struct Arguments {
    /// Clients at once.
    #[arg(long, default_value_t = 64)]
    clients: usize,
    /// Messages, over all clients.
    #[arg(long, default_value_t = 100_000)]
    messages: u64,
    /// How often.
    #[arg(long, default_value_t = 1)]
    runs: usize,
}

const MANIFEST: &str = "apiVersion: holdfast.dev/v1alpha1
kind: ReplicatedStore
metadata: {name: messages}
spec: {replicas: 3}
";

fn main() -> anyhow::Result<ExitCode> {
    let Arguments { clients, messages, runs } = Arguments::parse();
    for run in 1..=runs {
        let store = Laptop::up(MANIFEST)?;
        let report = Stress { clients, messages }.run(&store)?;
        print(&format!("{run}/{runs}: {report}"));
    }
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::print_stdout, reason = "this program reports on standard output")]
fn print(line: &str) {
    println!("{line}");
}
