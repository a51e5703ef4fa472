//! The FaultExperiment kind: what a user writes to have strategies compared on this cluster, and what the lab has found so far. Its fields are
//! those of an `experiment.yaml`; what is the cluster's business comes after them.
//!
//! It refuses to measure: the lab does.

#![expect(unreachable_pub, reason = "the derive repeats every struct, with its `pub`, inside of a function")]

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;
use crate::{Durability, Span, Strategy};

/// Failures on purpose, to compare strategies: makes stores, stores items, kills members, and measures until the data can be read again.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "holdfast.dev",
    version = "v1alpha1",
    kind = "FaultExperiment",
    plural = "faultexperiments",
    singular = "faultexperiment",
    shortname = "hfe",
    category = "holdfast",
    namespaced,
    derive = "PartialEq",
    doc = "Failures on purpose, to compare strategies: makes stores, stores items, kills members, and measures until the data can be read again. The lab carries it out; deleting it cancels it and takes its stores away.",
    status = "FaultExperimentStatus",
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase", description = "The state in one word"),
    printcolumn(name = "Progress", type_ = "string", json_path = ".status.progress", description = "Runs that are measured, of all"),
    printcolumn(name = "Failed", type_ = "integer", json_path = ".status.failedRuns", description = "Runs that measured nothing"),
    printcolumn(name = "Failure", type_ = "string", json_path = ".spec.failureType", description = "What fails"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Items", type_ = "integer", json_path = ".spec.items", priority = 1, description = "Items that are stored before each failure"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message", priority = 1, description = "What is being done, or why it ended"),
    validation = Rule::new("self.metadata.name.size() <= 40 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("the stores get their names from metadata.name: write at most 40 lower-case letters, digits and hyphens, a letter first, no hyphen last")
)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::tidy)]
#[x_kube(
    validation = Rule::new("self == oldSelf")
        .message("an experiment cannot change, its runs would be no sample together: create another one"),
    validation = Rule::new("self.nodeCount == 1 || self.failureType == 'node_count'")
        .field_path(".nodeCount")
        .message("only failureType node_count has a number of members: write it, or remove nodeCount"),
    validation = Rule::new("self.configurations.size() * self.runs <= 2000")
        .field_path(".runs")
        .message("the results must fit into one ConfigMap: write at most 2000 runs of all configurations together"),
)]
pub struct FaultExperimentSpec {
    /// What is compared, 1 to 32. If it is left out, the eight of the research protocol: Baseline, Checkpointing every 15s, 30s and 60s,
    /// Replication with 2, 3 and 5 members, and Hybrid.
    #[serde(default = "configurations")]
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub configurations: Vec<ExperimentConfiguration>,

    /// How often each is measured, from 1 to 1000.
    #[serde(default = "runs")]
    #[schemars(range(min = 1, max = 1000))]
    pub runs: u16,

    /// How many items are stored before each failure, from 1 to 1000000.
    #[serde(default = "items")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub items: u32,

    /// What fails. default, leader: the process of the member that serves is killed. follower: that of one that does not. partial: that of one.
    /// node_count: those of nodeCount members. majority: those of more than half. total: all. pause: the process of the member that serves stands
    /// still. pod_kill: the pod of the member that serves is deleted without grace.
    #[serde(default)]
    pub failure_type: FaultType,

    /// How many members fail, for failureType node_count, from 1 to 7.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 7))]
    pub node_count: u8,

    /// Whether a checkpoint is taken right before the failure, where the strategy takes any.
    #[serde(default = "yes")]
    pub trigger_checkpoint: bool,

    /// How many clients go on writing during the failure, at most 64.
    #[serde(default)]
    #[schemars(range(min = 0, max = 64))]
    pub writers: u16,

    /// What the order of the runs and everything random in them is drawn from.
    #[serde(default = "seed")]
    pub seed: u32,

    /// Each member's volume, while its store lasts.
    #[serde(default)]
    pub storage: ExperimentStorage,

    /// What each member's container requests and may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::resources")]
    pub resources: Option<ResourceRequirements>,

    /// The members' image. If it is left out, the one that belongs to the operator's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = schema::IMAGE_PATTERN))]
    pub image: Option<String>,
}

/// A store as the experiment compares it.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.replicas == 1 || self.strategy in ['Replication', 'Hybrid']")
        .field_path(".replicas")
        .message("Baseline and Checkpointing have one member: remove replicas"),
    validation = Rule::new("!has(self.checkpointInterval) || self.strategy in ['Checkpointing', 'Hybrid']")
        .field_path(".checkpointInterval")
        .message("Baseline and Replication take no checkpoints: remove checkpointInterval"),
    validation = Rule::new("!has(self.durability) || self.durability == 'Disk' || self.strategy != 'Hybrid'")
        .field_path(".durability")
        .message("Hybrid keeps its log on disk: remove durability"),
    validation = Rule::new("!has(self.durability) || self.durability == 'Disk' || self.replicas > 1 || self.strategy != 'Replication'")
        .field_path(".durability")
        .message("one member without a log keeps nothing: write strategy: Baseline"),
    validation = Rule::new("!has(self.durability) || self.durability == 'Memory' || self.strategy in ['Replication', 'Hybrid']")
        .field_path(".durability")
        .message("Baseline and Checkpointing keep no log: remove durability"),
)]
pub struct ExperimentConfiguration {
    /// What it is called in the results: letters, digits, hyphens, underscores and dots, a letter or digit first; at most 64.
    #[schemars(length(min = 1, max = 64), regex(pattern = schema::CONFIGURATION_PATTERN))]
    pub name: String,

    /// What the store does against faults.
    pub strategy: Strategy,

