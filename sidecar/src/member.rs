//! One member, put together: its folder, its core thread, its writer thread and its connections.
//!
//! What it refuses to do: speak HTTP, read settings files, or start again by itself when something broke. Whoever
//! started it ends the process then, and whatever runs the process starts the next one.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use holdfast_engine::{Config, Consensus, MEMBERS_MAX, MemberId, Ordinal};
use holdfast_storage::{
    CheckpointError, CheckpointFile, CheckpointReader, Checkpoints, Disk, Flushed, LogPolicy, LogWriter,
    OpenError, Opened, Options as LogOptions, Outside, Pace, Scrub, Scrubbed, Scrubber,
};
use holdfast_store::{RestoreError, Store};
use tokio::runtime::{self, Runtime};
use tokio::sync::oneshot;

use crate::authority::{Asker, InSync};
pub use crate::core::Broken;
use crate::core::Damage;
use crate::core::event::Event;
use crate::core::queue::Queue;
use crate::core::{CheckpointSettings, Core, CoreOptions, Faults, Handle, Timing, wanted};
use crate::loading::{LoadError, Taking, load};
use crate::metrics::Metrics;
use crate::outside;
use crate::peers::{Peers, PeersOptions, Shared, Source, random};
use crate::repair::{self, Progress, Ready};

/// Most bytes of entries in one message to a follower. Some hundred small entries; larger messages only delay what is
/// behind them.
const APPEND_BYTES_MAX: usize = 256 * 1024;

/// Most unacknowledged messages to one follower: together with the bytes in each, what a gigabit link with a round
/// trip of 100 ms holds.
const APPENDS_IN_FLIGHT_MAX: usize = 64;

/// Most bytes of entries that are not committed. What is beyond is refused, so that a store without its majority does
/// not eat its memory.
const UNCOMMITTED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Bytes of log kept in memory behind a checkpoint, for followers that are a little behind.
const LOG_BYTES_KEPT: usize = 16 * 1024 * 1024;

/// After a lost connection a member waits so long for each ordinal below its own before it campaigns: a few round
/// trips between neighbours, so that the first one has won before the next one tries.
const CAMPAIGN_STAGGER: Duration = Duration::from_millis(1);

/// What a member is told when it starts.
#[derive(Debug)]
pub struct MemberOptions {
    /// The store's name, `namespace/name`.
    pub store: String,
    /// Which member of it this is.
    pub ordinal: Ordinal,
    /// How many members the store is to have, `[1, MEMBERS_MAX]`.
    pub members: u8,
    /// The peer addresses of all members by ordinal, `host:port`; at least `members`. Further ones are of members that
    /// are to be removed. Host names are looked up at every dial.
    pub peers: Vec<String>,
    /// The folder that holds what the member must not forget. Created if it is not there.
    pub data: PathBuf,
    /// Whether there is a log on disk. Without one, every start is a new member that the others bring up; a store of one
    /// starts from its newest checkpoint.
    pub log: LogPolicy,
    /// Sizes of the log's files.
    pub log_options: LogOptions,
    /// Intervals.
    pub timing: Timing,
    /// What it does wrong on purpose.
    pub faults: Faults,
    /// What decides in the store, if that is not a majority.
    pub in_sync: Option<InSync>,
    /// The folder outside of the members where checkpoints are kept too, and from which a store begins that lost all of
    /// its members.
    pub checkpoints_outside: Option<PathBuf>,
    /// Where durations and events are counted.
    pub metrics: Metrics,
    /// Where the other members connect to; already bound, so that a taken port is found before anything is opened.
    pub peer_listener: tokio::net::TcpListener,
}

/// A running member. Dropping it ends it as a crash would.
#[derive(Debug)]
pub struct Member {
    handle: Handle,
    found: Found,
    queue: Arc<Queue>,
    peers: Option<Peers>,
    core: oneshot::Receiver<Result<(), Broken>>,
}

/// What a member found when it started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The store was formed before, and everything it held is lost: a store without log or checkpoint starts empty.
    pub lost_everything: bool,
    /// Bytes cut off the log's end because their write was never finished.
    pub torn_bytes: u64,
    /// What was repaired or put aside before, in words, if anything was.
    pub repaired: Option<String>,
}

impl Found {
    /// What a person should know about the start.
    fn note(&self) -> Option<String> {
        let lost = "everything this store held is lost: its strategy keeps nothing when the member stops; it began again, empty";
        self.lost_everything.then(|| lost.to_owned()).or_else(|| self.repaired.clone())
    }
}

