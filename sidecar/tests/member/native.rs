//! The binary protocol of the client port, asked over real connections by a client of blocking calls.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use holdfast_wire::native::{
    ClientHello, Consistency, Expect, FIRST_BYTE, Greeting, Outcome, REQUEST_BYTES_MAX, ReadHead, Reply,
    Request, Stamp, Txn, TxnOperation, Welcome, WriteHead,
};

use crate::process::{Cluster, LONG, Process, REPLICATION, Store};

/// A connection that has greeted.
struct Native<S> {
    stream: S,
    read: BytesMut,
    welcome: Welcome,
    last_id: u64,
}

impl Native<TcpStream> {
    fn connect(address: SocketAddr) -> Native<TcpStream> {
        let stream = TcpStream::connect(address).expect("the port is open");
        stream.set_read_timeout(Some(LONG)).expect("a time limit");
        Native::greet(stream)
    }
}

impl<S: Read + Write> Native<S> {
    fn greet(mut stream: S) -> Native<S> {
        let mut hello = BytesMut::new();
        ClientHello::new().encode(&mut hello);
        stream.write_all(&hello).expect("it goes out");
        let mut read = BytesMut::new();
        let welcome = loop {
            match Greeting::decode(&mut read).expect("a greeting") {
                Some(Greeting::Welcome(welcome)) => break welcome,
                Some(other) => panic!("{other:?}"),
                None => assert!(more(&mut stream, &mut read) > 0, "closed before it greeted"),
            }
        };
        Native { stream, read, welcome, last_id: 0 }
    }

    fn send(&mut self, requests: impl IntoIterator<Item = Request>) {
        let mut out = BytesMut::new();
        for request in requests {
            self.last_id += 1;
            request.encode(self.last_id, &mut out).expect("it fits");
        }
        self.stream.write_all(&out).expect("it goes out");
    }

    /// The next reply; `None` if the connection was closed.
    fn next(&mut self) -> Option<(u64, Reply)> {
        loop {
            if let Some(reply) = Reply::decode(&mut self.read).expect("a reply") {
                return Some(reply);
            }
            if more(&mut self.stream, &mut self.read) == 0 {
                return None;
            }
        }
    }

    fn ask(&mut self, request: Request) -> Reply {
        self.send([request]);
        let (id, reply) = self.next().expect("a reply");
        assert_eq!(id, self.last_id);
        reply
    }

    /// So many replies, by the names of their requests; each comes once.
    fn replies(&mut self, count: usize) -> BTreeMap<u64, Reply> {
        let mut replies = BTreeMap::new();
        for _ in 0..count {
            let (id, reply) = self.next().expect("a reply");
            assert!(replies.insert(id, reply).is_none(), "two replies to {id}");
        }
        replies
    }
}

fn more(stream: &mut impl Read, read: &mut BytesMut) -> usize {
    let mut bytes = vec![0; 256 * 1024];
    let count = stream.read(&mut bytes).unwrap_or(0); // a reset is an end too
    read.extend_from_slice(&bytes[..count]);
    count
}

fn put(key: &str, value: &[u8]) -> Request {
    let (key, value) = (Bytes::copy_from_slice(key.as_bytes()), Bytes::copy_from_slice(value));
    Request::Put { write: WriteHead::default(), key, value, expect: Expect::Any }
}

fn get(key: &str) -> Request {
    Request::Get { read: ReadHead::default(), key: Bytes::copy_from_slice(key.as_bytes()) }
}

fn value(reply: Reply) -> Bytes {
    match reply {
        Reply::Found { value, .. } => value.bytes,
        other => panic!("no value: {other:?}"),
    }
}

