//! The stores of an experiment, made for one run each and removed after it, and the lab's own. What was made belongs to its owner by a reference with
//! the uid; nothing else is touched, whatever it is called.

use std::time::Duration;

use holdfast_api::kind::{
    CheckpointSpec, PodTemplate, ReplicatedStore, StorageSpec, TemplateMetadata, WhenDeleted,
};
use holdfast_api::names::{KNIFE_PORT, LAB, label};
use holdfast_api::{Compression, FaultExperiment, FaultExperimentSpec, ReplicatedStoreSpec};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{DeleteParams, ListParams, PostParams, Preconditions};
use kube::{Api, Client, Resource as _, ResourceExt as _};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::is_controlled_by;
use crate::Configuration;

/// The label of an experiment's stores and of their pods: its name. The lab's own have the beginning of their names.
pub(super) const LABEL: &str = "holdfast.dev/experiment";
/// Checkpoints that are kept: the newest, and one to fall back to if it is damaged.
const CHECKPOINTS_RETAINED: u8 = 2;
/// How long the pods of a store may take to go: their grace, and a kubelet that has much to do.
const GONE_MAX: Duration = Duration::from_secs(180);
/// How often they are looked for.
const GONE_PAUSE: Duration = Duration::from_millis(200);

/// Makes the stores of one owner: an experiment, or the lab's pod.
#[derive(Clone)]
pub(super) struct Stores {
    pub(super) client: Client,
    pub(super) namespace: String,
    pub(super) owner: OwnerReference,
    /// The value of [`LABEL`].
    pub(super) label: String,
    /// Storage, resources, and the members' image.
    pub(super) asked: FaultExperimentSpec,
    /// The image of the knife.
    pub(super) image: String,
}

/// A store that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Made {
    pub(super) name: String,
    pub(super) uid: String,
}

/// Why there is no store, or it does not go.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoreError {
    /// The API server refused it, or could not be reached.
    #[error("cannot {act} the ReplicatedStore {name}")]
    Refused {
        /// What was being done.
        act: &'static str,
        /// Its name.
        name: String,
        /// What the API server or the connection to it said.
        #[source]
        source: kube::Error,
    },
    /// A store of that name is somebody else's.
    #[error(
        "there is a ReplicatedStore {name} already that the {owner} did not make, and it is left alone; rename one of them"
    )]
    Foreign {
        /// Its name.
        name: String,
        /// Who wanted to have it: `FaultExperiment strategies`.
        owner: String,
    },
    /// Its pods stay.
    #[error("the pods of {name} are still there after {} s", GONE_MAX.as_secs())]
    Stays {
        /// Its name.
        name: String,
    },
}

impl Stores {
    /// For an experiment that the API server has; `image` is the lab's own.
    pub(super) fn of(client: Client, experiment: &FaultExperiment, image: String) -> Stores {
        Stores {
            client,
            namespace: experiment.namespace().unwrap_or_default(),
            // `None` only for what the API server has not seen; an owner without a uid makes nothing and finds nothing.
            owner: experiment.controller_owner_ref(&()).unwrap_or_default(),
            label: experiment.name_any(),
            asked: experiment.spec.clone(),
            image,
        }
    }

    fn foreign(&self, name: &str) -> StoreError {
        let owner = format!("{} {}", self.owner.kind, self.owner.name);
        StoreError::Foreign { name: name.to_owned(), owner }
    }

    fn api(&self) -> Api<ReplicatedStore> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Makes a store. One of the same name that is left from an earlier life of the lab is removed first.
    ///
    /// # Errors
    /// It is refused, or its name is taken by a store of somebody else.
    pub(super) async fn make(&self, name: &str, configuration: &Configuration) -> Result<Made, StoreError> {
        if let Some(left) = self.find(name).await? {
            self.remove(&left).await?;
        }
        let store = self.wanted(name, configuration);
        match self.api().create(&PostParams::default(), &store).await {
            Ok(made) => Ok(Made { uid: made.uid().unwrap_or_default(), name: name.to_owned() }),
            Err(kube::Error::Api(status)) if status.code == 409 => Err(self.foreign(name)),
            Err(source) => Err(StoreError::Refused { act: "make", name: name.to_owned(), source }),
        }
    }

    /// The store of this name, if it is there and the owner's.
    ///
    /// # Errors
    /// It is somebody else's, or the API server does not say.
    async fn find(&self, name: &str) -> Result<Option<Made>, StoreError> {
        let found = self.api().get_opt(name).await;
        let found =
            found.map_err(|source| StoreError::Refused { act: "read", name: name.to_owned(), source })?;
        match found {
            None => Ok(None),
            Some(store) if is_controlled_by(&store, &self.owner.uid) => {
                Ok(Some(Made { name: name.to_owned(), uid: store.uid().unwrap_or_default() }))
            }
            Some(_) => Err(self.foreign(name)),
        }
    }

