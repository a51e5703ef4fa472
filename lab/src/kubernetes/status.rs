//! What a `FaultExperiment` says of its progress: a pure account of what was measured, and how it is written down.

use holdfast_api::FaultExperiment;
use holdfast_api::kind::{ConfigurationSummary, ExperimentPhase, FaultExperimentStatus};
use holdfast_api::names::{API_VERSION, EXPERIMENT_KIND};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;

use super::FIELD_MANAGER;
use crate::statistics::{Sample, Summary};
use crate::{Plan, Run};

/// Longest message, as the kind has it, in characters.
const MESSAGE_CHARS_MAX: usize = 1024;

/// How far an experiment is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Account<'a> {
    pub(super) phase: ExperimentPhase,
    /// In CamelCase.
    pub(super) reason: &'static str,
    /// For a person.
    pub(super) message: String,
    pub(super) runs: &'a [Run],
    pub(super) failed: usize,
    /// The name of the results, once there are any.
    pub(super) results: Option<String>,
}

/// The status that says so. `plan` is `None` if there is none.
pub(super) fn status(
    experiment: &FaultExperiment,
    before: &FaultExperimentStatus,
    plan: Option<&Plan>,
    account: &Account<'_>,
    now: Timestamp,
) -> FaultExperimentStatus {
    let Account { phase, reason, message, runs, failed, results } = account;
    let all = plan.map_or(0, |plan| plan.configurations.len() * plan.runs as usize);
    let message: String = message.chars().take(MESSAGE_CHARS_MAX).collect();
    let begun = *phase != ExperimentPhase::Pending && plan.is_some();
    FaultExperimentStatus {
        observed_generation: experiment.metadata.generation,
        phase: Some(*phase),
        progress: plan.map(|_| format!("{}/{all}", runs.len())),
        completed_runs: i32::try_from(runs.len()).unwrap_or(i32::MAX),
        failed_runs: i32::try_from(*failed).unwrap_or(i32::MAX),
        start_time: before.start_time.clone().or_else(|| begun.then_some(Time(now))),
        completion_time: before.completion_time.clone().or_else(|| phase.is_final().then_some(Time(now))),
        results: results.clone().or_else(|| before.results.clone()),
        summary: plan.map(|plan| summary(plan, runs)).unwrap_or_default(),
        conditions: conditions(experiment, before, *phase, reason, &message, now),
        message: Some(message),
    }
}

fn summary(plan: &Plan, runs: &[Run]) -> Vec<ConfigurationSummary> {
    let of = |name: &str| {
        let theirs = || runs.iter().filter(|run| run.config_name == name).map(|run| &run.measurement);
        let times = Sample::new(theirs().map(|found| found.recovery_time_seconds).collect()).ok()?;
        let rates = Sample::new(theirs().map(|found| found.data_recovery_rate).collect()).ok()?;
        let summary = Summary::of(&times);
        Some(ConfigurationSummary {
            name: name.to_owned(),
            runs: i32::try_from(summary.count).unwrap_or(i32::MAX),
            mean_seconds: to_the_microsecond(summary.mean),
            p50_seconds: to_the_microsecond(summary.median),
            p95_seconds: to_the_microsecond(summary.p95),
            recovered_percent: (rates.mean() * 100.0).round() / 100.0,
        })
    };
    plan.configurations.iter().filter_map(|configuration| of(&configuration.name)).collect()
}

/// No digit below is measured; the CSV has them all.
fn to_the_microsecond(seconds: f64) -> f64 {
    (seconds * 1e6).round() / 1e6
}

fn conditions(
    experiment: &FaultExperiment,
    before: &FaultExperimentStatus,
    phase: ExperimentPhase,
    reason: &str,
    message: &str,
    now: Timestamp,
) -> Vec<Condition> {
    let is = |type_: &str| match type_ {
        "Complete" => phase == ExperimentPhase::Complete,
        "Failed" => phase == ExperimentPhase::Failed,
        _ => phase == ExperimentPhase::Running,
    };
    let condition = |type_: &str| {
        let status = if is(type_) { "True" } else { "False" };
        let known = before.conditions.iter().find(|known| known.type_ == type_ && known.status == status);
        Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: message.to_owned(),
            observed_generation: experiment.metadata.generation,
            last_transition_time: known.map_or(Time(now), |known| known.last_transition_time.clone()),
        }
    };
    ["Complete", "Failed", "Progressing"].map(condition).into()
}

