//! What a spec means: values that follow from others when they are left out, and the settings file. It refuses to
//! judge; [`crate::validate`] does that.

use kube::ResourceExt as _;

use super::{CheckpointSpec, ReplicatedStore, ReplicatedStoreSpec};
use crate::Durability;
use crate::settings::{
    CheckpointSettings, FaultSettings, HeartbeatSettings, Settings, SettingsError, StoreName,
};

/// The namespace of a manifest that names none, as `kubectl` has it out of the box.
pub(crate) const NAMESPACE_DEFAULT: &str = "default";

impl ReplicatedStoreSpec {
    /// Where members keep their log: what is written, else what the strategy has.
    pub fn durability(&self) -> Durability {
        self.durability.unwrap_or(self.strategy.durability())
    }

    /// When checkpoints are taken; `None` for strategies that take none.
    pub fn checkpoint(&self) -> Option<CheckpointSettings> {
        let written = self.checkpoint.clone().unwrap_or_default();
        let default = self.strategy.checkpoint_interval()?;
        let CheckpointSpec { interval, retain, compression, outside: _ } = written;
        Some(CheckpointSettings { interval: interval.unwrap_or(default), retain, compression })
    }
}

impl ReplicatedStore {
    /// Its namespace and name.
    pub fn store_name(&self) -> StoreName {
        StoreName {
            namespace: self.namespace().unwrap_or_else(|| NAMESPACE_DEFAULT.to_owned()),
            name: self.name_any(),
            uid: self.uid(),
        }
    }

    /// The settings file for its members, who reach each other at `peers`: `host:port` by ordinal; more than replicas
    /// while the store still has members that are to be removed.
    ///
    /// # Errors
    ///
    /// [`SettingsError::Invalid`] if the spec breaks its rules, or there are fewer peers than replicas.
    pub fn settings(&self, peers: Vec<String>) -> Result<Settings, SettingsError> {
        let spec = &self.spec;
        let settings = Settings {
            store: self.store_name(),
            replicas: spec.replicas,
            strategy: spec.strategy,
            consensus: spec.consensus,
            min_in_sync: spec.min_in_sync,
            durability: spec.durability(),
            write_concern: spec.write_concern,
            heartbeat: HeartbeatSettings {
                interval: spec.heartbeat.interval,
                timeout: spec.heartbeat.timeout,
            },
            checkpoint: spec.checkpoint(),
            peers,
            health_words: spec.health_words,
            faults: FaultSettings::default(),
        };
        settings.validate()?;
        Ok(settings)
    }

    /// As [`ReplicatedStore::settings`], with what the manifest says for one machine.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn settings_on_laptop(&self, peers: Vec<String>) -> Result<Settings, SettingsError> {
        let mut settings = self.settings(peers)?;
        if let Some(laptop) = &self.spec.laptop {
            settings.faults = laptop.fault_settings();
            settings.validate()?;
        }
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Compression;
    use crate::kind::CheckpointSpec;
    use crate::{Span, Strategy};

    fn store(strategy: Strategy, replicas: u8) -> ReplicatedStore {
        ReplicatedStore::new("orders", ReplicatedStoreSpec { strategy, replicas, ..Default::default() })
    }

    fn peers(replicas: u8) -> Vec<String> {
        (0..replicas).map(|ordinal| crate::names::peer_address("default", "orders", ordinal)).collect()
    }

    #[test]
    fn what_is_left_out_follows_from_the_strategy() {
        let check = |strategy, replicas, durability, interval: Option<Span>| {
            let settings = store(strategy, replicas).settings(peers(replicas)).expect("valid");
            assert_eq!(settings.durability, durability);
            assert_eq!(
                settings.checkpoint,
                interval.map(|interval| CheckpointSettings {
                    interval,
                    retain: 3,
                    compression: Compression::None
                })
            );
            assert_eq!(Settings::read(&settings.to_yaml()).ok(), Some(settings));
        };
        check(Strategy::Baseline, 1, Durability::Memory, None);
        check(Strategy::Checkpointing, 1, Durability::Memory, Some(Span::from_secs(30)));
        check(Strategy::Replication, 3, Durability::Disk, None);
        check(Strategy::Hybrid, 5, Durability::Disk, Some(Span::from_secs(300)));
    }

    #[test]
    fn what_is_written_stays() {
        let mut store = store(Strategy::Hybrid, 3);
        let (interval, retain, compression) = (Span::from_secs(7), 9, Compression::Lz4);
        store.spec.checkpoint =
            Some(CheckpointSpec { interval: Some(interval), retain, compression, outside: None });
        let settings = store.settings(peers(3)).expect("valid");
        assert_eq!(settings.checkpoint, Some(CheckpointSettings { interval, retain, compression }));
        assert_eq!(Settings::read(&settings.to_yaml()).ok(), Some(settings.clone()));
        assert_eq!(settings.store.to_string(), "default/orders");
    }

    #[test]
    fn faults_are_for_laptops_only() {
        let mut store = store(Strategy::Replication, 3);
        let laptop = r#"{"faults":"Enabled","delays":{"1":"2s"}}"#;
        store.spec.laptop = Some(serde_json::from_str(laptop).expect("readable"));
        let settings = store.settings_on_laptop(peers(3)).expect("valid");
        assert_eq!(settings.faults.of(1).0, Span::from_secs(2));
        assert_eq!(Settings::read(&settings.to_yaml()).ok(), Some(settings));
        let settings = store.settings(peers(3)).expect("valid");
        assert!(settings.faults.is_disabled());
        assert!(!settings.to_yaml().contains("faults"));
    }

    #[test]
    fn settings_that_cannot_be_are_not_made() {
        assert!(matches!(store(Strategy::Replication, 3).settings(peers(2)), Err(SettingsError::Invalid(_))));
        assert!(matches!(store(Strategy::Baseline, 2).settings(peers(2)), Err(SettingsError::Invalid(_))));
    }
}
