//! Asking another member about files: [`Call`], one question at a time, and [`Calls`], which keeps connections for the next
//! question.
//!
//! What it refuses to do: wait for anybody without a limit, and try again. Whoever asks knows whom to ask next.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use holdfast_engine::{MEMBERS_MAX, MemberId, Ordinal};
use holdfast_wire::files::{Digest, PIECE_BYTES_MAX, Parcel, ParcelError, Piece, Refusal, Words};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::limits::{ANSWER_TIME_MAX, VERIFY_TIME_MAX};
use crate::peers::{FilesCall, HandshakeError, Shared};

/// Connections to one member that are kept for later. As many transfers as go there at a time at most.
const KEPT_MAX: usize = 4;

/// Why another member did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// It cannot be reached.
    #[error("cannot reach it")]
    Handshake(#[from] HandshakeError),
    /// The connection broke.
    #[error("the connection broke")]
    Connection(#[from] std::io::Error),
    /// It closed the connection.
    #[error("it closed the connection")]
    Closed,
    /// It says nothing, or takes nothing.
    #[error("it did not answer in time")]
    Silent,
    /// What came is not what members say.
    #[error("its answer was not understood")]
    Malformed(#[from] ParcelError),
    /// What came has no place here.
    #[error("it answered something else")]
    Unexpected,
    /// It says no.
    #[error("{text}")]
    Refused { why: Refusal, text: String },
}

/// A connection to another member.
#[derive(Debug)]
pub(crate) struct Call {
    call: FilesCall,
    out: BytesMut,
}

/// All connections to other members about files.
#[derive(Debug)]
pub(crate) struct Calls {
    peers: Arc<Shared>,
    kept: [Mutex<Vec<Call>>; MEMBERS_MAX],
}

impl Calls {
    pub(crate) fn new(peers: Arc<Shared>) -> Calls {
        Calls { peers, kept: Default::default() }
    }

    /// A connection to a member: one that is kept and still open, or a new one.
    pub(crate) async fn to(&self, ordinal: Ordinal) -> Result<Call, CallError> {
        while let Some(call) = self.kept(ordinal).pop() {
            if call.is_open() {
                return Ok(call);
            }
        }
        Ok(Call::new(self.peers.call_about_files(ordinal).await?))
    }

    /// The question is answered; the connection may serve for the next one.
    pub(crate) fn keep(&self, call: Call) {
        let mut kept = self.kept(call.member().ordinal);
        if kept.len() < KEPT_MAX {
            kept.push(call);
        }
    }

    /// Ask one thing that has one answer.
    pub(crate) async fn ask(&self, ordinal: Ordinal, words: Words) -> Result<(Words, MemberId), CallError> {
        let patience = match words {
            Words::Verify { .. } | Words::Recover => VERIFY_TIME_MAX,
            _ => ANSWER_TIME_MAX,
        };
        let mut call = self.to(ordinal).await?;
        call.say(&words).await?;
        let answer = call.hear_words(patience).await?;
        let member = call.member();
        self.keep(call);
        Ok((answer, member))
    }

    fn kept(&self, ordinal: Ordinal) -> std::sync::MutexGuard<'_, Vec<Call>> {
        self.kept[usize::from(ordinal.0)].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Call {
    pub(crate) fn new(call: FilesCall) -> Call {
        Call { call, out: BytesMut::new() }
    }

    /// Who is at the other end.
    pub(crate) fn member(&self) -> MemberId {
        self.call.member
    }

    /// Whether nobody has closed it, and nothing is left of an earlier answer.
    fn is_open(&self) -> bool {
        let silent = matches!(
            self.call.stream.try_read(&mut [0]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock
        );
        silent && self.call.read.is_empty()
    }

    /// Say something.
    pub(crate) async fn say(&mut self, words: &Words) -> Result<(), CallError> {
        self.out.clear();
        words.encode(&mut self.out);
        let written = tokio::time::timeout(ANSWER_TIME_MAX, self.call.stream.write_all(&self.out));
        Ok(written.await.map_err(|_| CallError::Silent)??)
    }

    /// Send a piece of a file.
    pub(crate) async fn send(&mut self, piece: &Piece) -> Result<(), CallError> {
        let head = piece.head();
        let mut both = Buf::chain(&head[..], &piece.bytes()[..]);
        let written = tokio::time::timeout(ANSWER_TIME_MAX, self.call.stream.write_all_buf(&mut both));
        Ok(written.await.map_err(|_| CallError::Silent)??)
    }

    /// What the other side says next; a refusal is an error.
    pub(crate) async fn hear(&mut self, patience: Duration) -> Result<Parcel, CallError> {
        match tokio::time::timeout(patience, self.next()).await {
            Err(_) => Err(CallError::Silent),
            Ok(Ok(Parcel::Words(Words::Refused { why, text }))) => Err(CallError::Refused { why, text }),
            Ok(heard) => heard,
        }
    }

    /// As [`Call::hear`], where no piece has a place.
    pub(crate) async fn hear_words(&mut self, patience: Duration) -> Result<Words, CallError> {
        match self.hear(patience).await? {
            Parcel::Words(words) => Ok(words),
            Parcel::Piece(_) => Err(CallError::Unexpected),
        }
    }

    async fn next(&mut self) -> Result<Parcel, CallError> {
        let FilesCall { stream, read, .. } = &mut self.call;
        loop {
            if let Some(parcel) = Parcel::decode(read)? {
                return Ok(parcel);
            }
            read.reserve(PIECE_BYTES_MAX + 16);
            if stream.read_buf(read).await? == 0 {
                return Err(CallError::Closed);
            }
        }
    }

    /// Ask for the bytes `[from, to)` of a file; how long all of it is. Pieces follow, see [`Call::piece`].
    pub(crate) async fn begin_send(&mut self, digest: Digest, from: u64, to: u64) -> Result<u64, CallError> {
        self.say(&Words::Send { digest, from, to }).await?;
        match self.hear_words(ANSWER_TIME_MAX).await? {
            Words::Here { size } => Ok(size),
            _ => Err(CallError::Unexpected),
        }
    }

    /// Why the other side takes no more: what it says of it, or how sending to it failed.
    pub(crate) async fn why_not(&mut self, patience: Duration, failed: CallError) -> CallError {
        match self.hear_words(patience).await {
            Err(said @ CallError::Refused { .. }) => said,
            _ => failed,
        }
    }

    /// The next piece of what was asked for; `None` after the last.
    pub(crate) async fn piece(&mut self) -> Result<Option<Piece>, CallError> {
        match self.hear(ANSWER_TIME_MAX).await? {
            Parcel::Piece(piece) => Ok(Some(piece)),
            Parcel::Words(Words::Done) => Ok(None),
            Parcel::Words(_) => Err(CallError::Unexpected),
        }
    }
}

impl CallError {
    /// In one line, with its causes.
    pub(crate) fn words(&self) -> String {
        crate::listener::chain(self)
    }
}
