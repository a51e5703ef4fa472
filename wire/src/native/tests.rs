//! Clients' frames read back as they were written; whatever else comes is refused without harm.

use bytes::Bytes;
use holdfast_engine::{Incarnation, Index, MemberId, Ordinal, Position, Term, WriteConcern};

use super::*;
use crate::GreetingError;

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn everything() -> Txn {
    let compare = |target, relation| Compare { key: bytes("k"), relation, target };
    Txn {
        compare: vec![
            compare(Target::Version(1), Relation::Equal),
            compare(Target::Created(300), Relation::NotEqual),
            compare(Target::Modified(u64::MAX), Relation::Less),
            compare(Target::Value(bytes("x")), Relation::Greater),
        ],
        success: vec![
            TxnOperation::Put { key: bytes("a"), value: bytes("1") },
            TxnOperation::Delete(Keys::Prefix(Bytes::new())),
        ],
        failure: vec![TxnOperation::Get { keys: Keys::Key(bytes("a")), limit: u64::MAX }],
    }
}

fn requests() -> Vec<Request> {
    let stamp = Some(Stamp { session: u128::MAX - 7, sequence: 1 });
    let concerns =
        [None, Some(WriteConcern::Majority), Some(WriteConcern::All), Some(WriteConcern::Members(7))];
    let mut requests: Vec<Request> = concerns
        .into_iter()
        .map(|concern| Request::Put {
            write: WriteHead { concern, timeout_ms: 5000, stamp },
            key: bytes("key"),
            value: bytes("value"),
            expect: Expect::Revision(9),
        })
        .collect();
    let write = WriteHead::default();
    let local = ReadHead { consistency: Consistency::Local, timeout_ms: 1, revision: Some(4) };
    requests.extend([
        Request::Put { write, key: Bytes::new(), value: Bytes::new(), expect: Expect::Absent },
        Request::Delete { write, key: bytes("key"), expect: Expect::Any },
        Request::Txn { write, txn: everything() },
        Request::Txn { write, txn: Txn::default() },
        Request::Get { read: ReadHead::default(), key: bytes("key") },
        Request::Range { read: local, prefix: bytes("p"), after: bytes("pa"), limit: 10 },
        Request::Ping,
    ]);
    requests
}

fn replies() -> Vec<Reply> {
    let value = Value { bytes: bytes("v"), create_revision: 2, mod_revision: 300, version: 3 };
    let item = Item { key: bytes("k"), value: value.clone() };
    let written = |outcome| {
        Reply::Written(Written {
            revision: 7,
            position: Position::new(Term(3), Index(9)),
            concern: WriteConcern::Majority,
            reached: 2,
            satisfied: true,
            outcome,
        })
    };
    let results = vec![
        TxnResult::Put { previous: Some(4) },
        TxnResult::Deleted { count: 1000 },
        TxnResult::Got { items: vec![item.clone(), item.clone()], more: true },
    ];
    vec![
        written(Outcome::Put { previous: None }),
        written(Outcome::Deleted { count: 0 }),
        written(Outcome::Txn { succeeded: false, results }),
        Reply::Found { revision: 301, value },
        Reply::NotFound { revision: 301 },
        Reply::Page { revision: 1, more: true, count: Some(0), items: vec![item] },
        Reply::Page { revision: 1, more: false, count: None, items: Vec::new() },
        Reply::Refused(Refusal {
            code: "Overloaded".to_owned(),
            retryable: true,
            retry_after_ms: Some(100),
            leader: Some(Ordinal(2)),
            revision: Some(0),
            detail: "too much".to_owned(),
        }),
        Reply::Refused(Refusal {
            code: String::new(),
            retryable: false,
            retry_after_ms: None,
            leader: None,
            revision: None,
            detail: String::new(),
        }),
        Reply::Unknown { retryable: true, detail: "é".to_owned() },
        Reply::Pong,
    ]
}

fn encoded<T>(frame: &T, encode: impl Fn(&T, &mut BytesMut) -> Result<(), TooLarge>) -> BytesMut {
    let mut out = BytesMut::new();
    encode(frame, &mut out).expect("it fits");
    out
}

fn request_bytes(request: &Request) -> BytesMut {
    encoded(request, |request, out| request.encode(u64::MAX - 1, out))
}

fn reply_bytes(reply: &Reply) -> BytesMut {
    encoded(reply, |reply, out| reply.encode(u64::MAX - 1, out))
}

/// Reads back, is not there while it is cut, and leaves what follows.
fn check<T: PartialEq + std::fmt::Debug>(
    frame: &T,
    bytes: &BytesMut,
    decode: impl Fn(&mut BytesMut) -> Result<Option<(u64, T)>, FrameError>,
) {
    for length in 0..bytes.len() {
        let mut cut = BytesMut::from(&bytes[..length]);
        assert_eq!(decode(&mut cut), Ok(None), "{frame:?} cut to {length} bytes");
        assert_eq!(cut.len(), length, "nothing is taken of what is not whole");
    }
    let mut two = BytesMut::from(&[&bytes[..], b"next"].concat()[..]);
    let (id, read) = decode(&mut two).expect("well-formed").expect("whole");
    assert_eq!((id, &read), (u64::MAX - 1, frame));
    assert_eq!(&two[..], b"next");
}

