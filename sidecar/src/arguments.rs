//! What a member is told on its command line and by its environment.
//!
//! Only where things are: who the member is, its files, its addresses. Everything about the store's behaviour is in
//! the settings file, which all members share. It refuses to guess who the member is.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use holdfast_api::{Probability, Span, parse_delay};
use holdfast_engine::{MEMBERS_MAX, Ordinal};

use crate::listener::Purpose;
use crate::logging::LogFormat;

// The kind's bound and the engine's are one; their crates do not know each other.
const _: () = assert!(MEMBERS_MAX == holdfast_api::names::REPLICAS_MAX as usize);

/// The client port's flag and variable.
pub(crate) const CLIENT: Purpose =
    Purpose { name: "client", flag: "--client-address", environment: "HOLDFAST_CLIENT_ADDRESS", also: "" };

/// The flag and variable of further client ports.
pub(crate) const ALSO_CLIENT: Purpose = Purpose {
    name: "further client",
    flag: "--also-client-address",
    environment: "HOLDFAST_ALSO_CLIENT_ADDRESS",
    also: " (on a laptop spec.laptop.clientPorts in the manifest)",
};

/// The peer port's flag and variable.
pub(crate) const PEER: Purpose = Purpose {
    name: "peer",
    flag: "--peer-address",
    environment: "HOLDFAST_PEER_ADDRESS",
    also: ", and with it this member's address under \"peers\" in the settings",
};

/// The admin port's flag and variable.
pub(crate) const ADMIN: Purpose =
    Purpose { name: "admin", flag: "--admin-address", environment: "HOLDFAST_ADMIN_ADDRESS", also: "" };

/// How often it is looked for copies of files that are missing.
pub const FILES_RECOVERY_INTERVAL: Span = Span::from_secs(30);

/// The time from the begin of one reading of all files to the begin of the next. An hour at 32 MiB/s reads 100 GiB; what
/// takes longer goes on without a pause.
pub const FILES_SCRUB_INTERVAL: Span = Span::from_secs(3600);

