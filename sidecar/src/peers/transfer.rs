//! Checkpoints on their way from one member to another, on connections of their own, beside everything else.
//!
//! What arrives is written to this member's disk and built up as a state at the same time, so that the core can
//! exchange its own for it at once. A checkpoint that is not whole, or not as it was sent, leaves nothing behind.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use bytes::BytesMut;
use holdfast_engine::{Checkpoint, MemberId, Position};
use holdfast_storage::{CheckpointError, CheckpointFile, CheckpointReader, Checkpoints};
use holdfast_store::Store;
use holdfast_wire::{Frame, FrameError, Purpose, TurnedAway};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;

use super::handshake::{self, HandshakeError};
use super::{Shared, dialer, random};
use crate::core::event::Event;
use crate::loading::{LoadError, Loader};

/// How long the other side may take for the next piece. Its disk may be slow; a dead one is noticed sooner by the
/// connection.
const PIECE_TIME_MAX: Duration = Duration::from_secs(30);

/// Bytes that are read in one go.
const READ_BYTES: usize = 256 * 1024;

/// A checkpoint that is being fetched. Dropping it gives the transfer up.
#[derive(Debug)]
pub(crate) struct Transfer {
    id: u64,
    given_up: Arc<AtomicBool>,
}

/// A checkpoint that was fetched: durable on this member's disk, and built up as a state.
#[derive(Debug)]
pub(crate) struct Fetched {
    /// What it covers.
    pub(crate) checkpoint: Checkpoint,
    /// Its file.
    pub(crate) file: CheckpointFile,
    /// Its state.
    pub(crate) store: Box<Store>,
}

