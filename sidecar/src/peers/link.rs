//! The way out to one peer: frames are encoded into one buffer and written by whoever gets there first.
//!
//! The core writes what it can at once, without waking anybody; only what the socket has no room for is left to the
//! connection's task. A link refuses to wait and to keep anything for a peer that is not connected: replication
//! repeats itself, and requests are told that they did not leave.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use holdfast_engine::MemberId;
use holdfast_wire::Frame;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::metrics;

/// Bytes that may wait for one peer. Replication has at most some tens of megabytes under way to a follower; a peer
/// that has not read so much is dead or far too slow, and is brought up from the log or a checkpoint later.
const LINK_BYTES_MAX: usize = 64 * 1024 * 1024;

/// An empty buffer larger than this is given back: a burst should not hold memory for ever.
const IDLE_BYTES_MAX: usize = 1024 * 1024;

/// The way out to one peer.
#[derive(Debug)]
pub(crate) struct Link {
    state: Mutex<State>,
    /// Something is left that the socket had no room for, or the connection was given up.
    left_over: Notify,
    counts: metrics::Peer,
}

#[derive(Debug, Default)]
struct State {
    stream: Option<Arc<TcpStream>>,
    /// Who was at the other end last.
    member: Option<MemberId>,
    out: BytesMut,
    round_trip: Option<Duration>,
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It is on its way, as far as the connection lasts.
    Sent,
    /// There is no connection, or too much waits for it.
    Dropped,
    /// No frame may be so large.
    TooLarge,
}

/// How far writing came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flushed {
    /// Nothing is left.
    Whole,
    /// The socket has no more room now.
    Blocked,
    /// The connection is broken, or there is none.
    Broken,
}

impl Link {
    pub(crate) fn new(counts: metrics::Peer) -> Link {
        Link { state: Mutex::default(), left_over: Notify::new(), counts }
    }

    /// Put a frame into the buffer. [`Link::flush`] sends it.
    pub(crate) fn push(&self, frame: &Frame) -> Pushed {
        let mut state = self.lock();
        if state.stream.is_none() || state.out.len() >= LINK_BYTES_MAX {
            drop(state);
            self.counts.send_failures.increment();
            return Pushed::Dropped;
        }
        match frame.encode(&mut state.out) {
            Ok(()) => Pushed::Sent,
            Err(_) => {
                self.counts.send_failures.increment();
                Pushed::TooLarge
            }
        }
    }

    /// Whether there is a connection.
    pub(crate) fn is_connected(&self) -> bool {
        self.lock().stream.is_some()
    }

    /// Write what the socket has room for; the rest is left to the connection's task.
    pub(crate) fn flush(&self) {
        if self.write() != Flushed::Whole {
            self.left_over.notify_one();
        }
    }

    /// Begin to use a connection to this member. Nothing is left over from the one before.
    pub(crate) fn connect(&self, stream: Arc<TcpStream>, member: MemberId) {
        let mut state = self.lock();
        state.out.clear();
        state.stream = Some(stream);
        state.member = Some(member);
        drop(state);
        self.counts.connected.set(1.0);
    }

    /// Stop using the connection; what was not written is dropped.
    pub(crate) fn disconnect(&self) {
        let mut state = self.lock();
        *state = State { member: state.member, ..State::default() };
        drop(state);
        self.counts.connected.set(0.0);
    }

    /// Which life of the peer was at the other end last, even if there is no connection now. `None`: there was none yet.
    pub(crate) fn member(&self) -> Option<MemberId> {
        self.lock().member
    }

    /// The connection's task: write what is left over, whenever there is something. Ends when the connection breaks.
    pub(crate) async fn write_left_over(&self, stream: &TcpStream) {
        loop {
            self.left_over.notified().await;
            loop {
                match self.write() {
                    Flushed::Whole => break,
                    Flushed::Broken => return,
                    Flushed::Blocked => {}
                }
                if stream.writable().await.is_err() {
                    return;
                }
            }
        }
    }

    /// A ping came back after this time.
    pub(crate) fn measured(&self, round_trip: Duration) {
        self.counts.round_trip_seconds.observe(round_trip);
        self.lock().round_trip = Some(round_trip);
    }

