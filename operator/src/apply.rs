//! Brings the objects of one store to what was built, by server-side apply under one field manager.
//!
//! An object that is as it was after the last apply is not sent again; anything else is, so that whatever somebody changed is
//! repaired. It refuses to take over an object that another owner made, and it deletes nothing: owner references do.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use holdfast_api::names::{FIELD_MANAGER, KIND};
use k8s_openapi::NamespaceResourceScope;
use kube::api::{Patch, PatchParams};
use kube::runtime::reflector::Store;
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::build::Objects;
use crate::caches::{Caches, cached};

/// Why an object could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The API server refused it, or could not be reached.
    #[error("cannot apply the {kind} {name}")]
    Refused {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
        /// What the API server or the connection to it said.
        #[source]
        source: kube::Error,
    },
    /// An object of this name is there and is not the store's.
    #[error("there is a {kind} {name} already that this store did not make; delete it or rename the store")]
    Foreign {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
    },
    /// It belongs to a store of the same name that was deleted a moment ago.
    #[error("the {kind} {name} of a former store of this name is still there; it goes by itself")]
    Former {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
    },
    /// It cannot be written as JSON, which is a defect.
    #[error("cannot write the {kind} {name} as JSON")]
    Json {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
}

/// What was applied last, by kind and name: so that the same object is not sent at every look.
#[derive(Debug, Default)]
pub struct Applied(HashMap<(String, String), Applying>);

#[derive(Debug, PartialEq, Eq)]
struct Applying {
    /// Of what was sent.
    hash: u64,
    /// Of what the API server made of it.
    uid: Option<String>,
    resource_version: Option<String>,
}

/// Applies all objects of a store, in the order in which they need each other.
///
/// # Errors
/// At the first object that cannot be written; those after it are not tried.
pub async fn apply(
    client: &Client,
    caches: &Caches,
    objects: &Objects,
    applied: &mut Applied,
) -> Result<(), ApplyError> {
    let mut step = Applier {
        client,
        owner: &objects.owner,
        store: &objects.store,
        namespace: &objects.namespace,
        applied,
    };
    step.apply(&caches.accounts, &objects.service_account).await?;
    step.apply(&caches.config_maps, &objects.settings).await?;
    if let Some(rights) = &objects.rights {
        step.apply(&caches.roles, &rights.role).await?;
        step.apply(&caches.role_bindings, &rights.binding).await?;
    }
    for service in &objects.services {
        step.apply(&caches.services, service).await?;
    }
    step.apply(&caches.budgets, &objects.disruption_budget).await?;
    step.apply(&caches.stateful_sets, &objects.stateful_set).await
}

struct Applier<'a> {
    client: &'a Client,
    /// The store's uid.
    owner: &'a str,
    store: &'a str,
    namespace: &'a str,
    applied: &'a mut Applied,
}

impl Applier<'_> {
    async fn apply<K>(&mut self, cache: &Store<K>, object: &K) -> Result<(), ApplyError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
        K: Clone + Debug + Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        let kind = K::kind(&()).into_owned();
        let name = object.name_any();
        let json = serde_json::to_string(object).map_err(|source| ApplyError::Json {
            kind: kind.clone(),
            name: name.clone(),
            source,
        })?;
        let key = (kind.clone(), name.clone());
        let refused = |source| ApplyError::Refused { kind: kind.clone(), name: name.clone(), source };

        let api: Api<K> = Api::namespaced(self.client.clone(), self.namespace);
        let there = match cached(cache, self.namespace, &name) {
            Some(there) => Some(there),
            // The copy may lag, or hold only what carries our labels.
            None => api.get_opt(&name).await.map_err(refused)?.map(Arc::new),
        };
        if let Some(there) = &there {
            let owners = there.owner_references();
            if !owners.iter().any(|owner| owner.uid == self.owner) {
                let former = owners.iter().any(|owner| owner.kind == KIND && owner.name == self.store);
                return Err(if former {
                    ApplyError::Former { kind, name }
                } else {
                    ApplyError::Foreign { kind, name }
                });
            }
            if self.applied.0.get(&key) == Some(&Applying::of(&json, &**there)) {
                return Ok(());
            }
        }
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        let made = api.patch(&name, &parameters, &Patch::Apply(object)).await.map_err(refused)?;
        self.applied.0.insert(key, Applying::of(&json, &made));
        Ok(())
    }
}

impl Applying {
    fn of<K: Resource>(sent: &str, there: &K) -> Applying {
        let mut hasher = DefaultHasher::new();
        sent.hash(&mut hasher);
        Applying { hash: hasher.finish(), uid: there.uid(), resource_version: there.resource_version() }
    }
}

#[cfg(test)]
mod tests {
    use holdfast_api::ReplicatedStore;
    use serde_json::{Value, json};

    use super::*;
    use crate::build::{Surroundings, build};
    use crate::fake::{ApiServer, Asked, empty_caches};
    use crate::validate::{Surrounding, validate};