#[test]
fn frames_read_back_and_leave_what_follows() {
    for request in requests() {
        check(&request, &request_bytes(&request), Request::decode);
    }
    for reply in replies() {
        check(&reply, &reply_bytes(&reply), Reply::decode);
    }
}

#[test]
fn a_body_that_ends_early_is_refused_whatever_its_length_says() {
    let shortened = |whole: &BytesMut, by: usize| {
        let mut short = BytesMut::from(&whole[..whole.len() - by]);
        let length = (short.len() - LENGTH_BYTES) as u32;
        short[..LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
        short
    };
    let txn = Request::Txn { write: WriteHead::default(), txn: everything() };
    let whole = request_bytes(&txn);
    for by in 1..=whole.len() - LENGTH_BYTES - HEAD_BYTES {
        assert!(Request::decode(&mut shortened(&whole, by)).is_err(), "{by} bytes less");
    }
    let Some(written) = replies().into_iter().nth(2) else { unreachable!() };
    let whole = reply_bytes(&written);
    for by in 1..=whole.len() - LENGTH_BYTES - HEAD_BYTES {
        assert!(Reply::decode(&mut shortened(&whole, by)).is_err(), "{by} bytes less");
    }
}

#[test]
fn no_mutation_panics() {
    let requests = requests().iter().map(request_bytes).collect::<Vec<_>>();
    let replies = replies().iter().map(reply_bytes).collect::<Vec<_>>();
    for bytes in requests.iter().chain(&replies) {
        for at in 0..bytes.len() {
            for value in 0..=u8::MAX {
                let mut mutated = bytes.clone();
                mutated[at] = value;
                let _ = Request::decode(&mut mutated.clone());
                let _ = Reply::decode(&mut mutated);
            }
        }
    }
}

#[test]
fn lengths_are_checked_before_anything_is_waited_for_or_set_aside() {
    for length in [0, HEAD_BYTES - 1, REQUEST_BYTES_MAX + 1, u32::MAX as usize] {
        let mut bytes = BytesMut::from(&(length as u32).to_le_bytes()[..]);
        assert_eq!(Request::decode(&mut bytes), Err(FrameError::Length { length }));
    }
    let mut longest = BytesMut::from(&(REQUEST_BYTES_MAX as u32).to_le_bytes()[..]);
    assert_eq!(Request::decode(&mut longest), Ok(None));

    let put = |value: usize| Request::Put {
        write: WriteHead::default(),
        key: bytes("k"),
        value: Bytes::from(vec![0; value]),
        expect: Expect::Any,
    };
    let mut out = BytesMut::from("before");
    assert!(put(REQUEST_BYTES_MAX).encode(1, &mut out).is_err());
    assert_eq!(&out[..], b"before");
    put(REQUEST_BYTES_MAX - 1000).encode(1, &mut out).expect("it fits");

    let operation = TxnOperation::Delete(Keys::Key(bytes("k")));
    let txn = Txn { success: vec![operation; LIST_MAX + 1], ..Txn::default() };
    let mut bytes = request_bytes(&Request::Txn { write: WriteHead::default(), txn });
    assert!(matches!(Request::decode(&mut bytes), Err(FrameError::Value { .. })));
}

#[test]
fn a_page_that_claims_more_than_it_brings_costs_nothing() {
    let page = Reply::Page { revision: 1, more: false, count: None, items: Vec::new() };
    let mut bytes = reply_bytes(&page);
    let count = bytes.len() - 4;
    bytes[count..].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(matches!(Reply::decode(&mut bytes), Err(FrameError::Short { .. })));
    let mut bytes = reply_bytes(&page);
    // The count's lowest byte, behind revision and two flags.
    bytes[LENGTH_BYTES + HEAD_BYTES + 10] = 1;
    let uncounted = FrameError::Value { what: "a count where keys are not counted" };
    assert_eq!(Reply::decode(&mut bytes), Err(uncounted));
}

fn welcome() -> Greeting {
    Greeting::Welcome(Welcome {
        version: VERSION,
        member: MemberId { ordinal: Ordinal(1), incarnation: Incarnation(u64::MAX) },
        members: 3,
        leader: Some(Ordinal(2)),
        request_bytes_max: REQUEST_BYTES_MAX as u32,
        in_flight_max: 10,
    })
}

#[test]
fn greetings_read_back_and_other_protocols_are_told_at_once() {
    for greeting in [welcome(), Greeting::TurnedAway { min: 2, max: 3 }] {
        let mut bytes = BytesMut::new();
        greeting.encode(&mut bytes);
        assert!(bytes.len() <= GREETING_BYTES_MAX);
        for length in 0..bytes.len() {
            assert_eq!(Greeting::decode(&mut BytesMut::from(&bytes[..length])), Ok(None));
        }
        assert_eq!(Greeting::decode(&mut bytes), Ok(Some(greeting)));
    }
    let mut bytes = BytesMut::new();
    ClientHello::new().encode(&mut bytes);
    assert_eq!(bytes[0], FIRST_BYTE);
    assert_eq!(ClientHello::decode(&mut bytes), Ok(Some(ClientHello::new())));
    for other in [&b"G"[..], b"HTTP/1.1 429", &[0x16, 3, 1], b"HOLDFAS\n"] {
        assert_eq!(Greeting::decode(&mut BytesMut::from(other)), Err(GreetingError::Magic), "{other:?}");
    }
    assert!(!FIRST_BYTE.is_ascii());
}

#[test]
fn versions_meet_where_they_overlap() {
    let common = |version, version_min| ClientHello { version, version_min }.common_version();
    assert_eq!(common(VERSION, VERSION_MIN), Some(VERSION));
    assert_eq!(common(VERSION + 5, VERSION_MIN), Some(VERSION), "the older side decides");
    assert_eq!(common(VERSION + 5, VERSION + 1), None);
    assert_eq!(common(0, 0), None);
}

#[test]
fn a_longer_welcome_of_a_later_version_is_still_read() {
    let mut bytes = BytesMut::new();
    welcome().encode(&mut bytes);
    bytes.extend_from_slice(b"more");
    let length = (bytes.len() - 10) as u16;
    bytes[8..10].copy_from_slice(&length.to_le_bytes());
    assert_eq!(Greeting::decode(&mut bytes), Ok(Some(welcome())));
    assert!(bytes.is_empty());
}

/// The page that clients in other languages are written from.
const PAGE: &str = include_str!("../../../docs/reference/native.md");

/// The bytes that a line of hexadecimal digits in the page shows.
fn shown(line: &str) -> Vec<u8> {
    let digits: String = line.split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hex")).collect()
}

#[test]
fn the_page_shows_the_bytes_that_travel() {
    let mut lines = PAGE.lines().skip_while(|line| !line.starts_with("```")).skip(1);
    let put =
        Request::Put { write: WriteHead::default(), key: bytes("k"), value: bytes("v"), expect: Expect::Any };
    let written = Reply::Written(Written {
        revision: 2,
        position: Position::new(Term(1), Index(2)),
        concern: WriteConcern::Majority,
        reached: 2,
        satisfied: true,
        outcome: Outcome::Put { previous: None },
    });
    let mut frame = BytesMut::from(&shown(lines.next().expect("a request"))[..]);
    assert_eq!(frame, encoded(&put, |put, out| put.encode(1, out)), "the put is {:02x?}", frame);
    assert_eq!(Request::decode(&mut frame), Ok(Some((1, put))));
    let mut frame = BytesMut::from(&shown(lines.next().expect("a reply"))[..]);
    assert_eq!(frame, encoded(&written, |written, out| written.encode(1, out)));
    assert_eq!(Reply::decode(&mut frame), Ok(Some((1, written))));

    let mut hello = BytesMut::new();
    ClientHello::new().encode(&mut hello);
    let magic: Vec<String> = hello[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(PAGE.contains(&format!("`{}`", magic.join(" "))), "{magic:?}");
    assert!(PAGE.contains(&format!("This is version {VERSION}.")));
}

#[test]
fn the_page_has_every_kind() {
    let kind = |frame: &BytesMut| frame[LENGTH_BYTES];
    let names = ["put", "delete", "transaction", "get", "range", "ping"];
    let first_of_each = |wanted: &str| {
        requests().into_iter().find(|request| match request {
            Request::Put { .. } => wanted == "put",
            Request::Delete { .. } => wanted == "delete",
            Request::Txn { .. } => wanted == "transaction",
            Request::Get { .. } => wanted == "get",
            Request::Range { .. } => wanted == "range",
            Request::Ping => wanted == "ping",
        })
    };
    for name in names {
        let request = first_of_each(name).expect("a sample");
        let row = format!("| {} | {name} |", kind(&request_bytes(&request)));
        assert!(PAGE.contains(&row), "no row {row:?}");
    }
    for reply in replies() {
        let name = match reply {
            Reply::Written(_) => "written",
            Reply::Found { .. } => "found",
            Reply::NotFound { .. } => "not found",
            Reply::Page { .. } => "page",
            Reply::Refused(_) => "refused",
            Reply::Unknown { .. } => "unknown",
            Reply::Pong => "pong",
        };
        let row = format!("| {} | {name} |", kind(&reply_bytes(&reply)));
        assert!(PAGE.contains(&row), "no row {row:?}");
    }
}
