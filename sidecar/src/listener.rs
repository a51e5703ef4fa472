//! The one way in which this project serves HTTP: [`Listener`], an accept loop around hyper.
//!
//! It takes any hyper service, so that warp's filters and later others share one port. It refuses to be held up: a
//! client that does not finish its head is cut off, one that does not read its answer too; connections beyond the cap
//! get a short answer instead of silence; running out of descriptors pauses accepting and ends nothing; and the end
//! has a deadline.

mod beginning;
mod bind;
mod socket;

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{debug, info, warn};

pub use bind::{BindError, Purpose, bind};
pub use socket::{Socket, UnixSocket};

use self::beginning::Begun;
use crate::ending::Ending;
use crate::metrics::{Counter, Gauge, Metrics, Port};
use crate::native;
use crate::native::stream::Stream;

/// Pause after an accept that failed for want of descriptors or memory: long enough for some connection to end, short
/// against a client's own timeout.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Refusals being written at one time. Beyond it a connection is closed without a word, so that a flood costs no
/// tasks.
const REFUSALS_MAX: usize = 64;

/// How long a refused client may take to send its request and read the answer.
const REFUSAL_TIME: Duration = Duration::from_secs(1);

/// After so long without an acknowledgement from the client's kernel a connection that has something to send is
/// dropped: the client is gone, or does not read.
const SEND_STALL_MAX: Duration = Duration::from_secs(30);

/// After so long without a word the kernel asks whether the client is still there: a host that vanished closes nothing.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);

/// What a refused client reads. Complete in itself, because nothing else may be done for it.
const REFUSAL: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/problem+json\r\n\
    retry-after: 1\r\nconnection: close\r\ncontent-length: 275\r\n\r\n\
    {\"type\":\"https://holdfast.dev/problems#Overloaded\",\"title\":\"Too much is under way\",\"status\":429,\
    \"detail\":\"this port has as many connections as it takes; close some, or try again\",\
    \"code\":\"Overloaded\",\"requestId\":\"none\",\"retryable\":true,\"outcome\":\"refused\",\"retryAfterMs\":1000}";

/// What one listener grants its clients.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most open connections.
    pub connections_max: usize,
    /// From a connection's start, or the end of the answer before, to the end of the next request's head. So this is
    /// also how long a connection may stand idle.
    pub header_timeout: Duration,
    /// Most bytes of a request's head.
    pub head_bytes_max: usize,
}

/// An open port that speaks HTTP/1, and the binary protocol if it is told to.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    native: Option<native::Context>,
    limits: Limits,
    open: Gauge,
    refused: Counter,
    port: Port,
}

/// How serving ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// Connections that were cut off because the deadline had come.
    pub cut_off: usize,
}

impl Listener {
    /// Serve on a socket that is open already.
    pub fn new(socket: impl Into<Socket>, port: Port, limits: Limits, metrics: &Metrics) -> Listener {
        let (open, refused) = (metrics.connections(port), metrics.connections_refused(port));
        Listener { socket: socket.into(), native: None, limits, open, refused, port }
    }

    /// As [`Listener::new`], for a port that is no member's: what it counts is shown nowhere.
    pub fn apart(socket: impl Into<Socket>, limits: Limits) -> Listener {
        let (open, refused) = (Gauge::apart(), Counter::apart());
        Listener { socket: socket.into(), native: None, limits, open, refused, port: Port::Client }
    }

    /// Also take connections that speak the binary protocol.
    pub(crate) fn with_native(self, native: native::Context) -> Listener {
        Listener { native: Some(native), ..self }
    }

