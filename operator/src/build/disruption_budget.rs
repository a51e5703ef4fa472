//! How many members may be evicted at once.
//!
//! By majority: as many as leave one, but never none. Members that have no vote yet make no majority larger. With one or two members
//! every eviction stops the store for a while. A budget of zero would not change that; it would only keep the node from being
//! drained, for days.
//!
//! In sync: one member, whatever their number, and none while a single one has every write. A store would go on with one of seven; but
//! what a budget counts is pods that were ready a while ago (4 s by the probes, 40 s and more on a node that is cut off), not who is
//! in sync, and each eviction that is allowed by mistake takes one of the copies that no other member need have. A member that
//! comes back is ready when it is in sync again, so one drain waits for the one before.

use holdfast_api::Consensus;
use holdfast_api::names::members_service;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::metadata::{label_selector, metadata};
use crate::validate::Valid;

pub(super) fn build(valid: &Valid) -> PodDisruptionBudget {
    let voters = valid.voters.unwrap_or(valid.replicas);
    let evictable = match valid.settings.consensus {
        Consensus::Majority => beside_a_majority(valid.replicas.min(voters)),
        Consensus::InSync => beside_the_last_copy(valid.replicas, voters),
    };
    PodDisruptionBudget {
        metadata: metadata(valid, members_service(&valid.name)),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(evictable)),
            // By the store's label, never by role: a label that moves would leave nobody selected for a moment.
            selector: Some(label_selector(valid)),
            // A pod that is not ready may still hold the last copy: it is evicted only while enough others are ready, which is what
            // Kubernetes does unless told otherwise.
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    }
}

fn beside_a_majority(replicas: u8) -> i32 {
    let majority = replicas / 2 + 1;
    i32::from(replicas - majority).max(1)
}

fn beside_the_last_copy(replicas: u8, in_sync: u8) -> i32 {
    i32::from(replicas == 1 || in_sync > 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_majority_stays() {
        for (replicas, expected) in [(1, 1), (2, 1), (3, 1), (4, 1), (5, 2), (6, 2), (7, 3)] {
            assert_eq!(beside_a_majority(replicas), expected, "{replicas}");
        }
    }

    #[test]
    fn of_those_in_sync_one_goes_and_the_last_one_stays() {
        for (replicas, in_sync, expected) in
            [(1, 1, 1), (2, 2, 1), (2, 1, 0), (3, 3, 1), (3, 2, 1), (3, 1, 0), (7, 7, 1)]
        {
            assert_eq!(beside_the_last_copy(replicas, in_sync), expected, "{in_sync} of {replicas}");
        }
    }
}
