//! What an installation of the lab consists of: whom it runs as, its rights, its Deployment. It lies in the operator's namespace and needs an
//! operator, which makes the pods of the stores that the lab asks for.
//!
//! The rights are the least that its requests need, and a comment at each says which. Those to delete are bound to nothing by Kubernetes: the lab
//! itself deletes only what it made, by uid.

use holdfast_api::names::{EXPERIMENT_PLURAL, GROUP, LAB, LAB_PORT, PLURAL};
use k8s_openapi::api::rbac::v1::PolicyRule;
use serde_json::{Value, json};

use super::{NAMESPACE, rule, security};

/// The lab's image without a tag. The stores' pods have it too: the knife is in it.
pub const IMAGE: &str = "ghcr.io/holdfast-dev/holdfast-lab";

/// What the lab may do where experiments are.
#[must_use]
pub fn rules() -> Vec<PolicyRule> {
    vec![
        rule(&[GROUP], &[EXPERIMENT_PLURAL], &["get", "list"]),
        rule(&[GROUP], &[&format!("{EXPERIMENT_PLURAL}/status")], &["patch"]),
        // Owner references that block the owner's deletion, where the API server asks for this right.
        rule(&[GROUP], &[&format!("{EXPERIMENT_PLURAL}/finalizers")], &["update"]),
        // A store for every run, and one for the requests over HTTP.
        rule(&[GROUP], &[PLURAL], &["get", "list", "create", "delete"]),
        // Whose a pod is: the store's, by way of its StatefulSet.
        rule(&["apps"], &["statefulsets"], &["get"]),
        // Where members are; the failure pod_kill.
        rule(&[""], &["pods"], &["get", "list", "delete"]),
        // The results.
        rule(&[""], &["configmaps"], &["get", "create", "patch"]),
        rule(&["events.k8s.io"], &["events"], &["create", "patch"]),
    ]
}

/// Everything of the lab's plain manifest, in the order in which it must be created.
#[must_use]
pub fn objects(version: &str) -> Vec<Value> {
    let group = "rbac.authorization.k8s.io";
    vec![
        json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata(), "automountServiceAccountToken": false,
        }),
        json!({
            "apiVersion": format!("{group}/v1"), "kind": "ClusterRole",
            "metadata": {"name": LAB, "labels": labels()}, "rules": rules(),
        }),
        json!({
            "apiVersion": format!("{group}/v1"), "kind": "ClusterRoleBinding",
            "metadata": {"name": LAB, "labels": labels()},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": LAB},
            "subjects": [{"kind": "ServiceAccount", "name": LAB, "namespace": NAMESPACE}],
        }),
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": metadata(),
            "spec": {"selector": selector(), "ports": [{"name": "http", "port": LAB_PORT, "targetPort": "http"}]},
        }),
        deployment(version),
    ]
}

fn labels() -> Value {
    json!({"app.kubernetes.io/name": LAB, "app.kubernetes.io/part-of": "holdfast"})
}

fn selector() -> Value {
    json!({"app.kubernetes.io/name": LAB})
}

fn metadata() -> Value {
    json!({"name": LAB, "namespace": NAMESPACE, "labels": labels()})
}

fn deployment(version: &str) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(),
        "spec": {
            // Two would measure each other; the one before ends first.
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": selector()},
            "template": {
                "metadata": {"labels": labels()},
                "spec": {
                    "serviceAccountName": LAB,
                    "automountServiceAccountToken": true,
                    "securityContext": security::pod(),
                    "containers": [container(version)],
                    "volumes": [{"name": "scratch", "emptyDir": {"sizeLimit": "16Mi"}}],
                },
            },
        },
    })
}

fn container(version: &str) -> Value {
    let image = format!("{IMAGE}:{version}");
    let field =
        |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    let probe = |seconds: u8| json!({"httpGet": {"path": "/livez", "port": "http"}, "periodSeconds": seconds, "timeoutSeconds": 2});
    json!({
        "name": "lab",
        "image": image,
        "args": ["run", "--rest"],
        "env": [
            {"name": "HOLDFAST_LAB_IMAGE", "value": image},
            // Whom the store for the requests over HTTP belongs to.
            field("POD_NAME", "metadata.name"),
            field("POD_NAMESPACE", "metadata.namespace"),
            field("POD_UID", "metadata.uid"),
        ],
        "ports": [{"name": "http", "containerPort": LAB_PORT}],
        "livenessProbe": probe(10),
        "readinessProbe": probe(2),
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}},
        "volumeMounts": [{"name": "scratch", "mountPath": "/var/lib/holdfast-lab"}],
        "securityContext": security::container(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rights_stay_small() {
        for rule in rules() {
            let resources = rule.resources.clone().unwrap_or_default();
            let named = |name: &str| resources.iter().any(|resource| resource == name);
            assert!(!resources.iter().any(|resource| resource.contains('*')), "{rule:?}");
            assert!(!named("secrets") && !named("pods/exec"), "{rule:?}");
            if rule.verbs.iter().any(|verb| verb == "delete") {
                assert!(resources == [PLURAL] || resources == ["pods"], "{rule:?}");
            }
        }
    }

    #[test]
    fn every_object_has_a_kind_and_a_name() {
        for object in objects("1.2.3") {
            assert!(object["kind"].is_string() && object["metadata"]["name"].is_string(), "{object}");
        }
    }
}
