//! [`Watch`]: what is committed, as it is committed, across lost connections and members.
//!
//! Refuses to skip: what was compacted away before it could be read is an error, never a gap.

use holdfast_api::http::{
    Problem, ProblemCode, WATCH_END, WATCH_STARTED, WatchBatch, WatchEnd, WatchStarted, query,
};
use http::Method;

use crate::client::Client;
use crate::error::Error;
use crate::event_stream::Message;
use crate::request::{Effect, Request};
use crate::streaming::Stream;

/// Changes under a prefix, in order, each once.
#[derive(Debug)]
pub struct Watch {
    client: Client,
    prefix: String,
    /// The first revision that was not delivered; `None` before the first member said which that is.
    from: Option<u64>,
    stream: Option<Stream>,
}

/// What a message means.
enum Meaning {
    Batch(WatchBatch),
    /// Nothing to deliver.
    Nothing,
    /// The member ends the stream, for a reason that does not concern the watcher.
    Reconnect,
}

impl Watch {
    pub(crate) fn new(client: Client, prefix: &str, from: Option<u64>) -> Watch {
        Watch { client, prefix: prefix.to_owned(), from, stream: None }
    }

    /// The first revision that was not delivered yet, once it is known: where another watch would go on.
    pub fn resume(&self) -> Option<u64> {
        self.from
    }

    /// Waits until the watch is in place: every change from then on will be delivered.
    ///
    /// # Errors
    /// As [`Watch::next`].
    pub async fn started(&mut self) -> Result<(), Error> {
        if self.stream.is_none() {
            let mut stream = Stream::connect(&self.client, &self.request()).await?;
            // Members say first from where they send; if this one does not, its word is kept for later.
            if let Some(WatchStarted { from }) = stream.take_first(WATCH_STARTED) {
                self.from.get_or_insert(from);
            }
            self.stream = Some(stream);
        }
        Ok(())
    }

    /// Waits for the next revision that changed something, however long that takes; a lost connection is replaced.
    /// May be given up and called again without loss.
    ///
    /// # Errors
    /// [`Error::Unreachable`] if no member could be watched within the client's deadline; [`Error::Refused`] with
    /// [`ProblemCode::Compacted`] if changes were lost to this watcher. Calling again goes on from [`Watch::resume`].
    pub async fn next(&mut self) -> Result<WatchBatch, Error> {
        loop {
            self.started().await?;
            let stream = self.stream.as_mut().expect("the watch has started");
            let place = stream.place();
            // However the stream failed, another one goes on where it stopped.
            let meaning = match stream.message().await {
                Some(message) => self.meaning(&message, place)?,
                None => Meaning::Reconnect,
            };
            match meaning {
                Meaning::Batch(batch) => return Ok(batch),
                Meaning::Nothing => {}
                Meaning::Reconnect => {
                    self.stream = None;
                    self.client.transport.endpoints.avoid(place);
                }
            }
        }
    }

    fn meaning(&mut self, message: &Message, place: usize) -> Result<Meaning, Error> {
        let endpoint = || self.client.transport.name(place);
        let protocol =
            |error: serde_json::Error| Error::Protocol { endpoint: endpoint(), detail: error.to_string() };
        match message.event.as_str() {
            "" | "message" => {
                let batch: WatchBatch = serde_json::from_str(&message.data).map_err(protocol)?;
                // A member that repeats itself is not repeated.
                if self.from.is_some_and(|from| batch.revision < from) {
                    return Ok(Meaning::Nothing);
                }
                self.from = Some(batch.revision + 1);
                Ok(Meaning::Batch(batch))
            }
            WATCH_STARTED => {
                let WatchStarted { from } = serde_json::from_str(&message.data).map_err(protocol)?;
                self.from.get_or_insert(from);
                Ok(Meaning::Nothing)
            }
            WATCH_END => {
                let end: WatchEnd = serde_json::from_str(&message.data).map_err(protocol)?;
                if end.code == ProblemCode::Compacted.to_string() {
                    self.stream = None;
                    self.from = Some(end.resume);
                    let mut problem = Problem::new(ProblemCode::Compacted, end.detail, "");
                    problem.revision = Some(end.resume);
                    return Err(Error::Refused(Box::new(problem)));
                }
                Ok(Meaning::Reconnect)
            }
            // Something newer than we are.
            _ => Ok(Meaning::Nothing),
        }
    }

