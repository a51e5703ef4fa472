//! `holdfast`: runs a store on this machine, and asks running ones. The same file under the name `kubectl-holdfast` is
//! kubectl's plugin.

use std::process::ExitCode;

fn main() -> ExitCode {
    holdfast_cli::main()
}
