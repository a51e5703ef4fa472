//! One member, put together: its folder, its core thread, its writer thread and its connections.
//!
//! What it refuses to do: speak HTTP, read settings files, or start again by itself when something broke. Whoever
//! started it ends the process then, and whatever runs the process starts the next one.

mod assembling;
mod restoring;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use holdfast_engine::{MEMBERS_MAX, MemberId, Ordinal};
use holdfast_storage::{CheckpointError, LogPolicy, OpenError, Options as LogOptions};
use holdfast_store::RestoreError;
use tokio::runtime;
use tokio::sync::oneshot;

use self::assembling::assemble;
pub use self::restoring::Found;
use self::restoring::{found, restore};
use crate::authority::InSync;
pub use crate::core::Broken;
use crate::core::event::Event;
use crate::core::queue::Queue;
use crate::core::{Faults, Handle, Timing};
use crate::metrics::Metrics;
use crate::outside;
use crate::peers::{Peers, Shared};
use crate::repair::{self, Progress, Ready};

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

#[cfg(test)]
mod tests;
