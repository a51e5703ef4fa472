//! Writers that go on while members come and go, and what they were promised.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use holdfast_sidecar::core::{Consistency, Failure};

use crate::cluster::{Cluster, get, put, put_once, write};

/// Writers at members that stay, until told to stop; what was acknowledged, by key.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    clients: Vec<tokio::task::JoinHandle<BTreeMap<String, String>>>,
}

impl Load {
    pub(crate) fn start(cluster: &Cluster, at: &[u8], sessions: bool) -> Load {
        let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let clients = at.iter().flat_map(|&ordinal| [ordinal; 4]).zip(0u64..);
        let clients = clients.map(|(ordinal, client)| {
            let handle = cluster.handle(ordinal);
            let (stop, acknowledged) = (stop.clone(), acknowledged.clone());
            tokio::spawn(async move {
                let mut done = BTreeMap::new();
                for n in 1u64.. {
                    if stop.load(Relaxed) {
                        break;
                    }
                    let (key, value) = (format!("load/{client}/{n}"), n.to_string());
                    let request = match sessions {
                        true => put_once(&key, &value, u128::from(client) + 1, n),
                        false => put(&key, value.clone()),
                    };
                    match write(&handle, request).await {
                        Ok(written) => {
                            assert!(written.outcome.refusal().is_none(), "{written:?}");
                            done.insert(key, value);
                            acknowledged.fetch_add(1, Relaxed);
                        }
                        Err(Failure::Unknown { .. }) if !sessions => {}
                        Err(failure) => panic!("{key}: {failure:?}"),
                    }
                }
                done
            })
        });
        Load { clients: clients.collect(), stop, acknowledged }
    }

    /// Wait until so many more writes are acknowledged; how long it took.
    pub(crate) async fn more(&self, count: u64) -> Duration {
        let (start, target) = (Instant::now(), self.acknowledged.load(Relaxed) + count);
        while self.acknowledged.load(Relaxed) < target {
            assert!(start.elapsed() < crate::cluster::PATIENCE, "no writes get through");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        start.elapsed()
    }

    pub(crate) async fn end(self) -> BTreeMap<String, String> {
        self.stop.store(true, Relaxed);
        let mut all = BTreeMap::new();
        for client in self.clients {
            all.extend(client.await.expect("a client"));
        }
        all
    }
}

/// All that was acknowledged is there, at every member.
pub(crate) async fn check_all(cluster: &Cluster, acknowledged: &BTreeMap<String, String>) {
    for ordinal in cluster.running() {
        let handle = cluster.handle(ordinal);
        for (key, value) in acknowledged {
            let read = get(&handle, key, Consistency::Linearizable).await;
            assert_eq!(read.as_deref(), Some(value.as_bytes()), "{key} at {ordinal}");
        }
    }
}
