//! `GET /dashboard`: a page that shows a person how the store is, and `GET /dashboard/live`: what it shows, as it changes.
//!
//! | part | does |
//! |---|---|
//! | [`crate::dashboard`] | the page's files |
//! | [`view`] | collects what this member knows |
//! | [`live`] | sends it, again and again |
//!
//! Everything is read; the page's one order, to recover a member's files, is a route of files. It refuses to ask another
//! member anything: whoever watches a store that is in trouble must not make it worse.

mod live;
mod view;

use http::{Method, Request};
use hyper::body::Incoming;
use warp::reply::Response;

pub(super) use self::live::Streams;
use super::{Context, Query, Route, settle};
use crate::dashboard::{Server, asset};
use crate::problem::{Code, Problem};

/// Where the page is.
pub(super) const PATH: &str = "/dashboard";

/// The routes of the page.
pub(super) const ROUTES: [Route; 3] = [
    Route { path: "/dashboard", methods: &["GET", "HEAD"] },
    Route { path: "/dashboard/live", methods: &["GET"] },
    Route { path: "/dashboard/{key}", methods: &["GET", "HEAD"] },
];

/// Whether a path is one of the page.
pub(super) fn is_meant(path: &str) -> bool {
    path.strip_prefix(PATH).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Answer a request whose route and method are known to be there.
pub(super) async fn serve(context: &Context, request: Request<Incoming>) -> Response {
    settle(answer(context, &request).await)
}

async fn answer(context: &Context, request: &Request<Incoming>) -> Result<Response, Problem> {
    Query::parse(request.uri().query().unwrap_or_default(), &[])?;
    let path = request.uri().path().strip_prefix(PATH).unwrap_or_default().trim_start_matches('/');
    if path == "live" {
        return live::stream(context).await;
    }
    let Some(asset) = asset(Server::Member, path) else {
        return Err(Problem::new(Code::RouteNotFound, format!("the dashboard has no file {path:?}")));
    };
    let answer = asset.answer(request.headers());
    let is_head = *request.method() == Method::HEAD;
    Ok(answer.map(|content| if is_head { Vec::new().into() } else { content.into() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_pages_paths_are_meant() {
        assert!(["/dashboard", "/dashboard/live", "/dashboard/uplot/LICENSE"].into_iter().all(is_meant));
        assert!(!["/dashboards", "/v1/kv/dashboard", "/"].into_iter().any(is_meant));
    }
}