/// Why a checkpoint was not fetched.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// Nobody gave it.
    #[error("cannot connect to member {source_member} to fetch a checkpoint")]
    Handshake {
        /// Who was asked.
        source_member: MemberId,
        /// Why.
        #[source]
        source: HandshakeError,
    },
    /// The connection broke on the way.
    #[error("the connection broke after {bytes} bytes of the checkpoint")]
    Connection {
        /// How far it had come.
        bytes: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Nothing came for too long.
    #[error("nothing came for {} s after {bytes} bytes of the checkpoint", PIECE_TIME_MAX.as_secs())]
    Silent {
        /// How far it had come.
        bytes: u64,
    },
    /// What came is no frame.
    #[error("the checkpoint was malformed on its way")]
    Malformed(#[from] FrameError),
    /// A frame came that has no place here.
    #[error("something else came than a checkpoint")]
    Unexpected,
    /// Pieces are missing, although the sender thinks that it sent all.
    #[error("{bytes} bytes in {chunks} pieces came, and {bytes_sent} in {chunks_sent} were sent")]
    Incomplete {
        /// Bytes that came.
        bytes: u64,
        /// Pieces that came.
        chunks: u64,
        /// Bytes that were sent.
        bytes_sent: u64,
        /// Pieces that were sent.
        chunks_sent: u64,
    },
    /// It could not be written to this member's disk.
    #[error("cannot write the checkpoint")]
    File(#[from] CheckpointError),
    /// It is not a state, or cannot be made one.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The state is not the one that was asked for.
    #[error("the checkpoint of {expected} holds the state at entry {found}")]
    OtherState {
        /// What was asked for.
        expected: Position,
        /// What came.
        found: holdfast_engine::Index,
    },
    /// Nobody wants it any more.
    #[error("the transfer was given up")]
    GivenUp,
}

impl Transfer {
    /// Names the transfer in the event that ends it.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        self.given_up.store(true, Relaxed);
    }
}

/// Fetch a checkpoint from the member that offers it. The core is told by an event.
pub(crate) fn fetch(shared: Arc<Shared>, source: MemberId, checkpoint: Checkpoint) -> Transfer {
    let transfer = Transfer { id: random(), given_up: Arc::default() };
    let (id, given_up) = (transfer.id, transfer.given_up.clone());
    let runtime = shared.runtime.clone();
    runtime.clone().spawn_blocking(move || {
        // Files are written here, so that this is a thread of its own; only the network is waited for.
        let result = runtime.block_on(receive(&shared, source, checkpoint, &given_up));
        let _ = shared.queue.push_always(Event::CheckpointFetched { transfer: id, result });
    });
    transfer
}

/// Fetch a checkpoint for its file alone, while there is no core.
pub(crate) async fn fetch_now(
    shared: Arc<Shared>,
    source: MemberId,
    checkpoint: Checkpoint,
) -> Result<CheckpointFile, FetchError> {
    let runtime = shared.runtime.clone();
    let receiving = runtime.clone().spawn_blocking(move || {
        runtime.block_on(receive(&shared, source, checkpoint, &AtomicBool::new(false)))
    });
    receiving.await.unwrap_or(Err(FetchError::GivenUp)).map(|fetched| fetched.file)
}

async fn receive(
    shared: &Shared,
    source: MemberId,
    checkpoint: Checkpoint,
    given_up: &AtomicBool,
) -> Result<Fetched, FetchError> {
    let (mut stream, mut read) = connect(shared, source, checkpoint)
        .await
        .map_err(|error| FetchError::Handshake { source_member: source, source: error })?;
    let mut writer = shared.files.create(checkpoint)?;
    let mut loader = Loader::start()?;
    loop {
        if given_up.load(Relaxed) {
            return Err(FetchError::GivenUp);
        }
        match next(&mut stream, &mut read, writer.bytes()).await? {
            Frame::CheckpointChunk { bytes } => {
                if !loader.chunk(bytes.clone()) {
                    break; // it is no state, and the loader says why
                }
                writer.chunk(&bytes)?;
            }
            Frame::CheckpointEnd { chunks, bytes }
                if (chunks, bytes) == (writer.chunks(), writer.bytes()) =>
            {
                break;
            }
            Frame::CheckpointEnd { chunks, bytes } => {
                return Err(FetchError::Incomplete {
                    bytes: writer.bytes(),
                    chunks: writer.chunks(),
                    bytes_sent: bytes,
                    chunks_sent: chunks,
                });
            }
            _ => return Err(FetchError::Unexpected),
        }
    }
    let store = Box::new(loader.finish()?);
    if store.committed() != checkpoint.position.index {
        return Err(FetchError::OtherState { expected: checkpoint.position, found: store.committed() });
    }
    let file = writer.finish()?;
    Ok(Fetched { checkpoint, file, store })
}

async fn connect(
    shared: &Shared,
    source: MemberId,
    checkpoint: Checkpoint,
) -> Result<(TcpStream, BytesMut), HandshakeError> {
    let purpose = Purpose::CheckpointFetch { position: checkpoint.position };
    let (stream, hello, read) = dialer::connect(shared, shared.peer(source.ordinal), purpose).await?;
    if hello.member == source {
        return Ok((stream, read));
    }
    let (expected, found) = (source.ordinal, hello.member);
    Err(HandshakeError::SomebodyElse { expected, found, store: hello.store })
}

/// The next frame of a transfer that has come `bytes` far.
async fn next(stream: &mut TcpStream, read: &mut BytesMut, bytes: u64) -> Result<Frame, FetchError> {
    loop {
        if let Some(frame) = Frame::decode(read)? {
            return Ok(frame);
        }
        read.reserve(READ_BYTES);
        match tokio::time::timeout(PIECE_TIME_MAX, stream.read_buf(read)).await {
            Ok(Ok(0)) => {
                let source = io::Error::from(io::ErrorKind::UnexpectedEof);
                return Err(FetchError::Connection { bytes, source });
            }
            Ok(Ok(_)) => {}
            Ok(Err(source)) => return Err(FetchError::Connection { bytes, source }),
            Err(_) => return Err(FetchError::Silent { bytes }),
        }
    }
}

/// Send a checkpoint to a member that asks for it.
pub(super) async fn serve(
    shared: &Arc<Shared>,
    mut stream: TcpStream,
    to: MemberId,
    position: Position,
    handshake: OwnedSemaphorePermit,
) -> Result<(), HandshakeError> {
    let files = shared.files.clone();
    let opened = tokio::task::spawn_blocking(move || open(&files, position)).await;
    let reader = match opened {
        Ok(Ok(reader)) => reader,
        Ok(Err(error)) => {
            let why = TurnedAway::NoCheckpoint { position };
            let reason = crate::listener::chain(&error);
            tracing::warn!(%to, %position, reason, "cannot give a checkpoint");
            handshake::turn_away(&mut stream, why.clone()).await;
            return Err(HandshakeError::Refused(why));
        }
        // The runtime is ending.
        Err(_) => return Ok(()),
    };
    handshake::welcome(shared, &mut stream, Purpose::CheckpointFetch { position }).await?;
    drop(handshake);
    tracing::info!(%to, %position, "giving a checkpoint");
    match send(&mut stream, reader).await {
        Ok(bytes) => tracing::info!(%to, %position, bytes, "gave a checkpoint"),
        Err(error) => {
            let reason = crate::listener::chain(&error);
            tracing::warn!(%to, %position, reason, "could not give a checkpoint to its end");
        }
    }
    Ok(())
}

/// Why a checkpoint was not sent to its end.
#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error("the file cannot be read to its end")]
    File(#[from] CheckpointError),
    #[error("the connection broke")]
    Connection(#[from] io::Error),
    #[error("the receiver took nothing for {} s", PIECE_TIME_MAX.as_secs())]
    Silent,
    #[error("the member is stopping")]
    Stopping,
}

fn open(files: &Checkpoints, position: Position) -> Result<CheckpointReader, CheckpointError> {
    files.open(position)
}

async fn send(stream: &mut TcpStream, reader: CheckpointReader) -> Result<u64, SendError> {
    let mut reader = Some(reader);
    let (mut chunks, mut bytes) = (0, 0);
    let mut out = BytesMut::new();
    loop {
        // The file is read where waiting for the disk holds nobody up; the reader comes back with each chunk.
        let mut taken = reader.take().ok_or(SendError::Stopping)?;
        let read = tokio::task::spawn_blocking(move || (taken.next(), taken)).await;
        let Ok((chunk, taken)) = read else { return Err(SendError::Stopping) };
        reader = Some(taken);
        let frame = match chunk.transpose()? {
            Some(chunk) => {
                chunks += 1;
                bytes += chunk.len() as u64;
                Frame::CheckpointChunk { bytes: chunk }
            }
            None => Frame::CheckpointEnd { chunks, bytes },
        };
        out.clear();
        frame.encode(&mut out).expect("a file's chunks fit into frames");
        let sent = tokio::time::timeout(PIECE_TIME_MAX, stream.write_all(&out)).await;
        sent.map_err(|_| SendError::Silent)??;
        if matches!(frame, Frame::CheckpointEnd { .. }) {
            let _ = stream.shutdown().await;
            return Ok(bytes);
        }
    }
}
