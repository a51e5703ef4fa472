//! `PUT` and `DELETE /v1/logs/{log}`, `POST /v1/logs/{log}/trim`: a log's settings, its beginning, its end.
//!
//! A `PUT` says everything: what it leaves out is the default, not what was there before.

use holdfast_api::http as dto;
use holdfast_store::{Deduplication, LogSettings, Operation, Outcome, Sequence};
use serde::de::DeserializeOwned;
use warp::reply::Response;

use super::{Context, Head, name};
use crate::byte_stream::ByteStream;
use crate::http::body::BodyLimit;
use crate::http::parameters::WriteParameters;
use crate::http::reads::text;
use crate::http::writes::write;
use crate::http::{Query, json};
use crate::problem::Problem;

/// What settings or a trim may be: some numbers.
const CHANGE: BodyLimit = BodyLimit { bytes_max: 16 * 1024, name: "a change of a log" };

/// Make a log, or change its settings.
pub(super) async fn configure(
    context: &Context,
    head: &Head,
    log: &str,
    body: impl ByteStream,
) -> Result<Response, Problem> {
    let log = name(log)?;
    let wished = body_of(context, head, body).await?;
    let settings = settings(&wished)?;
    change(context, head, Operation::ConfigureLog { log, settings }).await
}

/// Forget the messages before one.
pub(super) async fn trim(
    context: &Context,
    head: &Head,
    log: &str,
    body: impl ByteStream,
) -> Result<Response, Problem> {
    let log = name(log)?;
    let dto::TrimRequest { before } = body_of(context, head, body).await?;
    change(context, head, Operation::TrimLog { log, before: Sequence(before) }).await
}

/// Delete a log with all its messages.
pub(super) async fn delete(context: &Context, head: &Head, log: &str) -> Result<Response, Problem> {
    change(context, head, Operation::DeleteLog { log: name(log)? }).await
}

async fn change(context: &Context, head: &Head, operation: Operation) -> Result<Response, Problem> {
    let (Operation::ConfigureLog { log, .. } | Operation::TrimLog { log, .. } | Operation::DeleteLog { log }) =
        &operation
    else {
        unreachable!("these are the changes of a log")
    };
    let log = text(log);
    let parameters = WriteParameters::of(&Query::parse(&head.query, WriteParameters::NAMES)?)?;
    let done = write(context, &parameters, operation).await?;
    assert!(
        matches!(
            done.outcome,
            Outcome::LogConfigured { .. } | Outcome::LogDeleted { .. } | Outcome::LogTrimmed { .. }
        ),
        "a change of a log is answered by one"
    );
    let (concern, warning) = done.concern();
    Ok(json(done.status, &dto::LogChangeReply { log, concern, warning }))
}

async fn body_of<T>(context: &Context, head: &Head, body: impl ByteStream) -> Result<T, Problem>
where
    T: DeserializeOwned,
{
    let body = context.bodies.read(&head.headers, body, CHANGE).await?;
    serde_json::from_slice(&body.bytes)
        .map_err(|error| Problem::invalid(format!("the body cannot be read: {error}")))
}

/// The settings as the state has them.
fn settings(wished: &dto::LogSettings) -> Result<LogSettings, Problem> {
    let usual = LogSettings::default();
    let deduplication = match wished.deduplication {
        None => usual.deduplication,
        Some(dto::Deduplication::Content) => Deduplication::Content,
        Some(dto::Deduplication::Key) => Deduplication::Key,
        Some(dto::Deduplication::None) => Deduplication::None,
    };
    let positive = |name: &str, number: Option<u64>| match number {
        Some(0) => Err(Problem::invalid(format!(
            "{name} is 0; leave it out to keep everything, or delete the log to keep nothing"
        ))),
        number => Ok(number),
    };
    let age = wished.retain_age.map(|age| u64::try_from(age.get().as_millis()).unwrap_or(u64::MAX));
    Ok(LogSettings {
        deduplication,
        deduplication_window: wished.deduplication_window.unwrap_or(usual.deduplication_window),
        retain_messages: positive("retainMessages", wished.retain_messages)?,
        retain_ms: positive("retainAge", age)?,
        retain_bytes: positive("retainBytes", wished.retain_bytes)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_put_leaves_out_is_the_default() {
        let of = |text: &str| {
            let wished = serde_json::from_str(text).expect("readable");
            settings(&wished).map_err(|problem| problem.detail)
        };
        assert_eq!(of("{}"), Ok(LogSettings::default()));
        let some = of(r#"{"deduplication": "none", "retainMessages": 5, "retainAge": "2s"}"#).expect("valid");
        assert_eq!(some.deduplication, Deduplication::None);
        assert_eq!((some.retain_messages, some.retain_ms, some.retain_bytes), (Some(5), Some(2000), None));
        for wrong in [r#"{"retainMessages": 0}"#, r#"{"retainBytes": 0}"#] {
            assert!(of(wrong).is_err_and(|detail| detail.contains("is 0")), "{wrong}");
        }
    }
}
