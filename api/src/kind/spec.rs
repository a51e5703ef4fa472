//! What a user writes. Rules that need two fields, or that say what to write instead, are CEL; every text and list has a
//! bound, because the API server estimates a rule's cost from them.
//!
//! Defaults that do not depend on another field are in the schema, so that `kubectl get` shows them. The others are in
//! [`super::effective`].

#![expect(unreachable_pub, reason = "the derive repeats every struct, with its `pub`, inside of a function")]

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::laptop::LaptopSpec;
use super::schema;
use super::status::ReplicatedStoreStatus;
use super::template::PodTemplate;
use crate::http::HealthWords;
use crate::names::CLIENT_PORT;
use crate::strategy::{
    CHECKPOINT_RETAIN_DEFAULT, Consensus, Durability, HEARTBEAT_INTERVAL_DEFAULT, HEARTBEAT_TIMEOUT_DEFAULT,
    REPLICAS_DEFAULT, Strategy,
};
use crate::{Compression, Span, WriteConcern};

/// Replicated state beside an application: every pod gets a sidecar that replicates, takes checkpoints, sends
/// heartbeats and reports metrics.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "holdfast.dev",
    version = "v1alpha1",
    kind = "ReplicatedStore",
    plural = "replicatedstores",
    singular = "replicatedstore",
    shortname = "hfs",
    category = "holdfast",
    namespaced,
    derive = "PartialEq",
    doc = "Replicated state beside an application: every pod gets a sidecar that replicates, takes checkpoints, sends heartbeats and reports metrics.",
    status = "ReplicatedStoreStatus",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Replicas", type_ = "integer", json_path = ".spec.replicas", description = "How many members it should have"),
    printcolumn(name = "Ready", type_ = "integer", json_path = ".status.readyReplicas", description = "How many members are ready"),
    printcolumn(name = "Leader", type_ = "string", json_path = ".status.leader", description = "The member that orders writes"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase", description = "The state in one word"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Term", type_ = "integer", json_path = ".status.term", priority = 1, description = "Counts elections"),
    printcolumn(name = "Commit", type_ = "integer", json_path = ".status.commit", priority = 1, description = "Index of the last committed entry"),
    printcolumn(name = "Strategy", type_ = "string", json_path = ".spec.strategy", priority = 1, description = "What it does against faults"),
    printcolumn(name = "LastCheckpoint", type_ = "date", json_path = ".status.lastCheckpoint.time", priority = 1, description = "When the newest checkpoint was taken"),
    validation = Rule::new("self.metadata.name.size() <= 52 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("Services and pods get their names from metadata.name: write at most 52 lower-case letters, digits and hyphens, a letter first, no hyphen last")
)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::tidy)]
#[x_kube(
    validation = Rule::new("self.replicas == 1 || self.strategy in ['Replication', 'Hybrid']")
        .field_path(".replicas")
        .message("strategies Baseline and Checkpointing have one member: write replicas: 1, or strategy: Replication or Hybrid"),
    validation = Rule::new("!has(self.checkpoint) || self.strategy in ['Checkpointing', 'Hybrid']")
        .field_path(".checkpoint")
        .message("strategies Baseline and Replication take no checkpoints: remove checkpoint, or write strategy: Checkpointing or Hybrid"),
    validation = Rule::new("!has(self.checkpoint) || !has(self.checkpoint.outside) || (self.strategy == 'Hybrid' && self.consensus == 'Majority')")
        .field_path(".checkpoint.outside")
        .message("only strategy Hybrid with consensus Majority keeps checkpoints outside of its members: remove checkpoint.outside, or write both"),
    validation = Rule::new("!has(self.durability) || self.durability != 'Memory' || self.strategy != 'Hybrid'")
        .field_path(".durability")
        .message("strategy Hybrid keeps its log on disk: remove durability, or write strategy: Replication"),
    validation = Rule::new("!has(self.durability) || self.durability != 'Memory' || self.replicas > 1 || self.strategy in ['Baseline', 'Checkpointing']")
        .field_path(".durability")
        .message("one member without a log is strategy Baseline or Checkpointing: write one of these, or durability: Disk"),
    validation = Rule::new("!has(self.durability) || self.durability != 'Disk' || self.strategy in ['Replication', 'Hybrid']")
        .field_path(".durability")
        .message("strategies Baseline and Checkpointing keep no log: remove durability, or write strategy: Replication or Hybrid"),
    validation = Rule::new("self.consensus != 'InSync' || self.replicas >= 2")
        .field_path(".consensus")
        .message("consensus InSync needs at least two members: write replicas: 2 or more, or consensus: Majority"),
    validation = Rule::new("self.minInSync == 1 || (self.consensus == 'InSync' && self.minInSync <= self.replicas)")
        .field_path(".minInSync")
        .message("minInSync goes with consensus InSync, from 1 to replicas: remove it, or write consensus: InSync"),
    validation = Rule::new("string(self.writeConcern) in ['majority', 'all'] || (string(self.writeConcern) in ['1', '2', '3', '4', '5', '6', '7'] && int(self.writeConcern) <= self.replicas)")
        .field_path(".writeConcern")
        .message("write majority, all, or a number of members from 1 to replicas"),
    validation = Rule::new("!has(self.laptop) || !has(self.laptop.leader) || self.laptop.leader < self.replicas")
        .field_path(".laptop.leader")
        .message("there is no such member: write an ordinal below replicas, from 0"),
    validation = Rule::new("(has(self.durability) ? self.durability : (self.strategy in ['Replication', 'Hybrid'] ? 'Disk' : 'Memory')) == (has(oldSelf.durability) ? oldSelf.durability : (oldSelf.strategy in ['Replication', 'Hybrid'] ? 'Disk' : 'Memory'))")
        .field_path(".durability")
        .message("durability cannot change after creation: create another store and copy the data"),
)]
pub struct ReplicatedStoreSpec {
    /// How many members hold the state, from 1 to 7. A majority of them must be reachable: 3 survive the loss of one, 5 of
    /// two. Can change while the store serves; the volumes of members that are removed are deleted.
    #[serde(default = "replicas")]
    #[schemars(range(min = 1, max = 7))]
    pub replicas: u8,

