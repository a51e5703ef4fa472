//! Copies that are missing here are made again: every member looks after its own.
//!
//! | part | does |
//! |---|---|
//! | [`round`] | goes over all records once |
//! | [`copies`] | makes one copy, and writes down that it is here |
//! | [`damage`] | takes a copy back that is not what it was |
//! | [`homes`] | finds another home for what a member kept that was removed |
//! | [`tidying`] | removes what nothing refers to |
//! | [`counts`] | shows what the records come to |
//!
//! What this member is to have and has not, it fetches from one that has it, checks, and then says that it holds it; what
//! nothing refers to it removes. So a member that comes back needs nobody to remember what it missed: the queue is there for
//! people to see, the records are what counts. This file says when there is a round: after each interval, and at once when a
//! member comes back or a copy is found missing. What it refuses to do: say that a copy is there before its digest was
//! compared, and try without a pause what has just failed.

mod copies;
mod counts;
mod damage;
mod homes;
mod round;
mod tidying;

use std::time::Duration;

use bytes::Bytes;
use holdfast_engine::{MEMBERS_MAX, Ordinal};
use holdfast_store::Event;
use holdfast_wire::files::Words;

pub(super) use self::round::Rounds;
use self::round::{Mood, Round};
use super::calls::CallError;
use super::records::{QUEUE, QueueItem, QueueStatus, decode};
use super::{Files, nodes};
use crate::core::Handle;
use crate::listener::chain;

/// How often it is looked which members are connected. One that comes back may have what is missing here.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The pause after the catalogue could not be asked: about an election.
const AGAIN_PAUSE: Duration = Duration::from_secs(2);

/// The pause before a round that was asked for, so that what happens together is looked after together.
const GATHER_PAUSE: Duration = Duration::from_millis(50);

/// Look after this member's copies until the task is dropped.
pub(super) async fn recover(files: Files, core: Handle) {
    let Some(interval) = files.0.options.recovery_interval else { return };
    let watch = tokio::spawn(wake_by_queue(files.clone(), core));
    let _abort = AbortOnDrop(watch);
    let mut mood = Mood::Eager;
    let mut connected = files.connected();
    let mut members = files.remaining().await;
    loop {
        let pause = match files.round(mood).await {
            Ok(_) => interval,
            Err(error) => {
                tracing::debug!(reason = chain(&error), "cannot look after the files now");
                AGAIN_PAUSE.min(interval)
            }
        };
        let until = tokio::time::Instant::now() + pause;
        mood = loop {
            tokio::select! {
                () = tokio::time::sleep_until(until) => break Mood::Patient,
                () = files.0.wake.notified() => {
                    tokio::time::sleep(GATHER_PAUSE).await;
                    break Mood::Patient;
                }
                () = tokio::time::sleep(LOOK_INTERVAL) => {
                    let now = files.connected();
                    let more = now.iter().zip(&connected).any(|(now, before)| *now && !before);
                    connected = now;
                    if more {
                        break Mood::Eager;
                    }
                    // While members come and go, what they keep may need another home.
                    if members.as_ref() != Some(&files.members().into_iter().collect()) {
                        let now = files.remaining().await;
                        if now != members {
                            members = now;
                            break Mood::Patient;
                        }
                    }
                }
            }
        };
    }
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Wake the rounds when somebody else finds that a copy is missing here.
async fn wake_by_queue(files: Files, core: Handle) {
    loop {
        if let Ok(mut changes) = core.watch(None, Bytes::from_static(QUEUE)).await {
            while let Some(Ok(batch)) = changes.next().await {
                let mine = batch.events.iter().any(|event| match event {
                    Event::Put(item) => decode::<QueueItem>(&item.value).is_some_and(|item| {
                        item.target == files.me().ordinal.0
                            && item.status == QueueStatus::Pending
                            && item.retry_count == 0
                    }),
                    Event::Deleted { .. } => false,
                });
                if mine {
                    files.look_again();
                }
            }
        }
        tokio::time::sleep(AGAIN_PAUSE).await;
        files.look_again();
    }
}

impl Files {
    /// There may be something to recover.
    pub(super) fn look_again(&self) {
        self.0.wake.notify_one();
    }

    /// A member's copies, recovered now, by whoever it is.
    pub(crate) async fn recover_member(&self, ordinal: Ordinal) -> Result<Round, String> {
        if ordinal == self.me().ordinal {
            return self.recover_now().await.map_err(|error| chain(&error));
        }
        if !self.is_up(ordinal) {
            return Err(format!("{} is down", nodes::name(ordinal)));
        }
        match self.0.calls.ask(ordinal, Words::Recover).await {
            Ok((Words::Recovered { total, success, failed }, _)) => Ok(Round { total, success, failed }),
            Ok(_) => Err(CallError::Unexpected.words()),
            Err(error) => Err(error.words()),
        }
    }

    fn connected(&self) -> [bool; MEMBERS_MAX] {
        std::array::from_fn(|ordinal| self.is_up(Ordinal(ordinal as u8)))
    }
}
