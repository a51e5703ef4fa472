//! `holdfast kv`: its verbs and their options.

use clap::{Args, Subcommand, ValueEnum};
use holdfast_api::WriteConcern;

use super::{Printed, Reach};

/// `holdfast kv`.
#[derive(Debug, Subcommand)]
pub enum Kv {
    /// Write a key
    Put(KvPut),
    /// Read a key: its value as it is, byte by byte
    Get(KvGet),
    /// Delete a key
    Delete(KvDelete),
    /// List keys in order
    List(KvList),
    /// Follow changes as they are committed
    Watch(KvWatch),
}

/// Preconditions and the concern of a write.
#[derive(Clone, Debug, Args)]
pub struct Writing {
    /// What the answer waits for: a number of members, majority or all [default: the store's]
    #[arg(short = 'w', long = "concern", value_name = "W")]
    pub concern: Option<WriteConcern>,
    /// Only if the key was last written at this revision
    #[arg(long, value_name = "REVISION")]
    pub if_revision: Option<u64>,
}

/// How fresh a read is.
#[derive(Clone, Copy, Debug, Args)]
pub struct Reading {
    /// linearizable sees every acknowledged write; local answers from one member, even without a quorum
    #[arg(long = "read", value_enum, default_value_t = Consistency::Linearizable)]
    pub consistency: Consistency,
}

/// How fresh a read is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Consistency {
    /// Sees every acknowledged write
    Linearizable,
    /// What one member has
    Local,
}

/// `holdfast kv put`.
#[derive(Debug, Args)]
pub struct KvPut {
    /// The key
    pub key: String,
    /// The value; without it, or with -, standard input to its end
    #[arg(allow_hyphen_values = true)]
    pub value: Option<String>,
    /// Conditions
    #[command(flatten)]
    pub writing: Writing,
    /// Only if the key does not exist
    #[arg(long, conflicts_with = "if_revision")]
    pub if_absent: bool,
    /// The store
    #[command(flatten)]
    pub reach: Reach,
    /// How to print
    #[command(flatten)]
    pub printed: Printed,
}

/// `holdfast kv get`.
#[derive(Debug, Args)]
pub struct KvGet {
    /// The key
    pub key: String,
    /// How to read
    #[command(flatten)]
    pub reading: Reading,
    /// As of this revision
    #[arg(long, value_name = "REVISION")]
    pub revision: Option<u64>,
    /// The store
    #[command(flatten)]
    pub reach: Reach,
    /// How to print
    #[command(flatten)]
    pub printed: Printed,
}

/// `holdfast kv delete`.
#[derive(Debug, Args)]
pub struct KvDelete {
    /// The key
    pub key: String,
    /// Conditions
    #[command(flatten)]
    pub writing: Writing,
    /// The store
    #[command(flatten)]
    pub reach: Reach,
    /// How to print
    #[command(flatten)]
    pub printed: Printed,
}

/// `holdfast kv list`.
#[derive(Debug, Args)]
pub struct KvList {
    /// Only keys that begin so
    #[arg(default_value = "")]
    pub prefix: String,
    /// Most keys to print
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    /// How to read
    #[command(flatten)]
    pub reading: Reading,
    /// The store
    #[command(flatten)]
    pub reach: Reach,
    /// How to print
    #[command(flatten)]
    pub printed: Printed,
}

/// `holdfast kv watch`.
#[derive(Debug, Args)]
pub struct KvWatch {
    /// Only keys that begin so
    #[arg(default_value = "")]
    pub prefix: String,
    /// From this revision on, also what is past [default: from now on]
    #[arg(long, value_name = "REVISION")]
    pub from: Option<u64>,
    /// End after so many changes
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// The store
    #[command(flatten)]
    pub reach: Reach,
    /// How to print: a line per change
    #[command(flatten)]
    pub printed: Printed,
}
