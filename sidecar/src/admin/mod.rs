//! The admin port: probes, metrics, and what operators ask for.
//!
//! | route | module |
//! |---|---|
//! | `GET /livez`, `GET /readyz` | [`probes`] |
//! | `GET /metrics` | [`scrape`] |
//! | `GET /version`, `POST /v1/checkpoint`, `POST /v1/leadership/transfer`, `POST /v1/authority/force-start` | [`actions`] |
//! | `GET`, `PUT`, `DELETE /v1/faults` | [`faults`] |
//!
//! It is open from before the member has started until after it has stopped. It refuses to depend on a quorum for
//! liveness: a member that cannot reach the others is alive, and restarting it would make things worse.

mod actions;
mod faults;
mod probes;
mod scrape;

use std::convert::Infallible;

use http::{Request, Response as HttpResponse};
use hyper::body::Incoming;
use warp::Filter;

use crate::http::service::Front;
use crate::http::{RequestIds, Route, Routes};
use crate::running::Running;

/// Every route of the admin port.
const ROUTES: Routes = Routes(&[
    Route { path: "/livez", methods: &["GET", "HEAD"] },
    Route { path: "/readyz", methods: &["GET", "HEAD"] },
    Route { path: "/metrics", methods: &["GET", "HEAD"] },
    Route { path: "/version", methods: &["GET", "HEAD"] },
    Route { path: "/v1/checkpoint", methods: &["POST"] },
    Route { path: "/v1/leadership/transfer", methods: &["POST"] },
    Route { path: "/v1/authority/force-start", methods: &["POST"] },
    Route { path: "/v1/faults", methods: &["GET", "PUT", "DELETE"] },
]);

/// The admin port of a member.
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
    let seen = probes::routes(running.clone()).or(scrape::routes(running.clone())).unify().boxed();
    let orders = actions::routes(running.clone()).or(faults::routes(running)).unify().boxed();
    let filters = seen.or(orders).unify().boxed();
    Front::new(warp::service(filters), ROUTES, metrics, ids)
}
