//! One reconcile, in five steps: dereference, validate, build, apply, update the status. The steps are in the files of these
//! names; here is only their order, and when the next reconcile is due.
//!
//! It refuses to wait for members or pods: what is not as it should be yet is looked at again in a moment.

use std::sync::Arc;
use std::time::Duration;

use futures::{Future, StreamExt as _};
use holdfast_api::{ReplicatedStore, ReplicatedStoreStatus};
use k8s_openapi::jiff::Timestamp;
use kube::runtime::controller::{Action, Config, Controller, Error as ControllerError};
use kube::runtime::reflector::ObjectRef;
use kube::{Resource as _, ResourceExt as _};
use tokio::time::Instant;
use tracing::{debug, error, info, warn};

use crate::apply::apply;
use crate::build::{Surroundings, build};
use crate::caches::Watched;
use crate::conditions::Work;
use crate::context::{Context, Memory};
use crate::dereference::{Observed, dereference};
use crate::error::{Error, chain};
use crate::event::{MALFORMED, Notice, notices};
use crate::in_sync::Forced;
use crate::leader::leader;
use crate::restart::advance;
use crate::roll::Step;
use crate::scale::scale;
use crate::update_status::{self, POSITIONS_EVERY, compute, differs};
use crate::validate::{Surrounding, Valid, validate};
use crate::{claims, in_sync, nudge, roles};

/// When a store is looked at again that is not as it should be.
const UNSETTLED_EVERY: Duration = Duration::from_secs(1);

/// For how long it is. Whatever has not settled by then waits for somebody, and changes wake the operator anyway.
const UNSETTLED_FOR: Duration = Duration::from_secs(120);

/// When a store is looked at again that is. A leader that is cut off is noticed by nothing else.
const SETTLED_EVERY: Duration = Duration::from_secs(3);

/// A reconcile that takes longer is given up: some server holds it up, and it is tried again. A hand-over takes 10 s at most.
const RECONCILE_LIMIT: Duration = Duration::from_secs(30);

/// Changes that come within this time of each other are one reconcile: pods change several times while they start.
const DEBOUNCE: Duration = Duration::from_millis(50);

/// The pause after the first failure; it doubles with each further one.
const PAUSE_MIN: Duration = Duration::from_secs(1);

/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Runs until `ending` is done and the reconciles that are under way have ended.
pub async fn run(
    controller: Controller<Watched>,
    context: Arc<Context>,
    concurrency: u16,
    ending: impl Future<Output = ()> + Send + Sync + 'static,
) {
    let outcomes = controller
        .with_config(Config::default().concurrency(concurrency).debounce(DEBOUNCE))
        .graceful_shutdown_on(ending)
        .run(reconcile, pause, Arc::clone(&context));
    outcomes
        .for_each(|outcome| {
            match outcome {
                Ok((store, action)) => debug!(%store, ?action, "reconciled"),
                Err(ControllerError::ObjectNotFound(store)) => {
                    info!(%store, "the store is gone");
                    forget(&context, &store);
                }
                // Told by `pause`, with the store.
                Err(ControllerError::ReconcilerFailed(..)) => {}
                Err(error) => warn!(error = chain(&error), "a watch failed and is tried again"),
            }
            std::future::ready(())
        })
        .await;
}

fn forget(context: &Context, store: &ObjectRef<kube::api::DynamicObject>) {
    let mut gone = ObjectRef::new(&store.name);
    gone.namespace = store.namespace.clone();
    context.forget(&gone);
}

/// When a store is tried again whose reconcile failed.
fn pause(watched: Arc<Watched>, error: &Error, context: Arc<Context>) -> Action {
    let store = ObjectRef::from_obj(&*watched);
    let failures = context.failed(&store);
    let pause = pause_after(failures);
    error!(%store, failures, error = chain(error), "a reconcile failed and is tried again in {} s", pause.as_secs());
    Action::requeue(pause)
}

fn pause_after(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    PAUSE_MIN.saturating_mul(1 << doublings).min(PAUSE_MAX)
}

async fn reconcile(watched: Arc<Watched>, context: Arc<Context>) -> Result<Action, Error> {
    let started = Instant::now();
    context.metrics.in_flight.inc();
    let outcome = match &watched.0 {
        Ok(store) => look_after(&context, store, ObjectRef::from_obj(&*watched)).await,
        Err(invalid) => {
            malformed(&context, &watched, &invalid.error).await;
            Ok(Action::await_change())
        }
    };
    context.metrics.in_flight.dec();
    let failed = match (&outcome, &watched.0) {
        (Err(error), _) => Some(error.reason()),
        (Ok(_), Err(_)) => Some("Malformed"),
        (Ok(_), Ok(_)) => None,
    };
    context.metrics.reconciled(started.elapsed(), failed);
    outcome
}

