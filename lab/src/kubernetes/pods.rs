//! The testbed of pods: a new store for every run.

use holdfast_api::FaultExperiment;
use kube::Client;
use tracing::info;

use super::measure::Subject;
use super::members::Members;
use super::store::Stores;
use crate::testbed::{Testbed, TestbedError};
use crate::{Configuration, Measurement, Protocol};

/// Makes stores on a cluster, for one experiment.
pub struct Pods {
    pub(super) stores: Stores,
    http: reqwest::Client,
}

/// A client of pods: straight to them, whatever the environment says of proxies.
pub(super) fn http() -> Result<reqwest::Client, TestbedError> {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .tcp_nodelay(true)
        .build()
        .map_err(|error| TestbedError::new("making an HTTP client", error))
}

impl Pods {
    /// Stores that belong to `experiment`, which the API server has; `image` is the lab's own, for the knives.
    ///
    /// # Errors
    /// No HTTP client can be made.
    pub fn new(client: Client, experiment: &FaultExperiment, image: String) -> Result<Pods, TestbedError> {
        Ok(Pods { stores: Stores::of(client, experiment, image), http: http()? })
    }

    /// The name of the store of a run.
    fn name(&self, configuration: &Configuration, run_id: u32) -> String {
        let configurations = &self.stores.asked.configurations;
        let at = configurations.iter().position(|one| one.name == configuration.name).unwrap_or_default();
        format!("{}-c{at}-r{run_id}", self.stores.label)
    }
}

impl Testbed for Pods {
    /// As the trait has it; when the future is dropped, the store stays until somebody sweeps or its experiment is deleted: Kubernetes takes it away
    /// then.
    async fn run(
        &self,
        configuration: &Configuration,
        protocol: &Protocol,
        run_id: u32,
    ) -> Result<Measurement, TestbedError> {
        let made = self.stores.make(&self.name(configuration, run_id), configuration).await;
        let made = made.map_err(|error| TestbedError::new("making the store", error))?;
        let tolerates = configuration.tolerates();
        let subject = Subject { stores: &self.stores, made: &made, http: &self.http, tolerates };
        let measured = async {
            let members = Members::ready(&self.stores, &made, configuration.replicas, &self.http).await?;
            info!(store = made.name, "the store is ready");
            subject.measure(&members, configuration, protocol, run_id).await
        };
        let measured = measured.await;
        let removed = self.stores.remove(&made).await;
        removed.map_err(|error| TestbedError::new("removing the store", error))?;
        measured
    }
}