    /// What asks a member for the stream.
    fn request(&self) -> Request {
        let request =
            Request::new(Method::GET, "/v1/watch", Effect::Reads).with_query(query::PREFIX, &self.prefix);
        match self.from {
            Some(from) => request.with_query(query::FROM, from),
            None => request,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;
    use crate::scripted::{Server, Step, StreamEnd, nobody};

    fn started(from: u64) -> String {
        format!("event: started\ndata: {{\"from\":{from}}}\n\n")
    }

    fn batch(revision: u64) -> String {
        let event = r#"{"type":"put","key":"k","value":"v","createRevision":2,"version":1}"#;
        format!("id: {revision}\ndata: {{\"revision\":{revision},\"events\":[{event}]}}\n\n")
    }

    fn end(code: &str, resume: u64) -> String {
        format!("event: end\ndata: {{\"code\":\"{code}\",\"detail\":\"so\",\"resume\":{resume}}}\n\n")
    }

    async fn watch(from: Option<u64>, steps: impl IntoIterator<Item = Step>) -> (Server, Watch) {
        let server = Server::start(steps).await;
        let client =
            Client::new([&server.endpoint]).expect("an address").with_deadline(Duration::from_secs(20));
        let watch = client.watch("k", from);
        (server, watch)
    }

    async fn revisions<const N: usize>(watch: &mut Watch) -> [u64; N] {
        let mut revisions = [0; N];
        for revision in &mut revisions {
            let next = timeout(Duration::from_secs(20), watch.next()).await.expect("in time");
            *revision = next.expect("a batch").revision;
        }
        revisions
    }

    #[tokio::test]
    async fn a_broken_stream_is_taken_up_where_it_broke() {
        let cut = batch(5)[..20].to_owned();
        let first = Step::Stream(vec![started(4), batch(4), cut], StreamEnd::Broken);
        let second = Step::Stream(vec![started(5), batch(5), batch(9)], StreamEnd::Open);
        let (server, mut watch) = watch(None, [first, second]).await;
        assert_eq!(revisions(&mut watch).await, [4, 5, 9]);
        assert_eq!(watch.resume(), Some(10));
        assert_eq!(server.seen()[0].target, "/v1/watch?prefix=k");
        assert_eq!(server.seen()[1].target, "/v1/watch?prefix=k&from=5");
    }

    #[tokio::test]
    async fn a_watch_that_broke_before_its_first_change_misses_none() {
        let first = Step::Stream(vec![started(4)], StreamEnd::Broken);
        let second = Step::Stream(vec![started(4), batch(4)], StreamEnd::Open);
        let (server, mut watch) = watch(None, [first, second]).await;
        watch.started().await.expect("it begins");
        assert_eq!(revisions(&mut watch).await, [4]);
        assert_eq!(server.parameter(1, "from").as_deref(), Some("4"));
    }

    #[tokio::test]
    async fn what_comes_twice_is_delivered_once() {
        let stream = Step::Stream(vec![started(4), batch(4), batch(4), batch(6)], StreamEnd::Open);
        let (_server, mut watch) = watch(Some(4), [stream]).await;
        assert_eq!(revisions(&mut watch).await, [4, 6]);
    }

    #[tokio::test]
    async fn a_member_that_ends_the_stream_is_followed_by_another() {
        for code in ["TooSlow", "ShuttingDown"] {
            let first = Step::Stream(vec![started(2), batch(2), end(code, 3)], StreamEnd::Open);
            let second = Step::Stream(vec![started(3), batch(3)], StreamEnd::Open);
            let (server, mut watch) = watch(None, [first, second]).await;
            assert_eq!(revisions(&mut watch).await, [2, 3]);
            assert_eq!(server.parameter(1, "from").as_deref(), Some("3"));
        }
    }

    #[tokio::test]
    async fn lost_changes_are_an_error_and_the_caller_may_go_on() {
        let first = Step::Stream(vec![started(2), end("Compacted", 40)], StreamEnd::Open);
        let second = Step::Stream(vec![started(40), batch(41)], StreamEnd::Open);
        let (_server, mut watch) = watch(Some(2), [first, second]).await;
        let error = watch.next().await.expect_err("a gap");
        assert_eq!(error.code(), Some(ProblemCode::Compacted));
        assert_eq!(watch.resume(), Some(40));
        assert_eq!(revisions(&mut watch).await, [41]);
    }

    #[tokio::test]
    async fn a_refusal_that_lasts_ends_the_wait_and_others_do_not() {
        let steps = [ProblemCode::FutureRevision, ProblemCode::TooManyWatches, ProblemCode::Compacted];
        let (server, mut watch) = watch(Some(2), steps.map(Step::problem)).await;
        assert_eq!(watch.next().await.expect_err("refused").code(), Some(ProblemCode::Compacted));
        assert_eq!(server.seen().len(), 3);
    }

    #[tokio::test]
    async fn a_watch_of_nobody_says_whom_it_tried() {
        let nobody = nobody().await;
        let client = Client::new([&nobody]).expect("an address").with_deadline(Duration::from_millis(100));
        let error = client.watch("", None).next().await.expect_err("nobody");
        assert!(error.to_string().contains(&nobody), "{error}");
    }
}
