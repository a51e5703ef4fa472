//! Keeps the role label on the pods, by which the leader's Service selects. For display and routing only: it lags, and nothing that
//! protects data looks at it.

use holdfast_api::names::{FIELD_MANAGER, label, value};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;

use crate::dereference::Observed;

/// A pod whose label is to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relabel {
    /// The pod.
    pub pod: String,
    /// Which life of that name.
    pub uid: String,
    /// [`value::LEADER`] or [`value::FOLLOWER`].
    pub role: &'static str,
}

/// The labels that are not as they should be, those of former leaders first: a Service had better name nobody than two.
///
/// Without a known leader, only a pod whose member says itself that it does not lead loses the label.
#[must_use]
pub fn relabels(observed: &Observed, leader: Option<u8>) -> Vec<Relabel> {
    let mut relabels: Vec<Relabel> = observed
        .members
        .iter()
        .filter_map(|member| {
            let pod = member.pod.as_ref()?;
            let role = match leader {
                Some(leader) if leader == member.ordinal => value::LEADER,
                Some(_) => value::FOLLOWER,
                None if member.answer.is_some() => value::FOLLOWER,
                None => return None,
            };
            let there = pod.labels().get(label::ROLE).map(String::as_str);
            (there != Some(role)).then(|| Relabel {
                pod: pod.name_any(),
                uid: pod.uid().unwrap_or_default(),
                role,
            })
        })
        .collect();
    relabels.sort_by_key(|relabel| relabel.role == value::LEADER);
    relabels
}

/// Writes the labels.
///
/// # Errors
/// At the first pod that refuses, unless it is gone or another one has its name by now: then there is nothing to label.
pub async fn write(client: &Client, namespace: &str, relabels: &[Relabel]) -> Result<(), kube::Error> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    for Relabel { pod, uid, role } in relabels {
        let patch = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            // The uid makes the API server refuse the label for a pod that came after.
            "metadata": {"name": pod, "uid": uid, "labels": {label::ROLE: role}},
        });
        match pods.patch_metadata(pod, &parameters, &Patch::Apply(&patch)).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409 | 422) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
