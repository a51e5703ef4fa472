//! What there is to choose from: the four strategies and the eight presets, in the protocol's words and order.

use holdfast_api::Strategy;
use serde_json::{Value, json};

use crate::{Configuration, FailureKind, ITEMS_DEFAULT};

/// The strategies in the protocol's order, by the names that requests have for them.
pub(super) const STRATEGIES: [(&str, Strategy); 4] = [
    ("baseline", Strategy::Baseline),
    ("checkpointing", Strategy::Checkpointing),
    ("replication", Strategy::Replication),
    ("hybrid", Strategy::Hybrid),
];

fn description(strategy: Strategy) -> &'static str {
    match strategy {
        Strategy::Baseline => "No fault tolerance - data lost on failure (control group)",
        Strategy::Checkpointing => "Periodic snapshots to disk - recovers from last checkpoint",
        Strategy::Replication => "Active data replication - instant failover to healthy replicas",
        Strategy::Hybrid => "Combined checkpointing + replication - best of both worlds",
    }
}

fn mechanism(strategy: Strategy) -> &'static str {
    match strategy {
        Strategy::Baseline => "the process is started again and is empty",
        Strategy::Checkpointing => "the process is started again and reads the last checkpoint",
        Strategy::Replication => "another member is elected and has every acknowledged write",
        Strategy::Hybrid => {
            "another member is elected; members that lost their log's beginning start from a checkpoint"
        }
    }
}

/// `GET /strategies`, with what can fail here.
pub(super) fn strategies(active: Strategy, failures: &[FailureKind]) -> Value {
    let strategies = STRATEGIES.map(|(name, strategy)| {
        let mut parameters = Vec::new();
        if strategy.takes_checkpoints() {
            parameters.push(json!({"name": "checkpoint_interval", "unit": "seconds", "default": 30, "minimum": 1, "maximum": 86400}));
        }
        if strategy.replicates() {
            parameters.push(json!({"name": "replication_factor", "unit": "members", "default": 3, "minimum": 1, "maximum": 7}));
        }
        json!({
            "name": name,
            "description": description(strategy),
            "recovery_mechanism": mechanism(strategy),
            "parameters": parameters,
            "active": strategy == active,
        })
    });
    json!({"strategies": strategies, "failure_types": failures})
}

/// `GET /experiment-presets`.
pub(super) fn presets() -> Value {
    let presets: Vec<Value> = Configuration::defaults().iter().map(preset).collect();
    json!({"presets": presets})
}

fn preset(configuration: &Configuration) -> Value {
    let seconds = configuration.checkpoint_interval.map(|interval| interval.get().as_secs());
    let (name, what) = match configuration.strategy {
        Strategy::Baseline => {
            ("Baseline Control".to_owned(), "Control group without fault tolerance".to_owned())
        }
        Strategy::Checkpointing => {
            let seconds = seconds.unwrap_or_default();
            (format!("Checkpointing {seconds}s"), format!("A checkpoint every {seconds} seconds"))
        }
        Strategy::Replication => {
            let factor = configuration.replicas;
            (format!("Replication Factor {factor}"), format!("{factor} members with the same log"))
        }
        Strategy::Hybrid => {
            ("Hybrid Standard".to_owned(), "3 members and a checkpoint every 30 seconds".to_owned())
        }
    };
    let mut preset = json!({
        "name": name,
        "strategy": configuration.strategy_name(),
        "data_items": ITEMS_DEFAULT,
        "description": what,
    });
    if let Some(seconds) = seconds {
        preset["checkpoint_interval"] = seconds.into();
    }
    if configuration.strategy.replicates() {
        preset["replication_factor"] = configuration.replicas.into();
    }
    preset
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_have_the_protocols_names() {
        let presets = presets();
        let names: Vec<&str> = presets["presets"]
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(|one| one["name"].as_str())
            .collect();
        let expected = [
            "Baseline Control",
            "Checkpointing 15s",
            "Checkpointing 30s",
            "Checkpointing 60s",
            "Replication Factor 2",
            "Replication Factor 3",
            "Replication Factor 5",
            "Hybrid Standard",
        ];
        assert_eq!(names, expected);
        assert_eq!(presets["presets"][7]["checkpoint_interval"], 30);
        assert!(presets["presets"][0].get("replication_factor").is_none());
    }
}
