//! What a plan may ask for, and why not more. The rules of a store's parameters are those of the kind.

use holdfast_api::{CHECKPOINT_INTERVAL_MAX, CHECKPOINT_INTERVAL_MIN, Durability, Violation};

use super::Plan;
use crate::{Configuration, FailureKind, Protocol};

/// Most configurations: a report compares every two of them, and nobody reads more than some 500 pairs.
pub const CONFIGURATIONS_MAX: usize = 32;
/// Most runs of each: a mean of so many is exact to three hundredths of the spread.
pub const RUNS_MAX: u32 = 1000;
/// Most items of a run. The largest that is of interest is 100,000; ten times that is some minutes for every run.
pub const ITEMS_MAX: u32 = 1_000_000;
/// Longest name of a configuration: it is a column of every table.
pub const NAME_BYTES_MAX: usize = 64;
/// Most members, as the kind has it.
pub const REPLICAS_MAX: u8 = 7;
/// Most clients that write during a failure: with more, a laptop measures its scheduler.
pub const WRITERS_MAX: u16 = 64;

/// Everything that is wrong with a plan.
pub(super) fn violations(plan: &Plan) -> Vec<Violation> {
    let mut wrong = Vec::new();
    let count = plan.configurations.len();
    if !(1..=CONFIGURATIONS_MAX).contains(&count) {
        add(&mut wrong, "configurations", format!("there are {count}; write 1 to {CONFIGURATIONS_MAX}"));
    }
    for (at, configuration) in plan.configurations.iter().enumerate() {
        let path = format!("configurations[{at}]");
        for mut violation in configuration_violations(configuration) {
            violation.path = format!("{path}.{}", violation.path);
            wrong.push(violation);
        }
        let name = &configuration.name;
        if let Some(first) = plan.configurations[..at].iter().position(|other| other.name == *name) {
            let message = format!("{name:?} is the name of configurations[{first}] too; write another one");
            add(&mut wrong, &format!("{path}.name"), message);
        }
    }
    if !(1..=RUNS_MAX).contains(&plan.runs) {
        add(&mut wrong, "runs", format!("{} is not from 1 to {RUNS_MAX}", plan.runs));
    }
    wrong.extend(protocol_violations(&plan.protocol));
    wrong
}

/// Everything that is wrong with a configuration.
pub fn configuration_violations(configuration: &Configuration) -> Vec<Violation> {
    let Configuration { name, strategy, replicas, checkpoint_interval, durability } = configuration;
    let mut wrong = Vec::new();
    let letters = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    // A first letter or digit: a spreadsheet takes a cell that begins with a hyphen for a formula.
    let first = name.chars().next().is_some_and(|c| c.is_ascii_alphanumeric());
    if !first || !name.chars().all(letters) || name.len() > NAME_BYTES_MAX {
        let message = format!(
            "write at most {NAME_BYTES_MAX} letters, digits, hyphens, underscores and dots, a letter or digit first"
        );
        add(&mut wrong, "name", message);
    }
    let strategy_name = strategy.name();
    if strategy.replicates() {
        if !(1..=REPLICAS_MAX).contains(replicas) {
            add(&mut wrong, "replicas", format!("{replicas} is not from 1 to {REPLICAS_MAX}"));
        }
    } else if *replicas != 1 {
        add(&mut wrong, "replicas", format!("{strategy_name} has one member: remove replicas"));
    }
    match checkpoint_interval {
        Some(_) if !strategy.takes_checkpoints() => {
            add(&mut wrong, "checkpointInterval", format!("{strategy_name} takes no checkpoints: remove it"));
        }
        Some(interval) if !(CHECKPOINT_INTERVAL_MIN..=CHECKPOINT_INTERVAL_MAX).contains(interval) => {
            let message =
                format!("{interval} is not from {CHECKPOINT_INTERVAL_MIN} to {CHECKPOINT_INTERVAL_MAX}");
            add(&mut wrong, "checkpointInterval", message);
        }
        _ => {}
    }
    let message = match durability {
        Some(Durability::Disk) if !strategy.replicates() => Some("keeps no log: remove durability"),
        Some(Durability::Memory) if *strategy == holdfast_api::Strategy::Hybrid => {
            Some("keeps its log on disk: remove durability")
        }
        Some(Durability::Memory) if strategy.replicates() && *replicas == 1 => {
            Some("with one member and no log keeps nothing: write strategy: Baseline")
        }
        _ => None,
    };
    if let Some(message) = message {
        add(&mut wrong, "durability", format!("{strategy_name} {message}"));
    }
    wrong
}

/// Everything that is wrong with what is done to each store.
pub fn protocol_violations(protocol: &Protocol) -> Vec<Violation> {
    let mut wrong = Vec::new();
    let Protocol { items, failure_type, node_count, writers, .. } = protocol;
    if !(1..=ITEMS_MAX).contains(items) {
        add(&mut wrong, "items", format!("{items} is not from 1 to {ITEMS_MAX}"));
    }
    if !(1..=REPLICAS_MAX).contains(node_count) {
        add(&mut wrong, "nodeCount", format!("{node_count} is not from 1 to {REPLICAS_MAX}"));
    } else if *node_count != 1 && *failure_type != FailureKind::NodeCount {
        add(
            &mut wrong,
            "nodeCount",
            "only failureType: node_count has a number of members; write it, or remove nodeCount",
        );
    }
    if *writers > WRITERS_MAX {
        add(&mut wrong, "writers", format!("{writers} is not from 0 to {WRITERS_MAX}"));
    }
    wrong
}

fn add(wrong: &mut Vec<Violation>, path: &str, message: impl Into<String>) {
    wrong.push(Violation { path: path.to_owned(), message: message.into() });
}
