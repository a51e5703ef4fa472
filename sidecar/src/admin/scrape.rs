//! `GET /metrics`: everything the member counts, in Prometheus' text format.
//!
//! It refuses to show what it could not ask for: when the core does not answer the scrape fails, and the scraper's own
//! `up` says so.

use http::header::{CONTENT_TYPE, HeaderValue};
use warp::Filter;
use warp::reply::Response;

use crate::http::{Group, Head, Query, head, settle, with};
use crate::problem::{Code, Problem};
use crate::running::Running;

/// Prometheus' text format.
const TEXT_FORMAT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// The routes of this module.
pub(super) fn routes(running: Running) -> Group {
    warp::path("metrics")
        .and(warp::path::end())
        .and(with(running))
        .and(head())
        .then(async |running: Running, head: Head| settle(scrape(&running, &head).await))
        .boxed()
}

async fn scrape(running: &Running, head: &Head) -> Result<Response, Problem> {
    Query::parse(&head.query, &[])?;
    let metrics = running.metrics();
    let settings = running.settings();
    metrics.show_info(env!("CARGO_PKG_VERSION"), settings.strategy, settings.durability);
    match running.figures().await {
        Ok((status, figures)) => {
            metrics.show_status(&status);
            metrics.show_figures(&figures);
        }
        // A member that restores its state has nothing to show of it, but its memory and processor time count.
        Err(problem) if matches!(problem.code, Code::Starting | Code::Repairing) => {}
        Err(problem) => return Err(problem),
    }
    let mut response = Response::new(metrics.text().into());
    response.headers_mut().insert(CONTENT_TYPE, TEXT_FORMAT);
    Ok(response)
}
