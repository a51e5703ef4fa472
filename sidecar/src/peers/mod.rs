//! The connections to the other members: one that this member dials to each peer, for all that it says, and one that
//! each peer dials here.
//!
//! A connection counts only once both sides have proved that they mean each other ([`handshake`]). Its end is told to
//! the core at once: that is how a dead leader is noticed. What the connections refuse to do: interpret messages,
//! keep them for later, or wait for the core while it could be told who is gone.

mod acceptor;
mod dialer;
mod handshake;
mod inbound;
mod link;
mod repair;
mod transfer;

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use holdfast_engine::{MEMBERS_MAX, MemberId, Ordinal, StoreId};
use holdfast_storage::Checkpoints;
use holdfast_wire::{Fingerprint, Purpose};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

pub(crate) use acceptor::answer_callers;
pub(crate) use dialer::store_of;
pub(crate) use handshake::HandshakeError;
pub(crate) use link::{Link, Pushed};
pub(crate) use repair::{Asking, Source};
pub(crate) use transfer::{FetchError, Fetched, Transfer, fetch, fetch_now};

use crate::core::queue::Queue;
use crate::metrics::Metrics;

/// A connection is given up when its peer is silent for so many heartbeat timeouts. A silent peer is either dead
/// without a trace, and then a new connection finds its successor, or it is stopped, and then nothing is lost.
const SILENCE_TIMEOUTS: u32 = 2;

/// A connection is never given up sooner than this, however short the heartbeat timeout is: on a busy machine a
/// whole process may stand still for some hundred milliseconds.
const SILENCE_MIN: Duration = Duration::from_secs(1);

/// What a member's connections need to know.
#[derive(Debug)]
pub(crate) struct PeersOptions {
    /// Who this member is.
    pub(crate) me: MemberId,
    /// The store's name.
    pub(crate) store: String,
    /// Which store of that name, if this member knows already.
    pub(crate) store_id: Option<StoreId>,
    /// The peer addresses of all members by ordinal, `host:port`; at most [`MEMBERS_MAX`].
    pub(crate) addresses: Vec<String>,
    /// After so long without word from the leader a follower campaigns.
    pub(crate) heartbeat_timeout: Duration,
    /// This member's checkpoints.
    pub(crate) files: Checkpoints,
    /// The way into the core.
    pub(crate) queue: Arc<Queue>,
    /// Where it is counted.
    pub(crate) metrics: Metrics,
    /// Where the entries are that members in repair ask for.
    pub(crate) source: Source,
    /// The core's own runtime, if there is a core: what peers say is read there, on its way to nobody else.
    pub(crate) on_core: Option<Handle>,
}

/// What all connections of a member share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) me: MemberId,
    /// Tells this process from the next one of the same member.
    pub(crate) process: u64,
    pub(crate) store: String,
    pub(crate) files: Checkpoints,
    pub(crate) queue: Arc<Queue>,
    pub(crate) runtime: Handle,
    on_core: Option<Handle>,
    pub(crate) metrics: Metrics,
    pub(crate) source: Source,
    /// Who answers other members about files, once somebody does.
    files_calls: OnceLock<mpsc::Sender<FilesCall>>,
    store_id: OnceLock<StoreId>,
    silence_ns: AtomicU64,
    fingerprint: Mutex<Option<Fingerprint>>,
    /// By ordinal; the one at this member's own ordinal is never used, and those beyond the store's members have no
    /// address: members come and go.
    peers: [Peer; MEMBERS_MAX],
}

/// A connection about files, made here or by another member; both sides have greeted.
#[derive(Debug)]
pub(crate) struct FilesCall {
    pub(crate) stream: TcpStream,
    /// What was read beyond the greeting.
    pub(crate) read: BytesMut,
    /// Who is at the other end.
    pub(crate) member: MemberId,
}

/// What is known of one peer outside the core.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) ordinal: Ordinal,
    /// `host:port`, as the settings say; `None` if they know of no such member.
    address: Mutex<Option<String>>,
    pub(crate) link: Arc<Link>,
    /// It has just connected here, or has another address, so that dialing it is worth a try now.
    pub(crate) appeared: Notify,
    /// Where it connected from, while it is connected: name services take a while to follow a restarted pod.
    pub(crate) seen_at: Mutex<Option<IpAddr>>,
    /// Which process of it connected here last.
    pub(crate) seen_process: AtomicU64,
    /// The connection from it.
    pub(crate) inbound: inbound::Slot,
}

/// The connections of one running member. Dropping it closes them.
#[derive(Debug)]
pub(crate) struct Peers {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

impl Peers {
    /// Listen, and dial everybody. Must run inside a tokio runtime.
    pub(crate) fn start(options: PeersOptions, listener: TcpListener) -> Peers {
        let shared = introduce(options);
        let mut tasks = JoinSet::new();
        let accepting = shared.clone();
        tasks.spawn(async move { match answer_callers(accepting, &listener).await {} });
        for peer in &shared.peers {
            if peer.ordinal != shared.me.ordinal {
                tasks.spawn(dialer::dial(shared.clone(), peer.ordinal));
            }
        }
        Peers { shared, tasks }
    }

