//! What an append's body says: the message, how many members must have it, how long that may take.
//!
//! It refuses in the words that clients of other replicated logs look for, and everything that it does not know: a
//! misspelled `w` that is ignored would acknowledge too early.

use std::time::Duration;

use bytes::Bytes;
use holdfast_api::WriteConcern as Wished;
use holdfast_store::MESSAGE_BYTES_MAX;
use serde::Deserialize;
use serde_json::Value;

use crate::problem::{Code, Problem};

/// Longest wait that an append may ask for: a member that restarts on a slow disk and catches up is back by then. What
/// waits holds its message in memory, and the core's bounds on requests under way hold for it too.
pub(super) const APPEND_TIMEOUT_MAX: Duration = Duration::from_secs(600);

/// The words of clients that were written for other replicated logs.
const MESSAGE_REQUIRED: &str = "Message is required";

/// An append as it was sent.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Sent {
    message: Option<Value>,
    message_base64: Option<Value>,
    w: Option<Value>,
    #[serde(rename = "timeout_ms")]
    timeout_ms: Option<Value>,
}

/// What an append's body says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// The message, not empty.
    pub(super) message: Bytes,
    /// What the reply waits for, if it says so.
    pub(super) concern: Option<Wished>,
    /// How long the reply may take, if it says so.
    pub(super) timeout: Option<Duration>,
}

/// Take an append's body apart. `members` is how many a concern may ask for.
pub(super) fn wanted(body: &[u8], members: u8) -> Result<Wanted, Problem> {
    let value: Value = serde_json::from_slice(body).map_err(|error| {
        Problem::invalid(format!("the body is not JSON ({error}); send {{\"message\": \"text\"}}"))
    })?;
    if value.as_object().is_none_or(serde_json::Map::is_empty) {
        return Err(message_required("the body has to be an object with a message: {\"message\": \"text\"}"));
    }
    let sent: Sent = serde_json::from_value(value)
        .map_err(|error| Problem::invalid(format!("the body is no append: {error}")))?;
    let message = message(sent.message, sent.message_base64)?;
    if message.len() > MESSAGE_BYTES_MAX {
        let detail = format!("the message has {} bytes, {MESSAGE_BYTES_MAX} is the most", message.len());
        return Err(Problem::new(Code::TooLarge, detail));
    }
    Ok(Wanted { message, concern: concern(sent.w, members)?, timeout: timeout(sent.timeout_ms)? })
}

fn message(text: Option<Value>, base64: Option<Value>) -> Result<Bytes, Problem> {
    match (text, base64) {
        (Some(_), Some(_)) => {
            Err(Problem::invalid("there are both \"message\" and \"messageBase64\"; write one of them"))
        }
        (Some(Value::String(text)), None) if !text.is_empty() => Ok(Bytes::from(text)),
        (Some(Value::String(_) | Value::Null), None) | (None, None | Some(Value::Null)) => {
            Err(message_required("\"message\" is missing or empty; write the text of the message there"))
        }
        (Some(other), None) => {
            let detail = format!("\"message\" is {}; it must be a string", kind(&other));
            Err(Problem::invalid(detail).with_error(Some("Message must be a string")))
        }
        (None, Some(base64)) => {
            let bytes = holdfast_api::http::Base64::deserialize(base64)
                .map_err(|error| Problem::invalid(format!("\"messageBase64\": {error}")))?;
            if bytes.0.is_empty() {
                return Err(message_required("\"messageBase64\" is empty"));
            }
            Ok(Bytes::from(bytes.0))
        }
    }
}

