//! From a valid store to the objects that it consists of. Pure: the same store gives the same objects, whatever there is in
//! the cluster, but for what Kubernetes does not let anybody change.
//!
//! It refuses to decide when an object is written or a pod restarted.

mod config_map;
mod disruption_budget;
mod metadata;
mod pod;
mod rights;
mod service_account;
mod services;
mod sidecar;
mod stateful_set;

use holdfast_api::names::label;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;

pub use self::rights::Rights;
use crate::validate::Valid;

/// Everything that one store consists of. Pods and volumes come from the StatefulSet.
#[derive(Clone, Debug, PartialEq)]
pub struct Objects {
    /// The store's uid, which is in every object's owner reference.
    pub owner: String,
    /// The store's name.
    pub store: String,
    /// The store's namespace, which is every object's.
    pub namespace: String,
    /// Whom the pods run as.
    pub service_account: ServiceAccount,
    /// What members need where a Lease decides who leads.
    pub rights: Option<Rights>,
    /// The settings file.
    pub settings: ConfigMap,
    /// For the peers, for all members, for the leader.
    pub services: [Service; 3],
    /// How many members may be evicted at once.
    pub disruption_budget: PodDisruptionBudget,
    /// The members.
    pub stateful_set: StatefulSet,
}

/// What the build needs beside the store.
#[derive(Clone, Debug)]
pub struct Surroundings<'a> {
    /// The image of members whose store names none.
    pub sidecar_image: &'a str,
    /// The StatefulSet as it is, if it is there: its volume claim templates cannot change.
    pub stateful_set: Option<&'a StatefulSet>,
}

/// Builds all objects of a store.
#[must_use]
pub fn build(valid: &Valid, surroundings: &Surroundings<'_>) -> Objects {
    Objects {
        owner: valid.uid.clone(),
        store: valid.name.clone(),
        namespace: valid.namespace.clone(),
        service_account: service_account::build(valid),
        rights: rights::build(valid),
        settings: config_map::build(valid),
        services: [services::peers(valid), services::members(valid), services::leader(valid)],
        disruption_budget: disruption_budget::build(valid),
        stateful_set: stateful_set::build(valid, surroundings),
    }
}

/// Selects the pods of a store, as the scale subresource wants it.
#[must_use]
pub fn pod_selector(store: &str) -> String {
    format!("{}={store}", label::STORE)
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use holdfast_api::ReplicatedStore;

    use super::*;
    use crate::validate::{Surrounding, validate};

    /// The YAML documents of all objects, in the order in which they are applied.
    fn yaml(objects: &Objects) -> String {
        let mut documents = vec![
            serde_yaml::to_string(&objects.service_account).unwrap(),
            serde_yaml::to_string(&objects.settings).unwrap(),
        ];
        if let Some(Rights { role, binding, lease }) = &objects.rights {
            documents.push(serde_yaml::to_string(role).unwrap());
            documents.push(serde_yaml::to_string(binding).unwrap());
            documents.push(serde_yaml::to_string(lease).unwrap());
        }
        documents.extend(objects.services.iter().map(|service| serde_yaml::to_string(service).unwrap()));
        documents.push(serde_yaml::to_string(&objects.disruption_budget).unwrap());
        documents.push(serde_yaml::to_string(&objects.stateful_set).unwrap());
        documents.join("---\n")
    }

    fn read(path: &Path) -> Objects {
        let text = std::fs::read_to_string(path).unwrap();
        let mut store: ReplicatedStore = serde_yaml::from_str(&text).unwrap();
        // What the API server adds to a manifest.
        store.metadata.namespace.get_or_insert("default".into());
        store.metadata.uid = Some("00000000-0000-4000-8000-000000000001".into());
        let valid = validate(&store, &Surrounding::default())
            .unwrap_or_else(|refusal| panic!("{}: {refusal:?}", path.display()));
        build(&valid, &Surroundings { sidecar_image: "holdfast-sidecar:test", stateful_set: None })
    }

    /// Every `testdata/NAME.yaml` gives `testdata/NAME.golden.yaml`. With `UPDATE=1` in the environment the golden files are
    /// written instead of compared.
    #[test]
    fn stores_become_the_objects_in_the_golden_files() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
        let mut stores: Vec<PathBuf> = std::fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| !path.to_string_lossy().ends_with(".golden.yaml"))
            .collect();
        stores.sort();
        assert!(stores.len() >= 4, "{}", folder.display());
        for store in stores {
            let golden = store.with_extension("golden.yaml");
            let built = yaml(&read(&store));
            if std::env::var_os("UPDATE").is_some_and(|update| update == "1") {
                std::fs::write(&golden, &built).unwrap();
            }
            let expected = std::fs::read_to_string(&golden).unwrap_or_default();
            let differs = built.lines().zip(expected.lines()).position(|(built, expected)| built != expected);
            assert!(
                built == expected,
                "{} is stale at line {:?}; look at the difference, then run with UPDATE=1",
                golden.display(),
                differs.map(|line| line + 1),
            );
        }
    }

    #[test]
    fn what_cannot_change_stays_as_it_is() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/three-members.yaml");
        let live = read(&path).stateful_set;
        let mut store: ReplicatedStore =
            serde_yaml::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        store.metadata.namespace = Some("default".into());
        store.metadata.uid = Some("00000000-0000-4000-8000-000000000001".into());
        store.spec.storage.size.0 = "40Gi".into();
        let valid = validate(&store, &Surrounding::default()).unwrap();
        let surroundings = Surroundings { sidecar_image: "x", stateful_set: Some(&live) };
        let grown = build(&valid, &surroundings).stateful_set;
        let templates = |set: &StatefulSet| set.spec.as_ref().unwrap().volume_claim_templates.clone();
        assert_eq!(templates(&grown), templates(&live));
        assert_ne!(grown, live, "the image did change");
    }
}
