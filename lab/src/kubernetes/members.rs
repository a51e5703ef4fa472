//! The members of a store of pods, and the ways to them: by the pods' addresses, past all Services.
//!
//! A pod is a member's only if its StatefulSet is the store's, by uid. It refuses to reach any other.

use std::time::Duration;

use holdfast_api::http::Status;
use holdfast_api::names::{ADMIN_PORT, CLIENT_PORT, KNIFE_PORT, label, member};
use holdfast_client::{Admin, Client, NativeClient};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::is_controlled_by;
use super::store::{Made, Stores};
use crate::TestbedError;
use crate::experiment::health;

/// How long a store may take to be ready: volumes are made, images are pulled, pods start, members elect.
const READY_MAX: Duration = Duration::from_secs(180);
/// How often the API server is asked for its pods meanwhile.
const PODS_PAUSE: Duration = Duration::from_millis(200);
/// How often members are asked.
const STATUS_PAUSE: Duration = Duration::from_millis(20);
/// How long a member that is asked how it is may take.
const STATUS_MAX: Duration = Duration::from_secs(2);
/// How long a checkpoint may take: a gigabyte at 50 MB/s and some.
const CHECKPOINT_MAX: Duration = Duration::from_secs(60);
/// How long a knife may take to start, and to strike.
const KNIFE_MAX: Duration = Duration::from_secs(30);
/// How often a port is tried that nobody listens at yet: the error of a recovery time that waits for a process.
const CONNECT_PAUSE: Duration = Duration::from_millis(2);
/// How long one try may take. A pod's address that is not there yet never answers.
const CONNECT_MAX: Duration = Duration::from_millis(250);

/// A pod of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) ordinal: u8,
    pub(super) pod: String,
    pub(super) pod_uid: String,
    address: String,
}

/// All members of a store, and the ways to them.
pub(super) struct Members {
    pub(super) members: Vec<Member>,
    /// To each alone, by ordinal.
    pub(super) natives: Vec<NativeClient>,
    /// To whichever answers.
    pub(super) all: NativeClient,
    statuses: Vec<Client>,
    http: reqwest::Client,
}

impl Member {
    /// Where clients connect.
    pub(super) fn client(&self) -> String {
        self.at(CLIENT_PORT)
    }

    fn at(&self, port: u16) -> String {
        // Addresses of the sixth version go into brackets.
        if self.address.contains(':') {
            format!("[{}]:{port}", self.address)
        } else {
            format!("{}:{port}", self.address)
        }
    }

    /// Waits until somebody listens for clients.
    pub(super) async fn listens(&self) {
        let address = self.client();
        while !matches!(timeout(CONNECT_MAX, TcpStream::connect(&address)).await, Ok(Ok(_))) {
            sleep(CONNECT_PAUSE).await;
        }
    }
}

/// The store's pods, by ordinal, as far as they have an address and nobody deletes them.
///
/// # Errors
/// The API server does not answer, or a pod of a member's name is not the store's.
pub(super) async fn find(stores: &Stores, made: &Made) -> Result<Vec<Member>, TestbedError> {
    let failed = |source: kube::Error| TestbedError::new("looking for the store's pods", source);
    let sets: Api<StatefulSet> = Api::namespaced(stores.client.clone(), &stores.namespace);
    let Some(set) = sets.get_opt(&made.name).await.map_err(failed)? else { return Ok(Vec::new()) };
    let not_ours = |what: String| {
        let why = format!("{what} is not of the store that was made, and is left alone");
        TestbedError::new("looking for the store's pods", why)
    };
    if !is_controlled_by(&set, &made.uid) {
        return Err(not_ours(format!("the StatefulSet {}", made.name)));
    }
    let set_uid = set.uid().unwrap_or_default();
    let pods: Api<Pod> = Api::namespaced(stores.client.clone(), &stores.namespace);
    let labelled = ListParams::default().labels(&format!("{}={}", label::STORE, made.name));
    let mut members = Vec::new();
    for pod in pods.list(&labelled).await.map_err(failed)? {
        let name = pod.name_any();
        if !is_controlled_by(&pod, &set_uid) {
            return Err(not_ours(format!("the pod {name}")));
        }
        let address = pod.status.as_ref().and_then(|status| status.pod_ip.clone());
        let ordinal = (0..holdfast_api::names::REPLICAS_MAX).find(|one| member(&made.name, *one) == name);
        if let (Some(address), Some(ordinal), None) = (address, ordinal, &pod.metadata.deletion_timestamp) {
            members.push(Member { ordinal, pod_uid: pod.uid().unwrap_or_default(), pod: name, address });
        }
    }
    members.sort_by_key(|member| member.ordinal);
    Ok(members)
}

