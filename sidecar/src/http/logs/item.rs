//! Messages, hashes and times as JSON has them.

use std::fmt::Write;

use holdfast_api::http::LogMessage;
use holdfast_store::Message;
use jiff::Timestamp;

/// A message as a reader gets it.
pub(super) fn item(message: Message) -> LogMessage {
    let Message { sequence, time_ms, hash, key, message, committed } = message;
    let item = LogMessage {
        id: sequence.0,
        sequence: sequence.0,
        message: None,
        message_base64: None,
        timestamp: time(time_ms),
        hash: hex(&hash.0),
        key: key.and_then(|key| String::from_utf8(key.into()).ok()),
        committed,
    };
    item.with_message(message.into())
}

/// Milliseconds since 1970 as a time. No member's clock gives one that cannot be written.
pub(super) fn time(time_ms: u64) -> Timestamp {
    let time = i64::try_from(time_ms).ok().and_then(|time| Timestamp::from_millisecond(time).ok());
    time.unwrap_or(Timestamp::MAX)
}

/// Hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a string takes everything");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_hashes_are_written_as_people_know_them() {
        assert_eq!(time(1_700_000_000_123).to_string(), "2023-11-14T22:13:20.123Z");
        assert_eq!(time(u64::MAX), Timestamp::MAX);
        assert_eq!(hex(&[0x0f, 0xa0]), "0fa0");
    }
}
