//! Leaders killed, asked to end, and stopped; and how long nobody could write.
//!
//! - `kill`: SIGKILL; from the signal to the first acknowledged write that was made after it, by a client that tries the
//!   other members all the time.
//! - `stop`: SIGSTOP, which sends no word to anybody, as a cut cable or a frozen machine; the same time.
//! - `term`: SIGTERM, as at every update; the longest time in which a client of another member got no acknowledgement, and
//!   the requests that failed meanwhile.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::process::Signal;
use socket2::SockAddr;

use super::Bench;
use crate::figure::{Outages, percentile};
use crate::probe::{Pace, Prober, longest_gap, outage};
use crate::say;
use crate::system::{Cluster, MEMBERS, System};

/// Systems that replace a leader by themselves.
const SYSTEMS: [System; 4] = [System::Holdfast, System::HoldfastInSync, System::Etcd, System::NatsAlways];

/// How long a client tries before a fault, so that its connections and the system are warm.
const CALM: Duration = Duration::from_millis(100);

/// The longest outage that is waited for: NATS elects after 4 to 9 seconds, and may need several rounds.
const OUTAGE_MAX: Duration = Duration::from_secs(60);

/// How long a member may take to end after SIGTERM.
const END_TIME_MAX: Duration = Duration::from_secs(15);

/// How long a stopped member may go on.
const STOP_TIME_MAX: Duration = Duration::from_secs(5);

/// NATS takes seconds each time; so many times fewer are enough to see that.
const SLOW_DIVISOR: usize = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Kill,
    Term,
    Stop,
}

impl Fault {
    fn name(self) -> &'static str {
        match self {
            Fault::Kill => "kill",
            Fault::Term => "term",
            Fault::Stop => "stop",
        }
    }
}

/// Measure all faults.
pub(super) fn run(bench: &mut Bench) {
    for system in bench.systems(&SYSTEMS) {
        bench.with(system, "faults", |bench, cluster| {
            let few = if system == System::NatsAlways { SLOW_DIVISOR } else { 1 };
            let (kills, others) = (bench.plan.kills.div_ceil(few), bench.plan.other_faults.div_ceil(few));
            for (fault, times) in [(Fault::Kill, kills), (Fault::Term, others), (Fault::Stop, others)] {
                if let Err(error) = many(bench, cluster, system, fault, times) {
                    bench.note_missing(system, fault.name(), &error);
                    cluster_back(cluster)?;
                }
            }
            Ok(())
        });
    }
}

fn many(
    bench: &mut Bench,
    cluster: &mut dyn Cluster,
    system: System,
    fault: Fault,
    times: usize,
) -> anyhow::Result<()> {
    let mut outages = Outages {
        system,
        fault: fault.name().to_owned(),
        ms: Vec::new(),
        failed: (fault == Fault::Term).then_some(0),
    };
    let mut result = Ok(());
    for _ in 0..times {
        match once(cluster, fault) {
            Ok((time, failed)) => {
                outages.ms.push(time.as_secs_f64() * 1e3);
                outages.failed = outages.failed.map(|sum| sum + failed);
            }
            Err(error) => {
                result = Err(error.context(format!("after {} times", outages.ms.len())));
                break;
            }
        }
    }
    let at = |share| percentile(&outages.ms, share).unwrap_or(f64::NAN);
    say(format_args!(
        "{:<32} {} {} times: p50 {:.2} ms, p99 {:.2} ms, failed {:?}",
        system.title(),
        outages.fault,
        outages.ms.len(),
        at(0.5),
        at(0.99),
        outages.failed
    ));
    // What was measured before an error is measured all the same.
    bench.results.outages.push(outages);
    result
}

/// One fault of the leader, and everything as it was.
fn once(cluster: &mut dyn Cluster, fault: Fault) -> anyhow::Result<(Duration, usize)> {
    let leader = cluster.leader(None).context("nobody leads before the fault")?;
    let addresses: Vec<SockAddr> = (0..MEMBERS).map(|at| cluster.address(at)).collect();
    let pace = if fault == Fault::Term { Pace::STEADY } else { Pace::EAGER };
    let mut prober = Prober::new(addresses, cluster.writer(), pace);
    if fault == Fault::Term {
        // Clients of a member that ends have to go elsewhere anyway; these are there already.
        prober.leave_out(leader);
    }
    prober.warm_up(OUTAGE_MAX)?;
    prober.run_for(CALM)?;
    let found = match fault {
        Fault::Kill => ungraceful(cluster, &mut prober, leader, Signal::KILL)?,
        Fault::Stop => ungraceful(cluster, &mut prober, leader, Signal::STOP)?,
        Fault::Term => graceful(cluster, &mut prober, leader)?,
    };
    drop(prober);
    cluster_back(cluster)?;
    Ok(found)
}

fn ungraceful(
    cluster: &mut dyn Cluster,
    prober: &mut Prober,
    leader: usize,
    signal: Signal,
) -> anyhow::Result<(Duration, usize)> {
    cluster.processes()[leader].signal(signal)?;
    if signal == Signal::STOP {
        // What it acknowledges before it stands still ends no outage.
        cluster.processes()[leader].wait_until_stopped(STOP_TIME_MAX)?;
    }
    let fault = Instant::now();
    prober.leave_out(leader);
    prober.run(OUTAGE_MAX, |attempts| outage(attempts, fault).is_some())?;
    let time = outage(&prober.attempts, fault).context("the prober saw it end")?;
    let process = &mut cluster.processes()[leader];
    if signal == Signal::STOP {
        process.signal(Signal::CONT)?;
    } else {
        process.kill();
    }
    Ok((time, 0))
}

fn graceful(
    cluster: &mut dyn Cluster,
    prober: &mut Prober,
    leader: usize,
) -> anyhow::Result<(Duration, usize)> {
    let begin = Instant::now();
    cluster.processes()[leader].signal(Signal::TERM)?;
    let give_up = begin + END_TIME_MAX;
    prober.run(END_TIME_MAX + CALM, |_| !cluster.processes()[leader].runs() || Instant::now() > give_up)?;
    // The next leader may need a moment after the last one is gone.
    let settled = Instant::now() + CALM;
    prober.run(OUTAGE_MAX, |attempts| {
        let last = attempts.iter().rev().find(|attempt| attempt.done);
        Instant::now() > settled && last.is_some_and(|last| last.begin > begin)
    })?;
    let found = longest_gap(&prober.attempts, begin, Instant::now());
    cluster.processes()[leader].wait_for_end(END_TIME_MAX)?;
    Ok(found)
}

/// Start what does not run, let go on what is stopped, and wait until everybody has everything.
fn cluster_back(cluster: &mut dyn Cluster) -> anyhow::Result<()> {
    for process in cluster.processes() {
        if process.runs() {
            process.signal(Signal::CONT)?;
        } else {
            process.kill();
            process.start()?;
        }
    }
    cluster.wait_until_ready()
}