fn message_required(detail: &str) -> Problem {
    Problem::invalid(detail).with_error(Some(MESSAGE_REQUIRED))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn concern(sent: Option<Value>, members: u8) -> Result<Option<Wished>, Problem> {
    let Some(sent) = sent.filter(|sent| !sent.is_null()) else { return Ok(None) };
    let concern = Wished::deserialize(&sent).map_err(|_| invalid_concern(members))?;
    check_concern(concern, members)?;
    Ok(Some(concern))
}

/// Whether a concern asks for members that there are.
pub(super) fn check_concern(concern: Wished, members: u8) -> Result<(), Problem> {
    match concern {
        Wished::Members(k) if !(1..=members).contains(&k) => Err(invalid_concern(members)),
        _ => Ok(()),
    }
}

fn invalid_concern(members: u8) -> Problem {
    let detail = format!(
        "w must be a number of members from 1 to {members}, \"majority\" or \"all\"; nothing was appended"
    );
    let error = format!("Invalid write concern. Must be between 1 and {members}");
    Problem::new(Code::ConcernTooHigh, detail).with_error(Some(&error))
}

fn timeout(sent: Option<Value>) -> Result<Option<Duration>, Problem> {
    let Some(sent) = sent.filter(|sent| !sent.is_null()) else { return Ok(None) };
    let max = APPEND_TIMEOUT_MAX.as_millis() as u64;
    match sent.as_u64() {
        Some(ms) if (1..=max).contains(&ms) => Ok(Some(Duration::from_millis(ms))),
        _ => Err(Problem::invalid(format!(
            "\"timeout_ms\" must be a whole number of milliseconds from 1 to {max}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(body: &str) -> Result<Wanted, (Code, Option<String>)> {
        wanted(body.as_bytes(), 3).map_err(|problem| (problem.code, problem.error().map(str::to_owned)))
    }

    #[test]
    fn an_append_says_what_it_wants() {
        let all = of(r#"{"message": "hello", "w": 2, "timeout_ms": 1500}"#).expect("valid");
        assert_eq!(all.message, "hello");
        assert_eq!(all.concern, Some(Wished::Members(2)));
        assert_eq!(all.timeout, Some(Duration::from_millis(1500)));
        let least = of(r#"{"message": "ä", "w": null, "timeout_ms": null}"#).expect("valid");
        assert_eq!(least, Wanted { message: Bytes::from("ä"), concern: None, timeout: None });
        for (w, concern) in
            [("\"all\"", Wished::All), ("\"majority\"", Wished::Majority), ("3", Wished::Members(3))]
        {
            let wanted = of(&format!("{{\"message\": \"a\", \"w\": {w}}}")).expect("valid");
            assert_eq!(wanted.concern, Some(concern));
        }
        assert_eq!(of(r#"{"messageBase64": "/w=="}"#).expect("valid").message[..], [0xff]);
    }

    #[test]
    fn what_is_wrong_is_said_in_the_words_that_clients_know() {
        let check = |body: &str, error: Option<&str>| {
            let code = if error.is_some_and(|error| error.starts_with("Invalid")) {
                Code::ConcernTooHigh
            } else {
                Code::BadRequest
            };
            assert_eq!(of(body), Err((code, error.map(str::to_owned))), "{body}");
        };
        for body in
            ["{}", "[]", "7", "\"text\"", "null", r#"{"message": ""}"#, r#"{"message": null}"#, r#"{"w": 1}"#]
        {
            check(body, Some("Message is required"));
        }
        for body in [r#"{"message": 7}"#, r#"{"message": ["a"]}"#, r#"{"message": true}"#] {
            check(body, Some("Message must be a string"));
        }
        for w in ["0", "4", "-1", "1.5", "\"most\"", "true", "[]", "99999999999"] {
            check(
                &format!("{{\"message\": \"a\", \"w\": {w}}}"),
                Some("Invalid write concern. Must be between 1 and 3"),
            );
        }
        for body in
            ["", "hello", "{\"message\": ", "{\"message\": \"a\", \"W\": 1}", "{\"message\": \"a\"} x"]
        {
            check(body, None);
        }
        for timeout in ["0", "-5", "1.5", "\"1s\"", "600001"] {
            check(&format!("{{\"message\": \"a\", \"timeout_ms\": {timeout}}}"), None);
        }
        check(r#"{"message": "a", "messageBase64": "YQ=="}"#, None);
        check(r#"{"messageBase64": "a"}"#, None);
        let long = format!("{{\"message\": \"{}\"}}", "x".repeat(MESSAGE_BYTES_MAX + 1));
        assert_eq!(of(&long), Err((Code::TooLarge, None)));
    }
}
