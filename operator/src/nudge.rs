//! Has kubelets bring changed settings to members at once. A kubelet looks at a mounted ConfigMap when it looks at the pod, which without a
//! reason is once a minute; a changed annotation is a reason.
//!
//! Only for speed: nothing waits for it but people, and a pod that refuses is left to its kubelet.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use holdfast_api::names::annotation;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;
use tracing::debug;

use crate::dereference::Observed;
use crate::pod::is_leaving;
use crate::validate::Valid;

/// A pod that may not have the newest settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stale {
    /// The pod.
    pub pod: String,
    /// Which life of that name.
    pub uid: String,
}

/// Names the settings: others have another name.
#[must_use]
pub fn version(valid: &Valid) -> String {
    let mut hasher = DefaultHasher::new();
    valid.settings.to_yaml().hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// The pods whose annotation names other settings than `version`.
#[must_use]
pub fn stale(observed: &Observed, version: &str) -> Vec<Stale> {
    let pods = observed.members.iter().filter_map(|member| member.pod.as_deref());
    pods.filter(|pod| !is_leaving(pod))
        .filter(|pod| pod.annotations().get(annotation::SETTINGS).is_none_or(|found| found != version))
        .map(|pod| Stale { pod: pod.name_any(), uid: pod.uid().unwrap_or_default() })
        .collect()
}

/// Annotates pods, as far as they let it.
pub async fn nudge(client: &Client, namespace: &str, pods: &[Stale], version: &str) {
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    for Stale { pod, uid } in pods {
        // A merge, not an apply: the role label is applied by the same manager, which would take it away. The uid makes the API server
        // refuse the annotation for a pod that came after.
        let patch = json!({"metadata": {"uid": uid, "annotations": {annotation::SETTINGS: version}}});
        if let Err(error) = api.patch(pod, &PatchParams::default(), &Patch::Merge(&patch)).await {
            debug!(pod, %error, "a pod is not told that its settings have changed; its kubelet will see it");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::dereference::Member;

    #[test]
    fn only_pods_with_other_settings_are_told() {
        let pod = |ordinal: u8, metadata: serde_json::Value| {
            let mut metadata = metadata;
            metadata["name"] = format!("orders-{ordinal}").into();
            metadata["uid"] = format!("u{ordinal}").into();
            let pod = Arc::new(serde_json::from_value(json!({"metadata": metadata})).unwrap());
            Member { ordinal, pod: Some(pod), ..Member::default() }
        };
        let with = |version: &str| json!({"annotations": {annotation::SETTINGS: version}});
        let leaving = json!({"deletionTimestamp": "2026-11-21T10:00:00Z"});
        let members = vec![
            pod(0, with("new")),
            pod(1, with("old")),
            pod(2, json!({})),
            pod(3, leaving),
            Member::default(),
        ];
        let observed = Observed { members, ..Observed::default() };
        let names: Vec<String> = stale(&observed, "new").into_iter().map(|stale| stale.pod).collect();
        assert_eq!(names, ["orders-1", "orders-2"]);
    }
}
