//! What a log remembers of one message: [`Record`].

use std::sync::Arc;

use bytes::Bytes;

use crate::version::record;
use crate::{Message, MessageHash, Sequence};

/// The key's length stands before the key; `MESSAGE_KEY_BYTES_MAX` fits.
const LENGTH_BYTES: usize = 2;

/// One message, or what is left of it for the window of duplicates: then without its bytes, and with its key only if
/// the key is what counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    pub(crate) time_ms: u64,
    pub(crate) attempt: u64,
    pub(crate) hash: MessageHash,
    /// Bytes of all messages and keys that were added before this one.
    pub(crate) content_before: u64,
    /// Bytes of their keys.
    pub(crate) keys_before: u64,
    /// The key's length, the key, and the message: one allocation of exactly their length.
    content: Option<Arc<[u8]>>,
}

impl Record {
    /// A record without key and message.
    pub(crate) fn new(time_ms: u64, attempt: u64, hash: MessageHash) -> Record {
        Record { time_ms, attempt, hash, ..Record::default() }
    }

    /// A record whose key and message are these. An empty key is none.
    pub(crate) fn set_content(&mut self, key: &[u8], message: &[u8]) {
        self.content = Some(record(key, message));
    }

    fn split(&self) -> (&[u8], &[u8]) {
        let Some((length, content)) = self.content.as_deref().and_then(<[u8]>::split_first_chunk) else {
            return (b"", b"");
        };
        content.split_at(usize::from(u16::from_le_bytes(*length)))
    }

    /// Its key; empty if it has none.
    pub(crate) fn key(&self) -> &[u8] {
        self.split().0
    }

    /// Its bytes.
    pub(crate) fn message(&self) -> &[u8] {
        self.split().1
    }

    /// Forget its bytes, and its key if nobody asks for that.
    pub(crate) fn strip(&mut self, keep_key: bool) {
        match self.key() {
            [] => self.content = None,
            _ if !keep_key => self.content = None,
            key => {
                let key = key.to_vec();
                self.set_content(&key, b"");
            }
        }
    }

    /// As readers see it. Nothing is copied.
    pub(crate) fn read(&self, sequence: Sequence, committed: bool) -> Message {
        let keyed = self.key().len();
        let content =
            self.content.as_ref().map_or_else(Bytes::new, |content| Bytes::from_owner(Arc::clone(content)));
        let message = content.slice((LENGTH_BYTES + keyed).min(content.len())..);
        let key = (keyed > 0).then(|| content.slice(LENGTH_BYTES..LENGTH_BYTES + keyed));
        Message { sequence, time_ms: self.time_ms, hash: self.hash, key, message, committed }
    }
}
