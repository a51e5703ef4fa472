//! A store that lost all of its members begins from a checkpoint that was kept outside of them.
//!
//! Only ordinal 0 does it, as only ordinal 0 forms a store, and only when its own folder is new and every other member
//! has answered that it is part of no store either. One that cannot be reached may have everything: it is waited for,
//! and what is waited for is said. The store has one voter then, who takes the others in as it would on a change of
//! `replicas`; they fetch the checkpoint from it.
//!
//! What it refuses to do: begin from a checkpoint while somebody has more, or begin empty while there are checkpoints
//! that cannot be read.

use std::sync::Arc;
use std::time::Duration;

use holdfast_engine::{MemberId, Ordinal, StoreId};
use holdfast_storage::{LogPolicy, Newest, Opened, Outside};

use crate::core::queue::Queue;
use crate::listener::chain;
use crate::member::{MemberOptions, StartError};
use crate::peers::{PeersOptions, Shared, Source, answer_callers, introduce, random, store_of};
use crate::repair::{self, Progress, Ready};

/// The pause before members that did not answer are asked again.
const ROUND_PAUSE: Duration = Duration::from_millis(500);

/// Somebody is part of the store, so that it is not lost.
struct Formed;

/// Begin the store anew from its newest checkpoint outside, if this member is the one to do that and all is lost; else
/// nothing happens.
///
/// # Errors
///
/// [`StartError`] if there are checkpoints and none can be used, or this member's folder cannot.
pub(crate) async fn begin(
    options: &MemberOptions,
    ready: Ready,
    progress: &Progress,
) -> Result<Ready, StartError> {
    let opened = &ready.opened;
    let new =
        options.log == LogPolicy::Kept && opened.restored.formation.is_none() && !opened.previously_formed;
    let Some(folder) =
        options.checkpoints_outside.as_deref().filter(|_| new && options.ordinal == Ordinal(0))
    else {
        return Ok(ready);
    };
    let outside = Outside::new(folder, &options.store);
    let unusable = |source| StartError::Outside { path: folder.to_owned(), source };
    let newest = tokio::task::spawn_blocking(move || outside.newest());
    let Some(newest) = newest.await.map_err(|_| StartError::Ending)?.map_err(unusable)? else {
        return Ok(ready);
    };
    if let Err(Formed) = everybody_is_empty(options, &ready.opened, &newest, progress).await {
        tracing::info!("the store is not lost: this member joins it");
        progress.done();
        return Ok(ready);
    }
    let position = newest.position();
    let store = StoreId(u128::from(random()) << 64 | u128::from(random()));
    let begun = tokio::task::spawn_blocking(move || newest.begin(*ready.opened, store));
    begun.await.map_err(|_| StartError::Ending)?.map_err(unusable)?;
    let text = format!(
        "every member had lost everything: the store began anew from the checkpoint of {position} in {}; what was \
         written after it is lost",
        folder.display()
    );
    tracing::warn!("{text}");
    let ready = repair::open_again(options, progress).await?;
    Ok(Ready { repaired: Some(text), ..ready })
}

/// Ask all other members, for as long as it takes, whether they are part of the store.
async fn everybody_is_empty(
    options: &MemberOptions,
    opened: &Opened,
    newest: &Newest,
    progress: &Progress,
) -> Result<(), Formed> {
    let shared = introduce(PeersOptions {
        me: MemberId { ordinal: options.ordinal, incarnation: opened.incarnation },
        store: options.store.clone(),
        store_id: None,
        addresses: options.peers.clone(),
        heartbeat_timeout: options.timing.heartbeat_timeout,
        files: opened.disk.checkpoints(),
        queue: Arc::new(Queue::default()),
        metrics: options.metrics.clone(),
        // It has nothing to give yet.
        source: Source::Damaged(Arc::default()),
        on_core: None,
    });
    let others: Vec<_> = (1..options.peers.len() as u8).map(Ordinal).collect();
    tokio::select! {
        asked = ask(&shared, &others, newest, progress) => asked,
        never = answer_callers(shared.clone(), &options.peer_listener) => match never {},
    }
}

async fn ask(
    shared: &Arc<Shared>,
    others: &[Ordinal],
    newest: &Newest,
    progress: &Progress,
) -> Result<(), Formed> {
    loop {
        let mut silent = Vec::new();
        for &ordinal in others {
            match store_of(shared, ordinal).await {
                Ok(Some(_)) => return Err(Formed),
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(peer = %ordinal, reason = chain(&error), "cannot ask a member");
                    silent.push(ordinal.to_string());
                }
            }
        }
        if silent.is_empty() {
            return Ok(());
        }
        progress.say(format!(
            "this member is empty, and there is a checkpoint of {} of its store outside. The store begins from it if all other \
             members are empty too; waiting for an answer of {}",
            newest.position(),
            silent.join(", ")
        ));
        tokio::time::sleep(ROUND_PAUSE).await;
    }
}
