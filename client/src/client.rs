//! [`Client`]: a store's keys, for programs.
//!
//! Refuses to keep anything of the store: every read asks a member.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use holdfast_api::WriteConcern;
use holdfast_api::http::{
    DeleteReply, ListReply, ProblemCode, Status, TxnReply, TxnRequest, WriteReply, header, query,
};
use http::header::{ETAG, HeaderValue, IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, Method};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep};

use crate::endpoints::{EndpointError, Endpoints};
use crate::error::Error;
use crate::lanes::Lanes;
use crate::request::{Effect, Request};
use crate::transport::{Answer, Transport};
use crate::watch::Watch;

/// How long a call takes at most, unless [`Client::with_deadline`] says otherwise: as long as a member waits by itself.
pub const DEADLINE_DEFAULT: Duration = Duration::from_secs(5);
/// How long one of several members is waited for before another one is asked. Longer than an election with default
/// settings takes, so that a member that holds a request meanwhile can answer it.
pub(crate) const ATTEMPT_MAX: Duration = Duration::from_secs(2);
/// With less time left than this it is not worth to ask again about a write that is done: twice what a member takes less
/// than we.
const AGAIN_MIN: Duration = Duration::from_millis(500);
/// The pause before.
const AGAIN_PAUSE: Duration = Duration::from_millis(20);
/// How long a connection may take.
const CONNECT_MAX: Duration = Duration::from_secs(1);

/// A way to one store. Cheap to clone; clones share connections and sessions.
///
/// Every call asks one member after the other until one answers or the deadline is over. Members pass on what only
/// the leader can do, so any will do; the one that answered last is asked first.
///
/// Writes carry a session of the client's own and a number, so that a write that is sent twice is applied once.
/// Dropping a call half way leaves its outcome unknown and does no other harm.
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) transport: Arc<Transport>,
    lanes: Arc<Lanes>,
    deadline: Duration,
    stamps: bool,
}

/// What a write waits for and expects. The default: the store's write concern, whatever the key holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// What the acknowledgement waits for; `None` is the store's own.
    pub concern: Option<WriteConcern>,
    /// What the key must be for the write to happen.
    pub expect: Expect,
}

/// What a key must be for a write to happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expect {
    /// Anything.
    #[default]
    Any,
    /// Absent.
    Absent,
    /// Last put by this revision.
    Revision(u64),
}

/// How fresh a read is, and as of when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// How fresh.
    pub consistency: Consistency,
    /// As of this revision; `None` is the newest.
    pub revision: Option<u64>,
}

/// How fresh a read is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consistency {
    /// It sees every write that was acknowledged before it began.
    #[default]
    Linearizable,
    /// It sees what one member has, also without a quorum; perhaps writes that are undone later.
    Local,
}

/// One key's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// The bytes.
    pub bytes: Bytes,
    /// The revision of the key's last put: what [`Expect::Revision`] takes.
    pub mod_revision: u64,
    /// The revision of the state that answered, at least `mod_revision`.
    pub revision: u64,
}

/// The pages of a list. All of them show the state at the first page's revision.
#[derive(Clone, Debug)]
pub struct Pages {
    client: Client,
    request: Request,
    next: NextPage,
}

#[derive(Clone, Debug)]
enum NextPage {
    First,
    After(String),
    None,
}

impl Client {
    /// A client of the store whose members answer at these addresses, such as `http://127.0.0.1:7400`. One is
    /// enough; with several a lost member is no loss. Does not connect yet.
    ///
    /// # Errors
    /// An address is none.
    pub fn new<S: AsRef<str>>(endpoints: impl IntoIterator<Item = S>) -> Result<Client, EndpointError> {
        Ok(Client {
            transport: Arc::new(Transport {
                http: http_client(),
                endpoints: Endpoints::parse(endpoints)?,
                attempt: ATTEMPT_MAX,
            }),
            lanes: Arc::default(),
            deadline: DEADLINE_DEFAULT,
            stamps: true,
        })
    }

