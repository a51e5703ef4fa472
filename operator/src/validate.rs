//! Whether a store can be carried out, and what it means when it can: the same rules that the API server has, once more, because a
//! definition may be older than the operator, and what no rule of a schema can say.
//!
//! Pure: no client. It refuses to correct anything.

use holdfast_api::kind::{CheckpointSpec, ServiceSpec, StorageSpec, TemplateMetadata};
use holdfast_api::names::peer_address;
use holdfast_api::validate::ManifestError;
use holdfast_api::{ReplicatedStore, Settings, SettingsError, Violation};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PodSpec, ResourceRequirements};
use kube::ResourceExt as _;

use crate::dereference::members_there;

/// A store that can be carried out, with everything that was left out filled in.
///
/// Invariants: the settings are valid; `1 <= replicas <= members <= REPLICAS_MAX`; the settings have as many peers as `members`.
#[derive(Clone, Debug)]
pub struct Valid {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid, which owns all objects.
    pub uid: String,
    /// How many members it is to have.
    pub replicas: u8,
    /// How many pods it has or is to have: more than `replicas` while members are to be removed.
    pub members: u8,
    /// How many members vote, or with consensus InSync have every write, as far as anybody has said.
    pub voters: Option<u8>,
    /// The settings file of its members.
    pub settings: Settings,
    /// The members' volumes.
    pub storage: StorageSpec,
    /// The claim in which checkpoints are kept outside of the members.
    pub outside_claim: Option<String>,
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
    /// How many members vote, or with consensus InSync have every write, if the leader or the Lease has said.
    pub voters: Option<u8>,
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
    match holdfast_api::validate::check(store) {
        Ok(()) => {}
        Err(ManifestError::Invalid { violations, .. }) => wrong.extend(violations),
        Err(error) => wrong.push(Violation { path: String::new(), message: error.to_string() }),
    }
    if !wrong.is_empty() {
        return Err(Refusal(wrong));
    }
    // After the rules these two can only fail if the rules have a gap. Then that is said, and nothing is built.
    let members = match store.spec.strategy.replicates() {
        true => members_there(store.spec.replicas, surrounding.stateful_set),
        false => store.spec.replicas,
    };
    let settings = settings(store, members).map_err(Refusal)?;
    let application = application(store).map_err(Refusal)?;
    let spec = &store.spec;
    Ok(Valid {
        namespace: settings.store.namespace.clone(),
        name: settings.store.name.clone(),
        uid: store.uid().unwrap_or_default(),
        replicas: spec.replicas,
        members,
        voters: surrounding.voters,
        settings,
        storage: spec.storage.clone(),
        outside_claim: spec.checkpoint.as_ref().and_then(outside_claim),
        resources: spec.resources.clone(),
        image: spec.image.clone(),
        service: spec.service.clone(),
        application,
    })
}

fn outside_claim(checkpoint: &CheckpointSpec) -> Option<String> {
    checkpoint.outside.as_ref().map(|outside| outside.claim_name.clone())
}

impl Valid {
    /// Have so many pods and peers, at least `replicas`.
    pub fn be(&mut self, members: u8) {
        let members = members.max(self.replicas);
        let peer = |ordinal| peer_address(&self.namespace, &self.name, ordinal);
        self.settings.peers = (0..members).map(peer).collect();
        self.members = members;
    }
}

fn settings(store: &ReplicatedStore, members: u8) -> Result<Settings, Vec<Violation>> {
    let name = store.store_name();
    let peer = |ordinal| peer_address(&name.namespace, &name.name, ordinal);
    store.settings((0..members).map(peer).collect()).map_err(|error| match error {
        SettingsError::Invalid(violations) => violations,
        error => vec![Violation { path: String::new(), message: error.to_string() }],
    })
}

fn application(store: &ReplicatedStore) -> Result<Option<Application>, Vec<Violation>> {
    let Some(template) = &store.spec.template else { return Ok(None) };
    let pod = template.pod_spec().map_err(|error| error.0)?;
    Ok(Some(Application { metadata: template.metadata.clone(), pod }))
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

    fn check(spec: Value, expected: &[&str]) {
        let refusal = match validate(&store(spec.clone()), &Surrounding::default()) {
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
        check(json!({"strategy": "Baseline"}), &["replicas", "write replicas: 1"]);
        check(json!({"consensus": "InSync"}), &[]);
        check(json!({"consensus": "InSync", "replicas": 1}), &["consensus", "replicas: 2 or more"]);
        check(json!({"heartbeat": {"interval": "1s", "timeout": "2s"}}), &["heartbeat.timeout"]);
        check(
            json!({"template": {"spec": {"containers": [{"name": "app", "imagee": "x"}]}}}),
            &["spec.template.spec.containers[0].imagee: unknown field"],
        );
    }

    #[test]
    fn members_that_are_to_go_are_there_until_they_are_removed() {
        let members = |spec: Value, there: i32| {
            let set = StatefulSet {
                spec: Some(StatefulSetSpec { replicas: Some(there), ..StatefulSetSpec::default() }),
                ..StatefulSet::default()
            };
            let surrounding = Surrounding { stateful_set: Some(&set), voters: None };
            let valid = validate(&store(spec), &surrounding).unwrap();
            (valid.settings.replicas, valid.members, valid.settings.peers.len())
        };
        assert_eq!(members(json!({"replicas": 3}), 3), (3, 3, 3));
        assert_eq!(members(json!({"replicas": 5}), 3), (5, 5, 5));
        assert_eq!(members(json!({"replicas": 1}), 3), (1, 3, 3));
        // Somebody has scaled the StatefulSet itself.
        assert_eq!(members(json!({"replicas": 3}), 0), (3, 3, 3));
        assert_eq!(members(json!({"replicas": 3}), 99), (3, 7, 7));
        assert_eq!(members(json!({"replicas": 1, "strategy": "Baseline"}), 3), (1, 1, 1));
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        check(
            json!({"replicas": 8, "minInSync": 2, "template": {"spec": {"containers": [{"name": "app", "x": 1}]}}}),
            &["spec.replicas", "minInSync", "spec.template.spec.containers[0].x"],
        );
    }
}
