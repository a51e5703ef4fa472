//! `experiment.yaml`, with line and column of what cannot be read and every rule that is broken.

use holdfast_api::Violation;
use serde::Deserialize;

use super::{Plan, RUNS_DEFAULT};
use crate::protocol::ITEMS_DEFAULT;
use crate::{Configuration, FailureKind, Protocol};

/// Largest file: 32 configurations with room for comments.
pub const PLAN_BYTES_MAX: usize = 256 * 1024;

/// Why a text is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// More than [`PLAN_BYTES_MAX`].
    #[error("the plan has {bytes} bytes; {PLAN_BYTES_MAX} is the most")]
    TooLarge {
        /// How many.
        bytes: usize,
    },
    /// Not what a plan looks like; the cause knows line and column.
    #[error("the plan cannot be read{}", at(.field))]
    Malformed {
        /// The field; empty or a dot for the whole text.
        field: String,
        /// Why.
        source: serde_yaml::Error,
    },
    /// It breaks rules.
    #[error("the plan breaks rules:{}", lines(.0))]
    Invalid(Vec<Violation>),
}

fn at(field: &str) -> String {
    if field.is_empty() || field == "." { String::new() } else { format!(" at {field}") }
}

fn lines(violations: &[Violation]) -> String {
    violations.iter().map(|violation| format!("\n  {violation}")).collect()
}

/// The file's fields, all on one level: those of the protocol too.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct File {
    configurations: Vec<Configuration>,
    runs: u32,
    items: u32,
    failure_type: FailureKind,
    node_count: u8,
    trigger_checkpoint: bool,
    writers: u16,
    seed: u64,
}

impl Default for File {
    fn default() -> File {
        let Protocol { failure_type, node_count, trigger_checkpoint, writers, seed, .. } =
            Protocol::default();
        File {
            configurations: Configuration::defaults(),
            runs: RUNS_DEFAULT,
            items: ITEMS_DEFAULT,
            failure_type,
            node_count,
            trigger_checkpoint,
            writers,
            seed,
        }
    }
}

pub(super) fn parse(text: &str) -> Result<Plan, PlanError> {
    if text.len() > PLAN_BYTES_MAX {
        return Err(PlanError::TooLarge { bytes: text.len() });
    }
    // Nothing but comments is a plan too: that with every default.
    let empty = text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'));
    let file = if empty {
        File::default()
    } else {
        serde_path_to_error::deserialize(serde_yaml::Deserializer::from_str(text)).map_err(|error| {
            PlanError::Malformed { field: error.path().to_string(), source: error.into_inner() }
        })?
    };
    let File { configurations, runs, items, failure_type, node_count, trigger_checkpoint, writers, seed } =
        file;
    let protocol = Protocol { items, failure_type, node_count, trigger_checkpoint, writers, seed };
    let mut plan = Plan { configurations, runs, protocol };
    for one in &mut plan.configurations {
        // What the strategy has is written down, so that every report says it.
        one.checkpoint_interval = one.checkpoint_interval.or(one.strategy.checkpoint_interval());
    }
    plan.check()?;
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use holdfast_api::Span;

    use super::*;

    fn check(text: &str, expected: &[&str]) {
        let mut error: &dyn std::error::Error = &parse(text).expect_err("refused");
        let mut message = error.to_string();
        while let Some(cause) = error.source() {
            message += &format!(": {cause}");
            error = cause;
        }
        for expected in expected {
            assert!(message.contains(expected), "{expected:?} is not in {message}");
        }
    }

    #[test]
    fn nothing_is_the_default_plan() {
        for text in ["", "# later\n", "{}", "runs: 20"] {
            assert_eq!(parse(text).expect("a plan"), Plan::default());
        }
    }

    #[test]
    fn a_plan_that_was_printed_is_read_again() {
        let printed = serde_yaml::to_string(&Plan::default()).expect("YAML");
        assert_eq!(parse(&printed).expect("a plan"), Plan::default(), "{printed}");
    }

    #[test]
    fn a_plan_says_everything() {
        let text = "\
runs: 5
items: 1000
failureType: node_count
nodeCount: 2
triggerCheckpoint: false
writers: 4
seed: 7
configurations:
- {name: a, strategy: Checkpointing}
- {name: b, strategy: Replication, replicas: 3, durability: Memory}
";
        let plan = parse(text).expect("a plan");
        assert_eq!((plan.runs, plan.protocol.items, plan.protocol.node_count), (5, 1000, 2));
        assert_eq!(plan.configurations[0].checkpoint_interval, Some(Span::from_secs(30)));
        assert_eq!(plan.configurations[1].replicas, 3);
    }

    #[test]
    fn what_cannot_be_read_is_named_with_its_place() {
        check("runs: many", &["runs", "line 1 column 7"]);
        check(
            "repetitions: 3",
            &["at repetitions: unknown field", "expected one of `configurations`, `runs`"],
        );
        check("failureType: fire", &["is no type of failure", "default, leader"]);
        check(
            "configurations:\n- {name: a, strategy: Magic}",
            &["configurations[0].strategy", "Magic", "line 2"],
        );
        check(
            "configurations:\n- {name: a, strategy: Hybrid, checkpointInterval: 30}",
            &["checkpointInterval", "line 2"],
        );
        check(&"#".repeat(PLAN_BYTES_MAX + 1), &["262144 is the most"]);
    }

    #[test]
    fn every_rule_that_is_broken_is_named_at_once() {
        let text = "\
runs: 0
items: 0
nodeCount: 3
writers: 1000
configurations:
- {name: a, strategy: Baseline, replicas: 3, checkpointInterval: 15s}
- {name: a, strategy: Hybrid, replicas: 9, durability: Memory, checkpointInterval: 5ms}
- {name: '=1+1', strategy: Checkpointing, durability: Disk}
- {name: alone, strategy: Replication, durability: Memory}
";
        check(
            text,
            &[
                "runs: 0 is not from 1 to 1000",
                "items: 0 is not from 1 to 1000000",
                "nodeCount: only failureType: node_count has",
                "writers: 1000 is not from 0 to 64",
                "configurations[0].replicas: Baseline has one member",
                "configurations[0].checkpointInterval: Baseline takes no checkpoints",
                "configurations[1].name: \"a\" is the name of configurations[0] too",
                "configurations[1].replicas: 9 is not from 1 to 7",
                "configurations[1].checkpointInterval: 5ms is not from 1s to 24h",
                "configurations[1].durability: Hybrid keeps its log on disk",
                "configurations[2].name: write at most 64 letters",
                "configurations[2].durability: Checkpointing keeps no log",
                "configurations[3].durability: Replication with one member and no log keeps nothing",
            ],
        );
        check("configurations: []", &["configurations: there are 0; write 1 to 32"]);
    }
}
