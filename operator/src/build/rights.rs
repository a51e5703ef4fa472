//! What the members of a store with consensus InSync may do in the Kubernetes API: read and replace their own Lease, and
//! nothing else. They may neither create one nor delete it.

use holdfast_api::Consensus;
use holdfast_api::names::authority_lease;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject};

use super::metadata::metadata;
use super::service_account;
use crate::validate::Valid;

/// What the members of a store with consensus InSync need.
#[derive(Clone, Debug, PartialEq)]
pub struct Rights {
    /// What they may do.
    pub role: Role,
    /// That they may.
    pub binding: RoleBinding,
    /// What decides who leads, as it is when it is made. It is made once, and from then on it is the members'.
    pub lease: Lease,
}

/// `None` for a store that decides by itself.
pub(super) fn build(valid: &Valid) -> Option<Rights> {
    if valid.settings.consensus != Consensus::InSync {
        return None;
    }
    let group = "rbac.authorization.k8s.io";
    let name = service_account::name(valid);
    let rule = PolicyRule {
        api_groups: Some(vec!["coordination.k8s.io".to_owned()]),
        resources: Some(vec!["leases".to_owned()]),
        resource_names: Some(vec![authority_lease(&valid.name)]),
        verbs: vec!["get".to_owned(), "update".to_owned()],
        ..PolicyRule::default()
    };
    Some(Rights {
        role: Role { metadata: metadata(valid, name.clone()), rules: Some(vec![rule]) },
        binding: RoleBinding {
            metadata: metadata(valid, name.clone()),
            role_ref: RoleRef { api_group: group.to_owned(), kind: "Role".to_owned(), name },
            subjects: Some(vec![Subject {
                kind: "ServiceAccount".to_owned(),
                name: service_account::of_pods(valid),
                namespace: Some(valid.namespace.clone()),
                api_group: None,
            }]),
        },
        lease: Lease { metadata: metadata(valid, authority_lease(&valid.name)), spec: None },
    })
}
