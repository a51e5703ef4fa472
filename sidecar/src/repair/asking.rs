//! Asking all other members, one after the other and again and again, for what a damaged folder lacks.
//!
//! What it refuses to do: give anything up while a member has not answered, or take a silent one for one that has
//! nothing.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use holdfast_engine::{Checkpoint, Index, MemberId, Ordinal, Position};
use holdfast_storage::{Damaged, Need, OpenError};
use holdfast_wire::{Lack, Repair};

use super::Progress;
use crate::listener::chain;
use crate::peers::{Asking, Shared, fetch_now};

/// The pause before members that did not answer are asked again.
const ROUND_PAUSE: Duration = Duration::from_millis(500);

/// The pause before all members are asked again for what none of them had.
const LOST_PAUSE: Duration = Duration::from_secs(5);

/// The damaged folder, which callers are given from meanwhile. Not there while it is being worked on.
pub(super) type Shelf = Arc<Mutex<Option<Box<Damaged>>>>;

/// A member that is asked.
#[derive(Debug)]
struct Other {
    ordinal: Ordinal,
    connection: Option<Asking>,
}

/// Somebody's word that an entry is not there.
#[derive(Debug)]
struct Lacking {
    from: MemberId,
    lack: Lack,
    checkpoint: Option<Box<Checkpoint>>,
}

/// Everything that is fetched for one folder.
#[derive(Debug)]
pub(super) struct Fetch<'a> {
    shared: Arc<Shared>,
    damaged: Shelf,
    progress: &'a Progress,
    others: Vec<Other>,
    /// How many entries were fetched.
    pub(super) entries: usize,
}

