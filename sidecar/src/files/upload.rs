//! One upload: bytes to this member's disk and to the other members at once, then the record.
//!
//! Every piece is in memory once, however many members it goes to. A member that is down, breaks off, or keeps the others
//! waiting is left out and gets its copy by the queue. What this refuses to do: count a copy that its member has not
//! checked and flushed, and leave anything behind when it fails.

use std::time::{Duration, Instant};

use holdfast_api::WriteConcern as Wished;
use holdfast_engine::{MemberId, Ordinal, WriteConcern};
use holdfast_wire::files::{Digest, Refusal, Words};
use tokio::sync::OwnedSemaphorePermit;

use super::Files;
use super::blobs::{BlobError, to_hex};
use super::branch::Branch;
use super::calls::CallError;
use super::catalogue::{CatalogueError, Change};
use super::limits::{
    BODY_STALL_MAX, FILE_BYTES_MAX, FILES_MAX, PLACE_TIME_MAX, PROMISE_TIME, QUEUE_ITEMS_MAX,
};
use super::nodes;
use super::pieces::Pieces;
use super::records::{FileRecord, QueueItem, now_ms};
use super::writing::{Writing, keep};
use crate::byte_stream::ByteStream;
use crate::listener::chain;
use crate::metrics::TransferResult;

/// What a client wants to upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    /// What it is to be called.
    pub(crate) name: String,
    /// What it was called where it comes from.
    pub(crate) original: String,
    /// How long it is, if the client says so.
    pub(crate) size: Option<u64>,
    /// On how many members it is to be; `None` for all.
    pub(crate) replicas: Option<u8>,
    /// How many must have it before it is acknowledged; `None` for the store's own concern.
    pub(crate) concern: Option<Wished>,
    /// What it is, if the client says so.
    pub(crate) digest: Option<Digest>,
    /// Only if there is no such file.
    pub(crate) only_if_absent: bool,
}

/// A file that was uploaded.
#[derive(Debug)]
pub(crate) struct Uploaded {
    /// What it is.
    pub(crate) kept: Kept,
    /// Of every member that was to have it: whether it has, or why not.
    pub(crate) copies: Vec<(Ordinal, Result<(), String>)>,
}

/// An upload that may begin: nothing of its body was read yet.
#[derive(Debug)]
pub(crate) struct Admitted {
    /// The members of the store.
    members: usize,
    /// Who is to have it, this member first.
    targets: Vec<Ordinal>,
    /// The upload's number.
    generation: u128,
    _place: OwnedSemaphorePermit,
}

/// The bytes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

/// Why there is no such file now.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UploadError {
    /// Too many at a time.
    #[error("this member takes no more uploads at a time; try again, or another member")]
    Busy,
    /// The client broke off, or sent what cannot be read.
    #[error("the body could not be read: {0}")]
    Body(String),
    /// The client sends nothing.
    #[error("nothing came for {} s", BODY_STALL_MAX.as_secs())]
    Stalled,
    /// What came is not what the client said.
    #[error("{0}")]
    Mismatch(String),
    /// The part does not begin where the last one ended.
    #[error("{received} bytes of it are here; the next part begins with the one after them")]
    Offset { received: u64 },
    /// There is a file of this name.
    #[error("there is a file of this name, with SHA-256 {}", to_hex(.0))]
    Exists(Digest),
    /// There are as many files as there may be.
    #[error("the store has {FILES_MAX} files, which is the most; delete some")]
    TooMany,
    /// It cannot be on so many members.
    #[error("{asked} copies are asked for, and the store has {members} members")]
    Replicas { asked: u8, members: usize },
    /// This member cannot keep it.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// Not enough members have it.
    #[error("{have} members have it, and the write concern asks for {need}: {why}")]
    TooFew { have: usize, need: usize, why: String },
    /// The member that it was passed on to does not take it, or did not say what became of it.
    #[error("{text}")]
    Passed { why: Refusal, text: String },
    /// No member takes it.
    #[error("no available nodes: {0}")]
    Nobody(String),
    /// The record could not be written.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
}

