//! What results come to: tables, plots, and a recommendation in plain words, for terminals, Markdown, browsers and programs.
//!
//! | part | does |
//! |---|---|
//! | [`Report`] | every figure, once; what `-o json` prints |
//! | `recommendation` | says which strategy is for what, from these figures alone |
//! | `circumstances` | keeps runs apart that cannot be compared as one: other sizes, other failures |
//! | `content` | puts it into words and tables, the same for every form |
//! | `terminal`, `markdown`, `html` | the forms |
//!
//! It refuses to know better than the results: nothing is recommended that was not measured.

mod circumstances;
mod content;
mod document;
mod figure;
mod html;
mod markdown;
mod recommendation;
mod terminal;

use holdfast_figures::Machine;
use jiff::Timestamp;
use serde::Serialize;

use crate::results::Record;
use crate::statistics::{Comparison, Sample, SampleError, Summary};
use crate::{Configuration, FailureKind, Protocol, Run};

use circumstances::Name;

pub use recommendation::{Purpose, Recommendation};

/// Everything that results come to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// How many runs.
    pub runs: usize,
    /// When the first of them ended.
    pub first: Timestamp,
    /// When the last of them ended.
    pub last: Timestamp,
    /// Which failures were injected; empty if the results do not say.
    pub failure_types: Vec<FailureKind>,
    /// What the record beside the results says, if there is one.
    pub provenance: Option<Provenance>,
    /// What was compared, in the order of the plan.
    pub configurations: Vec<Measured>,
    /// Recovery times by configuration.
    pub recovery: Comparison,
    /// Recovery times by strategy, as the protocol's scripts compare them.
    pub recovery_by_strategy: Comparison,
    /// What to choose.
    pub recommendations: Vec<Recommendation>,
    /// The runs that all of this is made of.
    #[serde(skip)]
    rows: Vec<Run>,
}

/// How results came about.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Provenance {
    /// Holdfast's versions, in the order they measured.
    pub versions: Vec<String>,
    /// The machines, in the order they measured.
    pub machines: Vec<Machine>,
    /// What was done to every store.
    pub protocol: Protocol,
    /// How many runs the plan has and the results have not.
    pub missing: usize,
    /// How many runs measured nothing.
    pub failed: usize,
}

/// A configuration's figures. Medians are over the runs that measured the figure, `None` if there are none.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measured {
    /// Its name, with what else tells it apart from the others.
    pub name: String,
    /// Its name alone.
    pub configuration: String,
    /// Its strategy's name, in small letters.
    pub strategy: String,
    /// What failed.
    pub failure_type: Option<FailureKind>,
    /// How many items were stored.
    pub data_items: Option<u64>,
    /// The strategy with its parameters, if the record has them.
    pub full_name: Option<String>,
    /// From the failure to the first verified read.
    pub recovery_seconds: Summary,
    /// Which share of the items came back, in percent, in the worst run.
    pub recovery_rate_worst: f64,
    /// The same on average.
    pub recovery_rate_mean: f64,
    /// In how many runs an item was lost.
    pub runs_with_loss: usize,
    /// How many writes under load were acknowledged, in all runs together.
    pub acknowledged_writes: Option<u64>,
    /// How many of them were lost.
    pub lost_acknowledged_writes: Option<u64>,
    /// The longest time without an acknowledged write under load: median.
    pub gap_seconds: Option<f64>,
    /// Storing all items: median.
    pub store_seconds: f64,
    /// Half of the writes took no longer: median.
    pub write_latency_p50_seconds: Option<f64>,
    /// 99 of 100 writes took no longer: median.
    pub write_latency_p99_seconds: Option<f64>,
    /// Bytes on the members' disks for one write: median.
    pub bytes_per_write: Option<f64>,
    /// How old the newest checkpoint was at the failure: median.
    pub checkpoint_age_seconds: Option<f64>,
    /// How many items nothing but the failed member had: the most.
    pub items_at_risk: Option<u64>,
    /// Whether a checkpoint was taken right before the failure, in any run.
    pub checkpoint_triggered: bool,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// No run.
    #[error("there are no runs to report on")]
    NoRuns,
    /// A figure that no run can have.
    #[error("a run of {config_name} has no time of recovery")]
    NoFigure {
        /// Whose run.
        config_name: String,
        /// Why.
        source: SampleError,
    },
}

/// How a report looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Tables for a terminal.
    Terminal,
    /// Markdown.
    Markdown,
    /// One page with everything in it.
    Html,
}

