//! `POST …/messages`: one message into a log, and who has it.
//!
//! What is wrong with a request is found before it takes a place in the log, in this order: parameters, body, concern. A
//! message that is there already is refused only after all of that, by the state. So a request that is refused leaves no
//! trace, and its message can be sent again.

use std::time::{Duration, Instant};

use bytes::Bytes;
use holdfast_api::http::header::IDEMPOTENCY_KEY;
use holdfast_api::http::{AppendConcern, AppendReply};
use holdfast_api::{Span, WriteConcern as Wished};
use holdfast_store::{
    Append, Deduplication, LogSettings, MESSAGE_BYTES_MAX, MESSAGE_KEY_BYTES_MAX, Operation, Outcome,
};
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use warp::reply::Response;

use super::item::{hex, time};
use super::wanted::{APPEND_TIMEOUT_MAX, check_concern, wanted};
use super::{Context, Head, name};
use crate::byte_stream::ByteStream;
use crate::core::{Answer, Consistency, Failure, Query as CoreQuery, ReadRequest, Written};
use crate::http::body::BodyLimit;
use crate::http::parameters::{WriteParameters, wished_concern};
use crate::http::reads::read;
use crate::http::writes::ask;
use crate::http::{Query, json};
use crate::metrics::AppendResult;
use crate::problem::{Code, Problem};

/// How long an append waits for its concern if it does not say.
pub(crate) const APPEND_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);

/// What an append's JSON may be: a largest message in which every fourth byte needs an escape, or all of it in Base64.
const APPEND: BodyLimit = BodyLimit { bytes_max: 2 * MESSAGE_BYTES_MAX + 64 * 1024, name: "an append" };

/// The word of clients that were written for other replicated logs.
const DUPLICATE: &str = "Duplicate message";

/// Answer an append.
pub(super) async fn append(
    context: &Context,
    head: &Head,
    log: &str,
    body: impl ByteStream,
) -> Result<Response, Problem> {
    let began = Instant::now();
    let result = try_append(context, head, log, body, began).await;
    let metrics = context.running.metrics();
    let label = match &result {
        Ok(response) if response.status() == StatusCode::CREATED => AppendResult::Reached,
        Ok(_) => AppendResult::NotReached,
        Err(problem) => match problem.code {
            Code::DuplicateMessage => AppendResult::Duplicate,
            Code::OutcomeUnknown => AppendResult::Unknown,
            _ => AppendResult::Refused,
        },
    };
    metrics.message_appended(label, began.elapsed());
    result
}

async fn try_append(
    context: &Context,
    head: &Head,
    log: &str,
    body: impl ByteStream,
    began: Instant,
) -> Result<Response, Problem> {
    let log = name(log)?;
    let parameters = WriteParameters::within(
        &Query::parse(&head.query, WriteParameters::NAMES)?,
        Span::from_millis(APPEND_TIMEOUT_MAX.as_millis() as u64),
    )?;
    let key = idempotency_key(&head.headers)?;
    let members = context.running.settings().peers.len() as u8;
    let body = context.bodies.read(&head.headers, body, APPEND).await?;
    let wanted = wanted(&body.bytes, members)?;
    drop(body);
    let concern = one_of("w", parameters.concern(), wanted.concern)?.unwrap_or(Wished::All);
    check_concern(concern, members)?;
    let timeout = one_of("timeout", parameters.explicit_timeout(), wanted.timeout)?;
    let append = Append {
        log: log.clone(),
        message: wanted.message.clone(),
        key,
        time_ms: u64::try_from(Timestamp::now().as_millisecond()).unwrap_or_default(),
        attempt: crate::peers::random(),
    };
    let keyed = append.key.is_some();
    let request = parameters.timed_request(
        Operation::Append(append),
        concern,
        timeout.unwrap_or(APPEND_TIMEOUT_DEFAULT),
    );
    let written = match ask(context, request).await {
        Ok(written) => written,
        Err(Err(problem)) => return Err(problem),
        Err(Ok(failure)) => {
            let repeatable = match failure {
                Failure::Unknown { .. } => {
                    parameters.repeatable() || deduplicates(context, &log, keyed).await
                }
                Failure::Refused { .. } => true,
            };
            return Err(of_failure(failure, repeatable, members));
        }
    };
    let message = wanted.message;
    reply(&log, message, &written, members, began)
}