    /// The same client with another bound on every call, from when it is made to when it returns.
    pub fn with_deadline(&self, deadline: Duration) -> Client {
        Client { deadline, ..self.clone() }
    }

    /// The same client with writes that carry no session: they take none of the store's ten thousand, and are not
    /// repeated when an answer is lost.
    pub fn without_sessions(&self) -> Client {
        Client { stamps: false, ..self.clone() }
    }

    /// Put a key.
    ///
    /// # Errors
    /// [`Error::Refused`], with [`ProblemCode::PreconditionFailed`] if the key is not as expected; [`Error::Unknown`].
    pub async fn put(
        &self,
        key: &str,
        value: impl Into<Bytes>,
        options: WriteOptions,
    ) -> Result<WriteReply, Error> {
        let request = Request::of_key(Method::PUT, key, Effect::Writes)?.with_body(value);
        self.write(options.apply(request)).await
    }

    /// Delete a key. That there is none is no error.
    ///
    /// # Errors
    /// As [`Client::put`].
    pub async fn delete(&self, key: &str, options: WriteOptions) -> Result<DeleteReply, Error> {
        let request = Request::of_key(Method::DELETE, key, Effect::Writes)?;
        self.write(options.apply(request)).await
    }

    /// Compare and write several keys as one.
    ///
    /// # Errors
    /// As [`Client::put`]; that a comparison does not hold is none.
    pub async fn txn(&self, txn: &TxnRequest, concern: Option<WriteConcern>) -> Result<TxnReply, Error> {
        let body = serde_json::to_vec(txn).expect("a transaction is plain data");
        let mut request = Request::new(Method::POST, "/v1/txn", Effect::Writes).with_body(body);
        request.headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.write(WriteOptions { concern, expect: Expect::Any }.apply(request)).await
    }

