//! The lines of a store whose members can be cut off or slowed down: every connection to and from a member goes over a relay of ours.
//!
//! A line that is cut carries nothing and breaks nothing, as a network that drops packets: neither end is told. Bytes that were on the way
//! arrive when the line is mended. Refuses to be fast: it is for experiments with networks, not for others.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::ports::Ports;

/// Bytes that are carried at a time.
const CHUNK_BYTES: usize = 64 * 1024;
/// Chunks that may be under way on a slow line; a sender waits when there are more.
const CHUNKS_MAX: usize = 64;
/// Connections over one line at a time: members and clients have a handful each.
const CONNECTIONS_MAX: usize = 256;

/// How a member's lines are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Line {
    /// As they should be.
    #[default]
    Whole,
    /// Nothing arrives.
    Cut,
    /// Everything arrives so much later, each way.
    Slow(Duration),
}

/// The lines of a store.
#[derive(Debug)]
pub struct Links {
    ports: Ports,
    lines: Vec<watch::Sender<Line>>,
    /// Where member `i` reaches member `j`.
    peers: Vec<Vec<SocketAddr>>,
    clients: Vec<SocketAddr>,
    /// Ends the relays when it is dropped.
    _relays: JoinSet<()>,
}

impl Links {
    /// Opens the lines of a store.
    ///
    /// # Errors
    /// A socket cannot be had.
    pub async fn open(ports: Ports, members: u8) -> io::Result<Links> {
        let lines: Vec<_> = (0..members).map(|_| watch::Sender::new(Line::Whole)).collect();
        let mut relays = JoinSet::new();
        let mut peers = Vec::new();
        let mut clients = Vec::new();
        for from in 0..members {
            let mut row = Vec::new();
            for to in 0..members {
                if from == to {
                    row.push(ports.peer(to));
                } else {
                    let ends =
                        [&lines[usize::from(from)], &lines[usize::from(to)]].map(watch::Sender::subscribe);
                    row.push(relay(ports.peer(to), ends, &mut relays).await?);
                }
            }
            peers.push(row);
            let line = &lines[usize::from(from)];
            clients.push(relay(ports.client(from), [line.subscribe(), line.subscribe()], &mut relays).await?);
        }
        Ok(Links { ports, lines, peers, clients, _relays: relays })
    }

    /// The peers' addresses as the settings of member `ordinal` have them.
    pub fn peers_of(&self, ordinal: u8) -> Vec<String> {
        self.peers[usize::from(ordinal)].iter().map(ToString::to_string).collect()
    }

    /// Where clients reach member `ordinal`.
    pub fn client(&self, ordinal: u8) -> SocketAddr {
        self.clients[usize::from(ordinal)]
    }

    /// Where member `ordinal` answers operators, whatever became of its lines.
    pub fn admin(&self, ordinal: u8) -> SocketAddr {
        self.ports.admin(ordinal)
    }

    /// From now on all lines of this member are so.
    pub fn set(&self, ordinal: u8, line: Line) {
        self.lines[usize::from(ordinal)].send_replace(line);
    }
}

/// Relays connections to `to` until `relays` is dropped. Says where it listens.
async fn relay(
    to: SocketAddr,
    ends: [watch::Receiver<Line>; 2],
    relays: &mut JoinSet<()>,
) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    relays.spawn(async move {
        let mut open = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((inward, _)) if open.len() < CONNECTIONS_MAX => {
                        open.spawn(carry_both(inward, to, ends.clone()));
                    }
                    _ => {}
                },
                Some(_) = open.join_next() => {}
            }
        }
    });
    Ok(address)
}

/// Carries one connection. When one end breaks, so does the other: a process that dies is seen by its peers, if the line is whole.
async fn carry_both(inward: TcpStream, to: SocketAddr, mut ends: [watch::Receiver<Line>; 2]) {
    if passes(&mut ends).await.is_none() {
        return;
    }
    let Ok(outward) = TcpStream::connect(to).await else { return };
    // Small messages must not wait for each other here; a socket that refuses is broken anyway.
    let _ = (inward.set_nodelay(true), outward.set_nodelay(true));
    let ((inward_read, inward_write), (outward_read, outward_write)) =
        (inward.into_split(), outward.into_split());
    tokio::select! {
        () = carry(inward_read, outward_write, ends.clone()) => {}
        () = carry(outward_read, inward_write, ends.clone()) => {}
    }
    // The end of a connection does not pass a line that is cut either.
    passes(&mut ends).await;
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut ends: [watch::Receiver<Line>; 2]) {
    let (sender, mut chunks) = tokio::sync::mpsc::channel::<(Instant, Vec<u8>)>(CHUNKS_MAX);
    // Owns the sender: when nothing more is to be read, what was read is still written.
    let reading = async move {
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            match from.read(&mut chunk).await {
                Ok(length) if length > 0 => {
                    if sender.send((Instant::now(), chunk[..length].to_vec())).await.is_err() {
                        return;
                    }
                }
                _ => return,
            }
        }
    };
    let writing = async {
        while let Some((read, chunk)) = chunks.recv().await {
            let Some(delay) = passes(&mut ends).await else { return };
            if delay > Duration::ZERO {
                sleep_until(read + delay).await;
            }
            if to.write_all(&chunk).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = async { reading.await; std::future::pending().await } => {}
        () = writing => {}
    }
}

/// Waits while one of the ends is cut off, and says how late what passes now arrives. `None` if the store is gone.
async fn passes(ends: &mut [watch::Receiver<Line>; 2]) -> Option<Duration> {
    loop {
        let [one, other] = ends;
        let lines = [*one.borrow_and_update(), *other.borrow_and_update()];
        if !lines.contains(&Line::Cut) {
            let delay = |line| if let Line::Slow(delay) = line { delay } else { Duration::ZERO };
            return Some(lines.map(delay).into_iter().max().unwrap_or_default());
        }
        let changed = tokio::select! {
            changed = one.changed() => changed,
            changed = other.changed() => changed,
        };
        changed.ok()?;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_cut_line_carries_nothing_until_it_is_mended() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let to = listener.local_addr().expect("bound");
        let line = watch::Sender::new(Line::Whole);
        let mut relays = JoinSet::new();
        let at = relay(to, [line.subscribe(), line.subscribe()], &mut relays).await.expect("loopback");
        let mut client = TcpStream::connect(at).await.expect("it listens");
        client.write_all(b"a").await.expect("open");
        let (mut server, _) = listener.accept().await.expect("relayed");
        assert_eq!(server.read_u8().await.expect("carried"), b'a');
        line.send_replace(Line::Cut);
        client.write_all(b"b").await.expect("open");
        timeout(Duration::from_millis(50), server.read_u8()).await.expect_err("nothing arrives");
        line.send_replace(Line::Slow(Duration::from_millis(50)));
        let began = Instant::now();
        client.write_all(b"c").await.expect("open");
        assert_eq!(server.read_u8().await.expect("carried late"), b'b');
        assert_eq!(server.read_u8().await.expect("carried"), b'c');
        assert!(began.elapsed() >= Duration::from_millis(50), "a slow line is slow");
        drop(server);
        assert_eq!(client.read(&mut [0; 8]).await.unwrap_or(0), 0, "the end arrives too");
    }
}
