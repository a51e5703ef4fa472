//! Brings the number of members to what the spec says, as far as that is the operator's part: the members' leader adds and removes
//! voters, the operator sees to pods and volumes.
//!
//! More members get settings first and pods next. Fewer get settings first, and lose their pods and volumes only when the members
//! themselves, asked just now, say that nobody votes any more who is to go. It refuses to go by a copy of anything there: a voter whose
//! volume is deleted can cost the store its majority for good.

use holdfast_api::{Removal, removal};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::ResourceExt as _;
use tracing::info;

use crate::apply::ApplyError;
use crate::claims;
use crate::context::Context;
use crate::dereference::{DereferenceError, Observed, afresh, members_there};
use crate::leader::leader;
use crate::roll::Members;
use crate::validate::Valid;

/// What is between the members that there are and those that there are to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scaling {
    /// Members are to be removed by their leader first.
    Removing(Removal),
    /// Members are removed, and their pods and volumes go.
    Leaving(Vec<u8>),
    /// These have no vote yet.
    Adding(Vec<u8>),
}

impl std::fmt::Display for Scaling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Scaling::Removing(removal) => removal.fmt(f),
            Scaling::Leaving(members) => {
                write!(f, "deleting the pods and volumes of {}", Members(members))
            }
            Scaling::Adding(members) => {
                write!(f, "waiting until {} caught up and may vote", crate::roll::Have(members))
            }
        }
    }
}

