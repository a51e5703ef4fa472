//! What must not outlive this program, however it ends: the processes it started and the folder they wrote to. It knows
//! processes by their id and forgets an id before the process is waited for, so that it never ends a stranger.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::{SignalKind, signal};

/// The exit code of a program that was interrupted, as shells know it.
const INTERRUPTED: i32 = 130;

#[derive(Debug)]
struct Leftovers {
    processes: BTreeSet<i32>,
    folder: Option<PathBuf>,
}

static LEFTOVERS: Mutex<Leftovers> = Mutex::new(Leftovers { processes: BTreeSet::new(), folder: None });

/// A panic while it is held leaves a set of numbers, which is as good as before.
fn leftovers() -> MutexGuard<'static, Leftovers> {
    LEFTOVERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on `process` is killed when this program ends.
pub(crate) fn add(process: Pid) {
    leftovers().processes.insert(process.as_raw_nonzero().get());
}

/// Somebody else takes care of `process`.
pub(crate) fn forget(process: Pid) {
    leftovers().processes.remove(&process.as_raw_nonzero().get());
}

/// From now on `folder` is removed when this program is interrupted.
pub(crate) fn folder(folder: &Path) {
    leftovers().folder = Some(folder.to_owned());
}

/// Kill the processes and remove the folder.
fn clear() {
    let mut leftovers = leftovers();
    for process in std::mem::take(&mut leftovers.processes) {
        let _ = Pid::from_raw(process).map(|process| kill_process(process, Signal::KILL));
    }
    if let Some(folder) = leftovers.folder.take() {
        // Members may still be writing while they die; what stays is in the system's folder for temporary files.
        let _ = std::fs::remove_dir_all(folder);
    }
}

/// Watch for the ways in which a program ends without running its destructors: signals and panics. Against SIGKILL the
/// kernel helps: see [`crate::process`].
///
/// # Errors
///
/// If there is no thread or no signal handler to be had.
pub(crate) fn watch() -> anyhow::Result<()> {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        usual(panic);
        clear();
    }));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let watch = move || {
        let any = runtime.block_on(async {
            let mut interrupt = signal(SignalKind::interrupt())?;
            let mut terminate = signal(SignalKind::terminate())?;
            let mut hangup = signal(SignalKind::hangup())?;
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {}, _ = hangup.recv() => {} }
            Ok::<(), std::io::Error>(())
        });
        if any.is_ok() {
            clear();
            #[expect(
                clippy::disallowed_methods,
                reason = "the main thread may be waiting for what was just killed; there is nothing left to destruct"
            )]
            std::process::exit(INTERRUPTED);
        }
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(watch).context("no thread for signals")?;
    Ok(())
}
