//! `holdfast experiment report`: what results mean.

use std::io::Write as _;

use holdfast_lab::report::{Form, Report};
use holdfast_lab::results::{self, Record, ResultsError};

use crate::arguments::{ExperimentReport, ReportOutput};
use crate::exit::{Exit, Failure};
use crate::output::settle;
use crate::remark;

/// Prints a report.
///
/// # Errors
/// The results cannot be read, or there are none.
pub(super) fn run(arguments: &ExperimentReport) -> Result<Exit, Failure> {
    let path = &arguments.results;
    let wrong = |error: &(dyn std::error::Error + 'static)| {
        Failure::general(format!("{}: {}", path.display(), crate::exit::chain(error)))
    };
    let results = results::read(path).map_err(|error| match error {
        // It has the name in it.
        error @ ResultsError::Read { .. } => Failure::general(error),
        error => wrong(&error),
    })?;
    if let Some(line) = results.torn_line {
        remark(&format!(
            "line {line} of {} was cut off while it was written; it is left out",
            path.display()
        ));
    }
    // Results of others have no record, or something else under its name.
    let record = Record::read_beside(path).unwrap_or_else(|error| {
        remark(&format!("{}; the report does without it", crate::exit::chain(&error)));
        None
    });
    let report = Report::of(results.runs, record.as_ref()).map_err(|error| wrong(&error))?;
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
