//! Writes while Holdfast's leader takes a checkpoint of a gigabyte, and as long without one. The others have nothing of the
//! kind that could be asked for at a given moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};

use super::Bench;
use super::start::{bytes_of, fill};
use crate::contender::KEYS;
use crate::figure::{Checkpoint, Figures};
use crate::load::{self, Keys, Shape, Until};
use crate::protocol::http::Http;
use crate::say;
use crate::system::{Cluster, MEMBERS, System, checkpoint};

/// Clients that write meanwhile.
const CLIENTS: usize = 64;

/// How long writes are measured without a checkpoint: short enough that the log does not ask for one by itself.
const WITHOUT: Duration = Duration::from_secs(2);

/// The longest checkpoint that is waited for.
const CHECKPOINT_TIME_MAX: Duration = Duration::from_secs(120);

/// Measure writes during a checkpoint and without.
pub(super) fn run(bench: &mut Bench) {
    for system in bench.systems(&[System::Holdfast]) {
        bench.with(system, "writes during a checkpoint", |bench, cluster| {
            let keys = bench.plan.checkpoint_keys;
            fill(system, cluster, keys)?;
            for repetition in 0..bench.plan.repetitions {
                let found = once(cluster, repetition, bytes_of(keys))?;
                say(format_args!(
                    "checkpoint of {:.2} GB in {:.2} s: p99 {:.2} ms, without {:.2} ms",
                    found.bytes as f64 / 1e9,
                    found.seconds,
                    found.during.p99_us / 1e3,
                    found.without.p99_us / 1e3
                ));
                bench.results.checkpoints.push(found);
            }
            Ok(())
        });
    }
}

fn once(cluster: &mut dyn Cluster, repetition: usize, bytes: u64) -> anyhow::Result<Checkpoint> {
    // Members take one when their log has grown; this makes sure that none is due.
    for at in 0..MEMBERS {
        checkpoint(cluster.port(at))?;
    }
    cluster.wait_until_ready()?;
    let leader = cluster.wait_for_leader()?;
    let (address, port) = (cluster.address(leader), cluster.port(leader));
    let shape = |warm_up, length| Shape {
        clients: CLIENTS,
        depth: 1,
        keys: Keys::Spread(KEYS),
        until: Until::Time { warm_up, length },
    };
    let without: Figures =
        load::run(&address, &Http::HoldfastPut, &shape(Duration::from_millis(300), WITHOUT))?.into();
    let over = Arc::new(AtomicBool::new(false));
    let done = Arc::clone(&over);
    let begin = Instant::now();
    let asker = std::thread::spawn(move || {
        let result = checkpoint(port);
        done.store(true, Ordering::Release);
        result.map(|()| begin.elapsed())
    });
    let shape = shape(Duration::ZERO, CHECKPOINT_TIME_MAX);
    let during = load::run_while(&address, &Http::HoldfastPut, &shape, &mut || over.load(Ordering::Acquire));
    let took = asker.join().map_err(|_| anyhow!("the thread that asks for a checkpoint panicked"))?;
    let seconds = took.context("the checkpoint failed")?.as_secs_f64();
    Ok(Checkpoint { repetition, bytes, seconds, clients: CLIENTS, without, during: during?.into() })
}
