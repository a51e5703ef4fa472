//! What asks a member to stop: SIGTERM, SIGINT, or the end of its lifeline.
//!
//! The first asks it to stop in good order, the second to stop at once. It refuses to end the process itself; that is
//! for whoever listens.

use std::io::Read;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

/// Why a member is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// SIGTERM: whatever runs the member wants it to stop.
    Terminate,
    /// SIGINT: a person at a terminal does.
    Interrupt,
    /// Standard input was closed: whoever started the member is gone.
    Lifeline,
}

/// The signals of this process and its lifeline, if it has one.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    lifeline: Option<mpsc::Receiver<()>>,
}

impl Signals {
    /// Listen from now on. Must run inside a tokio runtime.
    ///
    /// # Errors
    ///
    /// What the system says when a signal handler or a thread cannot be had.
    pub fn listen(lifeline: bool) -> std::io::Result<Signals> {
        let lifeline = if lifeline { Some(watch_standard_input()?) } else { None };
        #[cfg(target_os = "linux")]
        if lifeline.is_some() {
            // A process that was stopped reads no lifeline: have it go on when its parent dies, and find the end there.
            rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::CONT))?;
        }
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            lifeline,
        })
    }

    /// Wait for the next reason to stop. Cancel safe.
    pub async fn next(&mut self) -> StopReason {
        let lifeline = async {
            match &mut self.lifeline {
                Some(closed) => closed.recv().await,
                None => std::future::pending().await,
            }
        };
        let reason = tokio::select! {
            _ = self.terminate.recv() => StopReason::Terminate,
            _ = self.interrupt.recv() => StopReason::Interrupt,
            _ = lifeline => StopReason::Lifeline,
        };
        if reason == StopReason::Lifeline {
            // It ends once; what is closed stays closed and is no second reason.
            self.lifeline = None;
        }
        reason
    }
}

/// A thread of its own reads standard input to its end: tokio's reader would hold up the end of the runtime.
fn watch_standard_input() -> std::io::Result<mpsc::Receiver<()>> {
    let (say, closed) = mpsc::channel(1);
    std::thread::Builder::new().name("lifeline".to_owned()).spawn(move || {
        let mut ignored = [0; 64];
        let mut input = std::io::stdin().lock();
        loop {
            match input.read(&mut ignored) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        let _ = say.blocking_send(());
    })?;
    Ok(closed)
}
