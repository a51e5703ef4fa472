//! What a member says about itself and how it sees the others: `GET /v1/status`.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::FaultsStatus;
use crate::Strategy;

/// One member at one moment. It is this member's own view: two members may differ, and a member that is cut off
/// believes what it last heard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The store, as `namespace/name`.
    pub store: String,
    /// The store's identity, drawn when it was formed: 32 hexadecimal digits. Absent before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_id: Option<String>,
    /// The store's strategy.
    pub strategy: Strategy,
    /// This member's ordinal.
    pub member: u8,
    /// Which life of the ordinal this is: 16 hexadecimal digits.
    pub incarnation: String,
    /// The program's version.
    pub version: String,
    /// What it is in its term.
    pub role: Role,
    /// The ordinal of the leader, if it knows one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<u8>,
    /// Its term; 0 before the first election.
    pub term: u64,
    /// The ordinals that vote, ascending: by what this member knows to be committed, or by the last change in its log,
    /// which may not be. Empty before the store is formed.
    #[serde(default)]
    pub voters: Vec<u8>,
    /// How many members the store is to have, by the settings that this member uses; a leader adds and removes voters
    /// until it is so. 0 from versions that did not say.
    #[serde(default)]
    pub replicas: u8,
    /// How far its log has come.
    pub positions: Positions,
    /// The keyspace's committed revision; an empty store is at 1.
    pub revision: u64,
    /// A hash over the state. Members that are at the same index have the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_hash: Option<StateHash>,
    /// Every other member, by ordinal.
    pub peers: Vec<PeerStatus>,
    /// The newest checkpoint on this member's disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_checkpoint: Option<CheckpointStatus>,
    /// What a person should know, such as that a Baseline store lost everything and started empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The faults that it may have on purpose, as they are now. Absent if it may have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub faults: Option<FaultsStatus>,
    /// With consensus InSync: who must have a write, and whether the authority that decides it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_sync: Option<InSync>,
}

/// What a member of a store with consensus InSync knows of who must have a write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InSync {
    /// The ordinals that are in sync, ascending: at the primary as the authority said last, elsewhere as the log says.
    pub members: Vec<u8>,
    /// So many stay in sync, whatever happens.
    pub min: u8,
    /// How it is with the authority.
    pub authority: AuthorityStatus,
}

/// How it is with the authority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthorityStatus {
    /// What it is: a file, or a Lease.
    pub name: String,
    /// Whether it answers.
    pub state: AuthorityState,
    /// Why it does not, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Whether the authority answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthorityState {
    /// It was not asked yet.
    Unknown,
    /// It answered when it was asked last.
    Reachable,
    /// It did not. Nobody can be taken out or in, and nobody can take over, until it does.
    Unreachable,
    /// It is not there any more, or another one has its name. It does not come back by itself.
    Lost,
}

/// What a member is in its term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "kind", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The store is not formed yet, or this member does not know it.
    Unformed,
    /// It learns, but its word does not count.
    Learner,
    /// A voter that follows, or would if it knew whom.
    Follower,
    /// A voter that asks for votes.
    Candidate,
    /// The one that orders writes.
    Leader,
}

/// How far a member's log has come: indexes, 0 before the first entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Positions {
    /// In memory or the page cache up to here.
    pub written: u64,
    /// Survives power loss up to here.
    pub durable: u64,
    /// Known to be committed up to here.
    pub commit: u64,
    /// Carried out up to here. A leader carries out before it commits.
    pub applied: u64,
}

/// A hash over the state at an index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StateHash {
    /// The index.
    pub index: u64,
    /// 16 hexadecimal digits.
    pub hash: String,
}

/// Another member, as this one sees it. What only a leader knows is absent elsewhere.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerStatus {
    /// Its ordinal.
    pub ordinal: u8,
    /// Which life of it, if it ever introduced itself: 16 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incarnation: Option<String>,
    /// Whether there is a connection.
    pub connected: bool,
    /// At a leader: its log matches up to this index.
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    pub match_: Option<u64>,
    /// At a leader: it has acknowledged as durable up to this index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub durable: Option<u64>,
    /// At a leader: by how many entries it is behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<u64>,
    /// The last round trip, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round_trip_ms: Option<f64>,
    /// How long ago it was last heard of, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_heartbeat_ms_ago: Option<u64>,
}

/// A checkpoint on a member's disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckpointStatus {
    /// The last entry in it.
    pub index: u64,
    /// That entry's term.
    pub term: u64,
    /// The keyspace's revision in it, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// When it was durable.
    pub time: Timestamp,
    /// How large its file is.
    pub bytes: u64,
}

impl Role {
    /// Whether it is a voter.
    pub fn votes(self) -> bool {
        matches!(self, Role::Follower | Role::Candidate | Role::Leader)
    }

    /// The name, as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Role::Unformed => "unformed",
            Role::Learner => "learner",
            Role::Follower => "follower",
            Role::Candidate => "candidate",
            Role::Leader => "leader",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_comes_back_as_it_was() {
        let json = r#"{"store":"shop/orders","storeId":"00000000000000000000000000000001","strategy":"Replication","member":0,"incarnation":"00000000000000ab","version":"0.1.0","role":"leader","leader":0,"term":3,"voters":[0,1,2],"replicas":3,"positions":{"written":9,"durable":9,"commit":8,"applied":9},"revision":7,"stateHash":{"index":8,"hash":"00000000000000cd"},"peers":[{"ordinal":1,"incarnation":"00000000000000ac","connected":true,"match":9,"durable":8,"lag":1,"roundTripMs":0.25,"lastHeartbeatMsAgo":40},{"ordinal":2,"connected":false}],"lastCheckpoint":{"index":5,"term":2,"revision":4,"time":"2026-11-21T08:00:00Z","bytes":1024},"note":"n"}"#;
        let status: Status = serde_json::from_str(json).expect("readable");
        assert_eq!(serde_json::to_string(&status).ok().as_deref(), Some(json));
        assert_eq!(status.peers[0].match_, Some(9));
    }

    #[test]
    fn a_role_is_called_the_same_everywhere() {
        for role in [Role::Unformed, Role::Learner, Role::Follower, Role::Candidate, Role::Leader] {
            assert_eq!(serde_json::to_value(role).ok(), Some(role.name().into()));
        }
    }
}
