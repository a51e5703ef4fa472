//! NATS' text protocol: publish to a JetStream stream and wait for the stream's acknowledgement. A message to a stream is
//! what a write is elsewhere; its subject is the key.

use std::io::Write as _;

use super::{Malformed, Message, Protocol, VALUE, VALUE_BYTES, What, line, write_key};

/// The stream's name.
pub(crate) const STREAM: &str = "BENCH";

/// Publishes to [`STREAM`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Publish;

/// What a client says first. Without `no_responders` a publish to a stream that nobody leads would get no answer.
const CONNECT: &[u8] =
    b"CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true,\"protocol\":1}\r\n";

impl Protocol for Publish {
    fn open(&self, client: u64, out: &mut Vec<u8>) -> bool {
        open(client, out);
        true
    }

    fn request(&self, client: u64, tag: u64, keys: &mut dyn FnMut() -> u64, out: &mut Vec<u8>) {
        out.extend_from_slice(b"PUB bench.");
        write_key(keys(), out);
        write!(out, " _INBOX.{client}.{tag} {VALUE_BYTES}\r\n").expect("memory takes it");
        out.extend_from_slice(&VALUE);
        out.extend_from_slice(b"\r\n");
    }

    fn read(&self, bytes: &[u8]) -> Result<Option<Message>, Malformed> {
        read(bytes)
    }
}

/// Connect as `client` and listen to its inbox.
pub(crate) fn open(client: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(CONNECT);
    write!(out, "SUB _INBOX.{client}.* 1\r\nPING\r\n").expect("memory takes it");
}

/// Append a request with `body` to JetStream's own API.
pub(crate) fn ask(client: u64, subject: &str, body: &str, out: &mut Vec<u8>) {
    write!(out, "PUB {subject} _INBOX.{client}.0 {}\r\n{body}\r\n", body.len()).expect("memory takes it");
}

/// Read one message.
///
/// # Errors
///
/// If it is no message of NATS.
pub(crate) fn read(bytes: &[u8]) -> Result<Option<Message>, Malformed> {
    let Some((end, next)) = line(bytes) else { return Ok(None) };
    let text = std::str::from_utf8(&bytes[..end]).map_err(|_| Malformed::new("not NATS", bytes))?;
    let mut words = text.split_ascii_whitespace();
    let message = |what| Ok(Some(Message { bytes: next, what }));
    match words.next() {
        Some("INFO" | "+OK") => message(What::Nothing),
        Some("PONG") => message(What::Greeted),
        Some("PING") => message(What::Answer(b"PONG\r\n")),
        Some("MSG" | "HMSG") => {
            let tag = words.next().and_then(|subject| subject.rsplit('.').next()?.parse().ok());
            let length: Option<usize> = words.last().and_then(|length| length.parse().ok());
            let (Some(tag), Some(length)) = (tag, length) else {
                return Err(Malformed::new("a message without a length", bytes));
            };
            if bytes.len() < next + length + 2 {
                return Ok(None);
            }
            let done = text.starts_with("MSG") && is_acknowledgement(&bytes[next..next + length]);
            Ok(Some(Message { bytes: next + length + 2, what: What::Reply { done, tag: Some(tag) } }))
        }
        _ => Err(Malformed::new("the server refuses", bytes)),
    }
}

/// Whether a payload is a publish acknowledgement: JSON with a sequence and without an error.
fn is_acknowledgement(payload: &[u8]) -> bool {
    let has = |part: &[u8]| payload.windows(part.len()).any(|window| window == part);
    has(b"\"seq\":") && !has(b"\"error\":")
}

/// The payload of a message that [`read`] found.
pub(crate) fn payload(message: &[u8]) -> &[u8] {
    let begin = line(message).map_or(0, |(_, next)| next);
    message[begin..].trim_ascii_end()
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;
    use super::*;

    #[test]
    fn replies_of_a_stream_are_told_apart() {
        let reply = |done, tag| What::Reply { done, tag: Some(tag) };
        let acknowledgement = r#"{"stream":"BENCH","seq":7}"#;
        check(&Publish, &format!("MSG _INBOX.3.12 1 26\r\n{acknowledgement}\r\n"), reply(true, 12));
        let refused = r#"{"error":{"code":503,"description":"x"},"stream":"BENCH","seq":0}"#;
        let text = format!("MSG _INBOX.3.4 1 {}\r\n{refused}\r\n", refused.len());
        check(&Publish, &text, reply(false, 4));
        check(&Publish, "HMSG _INBOX.3.5 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n", reply(false, 5));
        assert_eq!(
            payload(format!("MSG _INBOX.3.12 1 26\r\n{acknowledgement}\r\n").as_bytes()),
            acknowledgement.as_bytes()
        );
    }

    #[test]
    fn what_a_server_says_besides_is_understood() {
        check(&Publish, "INFO {\"server_id\":\"x\"}\r\n", What::Nothing);
        check(&Publish, "PONG\r\n", What::Greeted);
        check(&Publish, "PING\r\n", What::Answer(b"PONG\r\n"));
        assert!(Publish.read(b"-ERR 'Authorization Violation'\r\n").is_err());
    }

    #[test]
    fn a_publish_asks_for_an_answer_of_its_own() {
        let mut out = Vec::new();
        Publish.request(9, 4, &mut || 5, &mut out);
        let text = String::from_utf8(out).expect("text");
        let (head, rest) = text.split_once("\r\n").expect("a head");
        assert_eq!(head, "PUB bench.bench-0000000005 _INBOX.9.4 256");
        assert_eq!(rest.len(), VALUE_BYTES + 2);
    }
}
