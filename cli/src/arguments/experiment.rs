//! `holdfast experiment`: its verbs and their options.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use holdfast_lab::FailureKind;

use super::{DATA_DEFAULT, Printed};

/// Where results go when nothing else is said.
const RESULTS_DEFAULT: &str = "results.csv";

/// `holdfast experiment`.
#[derive(Debug, Subcommand)]
pub enum Experiment {
    /// Measure what a plan asks for; goes on where an earlier run of it ended
    Run(ExperimentRun),
    /// Say what results mean: tables, tests, plots, and which strategy is for what
    Report(ExperimentReport),
    /// Show what would be measured, without measuring it
    Plan(ExperimentPlan),
}

/// Which experiment is meant. Without a file: the eight configurations of the protocol, 20 runs each, 100 items.
#[derive(Clone, Debug, Args)]
pub struct Planned {
    /// The plan, such as `holdfast experiment plan -o yaml` prints; - is standard input
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// How often each configuration is measured, instead of what the plan says
    #[arg(long, value_name = "N")]
    pub runs: Option<u32>,
    /// How many items are stored before each failure, instead of what the plan says
    #[arg(long, value_name = "N")]
    pub items: Option<u32>,
    /// What fails, instead of what the plan says: default, leader, follower, partial, majority, total, pause, partition, disk, ...
    #[arg(long, value_name = "TYPE")]
    pub failure: Option<FailureKind>,
    /// How many clients go on writing during the failure, instead of what the plan says
    #[arg(long, value_name = "N")]
    pub writers: Option<u16>,
    /// Only these configurations of the plan; may be repeated
    #[arg(long = "only", value_name = "NAME")]
    pub only: Vec<String>,
    /// The file with the results; what else is known of them is beside it, in a file that ends with .json
    #[arg(long, value_name = "FILE", default_value = RESULTS_DEFAULT)]
    pub results: PathBuf,
}

/// `holdfast experiment run`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  holdfast experiment run --runs 20
  holdfast experiment run -f experiment.yaml --results node-loss.csv

Every run makes a store of its own, as processes of this machine, and leaves nothing of it behind. Ctrl-c gives the run
that is under way up; the same command goes on where it was.")]
pub struct ExperimentRun {
    /// The plan
    #[command(flatten)]
    pub planned: Planned,
    /// Where the stores keep their data while they run: a folder on the disk that is to be measured
    #[arg(long, value_name = "DIR", default_value = DATA_DEFAULT)]
    pub data: PathBuf,
}

/// `holdfast experiment plan`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  holdfast experiment plan -o yaml > experiment.yaml")]
pub struct ExperimentPlan {
    /// The plan
    #[command(flatten)]
    pub planned: Planned,
    /// How to print
    #[command(flatten)]
    pub printed: Printed,
}

/// `holdfast experiment report`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  holdfast experiment report results.csv
  holdfast experiment report results.csv -o html > report.html
  holdfast experiment report 100.csv 100000.csv -o html > growth.html")]
pub struct ExperimentReport {
    /// Files with results, also of the protocol's own scripts; several of other sizes or other failures are shown side by side
    #[arg(value_name = "FILE", default_value = RESULTS_DEFAULT)]
    pub results: Vec<PathBuf>,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = ReportOutput::Table)]
    pub output: ReportOutput,
}

/// How to print a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReportOutput {
    /// For a terminal
    Table,
    /// For a repository
    Markdown,
    /// One page for a browser, with box plots
    Html,
    /// For programs
    Json,
}
