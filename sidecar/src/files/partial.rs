//! Uploads in parts: what has come of a file stays on the member that took it, until the rest has come or nobody sends it.
//!
//! A part is appended where the last one ended, and nowhere else. When all of it is here it goes the way of every upload.
//! What this refuses to do: pass parts on to other members, and keep them for ever.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::Stream;
use holdfast_wire::files::PIECE_BYTES_MAX;
use tokio::sync::mpsc;

use super::Files;
use super::blobs::{BlobError, Blobs, Flushing, to_hex};
use super::limits::{PARTIAL_TIME, PARTIALS_MAX};
use super::pieces::Pieces;
use super::records::hash;
use super::upload::{UploadError, Uploaded, Wish};
use super::writing::PIECES_MAX;
use crate::byte_stream::ByteStream;

/// What such files are called, behind a hash.
const PARTIAL: &str = ".partial";

/// The uploads in parts that somebody works on.
#[derive(Debug, Default)]
pub(super) struct Partials {
    active: Arc<Mutex<HashSet<PathBuf>>>,
}

/// One upload in parts, while somebody works on it.
#[derive(Debug)]
struct Partial {
    path: PathBuf,
    active: Arc<Mutex<HashSet<PathBuf>>>,
}

/// How far an upload in parts has come.
#[derive(Debug)]
pub(crate) enum Progress {
    /// So many bytes are here; the next part begins with the one after them.
    Received(u64),
    /// All of it.
    Uploaded(Box<Uploaded>),
}

impl Files {
    /// Take a part of a file of `size` bytes in all, which begins at `from`; `None` only asks. Bytes that came before the
    /// client broke off stay.
    pub(crate) async fn part(
        &self,
        wish: Wish,
        size: u64,
        from: Option<u64>,
        body: impl ByteStream,
    ) -> Result<Progress, UploadError> {
        super::upload::check_size(Some(size))?;
        let partial = self.0.partials.take(&self.0.blobs, &wish.name, size)?;
        let received = partial.received();
        let received = match from {
            None => received,
            Some(from) if from != received => return Err(UploadError::Offset { received }),
            Some(_) => {
                self.0.blobs.check_room(size - received)?;
                partial.append(size - received, body).await?
            }
        };
        if received < size {
            return Ok(Progress::Received(received));
        }
        let wish = Wish { size: Some(size), ..wish };
        let uploaded = self.upload(wish, pieces(partial.path.clone())).await;
        // What came is not what was named: the client has to begin anew.
        if matches!(uploaded, Ok(_) | Err(UploadError::Mismatch(_) | UploadError::Exists(_))) {
            partial.remove();
        }
        Ok(Progress::Uploaded(Box::new(uploaded?)))
    }

    /// Remove what nobody has sent anything to for long.
    pub(super) fn remove_old_partials(&self) {
        let Ok(listed) = listed(&self.0.blobs) else { return };
        for path in listed {
            let old = fs::metadata(&path)
                .and_then(|data| data.modified())
                .is_ok_and(|modified| modified.elapsed().is_ok_and(|since| since > PARTIAL_TIME));
            if old {
                let _ = fs::remove_file(path);
            }
        }
    }
}

impl Partials {
    /// Work on the upload of `size` bytes by this name; nobody else does at the same time.
    fn take(&self, blobs: &Blobs, name: &str, size: u64) -> Result<Partial, UploadError> {
        let path = blobs.folder().join(format!("{}{PARTIAL}", to_hex(&hash(&format!("{size} {name}")))));
        if !path.is_file() && listed(blobs)?.len() >= PARTIALS_MAX {
            return Err(UploadError::Busy);
        }
        let inserted = self.active.lock().unwrap_or_else(PoisonError::into_inner).insert(path.clone());
        if inserted { Ok(Partial { path, active: self.active.clone() }) } else { Err(UploadError::Busy) }
    }
}

