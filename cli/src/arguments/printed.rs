//! How data is printed.

use clap::{Args, ValueEnum};

/// How to print data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    #[default]
    Table,
    /// For programs
    Json,
    /// For both
    Yaml,
}

/// How to print data, as an option.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct Printed {
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}
