//! What calls come to when members do as a script says: one step for each request, the last one again and again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::BytesMut;
use holdfast_wire::native::{
    ClientHello, Greeting, MemberId, Ordinal, Position, Refusal, VERSION, Value as WireValue, Welcome,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// What to do with a request.
#[derive(Clone, Debug)]
enum Step {
    Reply(Reply),
    /// Close the connection without a word.
    Close,
    /// Never answer.
    Hang,
}

/// A scripted member on loopback. Its task ends with the test's runtime.
struct Member {
    endpoint: String,
    asked: Arc<AtomicUsize>,
    connected: Arc<AtomicUsize>,
}

fn written() -> Reply {
    Reply::Written(Written {
        revision: 7,
        position: Position::default(),
        concern: holdfast_wire::native::WriteConcern::Majority,
        reached: 2,
        satisfied: true,
        outcome: Outcome::Put { previous: None },
    })
}

fn found() -> Reply {
    let value =
        WireValue { bytes: Bytes::from_static(b"v"), create_revision: 2, mod_revision: 3, version: 1 };
    Reply::Found { revision: 9, value }
}

fn refused(code: ProblemCode) -> Step {
    Step::Reply(Reply::Refused(Refusal {
        code: code.to_string(),
        retryable: code.retryable(),
        retry_after_ms: None,
        leader: None,
        revision: None,
        detail: "the script says so".to_owned(),
    }))
}

fn unknown() -> Step {
    Step::Reply(Reply::Unknown { retryable: false, detail: "the script says so".to_owned() })
}

impl Member {
    async fn start(ordinal: u8, leader: u8, steps: impl IntoIterator<Item = Step>) -> Member {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = listener.local_addr().expect("an address").to_string();
        let member = Member { endpoint, asked: Arc::default(), connected: Arc::default() };
        let (asked, connected) = (member.asked.clone(), member.connected.clone());
        let steps: Arc<[Step]> = steps.into_iter().collect();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connected.fetch_add(1, Relaxed);
                let welcome = Welcome {
                    version: VERSION,
                    member: MemberId { ordinal: Ordinal(ordinal), ..MemberId::default() },
                    members: 3,
                    leader: Some(Ordinal(leader)),
                    request_bytes_max: 1,
                    in_flight_max: 1,
                };
                tokio::spawn(play(stream, welcome, steps.clone(), asked.clone()));
            }
        });
        member
    }
}

async fn play(mut stream: TcpStream, welcome: Welcome, steps: Arc<[Step]>, asked: Arc<AtomicUsize>) {
    let mut read = BytesMut::new();
    while ClientHello::decode(&mut read).expect("a hello").is_none() {
        stream.read_buf(&mut read).await.expect("a hello");
    }
    let mut out = BytesMut::new();
    Greeting::Welcome(welcome).encode(&mut out);
    loop {
        stream.write_all(&out).await.expect("it goes out");
        out.clear();
        while let Some((id, _)) = Request::decode(&mut read).expect("a request") {
            let number = asked.fetch_add(1, Relaxed).min(steps.len() - 1);
            match &steps[number] {
                Step::Reply(reply) => reply.encode(id, &mut out).expect("it fits"),
                Step::Close => return,
                Step::Hang => {}
            }
        }
        if !out.is_empty() {
            continue;
        }
        if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
            return;
        }
    }
}

fn client(members: &[&Member]) -> NativeClient {
    let endpoints = members.iter().map(|member| &member.endpoint);
    NativeClient::new(endpoints).expect("addresses").with_deadline(Duration::from_millis(600))
}

/// What a call came to, in a word.
fn word<T>(result: Result<T, Error>) -> &'static str {
    match result {
        Ok(_) => "done",
        Err(Error::Refused(_)) => "refused",
        Err(Error::Unknown { .. }) => "unknown",
        Err(Error::Unreachable { .. }) => "unreachable",
        Err(Error::Protocol { .. }) => "protocol",
    }
}

/// What a read, a write with a session and one without come to if the first member does so, and the second answers.
async fn check(first: Step, expected: [&str; 3]) {
    let mut got = Vec::new();
    for call in ["read", "write", "bare write"] {
        let answer = if call == "read" { found() } else { written() };
        let one = Member::start(0, 0, [first.clone()]).await;
        let other = Member::start(1, 0, [Step::Reply(answer)]).await;
        let client = client(&[&one, &other]);
        got.push(match call {
            "read" => word(client.get("k", ReadOptions::default()).await),
            "write" => word(client.put("k", "v", WriteOptions::default()).await),
            _ => word(client.without_sessions().put("k", "v", WriteOptions::default()).await),
        });
        assert_eq!(one.asked.load(Relaxed), 1, "{call} after {first:?}");
    }
    assert_eq!(got, expected, "{first:?}");
}