/// Run one member of a store.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub struct Arguments {
    /// The member's place in the store, from 0. Without it, the number at the end of the pod's name.
    #[arg(long, env = "HOLDFAST_ORDINAL", value_name = "NUMBER")]
    pub ordinal: Option<u8>,
    /// The pod's name, such as "orders-2": its number is the member's ordinal.
    #[arg(long, env = "HOLDFAST_POD_NAME", value_name = "NAME")]
    pub pod_name: Option<String>,
    /// The store's settings. Read again every two seconds.
    #[arg(
        long,
        env = "HOLDFAST_SETTINGS",
        value_name = "FILE",
        default_value = "/etc/holdfast/settings.yaml"
    )]
    pub settings: PathBuf,
    /// The folder that holds what the member must not forget. Made if it is not there.
    #[arg(long, env = "HOLDFAST_DATA", value_name = "FOLDER", default_value = "/var/lib/holdfast")]
    pub data: PathBuf,
    /// Where applications reach this member.
    #[arg(
        long,
        env = "HOLDFAST_CLIENT_ADDRESS",
        value_name = "ADDRESS:PORT",
        default_value = "0.0.0.0:7400"
    )]
    pub client_address: SocketAddr,
    /// A Unix socket at which applications on the same host reach this member too. Made when it starts, removed when it
    /// stops; its user and its group may connect.
    #[arg(long, env = "HOLDFAST_CLIENT_SOCKET", value_name = "PATH")]
    pub client_socket: Option<PathBuf>,
    /// Where the other members reach this one.
    #[arg(long, env = "HOLDFAST_PEER_ADDRESS", value_name = "ADDRESS:PORT", default_value = "0.0.0.0:7401")]
    pub peer_address: SocketAddr,
    /// Where probes, scrapes and operators reach this member.
    #[arg(long, env = "HOLDFAST_ADMIN_ADDRESS", value_name = "ADDRESS:PORT", default_value = "0.0.0.0:7402")]
    pub admin_address: SocketAddr,
    /// How log lines look; HOLDFAST_LOG says which there are.
    #[arg(long, env = "HOLDFAST_LOG_FORMAT", value_name = "FORMAT", default_value = "json")]
    pub log_format: LogFormat,
    /// End when standard input closes: whoever started this member is gone then.
    #[arg(long)]
    pub lifeline: bool,
    /// Length of a segment of the log in bytes, at least 8192. The disk holds one to two more than the log needs; less than
    /// the default is for volumes that are too small for that, and for tests.
    #[arg(long, env = "HOLDFAST_SEGMENT_BYTES", value_name = "BYTES")]
    pub segment_bytes: Option<u64>,
    /// How often it is looked for copies of files that are missing here, such as "30s"; "0s": only when somebody asks for it.
    #[arg(long, env = "HOLDFAST_FILES_RECOVERY_INTERVAL", value_name = "TIME", default_value_t = FILES_RECOVERY_INTERVAL)]
    pub files_recovery_interval: Span,
    /// The time from the begin of one reading of all files, for bits that rot, to the begin of the next; at least "1s".
    #[arg(long, env = "HOLDFAST_FILES_SCRUB_INTERVAL", value_name = "TIME", default_value_t = FILES_SCRUB_INTERVAL)]
    pub files_scrub_interval: Span,
    /// Further addresses at which applications reach this member.
    #[arg(
        long,
        env = "HOLDFAST_ALSO_CLIENT_ADDRESS",
        value_name = "ADDRESS:PORT",
        value_delimiter = ',',
        num_args = 1
    )]
    pub also_client_address: Vec<SocketAddr>,
    /// The file that decides, in a store with consensus InSync, who leads and who must have a write: the same one for all
    /// members. Made if it is not there, in a folder that is.
    #[arg(long, env = "HOLDFAST_AUTHORITY", value_name = "FILE")]
    pub authority: Option<PathBuf>,
    /// For strategy Hybrid: a folder outside of the members' own, the same one for all of them, where the member that leads
    /// keeps a copy of each of its checkpoints. A store all of whose members are empty begins from the newest one there. Made if it is
    /// not there.
    #[arg(long, env = "HOLDFAST_CHECKPOINTS_OUTSIDE", value_name = "FOLDER")]
    pub checkpoints_outside: Option<PathBuf>,
    /// The Lease that decides instead of a file, in the namespace of the store, for members that are pods. It must exist.
    #[arg(long, env = "HOLDFAST_AUTHORITY_LEASE", value_name = "NAME", conflicts_with = "authority")]
    pub authority_lease: Option<String>,
    /// Faults on purpose, for demonstrations and tests.
    #[command(flatten)]
    pub faults: FaultArguments,
}

/// Faults on purpose, for demonstrations and tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct FaultArguments {
    /// Whether this member may have faults on purpose, also by an order while it runs. The settings can allow it too.
    #[arg(long = "faults", env = "HOLDFAST_FAULTS", value_name = "WHETHER", value_enum, default_value_t)]
    pub allowed: FaultsAllowed,
    /// How long this member holds back the entries that its leader sends, and so its acknowledgements: a length of time
    /// such as 2s, or seconds such as 2.0.
    #[arg(long, env = "HOLDFAST_REPLICATION_DELAY", value_name = "DELAY", value_parser = parse_delay)]
    pub replication_delay: Option<Span>,
    /// How likely this member loses a message with entries, from 0 to 1. Its leader sends it again.
    #[arg(long, env = "HOLDFAST_REPLICATION_FAILURE", value_name = "PROBABILITY")]
    pub replication_failure: Option<Probability>,
}

/// Whether a member may have faults on purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum FaultsAllowed {
    /// It may.
    Enabled,
    /// It may not, unless the settings allow it.
    #[default]
    Disabled,
}

