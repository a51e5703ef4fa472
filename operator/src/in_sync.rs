//! What the operator does about stores with consensus InSync: it makes the Lease that decides who leads, once, shows what is
//! in it, says when it is gone, and passes on a person's order to start from a member that may have lost writes.
//!
//! It refuses to write into the Lease, which is the members', and to make one again for a store that was formed: a new one
//! knows nothing of what was committed.

use std::sync::Arc;

use holdfast_api::names::condition::{self, reason};
use holdfast_api::names::{self, annotation, authority_lease};
use holdfast_api::{
    AuthorityDocument, Consensus, InSyncStatus, ReplicatedStore, ReplicatedStoreStatus, ordinal_of,
};
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt as _};
use tracing::{info, warn};

use crate::apply::ApplyError;
use crate::build::Rights;
use crate::conditions::{Judgement, bounded};
use crate::context::Context;
use crate::dereference::{self, Observed};
use crate::error::chain;
use crate::members::AskError;

/// An order to start from a member that may have lost writes: `ORDINAL@EPOCH`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// The member.
    pub ordinal: u8,
    /// The epoch that it ends.
    pub epoch: u64,
}

/// What became of an order, or of the last one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forced {
    /// The order, as it was written.
    pub order: Option<String>,
    /// What became of it.
    pub outcome: Option<String>,
}

/// The order that a store carries, if it is one.
#[must_use]
pub fn order(text: &str) -> Option<Order> {
    let (ordinal, epoch) = text.split_once('@')?;
    let (ordinal, epoch) = (ordinal.parse().ok()?, epoch.parse().ok()?);
    (ordinal < names::REPLICAS_MAX).then_some(Order { ordinal, epoch })
}

/// Makes the Lease of a store that has none and never had one.
///
/// # Errors
/// When the API server refuses it, or a former store's Lease is still there: it goes by itself, and would go when this store
/// relied on it.
pub async fn found(
    client: &Client,
    rights: &Rights,
    observed: &Observed,
    before: &ReplicatedStoreStatus,
) -> Result<(), ApplyError> {
    let had = before.in_sync.as_ref().is_some_and(|in_sync| in_sync.lease_uid.is_some());
    if had || observed.stateful_set.is_some() {
        return Ok(());
    }
    let Some(there) = &observed.lease else { return create(client, &rights.lease).await };
    let owner = |lease: &Lease| lease.owner_references().first().map(|owner| owner.uid.clone());
    if owner(there) != owner(&rights.lease) {
        return Err(ApplyError::Former { kind: "Lease".to_owned(), name: there.name_any() });
    }
    Ok(())
}

/// A Lease is only ever created, never applied: what is there stays as it is.
async fn create(client: &Client, lease: &Lease) -> Result<(), ApplyError> {
    let (name, namespace) = (lease.name_any(), lease.namespace().unwrap_or_default());
    let api: Api<Lease> = Api::namespaced(client.clone(), &namespace);
    match api.create(&PostParams::default(), lease).await {
        Ok(made) => {
            info!(namespace, name, uid = made.uid(), "made the Lease that decides who leads");
            Ok(())
        }
        // The copy lags. Whose it is will be seen.
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(source) => Err(ApplyError::Refused { kind: "Lease".to_owned(), name, source }),
    }
}