/// Why a member did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Nobody can be such a member.
    #[error("{0}")]
    Options(String),
    /// The folder cannot be used.
    #[error("cannot use the folder {}", path.display())]
    Open {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: OpenError,
    },
    /// The checkpoints cannot be read.
    #[error("cannot read the checkpoints in {}", path.display())]
    Checkpoint {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: CheckpointError,
    },
    /// A checkpoint's bytes are those that were written, but they are not a state.
    #[error("the newest checkpoint in {} holds no state", path.display())]
    State {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: RestoreError,
    },
    /// The checkpoints outside of the members cannot be used.
    #[error("this member's folder is empty, and the checkpoints of its store in {} cannot be used", path.display())]
    Outside {
        /// Where they are.
        path: PathBuf,
        /// Why.
        #[source]
        source: CheckpointError,
    },
    /// The store was formed before, takes checkpoints, and none is there.
    #[error(
        "this store was formed before, but there is no checkpoint of it in {}; bring the checkpoints back, or remove \
         the folder to begin a new, empty store", path.display()
    )]
    CheckpointsGone {
        /// The folder.
        path: PathBuf,
    },
    /// The system gives no more threads.
    #[error("cannot start the {thread} thread")]
    Thread {
        /// Which.
        thread: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The start was cut short because the process is ending.
    #[error("the process is ending")]
    Ending,
}

/// What was restored from the folder.
struct Restored {
    opened: Opened,
    store: Store,
    newest: Option<CheckpointFile>,
}

impl Member {
    /// Open the folder, restore the state, start the threads and connect. Must run inside a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`StartError`]; nothing is left running then.
    pub async fn start(options: MemberOptions) -> Result<Member, StartError> {
        Member::start_and_tell(options, &Progress::default()).await
    }

    /// As [`Member::start`]; says in `progress` what it repairs before.
    ///
    /// # Errors
    ///
    /// [`StartError`]; nothing is left running then.
    pub async fn start_and_tell(options: MemberOptions, progress: &Progress) -> Result<Member, StartError> {
        check(&options)?;
        let ready = repair::open(&options, progress).await?;
        let Ready { opened, taking, repaired } = outside::begin(&options, ready, progress).await?;
        let (data, log, alone) = (options.data.clone(), options.log, options.peers.len() == 1);
        let restoring = tokio::task::spawn_blocking(move || restore(*opened, taking, data, log, alone));
        let restored = restoring.await.map_err(|_| StartError::Ending)??;
        let found = found(&options, &restored)?;
        let found = Found { repaired: repaired.or(found.repaired), ..found };
        let queue = Arc::new(Queue::default());
        let me = MemberId { ordinal: options.ordinal, incarnation: restored.opened.incarnation };
        let no_thread = |source| StartError::Thread { thread: "core", source };
        let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(no_thread)?;
        let on_core = runtime.handle().clone();
        let (peers, core) = assemble(options, restored, &found, &queue, runtime)?;
        let handle = Handle::new(queue.clone(), me, on_core);
        Ok(Member { handle, found, queue, peers: Some(peers), core })
    }

    /// The way to the core.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Its connections.
    ///
    /// # Panics
    ///
    /// If it has ended.
    pub(crate) fn connections(&self) -> Arc<Shared> {
        self.peers.as_ref().expect("a member that has not ended").shared().clone()
    }

    /// What it found when it started.
    pub fn found(&self) -> &Found {
        &self.found
    }

    /// Wait until the member has ended: `Ok` after [`Handle::shut_down`], else what broke. Cancel safe; once it has
    /// returned there is nothing to wait for any more.
    ///
    /// # Errors
    ///
    /// [`Broken`].
    pub async fn ended(&mut self) -> Result<(), Broken> {
        // The core ends without a word only by a panic.
        let result = (&mut self.core).await.unwrap_or(Err(Broken::Panicked));
        if let Some(peers) = self.peers.take() {
            peers.stop().await;
        }
        result
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.queue.push_always(Event::Crash);
    }
}

fn check(options: &MemberOptions) -> Result<(), StartError> {
    let (members, peers) = (options.members, options.peers.len());
    let wrong = if members == 0 || !(usize::from(members)..=MEMBERS_MAX).contains(&peers) {
        format!("a store has 1 to {MEMBERS_MAX} members with an address each, not {members} with {peers}")
    } else if usize::from(options.ordinal.0) >= peers {
        format!("there is no member {} in a store of {peers}", options.ordinal)
    } else {
        return Ok(());
    };
    Err(StartError::Options(wrong))
}

