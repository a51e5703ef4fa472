//! What every request of every port goes through, before and after its route: [`Front`].
//!
//! It gives the request an id, finds its route, refuses what no route takes, counts and times, and writes problems
//! down. It refuses to know what a route does.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{ALLOW, HeaderValue};
use http::{Request, StatusCode};
use hyper::body::Body;
use tower::Service;
use tracing::{debug, warn};
use warp::reply::Response;

use super::logs;
use super::request_id::{REQUEST_ID, RequestIds};
use super::route::{NO_ROUTE, Routes, method_label};
use crate::metrics::{Gauge, Metrics};
use crate::problem::{Code, Problem};

/// Longest detail of a problem that is logged.
const LOGGED_DETAIL_CHARACTERS_MAX: usize = 300;

/// A port's routes, and what is common to them. `S` is warp's service of the port's filters.
#[derive(Clone, Debug)]
pub(crate) struct Front<S> {
    filters: S,
    routes: Routes,
    ids: Arc<RequestIds>,
    metrics: Arc<Metrics>,
}

impl<S> Front<S> {
    /// Put `filters` behind their port. They may count on a path and a method that `routes` has.
    pub(crate) fn new(filters: S, routes: Routes, metrics: Metrics, ids: RequestIds) -> Front<S> {
        Front { filters, routes, ids: Arc::new(ids), metrics: Arc::new(metrics) }
    }

    /// The answer to a request that no route takes.
    fn misdirected<B>(&self, request: &Request<B>) -> Option<Problem> {
        let path = request.uri().path();
        let Some(route) = self.routes.find(path) else {
            let detail = format!("there is no route {path:?} on this port; it has {}", self.routes.list());
            return Some(Problem::new(Code::RouteNotFound, detail));
        };
        if route.takes(request.method().as_str()) {
            return None;
        }
        let methods = route.methods.join(", ");
        let detail = format!("{} takes {methods}, not {}", route.path, request.method());
        let allow = HeaderValue::try_from(methods).expect("method names");
        Some(Problem::new(Code::MethodNotAllowed, detail).with_header(ALLOW, allow))
    }
}

impl<S, B> hyper::service::Service<Request<B>> for Front<S>
where
    S: Service<Request<B>, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body + Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn call(&self, request: Request<B>) -> Self::Future {
        let asked = Asked {
            began: Instant::now(),
            id: self.ids.of(request.headers()),
            route: self.routes.find(request.uri().path()).map_or(NO_ROUTE, |route| route.path),
            method: method_label(request.method().as_str()),
            metrics: self.metrics.clone(),
            _in_flight: InFlight::new(&self.metrics.http_in_flight),
        };
        if let Some(problem) = self.misdirected(&request) {
            return Box::pin(std::future::ready(Ok(asked.answer(problem.into_response()))));
        }
        let answered = self.filters.clone().call(request);
        Box::pin(async move { answered.await.map(|response| asked.answer(response)) })
    }
}

/// A request that is being answered.
struct Asked {
    began: Instant,
    id: HeaderValue,
    route: &'static str,
    method: &'static str,
    metrics: Arc<Metrics>,
    _in_flight: InFlight,
}

impl Asked {
    /// Finish an answer: write its problem down if it is one, name the request, count it.
    fn answer(self, mut response: Response) -> Response {
        let took = self.began.elapsed();
        let id = self.id.to_str().unwrap_or_default();
        if let Some(problem) = response.extensions_mut().remove::<Problem>() {
            let problem = if logs::are_meant(self.route) { problem.with_error(None) } else { problem };
            self.log(&problem, id, took);
            problem.write(&mut response, id);
        } else {
            debug!(
                id,
                route = self.route,
                method = self.method,
                status = response.status().as_u16(),
                ?took,
                "answered"
            );
        }
        self.metrics.http_answered(self.route, self.method, class(response.status()), took);
        response.headers_mut().insert(REQUEST_ID, self.id);
        response
    }