#[tokio::test]
async fn what_may_have_happened_is_repeated_only_where_that_is_harmless() {
    check(Step::Close, ["done", "done", "unknown"]).await;
    check(unknown(), ["done", "done", "unknown"]).await;
    check(refused(ProblemCode::NoLeader), ["done", "done", "done"]).await;
    check(refused(ProblemCode::QuotaExceeded), ["refused", "refused", "refused"]).await;
}

#[tokio::test]
async fn a_member_that_never_answers_is_given_up_in_time() {
    let silent = Member::start(0, 0, [Step::Hang]).await;
    let client = client(&[&silent]).with_deadline(Duration::from_millis(50));
    let began = Instant::now();
    assert_eq!(word(client.get("k", ReadOptions::default()).await), "unreachable");
    assert_eq!(word(client.put("k", "v", WriteOptions::default()).await), "unknown");
    assert!(began.elapsed() >= Duration::from_millis(100));
    assert_eq!(silent.connected.load(Relaxed), 1, "the connection is still good");
}

#[tokio::test]
async fn nobody_there_is_told_apart_from_nobody_knows() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let endpoint = nobody.local_addr().expect("an address").to_string();
    drop(nobody);
    let client = NativeClient::new([&endpoint]).expect("an address").with_deadline(Duration::from_millis(50));
    assert_eq!(word(client.put("k", "v", WriteOptions::default()).await), "unreachable");

    let full = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let endpoint = full.local_addr().expect("an address").to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = full.accept().await {
            let _ = stream.write_all(b"HTTP/1.1 429 Too Many Requests\r\n\r\n").await;
        }
    });
    let client = NativeClient::new([&endpoint]).expect("an address").with_deadline(Duration::from_millis(50));
    let error = client.get("k", ReadOptions::default()).await.expect_err("it is full").to_string();
    assert!(error.contains("as many connections as it takes"), "{error}");
}

#[tokio::test]
async fn a_broken_connection_is_made_anew() {
    let member = Member::start(0, 0, [Step::Reply(found()), Step::Close, Step::Reply(found())]).await;
    let client = client(&[&member]);
    for _ in 0..3 {
        assert_eq!(word(client.get("k", ReadOptions::default()).await), "done");
    }
    assert_eq!((member.asked.load(Relaxed), member.connected.load(Relaxed)), (4, 2));
}

#[tokio::test]
async fn many_callers_share_one_connection() {
    let member = Member::start(0, 0, [Step::Reply(written())]).await;
    let client = client(&[&member]).with_deadline(Duration::from_secs(20));
    let calls = (0..5000).map(|number| {
        let client = client.clone();
        tokio::spawn(async move { client.put(format!("k{number}"), "v", WriteOptions::default()).await })
    });
    for call in calls.collect::<Vec<_>>() {
        assert_eq!(call.await.expect("no panic").expect("written").revision, 7);
    }
    assert_eq!((member.asked.load(Relaxed), member.connected.load(Relaxed)), (5000, 1));
}

#[tokio::test]
async fn the_leader_is_found_and_asked_first() {
    let follower = Member::start(0, 1, [Step::Reply(found())]).await;
    let leader = Member::start(1, 1, [Step::Reply(found())]).await;
    let client = client(&[&follower, &leader]);
    for _ in 0..5 {
        client.get("k", ReadOptions::default()).await.expect("found");
    }
    assert!(leader.asked.load(Relaxed) >= 3, "{} of 5", leader.asked.load(Relaxed));
}

#[tokio::test]
async fn what_the_protocol_cannot_carry_is_refused_before_it_is_sent() {
    let member = Member::start(0, 0, [Step::Reply(written())]).await;
    let client = client(&[&member]);
    let code = |result: Result<Written, Error>| result.expect_err("refused").code();
    let long = vec![b'k'; KEY_BYTES_MAX + 1];
    assert_eq!(code(client.put(long, "v", WriteOptions::default()).await), Some(ProblemCode::InvalidKey));
    let large = vec![0; 3 * 1024 * 1024];
    assert_eq!(code(client.put("k", large, WriteOptions::default()).await), Some(ProblemCode::TooLarge));
    let operation = TxnOperation::Delete(Keys::Key(Bytes::from_static(b"k")));
    let txn = Txn { success: vec![operation; 129], ..Txn::default() };
    assert_eq!(code(client.txn(txn, None).await), Some(ProblemCode::TooManyOperations));
    assert_eq!(member.asked.load(Relaxed), 0);
}
