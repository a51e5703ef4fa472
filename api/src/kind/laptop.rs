//! What `holdfast up` does beyond what every store has: further ports, and faults on purpose. The operator does not look at it:
//! nobody wants either in a cluster by accident, and a manifest serves both all the same.

#![expect(unreachable_pub, reason = "the derive repeats every struct, with its `pub`, inside of a function")]

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::schema;
use crate::settings::FaultSettings;
use crate::{Probability, Span};

/// What `holdfast up` does with the store on one machine. The operator does not look at it.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.faults == 'Enabled' || (!has(self.delays) && !has(self.failures))")
        .field_path(".faults")
        .message("delays and failures are faults on purpose: write faults: Enabled, or remove them"),
)]
pub struct LaptopSpec {
    /// Further ports on 127.0.0.1 for clients: the first leads to member 0, the second to member 1, and so on; after the last
    /// member it begins with member 0 again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::laptop_ports")]
    #[x_kube(validation = Rule::new("self.all(port, self.exists_one(other, other == port))")
        .message("every port is there once: write another one"))]
    pub client_ports: Vec<u16>,

    /// The member that leads whenever every member is well, by its ordinal: leadership is handed to it then. If it is left
    /// out, whoever was elected goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 6))]
    pub leader: Option<u8>,

    /// An application that runs beside each member, as the template's containers do on Kubernetes: a program, by its path or by
    /// its name beside holdfast or on PATH, and its arguments. HOLDFAST_ORDINAL, HOLDFAST_MEMBER and HOLDFAST_ENDPOINT (the URL
    /// of the member's client port) tell it where it is; its standard input closes when holdfast up is gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::command")]
    pub application: Vec<String>,

    /// Whether members may hold back and lose entries on purpose, for demonstrations and tests: by delays and failures, and
    /// by holdfast delay.
    #[serde(default)]
    pub faults: LaptopFaults,

    /// How long a member holds back the entries that its leader sends, and so its acknowledgements, such as "1": 2s; by the
    /// member's ordinal, at most 10m. Heartbeats are not held back.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::delays")]
    #[x_kube(
        validation = Rule::new("self.all(member, member in ['0', '1', '2', '3', '4', '5', '6'])")
            .message("a member is named by its ordinal, from \"0\" to \"6\""),
        validation = Rule::new("self.all(member, duration(self[member]) <= duration('10m'))")
            .message("write delays of at most 10m")
    )]
    pub delays: BTreeMap<String, Span>,

    /// How likely a member loses a message with entries, from 0 to 1, such as "1": 0.1; by the member's ordinal. Its leader
    /// sends it again.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::failures")]
    #[x_kube(validation = Rule::new("self.all(member, member in ['0', '1', '2', '3', '4', '5', '6'])")
        .message("a member is named by its ordinal, from \"0\" to \"6\""))]
    pub failures: BTreeMap<String, Probability>,
}

/// Whether members may have faults on purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum LaptopFaults {
    /// They may.
    Enabled,
    /// They may not.
    #[default]
    Disabled,
}

impl LaptopSpec {
    /// The further client ports of member `ordinal` of so many.
    pub fn client_ports_of(&self, ordinal: u8, replicas: u8) -> Vec<u16> {
        let replicas = usize::from(replicas.max(1));
        self.client_ports.iter().skip(ordinal.into()).step_by(replicas).copied().collect()
    }

    /// What the members' settings say of faults.
    pub fn fault_settings(&self) -> FaultSettings {
        FaultSettings {
            enabled: self.faults == LaptopFaults::Enabled,
            delays: by_ordinal(&self.delays),
            failures: by_ordinal(&self.failures),
        }
    }
}

/// The rules take no other names than ordinals.
fn by_ordinal<T: Copy>(named: &BTreeMap<String, T>) -> BTreeMap<u8, T> {
    named.iter().filter_map(|(name, value)| Some((name.parse().ok()?, *value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_go_round() {
        let laptop = LaptopSpec { client_ports: vec![8001, 8002, 8003, 8080], ..LaptopSpec::default() };
        assert_eq!(laptop.client_ports_of(0, 3), [8001, 8080]);
        assert_eq!(laptop.client_ports_of(2, 3), [8003]);
        assert!(laptop.client_ports_of(4, 5).is_empty());
    }

    #[test]
    fn faults_are_by_ordinal() {
        let text = r#"{"faults":"Enabled","delays":{"1":"2s"},"failures":{"2":0.5}}"#;
        let laptop: LaptopSpec = serde_json::from_str(text).expect("readable");
        let faults = laptop.fault_settings();
        assert_eq!(faults.of(1), (Span::from_secs(2), Probability::NEVER));
        assert_eq!(faults.of(2).1.get(), 0.5);
        assert!(faults.enabled && LaptopSpec::default().fault_settings().is_disabled());
        assert_eq!(serde_json::to_string(&laptop).ok().as_deref(), Some(text));
    }
}
