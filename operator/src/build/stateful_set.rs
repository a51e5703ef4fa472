//! The members as a StatefulSet: stable names and volumes. It starts all pods at once (`Parallel`), because members can only
//! form a store together, and restarts none by itself (`OnDelete`), because it does not know who leads.

use holdfast_api::WhenDeleted;
use holdfast_api::names::{DATA_VOLUME, peers_service};
use k8s_openapi::api::apps::v1::{
    StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec, StatefulSetUpdateStrategy,
};
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::metadata::{label_selector, labels, metadata};
use super::{Surroundings, pod};
use crate::validate::Valid;

pub(super) fn build(valid: &Valid, surroundings: &Surroundings<'_>) -> StatefulSet {
    let claimed = keeps_files(valid);
    StatefulSet {
        metadata: metadata(valid, valid.name.clone()),
        spec: Some(StatefulSetSpec {
            replicas: Some(valid.members.into()),
            service_name: Some(peers_service(&valid.name)),
            pod_management_policy: Some("Parallel".to_owned()),
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("OnDelete".to_owned()),
                rolling_update: None,
            }),
            selector: label_selector(valid),
            template: pod::template(valid, surroundings, claimed),
            persistent_volume_claim_retention_policy: retention(valid).filter(|_| claimed),
            volume_claim_templates: claimed.then(|| vec![claim(valid, surroundings.stateful_set)]),
            ..StatefulSetSpec::default()
        }),
        status: None,
    }
}

/// Whether a member has anything that must outlive its pod.
fn keeps_files(valid: &Valid) -> bool {
    let settings = &valid.settings;
    // Members without a log remember that their store was formed: they must not form another one, empty.
    settings.durability == holdfast_api::Durability::Disk
        || settings.checkpoint.is_some()
        || settings.replicas > 1
}

/// Only what differs from Kubernetes' own default. Volumes of removed members are the operator's business in any case.
fn retention(valid: &Valid) -> Option<StatefulSetPersistentVolumeClaimRetentionPolicy> {
    (valid.storage.when_deleted == WhenDeleted::Delete).then(|| {
        StatefulSetPersistentVolumeClaimRetentionPolicy {
            when_deleted: Some("Delete".to_owned()),
            when_scaled: Some("Retain".to_owned()),
        }
    })
}

/// The template of a member's volume. Its size is the one that the StatefulSet was made with: Kubernetes lets nobody change it,
/// and existing volumes grow by their claims.
fn claim(valid: &Valid, live: Option<&StatefulSet>) -> PersistentVolumeClaim {
    let fixed = live
        .and_then(|set| set.spec.as_ref()?.volume_claim_templates.as_ref()?.first()?.spec.as_ref())
        .and_then(|spec| spec.resources.as_ref()?.requests.as_ref()?.get("storage").cloned());
    let size = fixed.unwrap_or_else(|| valid.storage.size.clone());
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(DATA_VOLUME.to_owned()),
            labels: Some(labels(valid)),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            storage_class_name: valid.storage.storage_class_name.clone(),
            resources: Some(VolumeResourceRequirements {
                requests: Some([("storage".to_owned(), size)].into()),
                limits: None,
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    }
}
