//! Whether a store can be carried out, and what it means when it can: the same rules that the API server has, once more, because a
//! definition may be older than the operator, and what no rule of a schema can say.
//!
//! Pure: no client. It refuses to correct anything.

use holdfast_api::kind::{ServiceSpec, StorageSpec, TemplateMetadata};
use holdfast_api::names::peer_address;
use holdfast_api::validate::ManifestError;
use holdfast_api::{ReplicatedStore, Settings, SettingsError, Violation};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PodSpec, ResourceRequirements};
use kube::ResourceExt as _;

/// A store that can be carried out, with everything that was left out filled in.
///
/// Invariants: the settings are valid; `replicas` is in `[1, REPLICAS_MAX]` and, of a store that is there, what it was.
#[derive(Clone, Debug)]
pub struct Valid {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid, which owns all objects.
    pub uid: String,
    /// How many members it has.
    pub replicas: u8,
    /// The settings file of its members.
    pub settings: Settings,
    /// The members' volumes.
    pub storage: StorageSpec,
    /// What the sidecar's container requests and may use.
    pub resources: Option<ResourceRequirements>,
    /// The sidecar's image, if the store names one.
    pub image: Option<String>,
    /// The Services for clients.
    pub service: ServiceSpec,
    /// The application's pods, if there is one.
    pub application: Option<Application>,
}

/// The application's pods.
#[derive(Clone, Debug, PartialEq)]
pub struct Application {
    /// Labels and annotations.
    pub metadata: TemplateMetadata,
    /// The pod.
    pub pod: PodSpec,
}

/// What a store is held against beside its own text.
#[derive(Clone, Copy, Debug, Default)]
pub struct Surrounding<'a> {
    /// Its StatefulSet, if it is there.
    pub stateful_set: Option<&'a StatefulSet>,
}

/// Everything that is wrong with a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(pub Vec<Violation>);

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (i, violation) in self.0.iter().enumerate() {
            write!(f, "{}{violation}", if i == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

/// Checks a store.
///
/// # Errors
/// [`Refusal`] with everything that is wrong.
pub fn validate(store: &ReplicatedStore, surrounding: &Surrounding<'_>) -> Result<Valid, Refusal> {
    let mut wrong = Vec::new();
    check_replicas(store.spec.replicas, surrounding, &mut wrong);
    match holdfast_api::validate::check(store) {
        Ok(()) => {}
        Err(ManifestError::Invalid(violations)) => wrong.extend(violations),
        Err(error) => wrong.push(Violation { path: String::new(), message: error.to_string() }),
    }
    if !wrong.is_empty() {
        return Err(Refusal(wrong));
    }
    // After the rules these two can only fail if the rules have a gap. Then that is said, and nothing is built.
    let settings = settings(store).map_err(Refusal)?;
    let application = application(store).map_err(Refusal)?;
    let spec = &store.spec;
    Ok(Valid {
        namespace: settings.store.namespace.clone(),
        name: settings.store.name.clone(),
        uid: store.uid().unwrap_or_default(),
        replicas: spec.replicas,
        settings,
        storage: spec.storage.clone(),
        resources: spec.resources.clone(),
        image: spec.image.clone(),
        service: spec.service.clone(),
        application,
    })
}

fn settings(store: &ReplicatedStore) -> Result<Settings, Vec<Violation>> {
    let name = store.store_name();
    let peer = |ordinal| peer_address(&name.namespace, &name.name, ordinal);
    store.settings((0..store.spec.replicas).map(peer).collect()).map_err(|error| match error {
        SettingsError::Invalid(violations) => violations,
        error => vec![Violation { path: String::new(), message: error.to_string() }],
    })
}

fn application(store: &ReplicatedStore) -> Result<Option<Application>, Vec<Violation>> {
    let Some(template) = &store.spec.template else { return Ok(None) };
    let pod = template.pod_spec().map_err(|error| error.0)?;
    Ok(Some(Application { metadata: template.metadata.clone(), pod }))
}

/// The members are fixed when a store is formed: with another number of pods the old ones would go on as they are and new
/// ones would never be let in, or worse, a majority would be deleted.
fn check_replicas(replicas: u8, surrounding: &Surrounding<'_>, wrong: &mut Vec<Violation>) {
    let there = surrounding.stateful_set.and_then(|set| set.spec.as_ref()?.replicas);
    if let Some(there) = there.filter(|&there| there != i32::from(replicas)) {
        wrong.push(Violation {
            path: "spec.replicas".to_owned(),
            message: format!(
                "the store was formed with {there} members, which cannot change yet: write replicas: {there}, or \
                 create another store and copy the data"
            ),
        });
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::StatefulSetSpec;
    use serde_json::{Value, json};

    use super::*;

    fn store(spec: Value) -> ReplicatedStore {
        serde_json::from_value(json!({
            "apiVersion": "holdfast.dev/v1alpha1",
            "kind": "ReplicatedStore",
            "metadata": {"name": "orders", "namespace": "shop", "uid": "u"},
            "spec": spec,
        }))
        .unwrap()
    }

    fn check(spec: Value, there: Option<i32>, expected: &[&str]) {
        let set = there.map(|replicas| StatefulSet {
            spec: Some(StatefulSetSpec { replicas: Some(replicas), ..StatefulSetSpec::default() }),
            ..StatefulSet::default()
        });
        let refusal = match validate(&store(spec.clone()), &Surrounding { stateful_set: set.as_ref() }) {
            Ok(_) => String::new(),
            Err(refusal) => {
                assert!(!refusal.0.is_empty());
                refusal.to_string()
            }
        };
        assert_eq!(refusal.is_empty(), expected.is_empty(), "{spec}: {refusal}");
        for part in expected {
            assert!(refusal.contains(part), "{spec}: {refusal}");
        }
    }

    #[test]
    fn an_empty_spec_is_a_store_of_three() {
        let valid = validate(&store(json!({})), &Surrounding::default()).unwrap();
        assert_eq!(valid.replicas, 3);
        assert_eq!(valid.settings.peers[2], "orders-2.orders-peers.shop.svc:7401");
        assert_eq!(valid.application, None);
    }

    #[test]
    fn what_cannot_be_is_refused_with_what_to_write() {
        check(json!({"strategy": "Baseline"}), None, &["replicas", "write replicas: 1"]);
        check(json!({"consensus": "InSync"}), None, &["write", "Majority"]);
        check(json!({"heartbeat": {"interval": "1s", "timeout": "2s"}}), None, &["heartbeat.timeout"]);
        check(
            json!({"template": {"spec": {"containers": [{"name": "app", "imagee": "x"}]}}}),
            None,
            &["spec.template.spec.containers[0].imagee: unknown field"],
        );
    }

    #[test]
    fn the_number_of_members_stays_what_it_was() {
        check(json!({"replicas": 3}), Some(3), &[]);
        check(json!({"replicas": 5}), Some(3), &["formed with 3 members", "write replicas: 3"]);
        check(json!({"replicas": 1}), Some(3), &["formed with 3 members"]);
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        check(
            json!({"replicas": 5, "consensus": "InSync", "template": {"spec": {"containers": [{"name": "app", "x": 1}]}}}),
            Some(3),
            &["spec.replicas", "consensus", "spec.template.spec.containers[0].x"],
        );
    }
}