/// A store that cannot be read: the definition in the cluster is not ours. It is told, and waits for a change.
async fn malformed(context: &Context, watched: &Watched, error: &str) {
    error!(store = %ObjectRef::from_obj(watched), error, "a store cannot be read; is its definition an older one?");
    let note = format!("the operator cannot read the store: {error}");
    context.events.tell(&watched.object_ref(&()), &Notice { warning: true, reason: MALFORMED, note }).await;
}

async fn look_after(
    context: &Context,
    store: &ReplicatedStore,
    reference: ObjectRef<Watched>,
) -> Result<Action, Error> {
    if store.metadata.deletion_timestamp.is_some() {
        // Owner references delete everything; there is nothing to repair any more.
        return Ok(Action::await_change());
    }
    let mut memory = context.recall(&reference, store.uid());
    let outcome = tokio::time::timeout(RECONCILE_LIMIT, steps(context, store, &mut memory)).await;
    let outcome = outcome.unwrap_or(Err(Error::Timeout { seconds: RECONCILE_LIMIT.as_secs() }));
    if outcome.is_ok() {
        memory.failures = 0;
    }
    context.remember(reference, memory);
    outcome
}

/// The five steps.
async fn steps(context: &Context, store: &ReplicatedStore, memory: &mut Memory) -> Result<Action, Error> {
    let name = store.store_name();
    let observed = dereference(context, &name, store.spec.replicas).await?;
    let stateful_set = observed.stateful_set.as_deref();
    let before = memory.status.clone().or_else(|| store.status.clone()).unwrap_or_default();
    let voters = voters(store, &before, &observed);
    let (work, failed) = match validate(store, &Surrounding { stateful_set, voters }) {
        Err(refusal) => (Work::Refused(refusal.to_string()), None),
        Ok(valid) => match carry_out(context, store, valid, &observed, memory).await {
            Ok(work) => (work, None),
            Err(error) => (Work::Failed(chain(&error)), Some(error)),
        },
    };
    let settled = tell(context, store, &observed, &work, memory).await?;
    match failed {
        Some(error) => Err(error),
        None => Ok(Action::requeue(look_again(settled, &mut memory.unsettled))),
    }
}

/// When to look again, whatever changes until then.
fn look_again(settled: bool, unsettled: &mut Option<Instant>) -> Duration {
    if settled {
        *unsettled = None;
        return SETTLED_EVERY;
    }
    let since = unsettled.get_or_insert_with(Instant::now);
    if since.elapsed() < UNSETTLED_FOR { UNSETTLED_EVERY } else { SETTLED_EVERY }
}

/// How many members vote, if the leader says so; or have every write, if a Lease does, whether or not somebody leads.
fn voters(store: &ReplicatedStore, before: &ReplicatedStoreStatus, observed: &Observed) -> Option<u8> {
    let voters = match in_sync::status(store, before, observed.lease.as_deref(), None) {
        Some(in_sync) => in_sync.members.len(),
        None => {
            let leader = leader(observed)?;
            let leading = observed.members.iter().find(|member| member.ordinal == leader.ordinal)?;
            leading.answer.as_ref()?.voters.len()
        }
    };
    u8::try_from(voters).ok().filter(|&voters| voters > 0)
}

/// Builds and applies the objects, as many members as there can be now, then takes one step of a roll if there is one to take.
async fn carry_out(
    context: &Context,
    store: &ReplicatedStore,
    mut valid: Valid,
    observed: &Observed,
    memory: &mut Memory,
) -> Result<Work, Error> {
    let scaling = scale(context, &mut valid, observed).await?;
    let valid = &valid;
    let stateful_set = observed.stateful_set.as_deref();
    let objects = build(valid, &Surroundings { sidecar_image: &context.sidecar_image, stateful_set });
    if let Some(rights) = &objects.rights {
        let before = memory.status.clone().or_else(|| store.status.clone()).unwrap_or_default();
        in_sync::found(&context.client, rights, observed, &before).await?;
        memory.forced = Some(in_sync::force(context, store, rights, observed, &before).await?);
    }
    apply(&context.client, &context.caches, &objects, &mut memory.applied).await?;
    let version = nudge::version(valid);
    nudge::nudge(&context.client, &valid.namespace, &nudge::stale(observed, &version), &version).await;
    claims::grow(&context.client, valid, &claims::too_small(valid, observed)).await?;
    let step = advance(context, valid, observed, &mut memory.rolling).await?;
    Ok(match (step, scaling) {
        (step @ (Step::Restart { .. } | Step::HandOver { .. }), _) | (step, None) => Work::Step(step),
        (_, Some(scaling)) => Work::Scaling(scaling),
    })
}

