//! What other members are answered about files.
//!
//! What it refuses to do: believe what a piece or a name says. Bytes are kept under the digest that they have, and given
//! only when they have been checked.

use std::convert::Infallible;
use std::sync::Arc;

use holdfast_wire::files::{Digest, Parcel, Piece, Refusal, Words};
use tokio::sync::{Semaphore, mpsc};

use super::Files;
use super::blobs::{Blob, BlobError};
use super::buffers::Buffers;
use super::calls::{Call, CallError};
use super::limits::{ANSWER_TIME_MAX, IDLE_TIME_MAX, PROMISE_TIME};
use super::writing::{Writing, keep};

/// Calls that wait to be taken: they are, at once.
const WAITING_MAX: usize = 16;

/// Connections of other members: what all of them keep open, with room.
const CONNECTIONS_MAX: usize = 256;

/// Answer other members for ever.
pub(super) async fn answer_callers(files: Files) {
    let (sender, mut calls) = mpsc::channel(WAITING_MAX);
    files.0.peers.answer_about_files(sender);
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut answering = tokio::task::JoinSet::new();
    while let Some(call) = calls.recv().await {
        while answering.try_join_next().is_some() {}
        // One connection too many is closed; its caller sees that at once.
        let Ok(place) = connections.clone().try_acquire_owned() else { continue };
        let files = files.clone();
        answering.spawn(async move {
            let _place = place;
            let mut call = Call::new(call);
            if let Err(error) = answer(&files, &mut call).await
                && !matches!(error, CallError::Closed | CallError::Silent)
            {
                tracing::debug!(from = %call.member(), reason = error.words(), "a call about files broke");
            }
        });
    }
}

/// Answer one caller until it closes.
async fn answer(files: &Files, call: &mut Call) -> Result<Infallible, CallError> {
    loop {
        let words = call.hear_words(IDLE_TIME_MAX).await?;
        let Ok(_place) = files.0.places.calls.clone().try_acquire_owned() else {
            refuse(call, Refusal::Busy, "it has too many transfers under way").await?;
            return Err(CallError::Closed); // pieces may follow
        };
        match words {
            Words::Keep { upload, size } => keep_what_follows(files, call, upload, size).await?,
            Words::Send { digest, from, to } => send(files, call, digest, from, to).await?,
            Words::Verify { digest } => match files.verify(digest).await {
                Ok(size) => call.say(&Words::Here { size }).await?,
                Err(error) => refuse_blob(files, call, &digest, &error).await?,
            },
            Words::Forget { digest, upload } => match files.forget(digest, Some(upload)).await {
                Ok(_) => call.say(&Words::Done).await?,
                Err(error) => refuse(call, Refusal::Failed, &error.to_string()).await?,
            },
            Words::Recover => match files.recover_now().await {
                Ok(round) => {
                    let (total, success, failed) = (round.total, round.success, round.failed);
                    call.say(&Words::Recovered { total, success, failed }).await?;
                }
                Err(error) => refuse(call, Refusal::Failed, &error.to_string()).await?,
            },
            Words::Take(upload) => files.take(call, *upload).await?,
            Words::Ask => call.say(&files.am()).await?,
            _ => return Err(CallError::Unexpected),
        }
    }
}

async fn keep_what_follows(
    files: &Files,
    call: &mut Call,
    upload: u128,
    size: Option<u64>,
) -> Result<(), CallError> {
    let writing = Writing::begin(&files.0.blobs, size);
    let (digest, size) = loop {
        match call.hear(super::limits::BODY_STALL_MAX + ANSWER_TIME_MAX).await? {
            Parcel::Piece(piece) => {
                if writing.piece(piece).await.is_err() {
                    let error = writing.complete().await.err().unwrap_or(BlobError::Stopping);
                    refuse(call, refusal(&error), &words(&error)).await?;
                    return Err(CallError::Closed); // pieces follow
                }
            }
            Parcel::Words(Words::End { size, digest }) => break (digest, size),
            Parcel::Words(_) => return Err(CallError::Unexpected),
        }
    };
    match files.keep_written(writing, digest, size, upload).await {
        Ok(()) => call.say(&Words::Kept).await,
        Err(error) => refuse(call, refusal(&error), &words(&error)).await,
    }
}