impl Fetch<'_> {
    pub(super) fn new(
        shared: Arc<Shared>,
        damaged: Shelf,
        progress: &Progress,
        others: impl Iterator<Item = Ordinal>,
    ) -> Fetch<'_> {
        let others = others.map(|ordinal| Other { ordinal, connection: None }).collect();
        Fetch { shared, damaged, progress, others, entries: 0 }
    }

    /// Fetch until nothing is lacking, however long that takes.
    pub(super) async fn run(&mut self) -> Result<(), OpenError> {
        loop {
            match self.with(|damaged| damaged.need()) {
                Need::Nothing => return Ok(()),
                Need::Identity if self.somebody_knows_the_store().await => return Ok(()),
                Need::Identity => tokio::time::sleep(ROUND_PAUSE).await,
                Need::Entries { after, anchor } => self.entries(after, anchor).await?,
            }
        }
    }

    fn with<R>(&self, f: impl FnOnce(&mut Damaged) -> R) -> R {
        let mut damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        f(damaged.as_mut().expect("it is there unless this works on it"))
    }

    /// One round of asking for the entries after `after` up to `anchor`; ends early when somebody has some.
    async fn entries(&mut self, after: Index, anchor: Position) -> Result<(), OpenError> {
        let mut answers = Vec::new();
        for at in 0..self.others.len() {
            self.progress.say(format!(
                "repairing: entries {} to {} are damaged here; {} of {} other members answered that they lack them, asking \
                 member {}",
                after.next(), anchor.index, answers.len(), self.others.len(), self.others[at].ordinal
            ));
            match self.others[at].ask(&self.shared, anchor, after).await {
                Some((from, Repair::Entries { previous, entries })) => {
                    let count = entries.len();
                    match self.with(|damaged| damaged.fill(previous, entries)) {
                        Ok(()) => {
                            tracing::info!(%from, count, first = %previous.index.next(), "entries are back");
                            self.entries += count;
                            self.others.swap(0, at);
                            return Ok(());
                        }
                        Err(error) => tracing::warn!(%from, %error, "a member gave something else"),
                    }
                }
                Some((from, Repair::Lacking { lack, checkpoint })) => {
                    answers.push(Lacking { from, lack, checkpoint });
                }
                Some((_, Repair::Ask { .. })) | None => {}
            }
        }
        if self.fetch_checkpoint(anchor, &answers).await? {
            return Ok(());
        }
        if answers.len() < self.others.len() {
            tokio::time::sleep(ROUND_PAUSE).await;
        } else if self.never_committed(&answers) {
            tracing::warn!(
                first = %after.next(), last = %anchor,
                "gave up damaged entries that were never committed: a majority has whole logs without them"
            );
            self.with(Damaged::void);
        } else {
            self.progress.say(format!(
                "entries {} to {} are lost: they are damaged here, and no other member has them. This member does not \
                 serve what it cannot read. Bring back a copy of its folder, or of another member's, from when these entries \
                 were whole; the members go on by themselves then",
                after.next(), anchor.index
            ));
            tokio::time::sleep(LOST_PAUSE).await;
        }
        Ok(())
    }

    /// Whether so many members hold whole logs without the entry that it cannot have been committed. Everybody has
    /// answered, so nobody has it.
    fn never_committed(&self, answers: &[Lacking]) -> bool {
        let never = answers.iter().filter(|answer| answer.lack == Lack::Never).count();
        never > self.others.len().div_ceil(2)
    }

    /// Fetch the newest checkpoint that covers the anchor, if somebody has one. Whether that helped.
    async fn fetch_checkpoint(&mut self, anchor: Position, answers: &[Lacking]) -> Result<bool, OpenError> {
        let newest = self.with(|damaged| damaged.newest_checkpoint());
        let covers = |checkpoint: &Checkpoint| {
            let index = checkpoint.position.index;
            index >= anchor.index && newest.is_none_or(|newest| newest.index < index)
        };
        let offers = answers.iter().filter_map(|answer| {
            answer
                .checkpoint
                .as_deref()
                .filter(|checkpoint| covers(checkpoint))
                .map(|offer| (answer.from, offer))
        });
        let Some((from, offer)) = offers.max_by_key(|(_, offer)| offer.position.index) else {
            return Ok(false);
        };
        self.progress
            .say(format!("repairing: fetching the checkpoint at {} from member {from}", offer.position));
        if let Err(error) = fetch_now(self.shared.clone(), from, *offer).await {
            tracing::warn!(%from, reason = chain(&error), "cannot fetch a checkpoint");
            return Ok(false);
        }
        let position = offer.position;
        let mut taken = self.take();
        let read = tokio::task::spawn_blocking(move || taken.covered_by(position).map(|()| taken)).await;
        let Ok(read) = read else { return Ok(false) };
        *self.damaged.lock().unwrap_or_else(PoisonError::into_inner) = Some(read?);
        Ok(true)
    }

    /// The folder, to work on it.
    pub(super) fn take(&self) -> Box<Damaged> {
        let mut damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        damaged.take().expect("it is there unless this works on it")
    }

    /// Whether a member answers that is part of the formed store: then this one may begin anew.
    async fn somebody_knows_the_store(&mut self) -> bool {
        self.progress.say(
            "repairing: nobody can tell who this member was; it begins anew as soon as another member answers that \
             knows the store"
                .to_owned(),
        );
        for other in &mut self.others {
            if other.call(&self.shared).await.is_some_and(|connection| connection.store.is_some()) {
                return true;
            }
        }
        false
    }
}

impl Other {
    async fn call(&mut self, shared: &Shared) -> Option<&mut Asking> {
        if self.connection.is_none() {
            match Asking::call(shared, self.ordinal).await {
                Ok(connection) => self.connection = Some(connection),
                Err(error) => {
                    tracing::debug!(peer = %self.ordinal, reason = chain(&error), "cannot ask a member");
                }
            }
        }
        self.connection.as_mut()
    }

    async fn ask(&mut self, shared: &Shared, anchor: Position, after: Index) -> Option<(MemberId, Repair)> {
        let connection = self.call(shared).await?;
        let member = connection.member;
        match connection.ask(anchor, after).await {
            Ok(answer) => Some((member, answer)),
            Err(error) => {
                tracing::warn!(peer = %member, reason = chain(&error), "a member did not answer");
                self.connection = None;
                None
            }
        }
    }
}
