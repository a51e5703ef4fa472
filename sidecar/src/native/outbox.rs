//! The way back to one client: replies are encoded into one buffer and written by whoever gets there first.
//!
//! The core fills outboxes while it goes round and writes each of them once at the round's end, without waking anybody;
//! only what the socket has no room for is left to the connection's task. An outbox counts what its client has under
//! way, so that the connection is read no further than it is answered. It refuses to grow without end: a client that
//! does not read its answers loses its connection.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Buf, BytesMut};
use holdfast_wire::native::{Refusal, Reply};
use tokio::sync::Notify;

use super::stream::WriteHalf;

/// Requests of one connection that are under way at a time. A client whose round trip takes a millisecond comes to
/// millions per second with it.
pub(crate) const IN_FLIGHT_MAX: usize = 4096;

/// Bytes of requests of one connection that are under way at a time, beside one request: more than a network holds.
const IN_FLIGHT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Bytes of answers that wait for a client before its connection is read no further, and before its reads are refused.
const UNREAD_BYTES_FEW: usize = 1024 * 1024;

/// Bytes of answers that wait for a client before its connection is closed: the largest answer, and those of all writes
/// that may be under way.
const UNREAD_BYTES_MAX: usize = 32 * 1024 * 1024;

/// An empty buffer larger than this is given back: a burst should not hold memory for ever.
const IDLE_BYTES_MAX: usize = 256 * 1024;

/// The way back to one client.
#[derive(Debug)]
pub(crate) struct Outbox {
    stream: WriteHalf,
    state: Mutex<State>,
    /// Something is left that the socket had no room for, or the connection is over.
    left_over: Notify,
    /// There is room again, or nothing is under way any more.
    room: Notify,
}

#[derive(Debug, Default)]
struct State {
    out: BytesMut,
    /// Requests that were taken and are not answered.
    in_flight: usize,
    in_flight_bytes: usize,
    /// Somebody will write soon what is in `out`.
    listed: bool,
    /// The connection's task waits for room.
    waits: bool,
    /// Nothing can be written any more.
    closed: bool,
}

/// How far writing came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrote {
    All,
    /// The socket has no more room now.
    Some,
    /// The connection is broken.
    Broken,
}

/// Outboxes with something to write, each once.
#[derive(Debug, Default)]
pub(crate) struct Unsent(Vec<Arc<Outbox>>);

impl Unsent {
    /// Answer the request `id`, which brought so many bytes.
    pub(crate) fn reply(&mut self, outbox: Arc<Outbox>, id: u64, bytes: usize, reply: &Reply) {
        if outbox.put(id, bytes, reply) {
            self.0.push(outbox);
        }
    }

    /// Write everything, as far as there is room.
    pub(crate) fn flush(&mut self) {
        for outbox in self.0.drain(..) {
            outbox.flush();
        }
    }
}

impl Outbox {
    pub(crate) fn new(stream: WriteHalf) -> Outbox {
        Outbox { stream, state: Mutex::default(), left_over: Notify::new(), room: Notify::new() }
    }

    /// Write the answer to the client's greeting. Nothing was written before, so that the socket has room for it.
    pub(crate) async fn greet(&self, bytes: &[u8]) -> io::Result<()> {
        self.stream.writable().await?;
        self.stream.try_write(bytes).map(|_| ())
    }

    /// So many requests, with so many bytes, are under way from now on.
    pub(crate) fn took(&self, requests: usize, bytes: usize) {
        let mut state = self.lock();
        state.in_flight += requests;
        state.in_flight_bytes += bytes;
    }

    /// Wait until there is room for more requests.
    pub(crate) async fn has_room(&self) {
        self.wait(|state| {
            state.in_flight < IN_FLIGHT_MAX
                && state.in_flight_bytes < IN_FLIGHT_BYTES_MAX
                && state.out.len() < UNREAD_BYTES_FEW
        })
        .await;
    }