async fn send(files: &Files, call: &mut Call, digest: Digest, from: u64, to: u64) -> Result<(), CallError> {
    let blob = match files.open(digest).await {
        Ok(blob) => blob,
        Err(error) => return refuse_blob(files, call, &digest, &error).await,
    };
    let (mut at, to, mut buffers) = (from, to.min(blob.size()), Buffers::default());
    call.say(&Words::Here { size: blob.size() }).await?;
    while at < to {
        match read(&blob, at, to, &mut buffers).await {
            Ok(piece) => {
                call.send(&piece).await?;
                at += piece.bytes().len() as u64;
            }
            Err(error) => return refuse_blob(files, call, &digest, &error).await,
        }
    }
    call.say(&Words::Done).await
}

/// Read some of a file where waiting for the disk holds nobody up.
pub(super) async fn read(
    blob: &Arc<Blob>,
    at: u64,
    to: u64,
    buffers: &mut Buffers,
) -> Result<Piece, BlobError> {
    let (blob, mut taken) = (blob.clone(), std::mem::take(buffers));
    let reading = tokio::task::spawn_blocking(move || (blob.read(at, to, &mut taken), taken));
    let (read, given_back) = reading.await.map_err(|_| BlobError::Stopping)?;
    *buffers = given_back;
    read
}

/// Say why a file is not given; if it is damaged, have it repaired.
async fn refuse_blob(
    files: &Files,
    call: &mut Call,
    digest: &Digest,
    error: &BlobError,
) -> Result<(), CallError> {
    if matches!(error, BlobError::Damaged { .. }) {
        files.found_damaged(*digest, words(error));
    }
    refuse(call, refusal(error), &words(error)).await
}

pub(super) async fn refuse(call: &mut Call, why: Refusal, text: &str) -> Result<(), CallError> {
    call.say(&Words::Refused { why, text: text.to_owned() }).await
}

pub(super) fn refusal(error: &BlobError) -> Refusal {
    match error {
        BlobError::Missing => Refusal::Missing,
        BlobError::Damaged { .. } => Refusal::Damaged,
        BlobError::Mismatch(_) => Refusal::Mismatch,
        BlobError::Full { .. } => Refusal::DiskFull,
        BlobError::TooLarge { .. } => Refusal::TooLarge,
        BlobError::Stopping => Refusal::Busy,
        BlobError::Io { .. } => Refusal::Failed,
    }
}

fn words(error: &BlobError) -> String {
    crate::listener::chain(error)
}

impl Files {
    /// How this member is.
    fn am(&self) -> Words {
        let own = &self.0.transfers[usize::from(self.0.me.ordinal.0)];
        Words::Am {
            client_port: self.0.options.client_port,
            transfers: own.load(std::sync::atomic::Ordering::Relaxed),
            free_bytes: self.0.blobs.free().map_or(0, |(free, kept)| free.saturating_sub(kept)),
        }
    }

    /// Open a file of this member.
    pub(super) async fn open(&self, digest: Digest) -> Result<Arc<Blob>, BlobError> {
        let blobs = self.0.blobs.clone();
        let opened = tokio::task::spawn_blocking(move || blobs.get(&digest).map(Arc::new)).await;
        opened.unwrap_or(Err(BlobError::Stopping))
    }

    /// Read all of a file of this member; how long it is, if it is whole.
    pub(super) async fn verify(&self, digest: Digest) -> Result<u64, BlobError> {
        let blob = self.open(digest).await?;
        let verified = tokio::task::spawn_blocking(move || blob.verify().map(|()| blob.size())).await;
        verified.unwrap_or(Err(BlobError::Stopping))
    }

    /// Make what was written durable, if it is what was named; from then on it is promised to the upload.
    pub(super) async fn keep_written(
        &self,
        writing: Writing,
        digest: Digest,
        size: u64,
        upload: u128,
    ) -> Result<(), BlobError> {
        let complete = writing.complete().await?;
        self.0.promises.give(digest, upload, PROMISE_TIME);
        keep(complete, digest, size).await?;
        // Flushing may have taken a while.
        self.0.promises.give(digest, upload, PROMISE_TIME);
        Ok(())
    }
}
