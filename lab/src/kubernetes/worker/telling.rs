//! What a worker tells of an experiment, while it goes on and when it is over: in its status, by events, and with its results.

use holdfast_api::kind::{ExperimentPhase, FaultExperimentStatus};
use holdfast_api::names::LAB;
use holdfast_api::{FaultExperiment, names};
use k8s_openapi::jiff::Timestamp;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Api, ResourceExt as _};
use tokio::sync::watch;
use tracing::{error, warn};

use super::{Progress, Worker};
use crate::kubernetes::results::{Kept, ResultsError, reference};
use crate::kubernetes::status::{Account, status, write};
use crate::kubernetes::{asked, chain};
use crate::{Plan, Run};

/// Longest text of an event, as the API server takes it, in bytes.
const NOTE_BYTES_MAX: usize = 1000;

impl Worker {
    /// Tells an experiment that has not begun what it waits for, if it was not told so before.
    pub(super) async fn tell_waiting(&self, experiment: &FaultExperiment, message: String) {
        let begun =
            |status: &FaultExperimentStatus| status.phase.unwrap_or_default() != ExperimentPhase::Pending;
        let told = |status: &FaultExperimentStatus| status.message.as_ref() == Some(&message);
        if experiment.status.as_ref().is_some_and(|status| begun(status) || told(status)) {
            return;
        }
        let account = Account {
            phase: ExperimentPhase::Pending,
            reason: "Waiting",
            message: message.clone(),
            runs: &[],
            failed: 0,
            results: None,
        };
        let plan = asked::plan(experiment).ok();
        let before = FaultExperimentStatus::default();
        let status = status(experiment, &before, plan.as_ref(), &account, Timestamp::now());
        if let Err(problem) = write(&self.client, experiment, &status).await {
            warn!(problem = chain(&problem), "cannot write a status");
        }
    }

    /// Writes results and status whenever something has changed. Ends only when the results cannot be kept.
    pub(super) async fn tell_on(
        &self,
        experiment: &FaultExperiment,
        plan: &Plan,
        kept: &mut Kept,
        mut progress: watch::Receiver<Progress>,
    ) -> String {
        let mut written = usize::MAX;
        let mut begun = false;
        loop {
            let now = progress.borrow_and_update().clone();
            if now.runs.len() != written && !now.runs.is_empty() {
                match kept.write(&crate::results::to_csv(&now.runs)).await {
                    Ok(()) => written = now.runs.len(),
                    // It is tried again with the next run.
                    Err(problem @ ResultsError::Refused { .. }) => {
                        warn!(problem = chain(&problem), "cannot keep the results; it is tried again");
                    }
                    Err(problem) => return chain(&problem),
                }
            }
            let account = Account {
                phase: ExperimentPhase::Running,
                reason: "Measuring",
                message: now.message.clone(),
                runs: &now.runs,
                failed: now.failed,
                results: (!now.runs.is_empty()).then(|| kept.name.clone()),
            };
            if begun {
                self.tell_quietly(experiment, Some(plan), &account).await;
            } else {
                begun = true;
                self.tell(experiment, Some(plan), &account).await;
            }
            if progress.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    pub(super) async fn end(
        &self,
        experiment: &FaultExperiment,
        plan: Option<&Plan>,
        runs: &[Run],
        failed: usize,
        reason: &'static str,
        message: String,
    ) {
        error!(experiment = experiment.name_any(), reason, message, "cannot be carried out");
        let phase = ExperimentPhase::Failed;
        self.tell(experiment, plan, &Account { phase, reason, message, runs, failed, results: None }).await;
    }

    /// Writes the status, and an event about it.
    pub(super) async fn tell(
        &self,
        experiment: &FaultExperiment,
        plan: Option<&Plan>,
        account: &Account<'_>,
    ) {
        self.tell_quietly(experiment, plan, account).await;
        let (type_, reason) = match account.phase {
            ExperimentPhase::Failed => (EventType::Warning, account.reason),
            ExperimentPhase::Complete => (EventType::Normal, account.reason),
            ExperimentPhase::Running | ExperimentPhase::Pending => (EventType::Normal, "Started"),
        };
        let mut note = match plan {
            Some(plan) if reason == "Started" => {
                let (configurations, runs) = (plan.configurations.len(), plan.runs);
                format!(
                    "{configurations} configurations are measured {runs} times each; {} runs are there already",
                    account.runs.len()
                )
            }
            _ => account.message.clone(),
        };
        note.truncate(note.floor_char_boundary(NOTE_BYTES_MAX));
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(note),
            action: "Experiment".to_owned(),
            secondary: None,
        };
        let reporter = Reporter { controller: LAB.to_owned(), instance: Some(self.instance.clone()) };
        let recorder = Recorder::new(self.client.clone(), reporter);
        if let Err(problem) = recorder.publish(&event, &reference(experiment)).await {
            warn!(problem = chain(&problem), reason, "cannot write an event");
        }
    }

    /// Writes the status. One that cannot be written is written with the next change.
    async fn tell_quietly(&self, experiment: &FaultExperiment, plan: Option<&Plan>, account: &Account<'_>) {
        let api: Api<FaultExperiment> =
            Api::namespaced(self.client.clone(), &experiment.namespace().unwrap_or_default());
        // Times of what has happened before are in the status that is there.
        let before = match api.get_opt(&experiment.name_any()).await {
            Ok(Some(now)) => now.status.unwrap_or_default(),
            Ok(None) => return,
            Err(_) => experiment.status.clone().unwrap_or_default(),
        };
        let status = status(experiment, &before, plan, account, Timestamp::now());
        if let Err(problem) = write(&self.client, experiment, &status).await {
            warn!(problem = chain(&problem), kind = names::EXPERIMENT_KIND, "cannot write a status");
        }
    }
}