/// The reply to a message that the state has looked at.
fn reply(
    log: &[u8],
    message: Bytes,
    written: &Written,
    members: u8,
    began: Instant,
) -> Result<Response, Problem> {
    let (sequence, time_ms, hash) = match &written.outcome {
        Outcome::Appended { sequence, time_ms, hash } => (sequence.0, *time_ms, hash),
        Outcome::Duplicate { sequence, .. } => {
            let id = sequence.0;
            let detail = if written.committed {
                format!("the log has this message already: it is message {id}")
            } else {
                format!("the log has this message already: it is message {id}, which is not committed yet")
            };
            return Err(Problem::new(Code::DuplicateMessage, detail).about(id).with_error(Some(DUPLICATE)));
        }
        Outcome::Refused(reason) => return Err(Problem::of_reason(reason)),
        _ => unreachable!("an append is answered by an append"),
    };
    let status = if written.satisfied { StatusCode::CREATED } else { StatusCode::ACCEPTED };
    let reply = AppendReply {
        id: sequence,
        message: None,
        message_base64: None,
        sequence,
        timestamp: time(time_ms),
        hash: hex(&hash.0),
        log: String::from_utf8_lossy(log).into_owned(),
        concern: AppendConcern {
            requested: wished_concern(written.concern),
            reached: written.reached,
            members: written.holders.iter().map(|ordinal| ordinal.0).collect(),
        },
        committed: written.committed,
        duration_ms: (began.elapsed().as_secs_f64() * 1e6).round() / 1e3,
        warning: (!written.satisfied).then(|| warning(written, members)),
    };
    Ok(json(status, &reply.with_message(message.into())))
}

/// What is missing of a concern that was not reached. It begins as clients know it: they count without the leader.
fn warning(written: &Written, members: u8) -> String {
    let asked = match wished_concern(written.concern) {
        Wished::Members(k) => k,
        Wished::Majority => members / 2 + 1,
        Wished::All => members,
    };
    let (has, needs) = (written.reached.saturating_sub(1), asked.saturating_sub(1));
    let state = if written.committed {
        "the message is stored and committed"
    } else {
        "the message is stored but not committed, so that a failover may undo it"
    };
    format!("Only {has} of {needs} replicas acknowledged in time; {state}, and replication goes on")
}