    /// Wait until everything that was asked is answered, and the answers are written.
    pub(crate) async fn idle(&self) {
        self.wait(|state| state.in_flight == 0 && state.out.is_empty()).await;
    }

    async fn wait(&self, come: impl Fn(&State) -> bool) {
        loop {
            // Made before looking, so that a change in between is not missed.
            let changed = self.room.notified();
            {
                let mut state = self.lock();
                state.waits = !(state.closed || come(&state));
                if !state.waits {
                    return;
                }
            }
            changed.await;
        }
    }

    /// Write a reply down. Whether nobody has promised yet to write it.
    fn put(&self, id: u64, bytes: usize, reply: &Reply) -> bool {
        let mut state = self.lock();
        state.in_flight -= 1;
        state.in_flight_bytes -= bytes;
        if state.closed {
            return false;
        }
        let reads = matches!(reply, Reply::Found { .. } | Reply::Page { .. });
        if (reads && state.out.len() >= UNREAD_BYTES_FEW) || reply.encode(id, &mut state.out).is_err() {
            let refused = Reply::Refused(no_room(reads && state.out.len() >= UNREAD_BYTES_FEW));
            refused.encode(id, &mut state.out).expect("a refusal is small");
        }
        if state.out.len() > UNREAD_BYTES_MAX {
            self.close_locked(state);
            return false;
        }
        !std::mem::replace(&mut state.listed, true)
    }

    /// Write what the socket has room for; the rest is left to the connection's task.
    fn flush(&self) {
        if self.write() != Wrote::All {
            self.left_over.notify_one();
        }
    }

    /// For the connection's task: write a reply to a request that does not go to the core.
    pub(crate) fn reply(&self, id: u64, bytes: usize, reply: &Reply) {
        if self.put(id, bytes, reply) {
            self.flush();
        }
    }

    /// The connection's task: write what is left over, whenever there is something. Ends when the connection breaks.
    pub(crate) async fn write_left_over(&self) {
        loop {
            self.left_over.notified().await;
            loop {
                match self.write() {
                    Wrote::All => break,
                    Wrote::Broken => return,
                    Wrote::Some => {}
                }
                if self.stream.writable().await.is_err() {
                    return;
                }
            }
        }
    }

    /// The connection is over: what is answered from now on goes nowhere.
    pub(crate) fn close(&self) {
        self.close_locked(self.lock());
    }

    fn close_locked(&self, mut state: MutexGuard<'_, State>) {
        state.closed = true;
        state.out = BytesMut::new();
        drop(state);
        self.left_over.notify_one();
        self.room.notify_one();
    }

    fn write(&self) -> Wrote {
        let mut state = self.lock();
        state.listed = false;
        let wrote = loop {
            if state.closed {
                return Wrote::Broken;
            }
            if state.out.is_empty() {
                break Wrote::All;
            }
            match self.stream.try_write(&state.out) {
                Ok(written) => state.out.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Wrote::Some,
                Err(_) => {
                    self.close_locked(state);
                    return Wrote::Broken;
                }
            }
        };
        if wrote == Wrote::All {
            if state.out.capacity() > IDLE_BYTES_MAX {
                state.out = BytesMut::new();
            } else {
                state.out.clear();
            }
        }
        let wake = std::mem::take(&mut state.waits);
        drop(state);
        if wake {
            self.room.notify_one();
        }
        wrote
    }

    /// Nothing panics while it holds the lock, so that a poisoned one is still whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An answer cannot be sent: because the client does not read, or because it is too large.
fn no_room(unread: bool) -> Refusal {
    let (code, detail) = match unread {
        true => (holdfast_api::http::ProblemCode::Overloaded, "answers wait that are not read"),
        false => (holdfast_api::http::ProblemCode::TooLarge, "the answer is larger than a reply may be"),
    };
    Refusal {
        code: code.to_string(),
        retryable: unread,
        retry_after_ms: None,
        leader: None,
        revision: None,
        detail: detail.to_owned(),
    }
}