    /// The last round trip, if there was one on this connection.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.lock().round_trip
    }

    /// What is counted about this peer.
    pub(crate) fn counts(&self) -> &metrics::Peer {
        &self.counts
    }

    fn write(&self) -> Flushed {
        let mut state = self.lock();
        let State { stream, out, .. } = &mut *state;
        let Some(stream) = stream else {
            return if out.is_empty() { Flushed::Whole } else { Flushed::Broken };
        };
        while !out.is_empty() {
            match stream.try_write(out) {
                Ok(written) => {
                    out.advance(written);
                    self.counts.sent_bytes.add(written as u64);
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Flushed::Blocked,
                Err(_) => return Flushed::Broken,
            }
        }
        if out.capacity() > IDLE_BYTES_MAX {
            *out = BytesMut::new();
        } else {
            out.clear();
        }
        Flushed::Whole
    }

    /// Nothing panics while it holds the lock, so that a poisoned one is still whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use holdfast_engine::{Incarnation, Ordinal};
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;
    use crate::metrics::Metrics;

    async fn pair() -> (Arc<TcpStream>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (out, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        (Arc::new(out.expect("a connection")), accepted.expect("a connection").0)
    }

    const PEER: MemberId = MemberId { ordinal: Ordinal(1), incarnation: Incarnation(7) };

    fn link() -> Link {
        Link::new(Metrics::example().peer(PEER.ordinal).clone())
    }

    #[tokio::test]
    async fn who_was_there_last_is_known_after_the_connection() {
        let (link, (stream, _peer)) = (link(), pair().await);
        assert_eq!(link.member(), None);
        link.connect(stream.clone(), PEER);
        link.disconnect();
        assert_eq!((link.is_connected(), link.member()), (false, Some(PEER)));
        let next = MemberId { incarnation: Incarnation(8), ..PEER };
        link.connect(stream, next);
        assert_eq!(link.member(), Some(next));
    }

    #[test]
    fn what_is_said_to_nobody_is_dropped() {
        let link = link();
        assert_eq!(link.push(&Frame::Pong { nonce: 1 }), Pushed::Dropped);
        assert_eq!(link.counts().send_failures.value(), 1);
        link.flush();
    }

    #[tokio::test]
    async fn a_batch_larger_than_the_socket_arrives_whole_and_in_order() {
        let (stream, mut peer) = pair().await;
        let link = Arc::new(link());
        link.connect(stream.clone(), PEER);
        let task = tokio::spawn({
            let (link, stream) = (link.clone(), stream.clone());
            async move { link.write_left_over(&stream).await }
        });
        let piece = Bytes::from(vec![7; 1024 * 1024]);
        for id in 0..16 {
            assert_eq!(link.push(&Frame::ForwardReply { id, body: piece.clone() }), Pushed::Sent);
            link.flush();
        }
        let mut read = BytesMut::new();
        for expected in 0..16 {
            let frame = loop {
                match Frame::decode(&mut read).expect("whole frames") {
                    Some(frame) => break frame,
                    None => assert_ne!(peer.read_buf(&mut read).await.expect("an open connection"), 0),
                }
            };
            assert_eq!(frame, Frame::ForwardReply { id: expected, body: piece.clone() });
        }
        task.abort();
    }

    #[tokio::test]
    async fn a_peer_that_does_not_read_fills_its_link_and_nothing_else() {
        let (stream, _peer) = pair().await;
        let link = link();
        link.connect(stream, PEER);
        let frame = Frame::ForwardReply { id: 1, body: Bytes::from(vec![0; 4 * 1024 * 1024]) };
        let dropped_after = (0..64).position(|_| {
            let pushed = link.push(&frame);
            link.flush();
            pushed == Pushed::Dropped
        });
        assert!(dropped_after.is_some_and(|count| (16..40).contains(&count)), "{dropped_after:?}");
    }

    #[tokio::test]
    async fn the_task_ends_with_the_connection() {
        let (stream, peer) = pair().await;
        let link = Arc::new(link());
        link.connect(stream.clone(), PEER);
        drop(peer);
        let task = tokio::spawn({
            let (link, stream) = (link.clone(), stream.clone());
            async move { link.write_left_over(&stream).await }
        });
        let broken = async {
            while !task.is_finished() {
                link.push(&Frame::Pong { nonce: 1 });
                link.flush();
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), broken).await.expect("a broken connection shows");
    }
}
