//! Callers at the peer port that are no peers, or not as they should be.

use std::time::Duration;

use bytes::{BufMut, BytesMut};
use holdfast_engine::{Incarnation, MemberId, Ordinal, StoreId};
use holdfast_sidecar::core::Consistency;
use holdfast_wire::{Frame, Greeting, Hello, Purpose, TurnedAway};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::cluster::{Cluster, PATIENCE, get, put, write};

fn hello(cluster: &Cluster, ordinal: u8) -> Hello {
    Hello {
        store: cluster.name.clone(),
        store_id: None,
        member: MemberId { ordinal: Ordinal(ordinal), incarnation: Incarnation(1) },
        process: 7,
        purpose: Purpose::Replication,
    }
}

/// Say `bytes`, and hear what comes until the other side closes.
async fn say(address: &str, bytes: &[u8]) -> BytesMut {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    // Refused before it is read to its end, it may be reset while we write.
    let _ = stream.write_all(bytes).await;
    let mut heard = BytesMut::new();
    let closed = async { while matches!(stream.read_buf(&mut heard).await, Ok(read) if read > 0) {} };
    tokio::time::timeout(PATIENCE, closed).await.expect("the connection is closed");
    heard
}

async fn greet(address: &str, hello: Hello) -> Option<Greeting> {
    let mut bytes = BytesMut::new();
    Greeting::Hello(hello).encode(&mut bytes);
    Greeting::decode(&mut say(address, &bytes).await).expect("a greeting")
}

async fn works(cluster: &Cluster) {
    write(&cluster.handle(0), put("key", "value")).await.expect("a write");
    assert!(get(&cluster.handle(1), "key", Consistency::Linearizable).await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_that_are_mistaken_are_told_so() {
    let cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let address = &cluster.addresses[usize::from(leader)];
    let turned_away = |greeting| match greeting {
        Some(Greeting::TurnedAway(why)) => why,
        other => panic!("{other:?}"),
    };
    let other_store = Hello { store: "test/other".to_owned(), ..hello(&cluster, 1) };
    let why = turned_away(greet(address, other_store).await);
    assert_eq!(why, TurnedAway::OtherStore { store: cluster.name.clone() });
    let same_name = Hello { store_id: Some(StoreId(1)), ..hello(&cluster, 1) };
    let why = turned_away(greet(address, same_name).await);
    assert!(matches!(why, TurnedAway::OtherFormation { .. }), "{why:?}");
    let why = turned_away(greet(address, hello(&cluster, 7)).await);
    assert_eq!(why, TurnedAway::NoSuchOrdinal { ordinal: Ordinal(7), members: 7 });
    let why = turned_away(greet(address, hello(&cluster, leader)).await);
    assert_eq!(why, TurnedAway::OwnOrdinal { ordinal: Ordinal(leader) });
    let position = holdfast_engine::Position::ZERO;
    let fetch = Hello { purpose: Purpose::CheckpointFetch { position }, ..hello(&cluster, (leader + 1) % 3) };
    let why = turned_away(greet(address, fetch).await);
    assert_eq!(why, TurnedAway::NoCheckpoint { position });
    works(&cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_is_hung_up_on() {
    let cluster = Cluster::start(3).await;
    cluster.leader().await;
    let address = &cluster.addresses[0];
    assert!(say(address, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.is_empty());
    assert!(say(address, &[0; 4096]).await.is_empty());
    let mut cut = BytesMut::new();
    Greeting::Hello(hello(&cluster, 1)).encode(&mut cut);
    cut.truncate(20);
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(&cut).await.expect("it is taken");
    // It has five seconds for the rest.
    let mut byte = [0];
    let closed = tokio::time::timeout(Duration::from_secs(30), stream.read(&mut byte)).await;
    assert!(matches!(closed, Ok(Ok(0) | Err(_))), "{closed:?}");
    works(&cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_frames_end_their_connection_and_nothing_else() {
    let cluster = Cluster::start(3).await;
    cluster.leader().await;
    let mut frames: Vec<BytesMut> = Vec::new();
    let mut bytes = |fill: &dyn Fn(&mut BytesMut)| {
        let mut frame = BytesMut::new();
        fill(&mut frame);
        frames.push(frame);
    };
    bytes(&|frame| frame.put_u32_le(0));
    bytes(&|frame| frame.put_u32_le(u32::MAX));
    bytes(&|frame| {
        frame.put_u32_le(2);
        frame.put_slice(&[200, 1]);
    });
    bytes(&|frame| {
        frame.put_u32_le(3);
        frame.put_slice(&[6, 1, 1]);
    });
    bytes(&|frame| Frame::CheckpointEnd { chunks: 0, bytes: 0 }.encode(frame).expect("a frame"));
    for frame in frames {
        let mut all = BytesMut::new();
        Greeting::Hello(hello(&cluster, 2)).encode(&mut all);
        all.put_slice(&frame);
        let heard = Greeting::decode(&mut say(&cluster.addresses[0], &all).await);
        assert!(matches!(heard, Ok(Some(Greeting::Hello(_)))), "welcome, until the frame: {heard:?}");
        works(&cluster).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_silent_callers_keeps_no_peer_out() {
    let mut cluster = Cluster::start(3).await;
    cluster.leader().await;
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(TcpStream::connect(&cluster.addresses[0]).await.expect("a connection"));
    }
    works(&cluster).await;
    // A peer that dials while they hold all places gets its turn when their time is up.
    cluster.kill(1);
    cluster.restart(1).await;
    cluster.until(1, |status| status.peers.iter().all(|peer| peer.connected)).await;
    works(&cluster).await;
}