    fn log(&self, problem: &Problem, id: &str, took: Duration) {
        let detail: String = problem.detail.chars().take(LOGGED_DETAIL_CHARACTERS_MAX).collect();
        let (route, method, code) = (self.route, self.method, problem.code);
        // What clients do wrong, and what passes by itself, must not fill the log; what is ours to mend must be there.
        if problem.is_our_failure() {
            warn!(id, route, method, %code, ?took, "{detail}");
        } else {
            debug!(id, route, method, %code, ?took, "{detail}");
        }
    }
}

/// Counts a request while it is answered; its stream of events, if it has one, counts itself.
struct InFlight(Gauge);

impl InFlight {
    fn new(gauge: &Gauge) -> InFlight {
        gauge.increment();
        InFlight(gauge.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.decrement();
    }
}

fn class(status: StatusCode) -> &'static str {
    match status.as_u16() {
        100..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        _ => "5xx",
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::Method;
    use http::header::ALLOW;
    use http_body_util::{BodyExt, Empty};
    use hyper::service::Service as _;
    use warp::Filter;

    use super::*;
    use crate::http::{Route, settle};

    const ROUTES: Routes = Routes(&[Route { path: "/v1/kv/{key}", methods: &["GET", "PUT"] }]);

    async fn check(method: Method, path: &str, metrics: &Metrics) -> (Response, String) {
        let filters = warp::put()
            .map(|| settle(Err(Problem::invalid("no"))))
            .or(warp::any().map(|| settle(Ok(Response::new("yes".into())))))
            .unify()
            .boxed();
        let front = Front::new(warp::service(filters), ROUTES, metrics.clone(), RequestIds::new(7));
        let request = Request::builder().method(method).uri(path).header(REQUEST_ID, "mine");
        let request = request.body(Empty::<Bytes>::new()).expect("a request");
        let mut response = front.call(request).await.expect("an answer");
        assert_eq!(response.headers()[REQUEST_ID], "mine");
        let body = std::mem::take(response.body_mut());
        let body = body.collect().await.expect("a body").to_bytes();
        (response, String::from_utf8(body.to_vec()).expect("text"))
    }

    #[tokio::test]
    async fn only_what_a_route_takes_reaches_it() {
        let metrics = Metrics::example();
        let (response, body) = check(Method::GET, "/v1/kv/a", &metrics).await;
        assert_eq!((response.status(), body.as_str()), (StatusCode::OK, "yes"));
        let (response, body) = check(Method::GET, "/v1/other", &metrics).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert!(body.contains("RouteNotFound") && body.contains("GET|PUT /v1/kv/{key}"), "{body}");
        let (response, _) = check(Method::DELETE, "/v1/kv/a", &metrics).await;
        assert_eq!(
            (response.status(), &response.headers()[ALLOW]),
            (StatusCode::METHOD_NOT_ALLOWED, &"GET, PUT".parse().expect("a header"))
        );
        let (response, body) = check(Method::PUT, "/v1/kv/a", &metrics).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        assert!(body.contains("\"requestId\":\"mine\""), "{body}");
    }

    #[tokio::test]
    async fn requests_are_counted_by_names_of_ours() {
        let metrics = Metrics::example();
        check(Method::GET, "/v1/kv/secret", &metrics).await;
        check(Method::PUT, "/v1/kv/secret", &metrics).await;
        check(Method::from_bytes(b"BREW").expect("a method"), "/coffee", &metrics).await;
        let text = metrics.text();
        let counted = |parts: [&str; 3]| {
            text.lines().any(|line| {
                line.starts_with("holdfast_http_requests_total{")
                    && line.ends_with(" 1")
                    && parts.iter().all(|part| line.contains(part))
            })
        };
        assert!(counted([r#"route="/v1/kv/{key}""#, r#"method="GET""#, r#"code="2xx""#]), "{text}");
        assert!(counted([r#"route="/v1/kv/{key}""#, r#"method="PUT""#, r#"code="4xx""#]), "{text}");
        assert!(counted([r#"route="none""#, r#"method="OTHER""#, r#"code="4xx""#]), "{text}");
        assert!(!text.contains("secret") && !text.contains("BREW") && !text.contains("coffee"));
        assert_eq!(metrics.http_in_flight.value(), 0.0);
    }
}
