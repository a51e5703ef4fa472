//! Lost entries of a log on their way from one member to another, on connections of their own: what a member that
//! repairs its log asks, and what every member answers, also one that is in repair itself.
//!
//! What it refuses to do: decide what a repaired log is; [`crate::repair`] does. A connection asks one thing at a time,
//! so that a member in repair costs each of the others one answer's memory.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use holdfast_engine::{Checkpoint, Given, Index, MemberId, Ordinal, Position, StoreId};
use holdfast_storage::{Checkpoints, Damaged};
use holdfast_wire::{Frame, FrameError, Lack, Purpose, REPAIR_BYTES_MAX, Repair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::handshake::{self, HandshakeError};
use super::{Shared, dialer};
use crate::core::event::Event;

/// How long the other side may take to answer. Its core answers between two events; its disk is looked at only for a
/// checkpoint's name.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);

/// How long a caller may think before it asks again; it may fetch a checkpoint from somebody else meanwhile.
const PAUSE_MAX: Duration = Duration::from_secs(120);

/// Bytes that are read in one go.
const READ_BYTES: usize = 64 * 1024;

/// Where the entries are that this member can give.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// In the core's log.
    Core,
    /// In what can be read of a damaged folder; nowhere while it is being written.
    Damaged(Arc<Mutex<Option<Box<Damaged>>>>),
}

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// The connection broke.
    #[error("the connection broke")]
    Connection(#[from] io::Error),
    /// Nothing came for too long.
    #[error("there was no answer within {} s", ANSWER_TIME_MAX.as_secs())]
    Silent,
    /// What came is no frame.
    #[error("the answer is malformed")]
    Malformed(#[from] FrameError),
    /// A frame came that has no place here.
    #[error("something else came than an answer")]
    Unexpected,
}

/// A connection to a member that is asked.
#[derive(Debug)]
pub(crate) struct Asking {
    stream: TcpStream,
    read: BytesMut,
    /// Who answers.
    pub(crate) member: MemberId,
    /// The store that it belongs to, if it is formed.
    pub(crate) store: Option<StoreId>,
}

impl Asking {
    /// Call a member.
    pub(crate) async fn call(shared: &Shared, ordinal: Ordinal) -> Result<Asking, HandshakeError> {
        let (stream, hello, read) = dialer::connect(shared, shared.peer(ordinal), Purpose::Repair).await?;
        Ok(Asking { stream, read, member: hello.member, store: hello.store_id })
    }

    /// Ask it for the entries up to `anchor`.
    pub(crate) async fn ask(&mut self, anchor: Position, after: Index) -> Result<Repair, AskError> {
        let asked = async {
            say(&mut self.stream, Repair::Ask { anchor, after }).await?;
            hear(&mut self.stream, &mut self.read).await
        };
        match tokio::time::timeout(ANSWER_TIME_MAX, asked).await.map_err(|_| AskError::Silent)?? {
            Repair::Ask { .. } => Err(AskError::Unexpected),
            answer => Ok(answer),
        }
    }
}

/// Answer a member that repairs its log, for as long as it asks.
pub(super) async fn serve(
    shared: &Arc<Shared>,
    mut stream: TcpStream,
    mut read: BytesMut,
    to: MemberId,
    handshake: OwnedSemaphorePermit,
) -> Result<(), HandshakeError> {
    handshake::welcome(shared, &mut stream, Purpose::Repair).await?;
    drop(handshake);
    tracing::info!(%to, "a member repairs its log and asks for entries");
    while let Ok(Ok(Repair::Ask { anchor, after })) =
        tokio::time::timeout(PAUSE_MAX, hear(&mut stream, &mut read)).await
    {
        let answer = give(shared, anchor, after).await;
        let said = tokio::time::timeout(ANSWER_TIME_MAX, say(&mut stream, answer)).await;
        if !matches!(said, Ok(Ok(()))) {
            break;
        }
    }
    Ok(())
}

async fn give(shared: &Shared, anchor: Position, after: Index) -> Repair {
    let (given, newest) = match &shared.source {
        Source::Core => (ask_core(shared, anchor, after).await, None),
        Source::Damaged(damaged) => {
            let damaged = damaged.lock().unwrap_or_else(PoisonError::into_inner);
            let given = damaged.as_ref().and_then(|damaged| damaged.give(anchor, after, REPAIR_BYTES_MAX));
            let given =
                given.map_or(Given::Unsure, |(previous, entries)| Given::Entries { previous, entries });
            let Some(newest) = damaged.as_ref().map(|damaged| damaged.newest_checkpoint()) else {
                return Repair::Lacking { lack: Lack::Unsure, checkpoint: None };
            };
            (given, Some(newest))
        }
    };
    let lack = match given {
        Given::Entries { previous, entries } => return Repair::Entries { previous, entries },
        Given::Released => Lack::Released,
        Given::Never => Lack::Never,
        Given::Unsure => Lack::Unsure,
    };
    let files = shared.files.clone();
    let checkpoint = tokio::task::spawn_blocking(move || checkpoint(&files, newest)).await;
    Repair::Lacking { lack, checkpoint: checkpoint.ok().flatten().map(Box::new) }
}

async fn ask_core(shared: &Shared, anchor: Position, after: Index) -> Given {
    let (reply, answer) = oneshot::channel();
    // At most one question of each connection waits, and there are few connections.
    let asked = shared.queue.push_always(Event::LostEntries { anchor, after, reply });
    match asked {
        Ok(()) => answer.await.unwrap_or(Given::Unsure),
        Err(_) => Given::Unsure,
    }
}

/// The checkpoint that can be offered: this one, or the newest, if it is not said which one can be read.
fn checkpoint(files: &Checkpoints, which: Option<Option<Position>>) -> Option<Checkpoint> {
    let position = match which {
        Some(position) => position?,
        None => files.list().ok()?.first()?.position,
    };
    files.open(position).ok().map(|reader| reader.checkpoint())
}

async fn say(stream: &mut TcpStream, repair: Repair) -> Result<(), AskError> {
    let mut out = BytesMut::new();
    Frame::Repair(repair).encode(&mut out).expect("an answer's bytes are bounded below a frame's");
    Ok(stream.write_all(&out).await?)
}

async fn hear(stream: &mut TcpStream, read: &mut BytesMut) -> Result<Repair, AskError> {
    loop {
        match Frame::decode(read)? {
            Some(Frame::Repair(repair)) => return Ok(repair),
            Some(_) => return Err(AskError::Unexpected),
            None => {}
        }
        read.reserve(READ_BYTES);
        if stream.read_buf(read).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
    }
}
