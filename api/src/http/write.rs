//! Replies to writes that are done.

use serde::{Deserialize, Serialize};

use crate::WriteConcern;

/// A write that is in the log, as far as its concern says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WriteReply {
    /// The keyspace's revision with this write in it; the one before, if the write changed nothing.
    pub revision: u64,
    /// The term of the leader that wrote it.
    pub term: u64,
    /// Its place in the log.
    pub index: u64,
    /// What the acknowledgement waited for, and how far it came.
    pub concern: Concern,
    /// What the caller should know. With status 202: the write is committed, but the time was up before as many
    /// members as asked for had it. With concern 1: a failover may undo it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// What an acknowledgement waited for, and how far it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Concern {
    /// What was asked for.
    pub requested: WriteConcern,
    /// On how many members the write is known to be durable, from 0: a store without a log has it nowhere.
    pub reached: u8,
}

/// A delete that is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeleteReply {
    /// As for every write.
    #[serde(flatten)]
    pub write: WriteReply,
    /// How many keys are gone; 0 if there was none, which is no error.
    pub deleted: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_has_the_documented_fields() {
        let concern = Concern { requested: WriteConcern::Majority, reached: 2 };
        let write = WriteReply { revision: 4, term: 2, index: 9, concern, warning: None };
        let json = r#"{"revision":4,"term":2,"index":9,"concern":{"requested":"majority","reached":2}}"#;
        assert_eq!(serde_json::to_string(&write).ok().as_deref(), Some(json));
        assert_eq!(serde_json::from_str::<WriteReply>(json).ok(), Some(write.clone()));
        let json = json.replace("}}", r#"},"deleted":1}"#);
        let delete = DeleteReply { write, deleted: 1 };
        assert_eq!(serde_json::to_string(&delete).ok().as_deref(), Some(json.as_str()));
        assert_eq!(serde_json::from_str::<DeleteReply>(&json).ok(), Some(delete));
    }
}
