//! `cargo xtask VERB`: the project's commands. One module per verb; nothing is decided here.

use clap::{Parser, Subcommand};
use holdfast_xtask::{cluster, image};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's commands.")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// A real Kubernetes of three nodes on this machine, for the tests.
    #[command(subcommand)]
    Cluster(cluster::Verb),
    /// Build the container images from compiled programs.
    Image(image::Arguments),
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().verb {
        Verb::Cluster(verb) => cluster::run(verb),
        Verb::Image(arguments) => image::run(&arguments),
    }
}
