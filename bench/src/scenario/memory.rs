//! What a member occupies: empty, and after many writes to a limited number of keys.

use std::time::Duration;

use super::Bench;
use crate::contender::{self, Scenario};
use crate::figure::Memory;
use crate::load::Until;
use crate::process::Process;
use crate::say;
use crate::system::{Cluster, System};

/// Systems that are weighed. NATS is weighed once: how often it flushes has nothing to do with it.
const SYSTEMS: [System; 4] = [System::Holdfast, System::Etcd, System::NatsAlways, System::Redis];

/// Clients that write.
const CLIENTS: usize = 64;

/// How long a system rests before it is weighed.
const REST: Duration = Duration::from_secs(2);

/// Weigh all systems.
pub(super) fn run(bench: &mut Bench) {
    for system in bench.systems(&SYSTEMS) {
        let found = bench.with(system, "memory", |bench, cluster| {
            let writes = bench.plan.memory_writes;
            let empty = weigh(cluster)?;
            // The last of a system's contenders is the one without a protocol of its own.
            let contender = contender::ALL.iter().rfind(|contender| contender.system == system);
            if let Some(contender) = contender {
                contender.run(Scenario::Write, CLIENTS, Until::Done(writes), cluster, &bench.programs)?;
            }
            cluster.wait_until_ready()?;
            Ok(Memory { system, repetition: 0, empty, written: weigh(cluster)?, writes })
        });
        if let Some(memory) = found {
            let mebibytes = |bytes: &[u64]| bytes.iter().max().map_or(0.0, |most| *most as f64 / 1048576.0);
            say(format_args!(
                "{:<32} memory: empty {:.1} MiB, after {} writes {:.1} MiB",
                system.title(),
                mebibytes(&memory.empty),
                memory.writes,
                mebibytes(&memory.written)
            ));
            bench.results.memory.push(memory);
        }
    }
}

fn weigh(cluster: &mut dyn Cluster) -> anyhow::Result<Vec<u64>> {
    std::thread::sleep(REST);
    cluster.processes().iter().map(Process::resident_bytes).collect()
}
