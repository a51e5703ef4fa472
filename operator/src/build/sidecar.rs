//! The container that every member is: its ports, probes, folders, and what it may not do.

use holdfast_api::Consensus;
use holdfast_api::names::{
    ADMIN_PORT, ADMIN_PORT_NAME, CLIENT_PORT, CLIENT_PORT_NAME, CONTAINER, DATA_FOLDER, DATA_VOLUME,
    OUTSIDE_FOLDER, OUTSIDE_VOLUME, PEER_PORT, PEER_PORT_NAME, SETTINGS_FOLDER, SETTINGS_VOLUME,
    TOKEN_FOLDER, TOKEN_VOLUME, authority_lease,
};
use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerPort, EnvVar, EnvVarSource, HTTPGetAction, ObjectFieldSelector, Probe,
    SeccompProfile, SecurityContext, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::validate::Valid;

/// The user and group that members run as, a number that no system gives to anybody.
pub(super) const USER: i64 = 65_532;

/// How long a member may take to start: to read a log and a checkpoint of a full store from a slow disk.
const START_SECONDS_MAX: i32 = 600;

/// The container, as the main one or beside an application.
pub(super) fn container(valid: &Valid, image: &str, beside_application: bool) -> Container {
    Container {
        name: CONTAINER.to_owned(),
        image: Some(valid.image.clone().unwrap_or_else(|| image.to_owned())),
        // A native sidecar: starts before the application's containers, and ends after them.
        restart_policy: beside_application.then(|| "Always".to_owned()),
        env: Some(environment(valid)),
        ports: Some(vec![
            port(CLIENT_PORT_NAME, CLIENT_PORT),
            port(PEER_PORT_NAME, PEER_PORT),
            port(ADMIN_PORT_NAME, ADMIN_PORT),
        ]),
        // One after the other, so that a member that takes long to start is not killed for it.
        startup_probe: Some(Probe { failure_threshold: Some(START_SECONDS_MAX), ..probe("/livez", 1, 2) }),
        liveness_probe: Some(Probe { failure_threshold: Some(6), ..probe("/livez", 10, 5) }),
        readiness_probe: Some(Probe { failure_threshold: Some(2), ..probe("/readyz", 2, 2) }),
        resources: valid.resources.clone(),
        security_context: Some(confined()),
        volume_mounts: Some(mounts(valid)),
        ..Container::default()
    }
}

fn environment(valid: &Valid) -> Vec<EnvVar> {
    let mut variables = vec![
        field("HOLDFAST_POD_NAME", "metadata.name"),
        value("HOLDFAST_SETTINGS", format!("{SETTINGS_FOLDER}/{}", holdfast_api::names::SETTINGS_FILE)),
        value("HOLDFAST_DATA", DATA_FOLDER.to_owned()),
    ];
    if valid.outside_claim.is_some() {
        // A folder of each store's own: several may share a claim.
        let folder = format!("{OUTSIDE_FOLDER}/{}/{}", valid.namespace, valid.name);
        variables.push(value("HOLDFAST_CHECKPOINTS_OUTSIDE", folder));
    }
    if valid.settings.consensus == Consensus::InSync {
        variables.push(value("HOLDFAST_AUTHORITY_LEASE", authority_lease(&valid.name)));
    }
    variables
}

fn mounts(valid: &Valid) -> Vec<VolumeMount> {
    let mount = |name: &str, path: &str| VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        ..VolumeMount::default()
    };
    let read_only = |name, path| VolumeMount { read_only: Some(true), ..mount(name, path) };
    let settings = read_only(SETTINGS_VOLUME, SETTINGS_FOLDER);
    let in_sync = valid.settings.consensus == Consensus::InSync;
    let token = in_sync.then(|| read_only(TOKEN_VOLUME, TOKEN_FOLDER));
    let outside = valid.outside_claim.as_ref().map(|_| mount(OUTSIDE_VOLUME, OUTSIDE_FOLDER));
    [mount(DATA_VOLUME, DATA_FOLDER), settings].into_iter().chain(outside).chain(token).collect()
}

/// What the Pod Security Standard "restricted" asks of a container, and a root file system that nobody writes to.
fn confined() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
        read_only_root_filesystem: Some(true),
        run_as_non_root: Some(true),
        run_as_user: Some(USER),
        run_as_group: Some(USER),
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
        ..SecurityContext::default()
    }
}

fn probe(path: &str, period_seconds: i32, timeout_seconds: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String(ADMIN_PORT_NAME.to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_seconds),
        timeout_seconds: Some(timeout_seconds),
        ..Probe::default()
    }
}

fn port(name: &str, number: u16) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: number.into(),
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }
}

fn value(name: &str, value: String) -> EnvVar {
    EnvVar { name: name.to_owned(), value: Some(value), value_from: None }
}

fn field(name: &str, path: &str) -> EnvVar {
    let field = ObjectFieldSelector { field_path: path.to_owned(), api_version: None };
    EnvVar {
        name: name.to_owned(),
        value: None,
        value_from: Some(EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() }),
    }
}
