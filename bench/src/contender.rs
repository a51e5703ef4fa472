//! What is compared under load: a system, and the way in which it is written to or read from.

use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use crate::figure::Figures;
use crate::load::{self, Keys, Measured, Shape, Until};
use crate::process;
use crate::protocol::http::Http;
use crate::protocol::native::Native;
use crate::protocol::nats::Publish;
use crate::protocol::redis::SetAndWait;
use crate::protocol::{KEY_BYTES, Protocol, VALUE_BYTES};
use crate::system::{Cluster, MEMBERS, Programs, System};

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
    /// By etcd's own `benchmark`, with this verb.
    Benchmark(&'static [&'static str]),
}

/// All that are compared, in the order of the tables.
pub(crate) static ALL: [Contender; 6] = [
    Contender {
        name: "holdfast-native",
        title: "Holdfast, binary protocol",
        system: System::Holdfast,
        drive: native,
    },
    Contender { name: "holdfast-http", title: "Holdfast, HTTP", system: System::Holdfast, drive: http },
    Contender { name: "etcd", title: "etcd", system: System::Etcd, drive: etcd },
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

fn native(scenario: Scenario) -> Option<Drive> {
    Some(match scenario {
        Scenario::Write => Drive::Bare(Box::new(Native::put()), 1),
        Scenario::Pipelined => Drive::Bare(Box::new(Native::put()), DEPTH),
        Scenario::Batched => Drive::Bare(Box::new(Native::txn(BATCH)), 1),
        Scenario::Read => Drive::Bare(Box::new(Native::get()), 1),
    })
}

fn http(scenario: Scenario) -> Option<Drive> {
    match scenario {
        Scenario::Write => Some(Drive::Bare(Box::new(Http::HoldfastPut), 1)),
        // Clients of HTTP/1.1 do not pipeline.
        Scenario::Pipelined => None,
        Scenario::Batched => Some(Drive::Bare(Box::new(Http::HoldfastTxn(BATCH)), 1)),
        Scenario::Read => Some(Drive::Bare(Box::new(Http::HoldfastGet), 1)),
    }
}

fn etcd(scenario: Scenario) -> Option<Drive> {
    match scenario {
        Scenario::Write => Some(Drive::Benchmark(&["put"])),
        // Its tool has one request in flight per client.
        Scenario::Pipelined => None,
        Scenario::Batched => Some(Drive::Benchmark(&["txn-put"])),
        Scenario::Read => Some(Drive::Benchmark(&["range", "bench-0000000000", "--consistency=l"])),
    }
}

fn nats(scenario: Scenario) -> Option<Drive> {
    match scenario {
        Scenario::Write => Some(Drive::Bare(Box::new(Publish), 1)),
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
        // A primary that was replaced without knowing it answers with what it has.
        Scenario::Read => None,
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
            Some(Drive::Benchmark(verb)) => benchmark(verb, clients, until, cluster, programs),
        }
    }
}

/// Requests of the first, short run of etcd's `benchmark`, per client: enough to see how many fit into a time.
const FIRST_REQUESTS: u64 = 20;

/// How long etcd's `benchmark` may take for a number of requests.
const FILL_TIME_MAX: Duration = Duration::from_secs(180);

/// etcd's own load tool takes a number of requests, not a time, so that a short run that is not counted comes first and
/// says how many are needed.
fn benchmark(
    verb: &[&str],
    clients: usize,
    until: Until,
    cluster: &dyn Cluster,
    programs: &Programs,
) -> anyhow::Result<Figures> {
    let units = if verb[0] == "txn-put" { BATCH } else { 1 };
    let run = |total: u64, patience: Duration| {
        let endpoints: Vec<String> =
            (0..MEMBERS).map(|at| format!("http://127.0.0.1:{}", cluster.port(at))).collect();
        let mut arguments: Vec<String> = verb.iter().map(|word| (*word).to_owned()).collect();
        arguments.push(format!("--endpoints={}", endpoints.join(",")));
        arguments.extend(["--target-leader".to_owned(), "--precise".to_owned()]);
        arguments.extend([format!("--conns={clients}"), format!("--clients={clients}")]);
        arguments.push(format!("--total={total}"));
        if verb[0] != "range" {
            arguments.extend([format!("--key-size={KEY_BYTES}"), format!("--val-size={VALUE_BYTES}")]);
            arguments.push(format!("--key-space-size={KEYS}"));
        }
        if verb[0] == "txn-put" {
            arguments.push(format!("--txn-ops={BATCH}"));
        }
        read(&process::run(&programs.tools.join("benchmark"), &arguments, patience)?, total, units)
    };
    match until {
        Until::Done(total) => run(total, FILL_TIME_MAX),
        Until::Time { warm_up, length } => {
            let patience = warm_up + 6 * length + Duration::from_secs(20);
            let least = clients as u64;
            let guess = run((FIRST_REQUESTS * least).max(200), patience)?;
            let requests = |rate: &Figures, time: Duration| {
                ((rate.per_second / units as f64 * time.as_secs_f64()) as u64).max(least)
            };
            let warm = run(requests(&guess, warm_up), patience)?;
            run(requests(&warm, length), patience)
        }
    }
}