    /// Removes a store and waits until its pods are gone, so that the next one has the nodes for itself. Its volumes go by themselves.
    ///
    /// # Errors
    /// The API server refuses, or the pods stay.
    pub(super) async fn remove(&self, made: &Made) -> Result<(), StoreError> {
        self.delete(made).await?;
        let looking =
            |source| StoreError::Refused { act: "look for the pods of", name: made.name.clone(), source };
        let sets: Api<StatefulSet> = Api::namespaced(self.client.clone(), &self.namespace);
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        let theirs = ListParams::default().labels(&format!("{}={}", label::STORE, made.name));
        let until = Instant::now() + GONE_MAX;
        loop {
            // A StatefulSet that is still there would make pods yet, and be in the way of the next store of this name.
            let set = sets.get_metadata_opt(&made.name).await.map_err(looking)?;
            let set = set.filter(|set| is_controlled_by(set, &made.uid));
            let left = pods.list_metadata(&theirs).await.map_err(looking)?;
            if set.is_none() && left.items.is_empty() {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(StoreError::Stays { name: made.name.clone() });
            }
            sleep(GONE_PAUSE).await;
        }
    }

    /// Has a store deleted; only the very one.
    async fn delete(&self, made: &Made) -> Result<(), StoreError> {
        let parameters = DeleteParams::background()
            .preconditions(Preconditions { uid: Some(made.uid.clone()), resource_version: None });
        match self.api().delete(&made.name, &parameters).await {
            Ok(_) => Ok(()),
            // It is gone, or another one has its name now.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
            Err(source) => Err(StoreError::Refused { act: "delete", name: made.name.clone(), source }),
        }
    }

    /// Has every store deleted that the owner still has.
    ///
    /// # Errors
    /// The API server refuses.
    pub(super) async fn sweep(&self) -> Result<(), StoreError> {
        let labelled = ListParams::default().labels(&format!("{LABEL}={}", self.label));
        let all = self.api().list(&labelled).await.map_err(|source| StoreError::Refused {
            act: "list",
            name: format!("{}-*", self.label),
            source,
        })?;
        for store in all.items.iter().filter(|store| is_controlled_by(*store, &self.owner.uid)) {
            let made = Made { name: store.name_any(), uid: store.uid().unwrap_or_default() };
            self.delete(&made).await?;
        }
        Ok(())
    }

    /// What the operator says of a store, for a person who wonders why it does not come.
    pub(super) async fn told(&self, name: &str) -> String {
        let Ok(Some(store)) = self.api().get_opt(name).await else {
            return "the store is gone".to_owned();
        };
        let Some(status) = store.status else {
            return "the operator has not looked at it; is it installed, and does it watch this namespace?"
                .to_owned();
        };
        let said = status.conditions.iter().filter(|condition| condition.type_ != "QuorumLost");
        let said: Vec<String> =
            said.map(|condition| format!("{}: {}", condition.reason, condition.message)).collect();
        said.join("; ")
    }

    pub(super) fn wanted(&self, name: &str, configuration: &Configuration) -> ReplicatedStore {
        let mut store = ReplicatedStore::new(name, spec(&self.asked, configuration, &self.image));
        store.metadata.namespace = Some(self.namespace.clone());
        store.metadata.labels = Some([(LABEL.to_owned(), self.label.clone())].into());
        store.metadata.owner_references = Some(vec![self.owner.clone()]);
        store
    }
}