/// The number of members could not be looked after.
#[derive(Debug, thiserror::Error)]
pub enum ScaleError {
    /// What there is could not be read again.
    #[error("cannot look again before members are removed")]
    Look(#[from] DereferenceError),
    /// A volume could not be deleted.
    #[error("cannot delete the volume of a removed member")]
    Release(#[from] ApplyError),
}

/// Decides how many members `valid` is built with, and deletes the volumes of those that are gone. `None`: there are as many as there
/// are to be.
///
/// # Errors
/// When the API server could not be asked, or refused to delete a volume.
pub async fn scale(
    context: &Context,
    valid: &mut Valid,
    observed: &Observed,
) -> Result<Option<Scaling>, ScaleError> {
    if !valid.settings.strategy.replicates() {
        return Ok(None);
    }
    let left = claims::left(valid, observed);
    let too_many = valid.members > valid.replicas;
    if !too_many && left.is_empty() {
        return Ok(adding(valid, observed));
    }
    let store = valid.settings.store.clone();
    let again = afresh(context, &store, valid.replicas).await?;
    // The copy of the StatefulSet may be older than what this operator has made of it.
    let there = members_there(valid.replicas, again.stateful_set.as_deref());
    valid.be(there);
    let answers = again.members.iter().filter_map(|member| member.answer.as_ref());
    match removal(valid.replicas, answers) {
        Removal::Done => {}
        // Volumes can wait.
        _ if there == valid.replicas => return Ok(adding(valid, observed)),
        removal => return Ok(Some(Scaling::Removing(removal))),
    }
    if there > valid.replicas {
        let leaving: Vec<u8> = (valid.replicas..there).collect();
        info!(%store, ?leaving, "members are removed; deleting their pods");
        valid.be(valid.replicas);
        return Ok(Some(Scaling::Leaving(leaving)));
    }
    claims::release(&context.client, valid, &left).await?;
    let mut leaving: Vec<u8> = left.iter().filter_map(|claim| of(valid, claim)).collect();
    leaving.sort_unstable();
    Ok(Some(Scaling::Leaving(leaving)))
}

fn of(valid: &Valid, claim: &PersistentVolumeClaim) -> Option<u8> {
    claims::ordinal(&valid.name, &claim.name_any())
}

/// Members without a vote, if the leader says so.
fn adding(valid: &Valid, observed: &Observed) -> Option<Scaling> {
    let leader = leader(observed)?;
    let leading = observed.members.iter().find(|member| member.ordinal == leader.ordinal)?;
    let voters = &leading.answer.as_ref()?.voters;
    let adding: Vec<u8> = (0..valid.replicas).filter(|ordinal| !voters.contains(ordinal)).collect();
    (!adding.is_empty() && !voters.is_empty()).then_some(Scaling::Adding(adding))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use holdfast_api::ReplicatedStore;
    use holdfast_api::names::DATA_VOLUME;
    use serde_json::{Value, json};

    use super::*;
    use crate::dereference::Member;
    use crate::fake;
    use crate::validate::{Surrounding, validate};

    /// A store of three that has `pods` pods, volumes for `volumes` members, and members that say that `voters` vote and that there
    /// are to be `known` of them.
    #[derive(Clone, Copy)]
    struct Cluster {
        pods: u8,
        volumes: u8,
        voters: &'static [u8],
        known: u8,
    }

    impl Cluster {
        fn set(self) -> Value {
            json!({
                "metadata": {"name": "orders", "namespace": "shop"},
                "spec": {"replicas": self.pods, "selector": {}, "template": {}, "serviceName": "orders-peers"},
            })
        }

        fn pod(self, ordinal: u8) -> Value {
            json!({
                "metadata": {"name": format!("orders-{ordinal}"), "namespace": "shop"},
                "status": {"phase": "Running", "podIP": fake::address(ordinal).to_string()},
            })
        }

        fn status(self, ordinal: u8) -> Value {
            let role = if ordinal == 0 { "leader" } else { "follower" };
            json!({
                "store": "shop/orders", "strategy": "Replication", "member": ordinal, "incarnation": "0",
                "version": "0.1.0", "role": role, "leader": 0, "term": 4, "revision": 1, "peers": [],
                "voters": self.voters, "replicas": self.known,
                "positions": {"written": 9, "durable": 9, "commit": 9, "applied": 9},
            })
        }

        fn claim(ordinal: u8) -> Arc<PersistentVolumeClaim> {
            let claim = json!({"metadata": {
                "name": format!("{DATA_VOLUME}-orders-{ordinal}"), "namespace": "shop",
                "uid": format!("claim-{ordinal}"), "resourceVersion": format!("{}", 70 + ordinal),
            }});
            Arc::new(serde_json::from_value(claim).unwrap())
        }
    }

    /// What is decided about `is`, when the operator's copies show `seen`; how many members are built; and what was deleted.
    async fn check(seen: Cluster, is: Cluster) -> (Option<Scaling>, u8, Vec<fake::Asked>) {
        let ports = fake::members(is.pods, move |ordinal, _| is.status(ordinal)).await;
        let (server, client) = fake::ApiServer::start(move |asked| match asked.line.as_str() {
            "GET /apis/apps/v1/namespaces/shop/statefulsets/orders" => Some(is.set()),
            "GET /api/v1/namespaces/shop/pods" => {
                let pods: Vec<Value> = (0..is.pods).map(|ordinal| is.pod(ordinal)).collect();
                Some(json!({"metadata": {}, "items": pods}))
            }
            line if line.starts_with("DELETE") => Some(json!({"metadata": {}})),
            _ => None,
        });
        let store: ReplicatedStore = serde_json::from_value(json!({
            "apiVersion": "holdfast.dev/v1alpha1", "kind": "ReplicatedStore",
            "metadata": {"name": "orders", "namespace": "shop", "uid": "u"},
            "spec": {"replicas": 3},
        }))
        .unwrap();
        let set = Arc::new(serde_json::from_value(seen.set()).unwrap());
        let mut valid = validate(&store, &Surrounding { stateful_set: Some(&set), voters: None }).unwrap();
        let members = (0..seen.pods.max(3)).map(|ordinal| Member {
            ordinal,
            pod: None,
            answer: Some(serde_json::from_value(seen.status(ordinal)).unwrap()),
            silence: None,
        });
        let observed = Observed {
            members: members.collect(),
            claims: (0..seen.volumes).map(Cluster::claim).collect(),
            stateful_set: Some(set.clone()),
            lease: None,
        };
        let scaling = scale(&fake::context(client, ports), &mut valid, &observed).await.unwrap();
        assert_eq!(valid.settings.peers.len(), usize::from(valid.members));
        let deletes = server.asked().into_iter().filter(|asked| asked.line.starts_with("DELETE"));
        (scaling, valid.members, deletes.collect())
    }

    const ALL: &[u8] = &[0, 1, 2, 3, 4];

    #[tokio::test]
    async fn pods_stay_until_their_members_have_no_vote() {
        let five = Cluster { pods: 5, volumes: 5, voters: ALL, known: 3 };
        let (scaling, members, deleted) = check(five, five).await;
        assert_eq!(scaling, Some(Scaling::Removing(Removal::Voting(vec![3, 4]))));
        assert_eq!((members, deleted.len()), (5, 0));
        // What a copy says does not count.
        let gone = Cluster { voters: &[0, 1, 2], ..five };
        let (scaling, members, _) = check(gone, five).await;
        assert_eq!(scaling, Some(Scaling::Removing(Removal::Voting(vec![3, 4]))));
        assert_eq!(members, 5);
        let (scaling, members, deleted) = check(five, gone).await;
        assert_eq!(scaling, Some(Scaling::Leaving(vec![3, 4])));
        assert_eq!((members, deleted.len()), (3, 0));
        let unaware = Cluster { known: 5, ..gone };
        let (scaling, members, _) = check(five, unaware).await;
        assert_eq!(scaling, Some(Scaling::Removing(Removal::Unaware(vec![0, 1, 2]))));
        assert_eq!(members, 5);
    }

    #[tokio::test]
    async fn volumes_go_after_the_pods_and_only_as_they_were_seen() {
        let three = Cluster { pods: 3, volumes: 5, voters: &[0, 1, 2], known: 3 };
        let (scaling, members, deleted) = check(three, three).await;
        assert_eq!(scaling, Some(Scaling::Leaving(vec![3, 4])));
        assert_eq!(members, 3);
        let names: Vec<&str> = deleted.iter().filter_map(|asked| asked.line.rsplit('/').next()).collect();
        assert_eq!(names, ["holdfast-data-orders-3", "holdfast-data-orders-4"]);
        assert_eq!(deleted[0].body["preconditions"], json!({"uid": "claim-3", "resourceVersion": "73"}));
        // Volumes of a former, larger store of this name, of which some still vote.
        let (scaling, members, deleted) = check(three, Cluster { voters: ALL, ..three }).await;
        assert_eq!((scaling, members, deleted.len()), (None, 3, 0));
    }

    #[tokio::test]
    async fn a_copy_of_the_set_that_is_too_old_brings_no_pod_back() {
        let three = Cluster { pods: 3, volumes: 3, voters: &[0, 1, 2], known: 5 };
        let (scaling, members, _) = check(Cluster { pods: 5, ..three }, three).await;
        assert_eq!((scaling, members), (None, 3));
    }

    #[tokio::test]
    async fn members_without_a_vote_are_being_added() {
        let growing = Cluster { pods: 3, volumes: 3, voters: &[0, 1], known: 3 };
        let (scaling, members, _) = check(growing, growing).await;
        assert_eq!(
            scaling.as_ref().map(ToString::to_string).unwrap(),
            "waiting until member 2 has caught up and may vote"
        );
        assert_eq!((scaling, members), (Some(Scaling::Adding(vec![2])), 3));
        let (scaling, ..) = check(Cluster { voters: &[0, 1, 2], ..growing }, growing).await;
        assert_eq!(scaling, None);
    }
}
