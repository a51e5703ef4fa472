//! The phase before a member starts in which a damaged folder is put right.
//!
//! While it lasts the member has no engine: it neither votes nor acknowledges anything, and it turns replication away.
//! It asks all other members for what it lost, and gives what it can read itself to others in the same plight, so that
//! damage in different places on every member is repaired as long as each entry is whole somewhere. Entries come first;
//! where the others have released them, a checkpoint takes their place.
//!
//! When every other member has answered and nobody has an entry, there are two ends. If a majority of the members
//! holds whole logs without the entry, it was never committed, and the log goes on before it. Else it is lost: the member
//! says which one, refuses to serve, and goes on asking, since a person may bring a copy back.
//!
//! What it refuses to do: start a member whose log is less than what it acknowledged under its old name.

mod asking;
mod progress;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use holdfast_engine::{Incarnation, MemberId, Ordinal};
use holdfast_storage::{Damaged, OpenError, Opened, Owner, Repaired, Survey, survey_into};

use self::asking::Fetch;
pub use self::progress::Progress;
use crate::core::queue::Queue;
use crate::loading::Taking;
use crate::member::{MemberOptions, StartError};
use crate::peers::{PeersOptions, Source, answer_callers, introduce, random};

/// A repaired folder that is damaged still is looked at again so often; more would be a disk that rots as it is read.
const REPAIRS_MAX: usize = 3;

/// A repaired folder is let go by the tasks that gave from it within moments.
const LET_GO_MAX: Duration = Duration::from_secs(5);

/// The pause before it is tried again.
const LET_GO_PAUSE: Duration = Duration::from_millis(10);

/// Most faults of a folder that are logged one by one.
const FAULTS_LOGGED_MAX: usize = 20;

/// An opened folder, and what became of it before.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) opened: Box<Opened>,
    /// The state of its checkpoint, in the making.
    pub(crate) taking: Taking,
    /// What a person should know about the repair, if there was one.
    pub(crate) repaired: Option<String>,
}

/// Open a member's folder; repair it first if it has to be.
///
/// # Errors
///
/// [`StartError`] if it cannot be opened and nothing that another member has would help.
pub(crate) async fn open(options: &MemberOptions, progress: &Progress) -> Result<Ready, StartError> {
    open_when_let_go(options, progress, Duration::ZERO).await
}

/// The same with a folder that this process had open before.
///
/// # Errors
///
/// [`StartError`].
pub(crate) async fn open_again(options: &MemberOptions, progress: &Progress) -> Result<Ready, StartError> {
    open_when_let_go(options, progress, LET_GO_MAX).await
}

async fn open_when_let_go(
    options: &MemberOptions,
    progress: &Progress,
    mut patience: Duration,
) -> Result<Ready, StartError> {
    let mut repaired = None;
    for _ in 0..REPAIRS_MAX {
        match look(options, patience).await? {
            (Survey::Whole(opened), taking) => {
                progress.done();
                return Ok(Ready { opened, taking, repaired });
            }
            (Survey::Damaged(damaged), _) => repaired = Some(put_right(options, damaged, progress).await?),
        }
        patience = LET_GO_MAX;
    }
    match look(options, patience).await? {
        (Survey::Whole(opened), taking) => {
            progress.done();
            Ok(Ready { opened, taking, repaired })
        }
        (Survey::Damaged(damaged), _) => Err(failed(options, damaged.into_error())),
    }
}

fn failed(options: &MemberOptions, source: OpenError) -> StartError {
    StartError::Open { path: options.data.clone(), source }
}

/// Look at the folder. `patience` is how long somebody else may have it open.
async fn look(options: &MemberOptions, patience: Duration) -> Result<(Survey, Taking), StartError> {
    let owner = Owner { store: options.store.clone(), ordinal: options.ordinal };
    let (policy, sizes) = (options.log, options.log_options);
    let deadline = Instant::now() + patience;
    loop {
        let (path, owner) = (options.data.clone(), owner.clone());
        let fresh = Incarnation(random());
        let looking = tokio::task::spawn_blocking(move || {
            let mut taking = Taking::default();
            let survey = survey_into(&path, &owner, policy, fresh, sizes, &mut taking)?;
            Ok((survey, taking))
        });
        match looking.await.map_err(|_| StartError::Ending)? {
            Err(OpenError::Locked { .. }) if Instant::now() < deadline => {
                tokio::time::sleep(LET_GO_PAUSE).await;
            }
            found => return found.map_err(|source| failed(options, source)),
        }
    }
}

/// Fetch what is needed and repair. Returns what a person should know.
async fn put_right(
    options: &MemberOptions,
    damaged: Box<Damaged>,
    progress: &Progress,
) -> Result<String, StartError> {
    for fault in damaged.faults().iter().take(FAULTS_LOGGED_MAX) {
        let path = fault.path.display();
        tracing::warn!(%path, offset = fault.offset, what = %fault.what, "damage on this member's disk");
    }
    let faults = damaged.faults().len();
    progress.say(format!("repairing this member's disk, which is damaged in {faults} places"));
    if options.peers.len() == 1 {
        let repaired = carry_out(damaged, true).await?;
        return repaired.map(|repaired| described(&repaired, 0)).map_err(|source| failed(options, source));
    }
    let fresh = MemberId { ordinal: options.ordinal, incarnation: Incarnation(random()) };
    let (me, files, store_id) = (damaged.member().unwrap_or(fresh), damaged.checkpoints(), damaged.store());
    let shelf = Arc::new(Mutex::new(Some(damaged)));
    let shared = introduce(PeersOptions {
        me,
        store: options.store.clone(),
        store_id,
        addresses: options.peers.clone(),
        heartbeat_timeout: options.timing.heartbeat_timeout,
        files,
        queue: Arc::new(Queue::default()),
        metrics: options.metrics.clone(),
        source: Source::Damaged(shelf.clone()),
        on_core: None,
    });
    let others = (0..options.peers.len() as u8).map(Ordinal).filter(|other| *other != options.ordinal);
    let mut fetch = Fetch::new(shared.clone(), shelf, progress, others);
    let fetched = tokio::select! {
        fetched = fetch.run() => fetched,
        never = answer_callers(shared, &options.peer_listener) => match never {},
    };
    fetched.map_err(|source| failed(options, source))?;
    let (damaged, entries) = (fetch.take(), fetch.entries);
    let repaired = carry_out(damaged, false).await?.map_err(|source| failed(options, source))?;
    Ok(described(&repaired, entries))
}

async fn carry_out(damaged: Box<Damaged>, alone: bool) -> Result<Result<Repaired, OpenError>, StartError> {
    tokio::task::spawn_blocking(move || damaged.repair(alone)).await.map_err(|_| StartError::Ending)
}

/// What became of the member, in words.
fn described(repaired: &Repaired, entries: usize) -> String {
    let text = match (&repaired.aside, repaired.former) {
        (Some(aside), _) => format!(
            "nobody could tell who this member was, so it began anew; its old files are in {}",
            aside.display()
        ),
        (None, Some(former)) => format!(
            "the damage took what member {former} needs to keep its word; it goes on as incarnation {} with the \
             same log, and votes when the others have taken it in",
            repaired.incarnation
        ),
        (None, None) => format!("damage on the disk was repaired; {entries} entries came from other members"),
    };
    tracing::warn!("{text}");
    text
}
