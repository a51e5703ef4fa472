//! `holdfast-chat`: the chat's server, its terminal client, and a crowd that tries both.

use std::process::ExitCode;

fn main() -> ExitCode {
    holdfast_chat::main()
}