    /// Read a key; `None` if there is none.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Unreachable`], [`Error::Protocol`].
    pub async fn get(&self, key: &str, options: ReadOptions) -> Result<Option<Value>, Error> {
        let request = options.apply(Request::of_key(Method::GET, key, Effect::Reads)?);
        match self.transport.call(&request, self.until()).await {
            Ok(answer) => self.value(answer).map(Some),
            Err(error) if error.code() == Some(ProblemCode::KeyNotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// List the keys that begin with `prefix`, in the order of their bytes. `limit` bounds a page, not the list;
    /// `None` is the member's own bound.
    pub fn list(&self, prefix: &str, limit: Option<u64>, options: ReadOptions) -> Pages {
        let mut request =
            Request::new(Method::GET, "/v1/kv", Effect::Reads).with_query(query::PREFIX, prefix);
        if let Some(limit) = limit {
            request = request.with_query(query::LIMIT, limit);
        }
        Pages { client: self.clone(), request: options.apply(request), next: NextPage::First }
    }

    /// Follow what is committed under `prefix`, from revision `from` on; `None` is from now on. Connects when it is
    /// first asked for something.
    pub fn watch(&self, prefix: &str, from: Option<u64>) -> Watch {
        Watch::new(self.clone(), prefix, from)
    }

    /// How one member is and how it sees the others: the one that is asked first. To see each with its own eyes, make
    /// a client for each.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn status(&self) -> Result<Status, Error> {
        let request = Request::new(Method::GET, "/v1/status", Effect::Reads);
        let answer = self.transport.call(&request, self.until()).await?;
        let status: Status = self.json(&answer)?;
        self.transport.endpoints.learn(answer.place, status.member);
        if let Some(leader) = status.leader {
            self.transport.endpoints.prefer_member(leader);
        }
        Ok(status)
    }

    /// When a call that is made now has to be over.
    pub(crate) fn until(&self) -> Instant {
        Instant::now() + self.deadline
    }

    pub(crate) async fn write<T: DeserializeOwned>(&self, request: Request) -> Result<T, Error> {
        let deadline = self.until();
        let answer = if self.stamps {
            self.write_once(&request, deadline, |_| true).await?
        } else {
            self.transport.call(&request, deadline).await?
        };
        self.json(&answer).map_err(|error| {
            // It was taken, but what became of it cannot be read.
            Error::Unknown { detail: error.to_string(), attempts: 1 }
        })
    }

    /// Whether this client's writes carry sessions.
    pub(crate) fn stamps(&self) -> bool {
        self.stamps
    }

    /// Sends a write under a session, as often as it takes; what was done is asked about again until it is `enough` or
    /// the time is up.
    pub(crate) async fn write_once(
        &self,
        request: &Request,
        deadline: Instant,
        enough: impl Fn(&Answer) -> bool,
    ) -> Result<Answer, Error> {
        let lane = self.lanes.take();
        let first = lane.sequence == 1;
        let stamped = request.stamped(&lane);
        let mut result = self.transport.call(&stamped, deadline).await;
        while result.as_ref().is_ok_and(|answer| !enough(answer)) && Instant::now() + AGAIN_MIN < deadline {
            sleep(AGAIN_PAUSE).await;
            match self.transport.call(&stamped, deadline).await {
                Ok(answer) => result = Ok(answer),
                Err(_) => break, // what is known is better
            }
        }
        match result.as_ref().map_err(Error::code) {
            Ok(_)
            | Err(Some(
                ProblemCode::PreconditionFailed | ProblemCode::DuplicateMessage | ProblemCode::KeyReused,
            )) => {
                self.lanes.done(lane);
                result
            }
            // The store forgot this session while it was idle, and so nothing was written under it: begin another one.
            Err(Some(ProblemCode::SessionExpired | ProblemCode::StaleSequence)) if !first => {
                let lane = self.lanes.fresh();
                let result = self.transport.call(&request.stamped(&lane), deadline).await;
                if result.is_ok() {
                    self.lanes.done(lane);
                }
                result
            }
            // Whether the number was used is not certain, so the lane ends here.
            Err(_) => result,
        }
    }

    fn value(&self, answer: Answer) -> Result<Value, Error> {
        let number = |name: &str| {
            let text = answer.headers.get(name)?.to_str().ok()?;
            text.trim_matches('"').parse().ok()
        };
        match (number(ETAG.as_str()), number(header::REVISION)) {
            (Some(mod_revision), Some(revision)) => Ok(Value { bytes: answer.body, mod_revision, revision }),
            _ => Err(self.protocol(&answer, "the answer has no ETag or no revision")),
        }
    }

    pub(crate) fn json<T: DeserializeOwned>(&self, answer: &Answer) -> Result<T, Error> {
        serde_json::from_slice(&answer.body).map_err(|error| self.protocol(answer, error))
    }

    pub(crate) fn protocol(&self, answer: &Answer, detail: impl ToString) -> Error {
        Error::Protocol { endpoint: self.transport.name(answer.place), detail: detail.to_string() }
    }
}

/// No TLS yet, no proxy (members are near), and nothing is sent twice behind our back.
pub(crate) fn http_client() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .connect_timeout(CONNECT_MAX)
        .build()
        .expect("without TLS and proxies there is nothing that can be wrong")
}

impl WriteOptions {
    fn apply(self, mut request: Request) -> Request {
        let condition = |headers: &mut HeaderMap| match self.expect {
            Expect::Any => None,
            Expect::Absent => headers.insert(IF_NONE_MATCH, HeaderValue::from_static("*")),
            Expect::Revision(revision) => {
                let tag = HeaderValue::try_from(format!("\"{revision}\"")).expect("digits in quotes");
                headers.insert(IF_MATCH, tag)
            }
        };
        condition(&mut request.headers);
        let request = request.timing_out();
        match self.concern {
            Some(concern) => request.with_query(query::CONCERN, concern),
            None => request,
        }
    }
}

impl ReadOptions {
    fn apply(self, request: Request) -> Request {
        let mut request = request.timing_out();
        if self.consistency == Consistency::Local {
            request = request.with_query(query::READ, "local");
        }
        match self.revision {
            Some(revision) => request.with_query(query::REVISION, revision),
            None => request,
        }
    }
}

impl Pages {
    /// The next page, or `None` after the last one. After an error the same page can be asked for again.
    ///
    /// # Errors
    /// As [`Client::get`]; [`ProblemCode::Compacted`] if the pages were asked for too slowly.
    pub async fn next(&mut self) -> Result<Option<ListReply>, Error> {
        let request = match &self.next {
            NextPage::None => return Ok(None),
            NextPage::First => self.request.clone(),
            NextPage::After(cursor) => self.request.clone().with_query(query::CURSOR, cursor),
        };
        let answer = self.client.transport.call(&request, self.client.until()).await?;
        let page: ListReply = self.client.json(&answer)?;
        self.next = page.cursor.clone().map_or(NextPage::None, NextPage::After);
        Ok(Some(page))
    }
}

#[cfg(test)]
mod tests {
    use holdfast_api::http::{KeyValue, TxnOperation, TxnPut};

