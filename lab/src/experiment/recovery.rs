//! Reads until somebody answers, and says how long that took.
//!
//! Every millisecond it asks every member that may answer, over a connection that is open already where there is one, and does not wait for
//! earlier questions: a member may hold one until there is a leader, or lose it with the leader that it was passed to. The first answer
//! ends the recovery. All reads are linearizable. Refuses an answer of a process that is to die: a member that was killed is asked when
//! it is another process, and the others only after the signal is out.

use std::time::Duration;

use bytes::Bytes;
use holdfast_client::{NativeClient, ReadOptions, Value};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::fault::{Fault, Injected, LASTS};
use super::items::Stored;
use super::{RECOVERY_MAX, items};
use crate::testbed::Bed;
use crate::{Configuration, FailureKind};

/// How often every member is asked: the error of a recovery time, if its answer had to wait for the next question.
const ASK_INTERVAL: Duration = Duration::from_millis(1);
/// Questions to one member that may be open. One that held all of them for so long has lost them.
const OPEN_MAX: usize = 64;
/// How long one question may wait. Longer than an election.
pub(crate) const ANSWER_MAX: Duration = Duration::from_secs(5);

/// What is asked.
#[derive(Debug)]
pub(crate) struct Recovery {
    key: String,
    value: Option<Bytes>,
    lasts: Option<Duration>,
    mends: Vec<u8>,
    kind: FailureKind,
}

/// What was answered first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// The value that was stored.
    Data,
    /// Nothing, or something else: the service is back and the data is not.
    Nothing,
    /// Nobody answered.
    Nobody,
}

/// How a recovery ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recovered {
    /// From right before the failure to the answer.
    pub(crate) took: Duration,
    /// The answer.
    pub(crate) found: Found,
}

impl Recovery {
    /// Asks for an item that was stored, or for anything if none was.
    pub(crate) fn prepare(bed: &Bed, stored: &Stored, fault: &Fault) -> Recovery {
        let (key, value) = stored.sample().map_or((items::key(0), None), |(key, value)| (key, Some(value)));
        Recovery::of(bed, key, value, fault)
    }

    /// Asks for this key.
    pub(crate) fn of(bed: &Bed, key: String, value: Option<Bytes>, fault: &Fault) -> Recovery {
        // Somebody who is alone has nobody to take over: a pause ends by itself then.
        let ends = !fault.kills() && bed.tolerates() == 0 && fault.kind() != FailureKind::Latency;
        let mends = fault.members().to_vec();
        Recovery { key, value, lasts: ends.then_some(LASTS), mends, kind: fault.kind() }
    }

    /// Asks until somebody answers.
    pub(crate) async fn run(&self, bed: &Bed, injected: &Injected) -> Recovered {
        let answered = timeout(RECOVERY_MAX, self.first_answer(bed, injected)).await;
        let took = injected.began.elapsed();
        let found = match answered {
            Ok(value) if self.is_expected(value.as_ref()) => Found::Data,
            Ok(_) => Found::Nothing,
            Err(_) => Found::Nobody,
        };
        Recovered { took, found }
    }

    fn is_expected(&self, value: Option<&Value>) -> bool {
        value.is_some() && value.map(|value| &value.bytes) == self.value.as_ref()
    }

    async fn first_answer(&self, bed: &Bed, injected: &Injected) -> Option<Value> {
        let mut asking = JoinSet::new();
        let addresses = bed.store.clients();
        for (ordinal, client) in bed.members.iter().enumerate() {
            let ordinal = ordinal as u8;
            if injected.unreachable.contains(&ordinal) && self.lasts.is_none() {
                continue;
            }
            let killed = injected.killed.iter().find(|(member, _)| *member == ordinal);
            let report = bed.store.members()[usize::from(ordinal)].reports();
            let (key, client) = (self.key.clone(), client.clone());
            let (address, killed) = (addresses[usize::from(ordinal)].clone(), killed.map(|(_, pid)| *pid));
            asking.spawn(async move {
                let client = match killed {
                    None => client,
                    Some(before) => {
                        let mut report = report;
                        let reborn = report.wait_for(|report| report.pid.is_some() && report.pid != before);
                        if reborn.await.is_err() {
                            return std::future::pending().await;
                        }
                        NativeClient::new([&address]).expect("it was one before")
                    }
                };
                ask(&client.with_deadline(ANSWER_MAX), &key).await
            });
        }
        let mend = async {
            let Some(lasts) = self.lasts else { return std::future::pending().await };
            // The failure's own length, not a wait of ours.
            tokio::time::sleep(lasts.saturating_sub(injected.began.elapsed())).await;
            for member in &self.mends {
                match (self.kind, bed.store.links()) {
                    (FailureKind::Partition, Some(links)) => {
                        links.set(*member, holdfast_laptop::links::Line::Whole);
                    }
                    _ => drop(bed.store.signal(*member, holdfast_laptop::Signal::CONT).await),
                }
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            Some(answer) = asking.join_next() => answer.ok().flatten(),
            () = mend => None,
        }
    }
}

/// Asks one member until it answers.
pub(crate) async fn ask(client: &NativeClient, key: &str) -> Option<Value> {
    let mut open = JoinSet::new();
    let mut ticks = interval(ASK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            Some(answer) = open.join_next() => if let Ok(Ok(value)) = answer {
                return value;
            },
            _ = ticks.tick(), if open.len() < OPEN_MAX => {
                let (client, key) = (client.clone(), key.to_owned());
                open.spawn(async move { client.get(key, ReadOptions::default()).await });
            }
        }
    }
}

impl Recovered {
    /// What a reader should know of this recovery.
    pub(crate) fn note(&self, configuration: &Configuration, fault: &Fault, whole: bool) -> Option<String> {
        let mut notes = Vec::new();
        match self.found {
            Found::Data => {}
            Found::Nothing => {
                notes.push("the service is back, and the data that was asked for is gone".to_owned())
            }
            Found::Nobody => {
                notes.push(format!("nobody answered within {} s", RECOVERY_MAX.as_secs()));
            }
        }
        let nobody_takes_over = configuration.tolerates() == 0;
        if configuration.replicas == 2 && nobody_takes_over && self.found != Found::Nobody {
            notes.push(
                "two members have no majority without each other: the one that failed had to come back"
                    .to_owned(),
            );
        }
        if !fault.kills() && nobody_takes_over && fault.kind() != FailureKind::Latency {
            notes.push(format!("nobody could take over; the failure ended after {} s", LASTS.as_secs()));
        }
        if !whole && self.found != Found::Nobody {
            notes.push("not every member came back".to_owned());
        }
        (!notes.is_empty()).then(|| notes.join("; "))
    }
}
