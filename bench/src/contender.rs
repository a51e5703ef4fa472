//! What is compared under load: a system, and the way in which it is written to or read from.

mod benchmark;
mod library;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use crate::figure::Figures;
use crate::load::{self, Keys, Measured, Shape, Until};
use crate::protocol::Protocol;
use crate::protocol::http::Http;
use crate::protocol::native::Native;
use crate::protocol::nats::Publish;
use crate::protocol::redis::SetAndWait;
use crate::system::{Cluster, Programs, System};

/// Keys that loads use, all equally often.
pub(crate) const KEYS: u64 = 100_000;

/// Requests that a pipelining client has in flight.
pub(crate) const DEPTH: usize = 16;

/// Writes of one batch. The most that a transaction takes is 128.
pub(crate) const BATCH: u64 = 100;

/// What clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Scenario {
    /// Durable writes, one in flight per client.
    Write,
    /// Durable writes, several in flight per client.
    Pipelined,
    /// Durable writes, several in one request.
    Batched,
    /// Linearizable reads, one in flight per client.
    Read,
    /// Messages to a log, one in flight per client; where there are no logs, durable writes.
    Append,
}

/// One side of a comparison.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Contender {
    /// Its name in the raw figures.
    pub(crate) name: &'static str,
    /// Its name in tables.
    pub(crate) title: &'static str,
    /// Which system.
    pub(crate) system: System,
    /// What it can do, and how.
    drive: fn(Scenario) -> Option<Drive>,
}

/// How a system is put under load.
enum Drive {
    /// By our bare clients, with so many requests in flight for each.
    Bare(Box<dyn Protocol>, usize),
    /// As [`Drive::Bare`], with one request in flight, over the Unix socket of the leader.
    Local(Box<dyn Protocol>),
    /// By Holdfast's Rust client.
    Library,
    /// By etcd's own `benchmark`, with this verb.
    Benchmark(&'static [&'static str]),
}

/// All that are compared, in the order of the tables.
pub(crate) static ALL: [Contender; 13] = [
    Contender {
        name: "holdfast-native",
        title: "Holdfast, binary protocol",
        system: System::Holdfast,
        drive: native,
    },
    Contender {
        name: "holdfast-unix",
        title: "Holdfast, binary, Unix socket",
        system: System::Holdfast,
        drive: unix,
    },
    Contender {
        name: "holdfast-client",
        title: "Holdfast, Rust client³",
        system: System::Holdfast,
        drive: library,
    },
    Contender {
        name: "holdfast-log-1",
        title: "Holdfast, message log, w=1",
        system: System::Holdfast,
        drive: log_one,
    },
    Contender {
        name: "holdfast-log-majority",
        title: "Holdfast, message log, w=majority",
        system: System::Holdfast,
        drive: log_majority,
    },
    Contender {
        name: "holdfast-log-all",
        title: "Holdfast, message log, w=all",
        system: System::Holdfast,
        drive: log_all,
    },
    Contender { name: "holdfast-http", title: "Holdfast, HTTP", system: System::Holdfast, drive: http },
    Contender {
        name: "holdfast-in-sync-http",
        title: "Holdfast, InSync, HTTP",
        system: System::HoldfastInSync,
        drive: http,
    },
    Contender { name: "etcd", title: "etcd", system: System::Etcd, drive: etcd },
    Contender {
        name: "nats-one",
        title: "NATS JetStream R1, sync always",
        system: System::NatsOne,
        drive: nats_one,
    },
    Contender {
        name: "nats-always",
        title: "NATS JetStream R3, sync always",
        system: System::NatsAlways,
        drive: nats,
    },
    Contender {
        name: "nats-default",
        title: "NATS JetStream R3, default¹",
        system: System::NatsDefault,
        drive: nats,
    },
    Contender { name: "redis", title: "Redis, AOF always, WAIT 1²", system: System::Redis, drive: redis },
];

fn log_one(scenario: Scenario) -> Option<Drive> {
    append(scenario, "1")
}

fn log_majority(scenario: Scenario) -> Option<Drive> {
    append(scenario, "\"majority\"")
}

fn log_all(scenario: Scenario) -> Option<Drive> {
    append(scenario, "\"all\"")
}

fn append(scenario: Scenario, concern: &'static str) -> Option<Drive> {
    (scenario == Scenario::Append).then(|| Drive::Bare(Box::new(Http::HoldfastAppend(concern)), 1))
}

/// One server has each message: what `w=1` is beside it.
fn nats_one(scenario: Scenario) -> Option<Drive> {
    (scenario == Scenario::Append).then(|| Drive::Bare(Box::new(Publish), 1))
}

fn native(scenario: Scenario) -> Option<Drive> {
    Some(match scenario {
        Scenario::Write => Drive::Bare(Box::new(Native::put()), 1),
        Scenario::Pipelined => Drive::Bare(Box::new(Native::put()), DEPTH),
        Scenario::Batched => Drive::Bare(Box::new(Native::txn(BATCH)), 1),
        Scenario::Read => Drive::Bare(Box::new(Native::get()), 1),
        Scenario::Append => return None,
    })
}

/// For the container next door; what is different shows with one write at a time.
fn unix(scenario: Scenario) -> Option<Drive> {
    (scenario == Scenario::Write).then(|| Drive::Local(Box::new(Native::put())))
}

