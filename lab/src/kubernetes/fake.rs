//! An API server for tests: each request is written down and answered by a closure. It checks nothing by itself.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

/// The request lines that an API server saw, without their queries.
#[derive(Clone, Default)]
pub(super) struct Asked(Arc<Mutex<Vec<String>>>);

impl Asked {
    /// All of them.
    pub(super) fn lines(&self) -> Vec<String> {
        self.0.lock().expect("not poisoned").clone()
    }
}

/// A client of a server that answers by this closure. `None` is a 404.
pub(super) fn server(answer: impl Fn(&str) -> Option<Value> + Send + Sync + 'static) -> (Asked, Client) {
    let asked = Asked::default();
    let (lines, answer) = (asked.clone(), Arc::new(answer));
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let line = format!("{} {}", request.method(), request.uri().path());
        let found = answer(&line);
        lines.0.lock().expect("not poisoned").push(line);
        async move {
            let code = if found.is_some() { 200 } else { 404 };
            let body = found.unwrap_or_else(|| {
                json!({"kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound", "message": ""})
            });
            let body = Body::from(body.to_string().into_bytes());
            Ok::<_, Infallible>(http::Response::builder().status(code).body(body).expect("a response"))
        }
    });
    (asked, Client::new(service, "default"))
}
