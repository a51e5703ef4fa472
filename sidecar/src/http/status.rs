//! `GET /v1/status`: how this member is, and how it sees the others.

use http::StatusCode;
use warp::Filter;
use warp::reply::Response;

use super::{Context, Group, Head, Query, head, json, settle, with};
use crate::problem::Problem;

/// The routes of this module.
pub(super) fn routes(context: Context) -> Group {
    warp::path("v1")
        .and(warp::path("status"))
        .and(warp::path::end())
        .and(warp::get().or(warp::head()).unify())
        .and(with(context))
        .and(head())
        .then(async |context: Context, head: Head| settle(status(&context, &head).await))
        .boxed()
}

async fn status(context: &Context, head: &Head) -> Result<Response, Problem> {
    Query::parse(&head.query, &[])?;
    Ok(json(StatusCode::OK, &context.running.status().await?))
}
