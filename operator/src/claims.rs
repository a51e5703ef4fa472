//! Lets volumes grow, and deletes those of removed members: a StatefulSet's claim templates can never change, so each claim is asked
//! for the new size itself. Nothing shrinks; Kubernetes lets no claim do that, and the store's own rules refuse it. What may be deleted is
//! [`crate::scale`]'s decision.

use std::sync::Arc;

use holdfast_api::names::{self, DATA_VOLUME, FIELD_MANAGER, REPLICAS_MAX};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;
use tracing::info;

use crate::apply::ApplyError;
use crate::dereference::Observed;
use crate::validate::Valid;

/// The claims that ask for less than the store wants.
#[must_use]
pub fn too_small(valid: &Valid, observed: &Observed) -> Vec<String> {
    let Some(wanted) = bytes(&valid.storage.size) else { return Vec::new() };
    let mine = |claim: &PersistentVolumeClaim| {
        ordinal(&valid.name, &claim.name_any()).is_some_and(|ordinal| ordinal < valid.replicas)
    };
    observed
        .claims
        .iter()
        .filter(|claim| mine(claim) && claim.metadata.deletion_timestamp.is_none())
        .filter(|claim| {
            let asked = claim
                .spec
                .as_ref()
                .and_then(|spec| spec.resources.as_ref()?.requests.as_ref()?.get("storage"));
            asked.and_then(bytes).is_some_and(|asked| asked < wanted)
        })
        .map(|claim| claim.name_any())
        .collect()
}

/// Asks for the size that the store wants.
///
/// # Errors
/// At the first claim that is refused, for example because its storage class lets nothing grow.
pub async fn grow(client: &Client, valid: &Valid, claims: &[String]) -> Result<(), ApplyError> {
    let api: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), &valid.namespace);
    for name in claims {
        info!(store = %valid.settings.store, claim = name, size = valid.storage.size.0, "letting a volume grow");
        // A merge, not an apply: the claim is the StatefulSet's, and only this field is ours to raise.
        let patch = json!({"spec": {"resources": {"requests": {"storage": valid.storage.size}}}});
        let parameters =
            PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        api.patch(name, &parameters, &Patch::Merge(&patch)).await.map_err(|source| ApplyError::Refused {
            kind: "PersistentVolumeClaim".to_owned(),
            name: name.clone(),
            source,
        })?;
    }
    Ok(())
}

/// The claims of ordinals that the store is not to have, apart from those that are being deleted already.
#[must_use]
pub fn left(valid: &Valid, observed: &Observed) -> Vec<Arc<PersistentVolumeClaim>> {
    let is_left = |claim: &&Arc<PersistentVolumeClaim>| {
        ordinal(&valid.name, &claim.name_any()).is_some_and(|ordinal| ordinal >= valid.replicas)
            && claim.metadata.deletion_timestamp.is_none()
    };
    observed.claims.iter().filter(is_left).cloned().collect()
}

/// Deletes claims, each only as it was when it was looked at.
///
/// # Errors
/// At the first claim that is refused. One that is gone or has changed is no error; it is looked at again.
pub async fn release(
    client: &Client,
    valid: &Valid,
    claims: &[Arc<PersistentVolumeClaim>],
) -> Result<(), ApplyError> {
    let api: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), &valid.namespace);
    for claim in claims {
        let name = claim.name_any();
        info!(store = %valid.settings.store, claim = name, "deleting the volume of a member that was removed");
        let parameters = DeleteParams::default()
            .preconditions(Preconditions { uid: claim.uid(), resource_version: claim.resource_version() });
        match api.delete(&name, &parameters).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
            Err(source) => {
                let kind = "PersistentVolumeClaim".to_owned();
                return Err(ApplyError::Refused { kind, name, source });
            }
        }
    }
    Ok(())
}

/// Whose claim it is, if it is the volume of a member of `store`.
#[must_use]
pub fn ordinal(store: &str, claim: &str) -> Option<u8> {
    (0..REPLICAS_MAX).find(|&ordinal| claim == format!("{DATA_VOLUME}-{}", names::member(store, ordinal)))
}

/// The bytes of a size, rounded down; `None` for forms that no size of ours has, such as `1e9`.
fn bytes(size: &Quantity) -> Option<u128> {
    let text = size.0.as_str();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale: u128 = match unit {
        "" => 1,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.len() > 18 || fraction.len() > 9 {
        return None;
    }
    let whole: u128 = whole.parse().ok()?;
    let part = if fraction.is_empty() {
        0
    } else {
        fraction.parse::<u128>().ok()? * scale / 10_u128.pow(fraction.len() as u32)
    };
    Some(whole * scale + part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_compared_by_what_they_mean() {
        let check = |text: &str, expected: Option<u128>| {
            assert_eq!(bytes(&Quantity(text.to_owned())), expected, "{text}")
        };
        check("0", Some(0));
        check("1024", Some(1024));
        check("10Gi", Some(10 << 30));
        check("1.5Gi", Some(3 << 29));
        check("2G", Some(2_000_000_000));
        check("0.001k", Some(1));
        for odd in ["", "Gi", "1e9", "-1", "1n", "1Pi", "1.2.3"] {
            check(odd, None);
        }
    }
}
