//! The kinds ReplicatedStore and FaultExperiment, their rules, and the names and data that operator, sidecar and clients share.
//!
//! Data only: nothing here opens a file or a socket, and nothing of ours is used. The kind itself needs the crates of
//! Kubernetes and is behind the feature `kind`, so that members and clients are built without them.

pub mod http;
#[cfg(feature = "kind")]
pub mod kind;
pub mod names;

#[cfg(feature = "kind")]
pub mod validate;

mod authority;
mod faults;
mod removal;
mod settings;
mod span;
mod strategy;
mod violation;
mod write_concern;

pub use authority::{AUTHORITY_FORMAT, AuthorityDocument, ForcedStart, ordinal_of};
pub use faults::{DelayError, Probability, ProbabilityError, REPLICATION_DELAY_MAX, parse_delay};
#[cfg(feature = "kind")]
pub use kind::{
    CheckpointSpec, FaultExperiment, FaultExperimentSpec, FaultExperimentStatus, HeartbeatSpec, InSyncStatus,
    LaptopFaults, LaptopSpec, LastCheckpoint, MemberStatus, Phase, PodTemplate, ReplicatedStore,
    ReplicatedStoreSpec, ReplicatedStoreStatus, ServiceSpec, ServiceType, StorageSpec, TemplateError,
    TemplateMetadata, WhenDeleted,
};
pub use removal::{Removal, removal};
pub use settings::{
    CheckpointSettings, FaultSettings, HeartbeatSettings, PEER_ADDRESS_BYTES_MAX, SETTINGS_BYTES_MAX,
    Settings, SettingsError, StoreName,
};
pub use span::{SPAN_BYTES_MAX, SPAN_PATTERN, Span, SpanError};
pub use strategy::{
    CHECKPOINT_INTERVAL_MAX, CHECKPOINT_INTERVAL_MIN, CHECKPOINT_RETAIN_DEFAULT, CHECKPOINT_RETAIN_MAX,
    Compression, Consensus, Durability, HEARTBEAT_INTERVAL_DEFAULT, HEARTBEAT_INTERVAL_MIN,
    HEARTBEAT_TIMEOUT_DEFAULT, HEARTBEAT_TIMEOUT_INTERVALS_MIN, HEARTBEAT_TIMEOUT_MAX, REPLICAS_DEFAULT,
    Strategy,
};
pub use violation::Violation;
pub use write_concern::{WriteConcern, WriteConcernError};
