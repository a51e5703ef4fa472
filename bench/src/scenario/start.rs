//! A member that starts with data on its disk: from the start of its process until it has everything that it had before.
//!
//! Holdfast starts from a checkpoint that was taken just before, Redis from a log that was rewritten just before; etcd needs
//! no such preparation. A follower is restarted, so that nobody elects meanwhile.

use std::time::{Duration, Instant};

use anyhow::ensure;

use super::Bench;
use crate::figure::{Spread, Start};
use crate::load::{self, Keys, Shape, Until};
use crate::protocol::http::Http;
use crate::protocol::native::Native;
use crate::protocol::redis::SetAndWait;
use crate::protocol::{KEY_BYTES, Protocol, VALUE_BYTES};
use crate::system::{Cluster, MEMBERS, System, position};
use crate::{say, wait};

/// Systems that start with a keyspace. NATS has none: its streams are read when somebody asks for them.
const SYSTEMS: [System; 3] = [System::Holdfast, System::Etcd, System::Redis];

/// Keys that etcd gets less: it takes batches slowly, and its rate does not depend on their number.
const ETCD_DIVISOR: u64 = 5;

/// Clients that fill a store.
const FILLERS: usize = 4;

/// Keys of one batch while a store is filled.
const FILL_BATCH: u64 = 100;

/// How long a start may take.
const START_TIME_MAX: Duration = Duration::from_secs(120);

/// Time between two looks whether a member has everything; far less than a start takes.
const PAUSE: Duration = Duration::from_millis(1);

/// Start members of all systems.
pub(super) fn run(bench: &mut Bench) {
    for system in bench.systems(&SYSTEMS) {
        bench.with(system, "start with data", |bench, cluster| {
            let keys = bench.plan.keys / if system == System::Etcd { ETCD_DIVISOR } else { 1 };
            fill(system, cluster, keys)?;
            for repetition in 0..bench.plan.repetitions {
                let seconds = once(system, cluster)?.as_secs_f64();
                let bytes = bytes_of(keys);
                bench.results.starts.push(Start { system, repetition, keys, bytes, seconds });
            }
            let mine = bench.results.starts.iter().filter(|start| start.system == system);
            let rate = Spread::of(mine.map(|start| start.keys as f64 / start.seconds));
            let rate = rate.map_or(0.0, |rate| rate.median);
            say(format_args!("{:<32} start with {keys} keys: {rate:.0} keys/s", system.title()));
            Ok(())
        });
    }
}

/// Bytes of so many keys and their values.
pub(super) fn bytes_of(keys: u64) -> u64 {
    keys * (KEY_BYTES + VALUE_BYTES) as u64
}

/// Write so many keys, each once, and wait until every member has them.
pub(super) fn fill(system: System, cluster: &mut dyn Cluster, keys: u64) -> anyhow::Result<()> {
    let protocol: Box<dyn Protocol> = match system {
        System::Redis => Box::new(SetAndWait { sets: FILL_BATCH }),
        System::Etcd => Box::new(Http::EtcdTxn(FILL_BATCH)),
        _ => Box::new(Native::txn(FILL_BATCH)),
    };
    let leader = cluster.wait_for_leader()?;
    let shape = Shape { clients: FILLERS, depth: 1, keys: Keys::InOrder, until: Until::Done(keys) };
    let filled = load::run(&cluster.address(leader), &*protocol, &shape)?;
    ensure!(filled.failed == 0, "a fill failed: {:?}", filled.first_failure);
    say(format_args!("{:<32} filled with {keys} keys in {:.1} s", system.title(), filled.seconds));
    cluster.wait_until_ready()
}

/// Kill a follower that has everything on disk, start it, and see how long that takes.
fn once(system: System, cluster: &mut dyn Cluster) -> anyhow::Result<Duration> {
    let follower = (cluster.wait_for_leader()? + 1) % MEMBERS;
    cluster.settle(follower)?;
    let port = cluster.port(follower);
    let before = position(system, port)?;
    let process = &mut cluster.processes()[follower];
    process.kill();
    let begin = Instant::now();
    process.start()?;
    wait::until("a member has everything again", START_TIME_MAX, PAUSE, || {
        let now = position(system, port)?;
        ensure!(now >= before, "it has {now} of {before}");
        Ok(())
    })?;
    let took = begin.elapsed();
    cluster.wait_until_ready()?;
    Ok(took)
}