impl Members {
    /// Waits until a store has all its pods and every member is well.
    ///
    /// # Errors
    /// It is not so in time.
    pub(super) async fn ready(
        stores: &Stores,
        made: &Made,
        replicas: u8,
        http: &reqwest::Client,
    ) -> Result<Members, TestbedError> {
        Members::well(stores, made, replicas, http, READY_MAX).await
    }

    /// The same with another limit: pods may be others than before.
    ///
    /// # Errors
    /// It is not so in time.
    pub(super) async fn well(
        stores: &Stores,
        made: &Made,
        replicas: u8,
        http: &reqwest::Client,
        most: Duration,
    ) -> Result<Members, TestbedError> {
        let until = Instant::now() + most;
        let mut members: Option<Members> = None;
        loop {
            let found = find(stores, made).await?;
            if found.len() == usize::from(replicas) {
                let reached = match members.take() {
                    Some(known) if known.members == found => known,
                    _ => Members::reach(found, http)?,
                };
                // The API server is asked seldom, the members often.
                let next = Instant::now() + PODS_PAUSE;
                while Instant::now() < next {
                    if health::is_well(&reached.statuses().await) {
                        return Ok(reached);
                    }
                    sleep(STATUS_PAUSE).await;
                }
                members = Some(reached);
            } else {
                sleep(PODS_PAUSE).await;
            }
            if Instant::now() > until {
                let why = format!("not after {} s; {}", most.as_secs(), stores.told(&made.name).await);
                return Err(TestbedError::new("waiting until every member is well", why));
            }
        }
    }

    /// Members at these addresses; nobody is asked anything.
    ///
    /// # Errors
    /// An address is none.
    pub(super) fn reach(members: Vec<Member>, http: &reqwest::Client) -> Result<Members, TestbedError> {
        let failed = |error: holdfast_client::EndpointError| TestbedError::new("reaching the members", error);
        let native = |member: &Member| NativeClient::new([member.client()]);
        let status = |member: &Member| {
            Client::new([format!("http://{}", member.client())])
                .map(|client| client.with_deadline(STATUS_MAX))
        };
        Ok(Members {
            natives: members.iter().map(native).collect::<Result<_, _>>().map_err(failed)?,
            all: NativeClient::new(members.iter().map(Member::client)).map_err(failed)?,
            statuses: members.iter().map(status).collect::<Result<_, _>>().map_err(failed)?,
            http: http.clone(),
            members,
        })
    }

    /// What every member says of itself; `None` for those that do not answer.
    pub(super) async fn statuses(&self) -> Vec<Option<Status>> {
        health::ask(&self.statuses).await
    }

    /// Who leads.
    pub(super) async fn leader(&self) -> Option<Status> {
        health::leader(self.statuses().await)
    }

    /// Where clients connect, by ordinal.
    pub(super) fn addresses(&self) -> Vec<String> {
        self.members.iter().map(Member::client).collect()
    }

    /// A member by its ordinal.
    pub(super) fn member(&self, ordinal: u8) -> &Member {
        &self.members[usize::from(ordinal)]
    }

