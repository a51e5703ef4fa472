//! Faults on purpose, while the member runs: `GET`, `PUT` and `DELETE /v1/faults`.
//!
//! They are on the admin port, because whoever writes messages is not who may slow a member down. They refuse to turn
//! anything on that the manifest or the member's start does not allow.

use holdfast_api::http::{FaultsRequest, FaultsStatus};
use holdfast_api::{Probability, parse_delay};
use http::{Method, StatusCode};
use warp::Filter;
use warp::reply::Response;

use crate::byte_stream::ByteStream;
use crate::core::FaultsChange;
use crate::http::{BodyBudget, BodyLimit, Group, Head, Query, head, json, settle, with};
use crate::problem::Problem;
use crate::running::Running;

/// The body of a change: two short fields.
const CHANGE: BodyLimit = BodyLimit { bytes_max: 1024, name: "a change of faults" };

/// The routes of this module.
pub(super) fn routes(running: Running) -> Group {
    warp::path!("v1" / "faults")
        .and(with((running, BodyBudget::default())))
        .and(warp::method())
        .and(head())
        .and(warp::body::stream())
        .then(async |(running, bodies): (Running, BodyBudget), method: Method, head: Head, body| {
            settle(answer(&running, &bodies, &method, &head, body).await)
        })
        .boxed()
}

async fn answer(
    running: &Running,
    bodies: &BodyBudget,
    method: &Method,
    head: &Head,
    body: impl ByteStream,
) -> Result<Response, Problem> {
    Query::parse(&head.query, &[])?;
    let body = bodies.read(&head.headers, body, CHANGE).await?;
    let change = match *method {
        Method::PUT => wanted(&body.bytes)?,
        Method::DELETE => FaultsChange {
            delay: Some(std::time::Duration::ZERO),
            failure: Some(Probability::NEVER),
            enabled: None,
        },
        // What changes nothing says how it is.
        _ => FaultsChange::default(),
    };
    let changed = running.handle()?.set_faults(change).await;
    let faults: FaultsStatus = changed.map_err(|failure| Problem::of_failure(failure, true))?;
    Ok(json(StatusCode::OK, &faults))
}

fn wanted(body: &[u8]) -> Result<FaultsChange, Problem> {
    let request: FaultsRequest = serde_json::from_slice(body).map_err(|error| {
        Problem::invalid(format!("the body is not such as {{\"delay\": \"2s\", \"failure\": 0.1}}: {error}"))
    })?;
    let delay = request.delay.as_deref().map(parse_delay).transpose();
    let delay = delay.map_err(|error| Problem::invalid(error.to_string()))?;
    if delay.is_none() && request.failure.is_none() {
        return Err(Problem::invalid("the body names neither delay nor failure; DELETE takes both away"));
    }
    Ok(FaultsChange { enabled: None, delay: delay.map(Into::into), failure: request.failure })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_change_names_what_changes() {
        let check = |body: &str, delay: Option<u64>, failure: Option<f64>| {
            let change = wanted(body.as_bytes()).expect(body);
            assert_eq!(change.delay, delay.map(Duration::from_millis));
            assert_eq!(change.failure.map(Probability::get), failure);
            assert_eq!(change.enabled, None);
        };
        check(r#"{"delay":"2s"}"#, Some(2000), None);
        check(r#"{"delay":"2.5","failure":0.1}"#, Some(2500), Some(0.1));
        check(r#"{"failure":0}"#, None, Some(0.0));
        for body in
            ["", "{}", r#"{"delay":2}"#, r#"{"delay":"1h"}"#, r#"{"failure":2}"#, r#"{"enabled":true}"#]
        {
            assert!(wanted(body.as_bytes()).is_err(), "{body}");
        }
    }
}
