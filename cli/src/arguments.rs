//! The command line: its verbs; below it a file for the options of each group of them. Data only; each verb's module does the
//! work.

mod demo;
mod echo;
mod experiment;
mod files;
mod kv;
mod lab;
mod log;
mod member;
mod printed;
mod reach;
mod store;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub use demo::{Demo, DemoChat};
pub use echo::{Echo, EchoSend, EchoServe};
pub use experiment::{Experiment, ExperimentPlan, ExperimentReport, ExperimentRun, Planned, ReportOutput};
pub use files::{Files, FilesGet, FilesList, FilesPut, FilesQueue, FilesRm};
pub use kv::{Consistency, Kv, KvDelete, KvGet, KvList, KvPut, KvWatch, Reading, Writing};
pub use lab::Lab;
pub use log::{Log, LogAppend, LogConsistency, LogFollow, LogRead};
pub use member::{Delay, ForceStart, Member};
pub use printed::{Output, Printed};
pub use reach::{Reach, TIMEOUT_DEFAULT, Target};
pub use store::{Status, Up, UpOutput, Validate};

/// Where members' data goes when nothing else is said.
const DATA_DEFAULT: &str = "holdfast-data";
/// First port when nothing else is said: that of a member on Kubernetes.
pub const PORT_BASE_DEFAULT: u16 = 7400;

const EXIT_CODES: &str = "\
Exit codes:
  0    done, and all is well
  1    it could not be done, or was refused
  2    the command line, or a name on it, is wrong; nothing was tried
  3    the store serves, but a member is missing
  4    the store does not serve: no member leads with a quorum
  124  no answer in time; after a write this means that its outcome is unknown

Data goes to standard output, everything else to standard error. NO_COLOR is honoured.";

/// Replicated state beside an application: stores on a laptop, and questions to running ones.
#[derive(Debug, Parser)]
#[command(name = "holdfast", version, after_help = EXIT_CODES, disable_help_subcommand = true)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run a store on this machine, each member as a process of its own
    Up(Up),
    /// Show a store and its members
    Status(Status),
    /// Read and write keys
    #[command(subcommand)]
    Kv(Kv),
    /// Append to message logs, read and follow them
    #[command(subcommand)]
    Log(Log),
    /// Upload and download files, which are kept on every member
    #[command(subcommand)]
    Files(Files),
    /// Kill a member by SIGKILL; it stays down until it is started
    Fail(Member),
    /// Start a member that was failed, or that waits for its restart
    Start(Member),
    /// Let a member hold back what its leader sends, for demonstrations
    Delay(Delay),
    /// With consensus InSync: start from a member that may have lost writes
    ForceStart(ForceStart),
    /// See whether a port is reachable, and how long a round trip takes
    #[command(subcommand)]
    Echo(Echo),
    /// Compare strategies by experiment: real stores, real failures
    #[command(subcommand)]
    Experiment(Experiment),
    /// Show something: a replicated chat
    #[command(subcommand)]
    Demo(Demo),
    /// Check a manifest by the rules of the API server, without one
    Validate(Validate),
    /// Print the version
    Version(Version),
    /// Serve failure experiments over HTTP, on stores of its own
    Lab(Lab),
    /// Remove the folder of experiments when standard input ends (what `lab` and `experiment` run)
    #[command(hide = true)]
    Janitor {
        /// The folder
        folder: PathBuf,
    },
    /// Be one member (what `up` runs)
    #[command(hide = true)]
    Member(Box<holdfast_sidecar::Arguments>),
}

/// `holdfast version`.
#[derive(Debug, Args)]
pub struct Version {
    /// How to print
    #[command(flatten)]
    pub printed: Printed,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_runner_is_found_one_way_at_a_time() {
        let parse = |line: &str| Arguments::try_parse_from(line.split(' '));
        parse("holdfast status --data d").expect("by its folder");
        parse("holdfast status --port-base 7500 -o json").expect("by its port base");
        parse("holdfast status --data d --port-base 1").expect_err("two ways");
        parse("holdfast kv get k --endpoint http://a --data d").expect_err("two ways");
        parse("holdfast kv put k -5").expect("a value that looks like an option");
        parse("holdfast log append orders hello -w 2 --timeout 1s -o json").expect("a log and a message");
        parse("holdfast log append --lines").expect("lines of the default log");
        parse("holdfast log read --from 7 --limit 2 --read committed").expect("a page");
        parse("holdfast log follow orders --from 0 --count 1 --local").expect("a stream");
        parse("holdfast log append a b c").expect_err("too much");
        let Verb::Log(Log::Append(append)) =
            parse("holdfast log append m --port-base=7500").expect("valid").verb
        else {
            panic!("another verb");
        };
        assert_eq!((append.words, append.reach.target.port_base), (vec!["m".to_owned()], Some(7500)));
    }
}
