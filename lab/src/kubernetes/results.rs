//! The ConfigMap with what was measured: `results.csv`, as a batch on a laptop writes it. It belongs to its experiment and goes with it, and a lab
//! that starts again goes on from it.

use holdfast_api::FaultExperiment;
use holdfast_api::names::{API_VERSION, EXPERIMENT_KIND, LAB, label};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource as _, ResourceExt as _};
use serde_json::json;

use super::{FIELD_MANAGER, is_controlled_by};

/// The key of the results.
pub(super) const KEY: &str = "results.csv";
/// The API server takes no ConfigMap with more than 1 MiB; the rest is for its metadata. The kind's rules leave room for rows of 400 bytes.
const BYTES_MAX: usize = 1000 * 1024;

/// Why results cannot be kept.
#[derive(Debug, thiserror::Error)]
pub(super) enum ResultsError {
    /// Somebody else's.
    #[error(
        "there is a ConfigMap {name} already that this experiment did not make, and it is left alone; rename the experiment"
    )]
    Foreign {
        /// Its name.
        name: String,
    },
    /// They do not fit.
    #[error("the results have {bytes} bytes, and a ConfigMap holds {BYTES_MAX}; write fewer runs")]
    TooLarge {
        /// How many there are.
        bytes: usize,
    },
    /// The API server refused it, or could not be reached.
    #[error("cannot read or write the ConfigMap {name}")]
    Refused {
        /// Its name.
        name: String,
        /// What the API server or the connection to it said.
        #[source]
        source: kube::Error,
    },
}

/// The results of one experiment.
#[derive(Clone)]
pub(super) struct Kept {
    api: Api<ConfigMap>,
    pub(super) name: String,
    experiment: FaultExperiment,
    /// Of the ConfigMap, once it is there.
    uid: Option<String>,
}

impl Kept {
    /// Where the results of an experiment are kept; it is not asked whether there are any.
    pub(super) fn of(client: &Client, experiment: &FaultExperiment) -> Kept {
        let namespace = experiment.namespace().unwrap_or_default();
        Kept {
            api: Api::namespaced(client.clone(), &namespace),
            name: format!("{}-results", experiment.name_any()),
            experiment: experiment.clone(),
            uid: None,
        }
    }

    /// What was kept so far, empty if nothing was.
    ///
    /// # Errors
    /// The name is taken, or the API server does not answer.
    pub(super) async fn read(&mut self) -> Result<String, ResultsError> {
        let found = self.api.get_opt(&self.name).await.map_err(|source| self.refused(source))?;
        let Some(found) = found else { return Ok(String::new()) };
        if !is_controlled_by(&found, self.experiment.uid().as_deref().unwrap_or_default()) {
            return Err(ResultsError::Foreign { name: self.name.clone() });
        }
        self.uid = found.uid();
        Ok(found.data.and_then(|mut data| data.remove(KEY)).unwrap_or_default())
    }

    /// Keeps these.
    ///
    /// # Errors
    /// They are too many, the name is taken, or the API server refuses.
    pub(super) async fn write(&mut self, csv: &str) -> Result<(), ResultsError> {
        if csv.len() > BYTES_MAX {
            return Err(ResultsError::TooLarge { bytes: csv.len() });
        }
        if self.uid.is_none() {
            // Made and not applied: a stranger's of this name is not taken over.
            match self.api.create(&PostParams::default(), &self.wanted(csv)).await {
                // Perhaps it is ours, and whoever made it did not hear so.
                Err(kube::Error::Api(status)) if status.code == 409 => drop(self.read().await?),
                made => {
                    self.uid = made.map_err(|source| self.refused(source))?.uid();
                    return Ok(());
                }
            }
        }
        // The uid makes the API server refuse it for one that came later.
        let patch = json!({"metadata": {"uid": self.uid}, "data": {KEY: csv}});
        let parameters =
            PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let made = self.api.patch(&self.name, &parameters, &Patch::Merge(&patch)).await;
        self.uid = made.map_err(|source| self.refused(source))?.uid();
        Ok(())
    }

    fn wanted(&self, csv: &str) -> ConfigMap {
        let mut wanted =
            ConfigMap { data: Some([(KEY.to_owned(), csv.to_owned())].into()), ..ConfigMap::default() };
        wanted.metadata.name = Some(self.name.clone());
        wanted.metadata.namespace = self.experiment.namespace();
        wanted.metadata.owner_references = self.experiment.controller_owner_ref(&()).map(|owner| vec![owner]);
        let labels = [(super::store::LABEL, self.experiment.name_any()), (label::MANAGED_BY, LAB.to_owned())];
        wanted.metadata.labels = Some(labels.map(|(name, value)| (name.to_owned(), value)).into());
        wanted
    }

    fn refused(&self, source: kube::Error) -> ResultsError {
        ResultsError::Refused { name: self.name.clone(), source }
    }
}

/// An experiment as an object that others are about.
pub(super) fn reference(experiment: &FaultExperiment) -> k8s_openapi::api::core::v1::ObjectReference {
    let mut reference = experiment.object_ref(&());
    reference.api_version = Some(API_VERSION.to_owned());
    reference.kind = Some(EXPERIMENT_KIND.to_owned());
    reference
}
