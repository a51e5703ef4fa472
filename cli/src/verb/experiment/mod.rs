//! `holdfast experiment`: strategies compared on real stores, one module per verb.

mod plan;
mod planned;
mod progress;
mod report;
pub mod run;

use crate::arguments::Experiment;
use crate::exit::{Exit, Failure};

/// Plans, measures or reports.
///
/// # Errors
/// The plan or the results are wrong, or a run could not be kept.
pub fn run(experiment: &Experiment) -> Result<Exit, Failure> {
    match experiment {
        Experiment::Run(run) => run::run(run),
        Experiment::Report(report) => report::run(report),
        Experiment::Plan(plan) => plan::run(plan),
    }
}
