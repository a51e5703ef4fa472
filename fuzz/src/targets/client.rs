//! What comes from clients in the binary protocol, and what clients read of it.

use bytes::{Bytes, BytesMut};
use holdfast_engine::{Incarnation, Index, MemberId, Ordinal, Position, Term, WriteConcern};
use holdfast_wire::native::{
    ClientHello, Compare, Consistency, Expect, Greeting, Item, Keys, Outcome, ReadHead, Refusal, Relation,
    Reply, Request, Stamp, Target as CompareTarget, Txn, TxnOperation, TxnResult, Value, Welcome, WriteHead,
    Written,
};

use super::peer::written;
use super::{SMALL, memory};
use crate::Target;
use crate::property::check_stream;

/// What members read.
pub(super) const REQUEST: Target = Target {
    name: "client-request",
    about: "requests of the clients' binary protocol",
    samples: requests,
    words: &[],
    mend: Some(|bytes| mend_lengths(bytes, |_| {})),
    run: |bytes| {
        check_stream(bytes, Request::decode, |(id, request), out| fits(request.encode(*id, out)), true)
    },
    memory: memory(SMALL, 80),
};

/// What clients read.
pub(super) const REPLY: Target = Target {
    name: "client-reply",
    about: "replies of the clients' binary protocol",
    samples: replies,
    words: &[],
    mend: Some(|bytes| mend_lengths(bytes, |_| {})),
    run: |bytes| check_stream(bytes, Reply::decode, |(id, reply), out| fits(reply.encode(*id, out)), true),
    memory: memory(SMALL, 48),
};

/// The beginning of a connection, both ways.
pub(super) const GREETING: Target = Target {
    name: "client-greeting",
    about: "what clients and members say first in the clients' binary protocol",
    samples: greetings,
    words: &["HFCLT\r\n"],
    mend: Some(|bytes| mend_greeting(bytes)),
    run: read_greetings,
    memory: memory(SMALL, 12),
};

/// Bytes of a greeting's magic; its length is behind it, and the length's own bytes do not count.
const MAGIC_BYTES: usize = 8;

fn fits<E: std::fmt::Debug>(encoded: Result<(), E>) {
    encoded.expect("what was read is not too large to be written");
}

/// Give each frame a length that is there, and let `mend` see what is behind it.
pub(super) fn mend_lengths(mut bytes: &mut [u8], mend: impl Fn(&mut [u8])) {
    while let Some((length, rest)) = bytes.split_first_chunk_mut::<4>() {
        let claimed = u32::from_le_bytes(*length) as usize;
        let fits = (1..=rest.len()).contains(&claimed);
        let there = if fits { claimed } else { rest.len() };
        *length = (there as u32).to_le_bytes();
        let (body, next) = rest.split_at_mut(there);
        mend(body);
        bytes = next;
    }
}

/// Give a greeting the length that is there.
pub(super) fn mend_greeting(bytes: &mut [u8]) {
    let prefix = MAGIC_BYTES + 2;
    if let Some(length) = bytes.len().checked_sub(prefix).and_then(|length| u16::try_from(length).ok()) {
        bytes[MAGIC_BYTES..prefix].copy_from_slice(&length.to_le_bytes());
    }
}

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn everything() -> Txn {
    let compare = |target, relation| Compare { key: bytes("k"), relation, target };
    Txn {
        compare: vec![
            compare(CompareTarget::Version(1), Relation::Equal),
            compare(CompareTarget::Created(300), Relation::NotEqual),
            compare(CompareTarget::Modified(u64::MAX), Relation::Less),
            compare(CompareTarget::Value(bytes("x")), Relation::Greater),
        ],
        success: vec![
            TxnOperation::Put { key: bytes("a"), value: bytes("1") },
            TxnOperation::Delete(Keys::Prefix(Bytes::new())),
        ],
        failure: vec![TxnOperation::Get { keys: Keys::Key(bytes("a")), limit: u64::MAX }],
    }
}