    /// What the core may use of the connections.
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Close all connections.
    pub(crate) async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

/// What connections need, before there is one. Must run inside a tokio runtime.
pub(crate) fn introduce(options: PeersOptions) -> Arc<Shared> {
    let metrics = options.metrics;
    let mut addresses = options.addresses.into_iter();
    let peers = std::array::from_fn(|ordinal| {
        let ordinal = Ordinal(ordinal as u8);
        Peer {
            ordinal,
            address: Mutex::new(addresses.next()),
            link: Arc::new(Link::new(metrics.peer(ordinal).clone())),
            appeared: Notify::new(),
            seen_at: Mutex::default(),
            seen_process: AtomicU64::default(),
            inbound: inbound::Slot::default(),
        }
    });
    let shared = Arc::new(Shared {
        me: options.me,
        process: random(),
        store: options.store,
        files: options.files,
        queue: options.queue,
        runtime: Handle::current(),
        on_core: options.on_core,
        files_calls: OnceLock::new(),
        store_id: options.store_id.map_or_else(OnceLock::new, OnceLock::from),
        silence_ns: AtomicU64::default(),
        fingerprint: Mutex::default(),
        peers,
        metrics,
        source: options.source,
    });
    shared.set_heartbeat_timeout(options.heartbeat_timeout);
    shared
}

impl Drop for Peers {
    fn drop(&mut self) {
        // The tasks end with their set; what they wrote to is closed here.
        self.tasks.abort_all();
        for peer in &self.shared.peers {
            peer.link.disconnect();
        }
    }
}

impl Shared {
    /// The way out to a peer. There is one to every ordinal that a member can have; those to this member itself and to
    /// ordinals without a member are never connected.
    ///
    /// # Panics
    ///
    /// If no member can have the ordinal: [`MEMBERS_MAX`] and beyond.
    pub(crate) fn link(&self, ordinal: Ordinal) -> &Arc<Link> {
        &self.peer(ordinal).link
    }

    /// Call a member about files.
    pub(crate) async fn call_about_files(&self, ordinal: Ordinal) -> Result<FilesCall, HandshakeError> {
        let (stream, hello, read) = dialer::connect(self, self.peer(ordinal), Purpose::Files).await?;
        Ok(FilesCall { stream, read, member: hello.member })
    }

    /// Have the calls of other members about files answered from now on. The first answer stays.
    pub(crate) fn answer_about_files(&self, calls: mpsc::Sender<FilesCall>) {
        let _ = self.files_calls.set(calls);
    }

    /// Where a member's peer port is, if the settings know of such a member.
    pub(crate) fn address(&self, ordinal: Ordinal) -> Option<String> {
        self.peer(ordinal).address()
    }

    /// The store is formed now, or this member has learned it. The first answer stays.
    pub(crate) fn set_store_id(&self, store: StoreId) {
        let _ = self.store_id.set(store);
    }

    /// Silence is measured in heartbeat timeouts.
    pub(crate) fn set_heartbeat_timeout(&self, timeout: Duration) {
        let silence = (timeout * SILENCE_TIMEOUTS).max(SILENCE_MIN);
        self.silence_ns.store(u64::try_from(silence.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    /// The state as of a committed index, for the others to compare.
    pub(crate) fn set_fingerprint(&self, fingerprint: Fingerprint) {
        *self.fingerprint.lock().unwrap_or_else(PoisonError::into_inner) = Some(fingerprint);
    }

    /// The members' peer ports are elsewhere from now on, or there are more members, or fewer; connections that are
    /// established stay.
    pub(crate) fn readdress(&self, addresses: Vec<String>) {
        let addresses = addresses.into_iter().map(Some).chain(std::iter::repeat(None));
        for (peer, address) in self.peers.iter().zip(addresses) {
            *peer.address.lock().unwrap_or_else(PoisonError::into_inner) = address;
            peer.appeared.notify_one();
        }
    }

    fn peer(&self, ordinal: Ordinal) -> &Peer {
        &self.peers[usize::from(ordinal.0)]
    }

    fn store_id(&self) -> Option<StoreId> {
        self.store_id.get().copied()
    }

    fn silence(&self) -> Duration {
        Duration::from_nanos(self.silence_ns.load(Relaxed))
    }

    fn fingerprint(&self) -> Option<Fingerprint> {
        *self.fingerprint.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Peer {
    /// `host:port`, as the settings say, if they know of such a member.
    fn address(&self) -> Option<String> {
        self.address.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Small frames leave at once, and data that is not acknowledged for `silence` ends the connection.
fn prepare(stream: &TcpStream, silence: Duration) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    #[cfg(target_os = "linux")]
    socket2::SockRef::from(stream).set_tcp_user_timeout(Some(silence))?;
    #[cfg(not(target_os = "linux"))]
    let _ = silence;
    Ok(())
}

/// A number that nobody else draws.
///
/// # Panics
///
/// If the system has no randomness to give; no member can be told from another then.
pub(crate) fn random() -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).expect("the system's random source works");
    u64::from_le_bytes(bytes)
}
