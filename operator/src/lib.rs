//! Reconciles ReplicatedStore resources into Kubernetes objects.
//!
//! [`controller`] is the way in: one reconcile in five steps, a file each. [`roll`] decides which member may be restarted,
//! [`conditions`] judges what was seen; both are pure. The stores never need the operator to keep serving, and nothing here decides
//! who leads.

pub mod apply;
pub mod arguments;
pub mod build;
pub mod caches;
pub mod check;
pub mod claims;
pub mod conditions;
pub mod context;
pub mod controller;
pub mod dereference;
pub mod election;
pub mod error;
pub mod event;
#[cfg(test)]
mod fake;
pub mod health;
pub mod in_sync;
pub mod install;
pub mod leader;
pub mod listener;
pub mod logging;
pub mod members;
pub mod metrics;
pub mod nudge;
pub mod pod;
pub mod restart;
pub mod roles;
pub mod roll;
pub mod run;
pub mod scale;
pub mod update_status;
pub mod validate;