    /// What the store does against faults. Baseline: one member that keeps nothing. Checkpointing: one member that
    /// writes a checkpoint every interval. Replication: members with the same log. Hybrid: replication and
    /// checkpoints. Can change between Replication and Hybrid only.
    #[serde(default)]
    #[x_kube(validation = Rule::new("self == oldSelf || (self in ['Replication', 'Hybrid'] && oldSelf in ['Replication', 'Hybrid'])")
        .message("strategy can change between Replication and Hybrid only: create another store and copy the data"))]
    pub strategy: Strategy,

    /// Which members must hold a write before it is committed. Majority: more than half of them. InSync: every member that
    /// is in sync, so that the store goes on while one of them lives; so far with `holdfast up` only, not on Kubernetes.
    /// Cannot change after creation.
    #[serde(default)]
    #[x_kube(
        validation = Rule::new("self == oldSelf").message("consensus cannot change after creation: create another store and copy the data")
    )]
    pub consensus: Consensus,

    /// With consensus InSync: so many members stay in sync, whatever happens, from 1 to replicas. With 1 the last member
    /// that lives goes on alone; with more, writes wait until so many live.
    /// Cannot change after creation.
    #[serde(default = "min_in_sync")]
    #[schemars(range(min = 1, max = 7))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("minInSync cannot change after creation: create another store and copy the data"))]
    pub min_in_sync: u8,

    /// Where members keep their log. Disk: an acknowledged write is on the disk. Memory: nowhere. If it is left out,
    /// Disk for Replication and Hybrid, Memory for Baseline and Checkpointing. Cannot change after creation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub durability: Option<Durability>,

    /// What the acknowledgement of a write waits for if the request does not say: majority, all, or a number of
    /// members. With less than a majority a failover may undo acknowledged writes.
    #[serde(default)]
    pub write_concern: WriteConcern,

    /// How members find out that one is gone.
    #[serde(default)]
    pub heartbeat: HeartbeatSpec,

    /// When checkpoints are taken and how many are kept; for Checkpointing and Hybrid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<CheckpointSpec>,

    /// In whose words GET /health says its status, for clients that know only one kind of them. MessageLog: healthy, degraded or
    /// read-only. Files: UP or DOWN.
    #[serde(default, skip_serializing_if = "HealthWords::is_message_log")]
    pub health_words: HealthWords,

    /// Each member's volume.
    #[serde(default)]
    pub storage: StorageSpec,

    /// What the sidecar's container requests and may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::resources")]
    pub resources: Option<ResourceRequirements>,

    /// The sidecar's image. If it is left out, the one that belongs to the operator's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = schema::IMAGE_PATTERN))]
    pub image: Option<String>,

    /// The application's pods. Without it the sidecar is the pod's only container; with it, the sidecar starts before
    /// the application's containers and ends after them, and they reach it at localhost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<PodTemplate>,

    /// The Services of all ready members and of the leader.
    #[serde(default)]
    pub service: ServiceSpec,

    /// What holdfast up does with the store on one machine: further ports, faults on purpose. The operator does not look at
    /// it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub laptop: Option<LaptopSpec>,
}

