//! Holdfast's own binary protocol. Requests are encoded by `wire` once and then only get another id and other keys; of a reply
//! nothing is read but its length, its id, its kind and whether the write concern was met.

use bytes::{Bytes, BytesMut};
use holdfast_wire::native::{
    ClientHello, Expect, FIRST_BYTE, Greeting, REPLY_BYTES_MAX, ReadHead, Request, Txn, TxnOperation,
    WriteHead,
};

use super::{KEY_BYTES, Malformed, Message, Protocol, VALUE, What, write_key};

/// Where the id stands in a frame: behind length and kind.
const ID: std::ops::Range<usize> = 5..13;

/// Kinds of replies, and where a written reply says whether its concern was met; a test holds them against `wire`.
const WRITTEN: u8 = 65;
const FOUND: u8 = 66;
const NOT_FOUND: u8 = 67;
const SATISFIED: usize = 39;

/// One kind of request.
#[derive(Debug)]
pub(crate) struct Native {
    template: Vec<u8>,
    /// Where the keys stand in the template.
    keys: Vec<usize>,
}

impl Native {
    /// One write per request.
    pub(crate) fn put() -> Native {
        let (key, value) = (placeholder(0), Bytes::from_static(&VALUE));
        Native::of(&Request::Put { write: WriteHead::default(), key, value, expect: Expect::Any }, 1)
    }

    /// One linearizable read per request.
    pub(crate) fn get() -> Native {
        Native::of(&Request::Get { read: ReadHead::default(), key: placeholder(0) }, 1)
    }

    /// So many writes per request, at most 128, as one transaction.
    pub(crate) fn txn(puts: u64) -> Native {
        let put = |at| TxnOperation::Put { key: placeholder(at), value: Bytes::from_static(&VALUE) };
        let txn = Txn { success: (0..puts).map(put).collect(), ..Txn::default() };
        Native::of(&Request::Txn { write: WriteHead::default(), txn }, puts)
    }

    /// The request is encoded with keys that stand nowhere else in it, so that they can be found.
    fn of(request: &Request, keys: u64) -> Native {
        let mut template = BytesMut::new();
        request.encode(0, &mut template).expect("a request of ours is not too large");
        let find = |at| {
            let key = placeholder(at);
            template.windows(KEY_BYTES).position(|window| window == key).expect("the key is in the request")
        };
        let keys = (0..keys).map(find).collect();
        Native { template: template.to_vec(), keys }
    }
}

fn placeholder(at: u64) -> Bytes {
    let mut key = Vec::with_capacity(KEY_BYTES);
    write_key(9_000_000_000 + at, &mut key);
    key.into()
}

impl Protocol for Native {
    fn open(&self, _client: u64, out: &mut Vec<u8>) -> bool {
        let mut hello = BytesMut::new();
        ClientHello::new().encode(&mut hello);
        out.extend_from_slice(&hello);
        true
    }

    fn request(&self, _client: u64, tag: u64, keys: &mut dyn FnMut() -> u64, out: &mut Vec<u8>) {
        let begin = out.len();
        out.extend_from_slice(&self.template);
        out[begin + ID.start..begin + ID.end].copy_from_slice(&tag.to_le_bytes());
        let mut key = Vec::with_capacity(KEY_BYTES);
        for at in &self.keys {
            key.clear();
            write_key(keys(), &mut key);
            out[begin + at..begin + at + KEY_BYTES].copy_from_slice(&key);
        }
    }

    fn read(&self, bytes: &[u8]) -> Result<Option<Message>, Malformed> {
        // No frame is so long that its length looks like a greeting.
        if let [FIRST_BYTE, b'H', ..] = bytes {
            return greeting(bytes);
        }
        let Some(length) = bytes.first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_le_bytes(*length) as usize;
        if !(ID.end - 4..=REPLY_BYTES_MAX).contains(&length) {
            return Err(Malformed::new("not a frame", bytes));
        }
        let Some(frame) = bytes.get(..4 + length) else { return Ok(None) };
        let done = match frame[4] {
            WRITTEN => frame.get(SATISFIED) == Some(&1),
            FOUND | NOT_FOUND => true,
            _ => false,
        };
        let tag = u64::from_le_bytes(frame[ID].try_into().expect("eight bytes"));
        Ok(Some(Message { bytes: frame.len(), what: What::Reply { done, tag: Some(tag) } }))
    }

