use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use holdfast_engine::{Index, Position, WriteConcern};
use holdfast_storage::{Fault, Scrubbed, WriteError};
use holdfast_store::{Command, Expect, Operation};

use super::assembling::hear;
use super::*;
use crate::core::{Failure, RefusalCode, WriteRequest};

/// Options of member `ordinal` of so many, where nobody else answers.
async fn options(folder: &Path, ordinal: u8, members: usize, log: LogPolicy) -> MemberOptions {
    MemberOptions {
        store: "test/orders".to_owned(),
        ordinal: Ordinal(ordinal),
        members: members as u8,
        peers: vec!["127.0.0.1:1".to_owned(); members],
        data: folder.to_owned(),
        log,
        log_options: LogOptions::default(),
        timing: Timing {
            heartbeat_interval: Duration::from_millis(50),
            heartbeat_timeout: Duration::from_millis(500),
            checkpoint_interval: None,
            checkpoint_retain: NonZeroUsize::MIN,
            checkpoint_compression: holdfast_storage::Compression::None,
        },
        faults: Faults::default(),
        in_sync: None,
        checkpoints_outside: None,
        metrics: Metrics::example(),
        peer_listener: tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port"),
    }
}

async fn member(folder: &Path) -> Member {
    Member::start(options(folder, 0, 1, LogPolicy::Kept).await).await.expect("a member")
}

fn put() -> WriteRequest {
    let (key, value) = (Bytes::from_static(b"key"), Bytes::from_static(b"value"));
    WriteRequest {
        command: Command::new(Operation::Put { key, value, expect: Expect::Any }).encode(),
        concern: WriteConcern::Majority,
        timeout: Duration::from_secs(30),
        retryable: false,
    }
}

#[tokio::test]
async fn a_disk_that_fails_ends_the_member_and_nothing_is_acknowledged_after() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut member = member(folder.path()).await;
    member.handle().write(put()).await.expect("a write");
    let end = Position::ZERO;
    let result = Err(WriteError::Gap { first: Index(9), start: end, end });
    member.queue.push_always(Event::Durable { result }).expect("it runs");
    let write = member.handle().write(put()).await;
    let broken = member.ended().await;
    assert!(matches!(broken, Err(Broken::Log(_))), "{broken:?}");
    assert!(write.is_err(), "{write:?}");
    let after = member.handle().write(put()).await;
    assert!(
        matches!(after, Err(Failure::Refused { code: RefusalCode::ShuttingDown, .. })),
        "nobody waits for a core that is gone: {after:?}"
    );
}

#[tokio::test]
async fn damage_that_is_found_ends_the_member_and_says_where() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut member = member(folder.path()).await;
    let path = folder.path().join("log/0000000001.segment");
    let fault = Fault { path, offset: 4711, what: holdfast_storage::Damage::Digest };
    hear(Scrubbed::Read(7), &Metrics::example(), &member.queue);
    hear(Scrubbed::Damaged(fault), &Metrics::example(), &member.queue);
    let broken = member.ended().await.expect_err("it ends");
    let text = broken.to_string();
    assert!(text.contains("is damaged at byte 4711"), "{text}");
}

#[tokio::test]
async fn two_processes_on_one_folder_are_told_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = member(folder.path()).await;
    let second = Member::start(options(folder.path(), 0, 1, LogPolicy::Kept).await).await.map(|_| ());
    assert!(matches!(second, Err(StartError::Open { source: OpenError::Locked { .. }, .. })), "{second:?}");
    first.handle().write(put()).await.expect("the first goes on");
}

#[tokio::test]
async fn nobody_can_be_a_member_that_cannot_be() {
    let folder = tempfile::tempdir().expect("a folder");
    for (ordinal, members) in [(3, 3), (0, 0), (0, 8)] {
        let options = options(folder.path(), ordinal, members, LogPolicy::Kept).await;
        let started = Member::start(options).await.map(|_| ());
        assert!(matches!(started, Err(StartError::Options(_))), "{ordinal} of {members}: {started:?}");
    }
}
