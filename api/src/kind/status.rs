//! What the operator has seen. Numbers come from the sidecars and are as old as the operator's last question; nothing
//! that protects data decides by them.

#![expect(unreachable_pub, reason = "the derive repeats every struct, with its `pub`, inside of a function")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;
use crate::http::Role;

/// What the operator has seen.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::tidy)]
pub struct ReplicatedStoreStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// The state in one word; the conditions say more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,

    /// How many members there are.
    #[serde(default)]
    pub replicas: i32,

    /// How many of them are ready.
    #[serde(default)]
    pub ready_replicas: i32,

    /// Selects the members' pods, for the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub selector: Option<String>,

    /// The name of the member that leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub leader: Option<String>,

    /// The highest term that a member told of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub term: Option<i64>,

    /// The highest committed index that a member told of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<i64>,

    /// The newest checkpoint that a member told of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_checkpoint: Option<LastCheckpoint>,

    /// Every member, by ordinal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 7))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub members: Vec<MemberStatus>,

    /// With consensus InSync: who must have a write, and what decides that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_sync: Option<InSyncStatus>,

    /// Ready, Progressing, Degraded, QuorumLost; with consensus InSync also LastCopy and AuthorityLost.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// The state in one word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// Its objects are made, or its pods are about to start.
    #[default]
    Pending,
    /// The members have not all found each other for the first time yet.
    Forming,
    /// All members are ready, and one leads.
    Ready,
    /// Members are being restarted, one after the other, or added, or removed.
    Updating,
    /// It serves, but with fewer members than it should have, or a leader is being elected.
    Degraded,
    /// No majority of the members is reachable: no writes, no linearizable reads.
    QuorumLost,
    /// The spec cannot be carried out; the conditions say why.
    Invalid,
}

/// A checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastCheckpoint {
    /// When it was durable.
    pub time: Time,
    /// The last entry in it.
    pub index: i64,
    /// That entry's term.
    pub term: i64,
    /// The keyspace's revision in it, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<i64>,
    /// How large its file is.
    pub bytes: i64,
    /// The member that has it.
    #[schemars(length(max = 253))]
    pub member: String,
}

/// With consensus InSync: who must have a write, and what decides that, as the store's Lease says it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InSyncStatus {
    /// The Lease that decides.
    #[schemars(length(max = 253))]
    pub lease: String,
    /// The uid that it was made with. It is never made again: another one knows nothing of what was committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub lease_uid: Option<String>,
    /// The members that have every committed write, by ordinal. Any of them may lead next.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 7), inner(length(max = 253)))]
    pub members: Vec<String>,
    /// The member that leads, by the Lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub primary: Option<String>,
    /// The term that it leads in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<i64>,
    /// The last order to start from a member that may have lost writes that was carried out or refused: `ORDINAL@EPOCH`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub forced_start: Option<String>,
    /// What became of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub forced_outcome: Option<String>,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemberStatus {
    /// Its name, which is its pod's.
    #[schemars(length(max = 253))]
    pub name: String,
    /// Its ordinal.
    pub ordinal: u8,
    /// Whether it is ready.
    pub ready: bool,
    /// What it said that it is; absent if it did not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Which life of the ordinal it is: 16 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub incarnation: Option<String>,
    /// Its term.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub term: Option<i64>,
    /// Up to where it knows entries to be committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<i64>,
    /// By how many entries it is behind, as the leader says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<i64>,
    /// The node that its pod is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub node: Option<String>,
    /// The sidecar's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub version: Option<String>,
    /// What a person should know, such as why it did not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub note: Option<String>,
}
