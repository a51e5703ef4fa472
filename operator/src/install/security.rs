//! What the processes of an installation may do in their pods: what the Pod Security Standard "restricted" asks, and a root file system
//! that nobody writes to.

use serde_json::{Value, json};

/// Whom they run as: the user of the images, by number, so that Kubernetes can check that it is not root.
const USER: u32 = 65532;

/// The pod's security context.
pub(super) fn pod() -> Value {
    json!({
        "runAsNonRoot": true,
        "runAsUser": USER,
        "runAsGroup": USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    })
}

/// The container's.
pub(super) fn container() -> Value {
    json!({
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "capabilities": {"drop": ["ALL"]},
    })
}
