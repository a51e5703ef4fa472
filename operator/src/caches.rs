//! What the operator watches, and its copies of it. The copies lag: they are good for finding out what might have to be
//! done, and whoever is about to disrupt something asks again, past them.

use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use futures::{Stream, StreamExt as _};
use holdfast_api::ReplicatedStore;
use holdfast_api::names::{OPERATOR, label};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::core::DeserializeGuard;
use kube::runtime::controller::Controller;
use kube::runtime::reflector::store::WriterDropped;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher::{self, watcher};
use kube::runtime::{WatchStreamExt as _, predicates, reflector};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;

/// A store as it is watched: one that cannot be read does not stop the watch of the others.
pub type Watched = DeserializeGuard<ReplicatedStore>;

/// The stores that are there.
#[derive(Clone, Debug)]
pub struct Stores(Store<Watched>);

impl Stores {
    #[cfg(test)]
    pub(crate) fn new(store: Store<Watched>) -> Stores {
        Stores(store)
    }

    /// All that can be read.
    #[must_use]
    pub fn all(&self) -> Vec<ReplicatedStore> {
        self.0.state().iter().filter_map(|guard| guard.0.as_ref().ok().cloned()).collect()
    }
}

/// Copies of everything that belongs to stores.
#[derive(Clone, Debug)]
pub struct Caches {
    /// The stores themselves.
    pub stores: Stores,
    /// Their StatefulSets.
    pub stateful_sets: Store<StatefulSet>,
    /// Their pods.
    pub pods: Store<Pod>,
    /// Their volumes' claims.
    pub claims: Store<PersistentVolumeClaim>,
    /// Their settings.
    pub config_maps: Store<ConfigMap>,
    /// Their Services.
    pub services: Store<Service>,
    /// Their disruption budgets.
    pub budgets: Store<PodDisruptionBudget>,
    /// Their service accounts.
    pub accounts: Store<ServiceAccount>,
    /// What their members may do.
    pub roles: Store<Role>,
    /// That they may.
    pub role_bindings: Store<RoleBinding>,
    /// What decides in those with consensus InSync.
    pub leases: Store<Lease>,
}

/// Starts to watch, in one namespace or in all: the copies, and a controller that is woken by every change to them. The copies fill
/// only while the controller runs.
#[must_use]
pub fn watch(client: &Client, namespace: Option<&str>) -> (Caches, Controller<Watched>) {
    let (stores, writer) = reflector::store();
    // The operator's own writes to a status wake nobody.
    let stream = watcher(scoped::<Watched>(client, namespace), watcher::Config::default())
        .modify(without_managed_fields)
        .default_backoff()
        .reflect(writer)
        .applied_objects()
        .predicate_filter(asked_for, Default::default());
    let controller = Controller::for_stream(stream, stores.clone());

    let (stateful_sets, stream) = follow(scoped(client, namespace));
    let controller = controller.owns_stream(stream);
    let (config_maps, stream) = follow(scoped(client, namespace));
    let controller = controller.owns_stream(stream);
    let (services, stream) = follow(scoped(client, namespace));
    let controller = controller.owns_stream(stream);
    let (budgets, stream) = follow(scoped(client, namespace));
    let controller = controller.owns_stream(stream);
    let (accounts, stream) = follow(scoped(client, namespace));
    let controller = controller.owns_stream(stream);
    let (roles, stream) = follow(scoped(client, namespace));
    let controller = controller.owns_stream(stream);
    let (role_bindings, stream) = follow(scoped(client, namespace));
    let controller = controller.owns_stream(stream);
    let (leases, stream) = follow(scoped(client, namespace));
    let controller = controller.owns_stream(stream);
    let (pods, stream) = follow(scoped::<Pod>(client, namespace));
    let controller = controller.watches_stream(stream, |pod| store_of(&pod));
    let (claims, stream) = follow(scoped::<PersistentVolumeClaim>(client, namespace));
    let controller = controller.watches_stream(stream, |claim| store_of(&claim));

    let stores = Stores(stores);
    let caches = Caches {
        stores,
        stateful_sets,
        pods,
        claims,
        config_maps,
        services,
        budgets,
        accounts,
        roles,
        role_bindings,
        leases,
    };
    (caches, controller)
}

impl Caches {
    /// Waits until every copy has been filled once.
    ///
    /// # Errors
    /// When the watches were dropped, at the end of the process.
    pub async fn ready(&self) -> Result<(), WriterDropped> {
        self.stateful_sets.wait_until_ready().await?;
        self.pods.wait_until_ready().await?;
        self.claims.wait_until_ready().await?;
        self.config_maps.wait_until_ready().await?;
        self.services.wait_until_ready().await?;
        self.budgets.wait_until_ready().await?;
        self.accounts.wait_until_ready().await?;
        self.roles.wait_until_ready().await?;
        self.role_bindings.wait_until_ready().await?;
        self.leases.wait_until_ready().await
    }
}

/// An API for one namespace, or for all.
fn scoped<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// A copy of the objects of one kind that the operator made, and a stream of those that change or go.
fn follow<K>(api: Api<K>) -> (Store<K>, impl Stream<Item = Result<K, watcher::Error>> + Send + 'static)
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let (store, writer) = reflector::store();
    let ours = watcher::Config::default().labels(&format!("{}={OPERATOR}", label::MANAGED_BY));
    let stream = watcher(api, ours)
        .modify(without_managed_fields)
        .default_backoff()
        .reflect(writer)
        .touched_objects()
        .predicate_filter(predicates::resource_version, Default::default())
        .boxed();
    (store, stream)
}

/// `managedFields` are most of an object's bytes, and nobody here reads them.
fn without_managed_fields<K: Resource>(object: &mut K) {
    object.meta_mut().managed_fields = None;
}

/// Changes when a user asks for something: never by a status.
fn asked_for(store: &Watched) -> Option<u64> {
    let meta = store.meta();
    let mut hasher = DefaultHasher::new();
    (&meta.uid, meta.generation, &meta.annotations, meta.deletion_timestamp.is_some()).hash(&mut hasher);
    Some(hasher.finish())
}

/// The store that a pod or claim belongs to; they have no owner reference to it.
fn store_of<K: Resource>(object: &K) -> Option<ObjectRef<Watched>> {
    let store = object.labels().get(label::STORE)?;
    Some(ObjectRef::new(store).within(&object.namespace()?))
}

/// The copy of a store's object, if it is there.
#[must_use]
pub fn cached<K>(store: &Store<K>, namespace: &str, name: &str) -> Option<Arc<K>>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    store.get(&ObjectRef::new(name).within(namespace))
}
