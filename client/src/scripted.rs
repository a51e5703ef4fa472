//! A member that does what a script says, for tests: one step for each request it gets, the last one again and again.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use holdfast_api::http::{PROBLEM_TYPE, Problem, ProblemCode};
use http::{HeaderMap, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// What to do with a request.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Answer with a status, headers and a body.
    Reply(u16, Vec<(&'static str, String)>, String),
    /// Read it, and close the connection without a word.
    Close,
    /// Read it, and never answer.
    Hang,
    /// Answer with an event stream of these pieces, and then close the connection or keep it open.
    Stream(Vec<String>, StreamEnd),
}

/// How a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StreamEnd {
    Broken,
    Open,
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A scripted member on loopback. Its task ends with the test's runtime.
pub(crate) struct Server {
    pub(crate) endpoint: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Step {
    /// A problem with what its code says.
    pub(crate) fn problem(code: ProblemCode) -> Step {
        Step::refusal(Problem::new(code, "the script says so", "r-1"))
    }

    pub(crate) fn refusal(problem: Problem) -> Step {
        let body = serde_json::to_string(&problem).expect("plain data");
        Step::Reply(problem.status, vec![("content-type", PROBLEM_TYPE.to_owned())], body)
    }

    /// A write that is done.
    pub(crate) fn written(revision: u64) -> Step {
        let body = format!(
            r#"{{"revision":{revision},"term":1,"index":9,"concern":{{"requested":"majority","reached":2}}}}"#
        );
        Step::Reply(200, Vec::new(), body)
    }

    /// A value that was read.
    pub(crate) fn value(value: &str) -> Step {
        let headers = vec![("etag", "\"7\"".to_owned()), ("x-holdfast-revision", "9".to_owned())];
        Step::Reply(200, headers, value.to_owned())
    }
}

impl Server {
    pub(crate) async fn start(steps: impl IntoIterator<Item = Step>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("it is bound"));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let script = Arc::new(Mutex::new(steps.into_iter().collect::<VecDeque<_>>()));
        tokio::spawn(serve(listener, script, seen.clone()));
        Server { endpoint, seen }
    }

    /// What arrived so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no panic").clone()
    }

    /// The query parameters of request number `which` that begin with `name=`.
    pub(crate) fn parameter(&self, which: usize, name: &str) -> Option<String> {
        let target = self.seen()[which].target.clone();
        let (_, query) = target.split_once('?')?;
        query.split('&').find_map(|pair| Some(pair.strip_prefix(name)?.strip_prefix('=')?.to_owned()))
    }
}

/// An address at which nobody listens.
pub(crate) async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    format!("http://{}", listener.local_addr().expect("it is bound"))
}

async fn serve(listener: TcpListener, script: Arc<Mutex<VecDeque<Step>>>, seen: Arc<Mutex<Vec<Seen>>>) {
    loop {
        let (stream, _) = listener.accept().await.expect("the listener works");
        let (script, seen) = (script.clone(), seen.clone());
        let service = service_fn(move |request| answer(request, script.clone(), seen.clone()));
        tokio::spawn(async move {
            // A connection that breaks is part of the script.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

async fn answer(
    request: Request<Incoming>,
    script: Arc<Mutex<VecDeque<Step>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
) -> Result<Response<Body>, std::io::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    let (method, target) = (parts.method.to_string(), parts.uri.to_string());
    let step = {
        // One lock for both: the order of steps is the order of what was seen.
        let mut script = script.lock().expect("no panic");
        seen.lock().expect("no panic").push(Seen { method, target, headers: parts.headers, body });
        if script.len() > 1 { script.pop_front() } else { script.front().cloned() }
    };
    match step.expect("a script has a step") {
        Step::Reply(status, headers, body) => {
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            let body =
                Full::new(Bytes::from(body)).map_err(|never: Infallible| match never {}).boxed_unsync();
            Ok(response.body(body).expect("the script's headers are good"))
        }
        Step::Close => Err(std::io::Error::other("the script closes the connection")),
        Step::Hang => std::future::pending().await,
        Step::Stream(pieces, end) => {
            let pieces = stream::iter(pieces).map(|piece| Ok(Frame::data(Bytes::from(piece))));
            let last = match end {
                // A pause in the stream makes the server send what it has before the connection breaks.
                StreamEnd::Broken => stream::once(async {
                    tokio::task::yield_now().await;
                    Err(std::io::Error::other("cut"))
                })
                .boxed(),
                StreamEnd::Open => stream::pending().boxed(),
            };
            let body = StreamBody::new(pieces.chain(last)).boxed_unsync();
            Ok(Response::builder().header("content-type", "text/event-stream").body(body).expect("good"))
        }
    }
}
