//! What an edit of the manifest means for a store that runs: settings that change at once, or a clear no.
//!
//! Refuses to guess what was meant: an edit that cannot be followed as a whole is not followed in part.

use std::collections::BTreeMap;

use holdfast_api::validate;
use holdfast_api::{ReplicatedStore, Settings, SettingsError};
use holdfast_laptop::ports::Ports;
use serde_json::Value;

use crate::exit::chain;
use crate::manifest;

/// What an edit comes to.
#[derive(Debug)]
pub enum Edit {
    /// The members are to follow these settings.
    Changed {
        /// The manifest now.
        store: Box<ReplicatedStore>,
        /// The settings now.
        settings: Box<Settings>,
        /// What changed, a line each.
        changes: Vec<String>,
    },
    /// Nothing that concerns the members changed.
    Nothing {
        /// The manifest now.
        store: Box<ReplicatedStore>,
    },
    /// It cannot be followed.
    Refused {
        /// Why, a line each.
        reasons: Vec<String>,
    },
}

/// Judges the manifest's new text against the store that runs with its members on ports from `port_base`.
pub fn judge(text: &str, running: &ReplicatedStore, settings: &Settings, port_base: u16) -> Edit {
    let refused = |reasons| Edit::Refused { reasons };
    let store = match validate::read_change(text, running) {
        Ok(store) => Box::new(store),
        Err(error) => return refused(manifest::reasons(&error)),
    };
    let (before, after) = (running.store_name(), store.store_name());
    if (&before.namespace, &before.name) != (&after.namespace, &after.name) {
        return refused(vec![format!(
            "metadata: this runner runs {before}; start {after} with a `holdfast up` of its own"
        )]);
    }
    let (before, after) = (running.spec.replicas, store.spec.replicas);
    let there = settings.peers.len() as u8;
    if before != after && there > before {
        return refused(vec![format!(
            "spec.replicas: members are still being removed; change it to {after} when {before} are left"
        )]);
    }
    let also = |store: &ReplicatedStore| store.spec.laptop.clone().unwrap_or_default().client_ports;
    if also(running) != also(&store) {
        return refused(vec![
            "spec.laptop.clientPorts: members open their ports when they start; end `holdfast up` and start it again"
                .to_owned(),
        ]);
    }
    let application = |store: &ReplicatedStore| store.spec.laptop.clone().unwrap_or_default().application;
    if application(running) != application(&store) {
        return refused(vec![
            "spec.laptop.application: it starts with its member; end `holdfast up` and start it again"
                .to_owned(),
        ]);
    }
    // Who is to go has an address until it is gone.
    let ports = match Ports::new(port_base, after.max(there)) {
        Ok(ports) => ports,
        Err(error) => return refused(vec![chain(&error)]),
    };
    let next = match store.settings_on_laptop(ports.peers()) {
        Ok(next) => Box::new(next),
        Err(error) => return refused(vec![words(&error)]),
    };
    if let Err(error) = settings.check_change(&next) {
        return refused(vec![words(&error)]);
    }
    let changes = differences(settings, &next);
    if changes.is_empty() {
        Edit::Nothing { store }
    } else {
        Edit::Changed { store, settings: next, changes }
    }
}

/// Why the data that lies in a folder does not fit the settings that are wanted now.
///
/// # Errors
/// It does not.
pub fn check_data(before: &Settings, wanted: &Settings) -> Result<(), String> {
    before.check_change(wanted).map_err(|error| words(&error))
}

fn words(error: &SettingsError) -> String {
    match error {
        // The members' words fit here too, except that nothing needs to run.
        SettingsError::Fixed { field, from, to } => format!("{field} cannot change from {from} to {to}"),
        other => chain(other),
    }
}

/// Every field that differs, as `path: before -> after`.
fn differences(before: &Settings, after: &Settings) -> Vec<String> {
    let fields = |settings: &Settings| {
        let mut fields = BTreeMap::new();
        flatten("", &serde_json::to_value(settings).expect("settings are plain data"), &mut fields);
        fields
    };
    let (before, after) = (fields(before), fields(after));
    let paths: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let show = |value: Option<&String>| value.map_or("none", String::as_str).to_owned();
    paths
        .into_iter()
        .filter(|path| before.get(*path) != after.get(*path))
        .map(|path| format!("{path}: {} -> {}", show(before.get(path)), show(after.get(path))))
        .collect()
}

