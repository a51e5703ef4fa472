//! What a log does with its messages: [`LogSettings`].

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::limits::DEDUPLICATION_WINDOW_MAX;
use crate::{DEDUPLICATION_WINDOW, Reason};

/// By what a log tells that a message is in it already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Deduplication {
    /// By its content.
    #[default]
    Content,
    /// By the key that the client gave it. Without a key it is taken however often it comes; a key that comes with
    /// another content is refused.
    Key,
    /// By nothing: a message is taken as often as it comes.
    None,
}

/// What a log does with its messages. A log that is made by its first message has the default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSettings {
    /// What counts as the same message. After a change of this, only messages that come later count.
    pub deduplication: Deduplication,
    /// How many of the last messages are looked at for it, also when they are not kept any more: 1 to
    /// [`DEDUPLICATION_WINDOW_MAX`]. When it becomes larger, what it forgot before stays forgotten.
    pub deduplication_window: u64,
    /// Keep this many of the last messages, at least 1; `None`: all.
    pub retain_messages: Option<u64>,
    /// Keep messages that are at most this much older than the last one, in milliseconds, at least 1; `None`: all. No
    /// clock decides about it: a log to which nothing is added forgets nothing.
    pub retain_ms: Option<u64>,
    /// Keep as many of the last messages as have this many bytes together, with their keys, at least 1; `None`: all.
    /// The last one stays whatever it has.
    pub retain_bytes: Option<u64>,
}

/// Names a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Setting {
    /// [`LogSettings::deduplication_window`]
    DeduplicationWindow,
    /// [`LogSettings::retain_messages`]
    RetainMessages,
    /// [`LogSettings::retain_ms`]
    RetainMs,
    /// [`LogSettings::retain_bytes`]
    RetainBytes,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Setting::DeduplicationWindow => "deduplication_window",
            Setting::RetainMessages => "retain_messages",
            Setting::RetainMs => "retain_ms",
            Setting::RetainBytes => "retain_bytes",
        })
    }
}

impl Default for LogSettings {
    fn default() -> LogSettings {
        LogSettings {
            deduplication: Deduplication::default(),
            deduplication_window: DEDUPLICATION_WINDOW,
            retain_messages: None,
            retain_ms: None,
            retain_bytes: None,
        }
    }
}

impl LogSettings {
    /// Whether a log can have these.
    pub(crate) fn check(&self) -> Result<(), Reason> {
        let settings = [
            (
                Setting::DeduplicationWindow,
                (1..=DEDUPLICATION_WINDOW_MAX).contains(&self.deduplication_window),
            ),
            (Setting::RetainMessages, self.retain_messages != Some(0)),
            (Setting::RetainMs, self.retain_ms != Some(0)),
            (Setting::RetainBytes, self.retain_bytes != Some(0)),
        ];
        let invalid = settings.into_iter().find(|(_, possible)| !possible);
        invalid.map_or(Ok(()), |(setting, _)| Err(Reason::LogSettingInvalid { setting }))
    }
}
