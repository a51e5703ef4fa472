//! The lab's own store, for the requests over HTTP: the one store of `rest` as pods. It is a `ReplicatedStore` in the lab's own namespace that belongs
//! to the lab's pod by uid, so that Kubernetes takes it away with the lab, however that ends; the next lab has another name for its own.
//!
//! Who is killed comes back by himself: that is what kubelets are for. It refuses to touch a store that it did not make.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use holdfast_api::FaultExperimentSpec;
use holdfast_api::kind::FaultType;
use holdfast_client::NativeClient;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Client;
use tokio::time::{sleep, timeout};
use tracing::info;

use super::measure::{RECOVERY_MAX, Strike, Subject};
use super::members::{self, Members};
use super::store::{Made, Stores};
use super::turns::{RequestTurn, Turns};
use crate::experiment::fault::CHOOSING;
use crate::experiment::recovery::Recovered;
use crate::rest::place::{Place, Sample, SharedStore, Struck};
use crate::{Configuration, FailureKind, Measurement, Protocol, TestbedError};

/// How the names of the lab's own stores begin. Then come eight letters of the pod's uid, and a number.
const PREFIX: &str = "lab";
/// How much of the uid that is.
const UID_CHARS: usize = 8;
/// How often a pod that is made anew is looked for.
const PODS_PAUSE: Duration = Duration::from_millis(200);

/// The pod that the lab runs in.
#[derive(Clone, Debug)]
pub struct LabPod {
    /// Its namespace, in which the stores are made.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

/// Makes the lab's own stores, one at a time.
pub struct Own {
    stores: Stores,
    http: reqwest::Client,
    turns: Turns,
    prefix: String,
    made: AtomicU32,
}

/// The store that there is.
pub(crate) struct OwnStore {
    stores: Stores,
    made: Made,
    http: reqwest::Client,
    replicas: u8,
    tolerates: u8,
    /// As they were seen last: a pod that is made anew has another address.
    members: Mutex<Arc<Members>>,
}

/// What happened to whom.
pub(crate) struct How {
    strike: Strike,
    members: Arc<Members>,
}

impl Own {
    /// Stores that belong to `pod`; `image` is the lab's own, for the knives.
    ///
    /// # Errors
    /// No HTTP client can be made.
    pub fn new(client: Client, pod: &LabPod, image: String, turns: Turns) -> Result<Own, TestbedError> {
        let LabPod { namespace, name, uid } = pod;
        let owner = OwnerReference {
            api_version: "v1".to_owned(),
            kind: "Pod".to_owned(),
            name: name.clone(),
            uid: uid.clone(),
            controller: Some(true),
            // It would need a right on pods to have them wait for their stores.
            block_owner_deletion: None,
        };
        let prefix = format!("{PREFIX}-{}", uid.chars().take(UID_CHARS).collect::<String>());
        let stores = Stores {
            client,
            namespace: namespace.clone(),
            owner,
            label: prefix.clone(),
            asked: FaultExperimentSpec::default(),
            image,
        };
        Ok(Own { stores, http: super::pods::http()?, turns, prefix, made: AtomicU32::new(0) })
    }

    /// What removes everything that it made, and what a lab that was killed in the same pod left.
    pub(super) fn stores(&self) -> Stores {
        self.stores.clone()
    }
}

impl Place for Own {
    type Store = OwnStore;
    type Turn = RequestTurn;

    fn kinds(&self) -> Vec<FailureKind> {
        // What the kind of experiments has, pods have.
        let has = |kind: &FailureKind| serde_json::from_value::<FaultType>(kind.name().into()).is_ok();
        FailureKind::ALL.into_iter().filter(has).collect()
    }

    fn turn(&self) -> Result<RequestTurn, String> {
        self.turns.request()
    }

    async fn make(&self, configuration: &Configuration, _links: bool) -> Result<OwnStore, TestbedError> {
        let failed = |error| TestbedError::new("making the store", error);
        // There is one at a time: whatever else is ours was left by a lab that was killed.
        self.stores.sweep().await.map_err(failed)?;
        let number = self.made.fetch_add(1, Ordering::Relaxed) + 1;
        let name = format!("{}-{number}", self.prefix);
        let made = self.stores.make(&name, configuration).await.map_err(failed)?;
        let members = Members::ready(&self.stores, &made, configuration.replicas, &self.http).await?;
        info!(store = made.name, strategy = configuration.full_name(), "the lab's own store is ready");
        Ok(OwnStore {
            stores: self.stores.clone(),
            made,
            http: self.http.clone(),
            replicas: configuration.replicas,
            tolerates: configuration.tolerates(),
            members: Mutex::new(Arc::new(members)),
        })
    }
}

impl OwnStore {
    fn subject(&self) -> Subject<'_> {
        Subject { stores: &self.stores, made: &self.made, http: &self.http, tolerates: self.tolerates }
    }

    fn members(&self) -> Arc<Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, members: Members) -> Arc<Members> {
        let members = Arc::new(members);
        *self.members.lock().unwrap_or_else(PoisonError::into_inner) = members.clone();
        members
    }

    /// The members as the API server has them now.
    async fn look(&self) -> Result<Arc<Members>, TestbedError> {
        let found = members::find(&self.stores, &self.made).await?;
        let known = self.members();
        if found == known.members {
            return Ok(known);
        }
        if found.len() != usize::from(self.replicas) {
            return Err(TestbedError::new(CHOOSING, "a pod is being made anew; recover first"));
        }
        Ok(self.set(Members::reach(found, &self.http)?))
    }

    /// Waits until there are as many pods as there should be.
    async fn look_until_complete(&self) {
        let complete = async {
            while self.look().await.is_err() {
                sleep(PODS_PAUSE).await;
            }
        };
        // Whoever needs them looks again, and says what is wrong.
        let _ = timeout(RECOVERY_MAX, complete).await;
    }
}

