//! What a client sends, as pieces: [`Pieces`].
//!
//! A piece is a whole block where it can be, so that its checksum on the way is the block's on every disk, and computed
//! once. Bytes that come slowly are not held back: whoever waits for them would take their sender for lost.

use std::pin::Pin;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures::StreamExt;
use holdfast_wire::files::{PIECE_BYTES_MAX, Piece};
use tokio::time::{Instant, timeout_at};

use super::buffers::Buffers;
use super::limits::BODY_STALL_MAX;
use super::upload::UploadError;
use crate::byte_stream::ByteStream;
use crate::listener::chain;

/// How long bytes wait for the rest of their block.
const FILL_TIME_MAX: Duration = Duration::from_secs(1);

/// A body, piece by piece.
pub(super) struct Pieces<'a, S> {
    body: Pin<&'a mut S>,
    /// The body has ended, well or not.
    ended: bool,
    /// Why it has ended, if not well: said after what had come.
    broken: Option<UploadError>,
    /// What came, and is in no block yet.
    came: Bytes,
    /// A block that is not whole.
    block: BytesMut,
    buffers: Buffers,
    /// When its first byte came.
    since: Instant,
}

impl<'a, S: ByteStream> Pieces<'a, S> {
    pub(super) fn of(body: Pin<&'a mut S>) -> Pieces<'a, S> {
        let (came, block, buffers) = (Bytes::new(), BytesMut::new(), Buffers::default());
        Pieces { body, ended: false, broken: None, came, block, buffers, since: Instant::now() }
    }

    /// The next piece; `None` after the last. What had come before the client broke off comes before the error.
    pub(super) async fn next(&mut self) -> Result<Option<Piece>, UploadError> {
        loop {
            if let Some(block) = self.fill() {
                return Ok(Some(Piece::new(block)));
            }
            if self.ended {
                let rest = self.rest();
                return match self.broken.take_if(|_| rest.is_none()) {
                    Some(broken) => Err(broken),
                    None => Ok(rest),
                };
            }
            let deadline = match self.block.is_empty() {
                true => Instant::now() + BODY_STALL_MAX,
                false => self.since + FILL_TIME_MAX,
            };
            match timeout_at(deadline, self.body.next()).await {
                Ok(Some(Ok(mut bytes))) => {
                    self.came = bytes.copy_to_bytes(bytes.remaining());
                    if self.block.is_empty() {
                        self.since = Instant::now();
                    }
                }
                Ok(Some(Err(error))) => {
                    self.ended = true;
                    self.broken = Some(UploadError::Body(chain(&error)));
                }
                Ok(None) => self.ended = true,
                Err(_) if self.block.is_empty() => return Err(UploadError::Stalled),
                Err(_) => return Ok(self.rest()),
            }
        }
    }

    /// Put into the block what fits; the block, if it is whole.
    fn fill(&mut self) -> Option<Bytes> {
        if self.block.is_empty() && self.came.len() >= PIECE_BYTES_MAX {
            return Some(self.came.split_to(PIECE_BYTES_MAX));
        }
        let room = PIECE_BYTES_MAX - self.block.len();
        let fits = self.came.split_to(self.came.len().min(room));
        if !fits.is_empty() {
            if self.block.is_empty() {
                self.block = self.buffers.take();
            }
            self.block.extend_from_slice(&fits);
        }
        (self.block.len() == PIECE_BYTES_MAX).then(|| std::mem::take(&mut self.block).freeze())
    }

    /// The block as it is.
    fn rest(&mut self) -> Option<Piece> {
        (!self.block.is_empty()).then(|| Piece::new(std::mem::take(&mut self.block).freeze()))
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::pin::pin;

    use futures::stream;

    use super::*;

    fn bytes(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at * 31 % 251) as u8).collect()
    }

    #[tokio::test]
    async fn what_comes_in_any_lengths_becomes_whole_blocks() {
        for length in [0, 1, PIECE_BYTES_MAX, 6 * PIECE_BYTES_MAX + 5] {
            for chunk in [1000, PIECE_BYTES_MAX - 1, PIECE_BYTES_MAX, 2 * PIECE_BYTES_MAX + 7] {
                let sent = bytes(length);
                let body = sent.chunks(chunk).map(Ok::<_, io::Error>);
                let mut body = pin!(stream::iter(body));
                let mut pieces = Pieces::of(body.as_mut());
                let mut came = Vec::new();
                while let Some(piece) = pieces.next().await.expect("no error") {
                    assert!(came.len().is_multiple_of(PIECE_BYTES_MAX), "only the last is shorter");
                    came.extend_from_slice(piece.bytes());
                }
                assert_eq!(came, sent);
                assert!(pieces.next().await.expect("no error").is_none(), "it has ended");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_slowly_is_passed_on_before_its_block_is_whole() {
        let began = Instant::now();
        let body = stream::unfold(0, async |at| {
            tokio::time::sleep(Duration::from_millis(300)).await;
            (at < 10).then(|| (Ok::<_, io::Error>(&b"ten bytes."[..]), at + 1))
        });
        let mut body = pin!(body);
        let mut pieces = Pieces::of(body.as_mut());
        let first = pieces.next().await.expect("no error").expect("a piece");
        assert!(began.elapsed() <= 2 * FILL_TIME_MAX, "{:?}", began.elapsed());
        let mut came = first.bytes().len();
        while let Some(piece) = pieces.next().await.expect("no error") {
            came += piece.bytes().len();
        }
        assert_eq!(came, 100);
    }

    #[tokio::test]
    async fn what_came_before_a_break_comes_before_the_error() {
        let mut body = pin!(stream::iter([Ok(&b"1234"[..]), Err(io::Error::other("gone")), Ok(b"5")]));
        let mut pieces = Pieces::of(body.as_mut());
        let piece = pieces.next().await.expect("no error").expect("a piece");
        assert_eq!(&piece.bytes()[..], b"1234");
        assert!(matches!(pieces.next().await, Err(UploadError::Body(_))));
        assert!(pieces.next().await.expect("said once").is_none(), "nothing is read after a break");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_sends_nothing_is_not_waited_for() {
        let mut body = pin!(stream::pending::<Result<&[u8], io::Error>>());
        let refused = Pieces::of(body.as_mut()).next().await;
        assert!(matches!(refused, Err(UploadError::Stalled)));
    }
}
