//! Files under stress for as long as you like: 1,000 uploads and downloads of mixed sizes while members are killed and one of
//! a hundred stored copies is spoilt. See `e2e/README.md`.

use std::process::ExitCode;

use clap::Parser;
use holdfast_e2e::files::killing::Killing;
use holdfast_e2e::laptop::Laptop;

/// Uploads and downloads files of a real store of three members while they are killed and their disks rot, and judges
/// what is there.
#[derive(Debug, Parser)]
#[command(name = "files")]
struct Arguments {
    /// Clients at once.
    #[arg(long, default_value_t = 4)]
    clients: usize,
    /// Files, over all clients.
    #[arg(long, default_value_t = 1_000)]
    files: usize,
    /// How often.
    #[arg(long, default_value_t = 1)]
    runs: usize,
}

const MANIFEST: &str = "apiVersion: holdfast.dev/v1alpha1
kind: ReplicatedStore
metadata: {name: files}
spec: {replicas: 3}
";

fn main() -> anyhow::Result<ExitCode> {
    let Arguments { clients, files, runs } = Arguments::parse();
    for run in 1..=runs {
        let store = Laptop::up(MANIFEST)?;
        let report = Killing { files, clients }.run(&store)?;
        print(&format!("{run}/{runs}: {report}"));
    }
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::print_stdout, reason = "this program reports on standard output")]
fn print(line: &str) {
    println!("{line}");
}
