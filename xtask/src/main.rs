//! `cargo xtask VERB`: the project's commands. One module per verb; nothing is decided here.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use holdfast_xtask::{cluster, codegen, image, lint, peers, test};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's commands.")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Build and install the systems that `bench` compares with; `bench` itself asks for it.
    BenchTools,
    /// A real Kubernetes of three nodes on this machine, for the tests.
    #[command(subcommand)]
    Cluster(cluster::Verb),
    /// Write the files in the checkout that follow from the code.
    Codegen(codegen::Arguments),
    /// Build the container images from compiled programs.
    Image(image::Arguments),
    /// Run every test, or some kinds of them.
    Test(test::Arguments),
    /// Check formatting, warnings and dependencies.
    Lint,
}

fn main() -> anyhow::Result<ExitCode> {
    match Arguments::parse().verb {
        Verb::BenchTools => peers::run()?,
        Verb::Cluster(verb) => cluster::run(verb)?,
        Verb::Codegen(arguments) => return codegen::run(&arguments),
        Verb::Image(arguments) => image::run(&arguments)?,
        Verb::Test(arguments) => return test::run(&arguments),
        Verb::Lint => return lint::run(),
    }
    Ok(ExitCode::SUCCESS)
}
