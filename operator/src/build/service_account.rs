//! Whom the pods run as: an account without any right and without a token, so that they do not run as `default`, which
//! somebody may have given rights to.

use k8s_openapi::api::core::v1::ServiceAccount;

use super::metadata::metadata;
use crate::validate::Valid;

/// The account's name. Not the store's own: applications like to have an account of their name, and so do namespaces.
pub(super) fn name(valid: &Valid) -> String {
    format!("{}-member", valid.name)
}

/// The account that the pods do run as: the application's own, if its template names one.
pub(super) fn of_pods(valid: &Valid) -> String {
    let own = valid.application.as_ref().and_then(|application| application.pod.service_account_name.clone());
    own.unwrap_or_else(|| name(valid))
}

pub(super) fn build(valid: &Valid) -> ServiceAccount {
    ServiceAccount {
        metadata: metadata(valid, name(valid)),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}