/// Carries out the order that the store carries, unless that was done before.
///
/// # Errors
/// When no Lease can be made in the place of one that is lost. Whatever else keeps the order from being carried out is in
/// what is returned, or is tried again.
pub async fn force(
    context: &Context,
    store: &ReplicatedStore,
    rights: &Rights,
    observed: &Observed,
    before: &ReplicatedStoreStatus,
) -> Result<Forced, ApplyError> {
    let last = before.in_sync.clone().unwrap_or_default();
    let done = Forced { order: last.forced_start, outcome: last.forced_outcome };
    let Some(text) = store.annotations().get(annotation::FORCE_START) else { return Ok(done) };
    if done.order.as_ref() == Some(text) {
        return Ok(done);
    }
    let finished = |outcome: String| Forced { order: Some(text.clone()), outcome: Some(outcome) };
    let Some(order) = order(text) else {
        return Ok(finished("refused: it is not of the form ORDINAL@EPOCH, such as 2@7".to_owned()));
    };
    let pod = observed.members.iter().find(|member| member.ordinal == order.ordinal);
    let Some(address) = pod.and_then(|member| dereference::address(member.pod.as_deref()?)) else {
        let outcome = format!("waiting: member {} cannot be reached", order.ordinal);
        return Ok(Forced { outcome: Some(outcome), ..done });
    };
    if observed.lease.is_none() {
        // Only a person's order makes one again, and only the member that it names writes into it.
        create(&context.client, &rights.lease).await?;
    }
    let name = store.store_name();
    warn!(store = %name, member = order.ordinal, epoch = order.epoch, "a person orders to start from a member that may have lost writes");
    Ok(match context.sidecars.force_start(address, order.epoch).await {
        Ok(reply) => {
            let (ended, epoch) = (reply.ended, reply.epoch);
            finished(format!(
                "done: member {} leads from epoch {epoch} on; what only others had by epoch {ended} is lost",
                reply.member
            ))
        }
        Err(AskError::Refused { status, detail }) if status.is_client_error() => {
            finished(format!("refused: {detail}"))
        }
        Err(error) => Forced { outcome: Some(format!("waiting: {}", chain(&error))), ..done },
    })
}

/// What the status says of a store with consensus InSync; `None` of others.
#[must_use]
pub fn status(
    store: &ReplicatedStore,
    before: &ReplicatedStoreStatus,
    lease: Option<&Lease>,
    forced: Option<&Forced>,
) -> Option<InSyncStatus> {
    if store.spec.consensus != Consensus::InSync {
        return None;
    }
    let name = store.name_any();
    let mut status = before.in_sync.clone().unwrap_or_default();
    status.lease = authority_lease(&name);
    if let Some(forced) = forced {
        status.forced_start.clone_from(&forced.order);
        status.forced_outcome = forced.outcome.as_deref().map(bounded);
    }
    let Some(lease) = lease else { return Some(status) };
    let document = document(lease);
    // Another Lease is believed when the members say in it that they do.
    let replaces = document.as_ref().and_then(|document| document.forced.as_ref()?.replaces.clone());
    if status.lease_uid.is_none() || (replaces.is_some() && replaces == status.lease_uid) {
        status.lease_uid = lease.uid();
    }
    if lease.uid() != status.lease_uid {
        return Some(status);
    }
    if let Some(document) = document {
        let member = |text: &String| Some(names::member(&name, ordinal_of(text)?));
        status.members = document.in_sync.iter().filter_map(member).collect();
        status.primary = member(&document.primary);
        status.epoch = i64::try_from(document.term).ok();
    }
    Some(status)
}

fn document(lease: &Lease) -> Option<AuthorityDocument> {
    serde_json::from_str(lease.annotations().get(annotation::AUTHORITY)?).ok()
}

/// The further conditions of a store with consensus InSync.
#[must_use]
pub fn judge(
    status: &InSyncStatus,
    store: &ReplicatedStore,
    lease: Option<&Arc<Lease>>,
    created: bool,
) -> Vec<Judgement> {
    vec![last_copy(status, store), authority_lost(status, lease, created)]
}

fn last_copy(status: &InSyncStatus, store: &ReplicatedStore) -> Judgement {
    let judgement =
        |holds, reason, message| Judgement { type_: condition::LAST_COPY, holds, reason, message };
    match &status.members[..] {
        [] => judgement(None, reason::FORMING, "nobody leads yet".to_owned()),
        [one] => judgement(
            Some(true),
            reason::ONE_IN_SYNC,
            format!(
                "only {one} of {} members has every write: when it stops, so does the store, and if its volume is lost, writes \
                 are; see why the others do not come back",
                store.spec.replicas
            ),
        ),
        several => {
            let message = format!("{} have every committed write", several.join(", "));
            judgement(Some(false), reason::SEVERAL_IN_SYNC, message)
        }
    }
}

