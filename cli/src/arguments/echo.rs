//! `holdfast echo`: its verbs and their options.

use clap::{Args, Subcommand};
use holdfast_api::Span;

use super::Printed;

/// Where the echo is when nothing else is said: the port that clients of the replicated log's first iteration know.
const ECHO_DEFAULT: &str = "127.0.0.1:8080";

/// Most round trips of one `echo send`: each is kept for the summary.
const ECHO_COUNT_MAX: i64 = 1_000_000;

/// `holdfast echo`.
#[derive(Debug, Subcommand)]
pub enum Echo {
    /// Answer every line that comes, with the time
    Serve(EchoServe),
    /// Send a line, or every line that is typed, and show what comes back
    Send(EchoSend),
}

/// `holdfast echo serve`.
#[derive(Debug, Args)]
pub struct EchoServe {
    /// Where to listen; 0.0.0.0:8080 for others than this machine
    #[arg(long, value_name = "ADDRESS:PORT", default_value = ECHO_DEFAULT)]
    pub listen: String,
}

/// `holdfast echo send`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  holdfast echo send hello --to 10.0.0.7:8080 --count 10
  holdfast echo send                  every line that is typed

Exit code 1: nobody is there; 124: nobody answers.")]
pub struct EchoSend {
    /// The message; without it, the lines of standard input
    #[arg(allow_hyphen_values = true)]
    pub message: Option<String>,
    /// Where to
    #[arg(long, value_name = "ADDRESS:PORT", default_value = ECHO_DEFAULT)]
    pub to: String,
    /// How often the message is sent
    #[arg(long, value_name = "N", default_value_t = 1, requires = "message", value_parser = clap::value_parser!(u32).range(1..=ECHO_COUNT_MAX))]
    pub count: u32,
    /// How long to wait for the connection, and for each answer, such as 500ms or 5s
    #[arg(long, value_name = "DURATION", default_value = "5s")]
    pub timeout: Span,
    /// How to print: a line per answer
    #[command(flatten)]
    pub printed: Printed,
}