    /// Serve until the end has come: take no new connections then, let each open one finish the request it is at, and
    /// cut off what is left at the deadline. Streams without an end must listen to `ending` themselves.
    pub async fn serve<S, B>(self, service: S, mut ending: Ending) -> Served
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let places = Arc::new(Semaphore::new(self.limits.connections_max));
        let refusals = Arc::new(Semaphore::new(REFUSALS_MAX));
        let mut connections = JoinSet::new();
        let deadline = loop {
            let accepted = tokio::select! {
                accepted = self.socket.accept() => accepted,
                deadline = ending.begun() => break deadline,
                Some(_) = connections.join_next() => continue,
            };
            let stream = match accepted {
                Ok(stream) => stream,
                Err(error) => {
                    self.accept_failed(&error).await;
                    continue;
                }
            };
            match Arc::clone(&places).try_acquire_owned() {
                Ok(place) => {
                    let native = self.native.clone();
                    let connection = Connection { native, _place: place, _open: Opened::new(&self.open) };
                    connections.spawn(connection.run(stream, self.limits, service.clone(), ending.clone()));
                }
                Err(_) => self.refuse(stream, &refusals),
            }
        };
        drop(self.socket);
        let all_done = async { while connections.join_next().await.is_some() {} };
        let _ = tokio::time::timeout_at(deadline, all_done).await;
        let cut_off = connections.len();
        connections.shutdown().await;
        Served { cut_off }
    }

    /// An accept failed. Most failures belong to one connection; the others pass when something is closed.
    async fn accept_failed(&self, error: &io::Error) {
        use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
        if matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) {
            debug!(port = ?self.port, %error, "a connection ended before it was accepted");
            return;
        }
        warn!(port = ?self.port, %error, open = self.open.value(), "cannot accept connections now, trying again");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }

    /// Answer a connection that is one too many.
    fn refuse(&self, stream: Stream, refusals: &Arc<Semaphore>) {
        self.refused.increment();
        let Ok(permit) = Arc::clone(refusals).try_acquire_owned() else { return };
        if refusals.available_permits() == REFUSALS_MAX - 1 {
            warn!(port = ?self.port, most = self.limits.connections_max, "refusing connections: too many are open");
        }
        tokio::spawn(async move {
            let _permit = permit;
            let _ = timeout(REFUSAL_TIME, refusal(stream)).await;
        });
    }
}

/// Write the refusal, and read what the client sends until it closes: closing with unread bytes would reset the
/// connection, and the client might never see the answer.
async fn refusal(mut stream: Stream) -> io::Result<()> {
    stream.write_all(REFUSAL).await?;
    stream.shutdown().await?;
    let mut ignored = [0; 1024];
    while stream.read(&mut ignored).await? > 0 {}
    Ok(())
}

/// What an open connection holds as long as it lives.
struct Connection {
    native: Option<native::Context>,
    _place: OwnedSemaphorePermit,
    _open: Opened,
}

impl Connection {
    async fn run<S, B>(self, stream: Stream, limits: Limits, service: S, mut ending: Ending)
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
        B: Body + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        if let Err(error) = prepare(&stream) {
            debug!(%error, "the connection was gone at once");
            return;
        }
        let begun = tokio::select! {
            begun = timeout(limits.header_timeout, Begun::look(stream)) => begun,
            _ = ending.begun() => return,
        };
        let Ok(Ok(Some(stream))) = begun else { return }; // closed, broken, or silent for too long
        if let (true, Some(native)) = (stream.is_native(), &self.native) {
            let Begun { stream, read } = stream;
            return native::serve(stream, read, native.clone(), ending).await;
        }
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(limits.header_timeout)
            .max_buf_size(limits.head_bytes_max);
        let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
        let served = tokio::select! {
            served = connection.as_mut() => served,
            _ = ending.begun() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = served {
            debug!(error = %chain(&error), "a connection ended early");
        }
    }
}

/// Set what every connection needs: answers leave at once, and a client that is gone is noticed, also while nothing
/// is under way.
fn prepare(stream: &Stream) -> io::Result<()> {
    let Stream::Tcp(stream) = stream else { return Ok(()) };
    stream.set_nodelay(true)?;
    let socket = socket2::SockRef::from(stream);
    socket.set_tcp_keepalive(&socket2::TcpKeepalive::new().with_time(KEEPALIVE_AFTER))?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(SEND_STALL_MAX))?;
    Ok(())
}

/// Counts a connection while it lives, however its task ends.
struct Opened(Gauge);

impl Opened {
    fn new(gauge: &Gauge) -> Opened {
        gauge.increment();
        Opened(gauge.clone())
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.0.decrement();
    }
}

/// An error with its causes, as logs show it.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        // Some libraries repeat the cause in their own text.
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    text
}