/// How members find out that one is gone.
#[derive(KubeSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("duration(self.interval) + duration(self.interval) + duration(self.interval) <= duration(self.timeout)")
        .field_path(".timeout")
        .message("timeout must be at least three intervals: write a longer timeout or a shorter interval"),
)]
pub struct HeartbeatSpec {
    /// How often a leader lets its followers know that it lives, such as 100ms; at least 10ms.
    #[serde(default = "heartbeat_interval")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('10ms')").message("heartbeats faster than that keep a core busy: write 10ms or more"))]
    pub interval: Span,

    /// After so long without word from the leader a follower campaigns, such as 1s; at least three intervals and at most
    /// 10m.
    #[serde(default = "heartbeat_timeout")]
    #[x_kube(validation = Rule::new("duration(self) <= duration('10m')").message("nobody would notice a dead leader for that long: write 10m or less"))]
    pub timeout: Span,
}

/// When checkpoints are taken, and how many are kept.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckpointSpec {
    /// The time between checkpoints, from 1s to 24h. If it is left out, 30s for Checkpointing and 5m for Hybrid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('24h')").message("write an interval from 1s to 24h"))]
    pub interval: Option<Span>,

    /// How many checkpoints are kept, from 1 to 50. Each is a whole copy of the state.
    #[serde(default = "checkpoint_retain")]
    #[schemars(range(min = 1, max = 50))]
    pub retain: u8,

    /// How they are written: None, which is the fastest, or Lz4, which is smaller. Old ones stay as they are.
    #[serde(default, skip_serializing_if = "Compression::is_none")]
    pub compression: Compression,

    /// Where checkpoints are kept outside of the members too, so that the store begins again from the newest one when all
    /// members and their volumes are lost; for Hybrid. On a laptop that is always the folder `outside` beside those of the
    /// members, and this is not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outside: Option<OutsideSpec>,
}

/// A volume that is none of the members' own.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OutsideSpec {
    /// A PersistentVolumeClaim in the store's namespace that is there already, and that all members can write to:
    /// ReadWriteMany, unless there is only one node. Several stores may use the same one.
    #[schemars(length(min = 1, max = 253))]
    pub claim_name: String,
}