/// What [`crate::run`] is told: the arguments, with the member's ordinal known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The member's place in the store, from 0.
    pub ordinal: Ordinal,
    /// The settings file.
    pub settings: PathBuf,
    /// The data folder.
    pub data: PathBuf,
    /// Where applications reach this member.
    pub client_address: SocketAddr,
    /// A Unix socket at which applications on the same host reach it too.
    pub client_socket: Option<PathBuf>,
    /// Where the other members reach this one.
    pub peer_address: SocketAddr,
    /// Where probes, scrapes and operators reach this member.
    pub admin_address: SocketAddr,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Whether to end when standard input closes.
    pub lifeline: bool,
    /// Length of a segment of the log in bytes, if not the default.
    pub segment_bytes: Option<u64>,
    /// Further addresses at which applications reach it.
    pub also_client_addresses: Vec<SocketAddr>,
    /// The file that decides in a store with consensus InSync.
    pub authority: Option<PathBuf>,
    /// The folder outside of the members where checkpoints are kept too.
    pub checkpoints_outside: Option<PathBuf>,
    /// The Lease that decides instead.
    pub authority_lease: Option<String>,
    /// Faults on purpose.
    pub faults: FaultArguments,
    /// How often it is looked for copies of files that are missing; 0: only when somebody asks for it.
    pub files_recovery_interval: Span,
    /// The time from the begin of one reading of all files to the begin of the next.
    pub files_scrub_interval: Span,
}

/// Why the arguments do not say who the member is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentsError {
    /// Neither an ordinal nor a pod's name.
    #[error(
        "nothing says which member this is: give --ordinal (HOLDFAST_ORDINAL), or the pod's name by --pod-name \
         (HOLDFAST_POD_NAME)"
    )]
    NoOrdinal,
    /// The pod's name does not end in a number.
    #[error(
        "the pod's name {name:?} does not end in \"-\" and a number; give the ordinal by --ordinal (HOLDFAST_ORDINAL)"
    )]
    PodName {
        /// The name.
        name: String,
    },
    /// No store has so many members.
    #[error("ordinal {ordinal} is not one of 0 to {}", MEMBERS_MAX - 1)]
    OrdinalTooLarge {
        /// The ordinal.
        ordinal: u64,
    },
}

impl Arguments {
    /// Find out who the member is.
    ///
    /// # Errors
    ///
    /// [`ArgumentsError`] if nothing says so, or something that cannot be.
    pub fn options(self) -> Result<Options, ArgumentsError> {
        let ordinal = match (self.ordinal, &self.pod_name) {
            (Some(ordinal), _) => u64::from(ordinal),
            (None, Some(name)) => {
                ordinal_of(name).ok_or_else(|| ArgumentsError::PodName { name: name.clone() })?
            }
            (None, None) => return Err(ArgumentsError::NoOrdinal),
        };
        if ordinal >= MEMBERS_MAX as u64 {
            return Err(ArgumentsError::OrdinalTooLarge { ordinal });
        }
        Ok(Options {
            ordinal: Ordinal(ordinal as u8),
            settings: self.settings,
            data: self.data,
            client_address: self.client_address,
            client_socket: self.client_socket,
            peer_address: self.peer_address,
            admin_address: self.admin_address,
            log_format: self.log_format,
            lifeline: self.lifeline,
            segment_bytes: self.segment_bytes,
            also_client_addresses: self.also_client_address,
            authority: self.authority,
            checkpoints_outside: self.checkpoints_outside,
            authority_lease: self.authority_lease,
            faults: self.faults,
            files_recovery_interval: self.files_recovery_interval,
            files_scrub_interval: self.files_scrub_interval,
        })
    }
}