impl Report {
    /// What runs come to; `record` is that beside them.
    ///
    /// # Errors
    /// There are none, or one has no time.
    pub fn of(runs: Vec<Run>, record: Option<&Record>) -> Result<Report, ReportError> {
        let times = || runs.iter().map(|run| run.timestamp);
        let (Some(first), Some(last)) = (times().min(), times().max()) else {
            return Err(ReportError::NoRuns);
        };
        let provenance = record.map(|record| provenance(record, &runs));
        let (names, runs) = circumstances::tell_apart(runs, record);
        let groups = names.iter().map(|name| recovery_times(&runs, &name.label, |run| &run.config_name));
        let groups = groups.collect::<Result<Vec<_>, _>>()?;
        let strategies = in_order(runs.iter().map(|run| run.strategy.clone()));
        let by_strategy = strategies.iter().map(|name| recovery_times(&runs, name, |run| &run.strategy));
        let by_strategy = by_strategy.collect::<Result<Vec<_>, _>>()?;
        let configurations: Vec<Measured> = names
            .iter()
            .zip(&groups)
            .map(|(name, (_, sample))| measured(&runs, name, sample, record))
            .collect();
        let recovery = Comparison::of(&groups);
        let failure_types = runs.iter().filter_map(|run| run.measurement.failure_type);
        Ok(Report {
            runs: runs.len(),
            first,
            last,
            failure_types: in_order(failure_types),
            provenance,
            recommendations: recommendation::of(&configurations, &recovery),
            configurations,
            recovery,
            recovery_by_strategy: Comparison::of(&by_strategy),
            rows: runs,
        })
    }

    /// The report as a text.
    pub fn render(&self, form: Form) -> String {
        let blocks = content::of(self);
        match form {
            Form::Terminal => terminal::render(&blocks),
            Form::Markdown => markdown::render(&blocks),
            Form::Html => html::render(&blocks),
        }
    }
}

/// Each once, in the order they first appear.
fn in_order<T: PartialEq>(all: impl Iterator<Item = T>) -> Vec<T> {
    let mut seen = Vec::new();
    all.for_each(|one| {
        if !seen.contains(&one) {
            seen.push(one);
        }
    });
    seen
}

fn recovery_times(
    runs: &[Run],
    name: &str,
    of: fn(&Run) -> &String,
) -> Result<(String, Sample), ReportError> {
    let group = runs.iter().filter(|run| of(run) == name);
    let sample = Sample::new(group.map(|run| run.measurement.recovery_time_seconds).collect());
    let sample = sample.map_err(|source| ReportError::NoFigure { config_name: name.to_owned(), source })?;
    Ok((name.to_owned(), sample))
}

fn measured(runs: &[Run], name: &Name, recovery: &Sample, record: Option<&Record>) -> Measured {
    let runs: Vec<&Run> = runs.iter().filter(|run| run.config_name == name.label).collect();
    let all = || runs.iter().map(|run| &run.measurement);
    let sum = |figures: Vec<u64>| figures.into_iter().reduce(u64::saturating_add);
    let rates = || all().map(|run| run.data_recovery_rate);
    let mut planned = record.into_iter().flat_map(|record| &record.plan.configurations);
    let configuration = planned.find(|one| one.name == name.configuration);
    Measured {
        name: name.label.clone(),
        configuration: name.configuration.clone(),
        strategy: name.strategy.clone(),
        failure_type: name.failure_type,
        data_items: name.data_items,
        full_name: configuration.map(Configuration::full_name),
        recovery_seconds: Summary::of(recovery),
        recovery_rate_worst: rates().fold(100.0, f64::min),
        recovery_rate_mean: rates().sum::<f64>() / runs.len().max(1) as f64,
        runs_with_loss: rates().filter(|rate| *rate < 100.0).count(),
        acknowledged_writes: sum(all().filter_map(|run| run.acknowledged_writes).collect()),
        lost_acknowledged_writes: sum(all().filter_map(|run| run.lost_acknowledged_writes).collect()),
        gap_seconds: median(all().filter_map(|run| run.gap_seconds)),
        store_seconds: median(all().map(|run| run.store_time_seconds)).unwrap_or(0.0),
        write_latency_p50_seconds: median(all().filter_map(|run| run.write_latency_p50_seconds)),
        write_latency_p99_seconds: median(all().filter_map(|run| run.write_latency_p99_seconds)),
        bytes_per_write: median(all().filter_map(|run| run.bytes_per_write)),
        checkpoint_age_seconds: median(all().filter_map(|run| run.checkpoint_age_seconds)),
        items_at_risk: all().filter_map(|run| run.items_at_risk).max(),
        checkpoint_triggered: all().any(|run| run.checkpoint_triggered == Some(true)),
    }
}

fn median(figures: impl Iterator<Item = f64>) -> Option<f64> {
    Sample::new(figures.collect()).ok().map(|sample| sample.median())
}

fn provenance(record: &Record, runs: &[Run]) -> Provenance {
    let plan = &record.plan;
    let there = |configuration: usize, run_id| {
        let name = &plan.configurations[configuration].name;
        runs.iter().any(|run| run.run_id == run_id && run.config_name == *name)
    };
    Provenance {
        versions: in_order(record.sessions.iter().map(|session| session.version.clone())),
        machines: {
            let mut machines: Vec<Machine> =
                record.sessions.iter().map(|session| session.machine.clone()).collect();
            machines.dedup_by(|a, b| a.line() == b.line());
            machines
        },
        protocol: plan.protocol.clone(),
        missing: plan.order().into_iter().filter(|(one, run_id)| !there(*one, *run_id)).count(),
        failed: record.failed_runs.len(),
    }
}

#[cfg(test)]
mod tests;
