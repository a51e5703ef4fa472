//! A store of several members in this process, on loopback ports and temporary folders.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use holdfast_api::http::{Role, Status};
use holdfast_api::{Removal, removal};
use holdfast_engine::{MEMBERS_MAX, Ordinal, WriteConcern};
use holdfast_sidecar::core::{
    Answer, Consistency, Failure, Faults, Handle, Query, ReadRequest, Timing, WriteRequest, Written,
};
use holdfast_sidecar::member::{Broken, Member, MemberOptions, StartError};
use holdfast_sidecar::metrics::Metrics;
use holdfast_storage::{Compression, LogPolicy, Options};
use holdfast_store::{Command, Expect, Operation, SessionId, Stamp};
use tokio::net::TcpListener;

/// Nothing in these tests takes nearly as long on a machine that is not overloaded.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How long a client waits.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);

pub(crate) struct Cluster {
    pub(crate) name: String,
    pub(crate) log: LogPolicy,
    pub(crate) timing: Timing,
    /// What each member does wrong on purpose when it starts.
    pub(crate) faults: [Faults; MEMBERS_MAX],
    /// Whether the members that are started from now on keep checkpoints in [`Cluster::outside`] too.
    pub(crate) keeps_outside: bool,
    /// How many members it is to have.
    pub(crate) replicas: u8,
    pub(crate) addresses: Vec<String>,
    pub(crate) members: Vec<Option<Member>>,
    folder: tempfile::TempDir,
}

impl Cluster {
    /// A store of so many members with logs on disk, all started.
    pub(crate) async fn start(members: usize) -> Cluster {
        Cluster::start_with(members, LogPolicy::Kept, Cluster::timing()).await
    }

    /// Short intervals, and no checkpoints by time.
    pub(crate) fn timing() -> Timing {
        Timing {
            heartbeat_interval: Duration::from_millis(50),
            heartbeat_timeout: Duration::from_millis(500),
            checkpoint_interval: None,
            checkpoint_retain: NonZeroUsize::MIN,
            checkpoint_compression: Compression::None,
        }
    }

    pub(crate) async fn start_with(members: usize, log: LogPolicy, timing: Timing) -> Cluster {
        // For whoever looks at a failed run.
        let _ = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_test_writer()
            .try_init();
        let mut listeners = Vec::new();
        for _ in 0..members {
            listeners.push(TcpListener::bind("127.0.0.1:0").await.expect("a port"));
        }
        let address = |listener: &TcpListener| listener.local_addr().expect("an address").to_string();
        let mut cluster = Cluster {
            name: "test/orders".to_owned(),
            log,
            timing,
            faults: Default::default(),
            keeps_outside: false,
            replicas: members as u8,
            addresses: listeners.iter().map(address).collect(),
            members: (0..members).map(|_| None).collect(),
            folder: tempfile::tempdir().expect("a folder"),
        };
        for (listener, ordinal) in listeners.into_iter().zip(0..) {
            let member = Member::start(cluster.options(ordinal, listener)).await.expect("a member");
            cluster.members[usize::from(ordinal)] = Some(member);
        }
        cluster
    }

    pub(crate) fn options(&self, ordinal: u8, listener: TcpListener) -> MemberOptions {
        MemberOptions {
            store: self.name.clone(),
            ordinal: Ordinal(ordinal),
            members: self.replicas,
            peers: self.addresses.clone(),
            data: self.data(ordinal),
            log: self.log,
            log_options: Options { segment_bytes: 64 * 1024 },
            timing: self.timing,
            faults: self.faults[usize::from(ordinal)],
            in_sync: None,
            checkpoints_outside: self.keeps_outside.then(|| self.outside()),
            metrics: Metrics::new("orders", Ordinal(ordinal), self.members.len() as u8, false),
            peer_listener: listener,
        }
    }

    /// A folder outside of the members'.
    pub(crate) fn outside(&self) -> PathBuf {
        self.folder.path().join("outside")
    }

    pub(crate) fn data(&self, ordinal: u8) -> PathBuf {
        self.folder.path().join(ordinal.to_string())
    }

    pub(crate) fn handle(&self, ordinal: u8) -> Handle {
        self.members[usize::from(ordinal)].as_ref().expect("a running member").handle().clone()
    }

    /// The members that run.
    pub(crate) fn running(&self) -> Vec<u8> {
        (0..).zip(&self.members).filter(|(_, member)| member.is_some()).map(|(ordinal, _)| ordinal).collect()
    }

    /// End a member as a crash does.
    pub(crate) fn kill(&mut self, ordinal: u8) {
        drop(self.members[usize::from(ordinal)].take().expect("a running member"));
    }

    /// End a member in order.
    pub(crate) async fn stop(&mut self, ordinal: u8) {
        let mut member = self.members[usize::from(ordinal)].take().expect("a running member");
        member.handle().shut_down().await;
        member.ended().await.expect("an end in order");
    }

    /// Start a member again, as soon as what is left of the last one lets go of its port and folder.
    pub(crate) async fn restart(&mut self, ordinal: u8) {
        self.try_restart(ordinal).await.expect("a member");
    }

