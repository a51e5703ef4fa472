//! The one store of the routes as processes of this machine: who was killed stays down until somebody mends it.

use std::time::Instant;

use holdfast_client::NativeClient;

use super::place::{Place, Sample, SharedStore, Struck};
use crate::experiment::fault::{Fault, Injected};
use crate::experiment::recovery::{Recovered, Recovery};
use crate::experiment::{self, RECOVERY_MAX};
use crate::testbed::{Bed, Processes};
use crate::{Configuration, FailureKind, Measurement, Protocol, TestbedError};

impl Place for Processes {
    type Store = Bed;
    /// Batches are other programs with stores of their own; a person sees to it that they do not run at the same time.
    type Turn = ();

    fn kinds(&self) -> Vec<FailureKind> {
        FailureKind::ALL.into()
    }

    fn turn(&self) -> Result<(), String> {
        Ok(())
    }

    async fn make(&self, configuration: &Configuration, links: bool) -> Result<Bed, TestbedError> {
        self.start(configuration, links).await
    }
}

impl SharedStore for Bed {
    type How = Injected;

    fn client(&self) -> NativeClient {
        self.all.clone()
    }

    async fn measure(
        &self,
        configuration: &Configuration,
        protocol: &Protocol,
        run_id: u32,
    ) -> Result<Measurement, TestbedError> {
        experiment::run(self, configuration, protocol, run_id).await
    }

    async fn fail(
        &self,
        kind: FailureKind,
        node_count: u8,
        chance: u64,
    ) -> Result<Struck<Injected>, TestbedError> {
        let fault = Fault::choose(self, kind, node_count, chance).await?;
        let how = fault.inject_for_good(self).await?;
        Ok(Struck { fault, how, returns: false })
    }

    async fn watch(&self, struck: &Struck<Injected>, (key, value): Sample) -> Recovered {
        Recovery::of(self, key, value, &struck.fault).run(self, &struck.how).await
    }

    async fn mend(&self, struck: &Struck<Injected>) -> Result<(), TestbedError> {
        struck.fault.mend(self).await
    }

    async fn mend_and_watch(
        &self,
        struck: &Struck<Injected>,
        (key, value): Sample,
    ) -> Result<Recovered, TestbedError> {
        let began = Instant::now();
        let injected = Injected { began, killed: struck.how.killed.clone(), unreachable: Vec::new() };
        let recovery = Recovery::of(self, key, value, &struck.fault);
        struck.fault.mend(self).await?;
        Ok(recovery.run(self, &injected).await)
    }

    async fn is_whole(&self) -> bool {
        self.wait_until_well(RECOVERY_MAX).await.is_ok()
    }

    async fn discard(&self) -> Result<(), TestbedError> {
        Bed::discard(self).await
    }
}
