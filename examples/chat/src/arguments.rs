//! The command line. Data only.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::crowd::{MESSAGES_MAX, USERS_MAX};

/// The first server's gRPC port.
pub(crate) const PORT: u16 = 50051;
/// The first server's port of the packet protocol.
pub(crate) const PACKET_PORT: u16 = 26201;
/// From one server's port of the packet protocol to the next one's, on one machine.
pub(crate) const PACKET_STRIDE: u16 = 10;

/// A replicated chat: its servers, its terminal client, and a crowd that tries both.
#[derive(Debug, Parser)]
#[command(name = "holdfast-chat", version, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Serve, in front of the member of the store beside it
    Server(Server),
    /// Chat: commands from the terminal, a file or a pipe
    Client(Servers),
    /// Everybody writes to everybody, and every message is accounted for
    Crowd(Crowd),
    /// Accounts alice and bob, alice logs in and sends bob a message
    Try(Try),
}

#[derive(Debug, Args)]
#[command(after_help = "\
With --ordinal I (or HOLDFAST_ORDINAL, which `holdfast up` sets) it listens at 127.0.0.1, gRPC at PORT + I and packets at
PORT + 10 * I. Without, in a pod, it listens everywhere at the first ports.")]
pub(crate) struct Server {
    /// The first server's gRPC port
    #[arg(long, value_name = "PORT", default_value_t = PORT)]
    pub(crate) port: u16,
    /// The first server's port of the packet protocol
    #[arg(long, value_name = "PORT", default_value_t = PACKET_PORT)]
    pub(crate) packet_port: u16,
    /// Where gRPC clients reach it, if nowhere of these
    #[arg(long, env = "HOLDFAST_CHAT_LISTEN", value_name = "ADDRESS:PORT")]
    pub(crate) listen: Option<SocketAddr>,
    /// Where clients of the packet protocol reach it, if elsewhere
    #[arg(long, env = "HOLDFAST_CHAT_PACKETS_LISTEN", value_name = "ADDRESS:PORT")]
    pub(crate) packets_listen: Option<SocketAddr>,
    /// Serve the packet protocol too
    #[arg(long)]
    pub(crate) packets: bool,
    /// The client address of the member of the store beside it
    #[arg(long, env = "HOLDFAST_ENDPOINT", value_name = "URL", default_value = "http://127.0.0.1:7400")]
    pub(crate) store: String,
    /// Which of several servers on this machine it is, from 0
    #[arg(long, env = "HOLDFAST_ORDINAL", value_name = "NUMBER", value_parser = clap::value_parser!(u8).range(0..=6))]
    pub(crate) ordinal: Option<u8>,
    /// Refuse requests without a session; clients of before have none
    #[arg(long)]
    pub(crate) require_sessions: bool,
    /// End when standard input closes: whoever started it is gone then
    #[arg(long)]
    pub(crate) lifeline: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Servers {
    /// The servers, separated by commas
    #[arg(
        long,
        env = "HOLDFAST_CHAT_SERVERS",
        value_name = "ADDRESS:PORT",
        value_delimiter = ',',
        default_value = "127.0.0.1:50051,127.0.0.1:50052,127.0.0.1:50053,127.0.0.1:50054,127.0.0.1:50055"
    )]
    pub(crate) servers: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Crowd {
    #[command(flatten)]
    pub(crate) servers: Servers,
    /// Users
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=i64::from(USERS_MAX)))]
    pub(crate) users: u32,
    /// Messages of each
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=i64::from(MESSAGES_MAX)))]
    pub(crate) messages: u32,
    /// Who writes to whom
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// A pause of each user after each message, in milliseconds
    #[arg(long, default_value_t = 0, value_name = "MS")]
    pub(crate) pause_ms: u64,
    /// How long the servers may be away, in seconds
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    pub(crate) patience: u64,
}

#[derive(Debug, Args)]
pub(crate) struct Try {
    #[command(flatten)]
    pub(crate) servers: Servers,
    /// How long everything may take, in seconds
    #[arg(long, default_value_t = 10, value_name = "SECONDS")]
    pub(crate) timeout: u64,
}

impl Server {
    /// Where it listens for gRPC.
    pub(crate) fn address(&self) -> SocketAddr {
        self.listen.unwrap_or_else(|| self.usual(self.port, 1))
    }

    /// Where it listens for packets, if it does.
    pub(crate) fn packets_address(&self) -> Option<SocketAddr> {
        self.packets_listen.or_else(|| self.packets.then(|| self.usual(self.packet_port, PACKET_STRIDE)))
    }

    fn usual(&self, first: u16, stride: u16) -> SocketAddr {
        match self.ordinal {
            Some(ordinal) => ([127, 0, 0, 1], first.saturating_add(stride * u16::from(ordinal))).into(),
            None => ([0, 0, 0, 0], first).into(),
        }
    }
}

impl Try {
    pub(crate) fn deadline(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_have_their_usual_ports() {
        let check = |line: &[&str], listen: &str, packets: Option<&str>| {
            let line = ["holdfast-chat", "server"].iter().chain(line);
            let Verb::Server(server) = Arguments::try_parse_from(line).expect("valid").verb else {
                panic!("a server")
            };
            assert_eq!(server.address().to_string(), listen);
            assert_eq!(server.packets_address().map(|address| address.to_string()).as_deref(), packets);
        };
        check(&[], "0.0.0.0:50051", None);
        check(&["--ordinal", "4"], "127.0.0.1:50055", None);
        check(&["--ordinal", "2", "--packets"], "127.0.0.1:50053", Some("127.0.0.1:26221"));
        check(&["--listen", "127.0.0.1:1", "--packets"], "127.0.0.1:1", Some("0.0.0.0:26201"));
    }
}
