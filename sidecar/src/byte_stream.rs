//! Bytes as they come: [`ByteStream`].

use bytes::Buf;
use futures::Stream;

/// Pieces of bytes that may break off: the body of a request, or what another member passes on.
pub(crate) trait ByteStream: Stream<Item = Result<Self::Piece, Self::Error>> {
    /// The next bytes.
    type Piece: Buf;
    /// Why there are no more although it is not the end.
    type Error: std::error::Error + 'static;
}

impl<S, B, E> ByteStream for S
where
    S: Stream<Item = Result<B, E>>,
    B: Buf,
    E: std::error::Error + 'static,
{
    type Piece = B;
    type Error = E;
}
