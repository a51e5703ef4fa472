//! The pods: the sidecar alone, or the application's pod with the sidecar put into it.
//!
//! What a user wrote stays as it is; it is added to, never corrected. Only names and labels that are ours win.

use std::collections::BTreeMap;

use holdfast_api::Consensus;
use holdfast_api::names::{DATA_VOLUME, OUTSIDE_VOLUME, SETTINGS_VOLUME, TOKEN_VOLUME, settings_config_map};
use k8s_openapi::api::core::v1::{
    ConfigMapProjection, ConfigMapVolumeSource, DownwardAPIProjection, DownwardAPIVolumeFile,
    EmptyDirVolumeSource, KeyToPath, ObjectFieldSelector, PersistentVolumeClaimVolumeSource,
    PodSecurityContext, PodSpec, PodTemplateSpec, ProjectedVolumeSource, SeccompProfile,
    ServiceAccountTokenProjection, TopologySpreadConstraint, Volume, VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::metadata::{label_selector, labels};
use super::{Surroundings, service_account, sidecar};
use crate::validate::Valid;

/// How long a member may take to end: it catches its heir up, hands over, finishes what is under way, and takes a last checkpoint.
const SIDECAR_GRACE_SECONDS: i64 = 30;

/// How long an application may take to end if its template does not say: Kubernetes' own default.
const APPLICATION_GRACE_SECONDS: i64 = 30;

pub(super) fn template(valid: &Valid, surroundings: &Surroundings<'_>, claimed: bool) -> PodTemplateSpec {
    let (metadata, spec) = match &valid.application {
        Some(application) => {
            let pod = beside(valid, application.pod.clone(), surroundings.sidecar_image);
            (Some(&application.metadata), pod)
        }
        None => (None, alone(valid, surroundings.sidecar_image)),
    };
    let mut all_labels: BTreeMap<String, String> = metadata.map(|m| m.labels.clone()).unwrap_or_default();
    all_labels.extend(labels(valid));
    let annotations = metadata.map(|m| m.annotations.clone()).unwrap_or_default();
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(all_labels),
            annotations: (!annotations.is_empty()).then_some(annotations),
            ..ObjectMeta::default()
        }),
        spec: Some(surround(valid, spec, claimed)),
    }
}

/// The sidecar as the pod's only container.
fn alone(valid: &Valid, image: &str) -> PodSpec {
    PodSpec {
        containers: vec![sidecar::container(valid, image, false)],
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".to_owned(),
                localhost_profile: None,
            }),
            ..PodSecurityContext::default()
        }),
        termination_grace_period_seconds: Some(SIDECAR_GRACE_SECONDS),
        ..PodSpec::default()
    }
}

/// The application's pod with the sidecar before everything else, so that init containers can use the store too.
fn beside(valid: &Valid, mut pod: PodSpec, image: &str) -> PodSpec {
    let sidecar = sidecar::container(valid, image, true);
    pod.init_containers.get_or_insert_default().insert(0, sidecar);
    let application = pod.termination_grace_period_seconds.unwrap_or(APPLICATION_GRACE_SECONDS);
    // Both have their time: the sidecar is told to end only when the application has.
    pod.termination_grace_period_seconds = Some(application.saturating_add(SIDECAR_GRACE_SECONDS));
    pod
}

/// What every pod needs and no template need name.
fn surround(valid: &Valid, mut pod: PodSpec, claimed: bool) -> PodSpec {
    pod.service_account_name.get_or_insert_with(|| service_account::name(valid));
    pod.automount_service_account_token.get_or_insert(false);
    // Variables for every Service of the namespace; nothing here wants them, and thousands keep a pod from starting.
    pod.enable_service_links.get_or_insert(false);
    let security = pod.security_context.get_or_insert_default();
    if security.fs_group.is_none() {
        // The volume is the sidecar's to write. Without this it belongs to root.
        security.fs_group = Some(sidecar::USER);
        security.fs_group_change_policy.get_or_insert("OnRootMismatch".to_owned());
    }
    pod.topology_spread_constraints.get_or_insert_with(|| {
        ["topology.kubernetes.io/zone", "kubernetes.io/hostname"].map(|key| spread(valid, key)).into()
    });
    let volumes = pod.volumes.get_or_insert_default();
    volumes.push(Volume {
        name: SETTINGS_VOLUME.to_owned(),
        config_map: Some(ConfigMapVolumeSource {
            name: settings_config_map(&valid.name),
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    });
    if let Some(claim_name) = valid.outside_claim.clone() {
        volumes.push(Volume {
            name: OUTSIDE_VOLUME.to_owned(),
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource { claim_name, read_only: None }),
            ..Volume::default()
        });
    }
    if valid.settings.consensus == Consensus::InSync {
        volumes.push(token());
    }
    if !claimed {
        volumes.push(Volume {
            name: DATA_VOLUME.to_owned(),
            empty_dir: Some(EmptyDirVolumeSource::default()),
            ..Volume::default()
        });
    }
    pod
}

/// How long a token is good for, in seconds. The kubelet brings another one before it ends.
const TOKEN_SECONDS: i64 = 3600;

/// The token for the Lease, and whom to believe. It is the sidecar's alone: the application's containers get none by this.
fn token() -> Volume {
    let roots = ConfigMapProjection {
        name: "kube-root-ca.crt".to_owned(),
        items: Some(vec![KeyToPath { key: "ca.crt".to_owned(), path: "ca.crt".to_owned(), mode: None }]),
        optional: None,
    };
    let token = ServiceAccountTokenProjection {
        expiration_seconds: Some(TOKEN_SECONDS),
        path: "token".to_owned(),
        ..ServiceAccountTokenProjection::default()
    };
    let namespace = DownwardAPIVolumeFile {
        path: "namespace".to_owned(),
        field_ref: Some(ObjectFieldSelector {
            field_path: "metadata.namespace".to_owned(),
            api_version: Some("v1".to_owned()),
        }),
        ..DownwardAPIVolumeFile::default()
    };
    let namespace = DownwardAPIProjection { items: Some(vec![namespace]) };
    Volume {
        name: TOKEN_VOLUME.to_owned(),
        projected: Some(ProjectedVolumeSource {
            sources: Some(vec![
                VolumeProjection { service_account_token: Some(token), ..VolumeProjection::default() },
                VolumeProjection { config_map: Some(roots), ..VolumeProjection::default() },
                VolumeProjection { downward_api: Some(namespace), ..VolumeProjection::default() },
            ]),
            default_mode: None,
        }),
        ..Volume::default()
    }
}

/// Members lie apart where that is possible, and start where it is not.
fn spread(valid: &Valid, topology_key: &str) -> TopologySpreadConstraint {
    TopologySpreadConstraint {
        max_skew: 1,
        topology_key: topology_key.to_owned(),
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        label_selector: Some(label_selector(valid)),
        ..TopologySpreadConstraint::default()
    }
}
