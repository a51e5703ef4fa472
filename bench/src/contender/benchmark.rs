//! etcd's own load tool, `benchmark`: how it is asked, and what it prints.

use std::time::Duration;

use anyhow::Context as _;

use super::{BATCH, KEYS};
use crate::figure::Figures;
use crate::load::Until;
use crate::process;
use crate::protocol::{KEY_BYTES, VALUE_BYTES};
use crate::system::{Cluster, MEMBERS, Programs};

/// Requests of the first, short run of etcd's `benchmark`, per client: enough to see how many fit into a time.
const FIRST_REQUESTS: u64 = 20;

/// How long etcd's `benchmark` may take for a number of requests.
const FILL_TIME_MAX: Duration = Duration::from_secs(180);

/// etcd's own load tool takes a number of requests, not a time, so that a short run that is not counted comes first and
/// says how many are needed.
pub(super) fn run(
    verb: &[&str],
    clients: usize,
    until: Until,
    cluster: &dyn Cluster,
    programs: &Programs,
) -> anyhow::Result<Figures> {
    let units = if verb[0] == "txn-put" { BATCH } else { 1 };
    let some = |total: u64, patience: Duration| {
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
        Until::Done(total) => some(total, FILL_TIME_MAX),
        Until::Time { warm_up, length } => {
            let patience = warm_up + 6 * length + Duration::from_secs(20);
            let least = clients as u64;
            let guess = some((FIRST_REQUESTS * least).max(200), patience)?;
            let requests = |rate: &Figures, time: Duration| {
                ((rate.per_second / units as f64 * time.as_secs_f64()) as u64).max(least)
            };
            let warm = some(requests(&guess, warm_up), patience)?;
            some(requests(&warm, length), patience)
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
}