/// Build the state up from the folder's newest checkpoint. Takes as long as reading that takes.
fn restore(
    mut opened: Opened,
    taking: Taking,
    path: PathBuf,
    log: LogPolicy,
    alone: bool,
) -> Result<Restored, StartError> {
    if log == LogPolicy::None && !alone {
        // Without a log it is a new member, which the others bring up; its old checkpoints served those alone.
        opened.checkpoint = None;
        opened.restored.checkpoint = None;
    }
    for damaged in &opened.damaged_checkpoints {
        let (path, offset, what) = (damaged.path.display(), damaged.offset, damaged.what);
        tracing::warn!(%path, offset, %what, "a checkpoint is damaged; it is not needed");
    }
    let damaged = |source| StartError::Checkpoint { path: path.clone(), source };
    let store = match opened.checkpoint.take() {
        None => Store::new(),
        Some(reader) => taken_or_loaded(taking, reader).map_err(|error| match error {
            LoadError::File(source) => damaged(source),
            LoadError::State(source) => StartError::State { path: path.clone(), source },
            LoadError::Thread(source) => StartError::Thread { thread: "load", source },
        })?,
    };
    let newest = opened.restored.checkpoint.map(|checkpoint| checkpoint.position);
    let files = opened.disk.checkpoints().list().map_err(damaged)?;
    let newest = files.into_iter().find(|file| Some(file.position) == newest);
    Ok(Restored { opened, store, newest })
}

/// The state was taken while the folder was opened. If it was not, read the file once more.
fn taken_or_loaded(taking: Taking, reader: CheckpointReader) -> Result<Store, LoadError> {
    taking.finish(reader.checkpoint()).unwrap_or_else(|| load(reader))
}

/// What is worth telling, and whether the member may start at all with what there is.
fn found(options: &MemberOptions, restored: &Restored) -> Result<Found, StartError> {
    let opened = &restored.opened;
    let alone = options.peers.len() == 1;
    let empty = options.log == LogPolicy::None && alone && opened.restored.checkpoint.is_none();
    let lost_everything = empty && opened.previously_formed;
    if lost_everything && options.timing.checkpoint_interval.is_some() {
        return Err(StartError::CheckpointsGone { path: options.data.clone() });
    }
    let torn_bytes = opened.torn.as_ref().map_or(0, |torn| torn.bytes);
    let begun_anew = |why: &String| {
        let aside = options.data.join("damaged");
        format!("it has begun anew, and what it had is in {}: {why}", aside.display())
    };
    Ok(Found { lost_everything, torn_bytes, repaired: opened.put_aside.as_ref().map(begun_anew) })
}

type CoreEnd = oneshot::Receiver<Result<(), Broken>>;

/// Start everything that runs.
fn assemble(
    options: MemberOptions,
    restored: Restored,
    found: &Found,
    queue: &Arc<Queue>,
    runtime: Runtime,
) -> Result<(Peers, CoreEnd), StartError> {
    let Restored { opened, store, newest } = restored;
    let me = MemberId { ordinal: options.ordinal, incarnation: opened.incarnation };
    tracing::info!(member = %me, members = options.members, store = options.store, "starting");
    let store_id = opened.restored.formation.as_ref().map(|formation| formation.store);
    let config = config(&options, me, store_id.is_some());
    let (files, scrub) = (opened.disk.checkpoints(), opened.disk.scrub());
    let checkpoints = checkpoint_settings(&options, files.clone(), newest, queue);
    let writer = start_writer(opened.disk, &options.metrics, queue)?;
    let authority = start_authority(&options, queue)?;
    let connections = PeersOptions {
        me,
        store: options.store.clone(),
        store_id,
        addresses: options.peers,
        heartbeat_timeout: options.timing.heartbeat_timeout,
        files,
        queue: queue.clone(),
        metrics: options.metrics.clone(),
        source: Source::Core,
        on_core: Some(runtime.handle().clone()),
    };
    let peers = Peers::start(connections, options.peer_listener);
    let scrubber = start_scrubber(scrub, &options.metrics, queue)?;
    let core = Core::new(CoreOptions {
        config,
        members: options.members,
        restored: opened.restored,
        store,
        writer,
        log_kept: options.log == LogPolicy::Kept,
        checkpoints,
        store_name: options.store,
        faults: options.faults,
        authority,
        note: found.note(),
        queue: queue.clone(),
        peers: peers.shared().clone(),
        metrics: options.metrics,
    });
    Ok((peers, start_core(core, runtime, scrubber, queue)?))
}

/// When and where this member writes checkpoints.
fn checkpoint_settings(
    options: &MemberOptions,
    files: Checkpoints,
    newest: Option<CheckpointFile>,
    queue: &Arc<Queue>,
) -> CheckpointSettings {
    let outside = options.checkpoints_outside.as_deref();
    CheckpointSettings {
        files,
        log_is_needed: options.log == LogPolicy::Kept || options.peers.len() > 1,
        interval: options.timing.checkpoint_interval,
        retain: options.timing.checkpoint_retain,
        compression: options.timing.checkpoint_compression,
        ordinal: options.ordinal,
        newest,
        outside: outside.map(|folder| Outside::new(folder, &options.store)),
        queue: queue.clone(),
        metrics: options.metrics.clone(),
    }
}

