//! Carries out `FaultExperiment`s, one after the other, the oldest first: two at once would measure each other.
//!
//! It keeps nothing that must survive it: which runs are measured is in the ConfigMap with the results, which stores there are, in the cluster. A
//! worker that starts again goes on where the one before was killed. It refuses to run beside another one; its Deployment sees to that.

mod telling;

use std::future::Future;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use holdfast_api::FaultExperiment;
use holdfast_api::kind::ExperimentPhase;
use holdfast_figures::Machine;
use kube::api::ListParams;
use kube::core::DeserializeGuard;
use kube::{Api, Client, ResourceExt as _};
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::{info, warn};

use super::results::Kept;
use super::status::Account;
use super::turns::Turns;
use super::{Pods, asked, chain};
use crate::batch::{self, Ended};
use crate::results::Journal;
use crate::{Plan, Run, RunMetrics};

/// How often the API server is asked for experiments, and whether the one under way is still wanted.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long sweeping up may take when an experiment ends early. What is left, Kubernetes or the next worker takes away.
const SWEEP_MAX: Duration = Duration::from_secs(10);
/// How often all missing runs are tried: a run that measured nothing gets a second chance when all others are done.
const PASSES: u32 = 2;

/// What carries out experiments.
pub struct Worker {
    /// The way to the API server.
    pub client: Client,
    /// The only namespace that is looked at; `None` is all.
    pub namespace: Option<String>,
    /// This program's image, for the knives.
    pub image: String,
    /// Where results are while they are measured; a folder that nobody else writes to.
    pub scratch: PathBuf,
    /// This process's name, for events.
    pub instance: String,
    /// What is counted.
    pub metrics: RunMetrics,
    /// Who else measures.
    pub turns: Turns,
}

/// How far the experiment under way is, for whoever tells of it.
#[derive(Clone, Debug, Default)]
struct Progress {
    runs: Vec<Run>,
    failed: usize,
    message: String,
}

/// How an experiment ended.
enum Outcome {
    /// This worker is to stop; the next one goes on.
    Stopped,
    /// Somebody deleted it.
    Deleted,
    /// It is over, one way or the other.
    Over(ExperimentPhase, &'static str, String),
}

impl Worker {
    /// Works until `ending` becomes true.
    pub async fn work(&self, mut ending: watch::Receiver<bool>) {
        let mut told = String::new();
        loop {
            match self.next().await {
                Ok(Some(experiment)) => match self.turns.experiment(&whose(&experiment)) {
                    Ok(_turn) => self.carry_out(&experiment, ending.clone()).await,
                    Err(why) => self.tell_waiting(&experiment, why).await,
                },
                Ok(None) => told.clear(),
                Err(problem) => {
                    let problem = chain(&problem);
                    if problem != told {
                        warn!(problem, "cannot look for experiments; it is tried again");
                        told = problem;
                    }
                }
            }
            tokio::select! {
                () = sleep(LOOK_EVERY) => {}
                _ = ending.wait_for(|ending| *ending) => return,
            }
        }
    }

    /// The experiment whose turn it is; the others are told that they wait.
    async fn next(&self) -> Result<Option<FaultExperiment>, kube::Error> {
        let api: Api<DeserializeGuard<FaultExperiment>> = match &self.namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        };
        let mut all = Vec::new();
        for guard in api.list(&ListParams::default()).await?.items {
            match guard.0 {
                Ok(experiment) => all.push(experiment),
                Err(invalid) => warn!(
                    experiment = invalid.metadata.name,
                    error = invalid.error,
                    "an experiment cannot be read; is its definition another version's?"
                ),
            }
        }
        let phase = |experiment: &FaultExperiment| {
            experiment.status.as_ref().and_then(|status| status.phase).unwrap_or_default()
        };
        self.metrics
            .set_experiments(|name| all.iter().filter(|one| format!("{:?}", phase(one)) == name).count());
        let mut open: Vec<FaultExperiment> = all
            .into_iter()
            .filter(|one| !phase(one).is_final() && one.metadata.deletion_timestamp.is_none())
            .collect();
        // The one that has begun goes on first, whoever began it.
        open.sort_by_key(|one| {
            (
                phase(one) != ExperimentPhase::Running,
                one.creation_timestamp(),
                one.namespace(),
                one.name_any(),
            )
        });
        let mut open = open.into_iter();
        let first = open.next();
        if let Some(first) = &first {
            let why = format!("{} is measured first; two at once would disturb each other", whose(first));
            for other in open {
                self.tell_waiting(&other, why.clone()).await;
            }
        }
        Ok(first)
    }