    /// Has a member take a checkpoint, and waits until it is durable.
    ///
    /// # Errors
    /// It refuses, or takes too long.
    pub(super) async fn take_checkpoint(&self, ordinal: u8) -> Result<(), TestbedError> {
        let failed = |why: String| TestbedError::new("taking a checkpoint", why);
        let admin = Admin::new(&format!("http://{}", self.member(ordinal).at(ADMIN_PORT)))
            .map_err(|error| failed(error.to_string()))?
            .with_deadline(CHECKPOINT_MAX);
        match timeout(CHECKPOINT_MAX, admin.checkpoint()).await {
            Ok(taken) => taken.map(drop).map_err(|error| failed(error.to_string())),
            Err(_) => Err(failed("it took too long".to_owned())),
        }
    }

    /// Waits until a member's knife is there. The connection stays open, so that a strike takes no more than its way.
    ///
    /// # Errors
    /// It is not there in time.
    pub(super) async fn take_up(&self, ordinal: u8) -> Result<(), TestbedError> {
        let until = Instant::now() + KNIFE_MAX;
        loop {
            match self.knife(ordinal, reqwest::Method::GET, "/livez").await {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > until => return Err(error),
                Err(_) => sleep(STATUS_PAUSE).await,
            }
        }
    }

    /// Where a member's knife says that a process is gone.
    pub(super) fn gone_url(&self, member: &Member, pid: &str) -> String {
        format!("http://{}/gone/{}", member.at(KNIFE_PORT), pid.trim())
    }

    /// Has a member's knife do something.
    ///
    /// # Errors
    /// It does not answer, or says why it cannot.
    pub(super) async fn knife(
        &self,
        ordinal: u8,
        method: reqwest::Method,
        path: &str,
    ) -> Result<String, TestbedError> {
        let failed = |error: reqwest::Error| TestbedError::new("injecting the failure", error.without_url());
        let url = format!("http://{}{path}", self.member(ordinal).at(KNIFE_PORT));
        let answer = self.http.request(method, url).timeout(KNIFE_MAX).send().await.map_err(failed)?;
        let refused = !answer.status().is_success();
        let text = answer.text().await.map_err(failed)?;
        if refused {
            return Err(TestbedError::new("injecting the failure", text.trim().to_owned()));
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use holdfast_api::{FaultExperiment, FaultExperimentSpec};
    use serde_json::{Value, json};

    use super::*;
    use crate::kubernetes::fake;

    fn object(name: &str, uid: &str, owner: &str) -> Value {
        let owner = json!({"apiVersion": "x", "kind": "x", "name": "x", "uid": owner, "controller": true});
        json!({
            "metadata": {"name": name, "uid": uid, "ownerReferences": [owner]},
            "status": {"podIP": "10.0.0.7", "replicas": 1},
        })
    }

    async fn find_among(set: Value, pods: &[Value]) -> Result<Vec<Member>, TestbedError> {
        let list = json!({"kind": "PodList", "metadata": {}, "items": pods});
        let (_, client) = fake::server(move |line| {
            Some(if line.contains("statefulsets") { set.clone() } else { list.clone() })
        });
        let mut experiment = FaultExperiment::new("e", FaultExperimentSpec::default());
        experiment.metadata.namespace = Some("shop".to_owned());
        let stores = Stores::of(client, &experiment, "lab:test".to_owned());
        find(&stores, &Made { name: "e-c0-r1".to_owned(), uid: "store".to_owned() }).await
    }

    #[tokio::test]
    async fn only_pods_of_the_stores_own_stateful_set_are_members() {
        let set = || object("e-c0-r1", "set", "store");
        let pod = |owner| object("e-c0-r1-0", "pod", owner);
        let found = find_among(set(), &[pod("set")]).await.expect("its own");
        assert_eq!((found.len(), found[0].client().as_str()), (1, "10.0.0.7:7400"));
        let error = find_among(set(), &[pod("set of another")]).await.expect_err("a stranger's pod");
        assert!(error.source.to_string().contains("the pod e-c0-r1-0 is not of the store"), "{error:?}");
        let error = find_among(object("e-c0-r1", "set", "another"), &[]).await.expect_err("a stranger's set");
        assert!(error.source.to_string().contains("the StatefulSet e-c0-r1 is not"), "{error:?}");
    }
}
