//! The client port: the routes that applications use.
//!
//! | route | module |
//! |---|---|
//! | `GET`, `PUT`, `DELETE /v1/kv/{key}` | [`key`] |
//! | `GET /v1/kv` | [`list`] |
//! | `POST /v1/txn` | [`txn`] |
//! | `GET /v1/watch` | [`watch`] |
//! | `GET /v1/status` | [`status`] |
//! | `GET /health` | [`health`] |
//! | `/files`, `/upload`, `/download/{key}`, `/replication-queue`, `/nodes` | [`files`] |
//! | `/messages…`, `/v1/logs…` | [`logs`] |
//! | `/dashboard…` | [`dashboard`] |
//!
//! The routes of one key and of message logs go around warp (`direct`), the others are its filters. A route takes a request apart, asks the core, and writes the answer down. It refuses to hold any state, and to
//! decide anything that the core or the replicated state decides.

mod body;
pub(crate) mod conditions;
mod dashboard;
mod direct;
mod files;
mod health;
mod key;
mod list;
mod logs;
mod parameters;
mod percent;
mod query;
pub mod readings;
mod reads;
mod request_id;
mod route;
pub(crate) mod service;
mod status;
mod txn;
mod watch;
mod writes;

use std::convert::Infallible;

use holdfast_store::Revision;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response as HttpResponse, StatusCode};
use hyper::body::Incoming;
use serde::Serialize;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::path::FullPath;
use warp::reply::Response;

use crate::problem::Problem;
use crate::running::Running;
pub(crate) use body::{BodyBudget, BodyLimit};
use direct::Direct;
pub(crate) use parameters::{TIMEOUT_DEFAULT, TIMEOUT_MAX, engine_concern, timeout};
pub(crate) use query::Query;
pub(crate) use request_id::RequestIds;
pub(crate) use route::{Route, Routes};
use service::Front;

/// Every route of the client port.
const ROUTES: Routes = Routes(&[
    logs::ROUTES[0],
    logs::ROUTES[1],
    logs::ROUTES[2],
    logs::ROUTES[3],
    logs::ROUTES[4],
    logs::ROUTES[5],
    logs::ROUTES[6],
    logs::ROUTES[7],
    logs::ROUTES[8],
    Route { path: "/v1/kv/{key}", methods: &["GET", "HEAD", "PUT", "DELETE"] },
    Route { path: "/v1/kv", methods: &["GET", "HEAD"] },
    Route { path: "/v1/txn", methods: &["POST"] },
    Route { path: "/v1/watch", methods: &["GET"] },
    Route { path: "/v1/status", methods: &["GET", "HEAD"] },
    Route { path: "/health", methods: &["GET", "HEAD"] },
    Route { path: "/files", methods: &["GET", "HEAD", "POST"] },
    Route { path: "/files/register", methods: &["POST", "GET", "HEAD", "PUT", "DELETE"] },
    Route { path: "/files/register-location", methods: &["POST", "GET", "HEAD", "PUT", "DELETE"] },
    Route { path: "/files/{key}", methods: &["GET", "HEAD", "PUT", "DELETE"] },
    Route { path: "/upload", methods: &["POST"] },
    Route { path: "/download/{key}", methods: &["GET", "HEAD"] },
    Route { path: "/replication-queue", methods: &["GET", "HEAD"] },
    Route { path: "/nodes", methods: &["GET", "HEAD"] },
    Route { path: "/nodes/check", methods: &["GET", "HEAD"] },
    Route { path: "/nodes/{key}", methods: &["POST"] },
    dashboard::ROUTES[0],
    dashboard::ROUTES[1],
    dashboard::ROUTES[2],
]);

/// The header with the revision of the state that answered.
const REVISION: HeaderName = HeaderName::from_static(holdfast_api::http::header::REVISION);

/// What a route needs besides the request.
#[derive(Clone, Debug)]
struct Context {
    running: Running,
    bodies: BodyBudget,
    streams: dashboard::Streams,
}

/// The head of a request.
#[derive(Debug)]
pub(crate) struct Head {
    /// As it was sent: not decoded.
    pub(crate) path: String,
    /// As it was sent: not decoded; empty if there is none.
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
}

/// The client port of a member.
pub(crate) fn service(
    running: Running,
    ids: RequestIds,
) -> impl hyper::service::Service<
    Request<Incoming>,
    Response = HttpResponse<
        impl hyper::body::Body<Data = bytes::Bytes, Error = warp::Error> + Send + 'static,
    >,
    Error = Infallible,
    Future: Send,
> + Clone
+ Send
+ 'static {
    let metrics = running.metrics().clone();
    let context = Context { running, bodies: BodyBudget::default(), streams: dashboard::Streams::default() };
    // Boxed at each group: unboxed chains cost minutes of compile time.
    let lists = list::routes(context.clone()).or(txn::routes(context.clone())).unify().boxed();
    let others = watch::routes(context.clone()).or(status::routes(context.clone())).unify().boxed();
    let others = others.or(health::routes(context.clone())).unify().boxed();
    let filters = warp::service(lists.or(others).unify().boxed());
    Front::new(Direct { context, filters }, ROUTES, metrics, ids)
}

/// The head of any request.
pub(crate) fn head() -> impl Filter<Extract = (Head,), Error = Infallible> + Clone {
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    let path = warp::path::full().map(|path: FullPath| path.as_str().to_owned());
    path.and(query).and(warp::header::headers_cloned()).map(|path, query, headers| Head {
        path,
        query,
        headers,
    })
}

/// Give a handler what it needs.
pub(crate) fn with<T: Clone + Send + Sync>(
    value: T,
) -> impl Filter<Extract = (T,), Error = Infallible> + Clone {
    warp::any().map(move || value.clone())
}

/// A handler's answer, whatever it is.
pub(crate) fn settle(result: Result<Response, Problem>) -> Response {
    result.unwrap_or_else(Problem::into_response)
}

/// An answer in JSON.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    let body = serde_json::to_vec(value).expect("numbers, strings and lists can always be written");
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Name the revision of the state that answered.
fn at_revision(mut response: Response, revision: Revision) -> Response {
    response.headers_mut().insert(REVISION, HeaderValue::from(revision.0));
    response
}

/// Routes of one group.
pub(crate) type Group = BoxedFilter<(Response,)>;
