//! One download: checked bytes, from this member or another, and on from the next one when one fails on the way.
//!
//! What it refuses to do: give a byte that was not checked. When nobody has the next one, it ends early, and the client
//! sees that by the length.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures::Stream;
use holdfast_engine::{MemberId, Ordinal};
use holdfast_wire::files::Piece;
use tokio::sync::OwnedSemaphorePermit;

use super::answers::read;
use super::blobs::{Blob, BlobError};
use super::buffers::Buffers;
use super::calls::Call;
use super::limits::PLACE_TIME_MAX;
use super::records::FileRecord;
use super::{Files, Transfer, nodes};
use crate::listener::chain;
use crate::metrics::TransferResult;

/// Why nothing more can be given.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// Too many at a time.
    #[error("this member serves no more downloads at a time; try again, or another member")]
    Busy,
    /// Nobody has the next byte.
    #[error("no member that can be reached has the bytes from {at} on: {why}")]
    Nowhere { at: u64, why: String },
}

/// A download under way.
#[derive(Debug)]
pub(crate) struct Reading {
    files: Files,
    record: FileRecord,
    at: u64,
    to: u64,
    source: Option<Source>,
    buffers: Buffers,
    /// Whose bytes came last.
    giver: Ordinal,
    /// Counts against the member that it comes from.
    transfer: Option<Transfer>,
    /// Where the source began.
    began_at: u64,
    /// When it began.
    since: Instant,
    /// Who has given nothing, and why.
    failed: Vec<(Ordinal, String)>,
    _place: OwnedSemaphorePermit,
}

/// Where the next bytes are read.
#[derive(Debug)]
enum Source {
    Here(Arc<Blob>),
    There(Box<Call>),
}

impl Files {
    /// Begin to read the bytes `[from, to)` of a file. Gives the first of them at once: whoever has nothing to give is found
    /// out before anything is promised to the client.
    pub(crate) async fn read(
        &self,
        record: FileRecord,
        from: u64,
        to: u64,
    ) -> Result<(Reading, Option<Bytes>), ReadError> {
        let place = self.0.places.downloads.clone().acquire_owned();
        let Ok(Ok(place)) = tokio::time::timeout(PLACE_TIME_MAX, place).await else {
            return Err(ReadError::Busy);
        };
        let to = to.min(record.size);
        let files = self.clone();
        let mut reading = Reading {
            files,
            record,
            at: from,
            to,
            source: None,
            buffers: Buffers::default(),
            giver: self.me().ordinal,
            transfer: None,
            began_at: from,
            since: Instant::now(),
            failed: Vec::new(),
            _place: place,
        };
        let first = reading.next().await?;
        Ok((reading, first))
    }
}

impl Reading {
    /// Where the last bytes came from; this member if there were none.
    pub(crate) fn source(&self) -> Ordinal {
        self.giver
    }

