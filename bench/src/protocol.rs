//! What a bare client has to know of a protocol: the bytes of a request, and where a reply ends and whether it says that the
//! request was done. It refuses everything else that clients do, so that all of them cost the machine about the same.

pub(crate) mod http;
pub(crate) mod native;
pub(crate) mod nats;
pub(crate) mod redis;

/// Bytes of every value.
pub(crate) const VALUE_BYTES: usize = 256;

/// Every value: no system that is measured compresses, so one letter does.
pub(crate) const VALUE: [u8; VALUE_BYTES] = [b'v'; VALUE_BYTES];

/// Bytes of every key.
pub(crate) const KEY_BYTES: usize = 16;

/// A protocol, and one kind of request in it.
pub(crate) trait Protocol {
    /// What a client says on a new connection. `client` is another number for every connection of this program. Returns
    /// whether it must wait for [`What::Greeted`] before its first request.
    fn open(&self, _client: u64, _out: &mut Vec<u8>) -> bool {
        false
    }

    /// Append a request of connection `client` to `out`. `tag` is what the reply is known by, where the protocol says so.
    /// `keys` gives the numbers of the keys.
    fn request(&self, client: u64, tag: u64, keys: &mut dyn FnMut() -> u64, out: &mut Vec<u8>);

    /// Read the message at the beginning of `bytes`; `None` if it is not whole.
    ///
    /// # Errors
    ///
    /// If the bytes are not of this protocol.
    fn read(&self, bytes: &[u8]) -> Result<Option<Message>, Malformed>;

    /// Writes (or reads) that one request carries.
    fn units(&self) -> u64 {
        1
    }
}

/// A message from a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// How long it is.
    pub(crate) bytes: usize,
    /// What it says.
    pub(crate) what: What,
}

/// What a message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// The reply to the oldest request without one, or to the request of this tag.
    Reply {
        /// Whether the request was done.
        done: bool,
        /// The request's tag, if the protocol does not answer in order.
        tag: Option<u64>,
    },
    /// The connection may be used.
    Greeted,
    /// The client has to send this.
    Answer(&'static [u8]),
    /// Nothing that matters.
    Nothing,
}

/// Bytes that are not of the protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {bytes}")]
pub(crate) struct Malformed {
    what: &'static str,
    bytes: String,
}

impl Malformed {
    /// What is wrong with them.
    pub(crate) fn new(what: &'static str, bytes: &[u8]) -> Malformed {
        Malformed { what, bytes: excerpt(bytes) }
    }
}

/// The beginning of a message, for people.
pub(crate) fn excerpt(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).into_owned()
}

/// A reply in order.
pub(crate) fn reply(bytes: usize, done: bool) -> Option<Message> {
    Some(Message { bytes, what: What::Reply { done, tag: None } })
}

/// Append the key of this number.
pub(crate) fn write_key(number: u64, out: &mut Vec<u8>) {
    let mut key = *b"bench-0000000000";
    let mut rest = number;
    for digit in key[6..].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    out.extend_from_slice(&key);
}

/// Where the line at the beginning of `bytes` ends, without its line break, and where the next begins.
pub(crate) fn line(bytes: &[u8]) -> Option<(usize, usize)> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    Some((end - usize::from(end > 0 && bytes[end - 1] == b'\r'), end + 1))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Reads `text` whole and in every shorter piece: a piece is never a whole message, and the whole one is `what`.
    pub(crate) fn check(protocol: &dyn Protocol, text: &str, what: What) {
        let whole = protocol.read(text.as_bytes()).expect("it is of the protocol");
        assert_eq!(whole, Some(Message { bytes: text.len(), what }), "{text:?}");
        for cut in 0..text.len() {
            assert_eq!(protocol.read(&text.as_bytes()[..cut]), Ok(None), "{:?}", &text[..cut]);
        }
        let followed = format!("{text}{text}");
        let first = protocol.read(followed.as_bytes()).expect("it is of the protocol").expect("it is whole");
        assert_eq!(first.bytes, text.len(), "{followed:?}");
    }

    #[test]
    fn keys_have_their_length_and_are_what_their_number_says() {
        let mut out = Vec::new();
        write_key(1_234, &mut out);
        assert_eq!(out, b"bench-0000001234");
        assert_eq!(out.len(), KEY_BYTES);
    }

    #[test]
    fn lines_end_with_or_without_a_carriage_return() {
        assert_eq!(line(b"ab\r\nc"), Some((2, 4)));
        assert_eq!(line(b"ab\nc"), Some((2, 3)));
        assert_eq!(line(b"\n"), Some((0, 1)));
        assert_eq!(line(b"ab"), None);
    }
}
