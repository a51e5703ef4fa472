//! The store that there is, and what was done with it: what `/status` and every answer's `stats` say.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex as Lock, MutexGuard, PoisonError};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::place::{Sample, SharedStore, Struck};
use crate::Configuration;
use crate::experiment::recovery::Recovered;

/// A store, and what was done with it.
pub(super) struct Active<S: SharedStore> {
    pub(super) configuration: Configuration,
    pub(super) stage: Stage<S>,
    pub(super) writes: AtomicU64,
    pub(super) reads: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) recoveries: AtomicU64,
    state: Lock<State<S>>,
}

/// How far a store is.
pub(super) enum Stage<S> {
    /// The first request that needs it makes it.
    Absent,
    /// It starts.
    Starting,
    /// It is there.
    Ready(Arc<S>),
}

/// What changes under a lock that is held for an instant.
pub(super) struct State<S: SharedStore> {
    last_operation: Option<String>,
    pub(super) last_recovery: Option<f64>,
    /// What was acknowledged last: what a recovery looks for.
    pub(super) last_stored: Option<(String, Bytes)>,
    pub(super) faults: Vec<Failed<S>>,
}

/// A failure that nobody has mended yet.
pub(super) struct Failed<S: SharedStore> {
    pub(super) struck: Arc<Struck<S::How>>,
    /// Measures the time until somebody serves who needs no mending, where somebody can.
    pub(super) takeover: Option<JoinHandle<Recovered>>,
    /// Whether the others serve.
    pub(super) serves: bool,
}

impl<S: SharedStore> Failed<S> {
    fn is_healthy(&self) -> bool {
        self.serves || self.takeover.as_ref().is_some_and(JoinHandle::is_finished)
    }

    /// Those that are down or out of reach until it is mended.
    pub(super) fn stays_down(&self) -> &[u8] {
        if self.struck.returns { &[] } else { self.struck.fault.members() }
    }
}

impl<S: SharedStore> Active<S> {
    pub(super) fn new(configuration: Configuration, stage: Stage<S>) -> Active<S> {
        let state =
            State { last_operation: None, last_recovery: None, last_stored: None, faults: Vec::new() };
        Active {
            configuration,
            stage,
            writes: AtomicU64::new(0),
            reads: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            recoveries: AtomicU64::new(0),
            state: Lock::new(state),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State<S>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it serves, as far as failures that were asked for tell. A store that nobody has needed yet has none.
    pub(super) fn is_healthy(&self) -> bool {
        !matches!(self.stage, Stage::Starting) && self.state().faults.iter().all(Failed::is_healthy)
    }

    pub(super) fn sample(&self) -> Sample {
        let stored = self.state().last_stored.clone();
        stored.map_or_else(|| ("-".to_owned(), None), |(key, value)| (key, Some(value)))
    }

    pub(super) fn touch(&self) {
        let now = jiff::Zoned::now().datetime();
        self.state().last_operation = Some(now.round(jiff::Unit::Microsecond).unwrap_or(now).to_string());
    }

    pub(super) fn stats(&self) -> Value {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let healthy = self.is_healthy();
        let state = self.state();
        json!({
            "writes": count(&self.writes),
            "reads": count(&self.reads),
            "failures_simulated": count(&self.failures),
            "recoveries": count(&self.recoveries),
            "last_operation": state.last_operation,
            "strategy": self.configuration.full_name(),
            "is_failed": !healthy,
            "last_recovery_time": state.last_recovery,
        })
    }
}
