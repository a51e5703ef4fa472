//! Takes server-sent events apart, as bytes arrive.
//!
//! Only what a watch uses: `id`, `event`, `data` and comments (WHATWG HTML, section 9.2). Refuses a message beyond a
//! bound, and a stream that is not text.

/// Longest message: one event with a value of 1 MiB as base64, a key of 4 KiB and its frame, with room for a
/// transaction whose events share a message.
const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// One message of the stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message {
    /// What kind it is; empty is the default kind.
    pub(crate) event: String,
    /// What it says.
    pub(crate) data: String,
    /// The last id that the stream gave, if any.
    pub(crate) id: Option<String>,
}

/// What arrived so far and is not a whole message yet.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    /// Bytes after the last line's end.
    rest: Vec<u8>,
    /// Bytes of `rest` that hold no line's end.
    searched: usize,
    message: Message,
    has_data: bool,
}

/// The stream is no event stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StreamError {
    #[error("a message of the event stream is longer than {MESSAGE_BYTES_MAX} bytes")]
    TooLong,
    #[error("the event stream is not UTF-8")]
    NotText,
}

impl Parser {
    /// Takes bytes; what they complete goes to `messages`.
    ///
    /// # Errors
    /// The stream cannot be read on; drop it.
    pub(crate) fn feed(
        &mut self,
        bytes: &[u8],
        messages: &mut impl Extend<Message>,
    ) -> Result<(), StreamError> {
        self.rest.extend_from_slice(bytes);
        let mut start = 0;
        while let Some(end) = self.rest[self.searched..].iter().position(|byte| *byte == b'\n') {
            let end = self.searched + end;
            let line = self.rest[start..end].strip_suffix(b"\r").unwrap_or(&self.rest[start..end]);
            let line = std::str::from_utf8(line).map_err(|_| StreamError::NotText)?.to_owned();
            start = end + 1;
            self.searched = start;
            if let Some(message) = self.line(&line) {
                messages.extend([message]);
            }
        }
        self.rest.drain(..start);
        self.searched = self.rest.len();
        if self.rest.len() + self.message.data.len() > MESSAGE_BYTES_MAX {
            return Err(StreamError::TooLong);
        }
        Ok(())
    }

    fn line(&mut self, line: &str) -> Option<Message> {
        if line.is_empty() {
            let id = self.message.id.clone();
            let message = std::mem::replace(&mut self.message, Message { id, ..Message::default() });
            return std::mem::take(&mut self.has_data).then_some(message);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.message.event),
            "id" => self.message.id = Some(value.to_owned()),
            "data" => {
                if self.has_data {
                    self.message.data.push('\n');
                }
                self.has_data = true;
                self.message.data.push_str(value);
            }
            // A comment (an empty field name), or something newer than we are.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The messages of a stream as (event, data, id), whatever pieces it arrives in.
    fn check(stream: &str, expected: &[(&str, &str, Option<&str>)]) {
        for piece in [1, 2, 7, stream.len().max(1)] {
            let mut parser = Parser::default();
            let mut messages = Vec::new();
            for bytes in stream.as_bytes().chunks(piece) {
                parser.feed(bytes, &mut messages).expect("a good stream");
            }
            let got: Vec<_> = messages
                .iter()
                .map(|m: &Message| (m.event.as_str(), m.data.as_str(), m.id.as_deref()))
                .collect();
            assert_eq!(got, expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn messages_are_taken_apart() {
        check(
            "event: put\ndata: {\"a\":1}\nid: 7\n\n:keep alive\n\ndata:x\r\ndata: y\r\n\r\nretry: 5\n\ndata: cut off",
            &[("put", "{\"a\":1}", Some("7")), ("", "x\ny", Some("7"))],
        );
        check("", &[]);
        check("data\n\n", &[("", "", None)]);
    }

    #[test]
    fn an_endless_message_is_refused() {
        let mut parser = Parser::default();
        let piece = vec![b'x'; 1 << 20];
        let mut fed = 0;
        let error = loop {
            fed += piece.len();
            if let Err(error) = parser.feed(&piece, &mut Vec::new()) {
                break error;
            }
        };
        assert_eq!(error, StreamError::TooLong);
        assert!(fed <= MESSAGE_BYTES_MAX + piece.len());
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        assert_eq!(Parser::default().feed(b"data: \xff\n", &mut Vec::new()), Err(StreamError::NotText));
    }
}
