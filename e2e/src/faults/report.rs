//! Many runs, and the table of what they came to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{fmt, fs};

use super::plan::{Kind, Plan};
use super::run::{self, Report};
use super::verdict::Tally;
use super::{interrupt, stage};

/// Which runs.
#[derive(Clone, Debug)]
pub struct Series {
    /// The first run's seed; each further run has the next one.
    pub seed: u64,
    /// How many.
    pub runs: usize,
    /// No run begins later than this after the first.
    pub time_max: Duration,
    /// How many at once.
    pub jobs: usize,
    /// The kinds of the first fault of each run.
    pub kinds: Vec<Kind>,
    /// Whether an authority decides who leads in these stores, not a majority.
    pub in_sync: bool,
    /// `holdfast-sidecar`.
    pub program: PathBuf,
    /// Keep the folders of runs that went well too.
    pub keep: bool,
}

/// What a series came to. Its display is the table.
#[derive(Debug, Default)]
pub struct Summary {
    rows: BTreeMap<Kind, Row>,
    total: Row,
    two_at_once: usize,
    /// The runs that failed.
    pub failures: Vec<Report>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Row {
    runs: usize,
    /// Runs in which it came to something.
    hit: usize,
    /// How often it was done.
    times: usize,
    restarts: usize,
    tally: Tally,
    gap: Duration,
    failed: usize,
}

impl Series {
    /// Run all; `tell` hears of each run when it is over.
    pub fn run(&self, tell: impl Fn(usize, &Report) + Sync) -> Summary {
        let (next, begin, summary) = (AtomicUsize::new(0), Instant::now(), Mutex::new(Summary::default()));
        let work = || {
            while begin.elapsed() < self.time_max && !interrupt::raised() {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= self.runs {
                    return;
                }
                let plan = Plan::draw(self.seed.wrapping_add(number as u64), &self.kinds, self.in_sync);
                let folder = folder_of(number, &plan);
                let report = run::run(&plan, number, &folder, &self.program);
                if report.failure.is_none() && !self.keep {
                    let _ = fs::remove_dir_all(&folder);
                }
                let mut summary = summary.lock().expect("nobody panics while holding this");
                if interrupt::raised() {
                    return;
                }
                summary.add(report, |done, report| tell(done, report));
            }
        };
        std::thread::scope(|scope| (0..self.jobs).for_each(|_| drop(scope.spawn(work))));
        summary.into_inner().expect("nobody panics while holding this")
    }
}

impl Summary {
    /// Runs that are over.
    pub fn runs(&self) -> usize {
        self.total.runs
    }

    fn add(&mut self, report: Report, tell: impl FnOnce(usize, &Report)) {
        self.total.add(&report);
        self.two_at_once += usize::from(report.plan.faults.len() > 1);
        for fault in &report.plan.faults {
            self.rows.entry(fault.kind).or_default().add(&report);
        }
        tell(self.total.runs, &report);
        if report.failure.is_some() {
            self.failures.push(report);
        }
    }
}

impl Row {
    fn add(&mut self, report: &Report) {
        self.runs += 1;
        self.hit += usize::from(report.hit);
        self.times += report.plan.rounds;
        self.restarts += report.restarts;
        self.tally.add(report.tally);
        self.gap = self.gap.max(report.gap);
        self.failed += usize::from(report.failure.is_some());
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| fault | runs | hit | times | restarts | requests | acknowledged | unknown | longest gap | failed |\n\
             |---|---|---|---|---|---|---|---|---|---|"
        )?;
        let rows = self.rows.iter().map(|(kind, row)| (kind.name(), row));
        for (name, row) in rows.chain([("all runs", &self.total)]) {
            let Row { runs, hit, times, restarts, tally, gap, failed } = row;
            let Tally { acknowledged, unknown, .. } = tally;
            let requests = tally.operations();
            writeln!(
                f,
                "| {name} | {runs} | {hit} | {times} | {restarts} | {requests} | {acknowledged} | {unknown} | {gap:.1?} | {failed} |"
            )?;
        }
        writeln!(f, "{} of {} runs had two faults at once.", self.two_at_once, self.total.runs)?;
        for report in &self.failures {
            let failure = report.failure.as_deref().unwrap_or_default();
            writeln!(f, "FAILED {}: {failure}\n  logs and data: {}", report.plan, report.folder.display())?;
        }
        Ok(())
    }
}

fn folder_of(number: usize, plan: &Plan) -> PathBuf {
    let name = format!("{}-{number}-seed-{}", std::process::id(), plan.seed);
    Path::new(&stage::folder()).join(name)
}
