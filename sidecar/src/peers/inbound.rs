//! The connection from one peer: everything that it says, on its way to the core.
//!
//! There is one per peer; a newer one takes the older one's place, because a peer dials again only when its own end
//! of the older one is gone.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::BytesMut;
use holdfast_engine::MemberId;
use holdfast_wire::{Frame, FrameError, Hello};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::{Peer, Shared};
use crate::core::event::Event;
use crate::metrics::PeerRefusal;

/// Bytes that are read in one go: a batch of some hundred small entries.
const READ_BYTES: usize = 64 * 1024;

/// Memory with less room than this is not read into any more. The log keeps what was read where it is, so that new memory
/// for every reading would keep a whole piece of it for a single small entry.
const READ_BYTES_MIN: usize = 16 * 1024;

/// Why a connection ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// The peer closed it: its process ended, or it gave the connection up.
    Closed,
    /// The system says that it is broken.
    Broken(io::Error),
    /// The peer sent what is no frame.
    Malformed(FrameError),
    /// The peer sent a frame that has no place on this connection.
    Unexpected,
    /// Nothing came for too long, not even a ping.
    Silent,
    /// The peer has dialed again.
    Replaced,
    /// The core has ended.
    MemberEnds,
}

/// Who holds the place of the connection from one peer.
#[derive(Debug, Default)]
pub(crate) struct Slot(Mutex<Places>);

#[derive(Debug, Default)]
struct Places {
    /// Counts the holders, so that each knows whether the place is still its own.
    count: u64,
    holder: Option<Holder>,
}

#[derive(Debug)]
struct Holder {
    member: MemberId,
    process: u64,
    /// Dropped to tell the holder that it is replaced.
    _replaced: oneshot::Sender<()>,
}

/// Read a handshaken connection where the core runs: what arrives wakes the thread that it is for, and no other.
pub(super) async fn serve_on_core(
    shared: &Arc<Shared>,
    hello: Hello,
    stream: TcpStream,
    read: BytesMut,
    from: IpAddr,
) {
    let Some(on_core) = &shared.on_core else { return serve(shared, &hello, stream, read, from).await };
    let Ok(stream) = stream.into_std() else { return };
    let shared = shared.clone();
    // Its task ends with this one.
    let mut serving = JoinSet::new();
    let serve = async move {
        if let Ok(stream) = TcpStream::from_std(stream) {
            serve(&shared, &hello, stream, read, from).await;
        }
    };
    serving.spawn_on(serve, on_core);
    // An error means that the core has ended.
    let _ = serving.join_next().await;
}

/// Read a handshaken connection until it ends, and tell the core of both its messages and its end.
async fn serve(shared: &Shared, hello: &Hello, stream: TcpStream, read: BytesMut, from: IpAddr) {
    let peer = shared.peer(hello.member.ordinal);
    let (place, replaced) = take_place(shared, peer, hello);
    *peer.seen_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(from);
    peer.seen_process.store(hello.process, Relaxed);
    peer.appeared.notify_one();
    tracing::info!(peer = %hello.member, %from, "a peer has connected");
    let heard = AtomicBool::new(true);
    let ended = tokio::select! {
        biased;
        _ = replaced => Ended::Replaced,
        ended = read_frames(shared, peer, hello.member, stream, read, &heard) => ended,
        () = silence(shared, &heard) => Ended::Silent,
    };
    match ended {
        Ended::Malformed(_) | Ended::Unexpected => {
            tracing::warn!(peer = %hello.member, reason = %ended, "closed the connection from a peer");
            shared.metrics.peer_refused(PeerRefusal::Malformed);
        }
        _ => tracing::info!(peer = %hello.member, reason = %ended, "the connection from a peer ended"),
    }
    if peer.inbound.leave(place) {
        *peer.seen_at.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let _ = shared.queue.push_always(Event::Lost { peer: hello.member });
    }
}

/// Take the place of the connection from this peer. If another process of it held the place, that one is dead, and
/// nobody else will say so.
fn take_place(shared: &Shared, peer: &Peer, hello: &Hello) -> (u64, oneshot::Receiver<()>) {
    let (sender, replaced) = oneshot::channel();
    let holder = Holder { member: hello.member, process: hello.process, _replaced: sender };
    let mut places = peer.inbound.0.lock().unwrap_or_else(PoisonError::into_inner);
    places.count += 1;
    let place = places.count;
    let before = places.holder.replace(holder);
    drop(places);
    if let Some(before) = before {
        let same = (before.process, before.member) == (hello.process, hello.member);
        let lost = match same {
            // What it said last may not have been read.
            true => Event::Unreachable { peer: peer.ordinal },
            false => Event::Lost { peer: before.member },
        };
        let _ = shared.queue.push_always(lost);
    }
    (place, replaced)
}

