//! `holdfast experiment report`: what results mean.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;

use holdfast_lab::report::{Form, Report};
use holdfast_lab::results::{self, Record, ResultsError};
use holdfast_lab::{FailureKind, Run};

use crate::arguments::{ExperimentReport, ReportOutput};
use crate::exit::{Exit, Failure, chain};
use crate::output::settle;
use crate::remark;

/// Prints a report.
///
/// # Errors
/// The results cannot be read, or there are none, or a run is there twice.
pub(super) fn run(arguments: &ExperimentReport) -> Result<Exit, Failure> {
    let mut runs = Vec::new();
    for path in &arguments.results {
        runs.extend(read(path)?);
    }
    each_once(&runs)?;
    // A record says how one file came about.
    let record = match &arguments.results[..] {
        [path] => record(path),
        _ => None,
    };
    let report = Report::of(runs, record.as_ref()).map_err(Failure::general)?;
    let text = match arguments.output {
        ReportOutput::Table => report.render(Form::Terminal),
        ReportOutput::Markdown => report.render(Form::Markdown),
        ReportOutput::Html => report.render(Form::Html),
        ReportOutput::Json => {
            let json = serde_json::to_string_pretty(&report);
            json.map_err(|error| Failure::general(format!("the report cannot be written as JSON: {error}")))?
                + "\n"
        }
    };
    let mut out = std::io::stdout().lock();
    settle(out.write_all(text.as_bytes()).and_then(|()| out.flush()))?;
    Ok(Exit::Ok)
}

fn read(path: &Path) -> Result<Vec<Run>, Failure> {
    let results = results::read(path).map_err(|error| match error {
        // It has the name in it.
        error @ ResultsError::Read { .. } => Failure::general(error),
        error => Failure::general(format!("{}: {}", path.display(), chain(&error))),
    })?;
    if let Some(line) = results.torn_line {
        remark(&format!(
            "line {line} of {} was cut off while it was written; it is left out",
            path.display()
        ));
    }
    Ok(results.runs)
}

/// The same run in two files, or the same file twice, would count as two.
fn each_once(runs: &[Run]) -> Result<(), Failure> {
    let mut seen = BTreeSet::new();
    for run in runs {
        let measured = &run.measurement;
        let failure = measured.failure_type.map(FailureKind::name);
        if !seen.insert((&run.config_name, run.run_id, measured.data_items, failure)) {
            return Err(Failure::usage(format!(
                "run {} of {} is in two of the files: results of the same plan are no sample together; report on each by itself",
                run.run_id, run.config_name
            )));
        }
    }
    Ok(())
}

/// Results of others have no record, or something else under its name.
fn record(path: &Path) -> Option<Record> {
    Record::read_beside(path).unwrap_or_else(|error| {
        remark(&format!("{}; the report does without it", chain(&error)));
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_counts_once() {
        let text = "config_name,strategy,run_id,timestamp,recovery_time_seconds,data_recovery_rate,items_recovered,\
                    store_time_seconds\nBaseline,baseline,1,2026-01-31T12:00:00Z,0.25,0,0,0.001\n";
        let runs = results::parse(text.as_bytes()).expect("results").runs;
        each_once(&runs).expect("once");
        let error = each_once(&[runs.clone(), runs].concat()).expect_err("twice").to_string();
        assert!(error.contains("run 1 of Baseline"), "{error}");
    }
}
