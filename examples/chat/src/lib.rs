//! A replicated chat: an application container that keeps its whole state in the store beside it.
//!
//! | part | does |
//! |---|---|
//! | [`messages`], [`metadata`], [`texts`] | the contract with clients |
//! | [`server`], `service` | one server: gRPC in front of the member beside it |
//! | `state`, `keys`, `passwords` | accounts and messages in the store |
//! | `push` | tells subscribers what happens, whichever server did it |
//! | `packets` | the protocol of older clients, in front of the same state |
//! | [`caller`], [`inbox`] | a client of all servers at once |
//! | `terminal`, [`crowd`], [`trial`] | who uses it: a person, many, and a quick test |
//!
//! Every server does the same as every other: the store decides what happened. It refuses to keep anything itself.

mod arguments;
pub mod caller;
pub mod crowd;
pub mod inbox;
mod keys;
mod limits;
pub mod messages;
pub mod metadata;
mod packets;
mod passwords;
mod push;
pub mod server;
mod service;
mod state;
mod terminal;
pub mod texts;
pub mod trial;

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use arguments::{Arguments, Verb};
use terminal::say;

/// Runs the process's command line: 0 if all went well, 1 if not, 2 if the command line is wrong.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = Runtime::new().map_err(anything).and_then(|runtime| {
        let done = run(&runtime, arguments.verb);
        runtime.shutdown_background();
        done
    });
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // Without standard error there is nobody to tell.
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(runtime: &Runtime, verb: Verb) -> Result<bool, String> {
    match verb {
        Verb::Server(server) => {
            log();
            let options = server::Options {
                listen: server.address(),
                packets: server.packets_address(),
                store: server.store.clone(),
                sessions_required: server.require_sessions,
            };
            let end = told_to_end(server.lifeline);
            runtime.block_on(server::serve(&options, end)).map(|()| true).map_err(anything)
        }
        Verb::Client(servers) => {
            let caller = caller::Caller::new(&servers.servers).map_err(anything)?;
            let _inside = runtime.enter();
            terminal::run(runtime, caller).map_err(anything)
        }
        Verb::Crowd(crowd) => {
            let plan = crowd::Plan {
                users: crowd.users,
                messages: crowd.messages,
                seed: crowd.seed,
                patience: Duration::from_secs(crowd.patience),
                pause: Duration::from_millis(crowd.pause_ms),
            };
            let outcome = runtime.block_on(crowd::run(&crowd.servers.servers, &plan)).map_err(anything)?;
            say(&outcome.to_string());
            Ok(outcome.is_right())
        }
        Verb::Try(trial) => {
            let said =
                |text: &str, took: Duration| say(&format!("{:>7.1} ms  {text}", took.as_secs_f64() * 1e3));
            runtime
                .block_on(trial::run(&trial.servers.servers, trial.deadline(), said))
                .map(|()| true)
                .map_err(anything)
        }
    }
}

/// An error with its causes.
fn anything<E: std::error::Error>(error: E) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}

/// Bytes as digits.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn log() {
    let filter = EnvFilter::try_from_env("HOLDFAST_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
}

/// Ends with SIGTERM or SIGINT, or when standard input closes, if that is a lifeline.
async fn told_to_end(lifeline: bool) {
    let mut signals = match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        (Ok(terminate), Ok(interrupt)) => (terminate, interrupt),
        (Err(error), _) | (_, Err(error)) => {
            tracing::error!("cannot listen for signals: {error}");
            return;
        }
    };
    let (gone, lost) = tokio::sync::oneshot::channel::<()>();
    if lifeline {
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut std::io::stdin().lock().take(u64::MAX), &mut std::io::sink());
            drop(gone);
        });
    } else {
        // Kept for as long as the process lives.
        std::mem::forget(gone);
    }
    tokio::select! {
        _ = signals.0.recv() => {}
        _ = signals.1.recv() => {}
        _ = lost => {}
    }
}
