//! [`NativeClient`]: a store's keys over the binary protocol, for programs that ask much or want to wait little.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use holdfast_client::{NativeClient, ReadOptions, WriteOptions};
//!
//! let client = NativeClient::new(["127.0.0.1:7400", "127.0.0.1:7410", "127.0.0.1:7420"])?;
//! // Many at once over one connection:
//! let (one, other) = tokio::join!(
//!     client.put("a", "1", WriteOptions::default()),
//!     client.put("b", "2", WriteOptions::default()),
//! );
//! println!("{} {}", one?.revision, other?.revision);
//! assert!(client.get("a", ReadOptions::default()).await?.is_some());
//! # Ok(())
//! # }
//! ```
//!
//! Refuses what [`Client`](crate::Client) refuses: to keep anything of the store, and to call a write refused or done
//! when it may be either. It has no watch yet; use [`Client`](crate::Client) for that.

mod address;
mod calls;
mod link;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use holdfast_api::WriteConcern;
use holdfast_api::http::ProblemCode;
use holdfast_wire::native::{ReadHead, Reply, Request, Stamp, WriteHead};
use tokio::time::Instant;

pub use holdfast_wire::native::{
    Compare, Item, Keys, Outcome, Relation, Target, Txn, TxnOperation, TxnResult, Written,
};

use self::address::Address;
use self::calls::Calls;
use crate::client::{ATTEMPT_MAX, Consistency, DEADLINE_DEFAULT, Expect, ReadOptions, Value, WriteOptions};
use crate::endpoints::{EndpointError, Endpoints};
use crate::error::Error;
use crate::lanes::{Lane, Lanes};
use crate::request::Effect;

/// Of the time that is left, a member may use all but a fifth, and at most this: so its word arrives before we give up.
const HEAD_START_MAX: Duration = Duration::from_millis(250);

/// Longest wait that a member takes.
const TIMEOUT_MAX: Duration = Duration::from_secs(60);

/// Longest key that the protocol can carry; members take far shorter ones only.
const KEY_BYTES_MAX: usize = u16::MAX as usize;

/// A way to one store by the binary protocol. Cheap to clone; clones share connections and sessions.
///
/// All requests to a member share one connection, in any number and without waiting for each other. Calls ask one
/// member after the other until one answers or the deadline is over; once the leader is known, it is asked first. A
/// connection that breaks is made anew.
///
/// Writes carry a session of the client's own and a number, so that a write that is sent twice is applied once.
/// Dropping a call half way leaves its outcome unknown and does no other harm.
///
/// Must be used inside a tokio runtime.
#[derive(Clone, Debug)]
pub struct NativeClient {
    calls: Arc<Calls>,
    lanes: Arc<Lanes>,
    deadline: Duration,
    stamps: bool,
}

/// One page of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// In order.
    pub items: Vec<Item>,
    /// Whether there are keys after the last item.
    pub more: bool,
    /// How many keys have the prefix, on whatever page; only with the first page.
    pub count: Option<u64>,
    /// The revision that was read. Ask for the next page at it.
    pub revision: u64,
}

impl NativeClient {
    /// A client of the store whose members answer at these addresses: `HOST:PORT`, the client port, or `unix:PATH`.
    /// One is enough; with several a lost member is no loss. Does not connect yet.
    ///
    /// # Errors
    /// An address is none.
    pub fn new<S: AsRef<str>>(endpoints: impl IntoIterator<Item = S>) -> Result<NativeClient, EndpointError> {
        let endpoints = Endpoints::parse_each(endpoints, Address::parse)?;
        Ok(NativeClient {
            calls: Arc::new(Calls::new(endpoints, ATTEMPT_MAX)),
            lanes: Arc::default(),
            deadline: DEADLINE_DEFAULT,
            stamps: true,
        })
    }

    /// The same client with another bound on every call, from when it is made to when it returns.
    pub fn with_deadline(&self, deadline: Duration) -> NativeClient {
        NativeClient { deadline, ..self.clone() }
    }

    /// The same client with writes that carry no session: they take none of the store's ten thousand, and are not
    /// repeated when an answer is lost.
    pub fn without_sessions(&self) -> NativeClient {
        NativeClient { stamps: false, ..self.clone() }
    }