/// What etcd's `benchmark` prints about `total` requests that carry `units` writes each.
fn read(text: &str, total: u64, units: u64) -> anyhow::Result<Figures> {
    let number = |mark: &str| -> anyhow::Result<f64> {
        let rest = text.split(mark).nth(1).with_context(|| format!("benchmark printed no {mark}: {text}"))?;
        let first = rest.split_whitespace().next().unwrap_or_default();
        first.parse().with_context(|| format!("benchmark printed {mark} {first}"))
    };
    // Lines such as `  [20]	etcdserver: request is too large`.
    let errors = text.split("Error distribution:").nth(1).unwrap_or_default();
    let mut errors =
        errors.lines().filter_map(|line| line.trim().strip_prefix('[')?.split_once(']')).peekable();
    let first_failure = errors.peek().map(|(_, what)| what.trim().to_owned());
    let failed: u64 = errors.filter_map(|(count, _)| count.parse::<u64>().ok()).sum();
    anyhow::ensure!(failed < total, "nothing was done: {}", first_failure.unwrap_or_default());
    // It prints no percentile of fewer requests than make one; the slowest is an upper bound then.
    let slowest = number("Slowest:")?;
    let seconds = number("Total:")?;
    let done = (total - failed) * units;
    Ok(Figures {
        per_second: done as f64 / seconds,
        p50_us: number("50% in").unwrap_or(slowest) * 1e6,
        p99_us: number("99% in").unwrap_or(slowest) * 1e6,
        max_us: slowest * 1e6,
        done,
        failed,
        first_failure,
        seconds,
    })
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

    const PRINTED: &str = "\nSummary:\n  Total:\t0.5 secs.\n  Slowest:\t0.052520393 secs.\n  Requests/sec:\t2467.18\n\n\
        Latency distribution:\n  10% in 0.001 secs.\n  50% in 0.0017 secs.\n  99% in 1.9e-2 secs.\n  99.9% in 0.05 secs.\n";

    #[test]
    fn what_etcds_tool_prints_is_read() {
        let figures = read(PRINTED, 2_000, 1).expect("it is whole");
        let found = (figures.per_second, figures.p50_us.round(), figures.p99_us.round(), figures.done);
        assert_eq!(found, (4_000.0, 1_700.0, 19_000.0, 2_000));
        assert_eq!((figures.failed, figures.max_us.round()), (0, 52_520.0));
        assert_eq!(read(PRINTED, 2_000, 100).expect("it is whole").per_second, 400_000.0);
    }

    #[test]
    fn errors_of_etcds_tool_are_counted() {
        let text = format!("{PRINTED}\nError distribution:\n  [20]\tetcdserver: too large\n  [3]\tother\n");
        let figures = read(&text, 100, 1).expect("some were done");
        assert_eq!((figures.failed, figures.done), (23, 77));
        assert_eq!(figures.first_failure.as_deref(), Some("etcdserver: too large"));
        assert!(read(&text, 23, 1).is_err(), "nothing was done");
        assert!(read("Error: no leader", 23, 1).is_err());
    }

    #[test]
    fn everybody_takes_part_in_writes_and_names_are_unique() {
        let names: std::collections::BTreeSet<_> = ALL.iter().map(|contender| contender.name).collect();
        assert_eq!(names.len(), ALL.len());
        assert!(ALL.iter().all(|contender| contender.can(Scenario::Write)));
        let readers: Vec<_> = ALL.iter().filter(|one| one.can(Scenario::Read)).map(|one| one.name).collect();
        assert_eq!(readers, ["holdfast-native", "holdfast-http", "etcd"]);
    }
}