/// One upload's number.
pub(crate) fn draw() -> u128 {
    u128::from(crate::peers::random()) << 64 | u128::from(crate::peers::random())
}

impl Files {
    /// Take an upload.
    pub(crate) async fn upload(&self, wish: Wish, body: impl ByteStream) -> Result<Uploaded, UploadError> {
        let admitted = self.admit(&wish, PLACE_TIME_MAX).await?;
        self.upload_admitted(admitted, wish, body).await
    }

    /// Whether an upload may begin here, within `patience` if others have to end first. Nothing of its body is needed to tell.
    pub(super) async fn admit(&self, wish: &Wish, patience: Duration) -> Result<Admitted, UploadError> {
        let (members, generation) = (self.members(), draw());
        let targets = self.placement(&members, wish, generation)?;
        self.0.blobs.check_room(wish.size.unwrap_or(0))?;
        if self.0.counted.load(std::sync::atomic::Ordering::Relaxed) >= FILES_MAX {
            return Err(UploadError::TooMany);
        }
        if wish.only_if_absent
            && let Some(found) = self.catalogue().get(&wish.name).await?
        {
            return Err(UploadError::Exists(found.record.digest));
        }
        Ok(Admitted { members: members.len(), targets, generation, _place: self.place(patience).await? })
    }

    /// Take an upload that may begin.
    pub(super) async fn upload_admitted(
        &self,
        admitted: Admitted,
        wish: Wish,
        body: impl ByteStream,
    ) -> Result<Uploaded, UploadError> {
        let began = Instant::now();
        let uploaded = self.take_body(admitted, wish, body).await;
        let metrics = &self.running().metrics().files;
        let result = match &uploaded {
            Ok(uploaded) => {
                metrics.upload_bytes.add(uploaded.kept.size);
                TransferResult::Ok
            }
            Err(_) => TransferResult::Failed,
        };
        metrics.uploaded(result, began.elapsed());
        uploaded
    }

    async fn take_body(
        &self,
        admitted: Admitted,
        wish: Wish,
        body: impl ByteStream,
    ) -> Result<Uploaded, UploadError> {
        let Admitted { members, ref targets, generation, _place } = admitted;
        let _transfer = self.transfer(self.me().ordinal);
        let mut branches: Vec<Branch> = targets
            .iter()
            .filter(|&&target| target != self.me().ordinal)
            .map(|&target| Branch::begin(self, target, generation, wish.size))
            .collect();
        let writing = Writing::begin(&self.0.blobs, wish.size);
        let complete = self.receive(writing, &wish, &mut branches, body).await?;
        let kept = Kept { digest: complete.digest(), size: complete.size() };
        self.0.promises.give(kept.digest, generation, PROMISE_TIME);
        let ends = branches.into_iter().map(|branch| branch.end(kept));
        let (here, there) =
            tokio::join!(keep(complete, kept.digest, kept.size), futures::future::join_all(ends));
        here?;
        self.0.promises.give(kept.digest, generation, PROMISE_TIME);
        let result = self.record(&wish, targets, members, generation, kept, there).await;
        if result.is_err() {
            // What came to be here without a record is nobody's.
            self.forget_everywhere(kept.digest, generation);
        }
        result
    }

    /// Keep bytes on this member alone, without a record: somebody registers them soon.
    pub(crate) async fn keep_here(
        &self,
        size: Option<u64>,
        body: impl ByteStream,
    ) -> Result<Kept, UploadError> {
        let _place = self.place(PLACE_TIME_MAX).await?;
        let writing = Writing::begin(&self.0.blobs, size);
        let wish = Wish {
            name: String::new(),
            original: String::new(),
            size,
            replicas: None,
            concern: None,
            digest: None,
            only_if_absent: false,
        };
        let complete = self.receive(writing, &wish, &mut [], body).await?;
        let kept = Kept { digest: complete.digest(), size: complete.size() };
        self.0.promises.give(kept.digest, draw(), super::limits::REGISTER_TIME);
        keep(complete, kept.digest, kept.size).await?;
        Ok(kept)
    }

