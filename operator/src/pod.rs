//! What a pod's own status says about it. Reads only what the kubelet and the scheduler wrote; who leads is not in there.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;

/// The label by which a StatefulSet marks the revision that a pod was made from.
const REVISION_LABEL: &str = "controller-revision-hash";

/// A pod that is still there so long after it should have ended is stuck. Kubelets that live are done within seconds.
const STUCK_AFTER: SignedDuration = SignedDuration::from_secs(15);

/// Whether the kubelet calls it ready, and it is not leaving.
#[must_use]
pub fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|(status, _)| status == "True") && !is_leaving(pod)
}

/// Whether it is being deleted.
#[must_use]
pub fn is_leaving(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// Whether it was made from this revision of the StatefulSet's template.
#[must_use]
pub fn is_of(pod: &Pod, revision: &str) -> bool {
    pod.labels().get(REVISION_LABEL).is_some_and(|label| label == revision)
}

/// The node that it is on.
#[must_use]
pub fn node(pod: &Pod) -> Option<String> {
    pod.spec.as_ref()?.node_name.clone()
}

/// Why it is not ready, as far as its status says.
#[must_use]
pub fn trouble(pod: &Pod, now: Timestamp) -> Option<String> {
    if let Some(deadline) = &pod.metadata.deletion_timestamp {
        let stuck = now.duration_since(deadline.0) > STUCK_AFTER;
        return Some(if stuck {
            format!(
                "its pod should have ended at {}; its node may be lost, so it is left alone: delete it by force only if \
                 the node is off",
                deadline.0
            )
        } else {
            "its pod is ending".to_owned()
        });
    }
    let status = pod.status.as_ref()?;
    if let Some((status, message)) = condition(pod, "PodScheduled")
        && status == "False"
    {
        return Some(format!("its pod cannot be scheduled: {}", message.unwrap_or_default()));
    }
    if matches!(status.phase.as_deref(), Some("Failed" | "Succeeded")) {
        let message = status.message.as_deref().or(status.reason.as_deref()).unwrap_or("no reason is given");
        return Some(format!("its pod has ended: {message}"));
    }
    let containers =
        status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten());
    containers.filter_map(waiting).next()
}

/// Why a container does not run, if it should and something is wrong with it.
fn waiting(container: &ContainerStatus) -> Option<String> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.as_deref()?;
    if matches!(reason, "ContainerCreating" | "PodInitializing") {
        return None;
    }
    let name = &container.name;
    Some(match waiting.message.as_deref() {
        Some(message) => format!("container {name} waits: {reason}: {message}"),
        None => format!("container {name} waits: {reason}"),
    })
}

fn condition<'a>(pod: &'a Pod, type_: &str) -> Option<(&'a str, Option<&'a str>)> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let found = conditions.iter().find(|condition| condition.type_ == type_)?;
    Some((&found.status, found.message.as_deref()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(pod: Value, ready: bool, expected: Option<&str>) {
        let pod: Pod = serde_json::from_value(pod).unwrap();
        let now = "2026-11-21T10:00:00Z".parse().unwrap();
        assert_eq!(is_ready(&pod), ready);
        let trouble = trouble(&pod, now);
        match expected {
            Some(part) => assert!(trouble.as_deref().is_some_and(|text| text.contains(part)), "{trouble:?}"),
            None => assert_eq!(trouble, None),
        }
    }

    #[test]
    fn a_ready_pod_has_no_trouble() {
        let status = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
        check(json!({"status": status}), true, None);
        check(
            json!({"metadata": {"deletionTimestamp": "2026-11-21T09:59:59Z"}, "status": status}),
            false,
            Some("is ending"),
        );
    }

    #[test]
    fn a_pod_that_does_not_end_is_said_to_be_left_alone() {
        let leaving = json!({"metadata": {"deletionTimestamp": "2026-11-21T09:59:00Z"}});
        check(leaving, false, Some("left alone"));
    }

    #[test]
    fn what_keeps_a_pod_from_starting_is_said() {
        let scheduled = json!([{"type": "PodScheduled", "status": "False", "message": "0/3 nodes"}]);
        check(json!({"status": {"conditions": scheduled}}), false, Some("cannot be scheduled: 0/3 nodes"));
        let waiting = |reason: &str| {
            json!([{
                "name": "holdfast", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"waiting": {"reason": reason, "message": "m"}},
            }])
        };
        check(
            json!({"status": {"containerStatuses": waiting("ImagePullBackOff")}}),
            false,
            Some("ImagePullBackOff: m"),
        );
        check(
            json!({"status": {"initContainerStatuses": waiting("CrashLoopBackOff")}}),
            false,
            Some("CrashLoopBackOff"),
        );
        check(json!({"status": {"containerStatuses": waiting("ContainerCreating")}}), false, None);
        check(json!({"status": {"phase": "Failed", "reason": "Evicted"}}), false, Some("Evicted"));
    }
}
