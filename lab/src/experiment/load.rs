//! Clients that go on writing while a store fails: which acknowledged writes were lost, and for how long nobody could write.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use holdfast_client::{NativeClient, ReadOptions, WriteOptions};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::RECOVERY_MAX;
use crate::TestbedError;

/// Writes of one client that are remembered, and so the most that it makes: a store takes a few thousand a second of one client.
const WRITES_MAX: u32 = 200_000;
/// The failure does not come before every client has had so many writes acknowledged.
const WARM_UP: usize = 50;
/// How long that may take.
const WARM_UP_MAX: Duration = Duration::from_secs(30);
/// Keys on one page of a list.
const PAGE: u32 = 1000;
/// How long one write is tried.
const WRITE_MAX: Duration = Duration::from_secs(10);

/// Clients that write.
#[derive(Debug)]
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    acknowledged: Vec<watch::Receiver<usize>>,
    writers: JoinSet<Vec<(Instant, String)>>,
}

/// What became of their writes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    /// The longest time around the failure without an acknowledgement.
    pub(crate) gap: Option<Duration>,
    /// How many were acknowledged.
    pub(crate) acknowledged: u64,
    /// How many of them are gone; `None` if that could not be read.
    pub(crate) lost: Option<u64>,
}

fn key(writer: u16, write: u32) -> String {
    format!("load_{writer}_{write}")
}

impl Load {
    /// Starts so many clients of the members at `addresses` and waits until each writes.
    pub(crate) async fn begin(addresses: &[String], writers: u16) -> Result<Load, TestbedError> {
        let failed = |why: &str| TestbedError::new("starting the load", why);
        let stop = Arc::new(AtomicBool::new(false));
        let mut load = Load { stop, acknowledged: Vec::new(), writers: JoinSet::new() };
        for writer in 0..writers {
            let client = NativeClient::new(addresses).map_err(|error| failed(&error.to_string()))?;
            let (count, counted) = watch::channel(0);
            load.acknowledged.push(counted);
            load.writers.spawn(write(client.with_deadline(WRITE_MAX), writer, load.stop.clone(), count));
        }
        for counted in &mut load.acknowledged {
            let warm = tokio::time::timeout(WARM_UP_MAX, counted.wait_for(|count| *count >= WARM_UP)).await;
            if !matches!(warm, Ok(Ok(_))) {
                return Err(failed("no write was acknowledged in time"));
            }
        }
        Ok(load)
    }

    /// Ends the clients, when each has written again if the store `serves`, and says what became of their writes, as `reader` finds them. `None` if
    /// there were none.
    pub(crate) async fn end(
        mut self,
        reader: &NativeClient,
        failure: Instant,
        serves: bool,
    ) -> Option<Outcome> {
        if self.writers.is_empty() {
            return None;
        }
        for counted in &mut self.acknowledged {
            let now = *counted.borrow_and_update();
            if serves {
                // A client that does not write any more has made all its writes.
                let _ = tokio::time::timeout(RECOVERY_MAX, counted.wait_for(|count| *count > now)).await;
            }
        }
        self.stop.store(true, Ordering::Relaxed);
        let mut acknowledged = Vec::new();
        while let Some(writer) = self.writers.join_next().await {
            acknowledged.extend(writer.unwrap_or_default());
        }
        acknowledged.sort_unstable();
        let times: Vec<Instant> = acknowledged.iter().map(|(time, _)| *time).collect();
        let lost = found(reader).await.map(|found| {
            acknowledged.iter().filter(|(_, key)| !found.contains(key.as_bytes())).count() as u64
        });
        Some(Outcome { gap: gap(&times, failure), acknowledged: times.len() as u64, lost })
    }
}

/// Writes one key after the other, and says which were acknowledged, and when.
async fn write(
    client: NativeClient,
    writer: u16,
    stop: Arc<AtomicBool>,
    count: watch::Sender<usize>,
) -> Vec<(Instant, String)> {
    let mut acknowledged = Vec::new();
    for write in 0..WRITES_MAX {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let value = Bytes::from_static(b"written under load");
        // One whose outcome is unknown was not acknowledged, whether it is there or not.
        if client.put(key(writer, write), value, WriteOptions::default()).await.is_ok() {
            acknowledged.push((Instant::now(), key(writer, write)));
            count.send_replace(acknowledged.len());
        }
    }
    acknowledged
}

/// Which of the writes are there.
async fn found(client: &NativeClient) -> Option<HashSet<Bytes>> {
    let (mut found, mut after) = (HashSet::new(), Bytes::new());
    loop {
        let page =
            client.with_deadline(WRITE_MAX).range("load_", after, PAGE, ReadOptions::default()).await.ok()?;
        after = page.items.last().map(|last| last.key.clone()).unwrap_or_default();
        let more = page.more && !page.items.is_empty();
        found.extend(page.items.into_iter().map(|item| item.key));
        if !more {
            return Some(found);
        }
    }
}

/// The longest time between two acknowledgements that ends after the failure.
fn gap(times: &[Instant], failure: Instant) -> Option<Duration> {
    times.windows(2).filter(|pair| pair[1] > failure).map(|pair| pair[1] - pair[0]).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gap_is_around_the_failure() {
        let at = |begin: Instant, millis: &[u64]| {
            millis.iter().map(|millis| begin + Duration::from_millis(*millis)).collect::<Vec<_>>()
        };
        let begin = Instant::now();
        let times = at(begin, &[0, 100, 101, 130, 131]);
        assert_eq!(gap(&times, begin + Duration::from_millis(102)), Some(Duration::from_millis(29)));
        assert_eq!(gap(&times, begin + Duration::from_millis(200)), None);
    }
}
