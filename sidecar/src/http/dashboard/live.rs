//! `GET /dashboard/live`: what a member knows as server-sent events, twice a second.
//!
//! All streams of a member share one look at it: however many people watch, the core is asked as often as one of them would ask. It refuses
//! to queue: whoever reads slowly is sent the latest look next, and misses those between.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use holdfast_api::http::{LIVE_END, LiveEnd};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Interval, MissedTickBehavior};
use warp::Reply;
use warp::filters::sse;
use warp::reply::Response;

use super::view;
use crate::dashboard::protect;
use crate::ending::Ending;
use crate::http::Context;
use crate::problem::{Code, Problem};
use crate::running::Running;

/// From one event of a stream to the next: a person sees a change at once, and a kill well within two seconds.
pub(super) const INTERVAL: Duration = Duration::from_millis(500);

/// Most streams of one member. Each costs a connection and its kernel buffers; a team has a few tabs open.
const STREAMS_MAX: usize = 32;

/// The streams of a member. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Streams {
    places: Arc<Semaphore>,
    last: Arc<Mutex<Option<Look>>>,
    began: Instant,
}

/// A look at the member, as it is sent.
#[derive(Clone, Debug)]
struct Look {
    at: Instant,
    json: Arc<str>,
}

impl Default for Streams {
    fn default() -> Streams {
        Streams { places: Arc::new(Semaphore::new(STREAMS_MAX)), last: Arc::default(), began: Instant::now() }
    }
}

impl Streams {
    /// A look at the member that is not older than half an interval.
    async fn look(&self, running: &Running) -> Result<Arc<str>, Problem> {
        let mut last = self.last.lock().await;
        if let Some(look) = last.as_ref().filter(|look| look.at.elapsed() < INTERVAL / 2) {
            return Ok(look.json.clone());
        }
        let at = Instant::now();
        let live = view::collect(running, at - self.began).await?;
        let json: Arc<str> =
            serde_json::to_string(&live).expect("numbers, strings and lists can always be written").into();
        *last = Some(Look { at, json: json.clone() });
        Ok(json)
    }
}

/// Answer with a stream.
pub(super) async fn stream(context: &Context) -> Result<Response, Problem> {
    let Ok(place) = context.streams.places.clone().try_acquire_owned() else {
        let detail = format!(
            "{STREAMS_MAX} dashboards look at this member already; close one, or look at another member"
        );
        return Err(Problem::new(Code::Overloaded, detail));
    };
    // What cannot be shown now is said as a problem, not by a stream that ends.
    let first = context.streams.look(&context.running).await?;
    let mut ticks = tokio::time::interval_at(Instant::now() + INTERVAL, INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let watching = Watching {
        streams: context.streams.clone(),
        running: context.running.clone(),
        ending: context.running.ending(),
        ticks,
        _place: place,
    };
    let mut response = sse::reply(watching.events(first).map(Ok::<_, Infallible>)).into_response();
    protect(response.headers_mut());
    Ok(response)
}

/// A stream, as long as its client reads.
struct Watching {
    streams: Streams,
    running: Running,
    ending: Ending,
    ticks: Interval,
    _place: OwnedSemaphorePermit,
}

impl Watching {
    fn events(self, first: Arc<str>) -> impl Stream<Item = sse::Event> + Send + Sync + 'static {
        let rest = stream::unfold(Some(self), async |watching| {
            let mut watching = watching?;
            match watching.next().await {
                Ok(json) => Some((event(&json), Some(watching))),
                Err(detail) => {
                    let end = sse::Event::default().event(LIVE_END).json_data(LiveEnd { detail });
                    Some((end.expect("a string can always be written"), None))
                }
            }
        });
        stream::once(std::future::ready(event(&first))).chain(rest)
    }

    /// The next look, or why there is none.
    async fn next(&mut self) -> Result<Arc<str>, String> {
        tokio::select! {
            _ = self.ticks.tick() => {}
            _ = self.ending.begun() => return Err("this member is stopping".to_owned()),
        }
        self.streams.look(&self.running).await.map_err(|problem| problem.detail)
    }
}

fn event(json: &str) -> sse::Event {
    sse::Event::default().data(json)
}
