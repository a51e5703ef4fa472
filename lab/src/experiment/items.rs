//! The items of an experiment: the protocol's keys, small objects that say which run they are of, and whether they came back.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use holdfast_client::{NativeClient, ReadOptions, WriteOptions};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::cost::Cost;
use crate::TestbedError;

/// So many items are stored one after the other, and their time is the latency of a write. Enough for a p99.
const ONE_BY_ONE: u32 = 500;
/// The others go so many at a time, or a hundred thousand of them would take minutes.
const AT_A_TIME: usize = 64;
/// How long one item may take to be stored.
const STORE_MAX: Duration = Duration::from_secs(30);
/// Items on one page of a list.
const PAGE: u32 = 1000;
/// How the keys begin: even items, odd items.
const PREFIXES: [&str; 2] = ["issue_", "repo_"];

/// What was stored.
#[derive(Debug)]
pub(crate) struct Stored {
    /// How long all took together.
    pub(crate) took: Duration,
    /// What was written to disks meanwhile.
    pub(crate) cost: Option<Cost>,
    items: u32,
    seed: u64,
    latencies: Vec<Duration>,
    indexes: Vec<u64>,
}

/// The key of an item, as the protocol has it.
pub(crate) fn key(item: u32) -> String {
    format!("{}{item}", PREFIXES[item as usize % 2])
}

/// The value of an item.
pub(crate) fn value(item: u32, seed: u64) -> Bytes {
    format!(r#"{{"id":{item},"title":"Item {item}","status":"open","run":{seed}}}"#).into()
}

impl Stored {
    /// The key and the value of an item that was stored, if there is any.
    pub(crate) fn sample(&self) -> Option<(String, Bytes)> {
        (self.items > 0).then(|| (key(0), value(0, self.seed)))
    }

    /// How long this part of the writes took at most; `None` if there were none.
    pub(crate) fn latency(&self, part: f64) -> Option<Duration> {
        let last = self.latencies.len().checked_sub(1)?;
        self.latencies.get((last as f64 * part).round() as usize).copied()
    }

    /// How many items were written after this index of the log.
    pub(crate) fn indexes_after(&self, index: u64) -> u64 {
        self.indexes.iter().filter(|one| **one > index).count() as u64
    }
}

/// Stores items, each acknowledged at the store's concern. What was written to disks meanwhile is not known here.
pub(crate) async fn store(client: &NativeClient, items: u32, seed: u64) -> Result<Stored, TestbedError> {
    let failed = |error: holdfast_client::Error| TestbedError::new("storing the items", error);
    let client = client.with_deadline(STORE_MAX);
    let began = Instant::now();
    let (mut latencies, mut indexes) = (Vec::new(), Vec::with_capacity(items as usize));
    for item in 0..items.min(ONE_BY_ONE) {
        let sent = Instant::now();
        let written =
            client.put(key(item), value(item, seed), WriteOptions::default()).await.map_err(failed)?;
        latencies.push(sent.elapsed());
        indexes.push(written.position.index.0);
    }
    let (places, mut writes) = (Arc::new(Semaphore::new(AT_A_TIME)), JoinSet::new());
    for item in ONE_BY_ONE..items {
        let place = places.clone().acquire_owned().await.expect("it is never closed");
        let client = client.clone();
        writes.spawn(async move {
            let written = client.put(key(item), value(item, seed), WriteOptions::default()).await;
            drop(place);
            written
        });
        while let Some(written) = writes.try_join_next() {
            indexes.push(written.expect("no write panics").map_err(failed)?.position.index.0);
        }
    }
    while let Some(written) = writes.join_next().await {
        indexes.push(written.expect("no write panics").map_err(failed)?.position.index.0);
    }
    let took = began.elapsed();
    latencies.sort_unstable();
    Ok(Stored { took, cost: None, items, seed, latencies, indexes })
}

/// How many items are there with the value that was stored. What cannot be read in time is not there.
pub(crate) async fn count(client: &NativeClient, stored: &Stored, most: Duration) -> u64 {
    let mut expected: HashMap<Bytes, Bytes> =
        (0..stored.items).map(|item| (key(item).into(), value(item, stored.seed))).collect();
    let mut found = 0;
    for prefix in PREFIXES {
        let mut after = Bytes::new();
        loop {
            let page = client.with_deadline(most).range(prefix, after, PAGE, ReadOptions::default()).await;
            let Ok(page) = page else { break };
            for item in &page.items {
                // Each counts once.
                found += u64::from(expected.remove(&item.key).is_some_and(|value| value == item.value.bytes));
            }
            match page.items.last() {
                Some(last) if page.more => after = last.key.clone(),
                _ => break,
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_the_protocols() {
        assert_eq!([key(0), key(1), key(2)], ["issue_0", "repo_1", "issue_2"]);
        let value: serde_json::Value = serde_json::from_slice(&value(7, 42)).expect("JSON");
        assert_eq!(value["run"], 42);
    }

    #[test]
    fn what_is_after_a_checkpoint_is_at_risk() {
        let stored = Stored {
            took: Duration::ZERO,
            cost: None,
            items: 3,
            seed: 1,
            latencies: [1, 2, 3].map(Duration::from_millis).to_vec(),
            indexes: vec![2, 3, 4],
        };
        assert_eq!([0, 2, 4].map(|index| stored.indexes_after(index)), [3, 2, 0]);
        assert_eq!(stored.latency(0.5), Some(Duration::from_millis(2)));
        assert_eq!(stored.latency(0.99), Some(Duration::from_millis(3)));
    }
}
