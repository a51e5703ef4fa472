//! The runner's dashboard: the page that members serve too, with the orders that only a runner can carry out, and a view of the store
//! through whichever member answers.
//!
//! | route | does |
//! |---|---|
//! | `GET /dashboard`, `/dashboard/…` | the page's files |
//! | `GET /dashboard/runner` | how the processes are |
//! | `GET /dashboard/members/{ordinal}/live` | what a member sends to its own dashboard: [`relay`] |
//! | `POST /dashboard/members/{ordinal}/fail`, `…/start` | as `holdfast fail` and `holdfast start` |
//! | `POST /dashboard/members/{ordinal}/recover` | `POST /nodes/{id}/recover`, at a member that runs |
//!
//! It listens on loopback, answers only to names of this machine, and takes orders only from its own page ([`guard`]). It refuses to give
//! an order itself: orders go where those of `holdfast fail` go.

mod relay;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use holdfast_laptop::control::{Answer, Asked, Request as Order};
use holdfast_laptop::ports::{Ports, on_loopback};
use holdfast_laptop::supervisor::{Phase, Report};
use holdfast_sidecar::dashboard::{Server, asset, guard, protect};
use holdfast_sidecar::ending::{End, ending};
use holdfast_sidecar::listener::{BindError, Limits, Listener, Purpose, bind};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, LOCATION};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use serde::Serialize;
use serde_json::json;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// A person has a few tabs open, and each has a stream and a request now and then.
const LIMITS: Limits =
    Limits { connections_max: 64, header_timeout: Duration::from_secs(60), head_bytes_max: 16 * 1024 };
/// How the port is changed.
const PURPOSE: Purpose =
    Purpose { name: "dashboard", flag: "--dashboard-port", environment: "HOLDFAST_DASHBOARD_PORT", also: "" };
/// How long an order may take: longer than killing and reaping a process takes on a busy machine.
const ORDER_TIME_MAX: Duration = Duration::from_secs(10);
/// Where the page is.
const PATH: &str = "/dashboard";

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// The page of a running store. Dropping it closes the port.
#[derive(Debug)]
pub struct Page {
    address: SocketAddr,
    _end: End,
}

/// What the routes know.
#[derive(Clone, Debug)]
struct Context {
    port_base: u16,
    orders: mpsc::Sender<Asked>,
}

/// What a path and a method mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route<'a> {
    Root,
    File(&'a str),
    Processes,
    Live(u8),
    Fail(u8),
    Start(u8),
    Recover(u8),
}

/// Why a request has no answer of its route.
#[derive(Debug)]
struct Problem(StatusCode, String);

/// A member's process, as the page reads it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Process<'a> {
    ordinal: u8,
    name: &'a str,
    #[serde(flatten)]
    report: &'a Report,
}

impl Process<'_> {
    fn new(ordinal: u8, report: &Report) -> Process<'_> {
        Process { ordinal, name: &report.member, report }
    }
}

impl Page {
    /// Serves the page on loopback until this is dropped. Orders go to `orders`, which is a runner's
    /// [`Control`](holdfast_laptop::control::Control). Call inside a runtime.
    ///
    /// # Errors
    /// The port cannot be opened.
    pub async fn open(port: u16, port_base: u16, orders: mpsc::Sender<Asked>) -> Result<Page, BindError> {
        let socket = bind(on_loopback(port), PURPOSE).await?;
        let address = socket.local_addr().unwrap_or_else(|_| on_loopback(port));
        let (end, hears) = ending();
        let context = Context { port_base, orders };
        let service = hyper::service::service_fn(move |request| {
            let context = context.clone();
            async move { Ok::<_, Infallible>(context.serve(request).await) }
        });
        tokio::spawn(Listener::apart(socket, LIMITS).serve(service, hears));
        Ok(Page { address, _end: end })
    }

    /// Where to point a browser.
    pub fn url(&self) -> String {
        format!("http://{}{PATH}", self.address)
    }
}

impl Context {
    async fn serve(&self, request: Request<Incoming>) -> Response<Body> {
        let (parts, _) = request.into_parts();
        let answered = self.answer(&parts.method, parts.uri.path(), &parts.headers).await;
        let mut response = answered.unwrap_or_else(Problem::into_response);
        if parts.method == Method::HEAD {
            *response.body_mut() = full(Bytes::new());
        }
        response
    }

