//! An authority on Kubernetes: an annotation of the store's Lease, replaced by the Lease's resource version.
//!
//! Reads name no resource version, so that they come from what a majority of etcd has, never from a cache. An answer that does
//! not come leaves open what became of the request: it is dropped with its connection and may still arrive. It refuses to
//! make a Lease, and to believe another one than the one that the member was formed with.

use std::io;
use std::time::{Duration, Instant};

use holdfast_api::names::{self, annotation};
use http::Request;
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use super::document::{self, Held};
use super::known::Known;
use super::{Authority, AuthorityError, Consulted, Seen};

/// How long one question may take altogether. The API server's own goal for a write is 1 s at the 99th percentile; the engine
/// asks again after two heartbeat timeouts.
pub(super) const ASK_MAX: Duration = Duration::from_secs(2);

/// How long a connection may take to be there: the rest of [`ASK_MAX`] is for the answer.
const CONNECT_MAX: Duration = Duration::from_secs(1);

/// How often a replacement is tried anew because somebody else changed the Lease, most likely its labels.
const CONFLICTS_MAX: usize = 4;

/// Most bytes of an answer: a Lease has some hundred, and people write annotations.
const LEASE_BYTES_MAX: usize = 256 * 1024;

/// The Lease.
pub(super) struct LeaseAuthority {
    namespace: String,
    name: String,
    store: String,
    known: Known,
    runtime: Runtime,
    /// Made with the first question: what it needs is there when the pod is, or a moment later.
    client: Option<Client>,
}

impl LeaseAuthority {
    /// # Errors
    ///
    /// The system gives no more of what waits for sockets.
    pub(super) fn new(namespace: &str, name: &str, store: &str, known: Known) -> io::Result<LeaseAuthority> {
        Ok(LeaseAuthority {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            store: store.to_owned(),
            known,
            runtime: Builder::new_current_thread().enable_all().build()?,
            client: None,
        })
    }

    /// The token is read again by the client before it ends, the roots when they change.
    fn connect(&mut self) -> Result<Client, AuthorityError> {
        if let Some(client) = &self.client {
            return Ok(client.clone());
        }
        let _inside = self.runtime.enter();
        let mut config = Config::incluster().map_err(|error| AuthorityError::Client(error.into()))?;
        config.connect_timeout = Some(CONNECT_MAX);
        config.read_timeout = Some(ASK_MAX);
        config.write_timeout = Some(ASK_MAX);
        // The engine has a pace of its own, and what it asked may be out of date by then.
        config.default_retry = false;
        let client = Client::try_from(config).map_err(|error| AuthorityError::Client(error.into()))?;
        Ok(self.client.insert(client).clone())
    }

    /// One request, until `deadline`. `None`: the API server says that it is not there, or not as it was.
    fn call(
        &mut self,
        what: &'static str,
        body: Option<&Value>,
        deadline: Instant,
    ) -> Result<Reply, AuthorityError> {
        let client = self.connect()?;
        let path = format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases/{}", self.namespace, self.name);
        let request = match body {
            None => Request::get(path).body(Vec::new()),
            Some(body) => Request::put(path)
                .header(http::header::CONTENT_TYPE, "application/json")
                .body(body.to_string().into_bytes()),
        };
        let request = request.expect("names of Kubernetes objects make a path");
        let left = deadline.saturating_duration_since(Instant::now());
        let asked = async { tokio::time::timeout(left, client.request_text(request)).await };
        let failed =
            |source: kube::Error| AuthorityError::Api { what, name: self.name(), source: Box::new(source) };
        match self.runtime.block_on(asked) {
            Err(_) => Err(AuthorityError::Silent { what, name: self.name() }),
            Ok(Ok(text)) if text.len() > LEASE_BYTES_MAX => {
                let much = format!("it has {} bytes", text.len());
                Err(failed(kube::Error::Service(much.into())))
            }
            Ok(Ok(text)) => serde_json::from_str(&text)
                .map(Reply::Lease)
                .map_err(|error| failed(kube::Error::SerdeError(error))),
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => Ok(Reply::NotFound),
            Ok(Err(kube::Error::Api(status))) if status.code == 409 && body.is_some() => Ok(Reply::Conflict),
            Ok(Err(error)) => Err(failed(error)),
        }
    }

