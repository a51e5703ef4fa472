//! Which path and method is what. The answers to wrong ones are those of the protocol's server, FastAPI: 404, 405 and 422 with a `detail`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use futures::{Stream, StreamExt};
use http::header::{self, HeaderValue};
use http::{HeaderMap, Method, Request, StatusCode};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::time::timeout;
use tower::Service;
use warp::Filter;
use warp::path::FullPath;
use warp::reply::Response;

use super::catalogue;
use super::manager::{Manager, Refused};
use super::place::Place;
use super::request::{self, Wrong};

/// Largest body: a value of the largest size that a store takes, and its key.
const BODY_BYTES_MAX: usize = 2 * 1024 * 1024;
/// How long a body may take to arrive.
const BODY_TIME_MAX: Duration = Duration::from_secs(10);
/// Pages of these origins may use the lab from a browser.
const ORIGINS: [&str; 3] = ["http://localhost:5173", "http://localhost:3000", "http://127.0.0.1:5173"];
/// What browsers are told that they may send.
const METHODS: &str = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT";
/// Prometheus' text format.
const TEXT_FORMAT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
/// The experiments' routes.
const PREFIX: &str = "/api/fault-tolerance";

/// A route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    Root,
    Api,
    Health,
    Live,
    Metrics,
    Strategies,
    Status,
    Presets,
    Configure,
    Store,
    Retrieve,
    Fail,
    Recover,
    Experiment,
}

/// Path, method, route; the last one has a key behind it.
const ROUTES: [(&str, &str, Route); 15] = [
    ("/", "GET", Route::Root),
    ("/api", "GET", Route::Api),
    ("/api/health", "GET", Route::Health),
    ("/health", "GET", Route::Health),
    ("/livez", "GET", Route::Live),
    ("/metrics", "GET", Route::Metrics),
    ("/api/fault-tolerance/strategies", "GET", Route::Strategies),
    ("/api/fault-tolerance/status", "GET", Route::Status),
    ("/api/fault-tolerance/experiment-presets", "GET", Route::Presets),
    ("/api/fault-tolerance/configure", "POST", Route::Configure),
    ("/api/fault-tolerance/store", "POST", Route::Store),
    ("/api/fault-tolerance/simulate-failure", "POST", Route::Fail),
    ("/api/fault-tolerance/recover", "POST", Route::Recover),
    ("/api/fault-tolerance/run-experiment", "POST", Route::Experiment),
    ("/api/fault-tolerance/retrieve/", "GET", Route::Retrieve),
];

/// Why a request has no answer of its route.
enum Problem {
    Wrong(Wrong),
    Refused(Refused),
    TooLarge,
    Late,
}

impl From<Wrong> for Problem {
    fn from(wrong: Wrong) -> Problem {
        Problem::Wrong(wrong)
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Problem {
        Problem::Refused(refused)
    }
}

/// The lab's port.
pub(super) fn service<P: Place>(
    manager: Arc<Manager<P>>,
) -> impl hyper::service::Service<Request<Incoming>, Response = Response, Error = Infallible, Future: Send>
+ Clone
+ Send
+ 'static {
    let filter = warp::method()
        .and(warp::path::full())
        .and(warp::header::headers_cloned())
        .and(warp::body::stream())
        .then(move |method: Method, path: FullPath, headers: HeaderMap, body| {
            let manager = manager.clone();
            async move {
                let mut response = preflight(&method, &headers).unwrap_or(None);
                if response.is_none() {
                    response = Some(answer(&manager, &method, path.as_str(), body).await);
                }
                allow_origin(response.unwrap_or_default(), &headers)
            }
        });
    let filters = warp::service(filter.boxed());
    hyper::service::service_fn(move |request: Request<Incoming>| filters.clone().call(request))
}

