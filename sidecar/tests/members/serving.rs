//! What a healthy store does.

use std::time::Duration;

use bytes::Bytes;
use holdfast_engine::{Ordinal, WriteConcern};
use holdfast_sidecar::core::{Consistency, Failure, RefusalCode, WriteRequest};
use holdfast_store::{Outcome, Revision};

use crate::cluster::{Cluster, PATIENCE, get, put, write};

#[tokio::test(flavor = "multi_thread")]
async fn any_member_takes_writes_and_every_member_reads_them() {
    let cluster = Cluster::start(3).await;
    cluster.leader().await;
    for ordinal in cluster.running() {
        let (key, value) = (format!("key-{ordinal}"), format!("value-{ordinal}"));
        let written = write(&cluster.handle(ordinal), put(&key, value.clone())).await.expect("a write");
        assert!(written.satisfied && written.reached >= 2, "{written:?}");
        assert!(matches!(written.outcome, Outcome::Put { previous: None, .. }), "{written:?}");
        for reader in cluster.running() {
            let read = get(&cluster.handle(reader), &key, Consistency::Linearizable).await;
            assert_eq!(read.as_deref(), Some(value.as_bytes()), "member {reader} reads what {ordinal} wrote");
        }
    }
    let revision = cluster.status(0).await.revision;
    for ordinal in cluster.running() {
        cluster.until(ordinal, |status| status.revision >= revision).await;
        assert!(get(&cluster.handle(ordinal), "key-0", Consistency::Local).await.is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn concerns_wait_for_as_many_members_as_they_say() {
    let mut cluster = Cluster::start(3).await;
    let (leader, follower) = (cluster.leader().await, cluster.follower().await);
    for ordinal in [leader, follower] {
        for (concern, least) in [
            (WriteConcern::Members(1), 1),
            (WriteConcern::Majority, 2),
            (WriteConcern::Members(3), 3),
            (WriteConcern::All, 3),
        ] {
            let request = WriteRequest { concern, ..put("key", "value") };
            let written = write(&cluster.handle(ordinal), request).await.expect("a write");
            assert!(written.satisfied && written.reached >= least, "{concern} at {ordinal}: {written:?}");
        }
        let request = WriteRequest { concern: WriteConcern::Members(4), ..put("key", "value") };
        let refused = write(&cluster.handle(ordinal), request).await;
        assert!(
            matches!(refused, Err(Failure::Refused { code: RefusalCode::ConcernTooHigh, .. })),
            "{refused:?}"
        );
    }
    cluster.kill(follower);
    for ordinal in cluster.running() {
        let timeout = Duration::from_millis(800);
        let request = WriteRequest { concern: WriteConcern::All, timeout, ..put("key", "value") };
        let written = write(&cluster.handle(ordinal), request).await.expect("it is committed");
        assert!(!written.satisfied && written.reached == 2, "{written:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_clients_at_every_member_get_their_own_answers() {
    let cluster = Cluster::start(3).await;
    cluster.leader().await;
    let clients = (0..48u64).map(|client| {
        let handle = cluster.handle((client % 3) as u8);
        tokio::spawn(async move {
            let mut last = Revision(0);
            for n in 0..50 {
                let request = put(&format!("{client}"), format!("{client}/{n}"));
                let written = write(&handle, request).await.expect("a write");
                let Outcome::Put { revision, previous } = written.outcome else { panic!("{written:?}") };
                assert_eq!(previous, (n > 0).then_some(last), "nobody else writes this key");
                last = revision;
                let read = get(&handle, &format!("{client}"), Consistency::Linearizable).await;
                assert_eq!(read, Some(Bytes::from(format!("{client}/{n}"))));
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.expect("a client");
    }
    let leader = cluster.status(cluster.leader().await).await;
    let commit = leader.positions.commit;
    let mut hashes = Vec::new();
    for ordinal in cluster.running() {
        let status = cluster.until(ordinal, |status| status.positions.commit >= commit).await;
        hashes.push(status.state_hash);
    }
    assert!(hashes.windows(2).all(|pair| pair[0] == pair[1]), "{hashes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_gets_what_was_and_what_comes_in_order_and_once() {
    let cluster = Cluster::start(3).await;
    let (leader, follower) = (cluster.leader().await, cluster.follower().await);
    let mut revisions = Vec::new();
    for n in 0..10 {
        let written =
            write(&cluster.handle(leader), put(&format!("watched/{n}"), "")).await.expect("a write");
        let Outcome::Put { revision, .. } = written.outcome else { panic!("{written:?}") };
        revisions.push(revision);
        write(&cluster.handle(leader), put("elsewhere", "")).await.expect("a write");
    }
    cluster.until(follower, |status| status.revision > revisions[9].0).await;
    let from = Some(revisions[3]);
    let mut watch =
        cluster.handle(follower).watch(from, Bytes::from_static(b"watched/")).await.expect("a watch");
    for n in 10..20 {
        let written =
            write(&cluster.handle(follower), put(&format!("watched/{n}"), "")).await.expect("a write");
        let Outcome::Put { revision, .. } = written.outcome else { panic!("{written:?}") };
        revisions.push(revision);
    }
    let mut seen = Vec::new();
    while seen.len() < 17 {
        let batch = tokio::time::timeout(PATIENCE, watch.next()).await.expect("events");
        let batch = batch.expect("no end").expect("no error");
        seen.extend(batch.events.iter().map(holdfast_store::Event::revision));
        assert!(watch.resume() > batch.revision);
    }
    assert_eq!(seen, revisions[3..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_goes_where_it_is_asked_to_from_any_member() {
    let cluster = Cluster::start(3).await;
    for asked in [0, 1, 2, 1, 0] {
        let leader = cluster.leader().await;
        let via = cluster.handle((leader + 1) % 3);
        let handed_over = via.hand_over(Some(Ordinal(asked)), PATIENCE).await.expect("a hand-over");
        assert_eq!(handed_over.leader, Ordinal(asked));
        assert_eq!(cluster.leader().await, asked);
        write(&cluster.handle(leader), put("key", "value")).await.expect("a write");
    }
    let nobody = cluster.handle(0).hand_over(Some(Ordinal(3)), PATIENCE).await;
    assert!(matches!(nobody, Err(Failure::Refused { code: RefusalCode::NoSuchMember, .. })), "{nobody:?}");
}
