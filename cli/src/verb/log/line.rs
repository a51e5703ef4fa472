//! One message on standard output, in the form that was asked for.

use std::io::{self, Write};

use holdfast_client::reply::LogMessage;

use crate::arguments::Output;
use crate::output::write_one;
use crate::table::printable;

/// Write a message: a line for people, a line of JSON, or a document of YAML.
pub(super) fn write(out: &mut impl Write, output: Output, message: &LogMessage) -> io::Result<()> {
    write_one(out, output, message, || line(message))
}

fn line(message: &LogMessage) -> String {
    let text = printable(message.bytes().unwrap_or_default());
    let state = if message.committed { "" } else { "  (not committed)" };
    format!("{}  {}  {text}{state}", message.sequence, message.timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line() {
        let message = LogMessage {
            id: 7,
            sequence: 7,
            message: Some("a\nb".to_owned()),
            message_base64: None,
            timestamp: "2023-11-14T22:13:20Z".parse().expect("a time"),
            hash: "ab".to_owned(),
            key: None,
            committed: true,
        };
        let of = |output, message: &LogMessage| {
            let mut out = Vec::new();
            write(&mut out, output, message).expect("memory takes everything");
            String::from_utf8(out).expect("text")
        };
        assert_eq!(of(Output::Table, &message), "7  2023-11-14T22:13:20Z  a\\nb\n");
        assert_eq!(of(Output::Json, &message).lines().count(), 1);
        assert!(of(Output::Yaml, &message).starts_with("---\nid: 7\n"));
        let message = LogMessage { committed: false, ..message };
        assert!(of(Output::Table, &message).ends_with("(not committed)\n"));
    }
}
