//! What an experiment compares: a strategy with its parameters, under a name that stands in the results.
//!
//! The names of the defaults, and the full names, are those that scripts of the research protocol look for. It refuses to say
//! how a store is run.

use holdfast_api::{Consensus, Durability, Span, Strategy};
use serde::{Deserialize, Serialize};

/// A store as an experiment compares it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Configuration {
    /// What it is called in the results; no two of an experiment have the same.
    pub name: String,
    /// What the store does against faults.
    pub strategy: Strategy,
    /// How many members hold the state; 1 for Baseline and Checkpointing.
    #[serde(default = "one")]
    pub replicas: u8,
    /// How often a checkpoint is taken; for Checkpointing and Hybrid, `None` for the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint_interval: Option<Span>,
    /// Where members keep their log; `None` is what the strategy has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub durability: Option<Durability>,
}

fn one() -> u8 {
    1
}

impl Configuration {
    /// Keeps nothing.
    pub fn baseline() -> Configuration {
        Configuration {
            name: "Baseline".to_owned(),
            strategy: Strategy::Baseline,
            replicas: 1,
            checkpoint_interval: None,
            durability: None,
        }
    }

    /// One member and a checkpoint every so many seconds.
    pub fn checkpointing(seconds: u64) -> Configuration {
        Configuration {
            name: format!("Checkpoint_{seconds}s"),
            strategy: Strategy::Checkpointing,
            checkpoint_interval: Some(Span::from_secs(seconds)),
            ..Configuration::baseline()
        }
    }

    /// So many members.
    pub fn replication(replicas: u8) -> Configuration {
        Configuration {
            name: format!("Replication_F{replicas}"),
            strategy: Strategy::Replication,
            replicas,
            ..Configuration::baseline()
        }
    }

    /// So many members, and a checkpoint every so many seconds.
    pub fn hybrid(seconds: u64, replicas: u8) -> Configuration {
        Configuration {
            name: format!("Hybrid_{seconds}s_F{replicas}"),
            strategy: Strategy::Hybrid,
            replicas,
            checkpoint_interval: Some(Span::from_secs(seconds)),
            durability: None,
        }
    }

    /// The eight that the protocol compares, in its order.
    pub fn defaults() -> Vec<Configuration> {
        vec![
            Configuration::baseline(),
            Configuration::checkpointing(15),
            Configuration::checkpointing(30),
            Configuration::checkpointing(60),
            Configuration::replication(2),
            Configuration::replication(3),
            Configuration::replication(5),
            Configuration::hybrid(30, 3),
        ]
    }

    /// How a write is agreed upon. Two members have no majority without each other, and could survive nothing: they are in
    /// sync instead, and either goes on alone. Hybrid needs a majority for its checkpoints outside.
    pub fn consensus(&self) -> Consensus {
        match (self.strategy, self.replicas) {
            (Strategy::Replication, 2) => Consensus::InSync,
            _ => Consensus::Majority,
        }
    }

    /// How many members may fail at a time while the others go on.
    pub fn tolerates(&self) -> u8 {
        match self.consensus() {
            Consensus::InSync => self.replicas - 1,
            Consensus::Majority => (self.replicas - 1) / 2,
        }
    }

    /// The strategy's name as the protocol writes it: `checkpointing`.
    pub fn strategy_name(&self) -> &'static str {
        match self.strategy {
            Strategy::Baseline => "baseline",
            Strategy::Checkpointing => "checkpointing",
            Strategy::Replication => "replication",
            Strategy::Hybrid => "hybrid",
        }
    }

    /// The strategy with its parameters as the protocol writes them: `Checkpointing (Interval: 30s)`.
    pub fn full_name(&self) -> String {
        // The protocol counts in seconds: 60s and not 1m.
        let interval = self.checkpoint_interval.unwrap_or_default();
        let length = interval.get();
        let interval =
            if length.subsec_millis() == 0 { format!("{}s", length.as_secs()) } else { interval.to_string() };
        match self.strategy {
            Strategy::Baseline => "Baseline (No Fault Tolerance)".to_owned(),
            Strategy::Checkpointing => format!("Checkpointing (Interval: {interval})"),
            Strategy::Replication => format!("Replication (Factor: {})", self.replicas),
            Strategy::Hybrid => format!("Hybrid (Replication: {}, Checkpoint: {interval})", self.replicas),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_have_the_protocols_names_and_order() {
        let names: Vec<String> = Configuration::defaults().into_iter().map(|one| one.name).collect();
        let expected = "Baseline Checkpoint_15s Checkpoint_30s Checkpoint_60s Replication_F2 Replication_F3 \
                        Replication_F5 Hybrid_30s_F3";
        assert_eq!(names.join(" "), expected);
    }

    #[test]
    fn two_members_survive_the_loss_of_either() {
        let tolerated = |configuration: Configuration| configuration.tolerates();
        assert_eq!([1, 2, 3, 5].map(|members| tolerated(Configuration::replication(members))), [0, 1, 1, 2]);
        assert_eq!(tolerated(Configuration::hybrid(30, 2)), 0);
        assert_eq!(tolerated(Configuration::baseline()), 0);
    }

    #[test]
    fn full_names_are_the_protocols() {
        let check = |configuration: Configuration, name| assert_eq!(configuration.full_name(), name);
        check(Configuration::baseline(), "Baseline (No Fault Tolerance)");
        check(Configuration::checkpointing(30), "Checkpointing (Interval: 30s)");
        check(Configuration::checkpointing(60), "Checkpointing (Interval: 60s)");
        check(Configuration::checkpointing(3600), "Checkpointing (Interval: 3600s)");
        check(Configuration::replication(3), "Replication (Factor: 3)");
        check(Configuration::hybrid(30, 3), "Hybrid (Replication: 3, Checkpoint: 30s)");
    }
}
