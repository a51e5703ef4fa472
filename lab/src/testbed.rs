//! Where experiments run: the one thing that the batch runner and the REST service ask for.

mod processes;

use std::error::Error;
use std::future::Future;

use crate::{Configuration, Measurement, Protocol};

pub(crate) use processes::Bed;
pub use processes::Processes;

/// Where stores are made, failed and looked at.
pub trait Testbed {
    /// Makes a store, stores items, fails it, waits for its recovery, reads every item, and leaves nothing behind: no
    /// process, no file, nothing that the next run could see. `run_id` counts from 1; together with the protocol's seed
    /// it seeds whatever is random.
    ///
    /// The future may be dropped at any await, which ends everything that the run started.
    fn run(
        &self,
        configuration: &Configuration,
        protocol: &Protocol,
        run_id: u32,
    ) -> impl Future<Output = Result<Measurement, TestbedError>> + Send;
}

/// Why a run measured nothing. Data that is lost is no error but a measurement.
#[derive(Debug, thiserror::Error)]
#[error("{step} failed")]
pub struct TestbedError {
    /// What was being done: `starting the store`.
    pub step: String,
    /// Why it failed.
    pub source: Box<dyn Error + Send + Sync>,
}

impl TestbedError {
    /// An error in a step. A plain string will do for `source`.
    pub fn new(step: impl Into<String>, source: impl Into<Box<dyn Error + Send + Sync>>) -> TestbedError {
        TestbedError { step: step.into(), source: source.into() }
    }
}