/// What is said in the query or in the body, but not in both.
fn one_of<T>(name: &str, query: Option<T>, body: Option<T>) -> Result<Option<T>, Problem> {
    match (query, body) {
        (Some(_), Some(_)) => {
            Err(Problem::invalid(format!("{name} is both in the query and in the body; write it once")))
        }
        (query, body) => Ok(query.or(body)),
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<Bytes>, Problem> {
    let Some(key) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    if headers.get_all(IDEMPOTENCY_KEY).iter().nth(1).is_some() {
        return Err(Problem::invalid("there is more than one Idempotency-Key"));
    }
    let key = key.as_bytes();
    if !(1..=MESSAGE_KEY_BYTES_MAX).contains(&key.len()) {
        let detail =
            format!("the Idempotency-Key has {} bytes, it must have 1 to {MESSAGE_KEY_BYTES_MAX}", key.len());
        return Err(Problem::invalid(detail));
    }
    Ok(Some(Bytes::copy_from_slice(key)))
}

/// Whether the log tells by itself that it has a message already, as far as this member knows.
async fn deduplicates(context: &Context, log: &Bytes, keyed: bool) -> bool {
    let request = ReadRequest {
        query: CoreQuery::Log { log: log.clone() },
        consistency: Consistency::Local,
        timeout: Duration::from_secs(1),
    };
    let state = match read(context, request).await.map(|reply| reply.answer) {
        Ok(Answer::Log(state)) => state,
        _ => return false,
    };
    let settings = state.map_or_else(LogSettings::default, |state| state.settings);
    match settings.deduplication {
        Deduplication::Content => true,
        Deduplication::Key => keyed,
        Deduplication::None => false,
    }
}

/// The core's failure; a concern that this member's settings allow and the leader's do not is told as here.
fn of_failure(failure: Failure, repeatable: bool, members: u8) -> Problem {
    let problem = Problem::of_failure(failure, repeatable);
    match problem.code {
        Code::ConcernTooHigh => {
            let error = format!("Invalid write concern. Must be between 1 and {members}");
            problem.with_error(Some(&error))
        }
        _ => problem,
    }
}

#[cfg(test)]
mod tests {
    use holdfast_engine::{Index, Ordinal, OrdinalSet, Position, Term, WriteConcern};
    use holdfast_store::{MessageHash, Reason, Sequence};
    use http::{HeaderName, HeaderValue};
    use http_body_util::BodyExt;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_key_is_one_header_of_bounded_length() {
        let of = |keys: &[&str]| {
            let name = HeaderName::from_static(IDEMPOTENCY_KEY);
            let mut headers = HeaderMap::new();
            for key in keys {
                headers.append(&name, HeaderValue::from_str(key).expect("a header"));
            }
            idempotency_key(&headers).map_err(|problem| problem.code)
        };
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&["order-7"]), Ok(Some(Bytes::from("order-7"))));
        let long = "x".repeat(MESSAGE_KEY_BYTES_MAX + 1);
        for wrong in [vec![""], vec![long.as_str()], vec!["a", "b"]] {
            assert_eq!(of(&wrong), Err(Code::BadRequest), "{wrong:?}");
        }
    }

    fn written(outcome: Outcome, satisfied: bool, committed: bool) -> Written {
        let mut holders = OrdinalSet::default();
        [0, 2].into_iter().for_each(|ordinal| holders.insert(Ordinal(ordinal)));
        let position = Position::new(Term(2), Index(9));
        let concern = WriteConcern::All;
        Written { position, outcome, concern, reached: 2, holders, satisfied, committed }
    }

    fn appended() -> Outcome {
        Outcome::Appended { sequence: Sequence(7), time_ms: 1_700_000_000_123, hash: MessageHash([0xab; 32]) }
    }

    async fn body(response: Response) -> (u16, Value) {
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        (head.status.as_u16(), serde_json::from_slice(&body).expect("JSON"))
    }

    #[tokio::test]
    async fn a_reply_says_who_has_the_message() {
        let answer = |written: &Written| reply(b"messages", Bytes::from("hello"), written, 3, Instant::now());
        let (status, body_of) = body(answer(&written(appended(), true, true)).expect("stored")).await;
        assert_eq!(status, 201);
        assert_eq!(
            (&body_of["id"], &body_of["sequence"], &body_of["message"]),
            (&json!(7), &json!(7), &json!("hello"))
        );
        assert_eq!(body_of["hash"], json!("ab".repeat(32)));
        assert_eq!(body_of["concern"], json!({"requested": "all", "reached": 2, "members": [0, 2]}));
        assert!(body_of["durationMs"].is_number() && body_of.get("warning").is_none());
        let (status, body_of) = body(answer(&written(appended(), false, true)).expect("stored")).await;
        assert_eq!(status, 202);
        let warning = body_of["warning"].as_str().expect("a warning");
        assert!(warning.starts_with("Only 1 of 2 replicas acknowledged"), "{warning}");
        assert!(warning.contains("stored and committed"), "{warning}");
        let (_, body_of) = body(answer(&written(appended(), false, false)).expect("stored")).await;
        assert!(body_of["warning"].as_str().is_some_and(|warning| warning.contains("not committed")));
    }

    #[test]
    fn what_is_there_already_is_named() {
        let answer = |outcome| {
            let result =
                reply(b"messages", Bytes::from("a"), &written(outcome, true, true), 3, Instant::now());
            let problem = result.expect_err("refused");
            (problem.code, problem.id(), problem.error().map(str::to_owned))
        };
        let duplicate = Outcome::Duplicate { sequence: Sequence(4), time_ms: 1, hash: MessageHash([0; 32]) };
        assert_eq!(
            answer(duplicate),
            (Code::DuplicateMessage, Some(4), Some("Duplicate message".to_owned()))
        );
        let reused = Outcome::Refused(Reason::KeyReused { sequence: Sequence(5) });
        assert_eq!(answer(reused), (Code::KeyReused, Some(5), None));
    }
}