    use super::*;
    use crate::scripted::{Server, Step};

    async fn client(steps: impl IntoIterator<Item = Step>) -> (Server, Client) {
        let server = Server::start(steps).await;
        let client = Client::new([&server.endpoint]).expect("an address");
        (server, client)
    }

    #[tokio::test]
    async fn writes_of_one_session_are_numbered_from_one() {
        let (server, client) = client([Step::written(2)]).await;
        for _ in 0..3 {
            client.put("k", "v", WriteOptions::default()).await.expect("written");
        }
        let sequences: Vec<_> = (0..3).map(|which| server.parameter(which, "sequence")).collect();
        assert_eq!(sequences, ["1", "2", "3"].map(|number| Some(number.to_owned())));
        assert_eq!(server.parameter(0, "session"), server.parameter(2, "session"));
        assert_eq!(server.parameter(0, "session").map(|session| session.len()), Some(32));
    }

    #[tokio::test]
    async fn writes_at_the_same_time_have_sessions_of_their_own() {
        let (server, client) = client([Step::written(2)]).await;
        let put = || client.put("k", "v", WriteOptions::default());
        let (one, other) = tokio::join!(put(), put());
        assert!(one.is_ok() && other.is_ok());
        assert_ne!(server.parameter(0, "session"), server.parameter(1, "session"));
    }

    #[tokio::test]
    async fn a_session_that_was_forgotten_while_idle_is_replaced() {
        let steps = [Step::written(2), Step::problem(ProblemCode::SessionExpired), Step::written(3)];
        let (server, client) = client(steps).await;
        client.put("k", "v", WriteOptions::default()).await.expect("written");
        let written = client.put("k", "v", WriteOptions::default()).await.expect("written");
        assert_eq!(written.revision, 3);
        assert_ne!(server.parameter(1, "session"), server.parameter(2, "session"));
        assert_eq!(server.parameter(2, "sequence").as_deref(), Some("1"));
    }

    #[tokio::test]
    async fn a_refused_precondition_uses_its_number_and_other_refusals_end_the_session() {
        let refused = [ProblemCode::PreconditionFailed, ProblemCode::QuotaExceeded].map(Step::problem);
        let (server, client) = client(refused.into_iter().chain([Step::written(2)])).await;
        for _ in 0..2 {
            client.put("k", "v", WriteOptions::default()).await.expect_err("refused");
        }
        client.put("k", "v", WriteOptions::default()).await.expect("written");
        assert_eq!(server.parameter(0, "session"), server.parameter(1, "session"));
        assert_eq!(server.parameter(1, "sequence").as_deref(), Some("2"));
        assert_ne!(server.parameter(1, "session"), server.parameter(2, "session"));
    }