    /// How many members hold the state, from 1 to 7.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 7))]
    pub replicas: u8,

    /// How often a checkpoint is taken, from 1s to 24h; for Checkpointing and Hybrid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('24h')").message("write an interval from 1s to 24h"))]
    pub checkpoint_interval: Option<Span>,

    /// Where members keep their log. If it is left out, what the strategy has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub durability: Option<Durability>,
}

/// Each member's volume, while its store lasts.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExperimentStorage {
    /// Its size, such as 1Gi; at least 256Mi.
    #[serde(default = "storage_size")]
    #[schemars(schema_with = "schema::size")]
    #[x_kube(validation = Rule::new("quantity(self).compareTo(quantity('256Mi')) >= 0")
        .message("a member's log and its checkpoints must fit: write 256Mi or more"))]
    pub size: Quantity,

    /// Its storage class. If it is left out, the cluster's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub storage_class_name: Option<String>,
}

/// What can fail on a cluster, by the names that results have for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FaultType {
    /// The process of the member that serves is killed.
    #[default]
    Default,
    /// The same.
    Leader,
    /// The process of a member that does not serve is killed.
    Follower,
    /// The process of one member is killed.
    Partial,
    /// Those of more than half are killed.
    Majority,
    /// All are killed.
    Total,
    /// The process of the member that serves stands still for a while.
    Pause,
    /// Those of so many are killed as the experiment says.
    NodeCount,
    /// The pod of the member that serves is deleted without grace.
    PodKill,
}

/// What the lab has found so far.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::tidy)]
pub struct FaultExperimentStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// The state in one word; the conditions say more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<ExperimentPhase>,

    /// Runs that are measured, of all: 37/160.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub progress: Option<String>,

    /// How many runs are measured.
    #[serde(default)]
    pub completed_runs: i32,

    /// How many runs measured nothing. They are tried again when the lab starts again.
    #[serde(default)]
    pub failed_runs: i32,

    /// What is being done, or why it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,

    /// When the first run began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,

    /// When the last run ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,

    /// The ConfigMap with the results as CSV.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub results: Option<String>,

    /// What was measured, by configuration.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub summary: Vec<ConfigurationSummary>,

    /// Complete, Failed, Progressing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// The state of an experiment in one word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ExperimentPhase {
    /// Another experiment is under way; they would disturb each other.
    #[default]
    Pending,
    /// It is being measured.
    Running,
    /// Every run is measured.
    Complete,
    /// It ended without them; the conditions say why.
    Failed,
}

/// What was measured of one configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigurationSummary {
    /// The configuration's name.
    #[schemars(length(max = 64))]
    pub name: String,
    /// How many runs are measured.
    pub runs: i32,
    /// Their recovery times' mean, in seconds.
    pub mean_seconds: f64,
    /// Half of them are not greater, in seconds.
    pub p50_seconds: f64,
    /// 95 of 100 are not greater, in seconds.
    pub p95_seconds: f64,
    /// The share of the items that came back, on average, in percent.
    pub recovered_percent: f64,
}

impl Default for FaultExperimentSpec {
    /// What an empty spec means.
    fn default() -> FaultExperimentSpec {
        FaultExperimentSpec {
            configurations: configurations(),
            runs: runs(),
            items: items(),
            failure_type: FaultType::default(),
            node_count: one(),
            trigger_checkpoint: yes(),
            writers: 0,
            seed: seed(),
            storage: ExperimentStorage::default(),
            resources: None,
            image: None,
        }
    }
}

impl Default for ExperimentStorage {
    fn default() -> ExperimentStorage {
        ExperimentStorage { size: storage_size(), storage_class_name: None }
    }
}

impl ExperimentPhase {
    /// Whether nothing more is done.
    pub fn is_final(self) -> bool {
        matches!(self, ExperimentPhase::Complete | ExperimentPhase::Failed)
    }
}

/// The eight that the research protocol compares, in its order.
fn configurations() -> Vec<ExperimentConfiguration> {
    let one = |name: &str, strategy, replicas, seconds: Option<u64>| ExperimentConfiguration {
        name: name.to_owned(),
        strategy,
        replicas,
        checkpoint_interval: seconds.map(Span::from_secs),
        durability: None,
    };
    vec![
        one("Baseline", Strategy::Baseline, 1, None),
        one("Checkpoint_15s", Strategy::Checkpointing, 1, Some(15)),
        one("Checkpoint_30s", Strategy::Checkpointing, 1, Some(30)),
        one("Checkpoint_60s", Strategy::Checkpointing, 1, Some(60)),
        one("Replication_F2", Strategy::Replication, 2, None),
        one("Replication_F3", Strategy::Replication, 3, None),
        one("Replication_F5", Strategy::Replication, 5, None),
        one("Hybrid_30s_F3", Strategy::Hybrid, 3, Some(30)),
    ]
}

fn runs() -> u16 {
    20
}

fn items() -> u32 {
    100
}

fn one() -> u8 {
    1
}

fn yes() -> bool {
    true
}

fn seed() -> u32 {
    1
}

/// Two segments of the log, and two checkpoints of a million small items.
fn storage_size() -> Quantity {
    Quantity("1Gi".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_spec_is_the_default() {
        let read: FaultExperimentSpec = serde_json::from_str("{}").expect("readable");
        assert_eq!(read, FaultExperimentSpec::default());
        assert_eq!(read.configurations.len(), 8);
    }

    #[test]
    fn a_finished_experiment_stays_finished() {
        assert!(ExperimentPhase::Complete.is_final() && ExperimentPhase::Failed.is_final());
        assert!(!ExperimentPhase::Pending.is_final() && !ExperimentPhase::Running.is_final());
    }
}