/// Each member's volume.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.storageClassName) == has(oldSelf.storageClassName) && (!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)")
        .field_path(".storageClassName")
        .message("storageClassName cannot change after creation: create another store and copy the data"),
)]
pub struct StorageSpec {
    /// Its size, such as 10Gi; at least 256Mi. It may grow later, if the storage class allows that.
    #[serde(default = "storage_size")]
    #[schemars(schema_with = "schema::size")]
    #[x_kube(
        validation = Rule::new("quantity(self).compareTo(quantity('256Mi')) >= 0")
            .message("a segment of the log takes 64Mi, and a checkpoint is written beside the one before: write 256Mi or more"),
        validation = Rule::new("quantity(self).compareTo(quantity(oldSelf)) >= 0")
            .message("a volume cannot shrink: write the size it has, or more")
    )]
    pub size: Quantity,

    /// Its storage class. If it is left out, the cluster's default. Cannot change after creation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub storage_class_name: Option<String>,

    /// What becomes of the volumes when the store is deleted. Retain: they stay, and a store of the same name finds its data. Delete: they go
    /// with it.
    #[serde(default, skip_serializing_if = "WhenDeleted::is_retain")]
    pub when_deleted: WhenDeleted,
}

/// What becomes of the volumes when the store is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum WhenDeleted {
    /// They stay.
    #[default]
    Retain,
    /// They go too.
    Delete,
}

impl WhenDeleted {
    fn is_retain(&self) -> bool {
        *self == WhenDeleted::Retain
    }
}

/// The Services of all ready members and of the leader. The Service in which members find each other is not touched.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceSpec {
    /// Who can reach them: the cluster (ClusterIP), or others too.
    #[serde(default, rename = "type")]
    pub type_: ServiceType,

    /// Annotations of both Services, such as a load balancer wants them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::annotations")]
    pub annotations: BTreeMap<String, String>,

    /// The port for clients. Members listen on 7400 whatever it is.
    #[serde(default = "service_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
}

/// Who can reach a Service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum ServiceType {
    /// The cluster.
    #[default]
    ClusterIP,
    /// Also everybody who reaches a node.
    NodePort,
    /// Also everybody who reaches the load balancer.
    LoadBalancer,
}

impl Default for ReplicatedStoreSpec {
    /// What an empty spec means.
    fn default() -> ReplicatedStoreSpec {
        ReplicatedStoreSpec {
            replicas: replicas(),
            strategy: Strategy::default(),
            consensus: Consensus::default(),
            min_in_sync: min_in_sync(),
            durability: None,
            write_concern: WriteConcern::default(),
            heartbeat: HeartbeatSpec::default(),
            checkpoint: None,
            health_words: HealthWords::default(),
            storage: StorageSpec::default(),
            resources: None,
            image: None,
            template: None,
            service: ServiceSpec::default(),
            laptop: None,
        }
    }
}

impl Default for HeartbeatSpec {
    fn default() -> HeartbeatSpec {
        HeartbeatSpec { interval: heartbeat_interval(), timeout: heartbeat_timeout() }
    }
}

impl Default for CheckpointSpec {
    fn default() -> CheckpointSpec {
        CheckpointSpec {
            interval: None,
            retain: checkpoint_retain(),
            compression: Compression::None,
            outside: None,
        }
    }
}

impl Default for StorageSpec {
    fn default() -> StorageSpec {
        StorageSpec { size: storage_size(), storage_class_name: None, when_deleted: WhenDeleted::default() }
    }
}

impl Default for ServiceSpec {
    fn default() -> ServiceSpec {
        ServiceSpec { type_: ServiceType::default(), annotations: BTreeMap::new(), port: service_port() }
    }
}

fn min_in_sync() -> u8 {
    1
}

fn replicas() -> u8 {
    REPLICAS_DEFAULT
}

fn heartbeat_interval() -> Span {
    HEARTBEAT_INTERVAL_DEFAULT
}

fn heartbeat_timeout() -> Span {
    HEARTBEAT_TIMEOUT_DEFAULT
}

fn checkpoint_retain() -> u8 {
    CHECKPOINT_RETAIN_DEFAULT
}

/// Three checkpoints of the 2 GiB that a store may hold, the next one, and the log.
fn storage_size() -> Quantity {
    Quantity("10Gi".to_owned())
}

fn service_port() -> u16 {
    CLIENT_PORT
}
