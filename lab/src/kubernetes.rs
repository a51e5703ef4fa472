//! Experiments on Kubernetes: `FaultExperiment` resources are carried out one after the other, on stores of their own.
//!
//! | part | does |
//! |---|---|
//! | [`worker`] | finds the experiment whose turn it is, carries it out, tells how it goes |
//! | [`Pods`] | the testbed: a store for every run |
//! | [`store`] | a store's life: made, found again, removed; whose it is |
//! | [`members`] | a store's pods, and the ways to them |
//! | [`measure`] | one experiment on a store of pods |
//! | [`knife`] | what kills a member's process, beside it in its pod |
//! | [`asked`] | what a resource asks for, as a plan |
//! | [`results`] | the ConfigMap with what was measured |
//! | [`status`] | what the resource says of its progress |
//! | [`own`] | the lab's own store, for the requests of [`crate::rest`] |
//! | [`turns`] | experiments and those requests go one after the other |
//! | [`serve`] | the lab's port: probes, metrics, those requests |
//!
//! The operator makes the pods; the lab only asks for `ReplicatedStore`s, which belong to their experiment or to the lab's pod, so that Kubernetes
//! itself takes everything away when that is deleted. It refuses to touch what it did not make: owners are compared by uid.

mod asked;
#[cfg(test)]
mod fake;
pub mod knife;
mod measure;
mod members;
pub mod own;
mod pods;
mod results;
pub mod serve;
mod status;
mod store;
pub mod turns;
pub mod worker;

pub use pods::Pods;

use std::error::Error;

use holdfast_api::names::LAB;
use kube::Resource;

/// An error and its causes in one line. Some libraries repeat their cause in their own text.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let cause_text = error.to_string();
        if !text.ends_with(&cause_text) {
            text += &format!(": {cause_text}");
        }
        cause = error.source();
    }
    text
}

/// Whether the owner that controls an object has this uid.
fn is_controlled_by(object: &impl Resource, uid: &str) -> bool {
    let owners = object.meta().owner_references.iter().flatten();
    owners.filter(|owner| owner.controller == Some(true)).any(|owner| owner.uid == uid)
}

/// Who writes, for `managedFields`.
const FIELD_MANAGER: &str = LAB;
