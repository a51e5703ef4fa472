//! Carries out the next step of a roll: deletes one pod, or lets the leader hand over.
//!
//! What to do is [`crate::roll`]'s decision. Before anything is disrupted the decision is made again, with pods read from the
//! API server and members asked anew; a delete names the very pod that was looked at.

use holdfast_api::http::Role;
use holdfast_api::{Consensus, StoreName};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Preconditions};
use kube::{Api, ResourceExt as _};
use tracing::info;

use crate::context::Context;
use crate::dereference::{self, DereferenceError, Member, Observed, afresh};
use crate::members::AskError;
use crate::pod;
use crate::roll::{self, Answer, PodState, Step, Turn, Wait};
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

/// Decides the next step from what was observed, carries it out if it is due, and returns it. `rolling` says whether a roll is
/// under way, and is kept up to date.
///
/// # Errors
/// When the step could not be carried out; it is decided anew the next time.
pub async fn advance(
    context: &Context,
    valid: &Valid,
    observed: &Observed,
    rolling: &mut bool,
) -> Result<Step, RestartError> {
    let step = match decide(valid, observed) {
        Step::Done if *rolling => roll::end(&seen_all(observed, "")),
        step => step,
    };
    *rolling = is_roll(&step);
    if !matches!(step, Step::Restart { .. } | Step::HandOver { .. }) {
        return Ok(step);
    }
    let store = valid.settings.store.clone();
    let again = afresh(context, &store, valid.replicas).await?;
    let step = decide(valid, &again);
    *rolling = is_roll(&step);
    match step {
        Step::Restart { ordinal, why } => {
            let Some(pod) = pod_of(&again, ordinal) else {
                return Ok(Step::Wait(Wait::Absent(vec![ordinal])));
            };
            info!(%store, pod = %pod.name_any(), ?why, "deleting a pod so that it is made anew");
            delete(context, &store, pod).await?;
            context.metrics.disrupted(false);
        }
        Step::HandOver { from, to } => {
            let Some(address) = pod_of(&again, from).and_then(dereference::address) else {
                return Ok(Step::Wait(Wait::Silent(vec![from])));
            };
            info!(%store, from, to, "asking the leader to hand over before its restart");
            let reply = context.sidecars.hand_over(address, to).await;
            let reply = reply.map_err(|source| RestartError::HandOver { from, to, source })?;
            info!(%store, leader = reply.leader, term = reply.term, "the leadership was handed over");
            context.metrics.disrupted(true);
        }
        Step::Done | Step::Wait(_) => {}
    }
    Ok(step)
}

fn is_roll(step: &Step) -> bool {
    !matches!(step, Step::Done | Step::Wait(Wait::Revision))
}

/// The next step, from what was observed.
#[must_use]
pub fn decide(valid: &Valid, observed: &Observed) -> Step {
    let Some(revision) = observed.stateful_set.as_deref().and_then(newest_revision) else {
        return Step::Wait(Wait::Revision);
    };
    match roll::next(&seen_all(observed, revision)) {
        // The one restart that no restart brings anything back from.
        Step::Restart { ordinal, .. } if forgets(valid) && holds_something(observed, ordinal) => {
            Step::Wait(Wait::WouldForget(ordinal))
        }
        // One that came back is no copy before it is in sync: the next restart would leave fewer copies than there seem to be.
        Step::Restart { why: Turn::Follower, .. } | Step::HandOver { .. }
            if !out_of_sync(valid, observed).is_empty() =>
        {
            Step::Wait(Wait::Behind(out_of_sync(valid, observed)))
        }
        step => step,
    }
}

/// With consensus InSync, the members that do not have every write, as the leader says.
fn out_of_sync(valid: &Valid, observed: &Observed) -> Vec<u8> {
    if valid.settings.consensus != Consensus::InSync {
        return Vec::new();
    }
    let answers = observed.members.iter().filter_map(|member| member.answer.as_ref());
    let Some(leading) = answers.filter(|status| status.role == Role::Leader).max_by_key(|status| status.term)
    else {
        return Vec::new();
    };
    (0..valid.replicas).filter(|ordinal| !leading.voters.contains(ordinal)).collect()
}

/// The revision of the template as it is now; `None` while the StatefulSet's controller has not seen it yet.
fn newest_revision(set: &StatefulSet) -> Option<&str> {
    let status = set.status.as_ref()?;
    let current = status.observed_generation? >= set.metadata.generation.unwrap_or_default();
    status.update_revision.as_deref().filter(|_| current)
}

fn seen_all(observed: &Observed, revision: &str) -> Vec<roll::Member> {
    observed.members.iter().map(|member| seen(member, revision)).collect()
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
        // What a learner has counts for nothing: the store cannot spare another voter before it is one again.
        safe: if status.role.votes() { status.positions.durable } else { 0 },
        commit: status.positions.commit,
    });
    roll::Member { ordinal: member.ordinal, pod, answer }
}

