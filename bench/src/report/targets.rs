//! What the project set out to reach, held against one run. A goal whose figures were not measured is left out.

use holdfast_figures::number;

use crate::contender::{BATCH, DEPTH};
use crate::figure::{Direction, Figures, Results, Spread, Way, percentile};
use crate::system::System;

/// One goal.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Target {
    /// Of what.
    pub(super) what: String,
    /// What was wanted.
    pub(super) goal: &'static str,
    /// What was found.
    pub(super) measured: String,
    /// Whether that is enough.
    pub(super) met: bool,
}

/// All goals that this run can tell of.
pub(super) fn of(results: &Results) -> Vec<Target> {
    let mut targets = Vec::new();
    targets.extend(loads(results));
    targets.extend(faults(results));
    targets.extend(rest(results));
    targets.extend(files(results));
    targets
}

fn target(what: impl Into<String>, goal: &'static str, measured: String, met: bool) -> Target {
    Target { what: what.into(), goal, measured, met }
}

fn loads(results: &Results) -> Vec<Target> {
    let median = |scenario: &str, contender: &str, clients: usize, figure: fn(&Figures) -> f64| {
        results.spread(scenario, contender, clients, figure).map(|spread| spread.median)
    };
    let rate = |scenario: &str, contender: &str, clients: usize| {
        median(scenario, contender, clients, |figures| figures.per_second)
    };
    let p50 = |contender: &str| median("write", contender, 1, |figures| figures.p50_us);
    let mut targets = Vec::new();
    // The better of the two protocols is what a user gets who wants it.
    let ours = [p50("holdfast-native"), p50("holdfast-http")].into_iter().flatten().reduce(f64::min);
    if let (Some(ours), Some(floor)) = (ours, results.write_floor()) {
        let ratio = ours / floor.median;
        // Whoever flushes alone on a machine with other work waits for a processor longer than for the disk.
        let doubt = if ratio < 1.0 { "; less than the floor, so the machine was busy" } else { "" };
        targets.push(target(
            "durable majority writes, 1 client, p50 ÷ floor",
            "≤ 2.5",
            format!("{} ({} µs{doubt})", number(ratio), number(ours)),
            (1.0..=2.5).contains(&ratio),
        ));
    }
    if let (Some(ours), Some(redis)) = (ours, p50("redis")) {
        let ratio = ours / redis;
        targets.push(target("the same ÷ Redis with WAIT", "≤ 0.5", number(ratio), ratio <= 0.5));
    }
    let ratios = [
        ("write", "holdfast-http", "etcd", 256, "durable writes, 256 clients, HTTP ÷ etcd", "≥ 3", 3.0),
        ("write", "holdfast-native", "etcd", 256, "durable writes, 256 clients, binary ÷ etcd", "≥ 8", 8.0),
        ("write", "holdfast-native", "redis", 256, "the same ÷ Redis with WAIT", "≥ 3", 3.0),
        ("read", "holdfast-http", "etcd", 256, "linearizable reads, 256 clients, HTTP ÷ etcd", "≥ 3", 3.0),
    ];
    for (scenario, one, other, clients, what, goal, wanted) in ratios {
        if let (Some(one), Some(other)) = (rate(scenario, one, clients), rate(scenario, other, clients)) {
            let ratio = one / other;
            targets.push(target(what, goal, number(ratio), ratio >= wanted));
        }
    }
    let cells = results.loads.iter().filter(|cell| {
        cell.contender == "holdfast-native" && ["pipelined", "batched"].contains(&cell.scenario.as_str())
    });
    let fastest = cells
        .filter_map(|cell| Some((cell, rate(&cell.scenario, &cell.contender, cell.clients)?)))
        .max_by(|(_, one), (_, other)| one.total_cmp(other));
    if let Some((cell, rate)) = fastest {
        let what = format!("durable writes, pipelined ({DEPTH} in flight) or batched ({BATCH}), per second");
        let measured = format!("{} ({}, {} clients)", number(rate), cell.scenario, cell.clients);
        targets.push(target(what, "≥ 500,000", measured, rate >= 500_000.0));
    }
    targets
}

fn faults(results: &Results) -> Vec<Target> {
    let mut targets = Vec::new();
    let ours = results.outages.iter().filter(|outages| outages.system == System::Holdfast);
    for outages in ours {
        let at = |share| percentile(&outages.ms, share);
        let (Some(p50), Some(p99)) = (at(0.5), at(0.99)) else { continue };
        let measured = format!("p50 {} ms, p99 {} ms", number(p50), number(p99));
        targets.push(match outages.fault.as_str() {
            "kill" => target(
                format!("kill -9 of the leader → next acknowledged write, {} times", outages.ms.len()),
                "p50 ≤ 5 ms, p99 ≤ 20 ms",
                measured,
                p50 <= 5.0 && p99 <= 20.0,
            ),
            "term" => {
                let failed = outages.failed.unwrap_or(0);
                let measured = format!("p99 {} ms, {failed} failed", number(p99));
                let goal = "gap p99 ≤ 5 ms, none failed";
                target("hand-over on SIGTERM", goal, measured, p99 <= 5.0 && failed == 0)
            }
            _ => target(
                "stopped leader → next acknowledged write (heartbeat timeout 1 s)",
                "p99 ≤ 1,500 ms",
                measured,
                p99 <= 1_500.0,
            ),
        });
    }
    targets
}

fn rest(results: &Results) -> Vec<Target> {
    let mut targets = Vec::new();
    let starts = || results.starts.iter().filter(|start| start.system == System::Holdfast);
    let bytes = Spread::of(starts().map(|start| start.bytes as f64 / start.seconds));
    let keys = Spread::of(starts().map(|start| start.keys as f64 / start.seconds));
    if let (Some(bytes), Some(keys)) = (bytes, keys) {
        let measured = format!("{} GB/s, {} keys/s", number(bytes.median * 1e-9), number(keys.median));
        let met = bytes.median >= 1e9 && keys.median >= 4e6;
        targets.push(target("start from a checkpoint", "≥ 1 GB/s, ≥ 4,000,000 keys/s", measured, met));
    }
    for memory in results.memory.iter().filter(|memory| memory.system == System::Holdfast) {
        let mebibytes = memory.empty.iter().max().map_or(0.0, |most| *most as f64 / f64::from(1 << 20));
        let measured = format!("{} MiB", number(mebibytes));
        targets.push(target("memory at rest, one member", "≤ 15 MiB", measured, mebibytes <= 15.0));
    }
    targets
}

fn files(results: &Results) -> Vec<Target> {
    let mut targets = Vec::new();
    for direction in Direction::ALL {
        for bytes in results.file_sizes() {
            let rate = |way| results.file_rate(way, direction, bytes).map(|rate| rate.median);
            let (Some(ours), Some(floor)) = (rate(Way::Holdfast), rate(Way::Copy)) else { continue };
            let (ratio, what) = (ours / floor, direction.title());
            let what = format!("{what} of a file of {} MiB ÷ plain copies with fsync", bytes >> 20);
            targets.push(target(what, "≥ 0.7", number(ratio), ratio >= 0.7));
        }
    }
    let most = results.file_sizes().into_iter().filter_map(|bytes| results.file_memory(bytes)).max();
    if let Some(most) = most {
        let mebibytes = most as f64 / f64::from(1 << 20);
        let measured = format!("{} MiB", number(mebibytes));
        targets.push(target("memory of any member meanwhile", "< 64 MiB", measured, mebibytes < 64.0));
    }
    targets
}