    /// Put a key.
    ///
    /// # Errors
    /// [`Error::Refused`], with [`ProblemCode::PreconditionFailed`] if the key is not as expected; [`Error::Unknown`];
    /// [`Error::Unreachable`].
    pub async fn put(
        &self,
        key: impl Into<Bytes>,
        value: impl Into<Bytes>,
        options: WriteOptions,
    ) -> Result<Written, Error> {
        let (key, value) = (checked(key.into())?, value.into());
        let bytes = key.len() + value.len();
        let write = head(options.concern);
        let request = Request::Put { write, key, value, expect: options.expect.into() };
        self.write(request, bytes).await
    }

    /// Delete a key. That there is none is no error.
    ///
    /// # Errors
    /// As [`NativeClient::put`].
    pub async fn delete(&self, key: impl Into<Bytes>, options: WriteOptions) -> Result<Written, Error> {
        let key = checked(key.into())?;
        let bytes = key.len();
        let request = Request::Delete { write: head(options.concern), key, expect: options.expect.into() };
        self.write(request, bytes).await
    }

    /// Compare and write several keys as one. A batch of puts is a transaction without comparisons.
    ///
    /// # Errors
    /// As [`NativeClient::put`]; that a comparison does not hold is none.
    pub async fn txn(&self, txn: Txn, concern: Option<WriteConcern>) -> Result<Written, Error> {
        let bytes = check_txn(&txn)?;
        self.write(Request::Txn { write: head(concern), txn }, bytes).await
    }

    /// Read a key; `None` if there is none.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Unreachable`].
    pub async fn get(&self, key: impl Into<Bytes>, options: ReadOptions) -> Result<Option<Value>, Error> {
        let key = checked(key.into())?;
        let bytes = key.len();
        match self.read(|read| Request::Get { read, key }, bytes, options).await? {
            Reply::Found { revision, value } => {
                Ok(Some(Value { bytes: value.bytes, mod_revision: value.mod_revision, revision }))
            }
            Reply::NotFound { .. } => Ok(None),
            other => Err(strange(&other)),
        }
    }

    /// Keys that begin with `prefix`, in order, after the key `after` (empty: from the first), at most `limit` of them.
    ///
    /// # Errors
    /// As [`NativeClient::get`].
    pub async fn range(
        &self,
        prefix: impl Into<Bytes>,
        after: impl Into<Bytes>,
        limit: u32,
        options: ReadOptions,
    ) -> Result<Page, Error> {
        let (prefix, after) = (checked(prefix.into())?, checked(after.into())?);
        let bytes = prefix.len() + after.len();
        match self.read(|read| Request::Range { read, prefix, after, limit }, bytes, options).await? {
            Reply::Page { revision, more, count, items } => Ok(Page { items, more, count, revision }),
            other => Err(strange(&other)),
        }
    }

    /// Whether a member is there; the way there and back.
    ///
    /// # Errors
    /// [`Error::Unreachable`].
    pub async fn ping(&self) -> Result<Duration, Error> {
        let began = Instant::now();
        match self.calls.call(&Request::Ping, 0, Effect::Reads, began + self.deadline).await? {
            Reply::Pong => Ok(began.elapsed()),
            other => Err(strange(&other)),
        }
    }

    async fn read(
        &self,
        request: impl FnOnce(ReadHead) -> Request,
        bytes: usize,
        options: ReadOptions,
    ) -> Result<Reply, Error> {
        let consistency = match options.consistency {
            Consistency::Linearizable => holdfast_wire::native::Consistency::Linearizable,
            Consistency::Local => holdfast_wire::native::Consistency::Local,
        };
        let timeout_ms = theirs(self.deadline);
        let request = request(ReadHead { consistency, timeout_ms, revision: options.revision });
        self.calls.call(&request, bytes, Effect::Reads, Instant::now() + self.deadline).await
    }

    async fn write(&self, mut request: Request, bytes: usize) -> Result<Written, Error> {
        let deadline = Instant::now() + self.deadline;
        if let Some(head) = head_of(&mut request) {
            head.timeout_ms = theirs(self.deadline);
        }
        let reply = if self.stamps {
            self.write_once(&mut request, bytes, deadline).await?
        } else {
            self.calls.call(&request, bytes, Effect::Writes, deadline).await?
        };
        match reply {
            Reply::Written(written) => Ok(written),
            // It was taken, but what became of it cannot be read.
            other => Err(Error::Unknown { detail: strange(&other).to_string(), attempts: 1 }),
        }
    }