    fn units(&self) -> u64 {
        self.keys.len() as u64
    }
}

fn greeting(bytes: &[u8]) -> Result<Option<Message>, Malformed> {
    let mut left = BytesMut::from(bytes);
    match Greeting::decode(&mut left) {
        Ok(None) => Ok(None),
        Ok(Some(Greeting::Welcome(_))) => {
            Ok(Some(Message { bytes: bytes.len() - left.len(), what: What::Greeted }))
        }
        _ => Err(Malformed::new("turned away", bytes)),
    }
}

#[cfg(test)]
mod tests {
    use holdfast_engine::{Incarnation, Index, MemberId, Ordinal, Position, Term, WriteConcern};
    use holdfast_wire::native::{Outcome, Refusal, Reply, Value, Welcome, Written};

    use super::*;

    /// Reads what `write` wrote, whole and in every shorter piece.
    fn check(write: impl FnOnce(&mut BytesMut), what: What) {
        let mut bytes = BytesMut::new();
        write(&mut bytes);
        let native = Native::put();
        assert_eq!(native.read(&bytes), Ok(Some(Message { bytes: bytes.len(), what })));
        for cut in 0..bytes.len() {
            assert_eq!(native.read(&bytes[..cut]), Ok(None), "{cut} of {} bytes", bytes.len());
        }
    }

    fn written(satisfied: bool) -> Reply {
        Reply::Written(Written {
            revision: 7,
            position: Position { term: Term(2), index: Index(9) },
            concern: WriteConcern::Majority,
            reached: 2,
            satisfied,
            outcome: Outcome::Put { previous: None },
        })
    }

    #[test]
    fn replies_are_what_wire_says() {
        let check_reply = |reply: &Reply, done| {
            let tag = Some(77);
            check(|out| reply.encode(77, out).expect("it is short"), What::Reply { done, tag });
        };
        check_reply(&written(true), true);
        check_reply(&written(false), false);
        let value = Value { bytes: Bytes::new(), create_revision: 1, mod_revision: 1, version: 1 };
        check_reply(&Reply::Found { revision: 3, value }, true);
        check_reply(&Reply::NotFound { revision: 3 }, true);
        check_reply(&Reply::Unknown { retryable: true, detail: "x".to_owned() }, false);
        let refusal = Refusal {
            code: "Overloaded".to_owned(),
            retryable: true,
            retry_after_ms: None,
            leader: None,
            revision: None,
            detail: String::new(),
        };
        check_reply(&Reply::Refused(refusal), false);
    }

    #[test]
    fn a_greeting_is_told_from_a_frame() {
        let welcome = Welcome {
            version: 1,
            member: MemberId { ordinal: Ordinal(0), incarnation: Incarnation(5) },
            members: 3,
            leader: None,
            request_bytes_max: 1 << 20,
            in_flight_max: 64,
        };
        check(|out| Greeting::Welcome(welcome).encode(out), What::Greeted);
        let mut away = BytesMut::new();
        Greeting::TurnedAway { min: 2, max: 3 }.encode(&mut away);
        assert!(Native::put().read(&away).is_err());
        assert!(Native::put().read(b"HTTP/1.1 200 OK\r\n").is_err());
    }

    #[test]
    fn requests_have_their_own_ids_and_keys() {
        for (native, keys) in [(Native::put(), 1), (Native::get(), 1), (Native::txn(100), 100)] {
            let (mut out, mut key) = (Vec::new(), 40);
            let mut keys_given = || {
                key += 1;
                key
            };
            native.request(1, 123, &mut keys_given, &mut out);
            let mut bytes = BytesMut::from(&out[..]);
            let (id, request) = Request::decode(&mut bytes).expect("it is a request").expect("it is whole");
            assert_eq!((id, bytes.len(), native.units()), (123, 0, keys));
            let first = "bench-0000000041".as_bytes();
            match request {
                Request::Put { key, value, .. } => assert_eq!((&key[..], &value[..]), (first, &VALUE[..])),
                Request::Get { key, .. } => assert_eq!(key, first),
                Request::Txn { txn, .. } => {
                    let last = TxnOperation::Put {
                        key: Bytes::from_static(b"bench-0000000140"),
                        value: Bytes::from_static(&VALUE),
                    };
                    assert_eq!(txn.success.last(), Some(&last));
                }
                other => panic!("{other:?}"),
            }
        }
    }
}