    async fn carry_out(&self, experiment: &FaultExperiment, ending: watch::Receiver<bool>) {
        let name = whose(experiment);
        info!(experiment = name, "begins");
        let plan = match asked::plan(experiment) {
            Ok(plan) => plan,
            Err(invalid) => {
                return self.end(experiment, None, &[], 0, "InvalidSpec", chain(&invalid)).await;
            }
        };
        let mut kept = Kept::of(&self.client, experiment);
        let before = match kept.read().await {
            Ok(before) => before,
            Err(problem @ super::results::ResultsError::Foreign { .. }) => {
                return self.end(experiment, Some(&plan), &[], 0, "NameTaken", chain(&problem)).await;
            }
            // It is tried again in a moment.
            Err(problem) => return warn!(problem = chain(&problem), "cannot read the results"),
        };
        let progress = watch::Sender::new(Progress::default());
        let outcome = self.measure(experiment, &plan, &mut kept, &before, &progress, ending).await;
        self.metrics.set_under_way(false);
        self.metrics.set_missing(0);
        let progress = progress.borrow().clone();
        match outcome {
            Outcome::Stopped => info!(experiment = name, "stopped; the next lab goes on"),
            Outcome::Deleted => info!(experiment = name, "was deleted"),
            Outcome::Over(phase, reason, message) => {
                info!(experiment = name, ?phase, message, "is over");
                let account = Account {
                    phase,
                    reason,
                    message,
                    runs: &progress.runs,
                    failed: progress.failed,
                    results: Some(kept.name.clone()),
                };
                self.tell(experiment, Some(&plan), &account).await;
            }
        }
    }

    /// Measures every missing run, and tells how it goes meanwhile.
    async fn measure(
        &self,
        experiment: &FaultExperiment,
        plan: &Plan,
        kept: &mut Kept,
        before: &str,
        progress: &watch::Sender<Progress>,
        mut ending: watch::Receiver<bool>,
    ) -> Outcome {
        let failed = |reason, error: &dyn std::error::Error| {
            Outcome::Over(ExperimentPhase::Failed, reason, chain(error))
        };
        let pods = match Pods::new(self.client.clone(), experiment, self.image.clone()) {
            Ok(pods) => pods,
            Err(error) => return failed("LabDefect", &error),
        };
        let mut journal = match self.journal(experiment, plan, before) {
            Ok(journal) => journal,
            Err(problem) => return Outcome::Over(ExperimentPhase::Failed, "ResultsUnreadable", problem),
        };
        progress.send_modify(|progress| progress.runs = journal.runs().to_vec());
        let outcome = {
            let telling = pin!(self.tell_on(experiment, plan, kept, progress.subscribe()));
            let wanted = pin!(self.until_unwanted(experiment));
            let ended = pin!(ending.wait_for(|ending| *ending));
            let stop = async {
                tokio::select! {
                    biased;
                    _ = ended => Outcome::Stopped,
                    () = wanted => Outcome::Deleted,
                    problem = telling => Outcome::Over(ExperimentPhase::Failed, "ResultsNotKept", problem),
                }
            };
            self.passes(plan, &mut journal, &pods, progress, stop).await
        };
        match &outcome {
            Outcome::Stopped | Outcome::Deleted => {
                let swept = tokio::time::timeout(SWEEP_MAX, pods.stores.sweep()).await;
                if !matches!(swept, Ok(Ok(()))) {
                    warn!("stores of {} may be left; they go with it", experiment.name_any());
                }
            }
            Outcome::Over(..) => {
                let _ = tokio::time::timeout(SWEEP_MAX, pods.stores.sweep()).await;
                // The last rows; what went wrong with earlier ones is the outcome already.
                if let Err(problem) = kept.write(&csv(&journal)).await
                    && let Outcome::Over(ExperimentPhase::Complete, ..) = outcome
                {
                    return failed("ResultsNotKept", &problem);
                }
            }
        }
        outcome
    }

