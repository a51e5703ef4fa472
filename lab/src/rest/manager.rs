//! The one store that all clients of the lab share, as the protocol has it. What makes, fails or recovers a store goes one after the other; reads,
//! writes and questions are answered meanwhile.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex as Lock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use holdfast_client::{ReadOptions, WriteOptions};
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::metrics::Metrics;
use crate::experiment::fault::{Fault, Injected};
use crate::experiment::recovery::{Found, Recovered, Recovery};
use crate::experiment::{self, RECOVERY_MAX};
use crate::testbed::{Bed, Processes};
use crate::{Configuration, FailureKind, Protocol, TestbedError};

/// Requests that may wait for the store: a script has one, and a person who presses a button again has a few.
const WAITING_MAX: usize = 16;
/// How long one write or read of a client may take.
const REQUEST_MAX: Duration = Duration::from_secs(5);

/// Why a request was not carried out: the text of the answer.
#[derive(Debug)]
pub(super) enum Refused {
    /// It cannot be done on this store.
    Conflict(String),
    /// Too much waits already.
    Busy,
    /// It failed.
    Failed(String),
}

impl From<TestbedError> for Refused {
    fn from(error: TestbedError) -> Refused {
        let text = holdfast_laptop::chain(&error);
        match error.step.as_str() {
            "choosing what fails" => Refused::Conflict(text),
            _ => Refused::Failed(text),
        }
    }
}

/// The lab behind its routes.
#[derive(Debug)]
pub(super) struct Manager {
    testbed: Processes,
    pub(super) metrics: Metrics,
    /// Held by whatever changes the store.
    work: Mutex<()>,
    waiting: Semaphore,
    /// Held for an instant only.
    active: Lock<Arc<Active>>,
    experiments: AtomicU32,
}

/// A store, and what was done with it.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) configuration: Configuration,
    /// `None` while it starts.
    bed: Option<Arc<Bed>>,
    writes: AtomicU64,
    reads: AtomicU64,
    failures: AtomicU64,
    recoveries: AtomicU64,
    state: Lock<State>,
}

#[derive(Debug, Default)]
struct State {
    last_operation: Option<String>,
    last_recovery: Option<f64>,
    /// What was acknowledged last: what a recovery looks for.
    last_stored: Option<(String, Bytes)>,
    faults: Vec<Failed>,
}

/// A failure that nobody has mended yet.
#[derive(Debug)]
struct Failed {
    fault: Arc<Fault>,
    injected: Arc<Injected>,
    /// Measures the time until somebody else serves, where somebody can.
    takeover: Option<JoinHandle<Recovered>>,
    healthy: bool,
}