impl SharedStore for OwnStore {
    type How = How;

    fn client(&self) -> NativeClient {
        self.members().all.clone()
    }

    async fn measure(
        &self,
        configuration: &Configuration,
        protocol: &Protocol,
        run_id: u32,
    ) -> Result<Measurement, TestbedError> {
        let measured = self.subject().measure(&self.members(), configuration, protocol, run_id).await;
        self.look_until_complete().await;
        measured
    }

    async fn fail(
        &self,
        kind: FailureKind,
        node_count: u8,
        chance: u64,
    ) -> Result<Struck<How>, TestbedError> {
        let members = self.look().await?;
        let fault = self.subject().aim(&members, kind, node_count, chance).await?;
        let strike = self.subject().strike(&members, &fault).await?;
        let returns = fault.kills();
        Ok(Struck { fault, how: How { strike, members }, returns })
    }

    async fn watch(&self, struck: &Struck<How>, sample: Sample) -> Recovered {
        let How { strike, members } = &struck.how;
        let recovered = self.subject().recover(members, sample, &struck.fault, strike).await;
        if struck.fault.kind() == FailureKind::PodKill {
            self.look_until_complete().await;
        }
        recovered
    }

    async fn mend(&self, struck: &Struck<How>) -> Result<(), TestbedError> {
        self.subject().mend(&struck.how.members, &struck.fault).await
    }

    async fn mend_and_watch(&self, struck: &Struck<How>, sample: Sample) -> Result<Recovered, TestbedError> {
        let now = Strike { began: Instant::now(), hits: Vec::new() };
        self.mend(struck).await?;
        Ok(self.subject().recover(&struck.how.members, sample, &struck.fault, &now).await)
    }

    async fn is_whole(&self) -> bool {
        let well = Members::well(&self.stores, &self.made, self.replicas, &self.http, RECOVERY_MAX).await;
        well.map(|members| self.set(members)).is_ok()
    }

    async fn discard(&self) -> Result<(), TestbedError> {
        self.stores.remove(&self.made).await.map_err(|error| TestbedError::new("removing the store", error))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::kubernetes::fake;

    fn own(client: Client) -> Own {
        let pod = LabPod {
            namespace: "lab".to_owned(),
            name: "holdfast-lab-0".to_owned(),
            uid: "0123456789-abc".to_owned(),
        };
        Own::new(client, &pod, "lab:test".to_owned(), Turns::default()).expect("a client")
    }

    #[tokio::test]
    async fn pods_have_no_partitions_and_no_lost_disks() {
        let (_, client) = fake::server(|_| None);
        let kinds = own(client).kinds();
        assert!(kinds.contains(&FailureKind::PodKill) && kinds.contains(&FailureKind::Pause), "{kinds:?}");
        for kind in [FailureKind::Partition, FailureKind::Latency, FailureKind::Disk, FailureKind::Disks] {
            assert!(!kinds.contains(&kind), "{kind}");
        }
    }

    /// A store of this name and owner.
    fn store(name: &str, owner: &str) -> Value {
        let owner = json!({"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": owner, "controller": true});
        json!({
            "apiVersion": "holdfast.dev/v1alpha1", "kind": "ReplicatedStore", "spec": {},
            "metadata": {"name": name, "namespace": "lab", "uid": name, "ownerReferences": [owner]},
        })
    }

    #[tokio::test]
    async fn what_was_left_in_this_pod_goes_and_what_is_of_another_stays() {
        let (asked, client) = fake::server(|line| {
            let all = [store("lab-01234567-4", "0123456789-abc"), store("lab-01234567-9", "another")];
            match line.split('/').next_back() {
                Some("replicatedstores") if line.starts_with("GET") => {
                    Some(json!({"kind": "List", "metadata": {}, "items": all}))
                }
                // The name of the one that is to be made is taken, by somebody else.
                Some("lab-01234567-1") => Some(store("lab-01234567-1", "another")),
                _ => None,
            }
        });
        let error = match own(client).make(&Configuration::baseline(), false).await {
            Err(error) => crate::kubernetes::chain(&error),
            Ok(_) => panic!("the name is taken"),
        };
        assert!(error.contains("the Pod holdfast-lab-0 did not make"), "{error}");
        let deleted: Vec<String> =
            asked.lines().into_iter().filter(|line| line.starts_with("DELETE")).collect();
        assert_eq!(deleted.len(), 1, "{deleted:?}");
        assert!(deleted[0].ends_with("/lab-01234567-4"), "{deleted:?}");
    }

    #[tokio::test]
    async fn it_belongs_to_the_labs_pod() {
        let (_, client) = fake::server(|_| None);
        let wanted = own(client).stores.wanted("lab-01234567-1", &Configuration::replication(3));
        let owner = &wanted.metadata.owner_references.expect("an owner")[0];
        assert_eq!((owner.kind.as_str(), owner.uid.as_str()), ("Pod", "0123456789-abc"));
        assert_eq!(owner.block_owner_deletion, None);
        assert_eq!(wanted.metadata.namespace.as_deref(), Some("lab"));
    }
}