    async fn place(&self, patience: Duration) -> Result<OwnedSemaphorePermit, UploadError> {
        let place = self.0.places.uploads.clone().acquire_owned();
        match tokio::time::timeout(patience, place).await {
            Ok(Ok(place)) => Ok(place),
            _ => Err(UploadError::Busy),
        }
    }

    /// The members that are to have a file: all, or this one and the best of the others.
    fn placement(&self, members: &[Ordinal], wish: &Wish, lot: u128) -> Result<Vec<Ordinal>, UploadError> {
        let me = self.me().ordinal;
        let others = || members.iter().copied().filter(move |&ordinal| ordinal != me);
        let Some(replicas) = wish.replicas else { return Ok([me].into_iter().chain(others()).collect()) };
        if replicas == 0 || usize::from(replicas) > members.len() {
            return Err(UploadError::Replicas { asked: replicas, members: members.len() });
        }
        let homes = self.homes(others(), wish.size.unwrap_or(0), lot);
        Ok([me].into_iter().chain(homes).take(replicas.into()).collect())
    }

    /// Bytes as they come, to the disk and to the others.
    async fn receive(
        &self,
        writing: Writing,
        wish: &Wish,
        branches: &mut [Branch],
        body: impl ByteStream,
    ) -> Result<super::blobs::Complete, UploadError> {
        let mut body = std::pin::pin!(body);
        let mut pieces = Pieces::of(body.as_mut());
        let mut stopped = false;
        while !stopped && let Some(piece) = pieces.next().await? {
            for branch in &mut *branches {
                branch.piece(&piece).await;
            }
            stopped = writing.piece(piece).await.is_err();
        }
        let complete = writing.complete().await?;
        let said = wish.size.is_none_or(|size| size == complete.size());
        if stopped || !said {
            return Err(UploadError::Mismatch(format!(
                "{} bytes came, and not as many as were named",
                complete.size()
            )));
        }
        match wish.digest {
            Some(digest) if digest != complete.digest() => Err(UploadError::Mismatch(format!(
                "what came has SHA-256 {}, not {}",
                to_hex(&complete.digest()),
                to_hex(&digest)
            ))),
            _ => Ok(complete),
        }
    }

    /// Write down who has it.
    async fn record(
        &self,
        wish: &Wish,
        targets: &[Ordinal],
        members: usize,
        generation: u128,
        kept: Kept,
        there: Vec<(Ordinal, Result<MemberId, String>)>,
    ) -> Result<Uploaded, UploadError> {
        let concern = wish.concern.unwrap_or(self.0.running.settings().write_concern);
        let need = needed(concern, members).min(targets.len());
        let have = 1 + there.iter().filter(|(_, result)| result.is_ok()).count();
        if have < need {
            let why = there.iter().filter_map(|(ordinal, result)| {
                result.as_ref().err().map(|why| format!("{}: {why}", nodes::name(*ordinal)))
            });
            return Err(UploadError::TooFew { have, need, why: why.collect::<Vec<_>>().join("; ") });
        }
        let mut record = FileRecord {
            name: wish.name.clone(),
            original: wish.original.clone(),
            size: kept.size,
            digest: kept.digest,
            uploaded_ms: now_ms(),
            generation,
            wanted: Vec::new(),
            holders: vec![self.me().into()],
        };
        if wish.replicas.is_some() {
            record.wanted = targets.iter().map(|target| target.0).collect();
        }
        there.iter().filter_map(|(_, result)| result.as_ref().ok()).for_each(|&held| record.add_holder(held));
        let me = self.me().ordinal;
        let missing: Vec<QueueItem> = there
            .iter()
            .filter_map(|(ordinal, result)| {
                result
                    .as_ref()
                    .err()
                    .map(|why| QueueItem::new(&wish.name, *ordinal, Some(me), Some(why.clone())))
            })
            .collect();
        let replaced = self.put_record(wish.only_if_absent, &record, missing).await?;
        if let Some(replaced) = replaced.filter(|replaced| replaced.digest != kept.digest) {
            self.forget_everywhere(replaced.digest, replaced.generation);
        }
        self.0.counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let others = there.into_iter().map(|(ordinal, result)| (ordinal, result.map(|_| ())));
        Ok(Uploaded { kept, copies: [(me, Ok(()))].into_iter().chain(others).collect() })
    }