    /// Sends a write under a session, as often as it takes.
    async fn write_once(
        &self,
        request: &mut Request,
        bytes: usize,
        deadline: Instant,
    ) -> Result<Reply, Error> {
        let lane = self.lanes.take();
        let first = lane.sequence == 1;
        stamp(request, &lane);
        let result = self.calls.call(request, bytes, Effect::WritesOnce, deadline).await;
        match result.as_ref().map_err(Error::code) {
            Ok(_) | Err(Some(ProblemCode::PreconditionFailed)) => {
                self.lanes.done(lane);
                result
            }
            // The store forgot this session while it was idle, and so nothing was written under it: begin another one.
            Err(Some(ProblemCode::SessionExpired | ProblemCode::StaleSequence)) if !first => {
                let lane = self.lanes.fresh();
                stamp(request, &lane);
                let result = self.calls.call(request, bytes, Effect::WritesOnce, deadline).await;
                if result.is_ok() {
                    self.lanes.done(lane);
                }
                result
            }
            // Whether the number was used is not certain, so the lane ends here.
            Err(_) => result,
        }
    }
}

/// What a member may use of the time that a call has.
fn theirs(deadline: Duration) -> u32 {
    let theirs = deadline.saturating_sub(HEAD_START_MAX.min(deadline / 5)).min(TIMEOUT_MAX);
    u32::try_from(theirs.as_millis()).unwrap_or(u32::MAX).max(1)
}

fn head(concern: Option<WriteConcern>) -> WriteHead {
    let concern = concern.map(|concern| match concern {
        WriteConcern::Members(members) => holdfast_wire::native::WriteConcern::Members(members),
        WriteConcern::Majority => holdfast_wire::native::WriteConcern::Majority,
        WriteConcern::All => holdfast_wire::native::WriteConcern::All,
    });
    WriteHead { concern, ..WriteHead::default() }
}

fn head_of(request: &mut Request) -> Option<&mut WriteHead> {
    match request {
        Request::Put { write, .. } | Request::Delete { write, .. } | Request::Txn { write, .. } => {
            Some(write)
        }
        Request::Get { .. } | Request::Range { .. } | Request::Ping => None,
    }
}

fn stamp(request: &mut Request, lane: &Lane) {
    if let Some(head) = head_of(request) {
        head.stamp = Some(Stamp { session: lane.session, sequence: lane.sequence });
    }
}

fn checked(key: Bytes) -> Result<Bytes, Error> {
    match key.len() {
        ..=KEY_BYTES_MAX => Ok(key),
        bytes => Err(Error::refused(ProblemCode::InvalidKey, format!("a key of {bytes} bytes is too long"))),
    }
}

/// How many bytes a transaction has, about; or what of it the protocol cannot carry.
fn check_txn(txn: &Txn) -> Result<usize, Error> {
    use holdfast_wire::native::LIST_MAX;
    let longest = txn.compare.len().max(txn.success.len()).max(txn.failure.len());
    if longest > LIST_MAX {
        let detail = format!("a list has {longest} elements, {LIST_MAX} is the most");
        return Err(Error::refused(ProblemCode::TooManyOperations, detail));
    }
    let mut bytes = 0;
    let mut count = |key: &Bytes, value: usize| {
        bytes += key.len() + value;
        if key.len() > KEY_BYTES_MAX { checked(key.clone()).map(drop) } else { Ok(()) }
    };
    for Compare { key, target, .. } in &txn.compare {
        count(key, if let Target::Value(value) = target { value.len() } else { 0 })?;
    }
    for operation in txn.success.iter().chain(&txn.failure) {
        match operation {
            TxnOperation::Put { key, value } => count(key, value.len())?,
            TxnOperation::Delete(Keys::Key(key) | Keys::Prefix(key))
            | TxnOperation::Get { keys: Keys::Key(key) | Keys::Prefix(key), .. } => count(key, 0)?,
        }
    }
    Ok(bytes)
}

/// A member answered something else than was asked.
fn strange(reply: &Reply) -> Error {
    let detail = match reply {
        Reply::Written(_) => "a write's answer",
        Reply::Found { .. } | Reply::NotFound { .. } => "a key's answer",
        Reply::Page { .. } => "a page",
        Reply::Refused(_) | Reply::Unknown { .. } => "a failure",
        Reply::Pong => "a pong",
    };
    Error::Protocol { endpoint: "the member".to_owned(), detail: format!("{detail} to another request") }
}

impl From<Expect> for holdfast_wire::native::Expect {
    fn from(expect: Expect) -> holdfast_wire::native::Expect {
        match expect {
            Expect::Any => holdfast_wire::native::Expect::Any,
            Expect::Absent => holdfast_wire::native::Expect::Absent,
            Expect::Revision(revision) => holdfast_wire::native::Expect::Revision(revision),
        }
    }
}

#[cfg(test)]
mod tests;
