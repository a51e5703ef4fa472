//! An API server and members for tests: each request is written down and answered by a closure, members answer on loopback
//! addresses of their own. They check nothing by themselves.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};

use http_body_util::BodyExt as _;
use hyper::{Request, Response};
use kube::Client;
use kube::client::Body;
use kube::runtime::events::Reporter;
use kube::runtime::reflector;
use kube::runtime::watcher::Event;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::caches::{Caches, Stores};
use crate::context::Context;
use crate::members::{Ports, Sidecars};
use crate::metrics::Metrics;

/// A request as the API server saw it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Asked {
    /// `METHOD /path`, without the query.
    pub(crate) line: String,
    /// The body, or null.
    pub(crate) body: Value,
}

/// An API server.
#[derive(Clone)]
pub(crate) struct ApiServer {
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl ApiServer {
    /// A server that answers by this closure, and a client of it. `None` is a 404.
    pub(crate) fn start(
        answer: impl Fn(&Asked) -> Option<Value> + Send + Sync + 'static,
    ) -> (ApiServer, Client) {
        let server = ApiServer { asked: Arc::default() };
        let asked = Arc::clone(&server.asked);
        let answer = Arc::new(answer);
        let service = tower::service_fn(move |request: Request<Body>| {
            let (asked, answer) = (Arc::clone(&asked), Arc::clone(&answer));
            async move {
                let line = format!("{} {}", request.method(), request.uri().path());
                let bytes = request.into_body().collect().await.unwrap().to_bytes();
                let one = Asked { line, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null) };
                let found = answer(&one);
                asked.lock().unwrap().push(one);
                let code = if found.is_some() { 200 } else { 404 };
                let body = found.unwrap_or_else(|| {
                    json!({"kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound", "message": ""})
                });
                let body = Body::from(body.to_string().into_bytes());
                Ok::<_, Infallible>(Response::builder().status(code).body(body).unwrap())
            }
        });
        (server, Client::new(service, "default"))
    }

    /// Everything that was asked since the last call.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    /// The request lines since the last call.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.line).collect()
    }
}

/// Copies that are filled and hold nothing.
pub(crate) fn empty_caches() -> Caches {
    fn empty<K>() -> reflector::Store<K>
    where
        K: kube::Resource<DynamicType = ()> + Clone + 'static,
    {
        let (store, mut writer) = reflector::store();
        writer.apply_watcher_event(&Event::Init);
        writer.apply_watcher_event(&Event::InitDone);
        store
    }
    Caches {
        stores: Stores::new(empty()),
        stateful_sets: empty(),
        pods: empty(),
        claims: empty(),
        config_maps: empty(),
        services: empty(),
        budgets: empty(),
        accounts: empty(),
        roles: empty(),
        role_bindings: empty(),
        leases: empty(),
    }
}

/// A context around an API server and members that listen on these ports.
pub(crate) fn context(client: Client, ports: Ports) -> Context {
    let reporter = Reporter { controller: "test".into(), instance: None };
    let metrics = Arc::new(Metrics::new().unwrap());
    let sidecars = Sidecars::new(ports).unwrap();
    Context::new(client, empty_caches(), sidecars, reporter, metrics, "sidecar:test".into())
}

/// Members on `127.0.0.2`, `127.0.0.3` …, all on one port, that answer each request with what the closure says for the
/// ordinal and the request line. Returns the port for both purposes.
pub(crate) async fn members(count: u8, answer: impl Fn(u8, &str) -> Value + Send + Sync + 'static) -> Ports {
    let answer = Arc::new(answer);
    let (port, listeners) = loop {
        if let Some(found) = bind(count).await {
            break found;
        }
    };
    for (ordinal, listener) in listeners {
        let answer = Arc::clone(&answer);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = [0; 4096];
                let read = stream.read(&mut head).await.unwrap_or(0);
                let line =
                    String::from_utf8_lossy(&head[..read]).lines().next().unwrap_or_default().to_owned();
                let body = answer(ordinal, &line).to_string();
                let length = body.len();
                let reply =
                    format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
                let _ = stream.write_all(reply.as_bytes()).await;
            }
        });
    }
    Ports { client: port, admin: port }
}

/// The address of a member.
pub(crate) fn address(ordinal: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, ordinal + 2))
}

/// One port that is free on every member's address; `None` if somebody else has it on one of them.
async fn bind(count: u8) -> Option<(u16, BTreeMap<u8, TcpListener>)> {
    let first = TcpListener::bind((address(0), 0)).await.unwrap();
    let port = first.local_addr().unwrap().port();
    let mut listeners = BTreeMap::from([(0, first)]);
    for ordinal in 1..count {
        listeners.insert(ordinal, TcpListener::bind((address(ordinal), port)).await.ok()?);
    }
    Some((port, listeners))
}
