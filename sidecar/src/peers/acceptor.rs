//! The peer port: takes connections, bounded in number and time until they have proved who they are.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use holdfast_engine::MEMBERS_MAX;
use holdfast_wire::{GreetingError, Purpose, TurnedAway};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::handshake::{self, HandshakeError};
use super::{FilesCall, Shared, Source, inbound, prepare, repair, transfer};
use crate::metrics::PeerRefusal;

/// Connections that may be shaking hands. Every peer needs two at a time at most, and a few more may be mistakes;
/// the rest is closed unread.
const HANDSHAKES_MAX: usize = 4 * MEMBERS_MAX;

/// Checkpoints that are sent at a time: one to each peer, and one more whose connection is not known to be dead yet.
const TRANSFERS_MAX: usize = MEMBERS_MAX;

/// The pause after the system could not accept, such as without free file descriptors: it is out of our hands.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Members that repair their logs and are answered at a time: all of them, and one more connection of each that is not
/// known to be dead yet.
const REPAIRS_MAX: usize = 2 * MEMBERS_MAX;

/// How many connections of each kind there may be more.
#[derive(Clone, Debug)]
struct Permits {
    transfers: Arc<Semaphore>,
    repairs: Arc<Semaphore>,
}

/// Accept for ever.
pub(crate) async fn answer_callers(shared: Arc<Shared>, listener: &TcpListener) -> Infallible {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    let permits = Permits {
        transfers: Arc::new(Semaphore::new(TRANSFERS_MAX)),
        repairs: Arc::new(Semaphore::new(REPAIRS_MAX)),
    };
    let mut connections = JoinSet::new();
    loop {
        // What has ended is forgotten as it goes.
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, address)) => {
                let Ok(permit) = handshakes.clone().try_acquire_owned() else {
                    tracing::warn!(%address, "closed a connection to the peer port: too many shake hands");
                    shared.metrics.peer_refused(PeerRefusal::Busy);
                    continue;
                };
                let (shared, permits) = (shared.clone(), permits.clone());
                connections.spawn(async move {
                    if let Err(error) = greet(&shared, stream, address, permits, permit).await {
                        shared.metrics.peer_refused(refusal(&error));
                        let reason = crate::listener::chain(&error);
                        tracing::warn!(%address, reason, "refused a connection to the peer port");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection to the peer port");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Shake hands, then do what the caller wants. The permit goes back with the handshake's end.
async fn greet(
    shared: &Arc<Shared>,
    mut stream: TcpStream,
    address: SocketAddr,
    permits: Permits,
    permit: tokio::sync::OwnedSemaphorePermit,
) -> Result<(), HandshakeError> {
    prepare(&stream, shared.silence())?;
    let (hello, read) = handshake::answer(shared, &mut stream).await?;
    match hello.purpose {
        Purpose::Replication if matches!(shared.source, Source::Damaged(_)) => {
            handshake::turn_away(&mut stream, TurnedAway::Repairing).await;
        }
        Purpose::Replication => {
            handshake::welcome(shared, &mut stream, hello.purpose).await?;
            drop(permit);
            inbound::serve_on_core(shared, hello, stream, read, address.ip()).await;
        }
        Purpose::CheckpointFetch { position } => {
            let Ok(transfer) = permits.transfers.try_acquire_owned() else {
                handshake::turn_away(&mut stream, TurnedAway::Busy).await;
                return Err(HandshakeError::Refused(TurnedAway::Busy));
            };
            transfer::serve(shared, stream, hello.member, position, permit).await?;
            drop(transfer);
        }
        Purpose::Files => {
            let Some(Ok(place)) = shared.files_calls.get().map(mpsc::Sender::try_reserve) else {
                handshake::turn_away(&mut stream, TurnedAway::Busy).await;
                return Err(HandshakeError::Refused(TurnedAway::Busy));
            };
            handshake::welcome(shared, &mut stream, hello.purpose).await?;
            place.send(FilesCall { stream, read, member: hello.member });
        }
        Purpose::Repair => {
            let Ok(repair) = permits.repairs.try_acquire_owned() else {
                handshake::turn_away(&mut stream, TurnedAway::Busy).await;
                return Err(HandshakeError::Refused(TurnedAway::Busy));
            };
            repair::serve(shared, stream, read, hello.member, permit).await?;
            drop(repair);
        }
    }
    Ok(())
}

/// The reason that is counted.
fn refusal(error: &HandshakeError) -> PeerRefusal {
    match error {
        HandshakeError::Refused(why) => match why {
            TurnedAway::OtherStore { .. } | TurnedAway::OtherFormation { .. } => PeerRefusal::OtherStore,
            TurnedAway::NoSuchOrdinal { .. } | TurnedAway::OwnOrdinal { .. } => PeerRefusal::WrongOrdinal,
            TurnedAway::Version { .. } => PeerRefusal::Version,
            TurnedAway::NoCheckpoint { .. } => PeerRefusal::NoCheckpoint,
            TurnedAway::Busy | TurnedAway::Repairing => PeerRefusal::Busy,
        },
        HandshakeError::Greeting(GreetingError::Version { .. }) => PeerRefusal::Version,
        HandshakeError::SomebodyElse { .. } => PeerRefusal::WrongOrdinal,
        HandshakeError::Greeting(_)
        | HandshakeError::Connection(_)
        | HandshakeError::Closed
        | HandshakeError::Silent
        | HandshakeError::TurnedAway(_) => PeerRefusal::NoGreeting,
    }
}
