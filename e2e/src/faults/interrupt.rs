//! Ctrl-C and SIGTERM: a run that is cut short still takes down what it put up.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, ensure};
use tokio::signal::unix::{SignalKind, signal};

static RAISED: AtomicBool = AtomicBool::new(false);

/// From now on remember such signals instead of ending by them.
///
/// # Errors
///
/// If the system has no thread to spare.
pub fn listen() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listening = move || {
        runtime.block_on(async {
            let (Ok(mut interrupt), Ok(mut terminate)) =
                (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
            else {
                return;
            };
            loop {
                tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
                RAISED.store(true, Ordering::Relaxed);
            }
        });
    };
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(listening)
        .context("cannot listen for signals")?;
    Ok(())
}

/// Whether one came.
pub fn raised() -> bool {
    RAISED.load(Ordering::Relaxed)
}

/// Stop here if one came.
///
/// # Errors
///
/// If one came.
pub fn check() -> anyhow::Result<()> {
    ensure!(!raised(), "interrupted");
    Ok(())
}
