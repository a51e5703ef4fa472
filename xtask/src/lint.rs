//! `cargo xtask lint`: formatting, warnings, dependencies. It changes nothing and stops at no finding, so that one run
//! shows all of them.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::Context as _;

use crate::{checkout, command, say, tools};

/// The version of cargo-deny that is installed if there is none.
const DENY_VERSION: &str = "0.20.2";

/// Run every check and say which failed.
///
/// # Errors
///
/// If a check cannot be run at all.
pub fn run() -> anyhow::Result<ExitCode> {
    let mut failed = Vec::new();
    let mut check = |name: &'static str, command: &mut Command| {
        say(format_args!("{name}"));
        if command::show(command.current_dir(checkout())).is_err() {
            failed.push(name);
        }
    };
    check("formatting", &mut command::cargo(["fmt", "--all", "--check"]));
    let clippy = ["clippy", "--workspace", "--all-targets", "--all-features", "--", "--deny=warnings"];
    check("warnings", &mut command::cargo(clippy));
    let deny = deny()?;
    let deny = |arguments: &[&str]| {
        let mut command = Command::new(&deny);
        command.args(arguments);
        command
    };
    check("licences, bans and sources of dependencies", &mut deny(&["check", "licenses", "bans", "sources"]));
    match command::capture(deny(&["fetch", "db"]).current_dir(checkout())) {
        Ok(_) => check("advisories", &mut deny(&["check", "advisories"])),
        Err(error) => {
            say(format_args!("left out: advisories, because their database cannot be fetched: {error:#}"))
        }
    }
    if failed.is_empty() {
        say(format_args!("lint: nothing found"));
        return Ok(ExitCode::SUCCESS);
    }
    say(format_args!("lint: {} failed", failed.join(", ")));
    Ok(ExitCode::FAILURE)
}

/// The machine's cargo-deny, or one of our own beside the test cluster's tools.
fn deny() -> anyhow::Result<PathBuf> {
    if command::exists("cargo-deny") {
        return Ok("cargo-deny".into());
    }
    let root = tools::folder().join("cargo");
    let program = root.join("bin/cargo-deny");
    if !program.exists() {
        say(format_args!("installing cargo-deny {DENY_VERSION}"));
        // Without optimisation: building it takes minutes less, and it runs for a second.
        let mut install = command::cargo(["install", "cargo-deny", "--locked", "--debug", "--quiet"]);
        install.args(["--version", DENY_VERSION, "--root"]).arg(&root);
        command::show(&mut install).context("cannot install cargo-deny")?;
    }
    Ok(program)
}
