//! One run: a store starts, clients use it, faults come and go, everything heals, and what the clients were told is
//! judged.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rustix::process::Signal;

use super::acting::Acting;
use super::clients::{Clients, ONCE, SHARED};
use super::plan::Plan;
use super::stage::{Stage, TICK};
use super::verdict::{self, Last, Tally};
use crate::http::Http;

/// Writes that are acknowledged before the first fault, and after the last one has healed.
const WRITES: u64 = 60;

/// The pause before each round of faults: as long as an election and a good number of requests take.
const CALM: Duration = Duration::from_millis(400);

/// How a run ended.
#[derive(Debug)]
pub struct Report {
    /// What was done.
    pub plan: Plan,
    /// What the clients were told. Empty if the run did not come so far.
    pub tally: Tally,
    /// Whether every fault came to something at least once: a system call that never came was not hit.
    pub hit: bool,
    /// How often members were started beyond the first time.
    pub restarts: usize,
    /// The longest time in which no write was acknowledged.
    pub gap: Duration,
    /// How long the run took.
    pub took: Duration,
    /// What is wrong, if something is.
    pub failure: Option<String>,
    /// Where a failed run's logs and data are.
    pub folder: PathBuf,
}

/// Run a plan in `folder`, as the run `run` of this process, on a thread of its own. `program` is `holdfast-sidecar`.
pub fn run(plan: &Plan, run: usize, folder: &Path, program: &Path) -> Report {
    let begin = Instant::now();
    let mut report = Report {
        plan: plan.clone(),
        tally: Tally::default(),
        hit: false,
        restarts: 0,
        gap: Duration::ZERO,
        took: Duration::ZERO,
        failure: None,
        folder: folder.to_owned(),
    };
    // Threads that enter a network stay there, hence the thread.
    let result = std::thread::scope(|scope| {
        let work = || perform(plan, run, folder, program, &mut report);
        scope.spawn(work).join().unwrap_or_else(|_| Err(anyhow::anyhow!("the runner panicked")))
    });
    report.took = begin.elapsed();
    report.failure = result.err().map(|error| format!("{error:#}"));
    report
}

fn perform(
    plan: &Plan,
    run: usize,
    folder: &Path,
    program: &Path,
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut stage = Stage::set(plan, run, folder, program)?;
    let mut diary = fs::File::create(folder.join("diary"))?;
    writeln!(diary, "{plan}")?;
    stage.tend_until(|stage| stage.settled()).context("at the begin")?;
    let zero = Instant::now();
    let clients = Clients::start(&stage.network, &stage.bases(), zero, plan.seed)?;
    stage.tend_until(|_| enough(&clients, WRITES))?;
    let mut hits = vec![false; plan.faults.len()];
    for round in 0..plan.rounds {
        if plan.faults.iter().any(|fault| fault.kind.damages()) {
            stage.tend_until(|stage| stage.settled()).context("before more is damaged")?;
        }
        stage.tend(CALM)?;
        play(plan, round, &mut stage, &mut hits, |said| {
            writeln!(diary, "{:?}: {said}", zero.elapsed()).context("cannot write the diary")
        })?;
    }
    writeln!(diary, "{:?}: all is over", zero.elapsed())?;
    heal(&mut stage)?;
    report.restarts = stage.members.iter().map(|member| member.starts() - 1).sum();
    report.hit = hits.iter().all(|hit| *hit);
    let wanted = clients.acknowledged() + WRITES;
    stage.tend_until(|_| enough(&clients, wanted)).context("after all had healed")?;
    report.gap = clients.gap();
    let events = clients.stop()?;
    report.tally = Tally::of(&events);
    let hashes = stage.tend_until(|stage| same_index(stage.settled()?)).context("after all had healed")?;
    let mut last = Vec::new();
    for member in 0..stage.members.len() {
        last.push(stage.tend_until(|stage| read(stage, member, zero))?);
    }
    writeln!(diary, "{:?}: {:?}", zero.elapsed(), report.tally)?;
    verdict::judge(&events, &last, zero)?;
    ensure!(hashes.windows(2).all(|pair| pair[0] == pair[1]), "members have different states: {hashes:?}");
    Ok(())
}

/// All faults of a round, each from its begin to its end.
fn play(
    plan: &Plan,
    round: usize,
    stage: &mut Stage,
    hits: &mut [bool],
    mut tell: impl FnMut(&str) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let begin = Instant::now();
    let mut acting: Vec<Option<Acting>> = plan.faults.iter().map(|_| None).collect();
    let mut over = vec![false; plan.faults.len()];
    // A lone fault needs no delay.
    let delay =
        |number: usize| if plan.faults.len() > 1 { plan.faults[number].delay } else { Duration::ZERO };
    while !over.iter().all(|over| *over) {
        for (number, fault) in plan.faults.iter().enumerate() {
            let at = begin.elapsed();
            match acting[number].take() {
                None if !over[number] && at >= delay(number) => {
                    let begun = Acting::begin(number, fault, round, stage)?;
                    tell(&begun.said)?;
                    acting[number] = Some(begun);
                }
                Some(ending) if at >= delay(number) + fault.lasts => {
                    hits[number] |= ending.end(stage)?;
                    over[number] = true;
                    tell(&format!("{} is over", fault.kind))?;
                }
                Some(mut going_on) => {
                    going_on.go_on(stage)?;
                    acting[number] = Some(going_on);
                }
                None => {}
            }
        }
        stage.tend(TICK)?;
    }
    Ok(())
}

/// Whatever was done is taken back; the members have to do the rest.
fn heal(stage: &mut Stage) -> anyhow::Result<()> {
    stage.cuts.clear();
    stage.apply_cuts()?;
    for member in &mut stage.members {
        member.signal(Signal::CONT);
        member.wake();
    }
    stage.tend_until(|stage| stage.settled()).context("after all had healed")?;
    Ok(())
}

fn enough(clients: &Clients, wanted: u64) -> anyhow::Result<()> {
    let acknowledged = clients.acknowledged();
    ensure!(acknowledged >= wanted, "{acknowledged} writes are acknowledged, not {wanted}");
    Ok(())
}

/// Members at one index have one state.
fn same_index(hashes: Vec<(u64, String)>) -> anyhow::Result<Vec<(u64, String)>> {
    ensure!(
        hashes.windows(2).all(|pair| pair[0].0 == pair[1].0),
        "members are at different entries: {hashes:?}"
    );
    Ok(hashes)
}

fn read(stage: &Stage, member: usize, zero: Instant) -> anyhow::Result<Last> {
    let (http, base) = (Http::default(), &stage.bases()[member]);
    let begin = zero.elapsed();
    let shared = stage.ask(http.list(base, SHARED))?;
    let once = stage.ask(http.list(base, ONCE))?;
    Ok(Last { member, time: (begin, zero.elapsed()), shared, once })
}