impl Options {
    /// The command line that says the same, for whoever starts a member as a process.
    pub fn command_line(&self) -> Vec<OsString> {
        let format = match self.log_format {
            LogFormat::Json => "json",
            LogFormat::Text => "text",
        };
        let mut line: Vec<OsString> = Vec::new();
        let mut flag = |name: &str, value: OsString| line.extend([name.into(), value]);
        flag("--ordinal", self.ordinal.to_string().into());
        flag("--settings", self.settings.clone().into());
        flag("--data", self.data.clone().into());
        flag(CLIENT.flag, self.client_address.to_string().into());
        if let Some(path) = &self.client_socket {
            flag("--client-socket", path.clone().into());
        }
        flag(PEER.flag, self.peer_address.to_string().into());
        flag(ADMIN.flag, self.admin_address.to_string().into());
        flag("--log-format", format.into());
        if let Some(bytes) = self.segment_bytes {
            flag("--segment-bytes", bytes.to_string().into());
        }
        for address in &self.also_client_addresses {
            flag(ALSO_CLIENT.flag, address.to_string().into());
        }
        if let Some(path) = &self.authority {
            flag("--authority", path.clone().into());
        }
        if let Some(path) = &self.checkpoints_outside {
            flag("--checkpoints-outside", path.clone().into());
        }
        if let Some(name) = &self.authority_lease {
            flag("--authority-lease", name.clone().into());
        }
        if self.faults.allowed == FaultsAllowed::Enabled {
            flag("--faults", "enabled".into());
        }
        if let Some(delay) = self.faults.replication_delay {
            flag("--replication-delay", delay.to_string().into());
        }
        if let Some(failure) = self.faults.replication_failure {
            flag("--replication-failure", failure.to_string().into());
        }
        // What is usual is not said, so that the environment may say otherwise.
        if self.files_recovery_interval != FILES_RECOVERY_INTERVAL {
            flag("--files-recovery-interval", self.files_recovery_interval.to_string().into());
        }
        if self.files_scrub_interval != FILES_SCRUB_INTERVAL {
            flag("--files-scrub-interval", self.files_scrub_interval.to_string().into());
        }
        if self.lifeline {
            line.push("--lifeline".into());
        }
        line
    }
}

/// The number behind the last hyphen, as StatefulSets name their pods.
fn ordinal_of(pod_name: &str) -> Option<u64> {
    let (_, number) = pod_name.rsplit_once('-')?;
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    number.parse().ok()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn check(line: &[&str], expected: Result<u8, ArgumentsError>) {
        let line = Line::parse_from(["member"].iter().chain(line));
        assert_eq!(line.arguments.options().map(|options| options.ordinal.0), expected);
    }

    #[test]
    fn the_ordinal_comes_from_its_flag_or_the_pods_name() {
        check(&["--ordinal", "2"], Ok(2));
        check(&["--pod-name", "orders-1"], Ok(1));
        check(&["--pod-name", "my-orders-6"], Ok(6));
        check(&["--ordinal", "0", "--pod-name", "orders-1"], Ok(0));
        check(&[], Err(ArgumentsError::NoOrdinal));
        check(&["--ordinal", "7"], Err(ArgumentsError::OrdinalTooLarge { ordinal: 7 }));
        check(&["--pod-name", "orders-400"], Err(ArgumentsError::OrdinalTooLarge { ordinal: 400 }));
        for name in ["orders", "orders-", "orders-x", "orders-+1", "orders-99999999999999999999999"] {
            check(&["--pod-name", name], Err(ArgumentsError::PodName { name: name.to_owned() }));
        }
    }

    #[test]
    fn a_command_line_says_what_the_options_say() {
        let line = "member --ordinal 1 --data /d --segment-bytes 8192 --lifeline --also-client-address 127.0.0.1:5000 \
                    --also-client-address 127.0.0.1:5001 --faults enabled --replication-delay 2.0 \
                    --replication-failure 0.1 --checkpoints-outside /o --files-recovery-interval 2s --files-scrub-interval 5s"
            .split_whitespace();
        let options = Line::parse_from(line).arguments.options().expect("valid");
        assert!(options.lifeline);
        assert_eq!(options.also_client_addresses.len(), 2);
        assert_eq!(options.faults.replication_delay, Some(Span::from_secs(2)));
        let again = Line::parse_from([OsString::from("member")].into_iter().chain(options.command_line()));
        assert_eq!(again.arguments.options(), Ok(options));
    }
}
