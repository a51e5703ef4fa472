//! How many members may be evicted at once: as many as leave a majority, but never none. Members that have no vote yet make no majority
//! larger.
//!
//! With one or two members every eviction stops the store for a while. A budget of zero would not change that; it would only keep
//! the node from being drained, for days.

use holdfast_api::names::members_service;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::metadata::{label_selector, metadata};
use crate::validate::Valid;

pub(super) fn build(valid: &Valid) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: metadata(valid, members_service(&valid.name)),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(evictable(
                valid.replicas.min(valid.voters.unwrap_or(valid.replicas)),
            ))),
            // By the store's label, never by role: a label that moves would leave nobody selected for a moment.
            selector: Some(label_selector(valid)),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    }
}

fn evictable(replicas: u8) -> i32 {
    let majority = replicas / 2 + 1;
    i32::from(replicas - majority).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_majority_stays() {
        for (replicas, expected) in [(1, 1), (2, 1), (3, 1), (4, 1), (5, 2), (6, 2), (7, 3)] {
            assert_eq!(evictable(replicas), expected, "{replicas}");
        }
    }
}
