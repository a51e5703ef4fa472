//! Carries out the next step of a roll: deletes one pod, or lets the leader hand over.
//!
//! What to do is [`crate::roll`]'s decision. Before anything is disrupted the decision is made again, with pods read from the
//! API server and members asked anew; a delete names the very pod that was looked at.

use holdfast_api::StoreName;
use holdfast_api::http::Role;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Preconditions};
use kube::{Api, ResourceExt as _};
use tracing::info;

use crate::context::Context;
use crate::dereference::{self, DereferenceError, Member, Observed, afresh};
use crate::members::AskError;
use crate::pod;
use crate::roll::{self, Answer, PodState, Step, Wait};
use crate::validate::Valid;

/// Why a member could not be restarted.
#[derive(Debug, thiserror::Error)]
pub enum RestartError {
    /// What there is could not be read again.
    #[error("cannot look again before a restart")]
    Look(#[from] DereferenceError),
    /// The pod could not be deleted.
    #[error("cannot delete the pod {pod}")]
    Delete {
        /// The pod.
        pod: String,
        /// What the API server or the connection to it said.
        #[source]
        source: kube::Error,
    },
    /// The leader did not hand over.
    #[error("member {from} did not hand its leadership over to member {to}")]
    HandOver {
        /// The leader.
        from: u8,
        /// The heir.
        to: u8,
        /// What the member said.
        #[source]
        source: AskError,
    },
}

/// What a look at a store came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The step, as it was decided last.
    pub step: Step,
    /// Whether something was disrupted for it.
    pub disrupted: bool,
}

/// Decides the next step from what was observed and carries it out, if it is due.
///
/// # Errors
/// When the step could not be carried out; it is decided anew the next time.
pub async fn advance(context: &Context, valid: &Valid, observed: &Observed) -> Result<Taken, RestartError> {
    let step = decide(valid, observed);
    if !matches!(step, Step::Restart { .. } | Step::HandOver { .. }) {
        return Ok(Taken { step, disrupted: false });
    }
    let store = valid.settings.store.clone();
    let again = afresh(context, &store, valid.replicas).await?;
    let step = decide(valid, &again);
    match step {
        Step::Restart { ordinal, why } => {
            let Some(pod) = pod_of(&again, ordinal) else {
                return Ok(Taken { step: Step::Wait(Wait::Absent(vec![ordinal])), disrupted: false });
            };
            info!(%store, pod = %pod.name_any(), ?why, "deleting a pod so that it is made anew");
            delete(context, &store, pod).await?;
            context.metrics.disrupted(false);
        }
        Step::HandOver { from, to } => {
            let Some(address) = pod_of(&again, from).and_then(dereference::address) else {
                return Ok(Taken { step: Step::Wait(Wait::Silent(vec![from])), disrupted: false });
            };
            info!(%store, from, to, "asking the leader to hand over before its restart");
            let reply = context.sidecars.hand_over(address, to).await;
            let reply = reply.map_err(|source| RestartError::HandOver { from, to, source })?;
            info!(%store, leader = reply.leader, term = reply.term, "the leadership was handed over");
            context.metrics.disrupted(true);
        }
        Step::Done | Step::Wait(_) => return Ok(Taken { step, disrupted: false }),
    }
    Ok(Taken { step, disrupted: true })
}

/// The next step, from what was observed.
#[must_use]
pub fn decide(valid: &Valid, observed: &Observed) -> Step {
    let Some(revision) = observed.stateful_set.as_deref().and_then(newest_revision) else {
        return Step::Wait(Wait::Revision);
    };
    let members: Vec<roll::Member> = observed.members.iter().map(|member| seen(member, revision)).collect();
    match roll::next(&members) {
        // The one restart that no restart brings anything back from.
        Step::Restart { ordinal, .. } if forgets(valid) && holds_something(observed, ordinal) => {
            Step::Wait(Wait::WouldForget(ordinal))
        }
        step => step,
    }
}

/// The revision of the template as it is now; `None` while the StatefulSet's controller has not seen it yet.
fn newest_revision(set: &StatefulSet) -> Option<&str> {
    let status = set.status.as_ref()?;
    let current = status.observed_generation? >= set.metadata.generation.unwrap_or_default();
    status.update_revision.as_deref().filter(|_| current)
}

fn seen(member: &Member, revision: &str) -> roll::Member {
    let pod = match member.pod.as_deref() {
        None => PodState::Missing,
        Some(pod) if pod::is_leaving(pod) => PodState::Leaving,
        Some(pod) => PodState::Present { updated: pod::is_of(pod, revision), ready: pod::is_ready(pod) },
    };
    let answer = member.answer.as_ref().map(|status| Answer {
        leads: status.role == Role::Leader,
        term: status.term,
        safe: status.positions.durable,
        commit: status.positions.commit,
    });
    roll::Member { ordinal: member.ordinal, pod, answer }
}

/// Whether a member of this store has nothing left after its process has ended.
fn forgets(valid: &Valid) -> bool {
    valid.settings.durability == holdfast_api::Durability::Memory && valid.settings.checkpoint.is_none()
}

fn holds_something(observed: &Observed, ordinal: u8) -> bool {
    observed.members.iter().any(|member| member.ordinal == ordinal && member.answer.is_some())
}

fn pod_of(observed: &Observed, ordinal: u8) -> Option<&Pod> {
    observed.members.iter().find(|member| member.ordinal == ordinal)?.pod.as_deref()
}

async fn delete(context: &Context, store: &StoreName, pod: &Pod) -> Result<(), RestartError> {
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), &store.namespace);
    let name = pod.name_any();
    let parameters = DeleteParams::default()
        .preconditions(Preconditions { uid: pod.uid(), resource_version: pod.resource_version() });
    match pods.delete(&name, &parameters).await {
        Ok(_) => Ok(()),
        // It changed since we looked, or is gone: look again the next time.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        Err(source) => Err(RestartError::Delete { pod: name, source }),
    }
}
