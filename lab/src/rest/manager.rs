//! The one store that all clients of the lab share, as the protocol has it. What makes, fails or recovers a store goes one after the other; reads,
//! writes and questions are answered meanwhile.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex as Lock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use holdfast_client::{ReadOptions, WriteOptions};
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::active::{Active, Failed, Stage};
use super::metrics::Metrics;
use super::place::{Place, SharedStore};
use crate::experiment::fault::CHOOSING;
use crate::experiment::recovery::Found;
use crate::experiment::{self, RECOVERY_MAX};
use crate::{Configuration, FailureKind, Protocol, TestbedError};

/// Requests that may wait for the store: a script has one, and a person who presses a button again has a few.
const WAITING_MAX: usize = 16;
/// How long one write or read of a client may take.
const REQUEST_MAX: Duration = Duration::from_secs(5);
/// How long the store may take to go when the lab ends. What is left then goes with the lab.
const DISCARD_MAX: Duration = Duration::from_secs(10);

/// Why a request was not carried out: the text of the answer.
#[derive(Debug)]
pub(super) enum Refused {
    /// It cannot be done on this store.
    Conflict(String),
    /// Too much waits already.
    Busy,
    /// Somebody else is measuring.
    Occupied(String),
    /// It failed.
    Failed(String),
}

impl From<TestbedError> for Refused {
    fn from(error: TestbedError) -> Refused {
        let text = holdfast_laptop::chain(&error);
        match error.step.as_str() {
            CHOOSING => Refused::Conflict(text),
            _ => Refused::Failed(text),
        }
    }
}

/// The lab behind its routes.
pub(super) struct Manager<P: Place> {
    place: P,
    pub(super) metrics: Metrics,
    /// Held by whatever changes the store.
    work: Mutex<()>,
    waiting: Semaphore,
    /// Held for an instant only.
    active: Lock<Arc<Active<P::Store>>>,
    experiments: AtomicU32,
}

impl<P: Place> Manager<P> {
    /// Begins with the control group, as the protocol does. Its store is made when it is needed, or by [`Manager::begin`].
    pub(super) fn new(place: P, metrics: Metrics) -> Manager<P> {
        Manager {
            place,
            metrics,
            work: Mutex::new(()),
            waiting: Semaphore::new(WAITING_MAX),
            active: Lock::new(Arc::new(Active::new(Configuration::baseline(), Stage::Absent))),
            experiments: AtomicU32::new(0),
        }
    }

    /// Makes the first store, so that no request has to wait for it.
    pub(super) async fn begin(&self) -> Result<(), TestbedError> {
        self.replace(&Configuration::baseline(), true).await.map(drop)
    }

    /// The store that there is now.
    pub(super) fn active(&self) -> Arc<Active<P::Store>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What can fail here.
    pub(super) fn kinds(&self) -> Vec<FailureKind> {
        self.place.kinds()
    }

    /// Waits for those before, if there are not too many.
    async fn turn(&self) -> Result<(P::Turn, MutexGuard<'_, ()>), Refused> {
        let _place = self.waiting.try_acquire().map_err(|_| Refused::Busy)?;
        let turn = self.place.turn().map_err(Refused::Occupied)?;
        Ok((turn, self.work.lock().await))
    }

    fn put(&self, configuration: &Configuration, stage: Stage<P::Store>) -> Arc<Active<P::Store>> {
        let active = Arc::new(Active::new(configuration.clone(), stage));
        *self.active.lock().unwrap_or_else(PoisonError::into_inner) = active.clone();
        active
    }

    /// Ends the store that there is, and puts another one in its place. Whoever changes the store calls this.
    async fn replace(
        &self,
        configuration: &Configuration,
        links: bool,
    ) -> Result<(Arc<Active<P::Store>>, Arc<P::Store>), TestbedError> {
        let before = self.active();
        self.put(configuration, Stage::Starting);
        for failed in before.state().faults.drain(..) {
            failed.takeover.inspect(JoinHandle::abort);
        }
        let made = async {
            if let Stage::Ready(store) = &before.stage {
                store.discard().await?;
            }
            self.place.make(configuration, links).await
        };
        match made.await {
            Ok(store) => {
                let store = Arc::new(store);
                Ok((self.put(configuration, Stage::Ready(store.clone())), store))
            }
            Err(error) => {
                // The next request that needs it tries again.
                self.put(configuration, Stage::Absent);
                Err(error)
            }
        }
    }

    /// The store, which is made if nobody has needed it yet. Whoever changes the store calls this.
    async fn needed(&self) -> Result<(Arc<Active<P::Store>>, Arc<P::Store>), Refused> {
        let active = self.active();
        match &active.stage {
            Stage::Ready(store) => Ok((active.clone(), store.clone())),
            _ => Ok(self.replace(&active.configuration, true).await?),
        }
    }

    /// The same for those who only read and write: they wait for nobody who changes the store.
    async fn used(&self) -> Result<(P::Turn, Arc<Active<P::Store>>, Arc<P::Store>), Refused> {
        let active = self.active();
        match &active.stage {
            Stage::Ready(store) => {
                let turn = self.place.turn().map_err(Refused::Occupied)?;
                Ok((turn, active.clone(), store.clone()))
            }
            Stage::Starting => Err(Refused::Failed("the store is being made; try again".to_owned())),
            Stage::Absent => {
                let (turn, _work) = self.turn().await?;
                let (active, store) = self.needed().await?;
                Ok((turn, active, store))
            }
        }
    }