fn code(reply: &Reply) -> &str {
    match reply {
        Reply::Refused(refusal) => &refusal.code,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn requests_in_one_piece_are_all_answered_once() {
    let process = Store::new(REPLICATION).start();
    let mut client = Native::connect(process.client);
    let puts = (0..500).map(|number| put(&format!("k{number}"), number.to_string().as_bytes()));
    client.send(puts.chain([Request::Ping]));
    let replies = client.replies(501);
    assert_eq!(replies[&501], Reply::Pong);
    let mut indexes: Vec<_> = replies
        .values()
        .filter_map(|reply| match reply {
            Reply::Written(written) => Some((written.position.index, written.revision, written.satisfied)),
            _ => None,
        })
        .collect();
    indexes.sort();
    indexes.dedup_by_key(|(index, ..)| *index);
    assert_eq!(indexes.len(), 500, "each has a place of its own in the log");
    assert!(indexes.iter().all(|(_, revision, satisfied)| *revision > 1 && *satisfied));
    client.send((0..500).map(|number| get(&format!("k{number}"))));
    for (id, reply) in client.replies(500) {
        assert_eq!(value(reply), (id - 502).to_string());
    }
    assert_eq!(process.get("/v1/kv/k7").body, b"7", "it is the same store");
    drop(client);
    process.stop();
}

#[test]
fn every_kind_of_request_has_its_answer() {
    let process = Store::new(REPLICATION).start();
    let mut client = Native::connect(process.client);
    assert_eq!((client.welcome.member.ordinal.0, client.welcome.members), (0, 1));
    assert_eq!(client.welcome.leader.map(|leader| leader.0), Some(0));
    let absent = Request::Put {
        write: WriteHead::default(),
        key: Bytes::from_static(b"a"),
        value: Bytes::from_static(b"1"),
        expect: Expect::Absent,
    };
    let Reply::Written(written) = client.ask(absent.clone()) else { panic!("it was absent") };
    assert_eq!((written.outcome, written.reached), (Outcome::Put { previous: None }, 1));
    let refused = client.ask(absent);
    assert_eq!(code(&refused), "PreconditionFailed");
    let Reply::Refused(refusal) = refused else { unreachable!() };
    assert_eq!(refusal.revision, Some(written.revision));

    let operations = vec![
        TxnOperation::Put { key: Bytes::from_static(b"b"), value: Bytes::from_static(b"2") },
        TxnOperation::Put { key: Bytes::from_static(b"c"), value: Bytes::from_static(b"3") },
    ];
    let txn = Txn { success: operations, ..Txn::default() };
    let Reply::Written(written) = client.ask(Request::Txn { write: WriteHead::default(), txn }) else {
        panic!("it needs nothing")
    };
    assert!(matches!(written.outcome, Outcome::Txn { succeeded: true, results } if results.len() == 2));

    let read = ReadHead { consistency: Consistency::Local, ..ReadHead::default() };
    let range = |after: &'static str, limit| Request::Range {
        read,
        prefix: Bytes::new(),
        after: Bytes::from_static(after.as_bytes()),
        limit,
    };
    let Reply::Page { items, more, count, .. } = client.ask(range("", 2)) else { panic!("a page") };
    assert_eq!((items.len(), more, count), (2, true, Some(3)));
    let Reply::Page { items, more, .. } = client.ask(range("b", 2)) else { panic!("a page") };
    assert_eq!((&items[0].key[..], &items[0].value.bytes[..], more), (&b"c"[..], &b"3"[..], false));

    let stamp = Some(Stamp { session: 77, sequence: 1 });
    let delete = Request::Delete {
        write: WriteHead { stamp, ..WriteHead::default() },
        key: Bytes::from_static(b"a"),
        expect: Expect::Any,
    };
    let first = client.ask(delete.clone());
    let Reply::Written(written) = &first else { panic!("{first:?}") };
    assert_eq!(written.outcome, Outcome::Deleted { count: 1 });
    let Reply::Written(again) = client.ask(delete) else { panic!("it is told again") };
    assert_eq!((again.outcome, again.revision), (Outcome::Deleted { count: 1 }, written.revision));
    assert!(matches!(client.ask(get("a")), Reply::NotFound { .. }));
    assert_eq!(code(&client.ask(put("", b"x"))), "InvalidKey");
    assert_eq!(code(&client.ask(put("k", &vec![0; 1024 * 1024 + 1]))), "TooLarge");
}

#[test]
fn followers_pass_on_what_only_the_leader_can_do() {
    let cluster = Cluster::start();
    let (leader, followers) = cluster.roles();
    let mut client = Native::connect(cluster.member(followers[0]).client);
    assert_eq!(client.welcome.leader.map(|leader| usize::from(leader.0)), Some(leader));
    client.send((0..200).map(|number| put(&format!("k{number}"), b"v")));
    for reply in client.replies(200).into_values() {
        assert!(matches!(reply, Reply::Written(written) if written.reached >= 2));
    }
    client.send((0..200).map(|number| get(&format!("k{number}"))));
    client.replies(200).into_values().for_each(|reply| assert_eq!(value(reply), "v"));
}

#[test]
fn a_leader_that_dies_leaves_no_request_without_its_end() {
    let mut cluster = Cluster::start();
    let (leader, followers) = cluster.roles();
    let mut client = Native::connect(cluster.member(followers[0]).client);
    client.send((0..300).map(|number| put(&format!("k{number}"), b"v")));
    cluster.take(leader).kill();
    let replies = client.replies(300);
    let ended = |reply: &Reply| matches!(reply, Reply::Written(_) | Reply::Unknown { retryable: false, .. });
    assert!(replies.values().all(ended), "done or unknown: {replies:?}");
    for (id, reply) in replies {
        if let Reply::Written(_) = reply {
            assert_eq!(value(client.ask(get(&format!("k{}", id - 1)))), "v");
        }
    }
    assert!(matches!(client.ask(put("after", b"v")), Reply::Written(_)), "the next one leads");
}

/// Everything that comes until the connection is closed.
fn until_closed(stream: &mut TcpStream) -> Vec<u8> {
    let mut read = BytesMut::new();
    while more(stream, &mut read) > 0 {}
    read.to_vec()
}

#[test]
fn what_is_no_greeting_is_cut_off_and_nobody_else_notices() {
    let process = Store::new(REPLICATION).start();
    let begins = |bytes: &[u8]| {
        let mut stream = TcpStream::connect(process.client).expect("the port is open");
        stream.set_read_timeout(Some(LONG)).expect("a time limit");
        stream.write_all(bytes).expect("it goes out");
        stream
    };
    assert_eq!(until_closed(&mut begins(&[FIRST_BYTE, b'X', 0, 0])), b"");
    let answer = until_closed(&mut begins(&[0x16, 3, 1, 0, 200]));
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"), "{answer:?}");

    let mut newer = BytesMut::new();
    ClientHello { version: 900, version_min: 800 }.encode(&mut newer);
    let answer = until_closed(&mut begins(&newer));
    let greeting = Greeting::decode(&mut BytesMut::from(&answer[..]));
    assert_eq!(greeting, Ok(Some(Greeting::TurnedAway { min: 1, max: 1 })));

    // Those who begin and say no more hold up neither others nor the end.
    let _silent = (begins(&[FIRST_BYTE]), begins(b""), begins(b"GET /v1"));
    let mut client = Native::connect(process.client);
    assert!(matches!(client.ask(put("k", b"v")), Reply::Written(_)));
    let mut idle = Native::connect(process.client);
    let began = Instant::now();
    process.stop();
    assert!(began.elapsed() < Duration::from_secs(20), "idle connections held up the end");
    assert!(idle.next().is_none() && client.next().is_none());
}

#[test]
fn a_frame_that_cannot_be_ends_its_connection_after_what_came_before_it() {
    let process = Store::new(REPLICATION).start();
    for frame in [
        (REQUEST_BYTES_MAX as u32 + 1).to_le_bytes().to_vec(),
        vec![9, 0, 0, 0, 250, 0, 0, 0, 0, 0, 0, 0, 0], // a kind that nobody knows
        vec![3, 0, 0, 0, 1, 0, 0],
    ] {
        let mut client = Native::connect(process.client);
        client.send([put("k", b"v")]);
        client.stream.write_all(&frame).expect("it goes out");
        // The answer to what came before may or may not get out in time; nothing else does.
        let mut answers = 0;
        while let Some((_, reply)) = client.next() {
            assert!(matches!(reply, Reply::Written(_)), "{reply:?}");
            answers += 1;
        }
        assert!(answers <= 1);
    }
    assert_eq!(process.get("/v1/kv/k").body, b"v");
}

#[test]
fn a_client_that_does_not_read_is_read_no_further_and_hurts_nobody() {
    let process = Store::new(REPLICATION).start();
    let mut slow = Native::connect(process.client);
    let large = vec![7; 512 * 1024];
    assert!(matches!(slow.ask(put("large", &large)), Reply::Written(_)));
    let reads = 300; // 150 MiB of answers
    slow.send((0..reads).map(|_| get("large")));
    let mut other = Native::connect(process.client);
    for number in 0..20 {
        assert!(matches!(other.ask(put(&format!("k{number}"), b"v")), Reply::Written(_)));
    }
    let (mut found, mut refused) = (0, 0);
    for reply in slow.replies(reads).into_values() {
        match reply {
            Reply::Found { value, .. } => {
                assert_eq!(value.bytes.len(), large.len());
                found += 1;
            }
            other => {
                assert_eq!(code(&other), "Overloaded");
                refused += 1;
            }
        }
    }
    assert!(found > 0 && refused > 0, "{found} found, {refused} refused: memory has a bound");
}

#[test]
fn a_client_that_sends_half_and_leaves_is_done_for_what_was_whole() {
    let process = Store::new(REPLICATION).start();
    let mut client = Native::connect(process.client);
    client.send([put("whole", b"v")]);
    let mut half = BytesMut::new();
    put("half", b"value").encode(9, &mut half).expect("it fits");
    client.stream.write_all(&half[..half.len() - 1]).expect("it goes out");
    client.stream.shutdown(Shutdown::Write).expect("it was open");
    while client.next().is_some() {}
    process.until("written", || process.get("/v1/kv/whole").status == 200);
    assert_eq!(process.get("/v1/kv/half").status, 404);
}

#[test]
fn a_unix_socket_speaks_both_protocols_and_goes_with_its_member() {
    let store = Store::new(REPLICATION);
    let path = store.folder.path().join("client.sock");
    let command = || {
        let mut command = store.command();
        command.arg("--client-socket").arg(&path);
        command
    };
    let process = Process::start(command());
    assert_eq!(fs::metadata(&path).expect("it is there").permissions().mode() & 0o777, 0o660);
    let stream = || {
        let stream = UnixStream::connect(&path).expect("somebody listens");
        stream.set_read_timeout(Some(LONG)).expect("a time limit");
        stream
    };
    let mut client = Native::greet(stream());
    assert!(matches!(client.ask(put("k", b"v")), Reply::Written(_)));
    assert_eq!(value(client.ask(get("k"))), "v");
    let mut http = stream();
    http.write_all(b"GET /v1/kv/k HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").expect("it goes out");
    let mut answer = String::new();
    http.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("v"), "{answer}");
    drop(client);

    process.kill();
    assert!(path.exists(), "nobody was left to remove it");
    let process = Process::start(command());
    let mut client = Native::greet(stream());
    assert_eq!(value(client.ask(get("k"))), "v");
    drop(client);
    process.stop();
    assert!(!path.exists());

    fs::write(&path, "mine").expect("a file");
    let (code, said) = Process::fails(command());
    assert_eq!(code, Some(1));
    assert!(said.contains("--client-socket") && said.contains("no socket at all"), "{said}");
    assert_eq!(fs::read_to_string(&path).expect("it is left alone"), "mine");
}
