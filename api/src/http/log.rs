//! Message logs: append, read, follow, and a log's settings.
//!
//! `/messages` is the log named [`LOG_DEFAULT`]; every log has the same routes under `/v1/logs/{log}`. A message's `id` is
//! its `sequence`, from 1, without gaps: both names are there because clients of either habit read one of them.
//! `timeout_ms` is written as those clients write it; the other fields follow the conventions of this module.
//!
//! A stream of a log is server-sent events. First [`LOG_STARTED`] with a [`LogStarted`]; then one event without a name for
//! each message, whose id is the sequence and whose data is a [`LogMessage`], so that `Last-Event-ID` resumes right
//! after it. With `read=local` an event [`LOG_UNDONE`] says that messages which were shown do not exist any more. Before the
//! member ends a stream itself it sends [`LOG_END`]. Lines that begin with a colon keep the connection alive.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::payload::{self, Base64, PayloadError};
use crate::{Span, WriteConcern};

/// The log of `/messages`.
pub const LOG_DEFAULT: &str = "messages";
/// The name of a stream's first event.
pub const LOG_STARTED: &str = "started";
/// The name of the event that takes messages back.
pub const LOG_UNDONE: &str = "undone";
/// The name of the last event, if the member ends the stream.
pub const LOG_END: &str = "end";

/// One message on its way into a log. Exactly one of `message` and `message_base64` is there, and not empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AppendRequest {
    /// The message, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The message, in Base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_base64: Option<Base64>,
    /// What the reply waits for; without it: every member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub w: Option<WriteConcern>,
    /// How long the reply may take, in milliseconds.
    #[serde(default, rename = "timeout_ms", skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

/// A message that is in the log. With status 201 the concern was reached; with 202 it was not in time, and `warning` says
/// so: the message is stored, and replication goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AppendReply {
    /// The message's place in the log, from 1.
    pub id: u64,
    /// The message, if it is UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The message, if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_base64: Option<Base64>,
    /// The same as `id`.
    pub sequence: u64,
    /// When it was appended; never earlier than the message before it.
    pub timestamp: Timestamp,
    /// SHA-256 of the message: 64 hexadecimal digits.
    pub hash: String,
    /// The log.
    pub log: String,
    /// What the reply waited for, and how far it came.
    pub concern: AppendConcern,
    /// Whether no failover can undo it any more. With a `w` below a majority it may become so a little later, or never.
    pub committed: bool,
    /// How long it took, in milliseconds, at the member that was asked.
    pub duration_ms: f64,
    /// With status 202: what is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// What an append waited for, and who has the message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AppendConcern {
    /// What was asked for.
    pub requested: WriteConcern,
    /// On how many members the message is known to be durable.
    pub reached: u8,
    /// Their ordinals, ascending. Empty if the leader changed meanwhile: that a majority has it is known then, but not who.
    pub members: Vec<u8>,
}

/// One message of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogMessage {
    /// The message's place in the log, from 1.
    pub id: u64,
    /// The same as `id`.
    pub sequence: u64,
    /// The message, if it is UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The message, if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_base64: Option<Base64>,
    /// When it was appended; never earlier than the message before it.
    pub timestamp: Timestamp,
    /// SHA-256 of the message: 64 hexadecimal digits.
    pub hash: String,
    /// The key that it was appended with, if it is text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Whether this member knows that no failover can undo it.
    pub committed: bool,
}

/// One page of a log, in order and without gaps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MessagesReply {
    /// The page.
    pub messages: Vec<LogMessage>,
    /// The log.
    pub log: String,
    /// The oldest message that is kept; one more than `last` if there is none.
    pub first: u64,
    /// The newest message that this reader may see; 0 before the first.
    pub last: u64,
    /// Up to here the messages are committed, as far as this member knows; 0 before the first.
    pub committed: u64,
    /// What to give as `from` for the next page; absent if this is the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// How a log treats its messages. What a `PUT` leaves out is the log's default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LogSettings {
    /// Which messages count as the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deduplication: Option<Deduplication>,
    /// How many of the newest messages are compared with; independent of how many are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deduplication_window: Option<u64>,
    /// How many messages are kept; without it: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retain_messages: Option<u64>,
    /// For how long messages are kept, counted to the newest message's time; without it: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retain_age: Option<Span>,
    /// How many bytes of messages are kept; without it: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retain_bytes: Option<u64>,
}

/// Which messages of a log count as the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Deduplication {
    /// Those with the same bytes.
    Content,
    /// Those with the same `Idempotency-Key`. A message without one is never the same.
    Key,
    /// None.
    None,
}

/// A log: `GET /v1/logs/{log}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogReply {
    /// Its name.
    pub name: String,
    /// The oldest message that is kept; one more than `last` if there is none.
    pub first: u64,
    /// The newest message; 0 before the first.
    pub last: u64,
    /// Up to here the messages are committed, as far as this member knows; 0 before the first.
    pub committed: u64,
    /// How many bytes of messages are kept, as the store's quota counts them.
    pub bytes: u64,
    /// How it treats its messages.
    pub settings: LogSettings,
}

/// All logs, by name: `GET /v1/logs`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogsReply {
    /// The logs.
    pub logs: Vec<LogReply>,
}

