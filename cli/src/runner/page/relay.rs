//! What the page asks of members, passed on: a browser asks nobody but whoever the page came from.
//!
//! Only two routes of a member are reached, by requests that are made here. It refuses to pass anything of the browser's on.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, future, stream};
use holdfast_api::http::{LIVE_END, LiveEnd};
use holdfast_sidecar::dashboard::protect;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Body, full};

/// How long a member on this machine may take to answer.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(2);
/// How long a member may take to copy what another one misses.
const RECOVER_TIME_MAX: Duration = Duration::from_secs(120);
/// Largest answer that is passed on whole: a list of what is still missing.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What the member at this address sends to its own dashboard, until it ends; why not, as the event that ends such a stream.
pub(super) async fn live(member: Result<SocketAddr, String>) -> Response<Body> {
    let asked = match member {
        Ok(address) => ask(address, Method::GET, "/dashboard/live", ANSWER_TIME_MAX).await,
        Err(why) => Err(why),
    };
    let body = match asked {
        Ok(response) if response.status() == StatusCode::OK => pass_on(response.into_body()),
        Ok(response) => end(&detail(response).await),
        Err(why) => end(&why),
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    protect(headers);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Have the files of the member `ordinal` recovered by the member at this address.
pub(super) async fn recover(member: SocketAddr, ordinal: u8) -> Result<Response<Body>, String> {
    // Members are counted from one in the routes of files.
    let path = format!("/nodes/node-{}/recover", u16::from(ordinal) + 1);
    let response = ask(member, Method::POST, &path, RECOVER_TIME_MAX).await?;
    let (status, kind) = (response.status(), response.headers().get(CONTENT_TYPE).cloned());
    let mut passed_on = Response::new(full(collect(response.into_body()).await?));
    *passed_on.status_mut() = status;
    let headers = passed_on.headers_mut();
    protect(headers);
    kind.map(|kind| headers.insert(CONTENT_TYPE, kind));
    Ok(passed_on)
}

async fn ask(
    member: SocketAddr,
    method: Method,
    path: &str,
    patience: Duration,
) -> Result<Response<Incoming>, String> {
    let request = Request::builder().method(method).uri(path).header(HOST, member.to_string());
    let request = request.body(Empty::<Bytes>::new()).expect("a path and an address");
    let asking = async {
        let stream =
            TcpStream::connect(member).await.map_err(|error| format!("it cannot be reached: {error}"))?;
        let broken = |error: hyper::Error| format!("it did not answer: {error}");
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // Ends with the answer's body, or when nobody reads it any more.
        tokio::spawn(connection);
        sender.send_request(request).await.map_err(broken)
    };
    let asked = timeout(patience, asking).await;
    asked.unwrap_or_else(|_| Err(format!("it did not answer within {} s", patience.as_secs())))
}

/// A stream that breaks off is a stream that ends: its reader sees that the last event is not whole.
fn pass_on(body: Incoming) -> Body {
    let frames = body.into_data_stream();
    let frames =
        frames.take_while(|frame| future::ready(frame.is_ok())).filter_map(|frame| future::ready(frame.ok()));
    StreamBody::new(frames.map(|data| Ok::<_, Infallible>(Frame::data(data)))).boxed_unsync()
}

fn end(why: &str) -> Body {
    let end = LiveEnd { detail: why.to_owned() };
    let end = serde_json::to_string(&end).expect("a string can always be written");
    let event = format!("event: {LIVE_END}\ndata: {end}\n\n");
    StreamBody::new(stream::iter([Ok::<_, Infallible>(Frame::data(event.into()))])).boxed_unsync()
}

/// What a problem says.
async fn detail(response: Response<Incoming>) -> String {
    let status = response.status();
    let body = collect(response.into_body()).await.unwrap_or_default();
    let problem: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    problem["detail"].as_str().map_or_else(|| format!("it answered {status}"), str::to_owned)
}

async fn collect(body: Incoming) -> Result<Bytes, String> {
    let collected = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
    collected
        .map(http_body_util::Collected::to_bytes)
        .map_err(|error| format!("its answer broke off: {error}"))
}
