//! The ReplicatedStore kind: its spec, its status, the CustomResourceDefinition that follows from them, and the rules
//! that the API server and [`crate::validate`] both check.

mod effective;
mod laptop;
mod schema;
mod spec;
mod status;
mod template;

pub(crate) use effective::NAMESPACE_DEFAULT;
pub use laptop::{LaptopFaults, LaptopSpec};
pub(crate) use schema::{IMAGE_PATTERN, SIZE_PATTERN};
pub use spec::{
    CheckpointSpec, HeartbeatSpec, OutsideSpec, ReplicatedStore, ReplicatedStoreSpec, ServiceSpec,
    ServiceType, StorageSpec,
};
pub use status::{LastCheckpoint, MemberStatus, Phase, ReplicatedStoreStatus};
pub(crate) use template::path_under;
pub use template::{PodTemplate, TemplateError, TemplateMetadata};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;

/// The definition of the kind, as the API server takes it.
pub fn definition() -> CustomResourceDefinition {
    ReplicatedStore::crd()
}
