//! Names, labels and owners, alike on every object of a store.

use std::collections::BTreeMap;

use holdfast_api::names::{self, FIELD_MANAGER, label, value};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};

use crate::validate::Valid;

/// An object's metadata.
pub(super) fn metadata(valid: &Valid, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(valid.namespace.clone()),
        labels: Some(labels(valid)),
        owner_references: Some(vec![owner(valid)]),
        ..ObjectMeta::default()
    }
}

/// The labels of every object, the pods among them.
pub(super) fn labels(valid: &Valid) -> BTreeMap<String, String> {
    let labels = [
        (label::NAME, value::NAME),
        (label::INSTANCE, &valid.name),
        (label::COMPONENT, value::COMPONENT),
        (label::MANAGED_BY, FIELD_MANAGER),
        (label::STORE, &valid.name),
    ];
    labels.map(|(label, value)| (label.to_owned(), value.to_owned())).into()
}

/// What selects the store's pods. By one label, because a StatefulSet's selector can never change.
pub(super) fn selector(valid: &Valid) -> BTreeMap<String, String> {
    [(label::STORE.to_owned(), valid.name.clone())].into()
}

/// The same as a selector of labels.
pub(super) fn label_selector(valid: &Valid) -> LabelSelector {
    LabelSelector { match_labels: Some(selector(valid)), ..LabelSelector::default() }
}

/// Deleting the store deletes the object.
fn owner(valid: &Valid) -> OwnerReference {
    OwnerReference {
        api_version: names::API_VERSION.to_owned(),
        kind: names::KIND.to_owned(),
        name: valid.name.clone(),
        uid: valid.uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}