impl Partial {
    fn received(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |data| data.len())
    }

    fn remove(&self) {
        let _ = fs::remove_file(&self.path);
    }

    /// Append what comes, at most so many bytes; how many there are then.
    async fn append(&self, bytes_max: u64, body: impl ByteStream) -> Result<u64, UploadError> {
        let fail = |path: PathBuf| move |source| BlobError::Io { action: "append to", path, source };
        let file = OpenOptions::new().append(true).create(true).open(&self.path);
        let mut file = file.map_err(fail(self.path.clone()))?;
        let (sender, mut waiting) = mpsc::channel::<Bytes>(PIECES_MAX);
        let written = tokio::task::spawn_blocking(move || {
            let mut flushing = Flushing::default();
            while let Some(piece) = waiting.blocking_recv() {
                file.write_all(&piece)?;
                flushing.wrote(&file, piece.len())?;
            }
            flushing.end()?;
            file.sync_all()
        });
        let mut body = std::pin::pin!(body);
        let mut pieces = Pieces::of(body.as_mut());
        let mut left = bytes_max;
        let mut broken = None;
        while broken.is_none() {
            let mut piece = match pieces.next().await {
                Ok(Some(piece)) => piece.into_bytes(),
                Ok(None) => break,
                Err(error) => {
                    broken = Some(error);
                    break;
                }
            };
            if piece.len() as u64 > left {
                piece.truncate(left as usize);
                broken = Some(UploadError::Mismatch("more came than the file is to have".to_owned()));
            }
            left -= piece.len() as u64;
            if sender.send(piece).await.is_err() {
                break; // the disk says why
            }
        }
        drop(sender);
        written.await.map_err(|_| BlobError::Stopping)?.map_err(fail(self.path.clone()))?;
        broken.map_or(Ok(self.received()), Err)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        self.active.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.path);
    }
}

fn listed(blobs: &Blobs) -> Result<Vec<PathBuf>, BlobError> {
    let fail = |source| BlobError::Io { action: "list", path: blobs.folder().to_owned(), source };
    let entries = fs::read_dir(blobs.folder()).map_err(fail)?;
    let paths = entries.filter_map(Result::ok).map(|entry| entry.path());
    Ok(paths.filter(|path| path.to_string_lossy().ends_with(PARTIAL)).collect())
}

/// A file's bytes, read on a thread of its own.
fn pieces(path: PathBuf) -> impl Stream<Item = io::Result<Bytes>> {
    let (sender, mut receiver) = mpsc::channel(PIECES_MAX);
    tokio::task::spawn_blocking(move || {
        let read = || -> io::Result<()> {
            let mut file = File::open(&path)?;
            loop {
                let mut piece = vec![0; PIECE_BYTES_MAX];
                let length = file.read(&mut piece)?;
                piece.truncate(length);
                // Whoever takes no more has an answer.
                if length == 0 || sender.blocking_send(Ok(piece.into())).is_err() {
                    return Ok(());
                }
            }
        };
        if let Err(error) = read() {
            let _ = sender.blocking_send(Err(error));
        }
    });
    futures::stream::poll_fn(move |task| receiver.poll_recv(task))
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;

    use super::*;

    #[tokio::test]
    async fn parts_are_put_together_and_what_came_before_a_break_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let blobs = Blobs::open(folder.path().join("files")).expect("a folder");
        let partials = Partials::default();
        let partial = partials.take(&blobs, "a", 10).expect("nobody works on it");
        assert!(matches!(partials.take(&blobs, "a", 10), Err(UploadError::Busy)));
        let broken = [Ok(&b"1234"[..]), Err(io::Error::other("gone"))];
        let result = partial.append(10, futures::stream::iter(broken)).await;
        assert!(matches!(result, Err(UploadError::Body(_))), "{result:?}");
        assert_eq!(partial.received(), 4);
        let rest = [Ok::<_, io::Error>(&b"567890x"[..])];
        let result = partial.append(6, futures::stream::iter(rest)).await;
        assert!(matches!(result, Err(UploadError::Mismatch(_))), "{result:?}");
        let read: Vec<Bytes> =
            pieces(partial.path.clone()).map(|piece| piece.expect("readable")).collect().await;
        assert_eq!(read.concat(), b"1234567890");
        drop(partial);
        // A start forgets what was half written, but not what somebody may go on with.
        let blobs = Blobs::open(folder.path().join("files")).expect("a folder");
        assert_eq!(partials.take(&blobs, "a", 10).expect("it is free again").received(), 10);
        assert_eq!(partials.take(&blobs, "a", 11).expect("another").received(), 0);
    }
}
