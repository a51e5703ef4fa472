//! `holdfast demo`.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{DATA_DEFAULT, PORT_BASE_DEFAULT};

/// The first chat server's port when nothing else is said: the one that its clients know.
const CHAT_PORT_DEFAULT: u16 = 50051;

/// `holdfast demo`.
#[derive(Debug, Subcommand)]
pub enum Demo {
    /// A replicated chat on five members, and a prompt to fail and start them
    Chat(DemoChat),
}

/// `holdfast demo chat`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  holdfast demo chat                                         five members on this machine
  holdfast demo chat --machine-id 1 --peer-ip 10.0.0.2       members 1 and 2 here, 3 to 5 on 10.0.0.2,
  holdfast demo chat --machine-id 2 --peer-ip 10.0.0.1       where this is typed
  printf 'fail 3\\ntest\\nstart 3\\ntest\\n' | holdfast demo chat

Commands: status, test, fail ID, start ID, wait SECONDS, help, exit; ! before one that is expected to fail. Exit code 0: all went
well; 1: something did not. Nothing is encrypted between two machines: use a network that you trust.")]
pub struct DemoChat {
    /// Which of two machines this is
    #[arg(long, value_name = "1|2", requires = "peer_ip", value_parser = clap::value_parser!(u8).range(1..=2))]
    pub machine_id: Option<u8>,
    /// The other machine's address
    #[arg(long, value_name = "ADDRESS", requires = "machine_id")]
    pub peer_ip: Option<IpAddr>,
    /// Let `fail` kill the leader too
    #[arg(long)]
    pub fail_leader: bool,
    /// Keep what the last demonstration wrote
    #[arg(long)]
    pub skip_clear: bool,
    /// Where the members keep their data, in a folder demo-chat
    #[arg(long, value_name = "DIR", default_value = DATA_DEFAULT)]
    pub data: PathBuf,
    /// The first member's first port; the same on both machines
    #[arg(long, value_name = "PORT", default_value_t = PORT_BASE_DEFAULT)]
    pub port_base: u16,
    /// The first chat server's port; the same on both machines
    #[arg(long, value_name = "PORT", default_value_t = CHAT_PORT_DEFAULT)]
    pub chat_port: u16,
    /// How long `test` may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub timeout: u64,
    /// The chat's program, by its path, or its name beside this one or on PATH
    #[arg(long, value_name = "PROGRAM", default_value = "holdfast-chat")]
    pub chat_program: String,
}

#[cfg(test)]
impl DemoChat {
    /// As nothing but the verb gives it.
    pub(crate) fn of_tests() -> DemoChat {
        DemoChat {
            machine_id: None,
            peer_ip: None,
            fail_leader: false,
            skip_clear: false,
            data: DATA_DEFAULT.into(),
            port_base: PORT_BASE_DEFAULT,
            chat_port: CHAT_PORT_DEFAULT,
            timeout: 10,
            chat_program: "holdfast-chat".to_owned(),
        }
    }
}
