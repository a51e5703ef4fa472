//! The settings file: reading it, and following its changes while the member runs.
//!
//! It is looked at every two seconds and compared by its bytes, because a mounted ConfigMap changes by swapping links,
//! which no modification time shows. Times, faults on purpose, the write concern, the number of members and their addresses take effect at once. What needs
//! a restart is refused and said once for each new text; the member goes on by what it has.

use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use holdfast_api::{CHECKPOINT_RETAIN_DEFAULT, SETTINGS_BYTES_MAX, Settings};
use holdfast_storage::Compression;
use tracing::{info, warn};

use crate::core::{Failure, FaultsChange, Handle, RefusalCode, Timing};
use crate::listener::chain;
use crate::metrics::ReloadResult;
use crate::running::Running;

/// How often the file is looked at. A kubelet takes up to a minute to bring a change here, a person expects seconds.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("the settings file {} cannot be read; --settings (HOLDFAST_SETTINGS) says where it is", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What it says makes no sense.
    #[error("the settings file {} cannot be used", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: holdfast_api::SettingsError,
    },
}

/// Read the settings.
///
/// # Errors
///
/// [`SettingsError`], which names the file.
pub(crate) fn load(path: &Path) -> Result<Settings, SettingsError> {
    let text = read(path)?;
    Settings::read(&text).map_err(|source| SettingsError::Content { path: path.to_owned(), source })
}

/// What the core takes from the settings.
pub(crate) fn timing(settings: &Settings) -> Timing {
    let retain = settings.checkpoint.map_or(CHECKPOINT_RETAIN_DEFAULT, |checkpoint| checkpoint.retain);
    Timing {
        heartbeat_interval: settings.heartbeat.interval.get(),
        heartbeat_timeout: settings.heartbeat.timeout.get(),
        checkpoint_interval: settings.checkpoint.map(|checkpoint| checkpoint.interval.get()),
        // The settings are validated, so that it is at least 1.
        checkpoint_retain: NonZeroUsize::new(retain.into()).unwrap_or(NonZeroUsize::MIN),
        checkpoint_compression: match settings.checkpoint.map(|checkpoint| checkpoint.compression) {
            None | Some(holdfast_api::Compression::None) => Compression::None,
            Some(holdfast_api::Compression::Lz4) => Compression::Lz4,
        },
    }
}

/// Follow the file until the task is dropped.
pub(crate) async fn follow(path: PathBuf, running: Running, handle: Handle) {
    // Not what the file says by now: it may have changed while the member started.
    let mut seen = None;
    let mut unreadable = false;
    loop {
        tokio::time::sleep(POLL_INTERVAL).await;
        // A small file; nothing is gained by another thread.
        let text = match read(&path) {
            Ok(text) => text,
            Err(error) => {
                // A mount that is being swapped is gone for a moment; said once, not every two seconds.
                if !unreadable {
                    running.metrics().settings_reloaded(ReloadResult::Unreadable);
                    warn!(error = chain(&error), "going on by the settings as they were");
                }
                unreadable = true;
                continue;
            }
        };
        unreadable = false;
        let first = seen.is_none() && Settings::read(&text).is_ok_and(|read| read == *running.settings());
        if first || seen.as_ref() == Some(&text) {
            seen = Some(text);
            continue;
        }
        let result = apply(&path, &text, &running, &handle).await;
        running.metrics().settings_reloaded(result);
        seen = Some(text);
    }
}

/// Take what can be taken of a changed file.
async fn apply(path: &Path, text: &str, running: &Running, handle: &Handle) -> ReloadResult {
    let next = match Settings::read(text) {
        Ok(next) => next,
        Err(error) => {
            let (path, error) = (path.display(), chain(&error));
            warn!(%path, error, "the settings have changed and make no sense; going on by those before");
            return ReloadResult::Unreadable;
        }
    };
    let now = running.settings();
    if let Err(error) = now.check_change(&next) {
        warn!(path = %path.display(), error = chain(&error), "the changed settings need a restart; none of them is taken");
        return ReloadResult::Refused;
    }
    match take(&now, &next, running.ordinal(), handle).await {
        Ok(()) => {
            info!(path = %path.display(), "the changed settings are in use");
            running.set_settings(next);
            ReloadResult::Applied
        }
        Err(failure) => {
            warn!(path = %path.display(), %failure, "the changed settings could not be taken");
            ReloadResult::Refused
        }
    }
}

async fn take(now: &Settings, next: &Settings, me: u8, handle: &Handle) -> Result<(), Failure> {
    if timing(now) != timing(next) {
        handle.retime(timing(next)).await?;
    }
    if (now.replicas, &now.peers) != (next.replicas, &next.peers) {
        handle.resize(next.replicas, next.peers.clone()).await?;
    }
    let faults = |settings: &Settings| (settings.faults.enabled, settings.faults.of(me));
    if faults(now) != faults(next) {
        let (enabled, (delay, failure)) = faults(next);
        let change =
            FaultsChange { enabled: Some(enabled), delay: Some(delay.get()), failure: Some(failure) };
        match handle.set_faults(change).await {
            // What is not to have faults any more says so.
            Err(Failure::Refused { code: RefusalCode::FaultsDisabled, .. }) | Ok(_) => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<String, SettingsError> {
    let fail = |source| SettingsError::Read { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(fail)?;
    let mut text = String::new();
    // One byte more than may be, so that what is too large is seen to be.
    file.take(SETTINGS_BYTES_MAX as u64 + 1).read_to_string(&mut text).map_err(fail)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The settings of one member whose state is in memory.
    pub(crate) const ONE_MEMBER: &str = "\
store:
  namespace: shop
  name: orders
replicas: 1
strategy: Checkpointing
consensus: Majority
durability: Memory
writeConcern: majority
heartbeat:
  interval: 100ms
  timeout: 1s
checkpoint:
  interval: 30s
  retain: 2
  compression: Lz4
peers:
- 127.0.0.1:7401
";

    #[test]
    fn a_file_that_is_not_there_or_makes_no_sense_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("settings.yaml");
        let error = load(&path).expect_err("it is not there");
        assert!(chain(&error).contains("settings.yaml cannot be read; --settings"), "{error}");
        std::fs::write(&path, ONE_MEMBER.replace("replicas: 1", "replicas: 9")).expect("written");
        let error = chain(&load(&path).expect_err("it makes no sense"));
        assert!(error.contains("settings.yaml") && error.contains("9 is not one of 1 to 7"), "{error}");
        std::fs::write(&path, "x".repeat(SETTINGS_BYTES_MAX + 1)).expect("written");
        assert!(matches!(load(&path), Err(SettingsError::Content { .. })));
    }

    #[test]
    fn times_come_from_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("settings.yaml");
        std::fs::write(&path, ONE_MEMBER).expect("written");
        assert_eq!(
            timing(&load(&path).expect("valid")),
            Timing {
                heartbeat_interval: Duration::from_millis(100),
                heartbeat_timeout: Duration::from_secs(1),
                checkpoint_interval: Some(Duration::from_secs(30)),
                checkpoint_retain: NonZeroUsize::new(2).expect("two"),
                checkpoint_compression: Compression::Lz4,
            }
        );
    }
}