    /// Refuses a failure that this place does not have.
    fn check(&self, kind: FailureKind) -> Result<(), Refused> {
        let kinds = self.place.kinds();
        if kinds.contains(&kind) {
            return Ok(());
        }
        let names: Vec<&str> = kinds.into_iter().map(FailureKind::name).collect();
        Err(Refused::Conflict(format!("{kind} cannot be had here; write one of {}", names.join(", "))))
    }

    /// `POST /configure`.
    pub(super) async fn configure(&self, configuration: Configuration) -> Result<Value, Refused> {
        let _turn = self.turn().await?;
        let (active, _) = self.replace(&configuration, true).await?;
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
            "store": match active.stage {
                Stage::Absent => "made when it is needed",
                Stage::Starting => "being made",
                Stage::Ready(_) => "ready",
            },
            "stats": active.stats(),
        })
    }

    /// `POST /store`. A refused write is an answer too.
    pub(super) async fn store(&self, key: String, value: Value) -> Result<Value, Refused> {
        let bytes = Bytes::from(serde_json::to_vec(&value).expect("JSON can be written"));
        let (active, stored) = match self.used().await {
            Err(Refused::Failed(text)) => (self.active(), Err(text)),
            Err(refused) => return Err(refused),
            Ok((_turn, active, store)) => {
                let client = store.client().with_deadline(REQUEST_MAX);
                let written = client.put(key.clone(), bytes.clone(), WriteOptions::default()).await;
                (active, written.map_err(|error| error.to_string()))
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
        Ok(answer)
    }

    /// `GET /retrieve/{key}`. A missing key is an answer too.
    pub(super) async fn retrieve(&self, key: String) -> Result<Value, Refused> {
        let (active, read) = match self.used().await {
            Err(Refused::Failed(text)) => (self.active(), Err(text)),
            Err(refused) => return Err(refused),
            Ok((_turn, active, store)) => {
                let client = store.client().with_deadline(REQUEST_MAX);
                let read = client.get(key.clone(), ReadOptions::default()).await;
                (active, read.map_err(|error| error.to_string()))
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
        Ok(answer)
    }

    /// `POST /simulate-failure`.
    pub(super) async fn fail(&self, kind: FailureKind, node_count: u8) -> Result<Value, Refused> {
        self.check(kind)?;
        let _turn = self.turn().await?;
        let (active, store) = self.needed().await?;
        if active.is_healthy() {
            let watching = self.place.turn().map_err(Refused::Occupied)?;
            let sample = active.sample();
            let chance = active.failures.load(Ordering::Relaxed);
            let struck = Arc::new(store.fail(kind, node_count, chance).await?);
            // Those that are down or out of reach since earlier failures are missing too.
            let mut down = struck.fault.members().to_vec();
            down.extend(active.state().faults.iter().flat_map(|failed| failed.stays_down().to_vec()));
            down.sort_unstable();
            down.dedup();
            let slow = kind == FailureKind::Latency;
            let serves = slow || down.len() <= usize::from(active.configuration.tolerates());
            let takeover = (serves || struck.returns).then(|| {
                let struck = struck.clone();
                tokio::spawn(async move {
                    let recovered = store.watch(&struck, sample).await;
                    drop(watching);
                    recovered
                })
            });
            active.state().faults.push(Failed { struck, takeover, serves });
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
        let (active, store) = self.needed().await?;
        let faults: Vec<Failed<P::Store>> = active.state().faults.drain(..).collect();
        let (mut took, mut notes) = (0.0_f64, Vec::new());
        let had_data = active.state().last_stored.is_some();
        let mut found = Found::Data;
        for failed in faults {
            let recovered = match failed.takeover {
                Some(takeover) => {
                    let who = if failed.serves { "others took over" } else { "who failed was started again" };
                    notes.push(format!("{who}: measured from the failure to the first verified read"));
                    let recovered = takeover.await;
                    store.mend(&failed.struck).await?;
                    recovered.map_err(|error| Refused::Failed(error.to_string()))?
                }
                None => {
                    notes.push("measured from this request to the first verified read".to_owned());
                    store.mend_and_watch(&failed.struck, active.sample()).await?
                }
            };
            took = took.max(recovered.took.as_secs_f64());
            found = recovered.found;
        }
        let whole = store.is_whole().await;
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
        self.check(protocol.failure_type)?;
        let _turn = self.turn().await?;
        let links = experiment::needs_links(protocol.failure_type);
        let (active, store) = self.replace(&configuration, links).await?;
        let run_id = self.experiments.fetch_add(1, Ordering::Relaxed) + 1;
        self.metrics.runs.set_under_way(true);
        let found = store.measure(&configuration, &protocol, run_id).await;
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
            && let Stage::Ready(store) = &self.active().stage
        {
            let _ = timeout(DISCARD_MAX, store.discard()).await;
        }
    }
}

#[cfg(test)]
mod tests;
