//! Everything of a member that runs, started in its order: the writer, the authority, the connections, the scrub and the core.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use holdfast_engine::{Config, Consensus, MemberId};
use holdfast_storage::{
    CheckpointFile, Checkpoints, Disk, Flushed, LogPolicy, LogWriter, Outside, Pace, Scrub, Scrubbed,
    Scrubber,
};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use super::restoring::{Found, Restored};
use super::{MemberOptions, StartError};
use crate::authority::{Asker, InSync};
use crate::core::event::Event;
use crate::core::queue::Queue;
use crate::core::{Broken, CheckpointSettings, Core, CoreOptions, Damage, wanted};
use crate::metrics::Metrics;
use crate::peers::{Peers, PeersOptions, Source, random};

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

/// How the core ended.
type CoreEnd = oneshot::Receiver<Result<(), Broken>>;

/// Start everything that runs.
pub(super) fn assemble(
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
pub(super) fn hear(scrubbed: Scrubbed, metrics: &Metrics, queue: &Queue) {
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
