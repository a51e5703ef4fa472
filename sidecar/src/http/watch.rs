//! `GET /v1/watch`: committed changes as server-sent events.
//!
//! All changes of one revision are one event whose id is the revision, so that `Last-Event-ID` resumes without a gap
//! and without a repetition. A watch that the member ends says why and from where to go on. It refuses to hold the
//! core up: a reader that is too slow is told so by the core and cut off.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use holdfast_api::http as dto;
use holdfast_api::http::query::{FROM, PREFIX};
use holdfast_api::http::{WATCH_END, WATCH_STARTED};
use holdfast_store::{Event, KEY_BYTES_MAX, Revision};
use http::HeaderMap;
use serde::Serialize;
use warp::filters::sse;
use warp::reply::Response;
use warp::{Filter, Reply};

use super::reads::text;
use super::{Context, Group, Head, Query, head, settle, with};
use crate::core::{WatchBatch, WatchEnd, WatchStream};
use crate::ending::Ending;
use crate::metrics::Gauge;
use crate::problem::{Code, Problem};
use crate::reserved;

const NAMES: &[&str] = &[PREFIX, FROM];

/// The header by which a client says what it has seen.
const LAST_EVENT_ID: &str = "last-event-id";

/// After so long without an event a comment is sent, so that proxies do not cut the connection off and a client that
/// is gone is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The routes of this module.
pub(super) fn routes(context: Context) -> Group {
    warp::path("v1")
        .and(warp::path("watch"))
        .and(warp::path::end())
        .and(warp::get())
        .and(with(context))
        .and(head())
        .then(async |context: Context, head: Head| settle(watch(&context, &head).await))
        .boxed()
}

async fn watch(context: &Context, head: &Head) -> Result<Response, Problem> {
    let query = Query::parse(&head.query, NAMES)?;
    let prefix = query.text(PREFIX).unwrap_or_default();
    if prefix.len() > KEY_BYTES_MAX {
        let detail = format!("the prefix has {} bytes, {KEY_BYTES_MAX} is the most", prefix.len());
        return Err(Problem::new(Code::InvalidKey, detail));
    }
    reserved::check(prefix.as_bytes())?;
    let from = match last_event_id(&head.headers)? {
        Some(seen) => Some(seen.next()),
        None => query.number(FROM, 1..=u64::MAX)?.map(Revision),
    };
    let prefix = Bytes::copy_from_slice(prefix.as_bytes());
    let changes = context.running.handle()?.watch(from, prefix).await;
    let changes = changes.map_err(|failure| Problem::of_failure(failure, true))?;
    let watching = Watching::new(changes, context.running.ending(), &context.running.metrics().watch_streams);
    Ok(sse::reply(watching.events().map(Ok::<_, Infallible>)).into_response())
}

/// The last revision that the client has seen. It goes before `from`: a client that connects again sends the same
/// query as the first time.
fn last_event_id(headers: &HeaderMap) -> Result<Option<Revision>, Problem> {
    let Some(value) = headers.get(LAST_EVENT_ID) else { return Ok(None) };
    let number =
        value.to_str().ok().and_then(|text| text.parse::<u64>().ok()).filter(|&seen| seen < u64::MAX);
    number.map(|seen| Some(Revision(seen))).ok_or_else(|| Problem::invalid("Last-Event-ID is not a revision"))
}

/// A watch, as long as its client reads.
struct Watching {
    changes: WatchStream,
    ending: Ending,
    _counted: Counted,
}

/// Counts a watch while it lives.
struct Counted(Gauge);

/// What comes next on a watch.
enum Next {
    Changes(WatchBatch),
    Nothing,
    End(WatchEnd),
}

impl Watching {
    fn new(changes: WatchStream, ending: Ending, open: &Gauge) -> Watching {
        open.increment();
        Watching { changes, ending, _counted: Counted(open.clone()) }
    }