fn flatten(path: &str, value: &Value, fields: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(name, value)| {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            flatten(&path, value, fields);
        }),
        Value::String(text) => drop(fields.insert(path.to_owned(), text.clone())),
        other => drop(fields.insert(path.to_owned(), other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::tests::ORDERS;

    fn check(edited: &str) -> Result<Vec<String>, Vec<String>> {
        let running = validate::read(ORDERS).expect("valid");
        let peers = (0..3).map(|ordinal| format!("127.0.0.1:{}", 7401 + 10 * ordinal)).collect();
        let settings = running.settings(peers).expect("valid");
        match judge(edited, &running, &settings, 7400) {
            Edit::Changed { changes, settings: next, .. } => {
                assert_eq!(next.peers[..3], settings.peers);
                Ok(changes)
            }
            Edit::Nothing { .. } => Ok(Vec::new()),
            Edit::Refused { reasons } => Err(reasons),
        }
    }

    fn with(line: &str) -> String {
        format!("{ORDERS}  {line}\n")
    }

    #[test]
    fn settings_that_members_can_follow_are_listed() {
        let changes = check(&with("heartbeat: {interval: 200ms, timeout: 2s}")).expect("followed");
        assert_eq!(changes, ["heartbeat.interval: 100ms -> 200ms", "heartbeat.timeout: 1s -> 2s"]);
        assert_eq!(check(&with("writeConcern: all")).expect("followed"), ["writeConcern: majority -> all"]);
        let delays = "laptop: {faults: Enabled, delays: {\"1\": 2s}}";
        let changes = check(&with(delays)).expect("followed");
        assert_eq!(changes, ["faults.delays.1: none -> 2s", "faults.enabled: none -> true"]);
        let changes = check(&with("strategy: Hybrid")).expect("followed");
        assert!(changes.contains(&"checkpoint.interval: none -> 5m".to_owned()), "{changes:?}");
    }

    #[test]
    fn what_members_do_not_use_changes_nothing() {
        assert_eq!(check(&format!("# a comment\n{ORDERS}")), Ok(Vec::new()));
        assert_eq!(check(&with("storage: {size: 20Gi}")), Ok(Vec::new()));
    }

    #[test]
    fn what_cannot_change_is_named_with_its_path() {
        let refused = |text: &str, part: &str| {
            let reasons = check(text).expect_err(text).join("\n");
            assert!(reasons.contains(part), "{reasons}");
        };
        refused(&ORDERS.replace("replicas: 3", "replicas: 8"), "spec.replicas");
        refused(&ORDERS.replace("name: orders", "name: other"), "other");
        refused(&ORDERS.replace("replicas: 3", "replicas: 1\n  strategy: Baseline"), "strategy");
        refused(&with("heartbeat: {timeout: 1ms}"), "spec.heartbeat");
        refused(&with("laptop: {clientPorts: [5000]}"), "end `holdfast up` and start it again");
        refused("nonsense: [", "not YAML");
    }

    #[test]
    fn members_come_at_once_and_go_one_change_at_a_time() {
        let changes = check(&ORDERS.replace("replicas: 3", "replicas: 5")).expect("followed");
        assert_eq!(changes.last().map(String::as_str), Some("replicas: 3 -> 5"));
        let fewer = ORDERS.replace("replicas: 3", "replicas: 1");
        assert_eq!(check(&fewer), Ok(vec!["replicas: 3 -> 1".to_owned()]), "all addresses stay");
        // While they go.
        let running = validate::read(&fewer).expect("valid");
        let settings = running.settings(Ports::new(7400, 3).expect("in range").peers()).expect("valid");
        let Edit::Refused { reasons } = judge(ORDERS, &running, &settings, 7400) else { panic!("too early") };
        assert!(reasons[0].contains("still being removed; change it to 3 when 1 are left"), "{reasons:?}");
    }

    #[test]
    fn old_data_is_compared_by_the_same_rules() {
        let settings = |text: &str, members: u8| {
            let peers = Ports::new(7400, members).expect("in range").peers();
            validate::read(text).expect("valid").settings(peers).expect("valid")
        };
        let (three, five) = (settings(ORDERS, 3), settings(&ORDERS.replace("replicas: 3", "replicas: 5"), 5));
        let baseline = settings(&ORDERS.replace("replicas: 3", "replicas: 1\n  strategy: Baseline"), 1);
        assert_eq!(check_data(&three, &three), Ok(()));
        assert_eq!(check_data(&three, &five), Ok(()));
        let error = check_data(&three, &baseline).expect_err("another durability");
        assert_eq!(error, "durability cannot change from Disk to Memory");
    }
}
