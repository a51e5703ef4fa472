//! What an installation of the operator consists of: its namespace, its rights, its Deployment. Written here once; the plain manifest
//! and the chart's rules are generated from it.
//!
//! The rights are the least that the operator's requests need, and a comment at each says which. It can neither read secrets nor
//! give rights that it has not itself, and it deletes nothing but pods and their volumes. The lab's installation is in [`lab`].

pub mod lab;
mod security;

use holdfast_api::names::{EXPERIMENT_PLURAL, GROUP, OPERATOR, PLURAL};
use k8s_openapi::api::rbac::v1::PolicyRule;
use serde_json::{Value, json};

use crate::election::LEASE_NAME;

/// The namespace of the plain manifest.
pub const NAMESPACE: &str = "holdfast-system";

/// The operator's image without a tag.
pub const IMAGE: &str = "ghcr.io/holdfast-dev/holdfast-operator";

/// The port for health and metrics.
const PORT: u16 = 8080;

/// What the operator may do where stores are.
#[must_use]
pub fn store_rules() -> Vec<PolicyRule> {
    vec![
        rule(&[GROUP], &[PLURAL], &["get", "list", "watch"]),
        rule(&[GROUP], &[&format!("{PLURAL}/status")], &["patch"]),
        // Owner references that block the owner's deletion, where the API server asks for this right.
        rule(&[GROUP], &[&format!("{PLURAL}/finalizers")], &["update"]),
        // Server-side apply creates and patches. Owner references delete.
        rule(
            &[""],
            &["configmaps", "serviceaccounts", "services"],
            &["get", "list", "watch", "create", "patch"],
        ),
        rule(&["apps"], &["statefulsets"], &["get", "list", "watch", "create", "patch"]),
        rule(&["policy"], &["poddisruptionbudgets"], &["get", "list", "watch", "create", "patch"]),
        // Role labels; restarts one at a time.
        rule(&[""], &["pods"], &["get", "list", "watch", "patch", "delete"]),
        // Growth; the volumes of removed members.
        rule(&[""], &["persistentvolumeclaims"], &["get", "list", "watch", "patch", "delete"]),
        rule(&["events.k8s.io"], &["events"], &["create", "patch"]),
        // Stores with consensus InSync: their Lease is made once, and its members may read and replace it. Nobody gives a right that
        // he has not himself: `update` is only for that.
        rule(&["coordination.k8s.io"], &["leases"], &["get", "list", "watch", "create", "update"]),
        rule(
            &["rbac.authorization.k8s.io"],
            &["roles", "rolebindings"],
            &["get", "list", "watch", "create", "patch"],
        ),
    ]
}

/// What the operator may do in its own namespace: hold its lease.
#[must_use]
pub fn lease_rules() -> Vec<PolicyRule> {
    let group = &["coordination.k8s.io"];
    let named = PolicyRule {
        resource_names: Some(vec![LEASE_NAME.to_owned()]),
        ..rule(group, &["leases"], &["get", "patch"])
    };
    // No name is known when something is created.
    vec![rule(group, &["leases"], &["create"]), named]
}

/// What whoever may look at a namespace may see of its stores and experiments.
#[must_use]
pub fn view_rules() -> Vec<PolicyRule> {
    let status = [PLURAL, EXPERIMENT_PLURAL].map(|plural| format!("{plural}/status"));
    vec![rule(&[GROUP], &[PLURAL, &status[0], EXPERIMENT_PLURAL, &status[1]], &["get", "list", "watch"])]
}

/// What whoever may edit a namespace may do with its stores and experiments.
#[must_use]
pub fn edit_rules() -> Vec<PolicyRule> {
    vec![rule(
        &[GROUP],
        &[PLURAL, EXPERIMENT_PLURAL],
        &["create", "update", "patch", "delete", "deletecollection"],
    )]
}

fn rule(groups: &[&str], resources: &[&str], verbs: &[&str]) -> PolicyRule {
    let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    PolicyRule {
        api_groups: Some(owned(groups)),
        resources: Some(owned(resources)),
        verbs: owned(verbs),
        ..PolicyRule::default()
    }
}

/// Everything of the plain manifest but the definitions, in the order in which it must be created.
#[must_use]
pub fn objects(version: &str) -> Vec<Value> {
    let mut objects = vec![namespace(), service_account()];
    objects.extend(rights());
    objects.extend([service(), disruption_budget(), deployment(version)]);
    objects
}

