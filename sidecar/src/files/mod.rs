//! Replicated files: their bytes on this member's disk and on their way to the others, and the catalogue that says where
//! they are.
//!
//! | part | does |
//! |---|---|
//! | [`records`], [`catalogue`] | names, sizes, digests, holders and the queue, in the replicated state |
//! | [`blobs`], [`writing`] | bytes on the disk, named by their digest, checked whenever they are read |
//! | [`promises`] | keeps bytes that no record refers to yet |
//! | [`calls`], [`answers`] | members ask each other for bytes, on connections of their own |
//! | [`pieces`], [`buffers`] | what clients send, block by block, and the memory for it |
//! | [`upload`], [`routing`], [`partial`], [`reading`], [`removal`] | what clients want |
//! | [`recovery`], [`scrub`] | copies that are missing or damaged are made again |
//! | [`nodes`] | who is there, and who is best asked |
//! | [`seen`] | the newest files and the queue, for somebody who watches |
//!
//! The log carries no bytes. A record is written when enough members have checked and flushed them; what a record says is
//! held, somebody has verified. What this module refuses to do: give a byte that was not checked, remove bytes that
//! somebody may rely on, and hold the core up.

mod answers;
pub(crate) mod blobs;
mod branch;
mod buffers;
mod calls;
pub(crate) mod catalogue;
pub(crate) mod limits;
pub(crate) mod nodes;
pub(crate) mod partial;
mod pieces;
mod promises;
pub(crate) mod reading;
pub(crate) mod records;
pub(crate) mod recovery;
pub(crate) mod removal;
mod routing;
mod scrub;
pub(crate) mod seen;
pub(crate) mod upload;
mod writing;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use holdfast_engine::{MEMBERS_MAX, MemberId, Ordinal};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;

use self::blobs::{BlobError, Blobs};
use self::calls::Calls;
use self::catalogue::Catalogue;
use self::limits::{CALLS_MAX, DOWNLOADS_MAX, UPLOADS_MAX};
use self::nodes::Said;
use self::partial::Partials;
use self::promises::Promises;
use self::recovery::Rounds;
use crate::core::Handle;
use crate::peers::Shared;
use crate::running::Running;

/// What files are told when the member starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilesOptions {
    /// The port where clients reach this member; the others pass it on.
    pub client_port: u16,
    /// How often it is looked for copies that are missing; `None`: only when somebody asks for it.
    pub recovery_interval: Option<Duration>,
    /// The time from the begin of one reading of all files to the begin of the next.
    pub scrub_interval: Duration,
}

impl Default for FilesOptions {
    fn default() -> FilesOptions {
        let (recovery_interval, scrub_interval) = (Duration::from_secs(30), Duration::from_secs(3600));
        FilesOptions { client_port: 0, recovery_interval: Some(recovery_interval), scrub_interval }
    }
}

/// The files of a running member. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Files(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    me: MemberId,
    peers: Arc<Shared>,
    running: Running,
    options: FilesOptions,
    blobs: Blobs,
    catalogue: Catalogue,
    calls: Calls,
    promises: Promises,
    partials: Partials,
    places: Places,
    rounds: Rounds,
    /// There may be something to recover.
    wake: Notify,
    /// Transfers that are under way with each member; this member's own place counts those of its clients.
    transfers: [AtomicU32; MEMBERS_MAX],
    /// What each member said last of itself.
    said: [Said; MEMBERS_MAX],
    /// How many files there were when somebody counted last.
    counted: AtomicU64,
}

/// How much may be under way at a time.
#[derive(Debug)]
struct Places {
    uploads: Arc<Semaphore>,
    downloads: Arc<Semaphore>,
    calls: Arc<Semaphore>,
}

/// The tasks that look after files. Dropping it ends them.
#[derive(Debug)]
pub(crate) struct FilesTasks {
    _tasks: JoinSet<()>,
}

impl Files {
    /// Open the folder of files in the member's data folder, and look after them from now on. Must run inside a tokio
    /// runtime.
    pub(crate) fn start(
        core: &Handle,
        peers: Arc<Shared>,
        running: Running,
        data: PathBuf,
        options: FilesOptions,
    ) -> Result<(Files, FilesTasks), BlobError> {
        let places = Places {
            uploads: Arc::new(Semaphore::new(UPLOADS_MAX)),
            downloads: Arc::new(Semaphore::new(DOWNLOADS_MAX)),
            calls: Arc::new(Semaphore::new(CALLS_MAX)),
        };
        let files = Files(Arc::new(Inner {
            me: core.member(),
            calls: Calls::new(peers.clone()),
            peers,
            running,
            options,
            blobs: Blobs::open(data.join("files"))?,
            catalogue: Catalogue::new(core.clone()),
            promises: Promises::new(),
            partials: Partials::default(),
            places,
            rounds: Rounds::default(),
            wake: Notify::new(),
            transfers: Default::default(),
            said: Default::default(),
            counted: AtomicU64::new(0),
        }));
        let mut tasks = JoinSet::new();
        tasks.spawn(answers::answer_callers(files.clone()));
        tasks.spawn(nodes::ask_others(files.clone()));
        tasks.spawn(recovery::recover(files.clone(), core.clone()));
        tasks.spawn(scrub::scrub(files.clone()));
        Ok((files, FilesTasks { _tasks: tasks }))
    }

    /// Who this member is.
    pub(crate) fn me(&self) -> MemberId {
        self.0.me
    }

    /// Names, sizes, holders, and the queue.
    pub(crate) fn catalogue(&self) -> &Catalogue {
        &self.0.catalogue
    }

    /// The way to the state that has the catalogue.
    fn core(&self) -> &Handle {
        self.0.catalogue.core()
    }

    /// The member that these files are of.
    pub(crate) fn running(&self) -> &Running {
        &self.0.running
    }

    /// Counts a transfer with a member while the guard lives.
    fn transfer(&self, ordinal: Ordinal) -> Transfer {
        self.0.transfers[usize::from(ordinal.0)].fetch_add(1, Relaxed);
        Transfer(self.clone(), ordinal)
    }
}

/// A transfer that is under way.
#[derive(Debug)]
struct Transfer(Files, Ordinal);

impl Drop for Transfer {
    fn drop(&mut self) {
        self.0.0.transfers[usize::from(self.1.0)].fetch_sub(1, Relaxed);
    }
}