    /// Whether this Lease is the one that the member was formed with. If it has seen none yet, it is from now on.
    fn recognize(&mut self, uid: &str, held: Option<&Held>, by_force: bool) -> Result<(), AuthorityError> {
        let known = match self.known.identity() {
            Some(known) if known != uid => known,
            Some(_) => return Ok(()),
            None => return self.known.remember(uid).map_err(AuthorityError::Remember),
        };
        let replaces = held.and_then(|held| held.forced.as_ref()?.replaces.as_deref());
        if replaces == Some(known) {
            tracing::warn!(
                uid,
                former = known,
                "a person has put another Lease in the place of the one that was lost"
            );
            return self.known.remember(uid).map_err(AuthorityError::Remember);
        }
        if by_force {
            return Ok(()); // remembered when it is written
        }
        Err(AuthorityError::Another { name: self.name(), uid: uid.to_owned(), known: known.to_owned() })
    }

    fn gone(&self) -> AuthorityError {
        let name = self.name();
        if self.known.identity().is_some() {
            AuthorityError::Gone { name }
        } else {
            AuthorityError::NotYet { name }
        }
    }
}

/// What the API server said.
enum Reply {
    /// The Lease as it is now.
    Lease(Value),
    /// There is none.
    NotFound,
    /// It is not as it was.
    Conflict,
}

