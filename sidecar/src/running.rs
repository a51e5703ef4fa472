//! What the routes of both ports know of the member they speak for: [`Running`].
//!
//! It is there before the member has started, so that probes get an answer while a large state is restored. It
//! refuses to keep anything of the store's state itself.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use holdfast_api::Settings;
use holdfast_api::http::Status;

use crate::core::{Failure, Figures, Handle, RefusalCode};
use crate::ending::Ending;
use crate::files::Files;
use crate::metrics::Metrics;
use crate::problem::{Code, Problem};
use crate::repair::Progress;

/// How long the core may take to say how it is. It does so between two events, so that this means it is stuck.
const STATUS_TIME_MAX: Duration = Duration::from_secs(2);

/// Pause before a full queue is tried again.
const QUEUE_PAUSE: Duration = Duration::from_millis(20);

/// One member, as its routes see it. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Running(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    handle: OnceLock<Handle>,
    files: OnceLock<Files>,
    progress: Progress,
    stopping: AtomicBool,
    /// Tells the streams without an end that they must end.
    ending: Ending,
    metrics: Metrics,
    settings: RwLock<Arc<Settings>>,
    disk: Mutex<DiskProgress>,
}

/// How far the disk had come when somebody looked last.
#[derive(Debug)]
struct DiskProgress {
    durable: u64,
    since: Instant,
}

impl Running {
    /// A member that has not started yet.
    pub(crate) fn new(settings: Settings, ending: Ending, metrics: Metrics) -> Running {
        Running(Arc::new(Inner {
            handle: OnceLock::new(),
            files: OnceLock::new(),
            progress: Progress::default(),
            stopping: AtomicBool::new(false),
            ending,
            metrics,
            settings: RwLock::new(Arc::new(settings)),
            disk: Mutex::new(DiskProgress { durable: 0, since: Instant::now() }),
        }))
    }

    /// What the member repairs before it starts.
    pub(crate) fn progress(&self) -> &Progress {
        &self.0.progress
    }

    /// The member has started.
    pub(crate) fn started(&self, handle: Handle) {
        // It starts once; a second handle would be of another member.
        self.0.handle.set(handle).expect("a member that starts once");
    }

    /// The member's files are looked after.
    pub(crate) fn has_files(&self, files: Files) {
        // As for the handle.
        self.0.files.set(files).expect("a member that starts once");
    }

    /// The member's files, if it has started.
    pub(crate) fn files(&self) -> Result<&Files, Problem> {
        self.handle()?;
        self.0
            .files
            .get()
            .ok_or_else(|| Problem::new(Code::Starting, "this member is still starting; ask another"))
    }

    /// The member is to stop: it is not ready from now on.
    pub(crate) fn stopping(&self) {
        self.0.stopping.store(true, Ordering::Relaxed);
    }

    /// Whether the member is to stop.
    pub(crate) fn is_stopping(&self) -> bool {
        self.0.stopping.load(Ordering::Relaxed)
    }

    /// The way to the core, if the member has started.
    pub(crate) fn handle(&self) -> Result<&Handle, Problem> {
        self.0.handle.get().ok_or_else(|| match self.0.progress.repairing() {
            Some(repairing) => Problem::new(Code::Repairing, repairing),
            None => Problem::new(
                Code::Starting,
                "this member is still restoring its state; ask another, or again later",
            ),
        })
    }

    /// What the core says of itself.
    pub(crate) async fn status(&self) -> Result<Status, Problem> {
        match tokio::time::timeout(STATUS_TIME_MAX, self.handle()?.status()).await {
            Ok(status) => status.map_err(|failure| Problem::of_failure(failure, true)),
            Err(_) => Err(Problem::new(Code::Overloaded, "this member did not say in time how it is")),
        }
    }

    /// What the core says of itself, and what its state and queues come to.
    pub(crate) async fn figures(&self) -> Result<(Status, Figures), Problem> {
        let handle = self.handle()?;
        let both = async { Ok((handle.status().await?, handle.figures().await?)) };
        match tokio::time::timeout(STATUS_TIME_MAX, both).await {
            Ok(both) => both.map_err(|failure| Problem::of_failure(failure, true)),
            Err(_) => Err(Problem::new(Code::Overloaded, "this member did not say in time how it is")),
        }
    }

    /// Whether the core still goes round: it answers, or it is not there yet, or not any more because the member is
    /// asked to stop. Asks for nothing that another member would be needed for.
    pub(crate) async fn alive(&self) -> Result<(), String> {
        let Ok(handle) = self.handle() else { return Ok(()) };
        let answered = async {
            loop {
                match handle.status().await {
                    // A full queue that is being emptied has room for this question soon.
                    Err(Failure::Refused { code: RefusalCode::Overloaded, .. }) => {
                        tokio::time::sleep(QUEUE_PAUSE).await;
                    }
                    _ => return,
                }
            }
        };
        let answered = tokio::time::timeout(STATUS_TIME_MAX, answered).await;
        answered.map_err(|_| format!("the core has not answered for {} s", STATUS_TIME_MAX.as_secs()))
    }

    /// Hears when streams must end.
    pub(crate) fn ending(&self) -> Ending {
        self.0.ending.clone()
    }

    /// What the member counts.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Which member of its store it is.
    pub(crate) fn ordinal(&self) -> u8 {
        self.0.metrics.ordinal().0
    }

    /// The settings that are in use.
    pub(crate) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.0.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Use these settings from now on.
    pub(crate) fn set_settings(&self, settings: Settings) {
        *self.0.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
    }

    /// For how long the disk has had something to write and has not come further. Looks only when it is called, so a
    /// stall shows from the second look on.
    pub(crate) fn disk_stalled_for(&self, written: u64, durable: u64, now: Instant) -> Duration {
        let mut disk = self.0.disk.lock().unwrap_or_else(PoisonError::into_inner);
        if durable != disk.durable || durable >= written {
            *disk = DiskProgress { durable, since: now };
        }
        now.saturating_duration_since(disk.since)
    }
}