fn authority_lost(status: &InSyncStatus, lease: Option<&Arc<Lease>>, created: bool) -> Judgement {
    let judgement =
        |holds, reason, message| Judgement { type_: condition::AUTHORITY_LOST, holds, reason, message };
    let name = &status.lease;
    let what_to_do = "the store goes on only while its primary and everybody in sync do; nobody can take over. Take a backup, \
                      then order a start from the member that has most: see docs/concepts/in-sync.md";
    match (lease, &status.lease_uid) {
        (Some(lease), Some(uid)) if lease.uid().as_ref() == Some(uid) => {
            judgement(Some(false), reason::LEASE_THERE, format!("the Lease {name} decides who leads"))
        }
        (Some(_), Some(uid)) => judgement(
            Some(true),
            reason::LEASE_REPLACED,
            format!(
                "the Lease {name} is another one than the store was formed with (uid {uid}); {what_to_do}"
            ),
        ),
        (None, Some(_)) => judgement(
            Some(true),
            reason::LEASE_DELETED,
            format!("the Lease {name} was deleted; {what_to_do}"),
        ),
        (None, None) if created => judgement(
            Some(true),
            reason::LEASE_DELETED,
            format!("there is no Lease {name}, and the store was made before; {what_to_do}"),
        ),
        (_, None) => judgement(Some(false), reason::CREATING, "its objects are being made".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::build::{Objects, Surroundings, build};
    use crate::fake::{self, ApiServer, Asked};
    use crate::validate::{Surrounding, validate};

    fn store(annotations: Value) -> ReplicatedStore {
        serde_json::from_value(json!({
            "apiVersion": "holdfast.dev/v1alpha1", "kind": "ReplicatedStore",
            "metadata": {"name": "orders", "namespace": "shop", "uid": "mine", "annotations": annotations},
            "spec": {"consensus": "InSync"},
        }))
        .unwrap()
    }

    fn objects(store: &ReplicatedStore) -> Objects {
        let valid = validate(store, &Surrounding::default()).unwrap();
        build(&valid, &Surroundings { sidecar_image: "sidecar:test", stateful_set: None })
    }

    fn lease(uid: &str, document: Option<Value>) -> Arc<Lease> {
        let annotations = document.map(|document| json!({annotation::AUTHORITY: document.to_string()}));
        let owner = json!({"apiVersion": "x", "kind": "x", "name": "orders", "uid": "mine"});
        let metadata = json!({
            "name": "orders-authority", "uid": uid, "annotations": annotations, "ownerReferences": [owner],
        });
        Arc::new(serde_json::from_value(json!({"metadata": metadata})).unwrap())
    }

    fn held(in_sync: &[&str], forced: Value) -> Option<Value> {
        let mut document = json!({
            "format": 1, "store": "07", "version": 3, "term": 4, "primary": in_sync[0], "inSync": in_sync,
        });
        if !forced.is_null() {
            document["forced"] = forced;
        }
        Some(document)
    }

    fn before(uid: Option<&str>) -> ReplicatedStoreStatus {
        let in_sync = InSyncStatus { lease_uid: uid.map(str::to_owned), ..InSyncStatus::default() };
        ReplicatedStoreStatus { in_sync: Some(in_sync), ..ReplicatedStoreStatus::default() }
    }

    #[tokio::test]
    async fn a_lease_is_made_once_and_never_again() {
        let check = async |uid: Option<&str>, observed: Observed, expected: usize| {
            let (server, client) = ApiServer::start(|asked| Some(asked.body.clone()));
            let rights = objects(&store(json!({}))).rights.unwrap();
            found(&client, &rights, &observed, &before(uid)).await.unwrap();
            let asked = server.asked();
            assert_eq!(asked.len(), expected, "{asked:?}");
            for Asked { line, body } in asked {
                assert_eq!(line, "POST /apis/coordination.k8s.io/v1/namespaces/shop/leases");
                assert_eq!(body["metadata"]["name"], "orders-authority");
                assert_eq!(body["metadata"]["ownerReferences"][0]["uid"], "mine");
            }
        };
        check(None, Observed::default(), 1).await;
        check(Some("first"), Observed::default(), 0).await;
        let there = Observed { lease: Some(lease("u", None)), ..Observed::default() };
        check(None, there, 0).await;
        let (_, client) = ApiServer::start(|_| None);
        let mut former = Lease::clone(&lease("u", None));
        former.metadata.owner_references = None;
        let observed = Observed { lease: Some(Arc::new(former)), ..Observed::default() };
        let rights = objects(&store(json!({}))).rights.unwrap();
        let waits = found(&client, &rights, &observed, &before(None)).await;
        assert!(matches!(waits, Err(ApplyError::Former { .. })), "{waits:?}");
        let made = Observed { stateful_set: Some(Arc::default()), ..Observed::default() };
        check(None, made, 0).await;
    }

    #[test]
    fn the_status_shows_the_lease_that_the_store_was_formed_with() {
        let store = store(json!({}));
        let check = |uid: Option<&str>, lease: Option<Arc<Lease>>, members: &[&str], conditions: &str| {
            let status = status(&store, &before(uid), lease.as_deref(), None).unwrap();
            assert_eq!(status.members, members);
            let judged: Vec<String> = judge(&status, &store, lease.as_ref(), true)
                .iter()
                .map(|judgement| format!("{:?} {}", judgement.holds, judgement.reason))
                .collect();
            assert_eq!(judged.join(", "), conditions);
            status
        };
        let first = |in_sync: &[&str]| Some(lease("first", held(in_sync, Value::Null)));
        let both = check(
            None,
            first(&["1/b", "2/c"]),
            &["orders-1", "orders-2"],
            "Some(false) SeveralInSync, Some(false) LeaseThere",
        );
        assert_eq!((both.lease_uid.as_deref(), both.epoch), (Some("first"), Some(4)));
        assert_eq!(both.primary.as_deref(), Some("orders-1"));
        check(Some("first"), first(&["2/c"]), &["orders-2"], "Some(true) OneInSync, Some(false) LeaseThere");
        check(Some("first"), None, &[], "None Forming, Some(true) LeaseDeleted");
        check(None, None, &[], "None Forming, Some(true) LeaseDeleted");
        let another = |forced| Some(lease("another", held(&["0/a"], forced)));
        check(Some("first"), another(Value::Null), &[], "None Forming, Some(true) LeaseReplaced");
        let forced = json!({"member": "0/a", "epoch": 3, "replaces": "first"});
        let adopted = check(
            Some("first"),
            another(forced),
            &["orders-0"],
            "Some(true) OneInSync, Some(false) LeaseThere",
        );
        assert_eq!(adopted.lease_uid.as_deref(), Some("another"));
    }

    #[test]
    fn an_order_names_a_member_and_an_epoch() {
        assert_eq!(order("2@7"), Some(Order { ordinal: 2, epoch: 7 }));
        for wrong in ["", "2", "2@", "@7", "9@1", "a@1", "orders-2@7"] {
            assert_eq!(order(wrong), None, "{wrong}");
        }
    }

    #[tokio::test]
    async fn an_order_is_carried_out_once() {
        let ports = fake::members(3, |ordinal, line| {
            assert_eq!((ordinal, line), (2, "POST /v1/authority/force-start?epoch=7 HTTP/1.1"));
            json!({"member": 2, "ended": 7, "epoch": 8})
        })
        .await;
        let (server, client) = ApiServer::start(|asked| Some(asked.body.clone()));
        let context = fake::context(client, ports);
        let store = store(json!({annotation::FORCE_START: "2@7"}));
        let rights = objects(&store).rights.unwrap();
        let pod =
            json!({"metadata": {"name": "orders-2"}, "status": {"podIP": fake::address(2).to_string()}});
        let member = dereference::Member {
            ordinal: 2,
            pod: Some(Arc::new(serde_json::from_value(pod).unwrap())),
            ..dereference::Member::default()
        };
        let observed = Observed { members: vec![member], ..Observed::default() };
        let before = before(Some("first"));
        let forced = force(&context, &store, &rights, &observed, &before).await.unwrap();
        assert_eq!(forced.order.as_deref(), Some("2@7"));
        assert!(forced.outcome.as_deref().unwrap_or_default().starts_with("done: member 2"), "{forced:?}");
        assert_eq!(server.asked().len(), 1, "a Lease in the place of the one that was lost");
        let status = status(&store, &before, None, Some(&forced)).unwrap();
        let after = ReplicatedStoreStatus { in_sync: Some(status), ..before };
        let again = force(&context, &store, &rights, &Observed::default(), &after).await.unwrap();
        assert_eq!(again, forced);
        assert_eq!(server.asked(), []);
    }
}