fn requests() -> Vec<Vec<u8>> {
    let stamp = Some(Stamp { session: u128::MAX - 7, sequence: 1 });
    let write = WriteHead::default();
    let stamped = |concern| WriteHead { concern, timeout_ms: 5000, stamp };
    let put = |write, expect| Request::Put { write, key: bytes("key"), value: bytes("value"), expect };
    let local = ReadHead { consistency: Consistency::Local, timeout_ms: 1, revision: Some(4) };
    let all = [
        put(write, Expect::Any),
        put(stamped(Some(WriteConcern::Majority)), Expect::Absent),
        put(stamped(Some(WriteConcern::Members(7))), Expect::Revision(9)),
        Request::Delete { write: stamped(Some(WriteConcern::All)), key: bytes("key"), expect: Expect::Any },
        Request::Txn { write, txn: everything() },
        Request::Txn { write: stamped(None), txn: Txn::default() },
        Request::Get { read: ReadHead::default(), key: bytes("key") },
        Request::Range { read: local, prefix: bytes("p"), after: bytes("pa"), limit: 10 },
        Request::Ping,
    ];
    let mut samples =
        (1..).zip(&all).map(|(id, one)| written(|out| fits(one.encode(id, out)))).collect::<Vec<_>>();
    samples.push(samples.concat());
    samples
}

fn replies() -> Vec<Vec<u8>> {
    let value = Value { bytes: bytes("v"), create_revision: 2, mod_revision: 300, version: 3 };
    let item = Item { key: bytes("k"), value: value.clone() };
    let done = |outcome| {
        let (position, concern) = (Position::new(Term(3), Index(9)), WriteConcern::Majority);
        Reply::Written(Written { revision: 7, position, concern, reached: 2, satisfied: true, outcome })
    };
    let results = vec![
        TxnResult::Put { previous: Some(4) },
        TxnResult::Deleted { count: 1000 },
        TxnResult::Got { items: vec![item.clone(), item.clone()], more: true },
    ];
    let refusal = Refusal {
        code: "Overloaded".to_owned(),
        retryable: true,
        retry_after_ms: Some(100),
        leader: Some(Ordinal(2)),
        revision: Some(0),
        detail: "too much".to_owned(),
    };
    let nothing = Refusal { retry_after_ms: None, leader: None, revision: None, ..refusal.clone() };
    let all = [
        done(Outcome::Put { previous: None }),
        done(Outcome::Deleted { count: 0 }),
        done(Outcome::Txn { succeeded: false, results }),
        Reply::Found { revision: 301, value },
        Reply::NotFound { revision: 301 },
        Reply::Page { revision: 1, more: true, count: Some(2), items: vec![item.clone(), item] },
        Reply::Page { revision: 1, more: false, count: None, items: Vec::new() },
        Reply::Refused(refusal),
        Reply::Refused(nothing),
        Reply::Unknown { retryable: true, detail: "é".to_owned() },
        Reply::Pong,
    ];
    let mut samples =
        (1..).zip(&all).map(|(id, one)| written(|out| fits(one.encode(id, out)))).collect::<Vec<_>>();
    samples.push(samples.concat());
    samples
}

fn greetings() -> Vec<Vec<u8>> {
    let welcome = Greeting::Welcome(Welcome {
        version: 1,
        member: MemberId { ordinal: Ordinal(1), incarnation: Incarnation(u64::MAX) },
        members: 3,
        leader: Some(Ordinal(2)),
        request_bytes_max: 1 << 21,
        in_flight_max: 10,
    });
    vec![
        written(|out| ClientHello::new().encode(out)),
        written(|out| welcome.encode(out)),
        written(|out| Greeting::TurnedAway { min: 2, max: 3 }.encode(out)),
    ]
}

fn read_greetings(bytes: &[u8]) {
    // Later versions add fields at the end.
    check_stream(bytes, ClientHello::decode, |hello, out| hello.encode(out), false);
    check_stream(bytes, Greeting::decode, |greeting, out| greeting.encode(out), false);
    if let Ok(Some(hello)) = ClientHello::decode(&mut BytesMut::from(bytes))
        && let Some(version) = hello.common_version()
    {
        assert!((hello.version_min..=hello.version).contains(&version), "both sides speak {version}");
    }
}