    /// The next bytes; `None` after the last.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, ReadError> {
        while self.at < self.to {
            let Some(source) = &mut self.source else {
                self.begin().await?;
                continue;
            };
            let (from, read) = match source {
                Source::Here(blob) => {
                    let read = read(blob, self.at, self.to, &mut self.buffers).await;
                    (self.files.me().ordinal, read.map_err(|error| self.damaged_here(&error)))
                }
                Source::There(call) => {
                    let read = call.piece().await;
                    let read = read.map_err(|error| error.words());
                    (
                        call.member().ordinal,
                        read.and_then(|piece| piece.ok_or_else(|| "it ended early".to_owned())),
                    )
                }
            };
            match read.map(Piece::into_bytes) {
                Ok(piece) if !piece.is_empty() && piece.len() as u64 <= self.to - self.at => {
                    self.giver = from;
                    self.at += piece.len() as u64;
                    self.files.running().metrics().files.download_bytes.add(piece.len() as u64);
                    if self.at == self.to {
                        self.finish().await;
                    }
                    return Ok(Some(piece));
                }
                Ok(_) => self.give_up(from, "it gave another number of bytes".to_owned()),
                Err(why) => self.give_up(from, why),
            }
        }
        Ok(None)
    }

    /// The rest, behind what was read already.
    pub(crate) fn stream(self, first: Option<Bytes>) -> impl Stream<Item = Result<Bytes, ReadError>> + Send {
        let rest = futures::stream::unfold(Some(self), async |reading| {
            let mut reading = reading?;
            match reading.next().await {
                Ok(piece) => piece.map(|piece| (Ok(piece), Some(reading))),
                Err(error) => {
                    let (name, reason) = (&reading.record.name, chain(&error));
                    tracing::warn!(file = ?name, reason, "a download ended early");
                    Some((Err(error), None))
                }
            }
        });
        futures::StreamExt::chain(futures::stream::iter(first.map(Ok)), rest)
    }

    /// Find somebody who has the next byte: this member, or the best of the others.
    async fn begin(&mut self) -> Result<(), ReadError> {
        self.began_at = self.at;
        let me = self.files.me().ordinal;
        if !self.has_failed(me) {
            match self.files.open(self.record.digest).await {
                Ok(blob) => {
                    self.source = Some(Source::Here(blob));
                    self.transfer = Some(self.files.transfer(me));
                    return Ok(());
                }
                Err(error) => {
                    let why = self.damaged_here(&error);
                    self.give_up(me, why);
                }
            }
        }
        let holders = self.record.holders.iter().map(|&holder| MemberId::from(holder).ordinal);
        let others = holders.filter(|&ordinal| ordinal != me && !self.has_failed(ordinal));
        for ordinal in self.files.best(others) {
            let transfer = self.files.transfer(ordinal);
            match self.call(ordinal).await {
                Ok(call) => {
                    self.source = Some(Source::There(Box::new(call)));
                    self.transfer = Some(transfer);
                    return Ok(());
                }
                Err(why) => self.give_up(ordinal, why),
            }
        }
        let why = self.failed.iter().map(|(ordinal, why)| format!("{}: {why}", nodes::name(*ordinal)));
        Err(ReadError::Nowhere { at: self.at, why: why.collect::<Vec<_>>().join("; ") })
    }

    async fn call(&self, ordinal: Ordinal) -> Result<Call, String> {
        let mut call = self.files.0.calls.to(ordinal).await.map_err(|error| error.words())?;
        let size = call.begin_send(self.record.digest, self.at, self.to).await;
        match size.map_err(|error| error.words())? {
            size if size == self.record.size => Ok(call),
            size => Err(format!("its copy has {size} bytes")),
        }
    }

    /// All was read: the connection may serve the next one.
    async fn finish(&mut self) {
        if let Some(Source::There(mut call)) = self.source.take()
            && matches!(call.piece().await, Ok(None))
        {
            self.files.0.calls.keep(*call);
        }
    }

    fn has_failed(&self, ordinal: Ordinal) -> bool {
        self.failed.iter().any(|(failed, _)| *failed == ordinal)
    }

    fn give_up(&mut self, ordinal: Ordinal, why: String) {
        self.source = None;
        self.transfer = None;
        // One that broke off on the way may go on: a slow client makes everybody wait. If it has nothing more, the next try
        // shows it.
        if self.at == self.began_at || ordinal == self.files.me().ordinal {
            self.failed.push((ordinal, why));
        }
    }

    /// This member's copy cannot be read: have it made again.
    fn damaged_here(&self, error: &BlobError) -> String {
        let why = chain(error);
        match error {
            BlobError::Damaged { .. } => self.files.found_damaged(self.record.digest, why.clone()),
            BlobError::Missing if self.record.is_held_by(self.files.me()) => self.files.look_again(),
            _ => {}
        }
        why
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let result = if self.at == self.to { TransferResult::Ok } else { TransferResult::Failed };
        self.files.running().metrics().files.downloaded(result, self.since.elapsed());
    }
}
