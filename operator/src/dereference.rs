//! What there is of a store: its StatefulSet, its pods and claims, and what its members say.
//!
//! [`dereference`] reads the operator's copies; [`afresh`] reads the API server, for whoever is about to disrupt something. Both ask the
//! members themselves. They refuse to conclude anything from what they found.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use holdfast_api::StoreName;
use holdfast_api::http::Status;
use holdfast_api::names::{self, REPLICAS_MAX, label};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::api::ListParams;
use kube::runtime::reflector::store::WriterDropped;
use kube::{Api, Resource, ResourceExt as _};

use crate::caches::cached;
use crate::context::Context;
use crate::error::chain;

/// What there is of a store.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Its StatefulSet.
    pub stateful_set: Option<Arc<StatefulSet>>,
    /// Its members, one for each ordinal that it should have, or still has.
    pub members: Vec<Member>,
    /// Its volumes' claims.
    pub claims: Vec<Arc<PersistentVolumeClaim>>,
    /// What decides who leads, with consensus InSync.
    pub lease: Option<Arc<Lease>>,
}

/// One member.
#[derive(Clone, Debug, Default)]
pub struct Member {
    /// Its ordinal.
    pub ordinal: u8,
    /// Its pod, if there is one.
    pub pod: Option<Arc<Pod>>,
    /// What it says about itself, if it answered.
    pub answer: Option<Status>,
    /// Why it did not answer, if it was asked.
    pub silence: Option<String>,
}

/// What there is could not be read.
#[derive(Debug, thiserror::Error)]
pub enum DereferenceError {
    /// The operator's copies are gone, at the end of the process.
    #[error("the watches have ended")]
    Watches(#[from] WriterDropped),
    /// The API server refused, or could not be reached.
    #[error("cannot read the pods and the StatefulSet of {store}")]
    Read {
        /// The store.
        store: String,
        /// What the API server or the connection to it said.
        #[source]
        source: kube::Error,
    },
}

/// What there is, from the operator's copies.
///
/// # Errors
/// Only at the end of the process.
pub async fn dereference(
    context: &Context,
    store: &StoreName,
    replicas: u8,
) -> Result<Observed, DereferenceError> {
    let caches = &context.caches;
    caches.ready().await?;
    let pods = caches.pods.state_filter(|pod| belongs(pod, store));
    let claims = caches.claims.state_filter(|claim| belongs(claim, store));
    let stateful_set = cached(&caches.stateful_sets, &store.namespace, &store.name);
    let mut members = members(&store.name, members_there(replicas, stateful_set.as_deref()), pods);
    ask(context, store, &mut members).await;
    let lease = cached(&caches.leases, &store.namespace, &names::authority_lease(&store.name));
    Ok(Observed { stateful_set, members, claims, lease })
}

/// What there is, from the API server. Without claims and Lease, which disrupt nobody.
///
/// # Errors
/// When the API server refuses or cannot be reached.
pub async fn afresh(
    context: &Context,
    store: &StoreName,
    replicas: u8,
) -> Result<Observed, DereferenceError> {
    let read = |source| DereferenceError::Read { store: store.to_string(), source };
    let sets: Api<StatefulSet> = Api::namespaced(context.client.clone(), &store.namespace);
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), &store.namespace);
    let stateful_set = sets.get_opt(&store.name).await.map_err(read)?.map(Arc::new);
    let selector = ListParams::default().labels(&format!("{}={}", label::STORE, store.name));
    let pods = pods.list(&selector).await.map_err(read)?.items.into_iter().map(Arc::new).collect();
    let mut members = members(&store.name, members_there(replicas, stateful_set.as_deref()), pods);
    ask(context, store, &mut members).await;
    Ok(Observed { stateful_set, members, ..Observed::default() })
}

/// How many members there are, or are to be: `replicas`, or more if the StatefulSet has more.
#[must_use]
pub fn members_there(replicas: u8, set: Option<&StatefulSet>) -> u8 {
    let there = set.and_then(|set| set.spec.as_ref()?.replicas).unwrap_or_default();
    u8::try_from(there).unwrap_or_default().min(REPLICAS_MAX).max(replicas)
}

fn belongs<K: Resource>(object: &K, store: &StoreName) -> bool {
    object.namespace().as_deref() == Some(&store.namespace)
        && object.labels().get(label::STORE) == Some(&store.name)
}

/// One member for each ordinal, with its pod. Other pods that carry the store's label are not its members.
fn members(store: &str, replicas: u8, pods: Vec<Arc<Pod>>) -> Vec<Member> {
    let mut by_name: BTreeMap<String, Arc<Pod>> = pods.into_iter().map(|pod| (pod.name_any(), pod)).collect();
    (0..replicas.min(REPLICAS_MAX))
        .map(|ordinal| Member {
            ordinal,
            pod: by_name.remove(&names::member(store, ordinal)),
            ..Member::default()
        })
        .collect()
}

async fn ask(context: &Context, store: &StoreName, members: &mut [Member]) {
    let addresses = members
        .iter()
        .filter_map(|member| Some((member.ordinal, address(member.pod.as_deref()?)?)))
        .collect();
    let mut answers = context.sidecars.ask(&store.to_string(), &addresses).await;
    for member in members {
        match answers.remove(&member.ordinal) {
            Some(Ok(status)) => member.answer = Some(status),
            Some(Err(error)) => member.silence = Some(chain(&error)),
            None => continue,
        }
        context.metrics.asked(member.answer.is_some());
    }
}

/// Where a pod's sidecar can be asked; a pod that has ended has an address that is somebody else's by now.
#[must_use]
pub fn address(pod: &Pod) -> Option<IpAddr> {
    let status = pod.status.as_ref()?;
    if matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")) {
        return None;
    }
    status.pod_ip.as_deref()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, status: serde_json::Value) -> Arc<Pod> {
        Arc::new(serde_json::from_value(json!({"metadata": {"name": name}, "status": status})).unwrap())
    }

    #[test]
    fn every_ordinal_has_its_member_whatever_pods_there_are() {
        let pods = vec![pod("orders-2", json!({})), pod("orders-9", json!({})), pod("orders-0-x", json!({}))];
        let members = members("orders", 3, pods);
        let found: Vec<_> = members.iter().map(|member| (member.ordinal, member.pod.is_some())).collect();
        assert_eq!(found, [(0, false), (1, false), (2, true)]);
    }

    #[test]
    fn a_pod_that_has_ended_is_not_asked() {
        let running = json!({"phase": "Running", "podIP": "10.0.0.7"});
        assert_eq!(address(&pod("a", running)), Some("10.0.0.7".parse().unwrap()));
        assert_eq!(address(&pod("a", json!({"phase": "Failed", "podIP": "10.0.0.7"}))), None);
        assert_eq!(address(&pod("a", json!({"phase": "Pending"}))), None);
        assert_eq!(
            address(&pod("a", json!({"phase": "Running", "podIP": "fd00::1"}))),
            Some("fd00::1".parse().unwrap())
        );
    }
}