    pub(crate) async fn try_restart(&mut self, ordinal: u8) -> Result<(), StartError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let started = match TcpListener::bind(&self.addresses[usize::from(ordinal)]).await {
                Ok(listener) => Member::start(self.options(ordinal, listener)).await,
                Err(_) if Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    continue;
                }
                Err(error) => panic!("the port is not free again: {error}"),
            };
            match started {
                Ok(member) => {
                    self.members[usize::from(ordinal)] = Some(member);
                    return Ok(());
                }
                Err(StartError::Open { source: holdfast_storage::OpenError::Locked { .. }, .. })
                    if Instant::now() < deadline =>
                {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Have more members: those who are there are told first, then the new ones start.
    pub(crate) async fn grow(&mut self, replicas: u8) {
        let mut listeners = Vec::new();
        for _ in self.addresses.len()..usize::from(replicas) {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            self.addresses.push(listener.local_addr().expect("an address").to_string());
            self.members.push(None);
            listeners.push(listener);
        }
        self.resize(replicas).await;
        for (listener, ordinal) in listeners.into_iter().rev().zip((0..replicas).rev()) {
            let member = Member::start(self.options(ordinal, listener)).await.expect("a member");
            self.members[usize::from(ordinal)] = Some(member);
        }
    }

    /// Have fewer members: all are told, those who are to go are removed, and then the others forget them. Returns how
    /// those ended.
    pub(crate) async fn shrink(&mut self, replicas: u8) -> Vec<Result<(), Broken>> {
        self.resize(replicas).await;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut statuses = Vec::new();
            for ordinal in self.running() {
                // Who is removed ends by itself.
                statuses.extend(self.handle(ordinal).status().await);
            }
            let removal = removal(replicas, statuses.iter());
            if removal == Removal::Done {
                break;
            }
            assert!(Instant::now() < deadline, "{removal}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let mut ends = Vec::new();
        for member in self.members.split_off(replicas.into()).into_iter().flatten() {
            let mut member = member;
            let ended = tokio::time::timeout(PATIENCE, member.ended()).await;
            ends.push(ended.expect("a removed member ends"));
        }
        self.addresses.truncate(replicas.into());
        self.resize(replicas).await;
        ends
    }

    async fn resize(&mut self, replicas: u8) {
        self.replicas = replicas;
        for ordinal in self.running() {
            let told = self.handle(ordinal).resize(replicas, self.addresses.clone()).await;
            told.expect("it runs");
        }
    }

    pub(crate) async fn status(&self, ordinal: u8) -> Status {
        self.handle(ordinal).status().await.expect("a status")
    }

    /// The leader that all running members agree on.
    pub(crate) async fn leader(&self) -> u8 {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut seen = Vec::new();
            for ordinal in self.running() {
                let status = self.status(ordinal).await;
                seen.push((status.leader, status.term, status.role == Role::Leader));
            }
            let agreed = seen.windows(2).all(|pair| (pair[0].0, pair[0].1) == (pair[1].0, pair[1].1));
            if let (Some(leader), true) = (seen[0].0, agreed)
                && self.running().contains(&leader)
                && seen.iter().any(|&(_, _, leads)| leads)
            {
                return leader;
            }
            assert!(Instant::now() < deadline, "no leader: {seen:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// A running member that does not lead.
    pub(crate) async fn follower(&self) -> u8 {
        let leader = self.leader().await;
        self.running().into_iter().find(|&ordinal| ordinal != leader).expect("a follower")
    }

    /// Wait until `condition` holds of the member's status.
    pub(crate) async fn until(&self, ordinal: u8, condition: impl Fn(&Status) -> bool) -> Status {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.status(ordinal).await;
            if condition(&status) {
                return status;
            }
            assert!(Instant::now() < deadline, "it never came: {status:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// Put `value` under `key`, whatever was there.
pub(crate) fn put(key: &str, value: impl Into<Bytes>) -> WriteRequest {
    let operation =
        Operation::Put { key: Bytes::from(key.to_owned()), value: value.into(), expect: Expect::Any };
    let command = Command { session: None, operation };
    WriteRequest {
        command: command.encode(),
        concern: WriteConcern::Majority,
        timeout: TIMEOUT,
        retryable: false,
    }
}

/// As [`put`], stamped, so that it may be asked twice.
pub(crate) fn put_once(key: &str, value: &str, session: u128, sequence: u64) -> WriteRequest {
    let operation = Operation::Put {
        key: Bytes::from(key.to_owned()),
        value: Bytes::from(value.to_owned()),
        expect: Expect::Any,
    };
    let session = Some(Stamp { session: SessionId(session), sequence });
    WriteRequest { command: Command { session, operation }.encode(), retryable: true, ..put(key, "") }
}

pub(crate) async fn write(handle: &Handle, request: WriteRequest) -> Result<Written, Failure> {
    tokio::time::timeout(PATIENCE, handle.write(request)).await.expect("an answer")
}

pub(crate) async fn get(handle: &Handle, key: &str, consistency: Consistency) -> Option<Bytes> {
    let query = Query::Get { key: Bytes::from(key.to_owned()), at: None };
    let request = ReadRequest { query, consistency, timeout: TIMEOUT };
    let reply = tokio::time::timeout(PATIENCE, handle.read(request)).await.expect("an answer");
    match reply.expect("a reading").answer {
        Answer::Get(item) => item.map(|item| item.value),
        other => panic!("{other:?}"),
    }
}
