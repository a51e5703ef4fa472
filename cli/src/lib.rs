//! The holdfast command: stores on a laptop, and questions to running ones.
//!
//! | part | does |
//! |---|---|
//! | [`arguments`] | the command line |
//! | [`verb`] | one module per verb |
//! | [`runner`] | a store on this machine: processes, restarts, the manifest's edits, the live table |
//! | `demo` | demonstrations |
//! | [`discover`] | finds the runner that another terminal means |
//! | [`view`] | a store and its members in one table |
//!
//! Data goes to standard output, everything else to standard error; [`Exit`] has the exit codes. It refuses to know
//! how members replicate: it starts them, asks them, and shows what they say.

pub mod arguments;
mod demo;
pub mod discover;
mod exit;
mod manifest;
mod output;
pub mod runner;
mod table;
pub mod verb;
pub mod view;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

pub use exit::{Exit, Failure};
pub use manifest::{Manifest, ManifestFileError};

use arguments::{Arguments, Verb};

/// Runs the process's command line, says what went wrong, and gives the code to end with.
pub fn main() -> ExitCode {
    let arguments = match parse(std::env::args_os().collect()) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and versions go to standard output and are no failure; clap knows which is which.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Ok.into() };
        }
    };
    let result = match arguments.verb {
        Verb::Member(member) => return holdfast_sidecar::main(*member),
        Verb::Janitor { folder } => {
            holdfast_laptop::janitor::run(&folder).map(|()| Exit::Ok).map_err(Failure::general)
        }
        Verb::Lab(lab) => verb::lab::run(&lab),
        Verb::Up(up) => verb::up::run(&up),
        Verb::Status(status) => verb::status::run(&status),
        Verb::Kv(kv) => verb::kv::run(kv),
        Verb::Log(log) => verb::log::run(log),
        Verb::Files(files) => verb::files::run(files),
        Verb::Fail(member) => verb::fail::run(&member),
        Verb::Start(member) => verb::start::run(&member),
        Verb::Delay(delay) => verb::delay::run(&delay),
        Verb::ForceStart(order) => verb::force_start::run(&order),
        Verb::Echo(echo) => verb::echo::run(echo),
        Verb::Experiment(experiment) => verb::experiment::run(&experiment),
        Verb::Demo(demo) => verb::demo::run(&demo),
        Verb::Validate(validate) => verb::validate::run(&validate),
        Verb::Version(version) => verb::version::run(&version),
    };
    match result {
        Ok(exit) => exit.into(),
        Err(failure) => {
            complain(&failure.to_string());
            failure.exit().into()
        }
    }
}

fn parse(line: Vec<std::ffi::OsString>) -> Result<Arguments, clap::Error> {
    let mut command = Arguments::command();
    let plugin = line
        .first()
        .and_then(|name| Path::new(name).file_stem())
        .is_some_and(|name| name == "kubectl-holdfast");
    if plugin {
        // As kubectl's users type it.
        command = command.bin_name("kubectl holdfast");
    }
    Arguments::from_arg_matches(&command.try_get_matches_from(line)?)
}

/// One line on standard error.
fn complain(text: &str) {
    let stderr = std::io::stderr();
    let (on, off) =
        if runner::terminal::wants_colour(&stderr) { ("\x1b[1;31m", "\x1b[0m") } else { ("", "") };
    // Without standard error there is nobody to tell.
    let _ = writeln!(stderr.lock(), "{on}error:{off} {text}");
}

/// One line on standard error that is no error.
fn remark(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plugin_is_called_as_kubectl_calls_it() {
        let help = |name: &str| {
            let error = parse(vec![name.into(), "status".into(), "--nonsense".into()]).expect_err("nonsense");
            error.render().to_string()
        };
        assert!(help("/usr/bin/kubectl-holdfast").contains("Usage: kubectl holdfast status"));
        assert!(help("/usr/bin/holdfast").contains("Usage: holdfast status"));
    }
}