/// Say where a port can be reached.
pub(crate) fn announce(name: &str, socket: &tokio::net::TcpListener) {
    if let Ok(address) = socket.local_addr() {
        info!(%address, "the {name} port is open");
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::net::SocketAddr;

    use http_body_util::Full;
    use hyper::service::service_fn;
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::Notify;
    use tokio::task::JoinHandle;
    use tokio::time::Instant;

    use super::*;
    use crate::ending::{End, ending};

    /// Generous, so that a busy machine does not fail a test; what is tested happens long before.
    const LONG: Duration = Duration::from_secs(20);

    struct Running {
        address: SocketAddr,
        end: End,
        served: JoinHandle<Served>,
        metrics: Metrics,
    }

    async fn start<F, Fut>(connections_max: usize, header_timeout: Duration, answer: F) -> Running
    where
        F: Fn() -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = &'static str> + Send,
    {
        let metrics = Metrics::example();
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = socket.local_addr().expect("a bound socket");
        let limits = Limits { connections_max, header_timeout, head_bytes_max: 16 * 1024 };
        let listener = Listener::new(socket, Port::Client, limits, &metrics);
        let (end, ending) = ending();
        let service = service_fn(move |_| {
            let answer = answer();
            async move { Ok::<_, Infallible>(Response::new(Full::new(bytes::Bytes::from(answer.await)))) }
        });
        Running { address, end, served: tokio::spawn(listener.serve(service, ending)), metrics }
    }

    async fn get(stream: &mut TcpStream) {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("a request goes out");
    }

    async fn until_closed(mut stream: TcpStream) -> String {
        let mut text = Vec::new();
        let read = timeout(LONG, stream.read_to_end(&mut text)).await.expect("closed in time");
        read.expect("closed without a reset");
        String::from_utf8(text).expect("text")
    }

    #[tokio::test]
    async fn a_client_that_does_not_finish_its_head_is_cut_off() {
        let running = start(8, Duration::from_millis(200), || async { "x" }).await;
        let mut slow = TcpStream::connect(running.address).await.expect("connected");
        slow.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nx-slow: ").await.expect("the beginning goes out");
        let began = Instant::now();
        let answer = until_closed(slow).await;
        assert!(began.elapsed() >= Duration::from_millis(150), "cut off too early");
        assert!(!answer.contains("200 OK"), "{answer}");
    }

    #[tokio::test]
    async fn connections_beyond_the_cap_are_told_so_and_a_place_that_is_free_again_is_used() {
        let running = start(1, LONG, || async { "here" }).await;
        let mut first = TcpStream::connect(running.address).await.expect("connected");
        get(&mut first).await;
        let mut buffer = [0; 512];
        assert!(first.read(&mut buffer).await.expect("an answer") > 0);

        let mut second = TcpStream::connect(running.address).await.expect("the kernel connects");
        get(&mut second).await;
        let answer = until_closed(second).await;
        assert!(answer.starts_with("HTTP/1.1 429"), "{answer}");
        let body = answer.split_once("\r\n\r\n").expect("a body").1;
        let length: usize =
            answer.split("content-length: ").nth(1).expect("a length")[..3].parse().expect("a number");
        assert_eq!(body.len(), length);
        let problem: holdfast_api::http::Problem = serde_json::from_str(body).expect("a problem");
        let code = holdfast_api::http::ProblemCode::Overloaded;
        let expected = holdfast_api::http::Problem {
            retry_after_ms: Some(1000),
            ..holdfast_api::http::Problem::new(code, problem.detail.clone(), "none")
        };
        assert_eq!(problem, expected);
        assert_eq!(running.metrics.connections_refused(Port::Client).value(), 1);

        drop(first);
        let deadline = Instant::now() + LONG;
        loop {
            let mut third = TcpStream::connect(running.address).await.expect("the kernel connects");
            third.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.expect("sent");
            if until_closed(third).await.ends_with("here") {
                break;
            }
            assert!(Instant::now() < deadline, "the place never became free");
        }
    }

    #[tokio::test]
    async fn the_end_waits_for_the_request_that_is_under_way() {
        let (entered, leave) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (inside, go) = (Arc::clone(&entered), Arc::clone(&leave));
        let running = start(8, LONG, move || {
            let (inside, go) = (Arc::clone(&inside), Arc::clone(&go));
            async move {
                inside.notify_one();
                go.notified().await;
                "finished"
            }
        })
        .await;
        let idle = TcpStream::connect(running.address).await.expect("connected");
        let mut busy = TcpStream::connect(running.address).await.expect("connected");
        get(&mut busy).await;
        entered.notified().await;
        running.end.begin(LONG);
        assert_eq!(until_closed(idle).await, "", "an idle connection is closed at once");
        leave.notify_one();
        assert!(until_closed(busy).await.ends_with("finished"));
        assert_eq!(running.served.await.expect("no panic"), Served { cut_off: 0 });
        assert_eq!(running.metrics.connections(Port::Client).value(), 0.0);
        assert!(TcpStream::connect(running.address).await.is_err(), "the port is closed");
    }

    #[tokio::test]
    async fn what_does_not_end_is_cut_off_at_the_deadline() {
        let entered = Arc::new(Notify::new());
        let inside = Arc::clone(&entered);
        let running = start(8, LONG, move || {
            let inside = Arc::clone(&inside);
            async move {
                inside.notify_one();
                std::future::pending().await
            }
        })
        .await;
        let mut stuck = TcpStream::connect(running.address).await.expect("connected");
        get(&mut stuck).await;
        entered.notified().await;
        running.end.begin(Duration::from_millis(100));
        let served = timeout(LONG, running.served).await.expect("ended in time").expect("no panic");
        assert_eq!(served, Served { cut_off: 1 });
    }
}