fn labels() -> Value {
    json!({"app.kubernetes.io/name": OPERATOR, "app.kubernetes.io/part-of": "holdfast"})
}

fn selector() -> Value {
    json!({"app.kubernetes.io/name": OPERATOR})
}

fn metadata() -> Value {
    json!({"name": OPERATOR, "namespace": NAMESPACE, "labels": labels()})
}

fn cluster_wide(name: &str) -> Value {
    json!({"name": name, "labels": labels()})
}

fn namespace() -> Value {
    let mut labels = labels();
    // The operator needs no exception from the strictest standard.
    labels["pod-security.kubernetes.io/enforce"] = "restricted".into();
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}})
}

fn service_account() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata(),
        "automountServiceAccountToken": false,
    })
}

fn rights() -> Vec<Value> {
    let group = "rbac.authorization.k8s.io";
    let subjects = json!([{"kind": "ServiceAccount", "name": OPERATOR, "namespace": NAMESPACE}]);
    let aggregated = |name: &str, to: &[&str], rules: Vec<PolicyRule>| {
        let mut metadata = cluster_wide(name);
        for role in to {
            metadata["labels"][format!("{group}/aggregate-to-{role}")] = "true".into();
        }
        json!({"apiVersion": format!("{group}/v1"), "kind": "ClusterRole", "metadata": metadata, "rules": rules})
    };
    vec![
        json!({
            "apiVersion": format!("{group}/v1"),
            "kind": "ClusterRole",
            "metadata": cluster_wide(OPERATOR),
            "rules": store_rules(),
        }),
        json!({
            "apiVersion": format!("{group}/v1"),
            "kind": "ClusterRoleBinding",
            "metadata": cluster_wide(OPERATOR),
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": OPERATOR},
            "subjects": subjects,
        }),
        json!({
            "apiVersion": format!("{group}/v1"),
            "kind": "Role",
            "metadata": metadata(),
            "rules": lease_rules(),
        }),
        json!({
            "apiVersion": format!("{group}/v1"),
            "kind": "RoleBinding",
            "metadata": metadata(),
            "roleRef": {"apiGroup": group, "kind": "Role", "name": OPERATOR},
            "subjects": subjects,
        }),
        aggregated("holdfast-view", &["view", "edit", "admin"], view_rules()),
        aggregated("holdfast-edit", &["edit", "admin"], edit_rules()),
    ]
}

fn service() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(),
        "spec": {"selector": selector(), "ports": [{"name": "http", "port": PORT, "targetPort": "http"}]},
    })
}

fn disruption_budget() -> Value {
    json!({
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": selector()}},
    })
}

fn deployment(version: &str) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(),
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": selector()},
            "template": {
                "metadata": {"labels": labels()},
                "spec": {
                    "serviceAccountName": OPERATOR,
                    "automountServiceAccountToken": true,
                    "securityContext": security::pod(),
                    "terminationGracePeriodSeconds": 30,
                    "topologySpreadConstraints": [{
                        "maxSkew": 1,
                        "topologyKey": "kubernetes.io/hostname",
                        "whenUnsatisfiable": "ScheduleAnyway",
                        "labelSelector": {"matchLabels": selector()},
                    }],
                    "containers": [container(version)],
                },
            },
        },
    })
}

fn container(version: &str) -> Value {
    let field =
        |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    let probe = |path: &str, seconds: u8| json!({"httpGet": {"path": path, "port": "http"}, "periodSeconds": seconds, "timeoutSeconds": 2});
    json!({
        "name": "operator",
        "image": format!("{IMAGE}:{version}"),
        "args": ["run"],
        "env": [field("POD_NAME", "metadata.name"), field("POD_NAMESPACE", "metadata.namespace")],
        "ports": [{"name": "http", "containerPort": PORT}],
        "livenessProbe": probe("/livez", 10),
        "readinessProbe": probe("/readyz", 2),
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
        "securityContext": security::container(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rights_stay_small() {
        for rule in store_rules().iter().chain(&lease_rules()) {
            let resources = rule.resources.clone().unwrap_or_default();
            assert!(
                !resources.iter().any(|resource| resource.contains('*') || resource == "secrets"),
                "{rule:?}"
            );
            assert!(
                !rule.verbs.iter().any(|verb| verb == "*" || verb == "escalate" || verb == "bind"),
                "{rule:?}"
            );
            if rule.verbs.iter().any(|verb| verb == "delete") {
                assert!(
                    [["pods"], ["persistentvolumeclaims"]].iter().any(|may| resources == *may),
                    "{rule:?}"
                );
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
