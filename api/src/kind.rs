//! The kinds, ReplicatedStore and FaultExperiment: their specs, their status, the CustomResourceDefinitions that follow from them,
//! and the rules that the API server and [`crate::validate`] both check.

mod effective;
mod experiment;
mod laptop;
mod schema;
mod spec;
mod status;
mod template;

pub(crate) use effective::NAMESPACE_DEFAULT;
pub use experiment::{
    ConfigurationSummary, ExperimentConfiguration, ExperimentPhase, ExperimentStorage, FaultExperiment,
    FaultExperimentSpec, FaultExperimentStatus, FaultType,
};
pub use laptop::{LaptopFaults, LaptopSpec};
pub(crate) use schema::{CONFIGURATION_PATTERN, IMAGE_PATTERN, SIZE_PATTERN};
pub use spec::{
    CheckpointSpec, HeartbeatSpec, OutsideSpec, ReplicatedStore, ReplicatedStoreSpec, ServiceSpec,
    ServiceType, StorageSpec, WhenDeleted,
};
pub use status::{InSyncStatus, LastCheckpoint, MemberStatus, Phase, ReplicatedStoreStatus};
pub(crate) use template::path_under;
pub use template::{PodTemplate, TemplateError, TemplateMetadata};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;

/// The definition of the stores' kind, as the API server takes it.
pub fn definition() -> CustomResourceDefinition {
    ReplicatedStore::crd()
}

/// The definition of the experiments' kind.
pub fn experiment_definition() -> CustomResourceDefinition {
    FaultExperiment::crd()
}
