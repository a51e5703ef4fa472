//! Errors as clients read them: `application/problem+json` (RFC 9457) with a stable `code`, and whether the request is
//! refused or its outcome unknown.
//!
//! Nothing here refuses a request; it only says it in one form. What a code means is the table in
//! [`holdfast_api::http`]; which code goes with which reason is here.

use std::time::Duration;

use holdfast_api::http as dto;
use holdfast_store::{Reason, Revision};
use holdfast_wire::native::Refusal;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use warp::reply::Response;

use crate::core::{Failure, RefusalCode};
use crate::http::conditions::{TAG, tag};

pub(crate) use holdfast_api::http::ProblemCode as Code;

/// When to try again, if nobody knows better: about an election.
const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(1);

/// One problem, before it is written down.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Problem {
    pub(crate) code: Code,
    /// What is wrong with this request, in words, for people.
    pub(crate) detail: String,
    /// Whether the same request can be sent again without harm and may succeed.
    retryable: bool,
    /// When to try again at the earliest, if it is known.
    retry_after: Option<Duration>,
    /// The revision that the code is about.
    revision: Option<Revision>,
    /// The message that the code is about.
    id: Option<u64>,
    /// The reason in the words that clients of message logs look for.
    error: Option<Box<str>>,
    /// Headers beside the usual ones.
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// A problem with the code's own answer to whether to try again.
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Problem {
        let (detail, retryable) = (detail.into(), code.retryable());
        Problem {
            code,
            detail,
            retryable,
            retry_after: None,
            revision: None,
            id: None,
            error: None,
            headers: Vec::new(),
        }
    }

    /// A request that cannot be read.
    pub(crate) fn invalid(detail: impl Into<String>) -> Problem {
        Problem::new(Code::BadRequest, detail)
    }

    /// With one more header.
    pub(crate) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Problem {
        self.headers.push((name, value));
        self
    }

    /// About this message.
    pub(crate) fn about(self, id: u64) -> Problem {
        Problem { id: Some(id), ..self }
    }

    /// With a member `error` in the body: in these words, or in the detail's if it has none yet.
    pub(crate) fn with_error(self, error: Option<&str>) -> Problem {
        let error = error.map(Box::from).or(self.error).or_else(|| Some(self.detail.as_str().into()));
        Problem { error, ..self }
    }

    /// The message that it is about.
    #[cfg(test)]
    pub(crate) fn id(&self) -> Option<u64> {
        self.id
    }

    /// What a client reads as `error`.
    #[cfg(test)]
    pub(crate) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// What the core says when it has no answer. `repeatable` is whether the request can be sent again without harm
    /// even if it took effect.
    pub(crate) fn of_failure(failure: Failure, repeatable: bool) -> Problem {
        match failure {
            Failure::Refused { code, detail, retryable, retry_after } => {
                Problem { retryable, retry_after, ..Problem::new(of_refusal(code), detail) }
            }
            Failure::Unknown { detail } => {
                Problem { retryable: repeatable, ..Problem::new(Code::OutcomeUnknown, detail) }
            }
        }
    }

    /// Why the state did nothing.
    pub(crate) fn of_reason(reason: &Reason) -> Problem {
        let problem = Problem::new(of_reason(reason), reason.to_string());
        match *reason {
            Reason::PreconditionFailed { actual: Some(revision) } => Problem {
                detail: format!("the key exists; revision {revision} put it last"),
                revision: Some(revision),
                ..problem.with_header(TAG, tag(revision))
            },
            Reason::PreconditionFailed { actual: None } => Problem {
                detail: "the key does not exist".to_owned(),
                revision: Some(Revision(0)),
                ..problem
            },
            Reason::Compacted { compacted } => Problem { revision: Some(compacted), ..problem },
            Reason::FutureRevision { current } => Problem { revision: Some(current), ..problem },
            Reason::KeyReused { sequence } => problem.about(sequence.0),
            _ => problem,
        }
    }

    /// Whether the member failed at something that it should be able to do, so that its owner should hear of it.
    pub(crate) fn is_our_failure(&self) -> bool {
        matches!(
            self.code,
            Code::CheckpointFailed | Code::OutcomeUnknown | Code::QuotaExceeded | Code::Internal
        )
    }

    /// The same for a client of the binary protocol.
    pub(crate) fn into_refusal(self) -> Refusal {
        let retry_after = self.retry_after();
        Refusal {
            code: self.code.to_string(),
            retryable: self.retryable,
            retry_after_ms: retry_after.map(|pause| u32::try_from(pause.as_millis()).unwrap_or(u32::MAX - 1)),
            leader: None,
            revision: self.revision.map(|revision| revision.0),
            detail: self.detail,
        }
    }

    /// When to try again, if that is worth it.
    fn retry_after(&self) -> Option<Duration> {
        match (self.retryable, self.code.status()) {
            (true, 421 | 429 | 503) => Some(self.retry_after.unwrap_or(RETRY_AFTER_DEFAULT)),
            _ => None,
        }
    }

    /// A response that [`crate::http::service`] writes this problem into.
    pub(crate) fn into_response(self) -> Response {
        let mut response = Response::default();
        *response.status_mut() = self.status();
        response.extensions_mut().insert(self);
        response
    }

    /// Write it into the response to the request named `request_id`.
    pub(crate) fn write(self, response: &mut Response, request_id: &str) {
        let retry_after = self.retry_after();
        let status = self.status();
        let body = dto::Problem {
            retryable: self.retryable,
            retry_after_ms: retry_after.map(|pause| pause.as_millis() as u64),
            revision: self.revision.map(|revision| revision.0),
            error: self.error.map(String::from),
            id: self.id,
            ..dto::Problem::new(self.code, self.detail, request_id)
        };
        let body = serde_json::to_vec(&body).expect("numbers and strings can always be written");
        *response.body_mut() = body.into();
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.extend(self.headers);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(dto::PROBLEM_TYPE));
        if let Some(pause) = retry_after {
            // The header has whole seconds, and 0 would ask for a storm.
            headers.insert(RETRY_AFTER, HeaderValue::from(pause.as_secs_f64().ceil().max(1.0) as u64));
        }
    }

    fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.code.status()).expect("a status code of the table")
    }
}

