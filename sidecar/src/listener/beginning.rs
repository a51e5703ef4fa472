//! Which protocol a connection speaks, by its first byte, and the connection as if nobody had looked.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use holdfast_wire::native::FIRST_BYTE;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use crate::native::stream::Stream;

/// Bytes that are read to see how a connection begins: the head of most requests.
const LOOK_BYTES: usize = 1024;

/// A connection whose first bytes were read already.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) stream: Stream,
    pub(super) read: BytesMut,
}

impl Begun {
    /// Wait for the first bytes; `None` if the client closes without any.
    pub(super) async fn look(mut stream: Stream) -> io::Result<Option<Begun>> {
        let mut read = BytesMut::with_capacity(LOOK_BYTES);
        let bytes = stream.read_buf(&mut read).await?;
        Ok((bytes > 0).then_some(Begun { stream, read }))
    }

    /// Whether the client speaks the binary protocol.
    pub(super) fn is_native(&self) -> bool {
        self.read.first() == Some(&FIRST_BYTE)
    }
}

impl AsyncRead for Begun {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, into);
        }
        let bytes = self.read.len().min(into.remaining());
        into.put_slice(&self.read[..bytes]);
        self.read.advance(bytes);
        if self.read.is_empty() {
            self.read = BytesMut::new(); // nothing is read ahead any more
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Begun {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::UnixStream;

    use super::*;

    async fn begun(sent: &[u8]) -> Option<Begun> {
        let (mut client, server) = UnixStream::pair().expect("a pair of sockets");
        client.write_all(sent).await.expect("room");
        drop(client);
        Begun::look(Stream::Unix(server)).await.expect("no error")
    }

    #[tokio::test]
    async fn what_was_looked_at_is_read_once_more() {
        let sent: Vec<u8> = (0..5000).map(|n| (n % 128) as u8).collect();
        let mut begun = begun(&sent).await.expect("bytes");
        assert!(!begun.is_native());
        let mut read = Vec::new();
        begun.read_to_end(&mut read).await.expect("no error");
        assert_eq!(read, sent);
    }

    #[tokio::test]
    async fn the_first_byte_decides() {
        assert!(begun(&[FIRST_BYTE]).await.expect("a byte").is_native());
        assert!(!begun(b"GET").await.expect("bytes").is_native());
        assert!(begun(b"").await.is_none());
    }
}