/// Start the thread that writes to the disk; the core hears what is durable.
fn start_writer(disk: Disk, metrics: &Metrics, queue: &Arc<Queue>) -> Result<LogWriter, StartError> {
    let (fsync_seconds, written) = (metrics.fsync_seconds.clone(), metrics.disk_written_bytes.clone());
    let disk = disk.on_flush(move |flush| {
        written.add(flush.bytes as u64);
        if flush.what == Flushed::Log {
            fsync_seconds.observe(flush.fsync);
        }
    });
    let queue = queue.clone();
    let started = disk.start(move |result| {
        let _ = queue.push_always(Event::Durable { result });
    });
    started.map_err(|source| StartError::Thread { thread: "writer", source })
}

/// Start to ask what decides in the store, if that is not a majority.
fn start_authority(options: &MemberOptions, queue: &Arc<Queue>) -> Result<Option<Asker>, StartError> {
    let Some(in_sync) = &options.in_sync else { return Ok(None) };
    let started = Asker::start(in_sync, &options.data, queue.clone());
    started.map(Some).map_err(|source| StartError::Thread { thread: "authority", source })
}

/// Start to read the disk again in the background.
fn start_scrubber(scrub: Scrub, metrics: &Metrics, queue: &Arc<Queue>) -> Result<Scrubber, StartError> {
    let (metrics, queue) = (metrics.clone(), queue.clone());
    let started = scrub.start(Pace::default(), move |scrubbed| hear(scrubbed, &metrics, &queue));
    started.map_err(|source| StartError::Thread { thread: "scrub", source })
}

/// Start the core's thread; it says how it ended.
fn start_core(
    core: Core,
    runtime: Runtime,
    scrubber: Scrubber,
    queue: &Arc<Queue>,
) -> Result<CoreEnd, StartError> {
    let (end, ended) = oneshot::channel();
    let closing = CloseOnDrop(queue.clone());
    let run = move || {
        let closing = closing; // also when the core panics
        let result = core.run(&runtime);
        drop(scrubber); // it has the folder open
        drop(closing);
        let _ = end.send(result);
    };
    let started = thread::Builder::new().name("core".to_owned()).spawn(run);
    started.map(|_| ended).map_err(|source| StartError::Thread { thread: "core", source })
}

/// Pass on what reading the disk again has found.
fn hear(scrubbed: Scrubbed, metrics: &Metrics, queue: &Queue) {
    let damage = match scrubbed {
        Scrubbed::Read(bytes) => return metrics.scrubbed_bytes.add(bytes),
        Scrubbed::Pass(_) => return metrics.scrubs.increment(),
        Scrubbed::Damaged(fault) => Damage::Changed(fault),
        Scrubbed::Failed { path, source } => Damage::Unreadable { path, source },
    };
    let _ = queue.push_always(Event::Damaged { damage });
}

/// What commits, and who may lead.
fn consensus(in_sync: Option<&InSync>) -> Consensus {
    in_sync.map_or(Consensus::Majority, |in_sync| Consensus::InSync { min: in_sync.min })
}

/// The engine's settings, for a store that was formed before or not.
#[allow(
    clippy::needless_update,
    reason = "with the engine's feature `seeded-bugs`, which the simulator needs, it is not"
)]
fn config(options: &MemberOptions, me: MemberId, formed: bool) -> Config {
    Config {
        me,
        members: wanted(formed, options.members, options.peers.len()),
        consensus: consensus(options.in_sync.as_ref()),
        heartbeat_interval: options.timing.heartbeat_interval,
        election_timeout: options.timing.heartbeat_timeout,
        campaign_stagger: CAMPAIGN_STAGGER,
        append_bytes_max: APPEND_BYTES_MAX,
        appends_in_flight_max: APPENDS_IN_FLIGHT_MAX,
        uncommitted_bytes_max: UNCOMMITTED_BYTES_MAX,
        log_bytes_kept: if options.log == LogPolicy::Kept { LOG_BYTES_KEPT } else { 0 },
        seed: random(),
        ..Config::default()
    }
}

/// Nobody may wait for a core that is not there any more.
struct CloseOnDrop(Arc<Queue>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;
    use std::path::Path;

    use bytes::Bytes;
    use holdfast_engine::{Index, Position, WriteConcern};
    use holdfast_storage::{Fault, WriteError};
    use holdfast_store::{Command, Expect, Operation};

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
        assert!(
            matches!(second, Err(StartError::Open { source: OpenError::Locked { .. }, .. })),
            "{second:?}"
        );
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
}
