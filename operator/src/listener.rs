//! The operator's own HTTP port: `/livez`, `/readyz`, `/metrics`, `/version`.
//!
//! It answers short GET requests from kubelets and Prometheus and nothing else: no bodies are read, no state is changed, and
//! neither liveness nor readiness depends on the health of any store.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tracing::debug;

use crate::health::Health;
use crate::metrics::Metrics;

/// Connections served at once. A kubelet and a few Prometheus servers hold one each, so 64 leaves an order of magnitude.
const CONNECTIONS_MAX: usize = 64;

/// How long a client may take to send its request head; kubelet probes give up after a second by themselves.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// How long to wait before accepting again when the process has run out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The port could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for health and metrics")]
pub struct ListenError {
    address: SocketAddr,
    #[source]
    source: std::io::Error,
}

/// The listening socket with what it reports on.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
}

impl Listener {
    /// Opens the port.
    ///
    /// # Errors
    /// When the address cannot be bound, for example because another process has the port.
    pub async fn bind(
        address: SocketAddr,
        health: Arc<Health>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, ListenError> {
        let socket = TcpListener::bind(address).await.map_err(|source| ListenError { address, source })?;
        Ok(Self { socket, health, metrics })
    }

    /// The address that was bound; differs from the one asked for when that had port 0.
    ///
    /// # Errors
    /// Never in practice: the socket is bound.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Serves until the future is dropped.
    pub async fn serve(self) {
        let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
                return;
            };
            let stream = match self.socket.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    debug!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let health = Arc::clone(&self.health);
            let metrics = Arc::clone(&self.metrics);
            tokio::spawn(async move {
                connection(stream, health, metrics).await;
                drop(slot);
            });
        }
    }
}

async fn connection(stream: TcpStream, health: Arc<Health>, metrics: Arc<Metrics>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let reply = answer(request.method(), request.uri().path(), request.uri().query(), &health, &metrics);
        async move { Ok::<_, Infallible>(reply) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        debug!(%error, "a connection to the health port ended early");
    }
}

/// The reply to one request; pure but for reading the counters.
fn answer(
    method: &Method,
    path: &str,
    query: Option<&str>,
    health: &Health,
    metrics: &Metrics,
) -> Response<Full<Bytes>> {
    if method != Method::GET && method != Method::HEAD {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET is served here\n");
    }
    match path {
        "/livez" | "/healthz" | "/health" => text(StatusCode::OK, "ok\n"),
        "/readyz" => readiness(query.is_some_and(|query| query.contains("verbose")), health),
        "/metrics" => match metrics.render() {
            Ok(body) => {
                let mut reply = text(StatusCode::OK, body);
                reply
                    .headers_mut()
                    .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4"));
                reply
            }
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        },
        "/version" => {
            let mut reply = text(
                StatusCode::OK,
                format!("{{\"name\":\"holdfast-operator\",\"version\":\"{}\"}}\n", env!("CARGO_PKG_VERSION")),
            );
            reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            reply
        }
        _ => text(StatusCode::NOT_FOUND, "served here: /livez /readyz /metrics /version\n"),
    }
}

fn readiness(verbose: bool, health: &Health) -> Response<Full<Bytes>> {
    let checks = health.checks();
    let ready = checks.iter().all(|check| check.passes);
    let mut body = String::new();
    for check in &checks {
        if verbose || !check.passes {
            let sign = if check.passes { "+" } else { "-" };
            // Writing to a String cannot fail.
            let _ = writeln!(body, "[{sign}] {}: {}", check.name, check.detail);
        }
    }
    if ready {
        body.push_str("ok\n");
        text(StatusCode::OK, body)
    } else {
        body.push_str("not ready\n");
        text(StatusCode::SERVICE_UNAVAILABLE, body)
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    async fn get(path: &str, query: Option<&str>, health: &Health) -> (StatusCode, String) {
        let metrics = Metrics::new().unwrap();
        let reply = answer(&Method::GET, path, query, health, &metrics);
        let status = reply.status();
        let body = reply.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn liveness_does_not_wait_for_the_api_server() {
        let health = Health::default();
        assert_eq!(get("/livez", None, &health).await.0, StatusCode::OK);
        assert_eq!(get("/readyz", None, &health).await.0, StatusCode::SERVICE_UNAVAILABLE);
    }

    #[tokio::test]
    async fn readiness_names_what_is_missing_and_verbose_names_everything() {
        let health = Health::default();
        let (_, body) = get("/readyz", None, &health).await;
        assert!(body.contains("[-] kind-served"), "{body}");
        health.kind_is_served();
        let (status, body) = get("/readyz", Some("verbose"), &health).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        assert!(body.contains("[+] kind-served"), "{body}");
        assert_eq!(get("/readyz", None, &health).await.1, "ok\n");
    }

    #[tokio::test]
    async fn unknown_paths_and_methods_are_refused() {
        let health = Health::default();
        assert_eq!(get("/debug", None, &health).await.0, StatusCode::NOT_FOUND);
        let metrics = Metrics::new().unwrap();
        let reply = answer(&Method::POST, "/metrics", None, &health, &metrics);
        assert_eq!(reply.status(), StatusCode::METHOD_NOT_ALLOWED);
    }

    #[tokio::test]
    async fn a_taken_port_is_a_clear_error() {
        let metrics = Arc::new(Metrics::new().unwrap());
        let health = Arc::new(Health::default());
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let first = Listener::bind(any, Arc::clone(&health), Arc::clone(&metrics)).await.unwrap();
        let taken = first.address().unwrap();
        let error = Listener::bind(taken, health, metrics).await.unwrap_err();
        assert!(error.to_string().contains(&taken.to_string()), "{error}");
    }
}