/// Whether a member of this store has nothing left after its process has ended.
fn forgets(valid: &Valid) -> bool {
    let settings = &valid.settings;
    let alone = settings.replicas == 1;
    settings.durability == holdfast_api::Durability::Memory && settings.checkpoint.is_none() && alone
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use holdfast_api::ReplicatedStore;
    use serde_json::json;

    use super::*;
    use crate::fake;
    use crate::validate::{Surrounding, validate};

    fn valid(strategy: &str) -> Valid {
        let store: ReplicatedStore = serde_json::from_value(json!({
            "apiVersion": "holdfast.dev/v1alpha1", "kind": "ReplicatedStore",
            "metadata": {"name": "orders", "namespace": "shop", "uid": "u"},
            "spec": {"replicas": 1, "strategy": strategy},
        }))
        .unwrap();
        validate(&store, &Surrounding::default()).unwrap()
    }

    /// One member whose pod is of the revision `old`, under a StatefulSet that is at `new`, or has not been looked at since.
    fn observed(answers: bool, seen_generation: i64) -> Observed {
        let set = json!({
            "metadata": {"generation": 7},
            "spec": {"selector": {}, "template": {}, "serviceName": ""},
            "status": {"observedGeneration": seen_generation, "updateRevision": "new", "replicas": 1},
        });
        let pod = json!({
            "metadata": {"name": "orders-0", "labels": {"controller-revision-hash": "old"}},
            "status": {"conditions": [{"type": "Ready", "status": if answers { "True" } else { "False" }}]},
        });
        let status = json!({
            "store": "shop/orders", "strategy": "Baseline", "member": 0, "incarnation": "00000000000000ab",
            "version": "0.1.0", "role": "leader", "leader": 0, "term": 1, "revision": 1, "peers": [],
            "positions": {"written": 1, "durable": 1, "commit": 1, "applied": 1},
        });
        let member = Member {
            ordinal: 0,
            pod: Some(Arc::new(serde_json::from_value(pod).unwrap())),
            answer: answers.then(|| serde_json::from_value(status).unwrap()),
            silence: None,
        };
        Observed {
            stateful_set: Some(Arc::new(serde_json::from_value(set).unwrap())),
            members: vec![member],
            ..Observed::default()
        }
    }

    #[test]
    fn an_old_pod_is_restarted() {
        let expected = Step::Restart { ordinal: 0, why: Turn::Only };
        assert_eq!(decide(&valid("Replication"), &observed(true, 7)), expected);
        assert_eq!(decide(&valid("Checkpointing"), &observed(true, 7)), expected);
    }

    #[test]
    fn a_revision_that_is_not_known_yet_restarts_nobody() {
        assert_eq!(decide(&valid("Replication"), &observed(true, 6)), Step::Wait(Wait::Revision));
        let nothing = Observed { stateful_set: None, ..observed(true, 7) };
        assert_eq!(decide(&valid("Replication"), &nothing), Step::Wait(Wait::Revision));
    }

    #[test]
    fn a_store_that_keeps_nothing_is_not_made_to_forget() {
        assert_eq!(decide(&valid("Baseline"), &observed(true, 7)), Step::Wait(Wait::WouldForget(0)));
        // It is down, so there is nothing left to forget.
        assert_eq!(
            decide(&valid("Baseline"), &observed(false, 7)),
            Step::Restart { ordinal: 0, why: Turn::Idle }
        );
    }

    /// Three members of which `leader` leads, and pods of which those in `old` are old.
    struct Cluster {
        leader: u8,
        old: &'static [u8],
    }

    impl Cluster {
        fn pod(&self, ordinal: u8) -> serde_json::Value {
            let revision = if self.old.contains(&ordinal) { "old" } else { "new" };
            json!({
                "metadata": {
                    "name": format!("orders-{ordinal}"), "namespace": "shop",
                    "uid": format!("uid-{ordinal}"), "resourceVersion": format!("{}", 40 + ordinal),
                    "labels": {"controller-revision-hash": revision, "holdfast.dev/store": "orders"},
                },
                "status": {
                    "phase": "Running", "podIP": fake::address(ordinal).to_string(),
                    "conditions": [{"type": "Ready", "status": "True"}],
                },
            })
        }

        fn status(&self, ordinal: u8) -> serde_json::Value {
            let role = if ordinal == self.leader { "leader" } else { "follower" };
            json!({
                "store": "shop/orders", "strategy": "Replication", "member": ordinal, "incarnation": "0",
                "version": "0.1.0", "role": role, "leader": self.leader, "term": 4, "revision": 1, "peers": [],
                "positions": {"written": 9, "durable": 9, "commit": 9, "applied": 9},
            })
        }

        fn set() -> serde_json::Value {
            json!({
                "metadata": {"name": "orders", "namespace": "shop", "generation": 2},
                "spec": {"selector": {}, "template": {}, "serviceName": "orders-peers"},
                "status": {"observedGeneration": 2, "updateRevision": "new", "replicas": 3},
            })
        }
    }

    #[test]
    fn where_an_authority_decides_a_member_counts_when_it_is_in_sync() {
        let cluster = Cluster { leader: 0, old: &[0, 1, 2] };
        let check = |voters: &[u8], expected: Step| {
            let member = |ordinal| {
                let mut status = cluster.status(ordinal);
                status["voters"] = json!(voters);
                Member {
                    ordinal,
                    pod: Some(Arc::new(serde_json::from_value(cluster.pod(ordinal)).unwrap())),
                    answer: Some(serde_json::from_value(status).unwrap()),
                    silence: None,
                }
            };
            let observed = Observed {
                stateful_set: Some(Arc::new(serde_json::from_value(Cluster::set()).unwrap())),
                members: (0..3).map(member).collect(),
                ..Observed::default()
            };
            let mut valid = valid("Replication");
            valid.replicas = 3;
            valid.settings.consensus = Consensus::InSync;
            assert_eq!(decide(&valid, &observed), expected, "{voters:?}");
        };
        check(&[0, 1, 2], Step::Restart { ordinal: 2, why: Turn::Follower });
        check(&[0, 2], Step::Wait(Wait::Behind(vec![1])));
    }

    /// Observes `seen`, lets a restart look again at `is`, and returns the step, and what was asked of the API server and the members.
    async fn advance_from(seen: Cluster, is: Cluster) -> (Step, Vec<fake::Asked>, Vec<String>) {
        let posts = Arc::new(std::sync::Mutex::new(Vec::new()));
        let said = Arc::clone(&posts);
        let is = Arc::new(is);
        let now = Arc::clone(&is);
        let ports = fake::members(3, move |ordinal, line| {
            if line.starts_with("POST") {
                said.lock().unwrap().push(format!("{ordinal} {line}"));
                return json!({"leader": 1, "term": 5});
            }
            now.status(ordinal)
        })
        .await;
        let (server, client) = fake::ApiServer::start(move |asked| match asked.line.as_str() {
            "GET /apis/apps/v1/namespaces/shop/statefulsets/orders" => Some(Cluster::set()),
            "GET /api/v1/namespaces/shop/pods" => Some(json!({
                "metadata": {}, "items": [is.pod(0), is.pod(1), is.pod(2)],
            })),
            line if line.starts_with("DELETE") => Some(is.pod(2)),
            _ => None,
        });
        let members = (0..3)
            .map(|ordinal| Member {
                ordinal,
                pod: Some(Arc::new(serde_json::from_value(seen.pod(ordinal)).unwrap())),
                answer: Some(serde_json::from_value(seen.status(ordinal)).unwrap()),
                silence: None,
            })
            .collect();
        let observed = Observed {
            stateful_set: Some(Arc::new(serde_json::from_value(Cluster::set()).unwrap())),
            members,
            ..Observed::default()
        };
        let mut valid = valid("Replication");
        valid.replicas = 3;
        let mut rolling = false;
        let step = advance(&fake::context(client, ports), &valid, &observed, &mut rolling).await.unwrap();
        assert_eq!(rolling, step != Step::Done, "{step:?}");
        let posts = posts.lock().unwrap().clone();
        (step, server.asked(), posts)
    }

    #[tokio::test]
    async fn the_very_pod_that_was_looked_at_is_deleted() {
        let cluster = || Cluster { leader: 0, old: &[0, 2] };
        let (step, asked, posts) = advance_from(cluster(), cluster()).await;
        assert_eq!(step, Step::Restart { ordinal: 2, why: Turn::Follower });
        let deletes: Vec<_> = asked.iter().filter(|asked| asked.line.starts_with("DELETE")).collect();
        assert_eq!(deletes.len(), 1, "{asked:?}");
        assert_eq!(deletes[0].line, "DELETE /api/v1/namespaces/shop/pods/orders-2");
        assert_eq!(deletes[0].body["preconditions"], json!({"uid": "uid-2", "resourceVersion": "42"}));
        assert!(posts.is_empty(), "{posts:?}");
    }

    #[tokio::test]
    async fn a_leader_is_asked_to_hand_over_and_not_deleted() {
        let cluster = || Cluster { leader: 0, old: &[0] };
        let (step, asked, posts) = advance_from(cluster(), cluster()).await;
        assert_eq!(step, Step::HandOver { from: 0, to: 1 });
        assert!(!asked.iter().any(|asked| asked.line.starts_with("DELETE")), "{asked:?}");
        assert_eq!(posts, ["0 POST /v1/leadership/transfer?to=1 HTTP/1.1"]);
    }

    #[tokio::test]
    async fn a_second_look_that_differs_decides() {
        // The copy says that member 0 leads; by now member 2 does, so the follower to be restarted would be the leader.
        let (step, asked, posts) =
            advance_from(Cluster { leader: 0, old: &[2] }, Cluster { leader: 2, old: &[2] }).await;
        assert_eq!(step, Step::HandOver { from: 2, to: 0 });
        assert!(!asked.iter().any(|asked| asked.line.starts_with("DELETE")), "{asked:?}");
        assert_eq!(posts.len(), 1);
        // The pods are all new by now.
        let (step, asked, _) =
            advance_from(Cluster { leader: 0, old: &[2] }, Cluster { leader: 0, old: &[] }).await;
        assert_eq!(step, Step::Done);
        assert!(!asked.iter().any(|asked| asked.line.starts_with("DELETE")), "{asked:?}");
    }
}