    async fn answer(
        &self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
    ) -> Result<Response<Body>, Problem> {
        let refused = |refusal: guard::Refusal| Problem(StatusCode::FORBIDDEN, refusal.to_string());
        guard::is_for_this_machine(headers).map_err(refused)?;
        let route = Route::of(path).ok_or_else(|| {
            Problem(
                StatusCode::NOT_FOUND,
                format!("there is nothing at {path:?}; the dashboard is at {PATH}"),
            )
        })?;
        if !route.methods().contains(&method.as_str()) {
            return Err(Problem(StatusCode::METHOD_NOT_ALLOWED, route.methods().join(", ")));
        }
        if *method == Method::POST {
            guard::is_order(headers).map_err(refused)?;
        }
        match route {
            Route::Root => Ok(to_the_page()),
            Route::File(file) => match asset(Server::Runner, file) {
                Some(asset) => Ok(asset.answer(headers).map(full)),
                None => Err(Problem(StatusCode::NOT_FOUND, format!("the dashboard has no file {file:?}"))),
            },
            Route::Processes => {
                let reports = self.reports().await?;
                let process = |(report, ordinal)| Process::new(ordinal, report);
                let members: Vec<Process<'_>> = reports.iter().zip(0..).map(process).collect();
                Ok(json(StatusCode::OK, &json!({ "members": members })))
            }
            Route::Live(ordinal) => Ok(relay::live(self.running(ordinal).await).await),
            Route::Fail(ordinal) => self.order(Order::Fail { member: ordinal.to_string() }).await,
            Route::Start(ordinal) => self.order(Order::Start { member: ordinal.to_string() }).await,
            Route::Recover(ordinal) => self.recover(ordinal).await,
        }
    }

    /// Where a member's clients connect, if its process runs; on the port of one that does not, anybody might answer.
    async fn running(&self, ordinal: u8) -> Result<SocketAddr, String> {
        let reports = self.reports().await.map_err(|Problem(_, detail)| detail)?;
        let Some(report) = reports.get(usize::from(ordinal)) else {
            return Err(format!("there is no member {ordinal}"));
        };
        if report.phase != Phase::Running {
            return Err("its process does not run".to_owned());
        }
        self.address(ordinal, reports.len()).ok_or_else(|| "it has no port".to_owned())
    }

    fn address(&self, ordinal: u8, members: usize) -> Option<SocketAddr> {
        Some(Ports::new(self.port_base, u8::try_from(members).ok()?).ok()?.client(ordinal))
    }

    async fn reports(&self) -> Result<Vec<Report>, Problem> {
        match self.ask(Order::Members).await? {
            Answer::Members { members } => Ok(members),
            Answer::Done { text } | Answer::Refused { text } => {
                Err(Problem(StatusCode::SERVICE_UNAVAILABLE, text))
            }
        }
    }

    async fn order(&self, order: Order) -> Result<Response<Body>, Problem> {
        match self.ask(order).await? {
            Answer::Done { text } => Ok(json(StatusCode::OK, &json!({ "detail": text }))),
            Answer::Refused { text } => Err(Problem(StatusCode::NOT_FOUND, text)),
            Answer::Members { .. } => Err(Problem(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the runner answered another question".to_owned(),
            )),
        }
    }

    /// Any member that runs can have another one's files recovered.
    async fn recover(&self, ordinal: u8) -> Result<Response<Body>, Problem> {
        let reports = self.reports().await?;
        let mut last = "no member runs".to_owned();
        for (report, at) in reports.iter().zip(0..) {
            let Some(address) = self.address(at, reports.len()).filter(|_| report.phase == Phase::Running)
            else {
                continue;
            };
            match relay::recover(address, ordinal).await {
                Ok(response) => return Ok(response),
                Err(why) => last = format!("{}: {why}", report.member),
            }
        }
        Err(Problem(StatusCode::BAD_GATEWAY, last))
    }

    async fn ask(&self, request: Order) -> Result<Answer, Problem> {
        let (answer, hear) = oneshot::channel();
        let asking = async {
            self.orders.send(Asked { request, answer }).await.ok()?;
            hear.await.ok()
        };
        let answered = timeout(ORDER_TIME_MAX, asking).await.ok().flatten();
        answered.ok_or_else(|| {
            Problem(
                StatusCode::SERVICE_UNAVAILABLE,
                "the runner is ending, or did not answer in time".to_owned(),
            )
        })
    }
}

impl Route<'_> {
    fn of(path: &str) -> Option<Route<'_>> {
        if path == "/" {
            return Some(Route::Root);
        }
        let file = path.strip_prefix(PATH)?;
        if file.is_empty() {
            return Some(Route::File(""));
        }
        let file = file.strip_prefix('/')?;
        if file == "runner" {
            return Some(Route::Processes);
        }
        let Some(member) = file.strip_prefix("members/") else { return Some(Route::File(file)) };
        let (ordinal, what) = member.split_once('/')?;
        let ordinal = ordinal.parse().ok()?;
        match what {
            "live" => Some(Route::Live(ordinal)),
            "fail" => Some(Route::Fail(ordinal)),
            "start" => Some(Route::Start(ordinal)),
            "recover" => Some(Route::Recover(ordinal)),
            _ => None,
        }
    }

    fn methods(self) -> &'static [&'static str] {
        match self {
            Route::Root | Route::File(_) | Route::Processes => &["GET", "HEAD"],
            Route::Live(_) => &["GET"],
            Route::Fail(_) | Route::Start(_) | Route::Recover(_) => &["POST"],
        }
    }
}

