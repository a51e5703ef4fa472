//! `holdfast experiment plan`: what would be measured, and what of it the results have already.

use std::io::{self, Write};

use holdfast_lab::Plan;
use holdfast_lab::results;

use super::planned;
use crate::arguments::ExperimentPlan;
use crate::exit::{Exit, Failure};
use crate::output::print;
use crate::table::lines;

/// Shows a plan. As YAML it is a file for `-f`.
///
/// # Errors
/// The plan or the results are wrong.
pub(super) fn run(arguments: &ExperimentPlan) -> Result<Exit, Failure> {
    let plan = planned::of(&arguments.planned)?;
    let path = &arguments.planned.results;
    let done = match path.exists() {
        true => {
            results::read(path)
                .map_err(|error| {
                    Failure::general(format!("{}: {}", path.display(), crate::exit::chain(&error)))
                })?
                .runs
        }
        false => Vec::new(),
    };
    let done =
        |name: &str| done.iter().filter(|run| run.config_name == name && run.run_id <= plan.runs).count();
    print(arguments.printed.output, &plan, |out| table(&plan, done, &path.display().to_string(), out))?;
    Ok(Exit::Ok)
}

fn table(plan: &Plan, done: impl Fn(&str) -> usize, results: &str, out: &mut dyn Write) -> io::Result<()> {
    let rows = plan
        .configurations
        .iter()
        .map(|one| [one.name.clone(), one.full_name(), plan.runs.to_string(), done(&one.name).to_string()]);
    for line in lines(["NAME", "CONFIGURATION", "RUNS", "DONE"], rows) {
        writeln!(out, "{line}")?;
    }
    let protocol = &plan.protocol;
    let checkpoint =
        if protocol.trigger_checkpoint { "after a checkpoint" } else { "without a checkpoint before" };
    let nodes = match protocol.failure_type {
        holdfast_lab::FailureKind::NodeCount => format!(" ({})", protocol.node_count),
        _ => String::new(),
    };
    let missing: usize = plan
        .configurations
        .iter()
        .map(|one| plan.runs as usize - done(&one.name).min(plan.runs as usize))
        .sum();
    writeln!(
        out,
        "\nEvery run: {} items, failure {}{nodes} {checkpoint}, {} clients writing meanwhile, seed {}.\n\
         {missing} of {} runs are missing in {results}.",
        protocol.items,
        protocol.failure_type,
        protocol.writers,
        protocol.seed,
        plan.configurations.len() * plan.runs as usize,
    )
}