fn of_refusal(code: RefusalCode) -> Code {
    match code {
        RefusalCode::NoLeader => Code::NoLeader,
        RefusalCode::NotLeader => Code::NotLeader,
        RefusalCode::Overloaded => Code::Overloaded,
        RefusalCode::DiskFull => Code::DiskFull,
        RefusalCode::ShuttingDown => Code::ShuttingDown,
        RefusalCode::ConcernTooHigh => Code::ConcernTooHigh,
        RefusalCode::TooLarge => Code::TooLarge,
        RefusalCode::Compacted => Code::Compacted,
        RefusalCode::FutureRevision => Code::FutureRevision,
        RefusalCode::TooManyWatches => Code::TooManyWatches,
        RefusalCode::NoSuchMember => Code::NoSuchMember,
        RefusalCode::HandOverFailed => Code::HandOverFailed,
        RefusalCode::CheckpointFailed => Code::CheckpointFailed,
        RefusalCode::FaultsDisabled => Code::FaultsDisabled,
        RefusalCode::ForceRefused => Code::ForceRefused,
    }
}

fn of_reason(reason: &Reason) -> Code {
    match reason {
        Reason::PreconditionFailed { .. } => Code::PreconditionFailed,
        Reason::KeyEmpty | Reason::KeyTooLarge { .. } => Code::InvalidKey,
        Reason::ValueTooLarge { .. } | Reason::ResultTooLarge => Code::TooLarge,
        Reason::TooManyOperations { .. } => Code::TooManyOperations,
        Reason::QuotaExceeded { .. } => Code::QuotaExceeded,
        Reason::SessionExpired => Code::SessionExpired,
        Reason::StaleSequence { .. } => Code::StaleSequence,
        Reason::Compacted { .. } => Code::Compacted,
        Reason::FutureRevision { .. } => Code::FutureRevision,
        Reason::KeyReused { .. } => Code::KeyReused,
        Reason::LogNotFound => Code::LogNotFound,
        Reason::LogNameInvalid => Code::InvalidLogName,
        Reason::TooManyLogs { .. } => Code::TooManyLogs,
        Reason::MessageTooLarge { .. } => Code::TooLarge,
        Reason::MessageKeyInvalid { .. }
        | Reason::LogSettingInvalid { .. }
        | Reason::FutureSequence { .. } => Code::BadRequest,
        Reason::DuplicateKey { .. } => Code::BadRequest,
        // Every command on this path was encoded by this very program.
        Reason::Malformed => Code::Internal,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use http_body_util::BodyExt;
    use serde_json::{Value, json};

    use super::*;

    async fn written(problem: Problem) -> (u16, HeaderMap, Value) {
        let mut response = problem.into_response();
        let problem =
            response.extensions_mut().remove::<Problem>().expect("the problem travels with the response");
        problem.write(&mut response, "r-1");
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        (head.status.as_u16(), head.headers, serde_json::from_slice(&body).expect("JSON"))
    }

    fn refused(code: RefusalCode, retryable: bool, retry_after: Option<Duration>) -> Failure {
        Failure::Refused { code, detail: "because".to_owned(), retryable, retry_after }
    }

    #[tokio::test]
    async fn refused_and_unknown_are_told_apart() {
        let check = async |failure: Failure,
                           repeatable: bool,
                           status: u16,
                           expected: Value,
                           seconds: Option<&str>| {
            let (actual, headers, body) = written(Problem::of_failure(failure, repeatable)).await;
            assert_eq!(actual, status);
            assert_eq!(headers[CONTENT_TYPE], "application/problem+json");
            assert_eq!(headers.get(RETRY_AFTER).map(|value| value.to_str().expect("digits")), seconds);
            for (field, value) in expected.as_object().expect("fields") {
                assert_eq!(&body[field], value, "{field}");
            }
        };
        let no_leader = refused(RefusalCode::NoLeader, true, None);
        let fields = json!({"code": "NoLeader", "retryable": true, "outcome": "refused", "requestId": "r-1"});
        check(no_leader, false, 503, fields, Some("1")).await;
        let overloaded = refused(RefusalCode::Overloaded, true, Some(Duration::from_millis(100)));
        let fields = json!({"code": "Overloaded", "retryAfterMs": 100, "status": 429, "detail": "because"});
        check(overloaded, false, 429, fields, Some("1")).await;
        let too_high = refused(RefusalCode::ConcernTooHigh, false, None);
        check(too_high, false, 400, json!({"retryable": false, "retryAfterMs": null}), None).await;
        let unknown = || Failure::Unknown { detail: "the leader was lost".to_owned() };
        let fields = json!({"code": "OutcomeUnknown", "outcome": "unknown", "retryable": false});
        check(unknown(), false, 504, fields, None).await;
        check(unknown(), true, 504, json!({"outcome": "unknown", "retryable": true}), None).await;
    }

    #[tokio::test]
    async fn a_failed_precondition_says_what_is_there() {
        let there = Problem::of_reason(&Reason::PreconditionFailed { actual: Some(Revision(7)) });
        let (status, headers, body) = written(there).await;
        assert_eq!((status, &body["revision"]), (412, &json!(7)));
        assert_eq!(headers[TAG], "\"7\"");
        let absent = Problem::of_reason(&Reason::PreconditionFailed { actual: None });
        let (status, headers, body) = written(absent).await;
        assert_eq!((status, &body["revision"], headers.get(TAG)), (412, &json!(0), None));
    }
}
