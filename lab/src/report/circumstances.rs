//! Runs of one configuration with other numbers of items, or after other failures, are not one sample: they get names of their own.

use std::collections::BTreeSet;

use super::in_order;
use crate::results::Record;
use crate::{Configuration, FailureKind, Run};

/// A group of runs.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Name {
    /// What it is called.
    pub(super) label: String,
    /// The configuration's name alone.
    pub(super) configuration: String,
    /// The strategy's name.
    pub(super) strategy: String,
    /// What failed.
    pub(super) failure_type: Option<FailureKind>,
    /// How many items there were.
    pub(super) data_items: Option<u64>,
}

/// Renames configurations and strategies where circumstances differ, and lists the groups: in the order of the plan or else of the default
/// one, then as they appear; smaller sizes first.
pub(super) fn tell_apart(mut runs: Vec<Run>, record: Option<&Record>) -> (Vec<Name>, Vec<Run>) {
    let sizes: BTreeSet<Option<u64>> = runs.iter().map(|run| run.measurement.data_items).collect();
    let failures = in_order(runs.iter().map(|run| run.measurement.failure_type));
    let planned = record.map_or_else(Configuration::defaults, |record| record.plan.configurations.clone());
    let planned = planned.into_iter().map(|one| one.name);
    let configurations = in_order(planned.chain(runs.iter().map(|run| run.config_name.clone())));
    let mut names: Vec<(usize, Name)> = Vec::new();
    for run in &mut runs {
        let (data_items, failure_type) = (run.measurement.data_items, run.measurement.failure_type);
        let mut apart = Vec::new();
        if sizes.len() > 1 {
            apart.push(
                data_items.map_or_else(|| "items unknown".to_owned(), |items| format!("{items} items")),
            );
        }
        if failures.len() > 1 {
            apart.push(failure_type.map_or_else(|| "failure unknown".to_owned(), |kind| kind.to_string()));
        }
        let with = |name: &str| {
            if apart.is_empty() { name.to_owned() } else { format!("{name}, {}", apart.join(", ")) }
        };
        let name = Name {
            label: with(&run.config_name),
            configuration: run.config_name.clone(),
            strategy: run.strategy.clone(),
            failure_type,
            data_items,
        };
        let rank = configurations.iter().position(|one| *one == run.config_name).unwrap_or(usize::MAX);
        (run.config_name, run.strategy) = (name.label.clone(), with(&run.strategy));
        if !names.iter().any(|(_, known)| known.label == name.label) {
            names.push((rank, name));
        }
    }
    // Stable: failures stay in the order they appeared.
    names.sort_by_key(|(rank, name)| (*rank, name.data_items));
    (names.into_iter().map(|(_, name)| name).collect(), runs)
}
