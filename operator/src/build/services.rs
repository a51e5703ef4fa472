//! Three Services: where members find each other, where applications find any member, and where they find the leader.

use std::collections::BTreeMap;

use holdfast_api::kind::ServiceType;
use holdfast_api::names::{
    CLIENT_PORT_NAME, PEER_PORT, PEER_PORT_NAME, label, leader_service, members_service, peers_service, value,
};
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::metadata::{metadata, selector};
use crate::validate::Valid;

/// Headless, with members that are not ready yet: they must find each other to become so.
pub(super) fn peers(valid: &Valid) -> Service {
    Service {
        metadata: metadata(valid, peers_service(&valid.name)),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            publish_not_ready_addresses: Some(true),
            selector: Some(selector(valid)),
            ports: Some(vec![port(PEER_PORT_NAME, PEER_PORT.into())]),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

/// All members that are ready: any of them takes any request.
pub(super) fn members(valid: &Valid) -> Service {
    for_clients(valid, members_service(&valid.name), selector(valid))
}

/// The pod that the operator last saw leading. It saves a hop and promises nothing.
pub(super) fn leader(valid: &Valid) -> Service {
    let mut selector = selector(valid);
    selector.insert(label::ROLE.to_owned(), value::LEADER.to_owned());
    for_clients(valid, leader_service(&valid.name), selector)
}

fn for_clients(valid: &Valid, name: String, selector: BTreeMap<String, String>) -> Service {
    let service = &valid.service;
    let mut metadata = metadata(valid, name);
    if !service.annotations.is_empty() {
        metadata.annotations = Some(service.annotations.clone());
    }
    let type_ = match service.type_ {
        ServiceType::ClusterIP => "ClusterIP",
        ServiceType::NodePort => "NodePort",
        ServiceType::LoadBalancer => "LoadBalancer",
    };
    Service {
        metadata,
        spec: Some(ServiceSpec {
            type_: Some(type_.to_owned()),
            selector: Some(selector),
            ports: Some(vec![port(CLIENT_PORT_NAME, service.port.into())]),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

/// A port that leads to the container's port of the same name.
fn port(name: &str, port: i32) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port,
        target_port: Some(IntOrString::String(name.to_owned())),
        protocol: Some("TCP".to_owned()),
        ..ServicePort::default()
    }
}