    fn objects(heartbeat: &str) -> Objects {
        let store: ReplicatedStore = serde_json::from_value(json!({
            "apiVersion": "holdfast.dev/v1alpha1", "kind": "ReplicatedStore",
            "metadata": {"name": "orders", "namespace": "shop", "uid": "mine"},
            "spec": {"heartbeat": {"interval": heartbeat}},
        }))
        .unwrap();
        let valid = validate(&store, &Surrounding::default()).unwrap();
        build(&valid, &Surroundings { sidecar_image: "sidecar:test", stateful_set: None })
    }

    /// What the server keeps of an object: its name, its owner, and a version.
    fn kept(asked: &Asked, owner: &str) -> Value {
        json!({
            "metadata": {
                "name": asked.line.rsplit('/').next(), "namespace": "shop", "uid": "u", "resourceVersion": "7",
                "ownerReferences": [{"apiVersion": "x", "kind": "x", "name": "x", "uid": owner}],
            },
        })
    }

    #[tokio::test]
    async fn everything_is_created_in_the_order_of_need() {
        let patched = |asked: &Asked| asked.line.starts_with("PATCH").then(|| kept(asked, "mine"));
        let (server, client) = ApiServer::start(patched);
        let mut applied = Applied::default();
        apply(&client, &empty_caches(), &objects("100ms"), &mut applied).await.unwrap();
        let asked = server.asked();
        let patched: Vec<&str> = asked.iter().filter_map(|asked| asked.line.strip_prefix("PATCH ")).collect();
        assert_eq!(
            patched,
            [
                "/api/v1/namespaces/shop/serviceaccounts/orders-member",
                "/api/v1/namespaces/shop/configmaps/orders-settings",
                "/api/v1/namespaces/shop/services/orders-peers",
                "/api/v1/namespaces/shop/services/orders",
                "/api/v1/namespaces/shop/services/orders-leader",
                "/apis/policy/v1/namespaces/shop/poddisruptionbudgets/orders",
                "/apis/apps/v1/namespaces/shop/statefulsets/orders",
            ]
        );
    }

    #[tokio::test]
    async fn what_has_not_changed_is_not_sent_again() {
        let (server, client) = ApiServer::start(|asked| Some(kept(asked, "mine")));
        let mut applied = Applied::default();
        let caches = empty_caches();
        let patches = || server.lines().into_iter().filter(|line| line.starts_with("PATCH")).count();
        apply(&client, &caches, &objects("100ms"), &mut applied).await.unwrap();
        assert_eq!(patches(), 7);
        apply(&client, &caches, &objects("100ms"), &mut applied).await.unwrap();
        assert_eq!(patches(), 0);
        // A changed setting is one changed object.
        apply(&client, &caches, &objects("200ms"), &mut applied).await.unwrap();
        assert_eq!(patches(), 1);
    }

    #[tokio::test]
    async fn what_somebody_changed_is_repaired() {
        let version = Arc::new(std::sync::atomic::AtomicU64::new(7));
        let shared = Arc::clone(&version);
        let (server, client) = ApiServer::start(move |asked| {
            let mut object = kept(asked, "mine");
            if asked.line.contains("services/orders-leader") {
                let version = shared.load(std::sync::atomic::Ordering::Relaxed);
                object["metadata"]["resourceVersion"] = version.to_string().into();
            }
            Some(object)
        });
        let mut applied = Applied::default();
        let caches = empty_caches();
        apply(&client, &caches, &objects("100ms"), &mut applied).await.unwrap();
        server.asked();
        version.store(8, std::sync::atomic::Ordering::Relaxed);
        apply(&client, &caches, &objects("100ms"), &mut applied).await.unwrap();
        let patched: Vec<String> =
            server.lines().into_iter().filter(|line| line.starts_with("PATCH")).collect();
        assert_eq!(patched, ["PATCH /api/v1/namespaces/shop/services/orders-leader"]);
    }

    #[tokio::test]
    async fn what_a_former_store_left_is_waited_for() {
        let (_server, client) = ApiServer::start(|asked| {
            let mut object = kept(asked, "former");
            object["metadata"]["ownerReferences"][0]["kind"] = KIND.into();
            object["metadata"]["ownerReferences"][0]["name"] = "orders".into();
            Some(object)
        });
        let error = apply(&client, &empty_caches(), &objects("100ms"), &mut Applied::default()).await;
        assert!(matches!(error, Err(ApplyError::Former { .. })), "{error:?}");
    }

    #[tokio::test]
    async fn what_somebody_else_made_is_left_alone() {
        let (server, client) = ApiServer::start(|asked| {
            let owner = if asked.line.contains("configmaps") { "theirs" } else { "mine" };
            Some(kept(asked, owner))
        });
        let error = apply(&client, &empty_caches(), &objects("100ms"), &mut Applied::default()).await;
        let error = error.expect_err("a ConfigMap of somebody else");
        assert!(error.to_string().contains("there is a ConfigMap orders-settings already"), "{error}");
        let lines = server.lines();
        assert!(
            !lines.iter().any(|line| line.starts_with("PATCH") && line.contains("configmaps")),
            "{lines:?}"
        );
        assert!(!lines.iter().any(|line| line.contains("statefulsets")), "{lines:?}");
    }
}
