//! What a `FaultExperiment` asks for, as a plan.

use holdfast_api::kind::{ExperimentConfiguration, FaultType};
use holdfast_api::{FaultExperiment, Violation, validate};

use crate::plan::PlanError;
use crate::{Configuration, FailureKind, Plan, Protocol};

/// Why an experiment cannot be carried out.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskedError {
    /// It breaks rules of its kind; a definition may be older than the lab.
    #[error("the experiment is invalid: {}", list(.0))]
    Kind(Vec<Violation>),
    /// It breaks rules of plans.
    #[error(transparent)]
    Plan(#[from] PlanError),
}

fn list(violations: &[Violation]) -> String {
    violations.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// The plan.
///
/// # Errors
/// Everything that is wrong.
pub(super) fn plan(experiment: &FaultExperiment) -> Result<Plan, AskedError> {
    let document = serde_json::to_value(experiment).expect("an experiment can always be written");
    validate::check_experiment(&document, None).map_err(AskedError::Kind)?;
    let spec = &experiment.spec;
    let plan = Plan {
        configurations: spec.configurations.iter().map(configuration).collect(),
        runs: spec.runs.into(),
        protocol: Protocol {
            items: spec.items,
            failure_type: failure(spec.failure_type),
            node_count: spec.node_count,
            trigger_checkpoint: spec.trigger_checkpoint,
            writers: spec.writers,
            seed: spec.seed.into(),
        },
    };
    plan.check()?;
    Ok(plan)
}

fn configuration(asked: &ExperimentConfiguration) -> Configuration {
    Configuration {
        name: asked.name.clone(),
        strategy: asked.strategy,
        replicas: asked.replicas,
        checkpoint_interval: asked.checkpoint_interval.or(asked.strategy.checkpoint_interval()),
        durability: asked.durability,
    }
}

fn failure(asked: FaultType) -> FailureKind {
    match asked {
        FaultType::Default => FailureKind::Default,
        FaultType::Leader => FailureKind::Leader,
        FaultType::Follower => FailureKind::Follower,
        FaultType::Partial => FailureKind::Partial,
        FaultType::Majority => FailureKind::Majority,
        FaultType::Total => FailureKind::Total,
        FaultType::Pause => FailureKind::Pause,
        FaultType::NodeCount => FailureKind::NodeCount,
        FaultType::PodKill => FailureKind::PodKill,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn experiment(spec: &str) -> FaultExperiment {
        let spec = serde_json::from_str(spec).expect("a spec");
        FaultExperiment::new("strategies", spec)
    }

    #[test]
    fn an_empty_experiment_is_the_default_plan() {
        assert_eq!(plan(&experiment("{}")).expect("valid"), Plan::default());
    }

    #[test]
    fn failures_have_the_names_that_results_have() {
        for name in FailureKind::ALL.map(FailureKind::name) {
            let Ok(asked) = serde_json::from_value::<FaultType>(name.into()) else { continue };
            assert_eq!(failure(asked).name(), name);
        }
    }

    /// `holdfast validate` asks the kind's rules alone: there must be none that only plans have.
    #[test]
    fn whatever_the_kind_takes_is_a_plan() {
        let cases: Vec<serde_json::Value> =
            serde_yaml::from_str(include_str!("../../../api/tests/rules.yaml")).expect("cases");
        let taken = |case: &&serde_json::Value| {
            case["kind"] == "FaultExperiment" && case["refused"].is_null() && case["old"].is_null()
        };
        let mut seen = 0;
        for case in cases.iter().filter(taken) {
            let experiment = experiment(&case["new"].to_string());
            plan(&experiment).unwrap_or_else(|error| panic!("{}: {error}", case["what"]));
            seen += 1;
        }
        assert!(seen > 0, "there is no case of an experiment that is taken");
    }

    #[test]
    fn what_breaks_rules_is_refused_with_all_of_them() {
        let spec = r#"{"runs": 0, "configurations": [{"name": "a", "strategy": "Baseline", "replicas": 3}]}"#;
        let error = plan(&experiment(spec)).expect_err("invalid").to_string();
        assert!(error.contains("spec.runs: 0 is less than 1") && error.contains("one member"), "{error}");
    }
}
