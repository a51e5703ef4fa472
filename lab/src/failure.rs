//! The failures that an experiment can inject, under the names that requests and results have for them.
//!
//! What each does to processes is the testbed's business.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// `default`: the process that serves is killed.
    #[default]
    Default,
    /// `leader`: the leader is killed.
    Leader,
    /// `follower`: a member that does not lead is killed.
    Follower,
    /// `partial`: one member is killed.
    Partial,
    /// `majority`: as many members are killed as make a majority.
    Majority,
    /// `total`: all members are killed.
    Total,
    /// `pause`: the process that serves stands still for a while, and goes on.
    Pause,
    /// `partition`: the member that serves is cut off from the others.
    Partition,
    /// `disk`: the member that serves is killed and its disk is gone.
    Disk,
    /// `disks`: all members are killed and all their disks are gone.
    Disks,
    /// `node_count`: as many members are killed as [`crate::Protocol::node_count`] says.
    NodeCount,
    /// `pod_kill`: as `default`; the name that dashboards send.
    PodKill,
    /// `latency`: messages to and from the member that serves come late.
    Latency,
}

/// Why a text is no failure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no type of failure; write one of {}", FailureKind::names())]
pub struct FailureKindError {
    /// The beginning of the text.
    pub text: String,
}

/// As much of a wrong name as an error repeats: twice the longest name.
const NAME_CHARS_SHOWN: usize = 20;

impl FailureKind {
    /// All of them.
    pub const ALL: [FailureKind; 13] = [
        FailureKind::Default,
        FailureKind::Leader,
        FailureKind::Follower,
        FailureKind::Partial,
        FailureKind::Majority,
        FailureKind::Total,
        FailureKind::Pause,
        FailureKind::Partition,
        FailureKind::Disk,
        FailureKind::Disks,
        FailureKind::NodeCount,
        FailureKind::PodKill,
        FailureKind::Latency,
    ];

    /// Its name in requests and results.
    pub const fn name(self) -> &'static str {
        match self {
            FailureKind::Default => "default",
            FailureKind::Leader => "leader",
            FailureKind::Follower => "follower",
            FailureKind::Partial => "partial",
            FailureKind::Majority => "majority",
            FailureKind::Total => "total",
            FailureKind::Pause => "pause",
            FailureKind::Partition => "partition",
            FailureKind::Disk => "disk",
            FailureKind::Disks => "disks",
            FailureKind::NodeCount => "node_count",
            FailureKind::PodKill => "pod_kill",
            FailureKind::Latency => "latency",
        }
    }

    /// All names, for a message.
    pub fn names() -> String {
        FailureKind::ALL.map(FailureKind::name).join(", ")
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for FailureKind {
    type Err = FailureKindError;

    fn from_str(text: &str) -> Result<FailureKind, FailureKindError> {
        let found = FailureKind::ALL.into_iter().find(|kind| kind.name() == text);
        found.ok_or_else(|| FailureKindError { text: text.chars().take(NAME_CHARS_SHOWN).collect() })
    }
}

impl Serialize for FailureKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for FailureKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<FailureKind, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_again() {
        for kind in FailureKind::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
        }
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_list() {
        let error = "fire in the computing centre".parse::<FailureKind>().expect_err("no failure");
        let text = error.to_string();
        assert!(text.starts_with("\"fire in the computin\" is no type of failure"), "{text}");
        assert!(text.contains("default, leader"), "{text}");
    }
}