/// Writes a status. One of an experiment that is gone is not written, and that is no error.
///
/// # Errors
/// The API server refuses it, or cannot be reached.
pub(super) async fn write(
    client: &Client,
    experiment: &FaultExperiment,
    status: &FaultExperimentStatus,
) -> Result<(), kube::Error> {
    let (name, namespace) = (experiment.name_any(), experiment.namespace().unwrap_or_default());
    let api: Api<FaultExperiment> = Api::namespaced(client.clone(), &namespace);
    let patch = json!({
        "apiVersion": API_VERSION,
        "kind": EXPERIMENT_KIND,
        // The uid makes the API server refuse the status of an experiment that was deleted and made again.
        "metadata": {"name": name, "uid": experiment.uid()},
        "status": status,
    });
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    match api.patch_status(&name, &parameters, &Patch::Apply(&patch)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Configuration, Measurement};

    fn run(name: &Configuration, run_id: u32, seconds: f64, rate: f64) -> Run {
        let found = Measurement {
            recovery_time_seconds: seconds,
            data_recovery_rate: rate,
            ..Measurement::default()
        };
        Run::new(name, run_id, Timestamp::UNIX_EPOCH, found)
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).expect("a time")
    }

    #[test]
    fn progress_and_summary_follow_from_the_runs() {
        let plan = Plan { runs: 2, ..Plan::default() };
        let (baseline, replication) = (Configuration::baseline(), Configuration::replication(3));
        let runs = [
            run(&replication, 1, 0.002, 100.0),
            run(&baseline, 1, 1.5, 0.0),
            run(&replication, 2, 0.004, 99.0),
        ];
        let experiment = FaultExperiment::new("strategies", holdfast_api::FaultExperimentSpec::default());
        let account = Account {
            phase: ExperimentPhase::Running,
            reason: "Measuring",
            message: "x".repeat(2000),
            runs: &runs,
            failed: 1,
            results: None,
        };
        let first = status(&experiment, &FaultExperimentStatus::default(), Some(&plan), &account, at(10));
        assert_eq!(first.progress.as_deref(), Some("3/16"));
        assert_eq!((first.completed_runs, first.failed_runs), (3, 1));
        assert_eq!(first.message.as_deref().map(str::len), Some(1024));
        assert_eq!(first.start_time, Some(Time(at(10))));
        assert_eq!(first.completion_time, None);
        let names: Vec<&str> = first.summary.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["Baseline", "Replication_F3"], "in the plan's order, and only what was measured");
        let two = &first.summary[1];
        assert_eq!((two.runs, two.mean_seconds, two.p50_seconds), (2, 0.003, 0.003));
        assert_eq!((two.p95_seconds, two.recovered_percent), (0.0039, 99.5));

        let done = Account { phase: ExperimentPhase::Complete, ..account };
        let last = status(&experiment, &first, Some(&plan), &done, at(20));
        assert_eq!((last.start_time, last.completion_time), (Some(Time(at(10))), Some(Time(at(20)))));
        let condition = |type_: &str| last.conditions.iter().find(|one| one.type_ == type_).expect("there");
        assert_eq!(condition("Complete").status, "True");
        assert_eq!(condition("Progressing").status, "False");
        assert_eq!(condition("Complete").last_transition_time, Time(at(20)));
        assert_eq!(condition("Failed").last_transition_time, Time(at(10)), "it did not change");
    }

    #[test]
    fn what_has_not_begun_has_no_beginning() {
        let experiment = FaultExperiment::new("strategies", holdfast_api::FaultExperimentSpec::default());
        let account = Account {
            phase: ExperimentPhase::Pending,
            reason: "Waiting",
            message: "waits".into(),
            runs: &[],
            failed: 0,
            results: None,
        };
        let plan = Plan::default();
        let status = status(&experiment, &FaultExperimentStatus::default(), Some(&plan), &account, at(1));
        assert_eq!((status.start_time, status.progress.as_deref()), (None, Some("0/160")));
    }
}
