//! The command line: verbs, options, help. Data only; each verb's module does the work.

mod demo;
mod experiment;
mod log;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use holdfast_api::{Probability, Span, WriteConcern};

pub use demo::{Demo, DemoChat};
pub use experiment::{Experiment, ExperimentPlan, ExperimentReport, ExperimentRun, Planned, ReportOutput};
pub use log::{Log, LogAppend, LogConsistency, LogFollow, LogRead};

/// Where members' data goes when nothing else is said.
const DATA_DEFAULT: &str = "holdfast-data";
/// First port when nothing else is said: that of a member on Kubernetes.
pub const PORT_BASE_DEFAULT: u16 = 7400;

/// Where the echo is when nothing else is said: the port that clients of the replicated log's first iteration know.
const ECHO_DEFAULT: &str = "127.0.0.1:8080";
/// Most round trips of one `echo send`: each is kept for the summary.
const ECHO_COUNT_MAX: i64 = 1_000_000;

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

/// `holdfast up`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  holdfast up -f manifests/store-three-members.yaml
  holdfast up -f store.yaml --data /tmp/second --port-base 7500

Member I listens on 127.0.0.1: clients at BASE+10*I, its peers one port higher, metrics and health two ports higher.
The dashboard is at http://127.0.0.1:BASE+3/dashboard, and at each member's client port.
Edits of the file are followed. Ctrl-c or SIGTERM ends all members and keeps their data; ctrl-c again kills them.
Without a terminal, or with -o json, every event is one line on standard output.")]
pub struct Up {
    /// The manifest: a file with one ReplicatedStore
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub file: PathBuf,
    /// Where the members keep their data, in a folder named after the store
    #[arg(long, value_name = "DIR", default_value = DATA_DEFAULT)]
    pub data: PathBuf,
    /// The first member's first port
    #[arg(long, value_name = "PORT", default_value_t = PORT_BASE_DEFAULT)]
    pub port_base: u16,
    /// Where the dashboard is, on 127.0.0.1 [default: three above the port base]
    #[arg(long, env = "HOLDFAST_DASHBOARD_PORT", value_name = "PORT")]
    pub dashboard_port: Option<u16>,
    /// How to show what happens: a live table on a terminal, or one JSON object per event
    #[arg(short, long, value_enum, default_value_t = UpOutput::Table)]
    pub output: UpOutput,
}

/// `holdfast lab`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  holdfast lab &
  curl -d '{\"strategy\": \"replication\", \"data_items\": 100}' localhost:8000/api/fault-tolerance/run-experiment

It makes stores, kills their members, and removes them; other stores on this machine are left alone.")]
pub struct Lab {
    /// Where to listen
    #[arg(long, env = "HOLDFAST_LAB_LISTEN", value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8000")]
    pub listen: std::net::SocketAddr,
    /// Where its stores keep their data while they last
    #[arg(long, value_name = "DIR", default_value = DATA_DEFAULT)]
    pub data: PathBuf,
}

/// What `holdfast up` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum UpOutput {
    /// A live table on a terminal, else a line per event
    Table,
    /// A JSON object per event
    Json,
}

/// Which running store is meant.
#[derive(Clone, Debug, Default, Args)]
pub struct Target {
    /// The store whose runner has this data folder
    #[arg(long, value_name = "DIR", conflicts_with = "port_base")]
    pub data: Option<PathBuf>,
    /// The store whose runner has this port base [default: 7400, or the only runner there is]
    #[arg(long, value_name = "PORT")]
    pub port_base: Option<u16>,
}

/// Which running store is meant, also one that no runner on this machine runs.
#[derive(Clone, Debug, Args)]
pub struct Reach {
    /// The store
    #[command(flatten)]
    pub target: Target,
    /// A member's client address, such as http://127.0.0.1:7400; may be repeated. No runner is looked for then
    #[arg(long = "endpoint", value_name = "URL", conflicts_with_all = ["data", "port_base"])]
    pub endpoints: Vec<String>,
    /// How long to wait for an answer, such as 500ms or 5s [default: 5s; of log append: 30s]
    #[arg(long, value_name = "DURATION")]
    pub timeout: Option<Span>,
}

/// How long most verbs wait for an answer.
pub const TIMEOUT_DEFAULT: Span = Span::from_secs(5);

impl Reach {
    /// How long to wait for an answer; `usual` is how long if nobody says.
    pub fn timeout_or(&self, usual: Span) -> Duration {
        self.timeout.unwrap_or(usual).get()
    }
}

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

/// `holdfast status`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit code 0: every member is well; 3: the store serves without some; 4: it does not serve."
)]
pub struct Status {
    /// The store
    #[command(flatten)]
    pub reach: Reach,
    /// How to print
    #[command(flatten)]
    pub printed: Printed,
}

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

/// `holdfast validate`.
#[derive(Debug, Args)]
pub struct Validate {
    /// The manifest: a file with one ReplicatedStore or FaultExperiment
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub file: PathBuf,
    /// How to print
    #[command(flatten)]
    pub printed: Printed,
}

/// `holdfast version`.
#[derive(Debug, Args)]
pub struct Version {
    /// How to print
    #[command(flatten)]
    pub printed: Printed,
}

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

/// `holdfast files`.
#[derive(Debug, Subcommand)]
pub enum Files {
    /// Upload a file
    Put(FilesPut),
    /// Download a file; goes on at another member when one breaks off
    Get(FilesGet),
    /// List files, the newest first
    List(FilesList),
    /// Delete a file, everywhere
    Rm(FilesRm),
    /// Show which copies are missing, and what becomes of them
    Queue(FilesQueue),
}

/// `holdfast files put`.
#[derive(Debug, Args)]
pub struct FilesPut {
    /// The file; - is standard input
    pub file: PathBuf,
    /// What it is to be called [default: the file's own name]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// On how many members it is to be [default: all]
    #[arg(long, value_name = "N")]
    pub replicas: Option<u8>,
    /// How many members must have it before it is acknowledged: a number, majority or all [default: the store's]
    #[arg(short = 'w', long = "concern", value_name = "W")]
    pub concern: Option<WriteConcern>,
    /// Only if there is no such file
    #[arg(long)]
    pub if_absent: bool,
    /// The store
    #[command(flatten)]
    pub reach: Reach,
    /// How to print
    #[command(flatten)]
    pub printed: Printed,
}

/// `holdfast files get`.
#[derive(Debug, Args)]
pub struct FilesGet {
    /// What it is called
    pub name: String,
    /// Where to write it; - is standard output [default: the last part of its name, in this folder]
    #[arg(long, value_name = "FILE")]
    pub to: Option<PathBuf>,
    /// The store
    #[command(flatten)]
    pub reach: Reach,
}

/// `holdfast files list`.
#[derive(Debug, Args)]
pub struct FilesList {
    /// Most files to print
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    /// The store
    #[command(flatten)]
    pub reach: Reach,
    /// How to print
    #[command(flatten)]
    pub printed: Printed,
}

/// `holdfast files rm`.
#[derive(Debug, Args)]
pub struct FilesRm {
    /// What it is called
    pub name: String,
    /// The store
    #[command(flatten)]
    pub reach: Reach,
    /// How to print
    #[command(flatten)]
    pub printed: Printed,
}

/// `holdfast files queue`.
#[derive(Debug, Args)]
pub struct FilesQueue {
    /// Only copies in this state: PENDING, IN_PROGRESS, COMPLETED or FAILED
    #[arg(long, value_name = "STATUS")]
    pub status: Option<String>,
    /// The store
    #[command(flatten)]
    pub reach: Reach,
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
