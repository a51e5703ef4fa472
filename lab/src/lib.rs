//! Failure experiments on real stores: which strategy loses what, how fast it comes back, what it costs.
//!
//! | part | does |
//! |---|---|
//! | [`Configuration`] | a store as an experiment compares it, and the eight that are compared when nobody says otherwise |
//! | [`Protocol`] | what is done to every store: how many items, which failure, with or without load |
//! | [`FailureKind`] | the failures |
//! | [`Testbed`] | runs one experiment; what it found is a [`Measurement`]. [`Processes`] is the one of this machine |
//! | `experiment` | what is done to a store, and how its recovery is measured |
//! | [`Run`] | a measurement with its configuration, number and time: a row of the results |
//! | [`RunMetrics`] | what is counted of experiments |
//! | `kubernetes` | experiments as resources of a cluster, on pods; with the feature of this name |
//! | [`rest`] | experiments over HTTP, as the research protocol has them |
//! | [`Plan`] | which configurations, how often |
//! | [`batch`] | measures what a plan asks for |
//! | [`results`] | keeps runs on disk and reads them |
//! | [`statistics`] | says what they mean |
//! | [`report`] | puts that into tables, plots and a recommendation |
//!
//! No number is simulated: a failure is a kill of a real process, a recovery ends with a verified read. What computes, reads and
//! writes results knows no store; what runs stores knows no statistics. They meet in the types above.

pub mod batch;
mod configuration;
mod experiment;
mod failure;
#[cfg(feature = "kubernetes")]
pub mod kubernetes;
pub mod plan;
mod protocol;
pub mod report;
pub mod rest;
pub mod results;
mod run;
mod run_metrics;
pub mod statistics;
mod testbed;

pub use configuration::Configuration;
pub use failure::{FailureKind, FailureKindError};
pub use plan::Plan;
pub use protocol::{ITEMS_DEFAULT, Protocol};
pub use run::{Measurement, Run};
pub use run_metrics::RunMetrics;
pub use testbed::{Processes, Testbed, TestbedError};
