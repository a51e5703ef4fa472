//! Holdfast's own Rust client under load: one [`NativeClient`] for all, as a program would have it, so that all writes share a
//! connection. It shows what the library costs beside bare clients.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};
use holdfast_client::{NativeClient, WriteOptions};
use tokio::task::LocalSet;

use super::KEYS;
use crate::histogram::Histogram;
use crate::load::{Measured, Until, scatter};
use crate::protocol::{VALUE, write_key};

/// Let so many tasks write at the member whose client port is `port`.
///
/// # Errors
///
/// If nothing is done, or the load is not limited by time.
pub(super) fn run(port: u16, clients: usize, until: Until) -> anyhow::Result<Measured> {
    let Until::Time { warm_up, length } = until else { bail!("the library is measured by time") };
    let client = NativeClient::new([format!("127.0.0.1:{port}")])?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let begin = Instant::now() + warm_up;
    let end = begin + length;
    let counted = Rc::new(RefCell::new(Measured {
        latencies: Histogram::default(),
        done: 0,
        failed: 0,
        first_failure: None,
        seconds: length.as_secs_f64(),
    }));
    let tasks = LocalSet::new();
    for task in 0..clients {
        let (client, counted) = (client.clone(), Rc::clone(&counted));
        tasks.spawn_local(async move {
            for number in 0.. {
                let start = Instant::now();
                if start >= end {
                    return;
                }
                let mut key = Vec::new();
                write_key(scatter((number * clients + task) as u64) % KEYS, &mut key);
                let written = client.put(key, &VALUE[..], WriteOptions::default()).await;
                let now = Instant::now();
                let mut counted = counted.borrow_mut();
                match written {
                    Ok(_) if now >= begin && now < end => {
                        counted.latencies.add(now - start);
                        counted.done += 1;
                    }
                    Ok(_) => {}
                    Err(error) => {
                        counted.failed += 1;
                        counted.first_failure.get_or_insert_with(|| error.to_string());
                    }
                }
            }
        });
    }
    runtime.block_on(tasks);
    let counted = Rc::into_inner(counted).context("every task ended")?.into_inner();
    ensure!(counted.done > 0, "nothing was done: {}", counted.first_failure.unwrap_or_default());
    Ok(counted)
}