/// Writes the status, labels and events. Returns whether the store is as it should be.
async fn tell(
    context: &Context,
    store: &ReplicatedStore,
    observed: &Observed,
    work: &Work,
    memory: &mut Memory,
) -> Result<bool, Error> {
    let written = store.status.clone();
    let before = memory.status.take().or_else(|| written.clone()).unwrap_or_default();
    let forced: Option<Forced> = memory.forced.take();
    let after = compute(store, &before, observed, work, forced.as_ref(), Timestamp::now());
    let step = if let Work::Step(step) = work { Some(step) } else { None };
    let notices = notices(store.spec.strategy, &before, &after, step);
    context.events.publish(store, &notices).await;

    let due = memory.written.is_none_or(|written| written.elapsed() >= POSITIONS_EVERY);
    let first = written.is_none_or(|written| written == ReplicatedStoreStatus::default());
    let outcome = if first || differs(&before, &after) || (due && before != after) {
        let outcome = update_status::write(&context.client, store, &after).await;
        if outcome.is_ok() {
            memory.written = Some(Instant::now());
            memory.status = Some(after.clone());
        } else {
            // What was not written is compared again, and events of it may be told twice rather than never.
            memory.status = Some(before);
        }
        outcome
    } else {
        // Positions that were not written count as changed the next time.
        memory.status = Some(before);
        Ok(())
    };
    let leader = leader(observed).map(|leader| leader.ordinal);
    let relabels = roles::relabels(observed, leader);
    if let Err(error) = roles::write(&context.client, &store.store_name().namespace, &relabels).await {
        warn!(store = %store.store_name(), error = chain(&error), "cannot label the pods with their roles");
    }
    outcome?;
    Ok(matches!(work, Work::Refused(_) | Work::Step(Step::Done)) && settled(&after))
}

/// Nothing is expected to change by itself in the next moment.
fn settled(status: &ReplicatedStoreStatus) -> bool {
    status.leader.is_some() && status.members.iter().all(|member| member.ready && member.role.is_some())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_lease_says_how_many_have_every_write_whoever_answers() {
        let check = |consensus: &str, in_sync: &[&str], expected: Option<u8>| {
            let store = json!({
                "apiVersion": "holdfast.dev/v1alpha1", "kind": "ReplicatedStore",
                "metadata": {"name": "orders", "namespace": "shop"}, "spec": {"consensus": consensus},
            });
            let document = json!({
                "format": 1, "store": "07", "version": 3, "term": 4, "primary": "0/0a", "inSync": in_sync,
            });
            let lease = json!({
                "metadata": {"uid": "u", "annotations": {"holdfast.dev/authority": document.to_string()}},
            });
            let store = serde_json::from_value(store).unwrap();
            let observed = Observed {
                lease: Some(Arc::new(serde_json::from_value(lease).unwrap())),
                ..Observed::default()
            };
            let said = voters(&store, &ReplicatedStoreStatus::default(), &observed);
            assert_eq!(said, expected, "{consensus} {in_sync:?}");
        };
        check("InSync", &["0/0a", "2/0b"], Some(2));
        check("InSync", &["0/0a"], Some(1));
        check("InSync", &[], None);
        check("Majority", &["0/0a"], None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_settles_is_looked_at_often_until_it_has() {
        let mut unsettled = None;
        assert_eq!(look_again(false, &mut unsettled), UNSETTLED_EVERY);
        tokio::time::advance(UNSETTLED_FOR / 2).await;
        assert_eq!(look_again(false, &mut unsettled), UNSETTLED_EVERY);
        tokio::time::advance(UNSETTLED_FOR).await;
        assert_eq!(look_again(false, &mut unsettled), SETTLED_EVERY);
        assert_eq!(look_again(true, &mut unsettled), SETTLED_EVERY);
        assert_eq!(look_again(false, &mut unsettled), UNSETTLED_EVERY);
    }

    #[test]
    fn pauses_grow_and_have_a_bound() {
        let seconds: Vec<u64> = (1..=8).map(|failures| pause_after(failures).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(pause_after(u32::MAX), PAUSE_MAX);
    }
}