/// The route of a path, and whether it takes the method. `Err`: with the methods that it takes.
fn route(method: &str, path: &str) -> Option<Result<(&'static str, Route), &'static str>> {
    let fits = |one: &(&str, &str, Route)| match one.2 {
        Route::Retrieve => path.strip_prefix(one.0).is_some_and(|key| !key.is_empty() && !key.contains('/')),
        _ => one.0 == path,
    };
    let (name, takes, route) = ROUTES.iter().find(|one| fits(one))?;
    let taken = *takes == method || (method == "HEAD" && *takes == "GET");
    Some(if taken { Ok((*name, *route)) } else { Err(*takes) })
}

async fn answer<P, S, B>(manager: &Arc<Manager<P>>, method: &Method, path: &str, body: S) -> Response
where
    P: Place,
    S: Stream<Item = Result<B, warp::Error>>,
    B: Buf,
{
    let began = Instant::now();
    let (name, route) = match route(method.as_str(), path) {
        Some(Ok(found)) => found,
        Some(Err(allow)) => {
            let mut response = detail(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
            return response;
        }
        None => return detail(StatusCode::NOT_FOUND, "Not Found"),
    };
    let key = path.strip_prefix(name).unwrap_or_default().to_owned();
    let response = match read(body).await {
        // A task of its own: what was begun is finished although the client goes away.
        Ok(body) => match tokio::spawn(carry_out(manager.clone(), route, key, body)).await {
            Ok(Ok(response)) => response,
            Ok(Err(problem)) => explain(problem),
            Err(_) => detail(StatusCode::INTERNAL_SERVER_ERROR, "the lab has a defect; its log says more"),
        },
        Err(problem) => explain(problem),
    };
    manager.metrics.answered(name, method.as_str(), response.status().as_u16(), began.elapsed());
    response
}

async fn carry_out<P: Place>(
    manager: Arc<Manager<P>>,
    route: Route,
    key: String,
    body: Vec<u8>,
) -> Result<Response, Problem> {
    let value = match route {
        Route::Root => root(),
        Route::Api => json!({"available_endpoints": [
            "/api/health", "/api/fault-tolerance/strategies", "/api/fault-tolerance/status",
            "/api/fault-tolerance/run-experiment", "/metrics",
        ]}),
        Route::Health => json!({"status": "healthy", "components": {"database": "connected"}}),
        Route::Live => return Ok(Response::new("ok\n".into())),
        Route::Metrics => {
            let mut response = Response::new(manager.metrics.text().into());
            response.headers_mut().insert(header::CONTENT_TYPE, TEXT_FORMAT);
            return Ok(response);
        }
        Route::Strategies => catalogue::strategies(manager.active().configuration.strategy, &manager.kinds()),
        Route::Status => manager.status(),
        Route::Presets => catalogue::presets(),
        Route::Configure => manager.configure(request::configure(&body)?).await?,
        Route::Store => {
            let (key, value) = request::store(&body)?;
            manager.store(key, value).await?
        }
        Route::Retrieve => manager.retrieve(decoded(&key)).await?,
        Route::Fail => {
            let (kind, count) = request::failure(&body)?;
            manager.fail(kind, count).await?
        }
        Route::Recover => manager.recover().await?,
        Route::Experiment => {
            let (configuration, protocol) = request::experiment(&body)?;
            manager.experiment(configuration, protocol).await?
        }
    };
    Ok(reply(StatusCode::OK, &value))
}

fn root() -> Value {
    json!({
        "name": "GitForge Backend API",
        "version": "1.0.0",
        "description": "Holdfast's lab: failure experiments on real stores",
        "docs": "/docs",
        "endpoints": {"health": "/api/health", "fault_tolerance": PREFIX, "metrics": "/metrics"},
    })
}

/// Reads a body, within its limits.
async fn read<S, B>(body: S) -> Result<Vec<u8>, Problem>
where
    S: Stream<Item = Result<B, warp::Error>>,
    B: Buf,
{
    let mut body = std::pin::pin!(body);
    let reading = async {
        let mut bytes = BytesMut::new();
        while let Some(Ok(chunk)) = body.next().await {
            if bytes.len() + chunk.remaining() > BODY_BYTES_MAX {
                return Err(Problem::TooLarge);
            }
            let mut chunk = chunk;
            bytes.extend_from_slice(&chunk.copy_to_bytes(chunk.remaining()));
        }
        Ok(bytes.to_vec())
    };
    timeout(BODY_TIME_MAX, reading).await.unwrap_or(Err(Problem::Late))
}

fn explain(problem: Problem) -> Response {
    match problem {
        Problem::Wrong(wrong) => reply(StatusCode::UNPROCESSABLE_ENTITY, &json!({"detail": wrong})),
        Problem::TooLarge => detail(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than 2 MiB"),
        Problem::Late => detail(StatusCode::REQUEST_TIMEOUT, "the body did not arrive within 10 s"),
        Problem::Refused(Refused::Conflict(text)) => detail(StatusCode::CONFLICT, &text),
        Problem::Refused(Refused::Occupied(text)) => detail(StatusCode::SERVICE_UNAVAILABLE, &text),
        Problem::Refused(Refused::Failed(text)) => detail(StatusCode::INTERNAL_SERVER_ERROR, &text),
        Problem::Refused(Refused::Busy) => detail(
            StatusCode::SERVICE_UNAVAILABLE,
            "16 requests wait for the store already; try again when they are done",
        ),
    }
}

fn detail(status: StatusCode, text: &str) -> Response {
    reply(status, &json!({"detail": text}))
}

fn reply(status: StatusCode, value: &Value) -> Response {
    let mut response = Response::new(serde_json::to_vec(value).expect("JSON can be written").into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// What a browser is told before it sends a request from another page; `None` for other requests.
fn preflight(method: &Method, headers: &HeaderMap) -> Result<Option<Response>, Infallible> {
    if *method != Method::OPTIONS || !headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
        return Ok(None);
    }
    let known = headers.get(header::ORIGIN).is_some_and(is_known);
    let mut response = Response::new(if known { "OK" } else { "Disallowed CORS origin" }.into());
    *response.status_mut() = if known { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    let answer = response.headers_mut();
    answer.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
    answer.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    if let Some(wanted) = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        answer.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
    }
    Ok(Some(response))
}

fn is_known(origin: &HeaderValue) -> bool {
    ORIGINS.iter().any(|known| known.as_bytes() == origin.as_bytes())
}

fn allow_origin(mut response: Response, headers: &HeaderMap) -> Response {
    if let Some(origin) = headers.get(header::ORIGIN).filter(|origin| is_known(origin)) {
        let answer = response.headers_mut();
        answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        answer.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        answer.insert(header::VARY, HeaderValue::from_static("Origin"));
    }
    response
}

/// A part of a path without its percent signs. What is no code stays as it is.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut plain, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let code = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                plain.push(byte);
                at += 3;
            }
            None => {
                plain.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_methods_are_told_apart() {
        let check = |method, path, expected| {
            assert_eq!(route(method, path).map(|one| one.map(|one| one.1)), expected)
        };
        check("GET", "/health", Some(Ok(Route::Health)));
        check("GET", "/api/fault-tolerance/retrieve/issue_0", Some(Ok(Route::Retrieve)));
        check("GET", "/api/fault-tolerance/retrieve/", None);
        check("GET", "/api/fault-tolerance/retrieve/a/b", None);
        check("GET", "/api/fault-tolerance/recover", Some(Err("POST")));
        check("GET", "/nothing", None);
    }

    #[test]
    fn keys_are_decoded() {
        assert_eq!(decoded("a%20b%2Fc%zz%4"), "a b/c%zz%4");
    }
}
