//! The part of the command line that is about one member of a store: `holdfast fail`, `start`, `delay`, `force-start`.

use clap::Args;
use holdfast_api::{Probability, Span};

use super::{Printed, Target};

/// `holdfast fail` and `holdfast start`.
#[derive(Debug, Args)]
pub struct Member {
    /// The member: its ordinal from 0, or its name
    #[arg(value_name = "MEMBER")]
    pub member: String,
    /// The store
    #[command(flatten)]
    pub target: Target,
}

/// `holdfast delay`.
#[derive(Debug, Args)]
#[command(
    override_usage = "holdfast delay [OPTIONS] [STORE] MEMBER [DELAY|off]",
    after_help = "\
Examples:
  holdfast delay 1 2s                 member 1 acknowledges two seconds late
  holdfast delay 1 0s --failure 0.1   and loses one message in ten, which its leader sends again
  holdfast delay messages 1 off       nothing is wrong with member 1 of the store messages any more
  holdfast delay 1                    what is wrong with it now

Heartbeats are not held back: a delayed member stays a healthy follower. A member that leads delays nothing. The manifest must
allow it, by faults: Enabled under spec.laptop."
)]
pub struct Delay {
    /// The store, the member (its ordinal from 0, or its name), and how long: 2s, or seconds such as 2.0, or off
    #[arg(value_name = "WORD", num_args = 0..=3, required_unless_present = "admin")]
    pub words: Vec<String>,
    /// How likely it loses a message with entries, from 0 to 1
    #[arg(long, value_name = "PROBABILITY")]
    pub failure: Option<Probability>,
    /// The store
    #[command(flatten)]
    pub target: Target,
    /// The member's admin address, such as http://127.0.0.1:7412, if no runner on this machine runs it; then the only word is
    /// the delay
    #[arg(long, value_name = "URL", conflicts_with_all = ["data", "port_base"])]
    pub admin: Option<String>,
    /// How long to wait for an answer, such as 500ms or 5s
    #[arg(long, value_name = "DURATION", default_value = "5s")]
    pub timeout: Span,
    /// How to print
    #[command(flatten)]
    pub printed: Printed,
}

/// `holdfast force-start`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  holdfast force-start 2 --epoch 7
  holdfast force-start 2 --epoch 7 --admin http://127.0.0.1:7422

Only when nobody who is in sync comes back, or what decides who leads was lost. What only other members had is lost. First make
sure that they do not run, and take away their data before they do again. The epoch is the highest TERM that `holdfast status`
shows; the order works once.")]
pub struct ForceStart {
    /// The member: its ordinal from 0, or its name
    #[arg(value_name = "MEMBER")]
    pub member: String,
    /// The epoch that the order ends
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    pub epoch: u64,
    /// The store
    #[command(flatten)]
    pub target: Target,
    /// The member's admin address, such as http://127.0.0.1:7412, if no runner on this machine runs it
    #[arg(long, value_name = "URL", conflicts_with_all = ["data", "port_base"])]
    pub admin: Option<String>,
    /// How long to wait for an answer, such as 500ms or 5s
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    pub timeout: Span,
    /// How to print
    #[command(flatten)]
    pub printed: Printed,
}
