//! The connection to one peer: dialed again whenever it ends, for as long as the member runs.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use holdfast_engine::{Ordinal, StoreId};
use holdfast_wire::{Frame, Hello, Purpose};
use tokio::net::{TcpStream, lookup_host};

use super::handshake::{self, HandshakeError};
use super::inbound::Ended;
use super::{Peer, Shared, prepare};
use crate::core::event::Event;

/// The pause after the first failed dial; doubled after each further one. A peer that is just starting is there after
/// a few of them.
const PAUSE_FIRST: Duration = Duration::from_millis(20);

/// The longest pause between dials. A peer that comes back dials us first and ends the pause, so that this counts
/// only for links that came back without a restart.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// How long one dial to one address may take.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(2);

/// How much later each further address of a peer is dialed: an address where nobody is must not hold up the others.
const DIAL_STAGGER: Duration = Duration::from_millis(50);

/// A failure is logged again when it changes, and after this time.
const LOG_PAUSE: Duration = Duration::from_secs(60);

/// Pings per time after which a silent connection is given up.
const PINGS_PER_SILENCE: u32 = 4;

/// Bytes that are read in one go. What comes on this connection is an occasional pong.
const READ_BYTES: usize = 1024;

/// Keep a connection to `peer` for ever, while it has an address.
pub(super) async fn dial(shared: Arc<Shared>, ordinal: Ordinal) {
    let peer = shared.peer(ordinal);
    let mut pause = PAUSE_FIRST;
    let mut failures = Failures::default();
    loop {
        if peer.address().is_none() {
            peer.appeared.notified().await;
            continue;
        }
        match connect(&shared, peer, Purpose::Replication).await {
            Ok((stream, hello, read)) => {
                pause = PAUSE_FIRST;
                failures = Failures::default();
                serve(&shared, peer, stream, hello, read).await;
            }
            Err(error) => failures.log(peer, &error),
        }
        tokio::select! {
            () = tokio::time::sleep(spread(pause, super::random())) => pause = (pause * 2).min(PAUSE_MAX),
            () = peer.appeared.notified() => pause = PAUSE_FIRST,
        }
    }
}

/// From half of `pause` to all of it, by what was drawn: members that lost the same peer at the same moment do not dial it
/// at the same moments.
fn spread(pause: Duration, draw: u64) -> Duration {
    let half = pause / 2;
    half + half.mul_f64((draw >> 11) as f64 / (1_u64 << 53) as f64)
}

/// Which store a member is part of, if any. It is called as one that replicates: a member in repair, which may have lost
/// that knowledge and nothing else, turns such callers away.
pub(crate) async fn store_of(shared: &Shared, ordinal: Ordinal) -> Result<Option<StoreId>, HandshakeError> {
    let (_, hello, _) = connect(shared, shared.peer(ordinal), Purpose::Replication).await?;
    Ok(hello.store_id)
}

