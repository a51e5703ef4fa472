//! The lab's port on a cluster: `/livez` for probes, `/metrics` for Prometheus, and, if it is asked to, the research protocol's routes on a
//! store of the lab's own.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use holdfast_sidecar::ending::Ending;
use holdfast_sidecar::listener::{Limits, Listener, Purpose, Socket};
use http::{HeaderValue, Response, StatusCode, header};
use prometheus::{Encoder as _, Registry, TextEncoder};
use tokio::time::timeout;
use tracing::warn;

use super::chain;
use super::own::Own;
use crate::RunMetrics;
use crate::rest::{self, ServeError};

/// Probes, scrapes, and a person with curl.
const LIMITS: Limits =
    Limits { connections_max: 64, header_timeout: Duration::from_secs(60), head_bytes_max: 16 * 1024 };
/// How long sweeping up may take at the beginning and at the end. What is left goes with the lab's pod.
const SWEEP_MAX: Duration = Duration::from_secs(10);
/// How the port's address is changed.
pub const PURPOSE: Purpose =
    Purpose { name: "lab", flag: "--listen", environment: "HOLDFAST_LAB_LISTEN", also: "" };

/// Serves until the end has come.
pub async fn serve(socket: impl Into<Socket>, registry: Arc<Registry>, ending: Ending) {
    let service = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let registry = registry.clone();
        async move { Ok::<_, Infallible>(answer(request.uri().path(), &registry)) }
    });
    Listener::apart(socket, LIMITS).serve(service, ending).await;
}

/// The same with the protocol's routes. The lab's own stores are swept up at the beginning, should a lab have been killed in this pod, and at the end.
///
/// # Errors
/// The metrics are registered already.
pub async fn serve_with_routes(
    socket: impl Into<Socket>,
    own: Own,
    registry: Arc<Registry>,
    runs: RunMetrics,
    ending: Ending,
) -> Result<(), ServeError> {
    let stores = own.stores();
    let sweep = async || match timeout(SWEEP_MAX, stores.sweep()).await {
        Ok(Ok(())) => {}
        Ok(Err(problem)) => warn!(problem = chain(&problem), "stores of this lab's own may be left"),
        Err(_) => warn!("the API server does not answer; stores of this lab's own may be left"),
    };
    sweep().await;
    let served = rest::serve_in(own, socket.into(), registry, runs, ending).await;
    sweep().await;
    served
}

fn answer(path: &str, registry: &Registry) -> Response<String> {
    match path {
        "/livez" => Response::new("ok\n".to_owned()),
        "/metrics" => {
            let mut text = Vec::new();
            TextEncoder::new().encode(&registry.gather(), &mut text).expect("memory takes everything");
            let mut response = Response::new(String::from_utf8_lossy(&text).into_owned());
            let format = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
            response.headers_mut().insert(header::CONTENT_TYPE, format);
            response
        }
        _ => {
            let mut response = Response::new("there are /livez and /metrics\n".to_owned());
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        }
    }
}
