//! Lines of a connection, none longer than [`LINE_BYTES_MAX`].
//!
//! Clients that send text without an end of line exist: they wait for an answer first. So what has come counts as a line
//! when nothing follows it for a moment.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Longest line in bytes, without its end. As much as a terminal's line holds, many times over.
pub const LINE_BYTES_MAX: usize = 64 * 1024;

/// For so long an unfinished line waits for its end. More than a round trip between continents; less than somebody who sends
/// no ends of lines notices.
const UNFINISHED_PAUSE: Duration = Duration::from_millis(250);

/// Bytes read in one go.
const READ_BYTES: usize = 4 * 1024;

/// The lines that come from `reader`.
#[derive(Debug)]
pub(super) struct Lines<R> {
    reader: R,
    read: Vec<u8>,
    ended: bool,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A line, without its end.
    Line(String),
    /// More than [`LINE_BYTES_MAX`] without an end.
    TooLong,
    /// The other end has closed.
    End,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(super) fn new(reader: R) -> Lines<R> {
        Lines { reader, read: Vec::new(), ended: false }
    }

    /// The next line. Loses nothing if it is given up.
    pub(super) async fn next(&mut self) -> io::Result<Next> {
        loop {
            if let Some(end) = self.read.iter().position(|&byte| byte == b'\n') {
                return Ok(self.take(end, end + 1));
            }
            if self.read.len() > LINE_BYTES_MAX {
                return Ok(Next::TooLong);
            }
            if self.ended {
                let end = self.read.len();
                return Ok(if end == 0 { Next::End } else { self.take(end, end) });
            }
            let pause = if self.read.is_empty() { Duration::MAX } else { UNFINISHED_PAUSE };
            let mut piece = [0; READ_BYTES];
            match tokio::time::timeout(pause, self.reader.read(&mut piece)).await {
                Ok(bytes) => {
                    let bytes = bytes?;
                    self.ended = bytes == 0;
                    self.read.extend_from_slice(&piece[..bytes]);
                }
                Err(_) => {
                    let end = self.read.len();
                    return Ok(self.take(end, end));
                }
            }
        }
    }

    /// The line up to `end`; what comes next begins at `next`.
    fn take(&mut self, end: usize, next: usize) -> Next {
        if end > LINE_BYTES_MAX {
            return Next::TooLong;
        }
        let line = self.read[..end].strip_suffix(b"\r").unwrap_or(&self.read[..end]);
        let line = String::from_utf8_lossy(line).into_owned();
        self.read.drain(..next);
        Next::Line(line)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    fn line(text: &str) -> Next {
        Next::Line(text.to_owned())
    }

    #[tokio::test]
    async fn lines_end_in_every_way_that_lines_end() {
        let mut lines = Lines::new(&b"one\ntwo\r\n\nlast"[..]);
        for expected in [line("one"), line("two"), line(""), line("last"), Next::End, Next::End] {
            assert_eq!(lines.next().await.expect("readable"), expected);
        }
    }

    #[tokio::test]
    async fn a_line_that_nobody_ends_is_one_after_a_moment() {
        let (mut theirs, ours) = tokio::io::duplex(64);
        let mut lines = Lines::new(ours);
        theirs.write_all(b"hello").await.expect("open");
        assert_eq!(lines.next().await.expect("readable"), line("hello"));
        theirs.write_all(b"again\n").await.expect("open");
        assert_eq!(lines.next().await.expect("readable"), line("again"));
    }

    #[tokio::test]
    async fn a_line_may_be_long_but_not_longer() {
        let mut longest = vec![b'x'; LINE_BYTES_MAX];
        longest.push(b'\n');
        assert_eq!(
            Lines::new(&longest[..]).next().await.expect("readable"),
            line(&"x".repeat(LINE_BYTES_MAX))
        );
        let longer = vec![b'x'; LINE_BYTES_MAX + 1];
        assert_eq!(Lines::new(&longer[..]).next().await.expect("readable"), Next::TooLong);
        let endless = tokio::io::repeat(b'x');
        assert_eq!(Lines::new(endless).next().await.expect("readable"), Next::TooLong);
    }
}