/// Dial all addresses that the peer may have, each a little later than the one before, until the right member answers.
pub(super) async fn connect(
    shared: &Shared,
    peer: &Peer,
    purpose: Purpose,
) -> Result<(TcpStream, Hello, BytesMut), HandshakeError> {
    let attempts = addresses(peer).await?.into_iter().zip(0..).map(|(address, place)| async move {
        tokio::time::sleep(DIAL_STAGGER * place).await;
        connect_to(shared, peer.ordinal, address, purpose).await
    });
    let mut attempts: FuturesUnordered<_> = attempts.collect();
    let mut last = None;
    while let Some(attempt) = attempts.next().await {
        match attempt {
            Ok(connected) => return Ok(connected),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the host has no address").into()))
}

/// Dial one address and shake hands.
async fn connect_to(
    shared: &Shared,
    ordinal: Ordinal,
    address: SocketAddr,
    purpose: Purpose,
) -> Result<(TcpStream, Hello, BytesMut), HandshakeError> {
    let connecting = tokio::time::timeout(CONNECT_TIME_MAX, TcpStream::connect(address)).await;
    let mut stream = connecting.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    prepare(&stream, shared.silence())?;
    let (hello, read) = handshake::call(shared, &mut stream, ordinal, purpose).await?;
    Ok((stream, hello, read))
}

/// Where the peer may be: what its name says, and where it connected from, while it is connected. Name services take a
/// while to follow a restarted pod; on the other hand, connections may come from an address that is not the peer's.
async fn addresses(peer: &Peer) -> io::Result<Vec<SocketAddr>> {
    let Some(address) = peer.address() else {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the settings know of no such member"));
    };
    let named = lookup_host(&address).await.map(Iterator::collect::<Vec<_>>);
    let seen_at: Option<IpAddr> = *peer.seen_at.lock().unwrap_or_else(PoisonError::into_inner);
    let port = address.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    let seen_at = seen_at.zip(port).map(|(ip, port)| SocketAddr::new(ip, port));
    match (seen_at, named) {
        (None, named) => named,
        (Some(seen_at), Err(_)) => Ok(vec![seen_at]),
        (Some(seen_at), Ok(named)) if named.contains(&seen_at) => Ok(named),
        (Some(seen_at), Ok(named)) => Ok([&named[..], &[seen_at]].concat()),
    }
}

/// Use an established connection until it ends.
async fn serve(shared: &Shared, peer: &Peer, stream: TcpStream, hello: Hello, read: BytesMut) {
    let stream = Arc::new(stream);
    peer.link.connect(stream.clone(), hello.member);
    tracing::info!(peer = %hello.member, address = peer.address(), "connected to a peer");
    let _ = shared.queue.push_always(Event::Reachable { peer: hello.member });
    let started = Instant::now();
    let ended = tokio::select! {
        ended = hear_pongs(peer, &stream, read, started) => ended,
        () = peer.link.write_left_over(&stream) => Ended::Closed,
        () = ping(shared, peer, started) => Ended::Closed,
        () = restarted(peer, hello.process) => Ended::Replaced,
    };
    peer.link.disconnect();
    tracing::info!(peer = %hello.member, reason = %ended, "the connection to a peer ended");
    let _ = shared.queue.push_always(Event::Unreachable { peer: peer.ordinal });
}

/// Returns when another process of the peer has connected here: the one at the other end of this connection is dead,
/// even if its host could not say so any more.
async fn restarted(peer: &Peer, process: u64) {
    loop {
        peer.appeared.notified().await;
        if peer.seen_process.load(Relaxed) != process {
            return;
        }
    }
}

/// Ask "are you there?" often enough that the peer never takes this member for silent.
async fn ping(shared: &Shared, peer: &Peer, started: Instant) {
    loop {
        tokio::time::sleep(shared.silence() / PINGS_PER_SILENCE).await;
        let nonce = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        peer.link.push(&Frame::Ping { nonce, fingerprint: shared.fingerprint() });
        peer.link.flush();
    }
}

async fn hear_pongs(peer: &Peer, stream: &TcpStream, mut read: BytesMut, started: Instant) -> Ended {
    loop {
        loop {
            match Frame::decode(&mut read) {
                Ok(None) => break,
                Ok(Some(Frame::Pong { nonce })) => {
                    let round_trip = started.elapsed().saturating_sub(Duration::from_nanos(nonce));
                    peer.link.measured(round_trip);
                }
                Ok(Some(_)) => return Ended::Unexpected,
                Err(error) => return Ended::Malformed(error),
            }
        }
        if let Err(error) = stream.readable().await {
            return Ended::Broken(error);
        }
        read.reserve(READ_BYTES);
        match stream.try_read_buf(&mut read) {
            Ok(0) => return Ended::Closed,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Ended::Broken(error),
        }
    }
}

/// What went wrong last, so that the same line is not written every second.
#[derive(Debug, Default)]
struct Failures {
    last: Option<(String, Instant)>,
}

impl Failures {
    fn log(&mut self, peer: &Peer, error: &HandshakeError) {
        let reason = crate::listener::chain(error);
        let known = self.last.as_ref().is_some_and(|(last, at)| *last == reason && at.elapsed() < LOG_PAUSE);
        if !known {
            tracing::warn!(peer = %peer.ordinal, address = peer.address(), reason, "cannot connect to a peer");
            self.last = Some((reason, Instant::now()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_spread_and_never_longer_than_said() {
        assert_eq!(spread(PAUSE_MAX, 0), PAUSE_MAX / 2);
        let longest = spread(PAUSE_MAX, u64::MAX);
        assert!(longest > PAUSE_MAX.mul_f64(0.999) && longest <= PAUSE_MAX, "{longest:?}");
        assert_ne!(spread(PAUSE_MAX, u64::MAX / 3), spread(PAUSE_MAX, u64::MAX / 2));
    }
}