impl Slot {
    /// Leave the place; `false` if a newer connection took it in between.
    fn leave(&self, place: u64) -> bool {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = places.count == place;
        if own {
            places.holder = None;
        }
        own
    }
}

/// Returns when nothing was heard for the time of silence, looked at twice in it.
async fn silence(shared: &Shared, heard: &AtomicBool) {
    let mut quiet = 0;
    while quiet < 2 {
        tokio::time::sleep(shared.silence() / 2).await;
        quiet = if heard.swap(false, Relaxed) { 0 } else { quiet + 1 };
    }
}

async fn read_frames(
    shared: &Shared,
    peer: &Peer,
    from: MemberId,
    stream: TcpStream,
    mut read: BytesMut,
    heard: &AtomicBool,
) -> Ended {
    // Its halves know what was read of it: no call to the kernel is made only to hear that there is no more.
    let (mut stream, pongs) = stream.into_split();
    let mut events = Vec::new();
    loop {
        let ended = take_frames(from, &pongs, &mut read, &mut events);
        if shared.queue.push_when_room(&mut events).await.is_err() {
            return Ended::MemberEnds;
        }
        if let Err(ended) = ended {
            return ended;
        }
        if read.capacity() - read.len() < READ_BYTES_MIN {
            read.reserve(READ_BYTES);
        }
        match stream.read_buf(&mut read).await {
            Ok(0) => return Ended::Closed,
            Ok(bytes) => {
                heard.store(true, Relaxed);
                peer.link.counts().received_bytes.add(bytes as u64);
            }
            Err(error) => return Ended::Broken(error),
        }
    }
}

/// Turn all whole frames in `read` into events. What came before a bad frame still counts.
fn take_frames(
    from: MemberId,
    pongs: &OwnedWriteHalf,
    read: &mut BytesMut,
    events: &mut Vec<Event>,
) -> Result<(), Ended> {
    while let Some(frame) = Frame::decode(read).map_err(Ended::Malformed)? {
        match frame {
            Frame::Message(message) => events.push(Event::Message { from, message }),
            Frame::Forward { id, concern, timeout_ms, command } => {
                events.push(Event::Forwarded { from: from.ordinal, id, concern, timeout_ms, command });
            }
            Frame::ForwardReply { id, body } => {
                events.push(Event::ForwardReplied { from: from.ordinal, id, body });
            }
            Frame::HandOver { id, to, timeout_ms } => {
                events.push(Event::HandOverForwarded { from: from.ordinal, id, to, timeout_ms });
            }
            Frame::Leaving => events.push(Event::Leaving { from: from.ordinal }),
            Frame::Farewell => events.push(Event::Farewell { from: from.ordinal }),
            Frame::Ping { nonce, fingerprint } => {
                if let Some(fingerprint) = fingerprint {
                    events.push(Event::Fingerprint { from: from.ordinal, fingerprint });
                }
                pong(pongs, nonce);
            }
            Frame::Pong { .. }
            | Frame::CheckpointChunk { .. }
            | Frame::CheckpointEnd { .. }
            | Frame::Repair(_) => return Err(Ended::Unexpected),
        }
    }
    Ok(())
}

/// Answer a ping. The few bytes always fit, unless the peer does not read its pongs, and then it needs none.
fn pong(stream: &OwnedWriteHalf, nonce: u64) {
    let mut bytes = BytesMut::new();
    Frame::Pong { nonce }.encode(&mut bytes).expect("a pong is small");
    let _ = stream.try_write(&bytes);
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ended::Closed => f.write_str("closed by the peer"),
            Ended::Broken(error) => write!(f, "broken: {error}"),
            Ended::Malformed(error) => write!(f, "malformed frame: {}", crate::listener::chain(error)),
            Ended::Unexpected => f.write_str("a frame that has no place here"),
            Ended::Silent => f.write_str("silent for too long"),
            Ended::Replaced => f.write_str("replaced by a newer one"),
            Ended::MemberEnds => f.write_str("this member is stopping"),
        }
    }
}