impl Active {
    fn new(configuration: Configuration, bed: Option<Bed>) -> Active {
        Active {
            configuration,
            bed: bed.map(Arc::new),
            writes: AtomicU64::new(0),
            reads: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            recoveries: AtomicU64::new(0),
            state: Lock::default(),
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bed(&self) -> Result<&Arc<Bed>, Refused> {
        self.bed.as_ref().ok_or_else(|| Refused::Conflict("the store is being made; try again".to_owned()))
    }

    /// Whether it serves, as far as failures that were asked for tell.
    pub(super) fn is_healthy(&self) -> bool {
        self.bed.is_some() && self.state().faults.iter().all(|failed| failed.healthy)
    }

    fn touch(&self) {
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

impl Manager {
    /// Begins with the control group, as the protocol does.
    pub(super) async fn new(testbed: Processes) -> Result<Manager, TestbedError> {
        let configuration = Configuration::baseline();
        let bed = testbed.start(&configuration, true).await?;
        Ok(Manager {
            testbed,
            metrics: Metrics::new(),
            work: Mutex::new(()),
            waiting: Semaphore::new(WAITING_MAX),
            active: Lock::new(Arc::new(Active::new(configuration, Some(bed)))),
            experiments: AtomicU32::new(0),
        })
    }

    /// The store that there is now.
    pub(super) fn active(&self) -> Arc<Active> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for those before, if there are not too many.
    async fn turn(&self) -> Result<MutexGuard<'_, ()>, Refused> {
        let _place = self.waiting.try_acquire().map_err(|_| Refused::Busy)?;
        Ok(self.work.lock().await)
    }

    /// Ends the store that there is, and puts another one in its place. Whoever changes the store calls this.
    async fn replace(&self, configuration: &Configuration, links: bool) -> Result<Arc<Active>, Refused> {
        let put = |active: Active| {
            let active = Arc::new(active);
            let mut place = self.active.lock().unwrap_or_else(PoisonError::into_inner);
            (std::mem::replace(&mut *place, active.clone()), active)
        };
        let (before, _) = put(Active::new(configuration.clone(), None));
        for failed in before.state().faults.drain(..) {
            failed.takeover.inspect(JoinHandle::abort);
        }
        if let Some(bed) = &before.bed {
            bed.discard().await?;
        }
        let bed = self.testbed.start(configuration, links).await?;
        Ok(put(Active::new(configuration.clone(), Some(bed))).1)
    }

    /// `POST /configure`.
    pub(super) async fn configure(&self, configuration: Configuration) -> Result<Value, Refused> {
        let _turn = self.turn().await?;
        let active = self.replace(&configuration, true).await?;
        Ok(json!({
            "success": true,
            "message": format!("Switched to {} strategy", configuration.strategy_name()),
            "current_strategy": active.configuration.full_name(),
        }))
    }

    /// `GET /status`.
    pub(super) fn status(&self) -> Value {
        let active = self.active();
        json!({
            "strategy": active.configuration.strategy_name(),
            "strategy_details": active.configuration.full_name(),
            "is_healthy": active.is_healthy(),
            "stats": active.stats(),
        })
    }

    /// `POST /store`. A refused write is an answer too.
    pub(super) async fn store(&self, key: String, value: Value) -> Value {
        let active = self.active();
        let bytes = Bytes::from(serde_json::to_vec(&value).expect("JSON can be written"));
        let stored = match &active.bed {
            None => Err("the store is being made; try again".to_owned()),
            Some(bed) => {
                let client = bed.all.with_deadline(REQUEST_MAX);
                let written = client.put(key.clone(), bytes.clone(), WriteOptions::default()).await;
                written.map_err(|error| error.to_string())
            }
        };
        let mut answer =
            json!({"success": stored.is_ok(), "key": key, "strategy": active.configuration.strategy_name()});
        match stored {
            Ok(_) => {
                active.writes.fetch_add(1, Ordering::Relaxed);
                active.touch();
                active.state().last_stored = Some((key, bytes));
            }
            Err(error) => answer["error"] = error.into(),
        }
        answer
    }

    /// `GET /retrieve/{key}`. A missing key is an answer too.
    pub(super) async fn retrieve(&self, key: String) -> Value {
        let active = self.active();
        let read = match &active.bed {
            None => Err("the store is being made; try again".to_owned()),
            Some(bed) => {
                let read = bed.all.with_deadline(REQUEST_MAX).get(key.clone(), ReadOptions::default()).await;
                read.map_err(|error| error.to_string())
            }
        };
        active.reads.fetch_add(1, Ordering::Relaxed);
        active.touch();
        let error = read.as_ref().err().cloned();
        let value = read.ok().flatten().and_then(|value| serde_json::from_slice::<Value>(&value.bytes).ok());
        let value = value.unwrap_or_default();
        let mut answer = json!({
            "found": !value.is_null(), "key": key, "value": value, "strategy": active.configuration.strategy_name(),
        });
        if let Some(error) = error {
            answer["error"] = error.into();
        }
        answer
    }

    /// `POST /simulate-failure`.
    pub(super) async fn fail(&self, kind: FailureKind, node_count: u8) -> Result<Value, Refused> {
        let _turn = self.turn().await?;
        let active = self.active();
        let bed = active.bed()?.clone();
        if active.is_healthy() {
            let chance = active.failures.load(Ordering::Relaxed);
            let fault = Fault::choose(&bed, kind, node_count, chance).await?;
            let sample = active.state().last_stored.clone();
            let injected = fault.inject_for_good(&bed).await?;
            // Those that are down or out of reach since earlier failures are missing too.
            let mut down: Vec<u8> = fault.members().to_vec();
            down.extend(active.state().faults.iter().flat_map(|failed| failed.fault.members().to_vec()));
            down.sort_unstable();
            down.dedup();
            let slow = kind == FailureKind::Latency;
            let healthy = slow || down.len() <= usize::from(bed.tolerates());
            let (fault, injected) = (Arc::new(fault), Arc::new(injected));
            let takeover = healthy.then(|| {
                let (key, value) =
                    sample.map_or_else(|| ("-".to_owned(), None), |(key, value)| (key, Some(value)));
                let recovery = Recovery::of(&bed, key, value, &fault);
                let (bed, injected) = (bed.clone(), injected.clone());
                tokio::spawn(async move { recovery.run(&bed, &injected).await })
            });
            active.state().faults.push(Failed { fault, injected, takeover, healthy });
        }
        active.failures.fetch_add(1, Ordering::Relaxed);
        active.touch();
        Ok(json!({
            "success": true,
            "message": format!("Failure simulated on {} strategy", active.configuration.strategy_name()),
            "is_healthy": active.is_healthy(),
        }))
    }

    /// `POST /recover`.
    pub(super) async fn recover(&self) -> Result<Value, Refused> {
        let _turn = self.turn().await?;
        let active = self.active();
        let bed = active.bed()?.clone();
        let faults: Vec<Failed> = active.state().faults.drain(..).collect();
        let (mut took, mut notes) = (0.0_f64, Vec::new());
        let sample = active.state().last_stored.clone();
        let had_data = sample.is_some();
        let mut found = Found::Data;
        for failed in faults {
            let recovered = match failed.takeover {
                Some(takeover) => {
                    notes.push(
                        "others took over: measured from the failure to the first verified read".to_owned(),
                    );
                    let recovered = takeover.await;
                    failed.fault.mend(&bed).await?;
                    recovered.map_err(|error| Refused::Failed(error.to_string()))?
                }
                None => {
                    let injected = Injected {
                        began: Instant::now(),
                        killed: failed.injected.killed.clone(),
                        unreachable: Vec::new(),
                    };
                    let (key, value) = sample
                        .clone()
                        .map_or_else(|| ("-".to_owned(), None), |(key, value)| (key, Some(value)));
                    let recovery = Recovery::of(&bed, key, value, &failed.fault);
                    failed.fault.mend(&bed).await?;
                    notes.push("measured from this request to the first verified read".to_owned());
                    recovery.run(&bed, &injected).await
                }
            };
            took = took.max(recovered.took.as_secs_f64());
            found = recovered.found;
        }
        let whole = bed.wait_until_well(RECOVERY_MAX).await.is_ok();
        match found {
            Found::Nobody => notes.push(format!("nobody answered within {} s", RECOVERY_MAX.as_secs())),
            Found::Nothing if had_data => notes.push("the service is back; the data is gone".to_owned()),
            _ => {}
        }
        active.recoveries.fetch_add(1, Ordering::Relaxed);
        active.touch();
        active.state().last_recovery = Some(took);
        self.metrics.runs.recovered(&active.configuration, took);
        Ok(json!({
            "success": true,
            "recovery_time_seconds": took,
            "is_healthy": whole,
            "strategy": active.configuration.strategy_name(),
            "note": notes.join("; "),
        }))
    }

    /// `POST /run-experiment`. The store stays active afterwards.
    pub(super) async fn experiment(
        &self,
        configuration: Configuration,
        protocol: Protocol,
    ) -> Result<Value, Refused> {
        let _turn = self.turn().await?;
        let active = self.replace(&configuration, experiment::needs_links(protocol.failure_type)).await?;
        let bed = active.bed()?;
        let run_id = self.experiments.fetch_add(1, Ordering::Relaxed) + 1;
        self.metrics.runs.set_under_way(true);
        let found = experiment::run(bed, &configuration, &protocol, run_id).await;
        self.metrics.runs.set_under_way(false);
        let found = found.inspect_err(|_| self.metrics.runs.failed(&configuration))?;
        active.writes.fetch_add(protocol.items.into(), Ordering::Relaxed);
        active.reads.fetch_add(protocol.items.into(), Ordering::Relaxed);
        active.failures.fetch_add(1, Ordering::Relaxed);
        active.recoveries.fetch_add(1, Ordering::Relaxed);
        active.touch();
        active.state().last_recovery = Some(found.recovery_time_seconds);
        self.metrics.runs.measured(&configuration, &found);
        let mut answer = serde_json::to_value(&found).expect("a measurement is plain data");
        let more = json!({
            "strategy": configuration.strategy_name(),
            "strategy_full_name": configuration.full_name(),
            "data_items": protocol.items,
            "data_recovery_rate_percent": found.data_recovery_rate,
            "recovery_time": found.recovery_time_seconds,
            "trigger_checkpoint": protocol.trigger_checkpoint,
            "stats": active.stats(),
        });
        if let (Value::Object(answer), Value::Object(more)) = (&mut answer, more) {
            answer.extend(more);
        }
        Ok(answer)
    }

    /// Ends the store, if what is under way ends in time. What does not ends with the process.
    pub(super) async fn close(&self, grace: Duration) {
        if let Ok(_turn) = timeout(grace, self.work.lock()).await
            && let Some(bed) = &self.active().bed
        {
            // What is left over is removed with the testbed.
            let _ = bed.discard().await;
        }
    }
}