/// Forget the messages before this one: `POST /v1/logs/{log}/trim`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrimRequest {
    /// The oldest message that is to stay.
    pub before: u64,
}

/// A log was changed: its settings, its beginning, or that it is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogChangeReply {
    /// The log.
    pub log: String,
    /// What the acknowledgement waited for, and how far it came.
    pub concern: super::Concern,
    /// With status 202: what is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// The stream is in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogStarted {
    /// Every message from this one on will be sent.
    pub from: u64,
}

/// A failover undid messages that a `read=local` stream has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogUndone {
    /// What was shown from this one on is to be forgotten; the stream goes on from it.
    pub from: u64,
}

/// Why the member ends a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogEnd {
    /// `Trimmed`, `LogDeleted` or `ShuttingDown`.
    pub code: String,
    /// The reason in words, for people.
    pub detail: String,
    /// From which message a new stream can go on. After `Trimmed` messages before it are lost to the reader.
    pub resume: u64,
}

impl AppendRequest {
    /// Append any bytes.
    pub fn new(message: Vec<u8>) -> AppendRequest {
        let (message, message_base64) = payload::split(message);
        AppendRequest { message, message_base64, w: None, timeout_ms: None }
    }
}

impl AppendReply {
    /// The same reply with these bytes as its message.
    #[must_use]
    pub fn with_message(mut self, bytes: Vec<u8>) -> AppendReply {
        (self.message, self.message_base64) = payload::split(bytes);
        self
    }
}

impl LogMessage {
    /// The same message with these bytes.
    #[must_use]
    pub fn with_message(mut self, bytes: Vec<u8>) -> LogMessage {
        (self.message, self.message_base64) = payload::split(bytes);
        self
    }

    /// The message's bytes.
    ///
    /// # Errors
    ///
    /// [`PayloadError`] if the other side did not write exactly one message.
    pub fn bytes(&self) -> Result<&[u8], PayloadError> {
        payload::join(&self.message, &self.message_base64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time() -> Timestamp {
        Timestamp::from_millisecond(1_700_000_000_123).expect("a time")
    }

    #[test]
    fn a_request_is_what_clients_of_the_log_write() {
        let of = |text: &str| serde_json::from_str::<AppendRequest>(text);
        let request = of(r#"{"message": "hello", "w": 2, "timeout_ms": 500}"#).expect("readable");
        assert_eq!(request.w, Some(WriteConcern::Members(2)));
        assert_eq!(request.timeout_ms, Some(500));
        assert_eq!(
            AppendRequest { w: None, timeout_ms: None, ..request },
            AppendRequest::new(b"hello".to_vec())
        );
        assert_eq!(of(r#"{"messageBase64": "/w=="}"#).ok(), Some(AppendRequest::new(vec![0xff])));
        assert!(of(r#"{"message": "a", "W": 1}"#).is_err());
    }

    #[test]
    fn a_reply_has_the_documented_fields() {
        let concern = AppendConcern { requested: WriteConcern::All, reached: 2, members: vec![0, 2] };
        let reply = AppendReply {
            id: 7,
            message: None,
            message_base64: None,
            sequence: 7,
            timestamp: time(),
            hash: "2c".to_owned(),
            log: LOG_DEFAULT.to_owned(),
            concern,
            committed: true,
            duration_ms: 1.5,
            warning: None,
        };
        let reply = reply.with_message(b"hello".to_vec());
        let json = r#"{"id":7,"message":"hello","sequence":7,"timestamp":"2023-11-14T22:13:20.123Z","hash":"2c","log":"messages","concern":{"requested":"all","reached":2,"members":[0,2]},"committed":true,"durationMs":1.5}"#;
        assert_eq!(serde_json::to_string(&reply).ok().as_deref(), Some(json));
        assert_eq!(serde_json::from_str::<AppendReply>(json).ok(), Some(reply));
    }

    #[test]
    fn a_message_is_text_where_it_is_text() {
        let message = LogMessage {
            id: 1,
            sequence: 1,
            message: None,
            message_base64: None,
            timestamp: time(),
            hash: "2c".to_owned(),
            key: None,
            committed: false,
        };
        let check = |bytes: &[u8], field: &str| {
            let message = message.clone().with_message(bytes.to_vec());
            let json = format!(
                r#"{{"id":1,"sequence":1,{field},"timestamp":"2023-11-14T22:13:20.123Z","hash":"2c","committed":false}}"#
            );
            assert_eq!(serde_json::to_string(&message).ok(), Some(json.clone()));
            let back: LogMessage = serde_json::from_str(&json).expect("readable");
            assert_eq!(back.bytes(), Ok(bytes));
        };
        check(b"hello", r#""message":"hello""#);
        check(&[0xff], r#""messageBase64":"/w==""#);
    }

    #[test]
    fn settings_say_only_what_is_set() {
        let text = r#"{"deduplication":"key","retainMessages":100,"retainAge":"1h"}"#;
        let settings: LogSettings = serde_json::from_str(text).expect("readable");
        assert_eq!(settings.deduplication, Some(Deduplication::Key));
        assert_eq!(serde_json::to_string(&settings).ok().as_deref(), Some(text));
        assert!(serde_json::from_str::<LogSettings>(r#"{"retain": 1}"#).is_err());
        assert_eq!(serde_json::from_str("\"none\"").ok(), Some(Deduplication::None));
    }
}
