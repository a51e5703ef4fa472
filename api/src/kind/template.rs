//! The application's pods. The schema takes any pod spec and looks at names alone.
//!
//! The whole schema of a pod would be half a megabyte of CRD: more than `kubectl apply` can keep in its annotation, and
//! it would be the pod of one Kubernetes version, whose later fields the API server would silently drop. So the
//! template is carried as it was written, is checked against the pod of the oldest supported version by
//! [`PodTemplate::pod_spec`] (in `holdfast validate` and in the operator, which reports what it finds), and finally by
//! the API server when the StatefulSet is applied. `kubectl explain pod.spec` says what it can hold.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PodSpec;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::schema;
use crate::violation::{self, Violation};

/// The application's pods, into which the sidecar is put.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodTemplate {
    /// Labels and annotations of the pods. The operator's own labels win.
    #[serde(default, skip_serializing_if = "TemplateMetadata::is_empty")]
    pub metadata: TemplateMetadata,

    /// The pods, as in a Deployment. Names that begin with holdfast are the sidecar's.
    #[schemars(schema_with = "schema::pod_spec")]
    pub spec: Value,
}

/// Labels and annotations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TemplateMetadata {
    /// The pods' labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::labels")]
    pub labels: BTreeMap<String, String>,

    /// The pods' annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::annotations")]
    pub annotations: BTreeMap<String, String>,
}

/// Why a template holds no pod.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the template holds no pod: {}", violation::joined(.0))]
pub struct TemplateError(pub Vec<Violation>);

impl TemplateMetadata {
    fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.annotations.is_empty()
    }
}

impl PodTemplate {
    /// The pod.
    ///
    /// # Errors
    ///
    /// [`TemplateError`] with paths that begin at `spec`: a value of a type that the field does not have, or fields that
    /// a pod does not have.
    pub fn pod_spec(&self) -> Result<PodSpec, TemplateError> {
        let pod: PodSpec = serde_path_to_error::deserialize(&self.spec).map_err(|error| {
            let path = path_under("spec", error.path());
            TemplateError(vec![Violation { path, message: error.inner().to_string() }])
        })?;
        // The types keep what they know. Whatever does not come back is unknown.
        let known = serde_json::to_value(&pod).expect("a pod can always be written");
        let mut unknown = Vec::new();
        collect_unknown("spec", &self.spec, &known, &mut unknown);
        if unknown.is_empty() { Ok(pod) } else { Err(TemplateError(unknown)) }
    }
}

/// The path of a value within what is at `prefix`.
pub(crate) fn path_under(prefix: &str, path: &serde_path_to_error::Path) -> String {
    match path.iter().next() {
        None => prefix.to_owned(),
        Some(serde_path_to_error::Segment::Seq { .. }) => format!("{prefix}{path}"),
        Some(_) => format!("{prefix}.{path}"),
    }
}

fn collect_unknown(path: &str, written: &Value, known: &Value, unknown: &mut Vec<Violation>) {
    match (written, known) {
        (Value::Object(written), Value::Object(known)) => {
            for (name, value) in written.iter().filter(|(_, value)| !value.is_null()) {
                let path = format!("{path}.{name}");
                match known.get(name) {
                    Some(known) => collect_unknown(&path, value, known, unknown),
                    None => unknown.push(Violation { path, message: "unknown field".to_owned() }),
                }
            }
        }
        (Value::Array(written), Value::Array(known)) => {
            for (i, (written, known)) in written.iter().zip(known).enumerate() {
                collect_unknown(&format!("{path}[{i}]"), written, known, unknown);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(spec: Value, expected: &[&str]) {
        let template = PodTemplate { metadata: TemplateMetadata::default(), spec };
        let found = match template.pod_spec() {
            Ok(_) => Vec::new(),
            Err(TemplateError(found)) => found.iter().map(Violation::to_string).collect(),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn a_pod_is_taken_as_it_is() {
        check(
            json!({
                "containers": [{
                    "name": "app", "image": "chat:1", "env": [{ "name": "A", "value": "" }], "command": [],
                    "resources": { "limits": { "cpu": "1", "memory": "64Mi" } },
                    "ports": [{ "containerPort": 80, "name": null }],
                }],
                "nodeSelector": {}, "tolerations": [], "affinity": { "podAntiAffinity": {} },
                "volumes": [{ "name": "scratch", "emptyDir": {} }],
            }),
            &[],
        );
    }

    #[test]
    fn what_no_pod_has_is_named_with_its_path() {
        check(
            json!({ "containers": [{ "name": "app", "imagee": "x" }], "volume": [] }),
            &["spec.containers[0].imagee: unknown field", "spec.volume: unknown field"],
        );
        check(
            json!({ "containers": [{ "name": "app", "ports": [{ "containerPort": "80" }] }] }),
            &["spec.containers[0].ports[0].containerPort: invalid type: string \"80\", expected i32"],
        );
        check(json!([]), &["spec: invalid type: sequence, expected PodSpec"]);
    }
}