    /// Write the record of a file that a member has already.
    pub(crate) async fn register(
        &self,
        record: &FileRecord,
        missing: Vec<QueueItem>,
    ) -> Result<(), UploadError> {
        let replaced = self.put_record(false, record, missing).await?;
        if let Some(replaced) = replaced.filter(|replaced| replaced.digest != record.digest) {
            self.forget_everywhere(replaced.digest, replaced.generation);
        }
        Ok(())
    }

    /// Have a member read a file from its beginning to its end; how long it is, and which life of the member has it.
    pub(crate) async fn verify_at(
        &self,
        ordinal: Ordinal,
        digest: Digest,
    ) -> Result<(u64, MemberId), String> {
        if ordinal == self.me().ordinal {
            let size = self.verify(digest).await.map_err(|error| chain(&error))?;
            return Ok((size, self.me()));
        }
        match self.0.calls.ask(ordinal, Words::Verify { digest }).await.map_err(|error| error.words())? {
            (Words::Here { size }, member) => Ok((size, member)),
            _ => Err(CallError::Unexpected.words()),
        }
    }

    /// Write a new record, with items for what is missing; the record that was there before.
    pub(super) async fn put_record(
        &self,
        only_if_absent: bool,
        record: &FileRecord,
        missing: Vec<QueueItem>,
    ) -> Result<Option<FileRecord>, UploadError> {
        let room = missing.is_empty() || self.catalogue().queue_length().await? < QUEUE_ITEMS_MAX as u64;
        let (mut replaced, mut exists) = (None, None);
        let decide = |before: Option<&FileRecord>| {
            // An earlier try of this very change may have been done.
            if before.is_some_and(|before| before.generation == record.generation) {
                exists = None;
                return None;
            }
            exists = before.filter(|_| only_if_absent).map(|before| before.digest);
            replaced = before.cloned();
            let holders = record.holders.iter().map(|holder| Ordinal(holder.ordinal));
            exists.is_none().then(|| Change {
                record: Some(record.clone()),
                items: if room { missing.clone() } else { Vec::new() },
                done: holders.collect(),
            })
        };
        self.catalogue().change(&record.name, WriteConcern::Majority, decide).await?;
        match exists {
            Some(digest) => Err(UploadError::Exists(digest)),
            None => Ok(replaced),
        }
    }
}

/// On how many members a concern asks for a file to be.
pub(crate) fn needed(concern: Wished, members: usize) -> usize {
    match concern {
        Wished::Members(k) => usize::from(k),
        Wished::Majority => members / 2 + 1,
        Wished::All => members,
    }
}

/// Whether a size is one that a file may have.
pub(crate) fn check_size(size: Option<u64>) -> Result<(), UploadError> {
    match size {
        Some(size) if size > FILE_BYTES_MAX => Err(BlobError::TooLarge { max: FILE_BYTES_MAX }.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_concern_is_a_number_of_copies() {
        assert_eq!(needed(Wished::Members(2), 3), 2);
        assert_eq!((needed(Wished::Majority, 3), needed(Wished::Majority, 1)), (2, 1));
        assert_eq!(needed(Wished::All, 3), 3);
    }
}
