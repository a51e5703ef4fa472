//! Server-sent events of a watch.
//!
//! First an event [`WATCH_STARTED`] with a [`WatchStarted`]. Then, for every revision that changed something under the
//! prefix, one event without a name whose id is the revision and whose data is a [`WatchBatch`]; so all changes of
//! one revision arrive together, and `Last-Event-ID` resumes right after them. Before the member ends a watch itself it
//! sends an event [`WATCH_END`] with a [`WatchEnd`]. Lines that begin with a colon keep the connection alive.

use serde::{Deserialize, Serialize};

use super::payload::{self, Base64, PayloadError};

/// The name of the first event.
pub const WATCH_STARTED: &str = "started";
/// The name of the last event, if the member ends the watch.
pub const WATCH_END: &str = "end";

/// The watch is in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WatchStarted {
    /// Every change in a revision from this one on will be sent.
    pub from: u64,
}

/// What one revision changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WatchBatch {
    /// The revision.
    pub revision: u64,
    /// At least one.
    pub events: Vec<WatchEvent>,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WatchEvent {
    /// What happened to the key.
    #[serde(rename = "type")]
    pub type_: WatchEventType,
    /// The key.
    pub key: String,
    /// Put: the value, if it is UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Put: the value, if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_base64: Option<Base64>,
    /// Put: the revision in which the key was put after it had not existed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create_revision: Option<u64>,
    /// Put: how often it was put since it was created, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
}

/// What happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum WatchEventType {
    /// It has a new value.
    Put,
    /// It is gone.
    Delete,
}

/// Why the member ends a watch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WatchEnd {
    /// `TooSlow`, `ShuttingDown` or `Compacted`.
    pub code: String,
    /// The reason in words, for people.
    pub detail: String,
    /// From which revision a new watch can go on. After `Compacted` changes before it are lost to the watcher, who has
    /// to list again.
    pub resume: u64,
}

impl WatchEvent {
    /// A key has a new value.
    pub fn put(key: String, value: Vec<u8>, create_revision: u64, version: u64) -> WatchEvent {
        let (value, value_base64) = payload::split(value);
        WatchEvent {
            type_: WatchEventType::Put,
            key,
            value,
            value_base64,
            create_revision: Some(create_revision),
            version: Some(version),
        }
    }

    /// A key is gone.
    pub fn delete(key: String) -> WatchEvent {
        WatchEvent {
            type_: WatchEventType::Delete,
            key,
            value: None,
            value_base64: None,
            create_revision: None,
            version: None,
        }
    }

    /// The new value's bytes; `None` for a delete.
    ///
    /// # Errors
    ///
    /// [`PayloadError`] if the other side did not write exactly one value with a put.
    pub fn bytes(&self) -> Result<Option<&[u8]>, PayloadError> {
        match self.type_ {
            WatchEventType::Put => payload::join(&self.value, &self.value_base64).map(Some),
            WatchEventType::Delete => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_have_the_documented_fields() {
        let events = vec![WatchEvent::put("a".into(), b"1".to_vec(), 7, 1), WatchEvent::delete("b".into())];
        let batch = WatchBatch { revision: 7, events };
        let json = r#"{"revision":7,"events":[{"type":"put","key":"a","value":"1","createRevision":7,"version":1},{"type":"delete","key":"b"}]}"#;
        assert_eq!(serde_json::to_string(&batch).ok().as_deref(), Some(json));
        let back: WatchBatch = serde_json::from_str(json).expect("readable");
        assert_eq!(back.events[0].bytes(), Ok(Some(b"1".as_slice())));
        assert_eq!(back.events[1].bytes(), Ok(None));
        assert_eq!(back, batch);
    }
}