/// The store of a configuration, with a knife in every pod.
fn spec(asked: &FaultExperimentSpec, configuration: &Configuration, image: &str) -> ReplicatedStoreSpec {
    let Configuration { strategy, replicas, checkpoint_interval, durability, .. } = *configuration;
    let checkpoint = strategy.takes_checkpoints().then_some(CheckpointSpec {
        interval: checkpoint_interval,
        retain: CHECKPOINTS_RETAINED,
        compression: Compression::None,
        outside: None,
    });
    ReplicatedStoreSpec {
        strategy,
        replicas,
        consensus: configuration.consensus(),
        durability,
        checkpoint,
        storage: StorageSpec {
            size: asked.storage.size.clone(),
            storage_class_name: asked.storage.storage_class_name.clone(),
            when_deleted: WhenDeleted::Delete,
        },
        resources: asked.resources.clone(),
        image: asked.image.clone(),
        template: Some(PodTemplate {
            metadata: TemplateMetadata {
                labels: [("app.kubernetes.io/part-of".to_owned(), LAB.to_owned())].into(),
                ..TemplateMetadata::default()
            },
            spec: json!({
                // What the knife is for: it sees the member's process, and that one is no init, which nobody could kill.
                "shareProcessNamespace": true,
                "automountServiceAccountToken": false,
                "terminationGracePeriodSeconds": 5,
                "securityContext": {
                    "runAsNonRoot": true,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [{
                    "name": "knife",
                    "image": image,
                    "args": ["knife", format!("--listen=0.0.0.0:{KNIFE_PORT}")],
                    "ports": [{"name": "knife", "containerPort": KNIFE_PORT}],
                    "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
                    "securityContext": {
                        "allowPrivilegeEscalation": false,
                        "readOnlyRootFilesystem": true,
                        "capabilities": {"drop": ["ALL"]},
                        "runAsUser": MEMBERS_USER,
                        "runAsGroup": MEMBERS_USER,
                    },
                }],
            }),
        }),
        ..ReplicatedStoreSpec::default()
    }
}

/// Whom members run as, as the operator has it: a process may signal those of its own user.
const MEMBERS_USER: i64 = 65_532;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::fake;

    #[test]
    fn every_default_configuration_makes_a_valid_store_with_a_knife() {
        for configuration in Configuration::defaults() {
            let spec = spec(&FaultExperimentSpec::default(), &configuration, "lab:test");
            let store = ReplicatedStore::new("strategies-c0-r1", spec);
            holdfast_api::validate::check(&store)
                .unwrap_or_else(|error| panic!("{}: {error}", configuration.name));
            let pod = store.spec.template.expect("a template").pod_spec().expect("a pod");
            assert_eq!(pod.share_process_namespace, Some(true));
            assert_eq!(pod.containers[0].image.as_deref(), Some("lab:test"));
            assert_eq!(store.spec.storage.when_deleted, WhenDeleted::Delete);
        }
    }

    fn owned(name: &str, uid: &str, owner: &str) -> serde_json::Value {
        let owner = json!({"apiVersion": "x", "kind": "x", "name": "x", "uid": owner, "controller": true});
        json!({
            "apiVersion": "holdfast.dev/v1alpha1", "kind": "ReplicatedStore", "spec": {},
            "metadata": {"name": name, "namespace": "shop", "uid": uid, "ownerReferences": [owner]},
        })
    }

    fn stores(client: Client) -> Stores {
        let mut experiment = FaultExperiment::new("strategies", FaultExperimentSpec::default());
        experiment.metadata.namespace = Some("shop".to_owned());
        experiment.metadata.uid = Some("mine".to_owned());
        Stores::of(client, &experiment, "lab:test".to_owned())
    }

    /// The requests of making the store of a first run where there is one of this owner.
    async fn making_where_there_is_one_of(owner: &'static str) -> (Result<Made, StoreError>, Vec<String>) {
        let (asked, client) = fake::server(move |line| match line.split('/').next_back() {
            Some("strategies-c0-r1") => Some(owned("strategies-c0-r1", "old", owner)),
            Some("replicatedstores") => Some(owned("strategies-c0-r1", "new", "mine")),
            Some("pods") => Some(json!({"kind": "PodList", "metadata": {}, "items": []})),
            _ => None,
        });
        let made = stores(client).make("strategies-c0-r1", &Configuration::baseline()).await;
        let verb = |line: String| line.split('/').next().unwrap_or_default().trim().to_owned();
        (made, asked.lines().into_iter().map(verb).collect())
    }

    #[tokio::test]
    async fn the_store_of_a_stranger_is_left_alone() {
        let (made, verbs) = making_where_there_is_one_of("theirs").await;
        assert!(matches!(made, Err(StoreError::Foreign { .. })), "{made:?}");
        assert_eq!(verbs, ["GET"], "nothing but looked at");
    }

    #[tokio::test]
    async fn what_an_earlier_life_left_is_removed_first() {
        let (made, verbs) = making_where_there_is_one_of("mine").await;
        assert_eq!(made.expect("made").uid, "new");
        assert_eq!(verbs, ["GET", "DELETE", "GET", "GET", "POST"]);
    }

    #[tokio::test]
    async fn only_the_experiments_own_stores_are_swept_up() {
        let (asked, client) = fake::server(|line| {
            let all = [owned("strategies-c0-r1", "a", "mine"), owned("strategies-c0-r2", "b", "theirs")];
            line.starts_with("GET").then(|| json!({"kind": "List", "metadata": {}, "items": all}))
        });
        stores(client).sweep().await.expect("swept");
        let deleted: Vec<String> =
            asked.lines().into_iter().filter(|line| line.starts_with("DELETE")).collect();
        assert_eq!(deleted.len(), 1, "{deleted:?}");
        assert!(deleted[0].ends_with("/strategies-c0-r1"), "{deleted:?}");
    }

    #[test]
    fn the_longest_names_fit() {
        let longest = format!("{}-c31-r1000", "e".repeat(40));
        assert!(longest.len() <= holdfast_api::names::STORE_NAME_BYTES_MAX, "{}", longest.len());
    }
}