    /// Goes through all missing runs until none is missing, or it makes no sense any more.
    async fn passes(
        &self,
        plan: &Plan,
        journal: &mut Journal,
        pods: &Pods,
        progress: &watch::Sender<Progress>,
        stop: impl Future<Output = Outcome>,
    ) -> Outcome {
        let mut stop = pin!(stop);
        let mut stopped = None;
        let mut last_error = String::new();
        for _ in 0..PASSES {
            // What failed before is tried again.
            progress.send_modify(|progress| progress.failed = 0);
            let missing = journal.missing().len();
            let mut left = missing;
            let watch = |event: batch::Event<'_>| self.count(&event, &mut left, &mut last_error, progress);
            let ended =
                batch::run(plan, journal, pods, watch, async { stopped = Some((&mut stop).await) }).await;
            if let Some(outcome) = stopped {
                return outcome;
            }
            match ended {
                Ok(Ended::Complete) => {
                    let all = journal.runs().len();
                    return Outcome::Over(
                        ExperimentPhase::Complete,
                        "AllRunsMeasured",
                        format!("all {all} runs are measured"),
                    );
                }
                // Nothing was measured at all: another pass will not either.
                Ok(Ended::Incomplete { missing: still }) if still == missing => break,
                Ok(_) => {}
                Err(problem) => {
                    return Outcome::Over(ExperimentPhase::Failed, "ResultsNotKept", chain(&problem));
                }
            }
        }
        let missing = journal.missing().len();
        let message = format!("{missing} runs measured nothing; the last of them: {last_error}");
        Outcome::Over(ExperimentPhase::Failed, "RunsFailed", message)
    }

    /// Takes what happens in a batch into the progress and the metrics.
    fn count(
        &self,
        event: &batch::Event<'_>,
        left: &mut usize,
        last_error: &mut String,
        progress: &watch::Sender<Progress>,
    ) {
        match event {
            batch::Event::Begin { configuration, run_id } => {
                self.metrics.set_under_way(true);
                self.metrics.set_missing(*left);
                let message = format!("measuring run {run_id} of {}", configuration.name);
                progress.send_modify(|progress| progress.message = message);
            }
            batch::Event::Done { configuration, run, left: time } => {
                *left = left.saturating_sub(1);
                self.metrics.set_missing(*left);
                self.metrics.measured(configuration, &run.measurement);
                info!(
                    configuration = run.config_name,
                    run = run.run_id,
                    recovery_seconds = run.measurement.recovery_time_seconds,
                    recovered_percent = run.measurement.data_recovery_rate,
                    seconds_left = time.map(|time| time.as_secs()),
                    "measured"
                );
                progress.send_modify(|progress| progress.runs.push((*run).clone()));
            }
            batch::Event::Failed { configuration, run_id, error } => {
                self.metrics.failed(configuration);
                *last_error = chain(*error);
                warn!(
                    configuration = configuration.name,
                    run = run_id,
                    error = last_error,
                    "measured nothing"
                );
                progress.send_modify(|progress| progress.failed += 1);
            }
        }
    }

    /// The journal of a batch, with what was measured before.
    fn journal(&self, experiment: &FaultExperiment, plan: &Plan, before: &str) -> Result<Journal, String> {
        let path = self.scratch.join(format!("{}.csv", experiment.uid().unwrap_or_default()));
        let problem =
            |error: &dyn std::error::Error| format!("cannot use {}: {}", path.display(), chain(error));
        // What the cluster has is the truth; this file may be of an earlier life.
        if before.is_empty() {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(problem(&error)),
                _ => {}
            }
        } else {
            std::fs::write(&path, before).map_err(|error| problem(&error))?;
        }
        // Machine and plan of an earlier life say nothing: the pods are elsewhere, and the spec cannot change.
        let _ = std::fs::remove_file(crate::results::Record::path_beside(&path));
        let machine = Machine::read(&self.scratch).map_err(|error| problem(&error))?;
        Journal::open(&path, plan, machine, env!("CARGO_PKG_VERSION")).map_err(|error| problem(&error))
    }

    /// Waits until an experiment is deleted, or is another one of the same name.
    async fn until_unwanted(&self, experiment: &FaultExperiment) {
        let api: Api<FaultExperiment> =
            Api::namespaced(self.client.clone(), &experiment.namespace().unwrap_or_default());
        loop {
            sleep(LOOK_EVERY).await;
            match api.get_metadata_opt(&experiment.name_any()).await {
                Ok(Some(now))
                    if now.uid() == experiment.uid() && now.metadata.deletion_timestamp.is_none() => {}
                Ok(_) => return,
                Err(problem) => {
                    warn!(problem = chain(&problem), "cannot see whether the experiment is still wanted")
                }
            }
        }
    }
}

fn whose(experiment: &FaultExperiment) -> String {
    format!("{}/{}", experiment.namespace().unwrap_or_default(), experiment.name_any())
}

fn csv(journal: &Journal) -> String {
    crate::results::to_csv(journal.runs())
}

#[cfg(test)]
mod tests;