    #[tokio::test]
    async fn a_put_says_what_was_asked_for() {
        let (server, client) = client([Step::written(2)]).await;
        let options = WriteOptions { concern: Some(WriteConcern::All), expect: Expect::Revision(7) };
        client.put("a/b", "v", options).await.expect("written");
        let options = WriteOptions { concern: None, expect: Expect::Absent };
        client.put("a/b", "v", options).await.expect("written");
        let seen = server.seen();
        assert!(seen[0].target.starts_with("/v1/kv/a%2Fb?w=all&session="), "{}", seen[0].target);
        assert!(seen[0].target.contains("&timeout=4s7"), "{}", seen[0].target);
        assert_eq!((seen[0].method.as_str(), seen[0].body.as_ref()), ("PUT", b"v".as_slice()));
        assert_eq!(seen[0].headers[IF_MATCH], "\"7\"");
        assert_eq!(seen[1].headers[IF_NONE_MATCH], "*");
    }

    #[tokio::test]
    async fn a_read_gives_the_bytes_and_both_revisions() {
        let absent = Step::problem(ProblemCode::KeyNotFound);
        let (server, client) = client([Step::value("v"), absent, Step::written(1)]).await;
        let options = ReadOptions { consistency: Consistency::Local, revision: Some(8) };
        let value = client.get("k", options).await.expect("an answer");
        assert_eq!(value, Some(Value { bytes: Bytes::from("v"), mod_revision: 7, revision: 9 }));
        assert!(server.seen()[0].target.starts_with("/v1/kv/k?read=local&revision=8&timeout="));
        assert_eq!(client.get("k", ReadOptions::default()).await.expect("an answer"), None);
        let error = client.get("k", ReadOptions::default()).await.expect_err("no ETag");
        assert!(matches!(error, Error::Protocol { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_write_whose_answer_makes_no_sense_is_unknown() {
        let (_server, client) = client([Step::Reply(200, Vec::new(), "thanks".to_owned())]).await;
        let error = client.put("k", "v", WriteOptions::default()).await.expect_err("no answer");
        assert!(matches!(error, Error::Unknown { .. }), "{error}");
    }

    #[tokio::test]
    async fn pages_follow_the_cursor_to_its_end() {
        let page = |keys: &[&str], cursor: Option<&str>| {
            let item = |key: &&str| KeyValue::new((*key).to_owned(), b"v".to_vec(), 2, 2, 1);
            let items = keys.iter().map(item).collect();
            let reply = ListReply { items, revision: 5, count: 3, cursor: cursor.map(str::to_owned) };
            Step::Reply(200, Vec::new(), serde_json::to_string(&reply).expect("plain data"))
        };
        let (server, client) = client([page(&["a", "b"], Some("b&5")), page(&["c"], None)]).await;
        let mut pages = client.list("", Some(2), ReadOptions::default());
        let mut keys = Vec::new();
        while let Some(page) = pages.next().await.expect("an answer") {
            keys.extend(page.items.into_iter().map(|item| item.key));
        }
        assert_eq!(keys, ["a", "b", "c"]);
        assert_eq!(server.seen().len(), 2);
        assert_eq!(server.parameter(1, "cursor").as_deref(), Some("b%265"));
        assert_eq!(server.parameter(1, "limit").as_deref(), Some("2"));
    }

    #[tokio::test]
    async fn a_transaction_travels_as_json() {
        let reply = r#"{"revision":4,"term":2,"index":9,"concern":{"requested":"all","reached":3},
            "succeeded":true,"results":[{"put":{}}]}"#;
        let (server, client) = client([Step::Reply(200, Vec::new(), reply.to_owned())]).await;
        let put = TxnOperation::Put(TxnPut::new("k".to_owned(), b"v".to_vec()));
        let txn = TxnRequest { success: vec![put], ..TxnRequest::default() };
        let done = client.txn(&txn, None).await.expect("done");
        assert!(done.succeeded);
        let seen = &server.seen()[0];
        assert_eq!(serde_json::from_slice::<TxnRequest>(&seen.body).expect("json"), txn);
        assert!(seen.target.starts_with("/v1/txn?session="), "{}", seen.target);
    }
}
