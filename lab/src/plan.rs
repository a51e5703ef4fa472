//! What an experiment is: which configurations, how often, and what is done to each. Read from `experiment.yaml`, all of whose
//! fields may be left out.

mod check;
mod read;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{Configuration, Protocol};

pub use check::{
    CONFIGURATIONS_MAX, ITEMS_MAX, NAME_BYTES_MAX, REPLICAS_MAX, RUNS_MAX, WRITERS_MAX,
    configuration_violations, protocol_violations,
};
pub use read::{PLAN_BYTES_MAX, PlanError};

/// How often each configuration is measured when nobody says otherwise, as in the protocol.
pub const RUNS_DEFAULT: u32 = 20;

/// An experiment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// What is compared.
    pub configurations: Vec<Configuration>,
    /// How often each is measured.
    pub runs: u32,
    /// What is done to each. Its fields are the plan's.
    #[serde(flatten)]
    pub protocol: Protocol,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan { configurations: Configuration::defaults(), runs: RUNS_DEFAULT, protocol: Protocol::default() }
    }
}

impl Plan {
    /// Reads an `experiment.yaml`.
    ///
    /// # Errors
    /// It is no YAML, has fields that nobody knows, or breaks rules; all that are broken are named.
    pub fn parse(text: &str) -> Result<Plan, PlanError> {
        read::parse(text)
    }

    /// Whether the plan keeps the rules, after something in it was changed.
    ///
    /// # Errors
    /// It breaks rules; all that are broken are named.
    pub fn check(&self) -> Result<(), PlanError> {
        match check::violations(self) {
            wrong if wrong.is_empty() => Ok(()),
            wrong => Err(PlanError::Invalid(wrong)),
        }
    }

    /// Every run, in the order in which they are measured: all configurations once, then all again, in another order each time. What
    /// changes slowly on a machine then hits all alike, and none always runs after the same other one.
    pub fn order(&self) -> Vec<(usize, u32)> {
        let mut order = Vec::new();
        for run_id in 1..=self.runs {
            let mut round: Vec<usize> = (0..self.configurations.len()).collect();
            // As good as lots, and the same on every machine and in every version.
            round.sort_by_cached_key(|at| {
                let lot = format!("{} {run_id} {}", self.protocol.seed, self.configurations[*at].name);
                <[u8; 32]>::from(Sha256::digest(lot))
            });
            order.extend(round.into_iter().map(|configuration| (configuration, run_id)));
        }
        order
    }

    /// Whether results of `begun` can be continued by this plan: it may have more runs and more configurations.
    ///
    /// # Errors
    /// What differs.
    pub fn continues(&self, begun: &Plan) -> Result<(), String> {
        let (now, then) = (&self.protocol, &begun.protocol);
        let fields = [
            ("items", now.items.to_string(), then.items.to_string()),
            ("failureType", now.failure_type.to_string(), then.failure_type.to_string()),
            ("nodeCount", now.node_count.to_string(), then.node_count.to_string()),
            ("triggerCheckpoint", now.trigger_checkpoint.to_string(), then.trigger_checkpoint.to_string()),
            ("writers", now.writers.to_string(), then.writers.to_string()),
            ("seed", now.seed.to_string(), then.seed.to_string()),
        ];
        if let Some((field, now, then)) = fields.into_iter().find(|(_, now, then)| now != then) {
            return Err(format!("its {field} is {then}, and the plan's is {now}"));
        }
        for one in &begun.configurations {
            match self.configurations.iter().find(|other| other.name == one.name) {
                Some(other) if other == one => {}
                Some(other) => {
                    let (now, then) = (other.full_name(), one.full_name());
                    return Err(format!("its {} is {then}, and the plan's is {now}", one.name));
                }
                // Runs of it are found one by one; one that was never measured is not missed.
                None => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_round_has_every_configuration_once_in_another_order() {
        let plan = Plan::default();
        let order = plan.order();
        assert_eq!(order.len(), 160);
        let rounds: Vec<&[(usize, u32)]> = order.chunks(8).collect();
        for (at, round) in rounds.iter().enumerate() {
            assert!(round.iter().all(|(_, run_id)| *run_id == at as u32 + 1));
            assert_eq!(round.iter().map(|(one, _)| one).collect::<BTreeSet<_>>().len(), 8);
        }
        let orders: BTreeSet<Vec<usize>> =
            rounds.iter().map(|round| round.iter().map(|(one, _)| *one).collect()).collect();
        assert!(orders.len() > 15, "{orders:?}");
        let more = Plan { runs: 40, ..plan.clone() };
        assert_eq!(more.order()[..160], order, "more runs change nothing of those before");
    }

    #[test]
    fn the_order_is_the_same_for_ever() {
        let first: Vec<usize> = Plan::default().order().into_iter().take(8).map(|(one, _)| one).collect();
        assert_eq!(first, ORDER_OF_THE_FIRST_ROUND);
    }

    /// As the first version drew it.
    const ORDER_OF_THE_FIRST_ROUND: [usize; 8] = [6, 1, 4, 2, 5, 7, 3, 0];
}
