//! A member's health: `GET /health` on the client port. Unlike everything else its fields are written with underscores,
//! because clients of the replicated log read it too: they know `status`, `role`, `server_id` and `message_count`; those of files know
//! `status`, `node_id` and `node`, or `service` and `hostname`. What `status` says, the two read differently: [`HealthWords`].

use serde::{Deserialize, Serialize};

use super::{FaultsStatus, Role};

/// In whose words [`Health::status`] is said. Clients of message logs and of files ask the same route and know different ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "kind", derive(schemars::JsonSchema))]
pub enum HealthWords {
    /// healthy, degraded, read-only.
    #[default]
    MessageLog,
    /// UP, DOWN.
    Files,
}

impl HealthWords {
    /// Whether they are those of message logs.
    pub fn is_message_log(&self) -> bool {
        *self == HealthWords::MessageLog
    }
}

/// One member, and the others as it sees them. No quorum is needed to say it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// How it is.
    pub status: HealthStatus,
    /// What it is to clients of the replicated log.
    pub role: LogRole,
    /// Its name: the store's and its ordinal.
    pub server_id: String,
    /// What clients of files call it: `node-1` for ordinal 0, and so on.
    #[serde(default)]
    pub node_id: String,
    /// What it is to them, as `role` of `GET /nodes` in small letters.
    #[serde(default)]
    pub node: NodeRole,
    /// In the words of files: `naming-service`, which every member is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// In the words of files: its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Messages that it has in the log named `messages`.
    pub message_count: u64,
    /// What it is in its term.
    pub member_role: Role,
    /// Its term.
    pub term: u64,
    /// The name of the leader, if it knows one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<String>,
    /// Whether enough members are there, as far as it can see.
    pub quorum: Quorum,
    /// Whether writes are refused for now. Local reads go on.
    pub read_only: bool,
    /// Why it is not healthy, or what else a person should know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Every other member, by ordinal.
    pub peers: Vec<PeerHealth>,
    /// The faults that it may have on purpose. Absent if it may have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub faults: Option<FaultsStatus>,
}

/// How a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HealthStatus {
    /// It leads, or follows somebody who does.
    Healthy,
    /// It serves, but is not what it should be.
    Degraded,
    /// It takes no writes: no leader has a quorum, as far as it knows.
    ReadOnly,
    /// In the words of files: it serves.
    #[serde(rename = "UP")]
    Up,
    /// In the words of files: it is read-only.
    #[serde(rename = "DOWN")]
    Down,
}

/// What a member is to clients of the replicated log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogRole {
    /// It leads.
    Master,
    /// It does not.
    Secondary,
}

/// What a member is to clients of files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeRole {
    /// It leads.
    Main,
    /// It follows and votes.
    Replica,
    /// It does not vote.
    #[default]
    Backup,
}

impl NodeRole {
    /// As `GET /nodes` has it.
    pub fn name(self) -> &'static str {
        match self {
            NodeRole::Main => "MAIN",
            NodeRole::Replica => "REPLICA",
            NodeRole::Backup => "BACKUP",
        }
    }
}

/// Whether enough members are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quorum {
    /// Whether there is a leader and a majority of the voters.
    pub has: bool,
    /// How many vote.
    pub voters: u8,
    /// How many of those are there, itself among them.
    pub there: u8,
    /// How many are needed.
    pub needed: u8,
}

/// Another member, as this one sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeerHealth {
    /// Its name.
    pub server_id: String,
    /// How it is.
    pub status: PeerHealthStatus,
    /// Whether there is a connection to it.
    pub connected: bool,
    /// How long ago it was last heard of, in milliseconds. Followers hear of each other only at elections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_heard_ms_ago: Option<u64>,
    /// The last round trip, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round_trip_ms: Option<f64>,
    /// At a leader: by how many entries it is behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<u64>,
}

/// How a peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PeerHealthStatus {
    /// It is there.
    Healthy,
    /// It has missed heartbeats, or its connection is gone since a moment ago.
    Suspected,
    /// Nothing was heard of it for longer than the heartbeat timeout.
    Unhealthy,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_health_comes_back_as_it_was() {
        let check = |json: &str| {
            let health: Health = serde_json::from_str(json).expect("readable");
            assert_eq!(serde_json::to_string(&health).ok().as_deref(), Some(json));
        };
        let json = r#"{"status":"read-only","role":"secondary","server_id":"messages-1","node_id":"node-2","node":"replica","message_count":2,"member_role":"candidate","term":3,"quorum":{"has":false,"voters":3,"there":1,"needed":2},"read_only":true,"reason":"r","peers":[{"server_id":"messages-0","status":"unhealthy","connected":false,"last_heard_ms_ago":4000}]}"#;
        check(json);
        check(&json.replace(r#""read-only""#, r#""DOWN""#));
        check(&json.replace(
            r#""node":"replica","#,
            r#""node":"main","service":"naming-service","hostname":"messages-1","#,
        ));
    }
}
