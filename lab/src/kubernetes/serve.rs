//! The lab's port on a cluster: `/livez` for probes, `/metrics` for Prometheus. The protocol's routes are not here: they are about one store that
//! all clients share, and on a cluster an experiment is a resource.

use std::convert::Infallible;
use std::sync::Arc;

use holdfast_sidecar::ending::Ending;
use holdfast_sidecar::listener::{Limits, Listener, Purpose, Socket};
use http::{HeaderValue, Response, StatusCode, header};
use prometheus::{Encoder as _, Registry, TextEncoder};

/// Probes, scrapes, and a person with curl.
const LIMITS: Limits = Limits {
    connections_max: 64,
    header_timeout: std::time::Duration::from_secs(60),
    head_bytes_max: 16 * 1024,
};
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