fn library(scenario: Scenario) -> Option<Drive> {
    (scenario == Scenario::Write).then_some(Drive::Library)
}

fn http(scenario: Scenario) -> Option<Drive> {
    match scenario {
        Scenario::Write => Some(Drive::Bare(Box::new(Http::HoldfastPut), 1)),
        // Clients of HTTP/1.1 do not pipeline.
        Scenario::Pipelined | Scenario::Append => None,
        Scenario::Batched => Some(Drive::Bare(Box::new(Http::HoldfastTxn(BATCH)), 1)),
        Scenario::Read => Some(Drive::Bare(Box::new(Http::HoldfastGet), 1)),
    }
}

fn etcd(scenario: Scenario) -> Option<Drive> {
    match scenario {
        Scenario::Write | Scenario::Append => Some(Drive::Benchmark(&["put"])),
        // Its tool has one request in flight per client.
        Scenario::Pipelined => None,
        Scenario::Batched => Some(Drive::Benchmark(&["txn-put"])),
        Scenario::Read => Some(Drive::Benchmark(&["range", "bench-0000000000", "--consistency=l"])),
    }
}

fn nats(scenario: Scenario) -> Option<Drive> {
    match scenario {
        Scenario::Write | Scenario::Append => Some(Drive::Bare(Box::new(Publish), 1)),
        Scenario::Pipelined => Some(Drive::Bare(Box::new(Publish), DEPTH)),
        // A read of a stream need not show the last acknowledged message.
        Scenario::Batched | Scenario::Read => None,
    }
}

fn redis(scenario: Scenario) -> Option<Drive> {
    match scenario {
        Scenario::Write => Some(Drive::Bare(Box::new(SetAndWait { sets: 1 }), 1)),
        // WAIT holds its connection up, so a client that pipelines sends several SET and one WAIT.
        Scenario::Pipelined => Some(Drive::Bare(Box::new(SetAndWait { sets: DEPTH as u64 }), 1)),
        Scenario::Batched => Some(Drive::Bare(Box::new(SetAndWait { sets: BATCH }), 1)),
        // A primary that was replaced without knowing it answers with what it has. Its streams are not measured.
        Scenario::Read | Scenario::Append => None,
    }
}

impl Scenario {
    /// Its name in the raw figures.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Scenario::Write => "write",
            Scenario::Pipelined => "pipelined",
            Scenario::Batched => "batched",
            Scenario::Read => "read",
            Scenario::Append => "append",
        }
    }
}

impl Contender {
    /// Whether it takes part in a scenario.
    pub(crate) fn can(&self, scenario: Scenario) -> bool {
        (self.drive)(scenario).is_some()
    }

    /// Put `cluster`, which is of this contender's system, under load at its leader.
    ///
    /// # Errors
    ///
    /// If the contender takes no part in the scenario, nobody leads, or the load fails.
    pub(crate) fn run(
        &self,
        scenario: Scenario,
        clients: usize,
        until: Until,
        cluster: &dyn Cluster,
        programs: &Programs,
    ) -> anyhow::Result<Figures> {
        let leader = cluster.wait_for_leader()?;
        match (self.drive)(scenario) {
            None => bail!("{} takes no part in {}", self.title, scenario.name()),
            Some(Drive::Bare(protocol, depth)) => {
                let shape = Shape { clients, depth, keys: Keys::Spread(KEYS), until };
                Ok(load::run(&cluster.address(leader), &*protocol, &shape)?.into())
            }
            Some(Drive::Local(protocol)) => {
                let address = cluster.local(leader).context("the system has no Unix socket")?;
                let shape = Shape { clients, depth: 1, keys: Keys::Spread(KEYS), until };
                Ok(load::run(&address, &*protocol, &shape)?.into())
            }
            Some(Drive::Library) => Ok(library::run(cluster.port(leader), clients, until)?.into()),
            Some(Drive::Benchmark(verb)) => benchmark::run(verb, clients, until, cluster, programs),
        }
    }
}

impl From<Measured> for Figures {
    fn from(measured: Measured) -> Figures {
        Figures {
            per_second: measured.done as f64 / measured.seconds,
            p50_us: measured.latencies.percentile_us(0.5),
            p99_us: measured.latencies.percentile_us(0.99),
            max_us: measured.latencies.max_us(),
            done: measured.done,
            failed: measured.failed,
            first_failure: measured.first_failure,
            seconds: measured.seconds,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_else_takes_part_in_writes_and_names_are_unique() {
        let names: std::collections::BTreeSet<_> = ALL.iter().map(|contender| contender.name).collect();
        assert_eq!(names.len(), ALL.len());
        let only: Vec<_> = ALL.iter().filter(|one| !one.can(Scenario::Write)).map(|one| one.name).collect();
        assert_eq!(only, ["holdfast-log-1", "holdfast-log-majority", "holdfast-log-all", "nats-one"]);
        let readers: Vec<_> = ALL.iter().filter(|one| one.can(Scenario::Read)).map(|one| one.name).collect();
        assert_eq!(readers, ["holdfast-native", "holdfast-http", "holdfast-in-sync-http", "etcd"]);
    }
}