/// The Lease with this document in it. Everything else in it stays as it is.
fn with_document(mut lease: Value, to: &Held, store: &str) -> Value {
    let configuration = &to.configuration;
    lease["metadata"]["annotations"][annotation::AUTHORITY] = document::write_line(to).into();
    // What `kubectl get lease` shows. Nobody decides by it.
    lease["spec"]["holderIdentity"] = names::member(store, configuration.primary.ordinal.0).into();
    lease["spec"]["leaseTransitions"] = json!(i32::try_from(configuration.term.0).unwrap_or(i32::MAX));
    if let Some(metadata) = lease["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
    lease
}

impl Authority for LeaseAuthority {
    fn name(&self) -> String {
        format!("the Lease {}/{}", self.namespace, self.name)
    }

    fn consult(
        &mut self,
        by_force: bool,
        decide: &mut dyn FnMut(&Seen<'_>) -> Option<Held>,
    ) -> Result<Consulted, AuthorityError> {
        let deadline = Instant::now() + ASK_MAX;
        for _ in 0..CONFLICTS_MAX {
            let Reply::Lease(lease) = self.call("read", None, deadline)? else { return Err(self.gone()) };
            let uid = lease["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
            let text = lease["metadata"]["annotations"][annotation::AUTHORITY].as_str();
            let held = text.map(document::read).transpose();
            let held = held.map_err(|source| AuthorityError::Document { name: self.name(), source })?;
            self.recognize(&uid, held.as_ref(), by_force)?;
            let replaces = self.known.identity().filter(|known| *known != uid);
            let Some(to) = decide(&Seen { held: held.as_ref(), replaces }) else {
                return Ok(Consulted::Holds(held.map(Box::new)));
            };
            match self.call("replace", Some(&with_document(lease, &to, &self.store)), deadline)? {
                Reply::Lease(_) => {
                    self.known.remember(&uid).map_err(AuthorityError::Remember)?;
                    return Ok(Consulted::Replaced);
                }
                Reply::Conflict => {}
                Reply::NotFound => return Err(self.gone()),
            }
        }
        Err(AuthorityError::Contended { name: self.name() })
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::{Arc, Mutex};

    use holdfast_engine::{Question, Verdict};
    use http::{Method, Response};
    use http_body_util::BodyExt as _;
    use kube::client::Body;

    use super::super::answer;
    use super::super::document::tests::configuration;
    use super::*;

    /// What becomes of one request, beside what is usual.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Fate {
        /// It is carried out and answered.
        Usual,
        /// It is carried out, and the answer never comes.
        AnswerLost,
        /// Somebody else changes a label first.
        Overtaken,
        /// The API server has a problem of its own.
        Fails,
    }

    /// An API server with one Lease, or none.
    #[derive(Clone, Default)]
    struct Server(Arc<Mutex<State>>);

    #[derive(Default)]
    struct State {
        lease: Option<Value>,
        version: u64,
        /// What becomes of the next replacements.
        fates: Vec<Fate>,
        queries: Vec<String>,
    }

    impl State {
        fn touch(&mut self) {
            self.version += 1;
            let version = self.version.to_string();
            if let Some(lease) = &mut self.lease {
                lease["metadata"]["resourceVersion"] = version.into();
            }
        }
    }

    impl Server {
        fn with_lease(uid: &str) -> Server {
            let server = Server::default();
            server.make(uid);
            server
        }

        fn make(&self, uid: &str) {
            let mut state = self.0.lock().unwrap();
            state.lease = Some(json!({"metadata": {"name": "orders-authority", "uid": uid}}));
            state.touch();
        }

        fn delete(&self) {
            self.0.lock().unwrap().lease = None;
        }

        fn fated(&self, fates: &[Fate]) -> &Server {
            self.0.lock().unwrap().fates = fates.iter().rev().copied().collect();
            self
        }

        fn serve(&self, method: &Method, body: &[u8]) -> Option<(u16, Value)> {
            let mut state = self.0.lock().unwrap();
            let status = |code: u16| {
                Some((
                    code,
                    json!({"kind": "Status", "status": "Failure", "code": code, "reason": "", "message": ""}),
                ))
            };
            if state.lease.is_none() {
                return status(404);
            }
            if method == Method::GET {
                return Some((200, state.lease.clone()?));
            }
            let fate = state.fates.pop().unwrap_or(Fate::Usual);
            match fate {
                Fate::Fails => return status(500),
                Fate::Overtaken => state.touch(),
                Fate::Usual | Fate::AnswerLost => {}
            }
            let sent: Value = serde_json::from_slice(body).unwrap();
            let there = state.lease.as_ref()?;
            if sent["metadata"]["resourceVersion"] != there["metadata"]["resourceVersion"]
                || sent["metadata"]["uid"] != there["metadata"]["uid"]
            {
                return status(409);
            }
            state.lease = Some(sent);
            state.touch();
            (fate != Fate::AnswerLost).then(|| (200, state.lease.clone().unwrap_or_default()))
        }

        /// A member in this folder that asks this server.
        fn member(&self, folder: &std::path::Path) -> LeaseAuthority {
            let server = self.clone();
            let service = tower::service_fn(move |request: Request<Body>| {
                let server = server.clone();
                async move {
                    let (head, body) = request.into_parts();
                    server.0.lock().unwrap().queries.extend(head.uri.query().map(str::to_owned));
                    let body = body.collect().await.unwrap().to_bytes();
                    let Some((code, body)) = server.serve(&head.method, &body) else {
                        std::future::pending::<()>().await;
                        unreachable!("nothing comes after what never ends")
                    };
                    let body = Body::from(body.to_string().into_bytes());
                    Ok::<_, Infallible>(Response::builder().status(code).body(body).unwrap())
                }
            });
            let known = Known::load(folder).unwrap();
            let mut authority = LeaseAuthority::new("shop", "orders-authority", "orders", known).unwrap();
            let _inside = authority.runtime.enter();
            authority.client = Some(Client::new(service, "shop"));
            drop(_inside);
            authority
        }
    }

    fn change(version: u64) -> Question {
        Question::Change(Box::new(configuration(version)))
    }

    fn holds(version: u64) -> Verdict {
        Verdict::Holds(Some(Box::new(configuration(version))))
    }

    #[test]
    fn it_changes_only_by_one_version() {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::with_lease("first");
        let mut member = server.member(folder.path());
        let mut ask = |question: &Question| answer(&mut member, question).unwrap();
        assert_eq!(ask(&Question::Read), Verdict::Holds(None));
        assert_eq!(ask(&change(2)), Verdict::Holds(None));
        assert_eq!(ask(&change(1)), Verdict::Changed);
        assert_eq!(ask(&change(1)), holds(1));
        assert_eq!(ask(&change(3)), holds(1));
        assert_eq!(ask(&change(2)), Verdict::Changed);
        assert_eq!(ask(&Question::Read), holds(2));
        let state = server.0.lock().unwrap();
        let spec = &state.lease.as_ref().unwrap()["spec"];
        assert_eq!((&spec["holderIdentity"], &spec["leaseTransitions"]), (&json!("orders-2"), &json!(3)));
        // A resource version in a read would let a cache answer.
        assert!(state.queries.is_empty(), "{:?}", state.queries);
    }

    #[test]
    fn whoever_is_overtaken_looks_again() {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::with_lease("first");
        let mut member = server.member(folder.path());
        server.fated(&[Fate::Overtaken, Fate::Overtaken]);
        assert_eq!(answer(&mut member, &change(1)).unwrap(), Verdict::Changed);
        server.fated(&[Fate::Overtaken; CONFLICTS_MAX]);
        let error = answer(&mut member, &change(2)).unwrap_err();
        assert!(matches!(error, AuthorityError::Contended { .. }), "{error}");
        // Another member was faster: that is what it holds.
        let others = tempfile::tempdir().unwrap();
        let mut other = server.member(others.path());
        assert_eq!(answer(&mut other, &change(2)).unwrap(), Verdict::Changed);
        assert_eq!(answer(&mut member, &change(2)).unwrap(), holds(2));
    }

    #[test]
    fn what_nobody_knows_is_unknown_and_asked_again() {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::with_lease("first");
        let mut member = server.member(folder.path());
        server.fated(&[Fate::Fails]);
        let error = answer(&mut member, &change(1)).unwrap_err();
        assert!(matches!(error, AuthorityError::Api { .. }) && !error.is_lost(), "{error}");
        server.fated(&[Fate::AnswerLost]);
        let error = answer(&mut member, &change(1)).unwrap_err();
        assert!(matches!(error, AuthorityError::Silent { .. }) && !error.is_lost(), "{error}");
        assert_eq!(answer(&mut member, &change(1)).unwrap(), holds(1), "it was carried out");
    }

    #[test]
    fn another_lease_of_the_name_is_another_authority() {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::default();
        let error = answer(&mut server.member(folder.path()), &Question::Read).unwrap_err();
        assert!(matches!(error, AuthorityError::NotYet { .. }) && !error.is_lost(), "{error}");
        server.make("first");
        assert_eq!(answer(&mut server.member(folder.path()), &change(1)).unwrap(), Verdict::Changed);
        server.delete();
        let gone = answer(&mut server.member(folder.path()), &Question::Read).unwrap_err();
        assert!(matches!(gone, AuthorityError::Gone { .. }) && gone.is_lost(), "{gone}");
        server.make("second");
        for question in [Question::Read, change(1)] {
            let another = answer(&mut server.member(folder.path()), &question).unwrap_err();
            assert!(matches!(another, AuthorityError::Another { .. }) && another.is_lost(), "{another}");
        }
    }

    #[test]
    fn a_lease_that_a_person_put_there_is_believed_by_those_who_knew_the_one_before() {
        use holdfast_engine::{StoreId, Term};

        use super::super::forced::{Order, carry_out};

        let [folder, other, stranger] = [(); 3].map(|()| tempfile::tempdir().unwrap());
        let server = Server::with_lease("first");
        let mut member = server.member(folder.path());
        assert_eq!(answer(&mut member, &change(1)).unwrap(), Verdict::Changed);
        assert_eq!(answer(&mut server.member(other.path()), &Question::Read).unwrap(), holds(1));
        Known::load(stranger.path()).unwrap().remember("zeroth").unwrap();
        server.make("second");
        let (reply, mut replied) = tokio::sync::oneshot::channel();
        let me = configuration(1).primary;
        let order = Order { me, store: StoreId(7), term: Term(3), epoch: Term(3), reply };
        carry_out(&mut member, order);
        let started = replied.try_recv().unwrap().unwrap();
        assert_eq!(started.epoch, Term(4));
        for folder in [folder.path(), other.path()] {
            let Verdict::Holds(Some(held)) = answer(&mut server.member(folder), &Question::Read).unwrap()
            else {
                panic!("it holds something")
            };
            assert_eq!((held.version, held.primary, held.in_sync.len()), (1, me, 1));
        }
        assert!(answer(&mut server.member(stranger.path()), &Question::Read).unwrap_err().is_lost());
    }
}
