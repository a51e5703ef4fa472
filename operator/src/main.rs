//! `holdfast-operator`: looks after stores, or checks that an installation is sound.
//!
//! It ends with code 0 when it was asked to stop, 1 with one message when something failed, 2 when the command line makes no
//! sense.

use std::process::ExitCode;

use clap::Parser as _;
use holdfast_operator::arguments::{Arguments, Check, Run, Verb};
use holdfast_operator::{check, error, logging, run};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

fn main() -> ExitCode {
    let outcome = match Arguments::parse().verb {
        Verb::Run(arguments) => {
            logging::start(arguments.log_format).map_err(Into::into).and_then(|()| operate(arguments))
        }
        Verb::Check(arguments) => examine(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            use std::io::Write as _;
            // Nobody is left to be told that nobody reads this.
            let _ = writeln!(std::io::stderr(), "holdfast-operator: {}", error::chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

/// Two workers: the operator waits most of the time, and a reconcile must not wait for another one's CEL.
#[tokio::main(worker_threads = 2)]
async fn operate(arguments: Run) -> anyhow::Result<()> {
    let (end, ending) = watch::channel(false);
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
        tracing::info!("asked to stop");
        let _ = end.send(true);
        // Held until the process ends: dropping it would say the same, but only by accident.
        std::future::pending::<()>().await;
    });
    Ok(run::run(arguments, ending).await?)
}

#[tokio::main(flavor = "current_thread")]
async fn examine(arguments: &Check) -> anyhow::Result<()> {
    Ok(check::check(arguments, &mut std::io::stdout()).await?)
}
