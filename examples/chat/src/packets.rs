//! The packet protocol that clients of a primary-backup chat know, on ports of its own.
//!
//! One packet is: length of a name (4 bytes, big-endian), the name, length of the data (4 bytes), the operation (1 byte), the
//! data; both UTF-8. There are no passwords, hence accounts that have one are out of its reach.
//!
//! Those clients take whatever one read returns for one packet of at most [`READ_BYTES`]. So no packet of ours is longer, and
//! two on one connection are [`PACKET_GAP`] apart; what they send is read as what it is, however it arrives. Refuses to have
//! them wait for each other across connections.

mod connection;
mod room;

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::time::sleep;

use crate::limits::{CONNECTIONS_MAX, NAME_BYTES_MAX};
use crate::push::Hub;
use crate::state::State;
use room::Room;

/// What clients read at once.
pub(crate) const READ_BYTES: usize = 1024;
/// Between two packets on one connection, so that a client reads them apart.
pub(crate) const PACKET_GAP: Duration = Duration::from_millis(20);
/// The most data of a packet that is taken: clients send less than 280 characters.
pub(crate) const DATA_BYTES_MAX: usize = 2048;
/// Both lengths and the operation.
pub(crate) const HEAD_BYTES: usize = 9;

/// What a client can ask for; replies are [`operation::CREATE`], as in the servers that they know.
pub(crate) mod operation {
    pub(crate) const LIST: u8 = 0;
    pub(crate) const CREATE: u8 = 1;
    pub(crate) const LOG_IN: u8 = 2;
    pub(crate) const LOG_OUT: u8 = 3;
    pub(crate) const DELETE: u8 = 4;
    pub(crate) const SEND: u8 = 5;
    pub(crate) const DELIVER: u8 = 6;
    pub(crate) const ATTACH: u8 = 7;
    /// In a reply: the server says something.
    pub(crate) const SAYS: u8 = 1;
    /// In a reply: the server is not the one.
    pub(crate) const NOT_ME: u8 = 0;
}

/// One packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    /// From a client: who it believes to be. From a server: who it is now.
    pub(crate) name: String,
    pub(crate) operation: u8,
    pub(crate) data: String,
}

/// Why a packet cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PacketError {
    #[error("the connection broke")]
    Io(#[from] std::io::Error),
    #[error("a {what} of {bytes} bytes, {most} is the most")]
    TooLong { what: &'static str, bytes: usize, most: usize },
    #[error("a {0} that is not UTF-8")]
    NotText(&'static str),
}

impl Packet {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD_BYTES + self.name.len() + self.data.len());
        bytes.extend((self.name.len() as u32).to_be_bytes());
        bytes.extend(self.name.as_bytes());
        bytes.extend((self.data.len() as u32).to_be_bytes());
        bytes.push(self.operation);
        bytes.extend(self.data.as_bytes());
        bytes
    }

    /// Reads one packet. Lengths are checked before anything is allocated.
    pub(crate) async fn read(from: &mut (impl AsyncRead + Unpin)) -> Result<Packet, PacketError> {
        let name = text(from, "name", NAME_BYTES_MAX, false).await?.1;
        let (operation, data) = text(from, "text", DATA_BYTES_MAX, true).await?;
        Ok(Packet { name, operation, data })
    }
}

/// A length, an operation if there is one, and so much text.
async fn text(
    from: &mut (impl AsyncRead + Unpin),
    what: &'static str,
    most: usize,
    operation: bool,
) -> Result<(u8, String), PacketError> {
    let bytes = from.read_u32().await? as usize;
    let operation = if operation { from.read_u8().await? } else { 0 };
    if bytes > most {
        return Err(PacketError::TooLong { what, bytes, most });
    }
    let mut text = vec![0; bytes];
    from.read_exact(&mut text).await?;
    Ok((operation, String::from_utf8(text).map_err(|_| PacketError::NotText(what))?))
}

/// Serves the protocol until `ended`.
pub(crate) async fn serve(
    listener: TcpListener,
    state: Arc<State>,
    hub: Arc<Hub>,
    ended: watch::Receiver<bool>,
) {
    let room = Room::open(state, hub);
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut ending = ended.clone();
    loop {
        let accepted = tokio::select! {
            _ = ending.wait_for(|ended| *ended) => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Ok(slot) = slots.clone().try_acquire_owned() else { continue };
        let (room, mut ended) = (room.clone(), ended.clone());
        tokio::spawn(async move {
            tokio::select! {
                result = connection::serve(stream, room) => {
                    if let Err(error) = result {
                        tracing::debug!("a connection of the packet protocol ended: {error}");
                    }
                }
                _ = ended.wait_for(|ended| *ended) => {}
            }
            drop(slot);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn packets_are_read_however_they_arrive() {
        let one = Packet { name: "a".into(), operation: 5, data: "b|hé".into() };
        let other = Packet { name: String::new(), operation: 3, data: String::new() };
        let bytes = [one.encode(), other.encode()].concat();
        // By hand, from the contract.
        assert_eq!(bytes[..16], [0, 0, 0, 1, b'a', 0, 0, 0, 5, 5, b'b', b'|', b'h', 0xc3, 0xa9, 0]);
        let (mut client, mut server) = tokio::io::duplex(1);
        tokio::spawn(async move {
            use tokio::io::AsyncWriteExt as _;
            client.write_all(&bytes).await.expect("open");
        });
        assert_eq!(Packet::read(&mut server).await.expect("readable"), one);
        assert_eq!(Packet::read(&mut server).await.expect("readable"), other);
        assert!(matches!(Packet::read(&mut server).await, Err(PacketError::Io(_))));
    }

    #[tokio::test]
    async fn lengths_that_lie_are_refused_before_they_are_believed() {
        let mut bytes: &[u8] = &[0xff, 0xff, 0xff, 0xff, 0];
        assert!(matches!(Packet::read(&mut bytes).await, Err(PacketError::TooLong { what: "name", .. })));
        let mut bytes: &[u8] = &[0, 0, 0, 1, 0xff, 0, 0, 0, 0, 1];
        assert!(matches!(Packet::read(&mut bytes).await, Err(PacketError::NotText("name"))));
    }
}
