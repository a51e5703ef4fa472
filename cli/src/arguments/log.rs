//! The part of the command line that is about message logs.

use clap::{Args, Subcommand, ValueEnum};
use holdfast_api::WriteConcern;
use holdfast_client::reply::LOG_DEFAULT;

use super::{Printed, Reach};

/// `holdfast log`.
#[derive(Debug, Subcommand)]
pub enum Log {
    /// Append a message, and say who has it
    Append(LogAppend),
    /// Print the messages that a member has, in order
    Read(LogRead),
    /// Print messages as they are committed
    Follow(LogFollow),
}

/// `holdfast log append`.
#[derive(Debug, Args)]
#[command(
    override_usage = "holdfast log append [OPTIONS] [LOG] <MESSAGE>\n       holdfast log append [OPTIONS] [LOG] --lines < FILE",
    after_help = "\
Examples:
  holdfast log append hello
  holdfast log append orders -w 2 --timeout 10s 'one more'
  seq 1000 | holdfast log append numbers --lines -w majority

Exit code 3: the message is stored, but not as many members as asked for had it in time; replication goes on.
Exit code 1 also says that the log has the message already."
)]
pub struct LogAppend {
    /// The message, behind the log's name if it is not for the log "messages"; - is standard input to its end. Write -- before a
    /// message that begins with a hyphen
    #[arg(num_args = 0..=2, value_names = ["LOG", "MESSAGE"])]
    pub words: Vec<String>,
    /// Append every line of standard input that is not empty as a message of its own, one after the other
    #[arg(long)]
    pub lines: bool,
    /// How many members must have it: a number, majority or all
    #[arg(short = 'w', long = "w", alias = "concern", value_name = "W", default_value = "all")]
    pub concern: WriteConcern,
    /// The message's Idempotency-Key, for logs that tell messages apart by it
    #[arg(long, value_name = "KEY", conflicts_with = "lines")]
    pub key: Option<String>,
    /// The store
    #[command(flatten)]
    pub reach: Reach,
    /// How to print
    #[command(flatten)]
    pub printed: Printed,
}

/// `holdfast log read`.
#[derive(Debug, Args)]
pub struct LogRead {
    /// The log
    #[arg(default_value = LOG_DEFAULT)]
    pub log: String,
    /// The first message to print [default: the oldest that is kept]
    #[arg(long, value_name = "ID", default_value_t = 0, hide_default_value = true)]
    pub from: u64,
    /// Most messages to print
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    /// How fresh and how safe
    #[arg(long = "read", value_enum, default_value_t = LogConsistency::Local)]
    pub consistency: LogConsistency,
    /// The store
    #[command(flatten)]
    pub reach: Reach,
    /// How to print: a line, or a document, per message
    #[command(flatten)]
    pub printed: Printed,
}

/// How fresh a read of a log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogConsistency {
    /// What one member has, also what may still be undone
    Local,
    /// What one member knows to be committed
    Committed,
    /// Sees every message that was acknowledged at a majority
    Linearizable,
}

/// `holdfast log follow`.
#[derive(Debug, Args)]
pub struct LogFollow {
    /// The log
    #[arg(default_value = LOG_DEFAULT)]
    pub log: String,
    /// The first message to print; 0 is the oldest that is kept [default: the next one]
    #[arg(long, value_name = "ID")]
    pub from: Option<u64>,
    /// End after so many messages
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// Also messages that are not committed yet; says so when they are undone
    #[arg(long)]
    pub local: bool,
    /// The store
    #[command(flatten)]
    pub reach: Reach,
    /// How to print: a line, or a document, per message
    #[command(flatten)]
    pub printed: Printed,
}