    /// The events: that it has started, every change, why it ended.
    fn events(self) -> impl Stream<Item = sse::Event> + Send + Sync + 'static {
        let started = event(&dto::WatchStarted { from: self.changes.resume().0 }).event(WATCH_STARTED);
        let rest = stream::unfold(Some(self), async |watching| {
            let mut watching = watching?;
            match watching.next().await {
                Next::Changes(batch) => Some((revisions(batch.events), Some(watching))),
                Next::Nothing => Some((vec![sse::Event::default().comment("alive")], Some(watching))),
                Next::End(end) => Some((vec![end_event(&end)], None)),
            }
        });
        stream::once(std::future::ready(started)).chain(rest.flat_map(stream::iter))
    }

    async fn next(&mut self) -> Next {
        let stopping = WatchEnd::ShuttingDown { resume: self.changes.resume() };
        tokio::select! {
            next = self.changes.next() => match next {
                Some(Ok(batch)) => Next::Changes(batch),
                Some(Err(end)) => Next::End(end),
                None => Next::End(stopping),
            },
            _ = self.ending.begun() => Next::End(stopping),
            () = tokio::time::sleep(KEEP_ALIVE) => Next::Nothing,
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.decrement();
    }
}

/// One event for each revision. The core never parts a revision.
fn revisions(changes: Vec<Event>) -> Vec<sse::Event> {
    changes
        .chunk_by(|one, other| one.revision() == other.revision())
        .map(|changes| {
            let revision = changes[0].revision().0;
            let batch = dto::WatchBatch { revision, events: changes.iter().map(change).collect() };
            event(&batch).id(revision.to_string())
        })
        .collect()
}

fn change(event: &Event) -> dto::WatchEvent {
    match event {
        Event::Put(item) => {
            let value = item.value.to_vec();
            dto::WatchEvent::put(text(&item.key), value, item.create_revision.0, item.version)
        }
        Event::Deleted { key, .. } => dto::WatchEvent::delete(text(key)),
    }
}

fn end_event(end: &WatchEnd) -> sse::Event {
    let (code, resume) = match *end {
        WatchEnd::TooSlow { resume } => ("TooSlow", resume),
        WatchEnd::Compacted { compacted } => ("Compacted", compacted),
        WatchEnd::ShuttingDown { resume } => ("ShuttingDown", resume),
    };
    let end = dto::WatchEnd { code: code.to_owned(), detail: end.to_string(), resume: resume.0 };
    event(&end).event(WATCH_END)
}

fn event(data: &impl Serialize) -> sse::Event {
    sse::Event::default().json_data(data).expect("numbers, strings and lists can always be written")
}

#[cfg(test)]
mod tests {
    use holdfast_store::KeyValue;
    use http::HeaderValue;

    use super::*;

    #[test]
    fn one_revision_is_one_event_with_its_id() {
        let put = |key: &'static str, revision| {
            let (create_revision, mod_revision) = (Revision(revision), Revision(revision));
            let (key, value) = (Bytes::from_static(key.as_bytes()), Bytes::from_static(b"v"));
            Event::Put(KeyValue { key, value, create_revision, mod_revision, version: 1 })
        };
        let gone = Event::Deleted { key: Bytes::from_static(b"b"), revision: Revision(7) };
        let events = revisions(vec![put("a", 7), gone, put("c", 8)]);
        let text: Vec<_> = events.iter().map(ToString::to_string).collect();
        assert_eq!(
            text,
            [
                "data:{\"revision\":7,\"events\":[{\"type\":\"put\",\"key\":\"a\",\"value\":\"v\",\"createRevision\":7,\
             \"version\":1},{\"type\":\"delete\",\"key\":\"b\"}]}\nid:7\n\n",
                "data:{\"revision\":8,\"events\":[{\"type\":\"put\",\"key\":\"c\",\"value\":\"v\",\"createRevision\":8,\
             \"version\":1}]}\nid:8\n\n",
            ]
        );
    }

    #[test]
    fn an_end_says_why_and_from_where_to_go_on() {
        let text = end_event(&WatchEnd::TooSlow { resume: Revision(9) }).to_string();
        assert!(text.starts_with("event:end\ndata:{\"code\":\"TooSlow\""), "{text}");
        assert!(text.contains("\"resume\":9}"), "{text}");
    }

    #[test]
    fn the_last_id_is_a_revision() {
        let of = |id: &'static str| {
            let headers = HeaderMap::from_iter([(
                http::HeaderName::from_static(LAST_EVENT_ID),
                HeaderValue::from_static(id),
            )]);
            last_event_id(&headers).map_err(|problem| problem.code)
        };
        assert_eq!(of("41"), Ok(Some(Revision(41))));
        for wrong in ["", "x", "-1", "18446744073709551615"] {
            assert_eq!(of(wrong), Err(Code::BadRequest), "{wrong}");
        }
    }
}