impl Problem {
    fn into_response(self) -> Response<Body> {
        let Problem(status, mut detail) = self;
        let allow = (status == StatusCode::METHOD_NOT_ALLOWED)
            .then(|| HeaderValue::try_from(&detail))
            .and_then(Result::ok);
        if allow.is_some() {
            detail = format!("this takes {detail}");
        }
        let title = status.canonical_reason().unwrap_or_default();
        let mut response =
            json(status, &json!({ "title": title, "status": status.as_u16(), "detail": detail }));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(holdfast_api::http::PROBLEM_TYPE));
        allow.map(|allow| headers.insert(ALLOW, allow));
        response
    }
}

fn to_the_page() -> Response<Body> {
    let mut response = Response::new(full(Bytes::new()));
    *response.status_mut() = StatusCode::SEE_OTHER;
    response.headers_mut().insert(LOCATION, HeaderValue::from_static(PATH));
    response
}

fn full(content: Bytes) -> Body {
    Full::new(content).boxed_unsync()
}

fn json(status: StatusCode, value: &serde_json::Value) -> Response<Body> {
    let mut response = Response::new(full(value.to_string().into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    protect(headers);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    #[test]
    fn a_path_means_one_thing() {
        let of = Route::of;
        assert_eq!(of("/"), Some(Route::Root));
        assert_eq!(of("/dashboard"), Some(Route::File("")));
        assert_eq!(of("/dashboard/dashboard.js"), Some(Route::File("dashboard.js")));
        assert_eq!(of("/dashboard/runner"), Some(Route::Processes));
        assert_eq!(of("/dashboard/members/2/live"), Some(Route::Live(2)));
        assert_eq!(of("/dashboard/members/0/fail"), Some(Route::Fail(0)));
        for wrong in [
            "/dashboards",
            "/v1/kv/a",
            "/dashboard/members/x/live",
            "/dashboard/members/1/eat",
            "/dashboard/members/1",
        ] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }

    /// A runner that has one member, which is down, and kills what it is told to.
    fn context() -> Context {
        let (orders, mut asked) = mpsc::channel::<Asked>(1);
        tokio::spawn(async move {
            while let Some(Asked { request, answer }) = asked.recv().await {
                let report = || Report {
                    member: "orders-0".to_owned(),
                    phase: Phase::Failed,
                    since: jiff::Timestamp::UNIX_EPOCH,
                    pid: None,
                    restarts: 0,
                };
                let _ = answer.send(match request {
                    Order::Members => Answer::Members { members: vec![report()] },
                    Order::Fail { member } if member == "0" => Answer::Done { text: "killed".to_owned() },
                    _ => Answer::Refused { text: "there is no such member".to_owned() },
                });
            }
        });
        Context { port_base: 7400, orders }
    }

    async fn check(method: &Method, path: &str, headers: &[(&'static str, &'static str)]) -> (u16, String) {
        let one = |&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
        let headers: HeaderMap = headers.iter().map(one).collect();
        let answered = context().answer(method, path, &headers).await.unwrap_or_else(Problem::into_response);
        let status = answered.status().as_u16();
        let body = answered.into_body().collect().await.expect("infallible").to_bytes();
        (status, String::from_utf8(body.to_vec()).expect("text"))
    }

    const HOST: (&str, &str) = ("host", "127.0.0.1:7403");
    const ORDER: (&str, &str) = (guard::ORDER, "1");

    #[tokio::test]
    async fn only_the_page_gives_orders() {
        let fail = "/dashboard/members/0/fail";
        let (status, said) = check(&Method::POST, fail, &[HOST, ORDER]).await;
        assert_eq!((status, said.as_str()), (200, r#"{"detail":"killed"}"#));
        assert_eq!(check(&Method::POST, fail, &[HOST]).await.0, 403);
        assert_eq!(check(&Method::POST, fail, &[HOST, ORDER, ("origin", "http://example.org")]).await.0, 403);
        assert_eq!(check(&Method::POST, fail, &[("host", "example.org:7403"), ORDER]).await.0, 403);
        assert_eq!(check(&Method::GET, fail, &[HOST, ORDER]).await.0, 405);
        assert_eq!(check(&Method::POST, "/dashboard/members/9/start", &[HOST, ORDER]).await.0, 404);
        // Not even what can only be read.
        assert_eq!(check(&Method::GET, "/dashboard/runner", &[("host", "example.org")]).await.0, 403);
    }

    #[tokio::test]
    async fn a_member_that_is_down_is_not_asked() {
        let (status, said) = check(&Method::GET, "/dashboard/members/0/live", &[HOST]).await;
        assert_eq!(status, 200);
        assert_eq!(said, "event: end\ndata: {\"detail\":\"its process does not run\"}\n\n");
        let (status, said) = check(&Method::GET, "/dashboard/runner", &[HOST]).await;
        assert_eq!(status, 200);
        assert!(said.contains(r#""ordinal":0"#) && said.contains(r#""phase":"failed""#), "{said}");
        let (status, said) = check(&Method::POST, "/dashboard/members/0/recover", &[HOST, ORDER]).await;
        assert!(status == 502 && said.contains("no member runs"), "{said}");
    }
}
