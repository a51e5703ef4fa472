//! The settings file: everything about a store that all of its members share. The operator or `holdfast up` writes
//! it, members read it and read it again when it changes.
//!
//! Every value is written out, so that a member never has defaults of its own that an older or newer writer did not
//! mean. It refuses fields that it does not know: a misspelt setting must not be ignored.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::http::HealthWords;
use crate::names::{self, REPLICAS_MAX};
use crate::strategy::{
    CHECKPOINT_INTERVAL_MAX, CHECKPOINT_INTERVAL_MIN, CHECKPOINT_RETAIN_MAX, HEARTBEAT_INTERVAL_MIN,
    HEARTBEAT_TIMEOUT_INTERVALS_MIN, HEARTBEAT_TIMEOUT_MAX,
};
use crate::violation::{self, Violation, Violations};
use crate::{
    Compression, Consensus, Durability, Probability, REPLICATION_DELAY_MAX, Span, Strategy, WriteConcern,
};

/// Largest settings file. Seven peers with the longest host names need less than 4 KiB.
pub const SETTINGS_BYTES_MAX: usize = 64 * 1024;

/// Longest `host:port` of a peer: the longest host name and a port.
pub const PEER_ADDRESS_BYTES_MAX: usize = 253 + 6;

/// What all members of a store share.
///
/// Invariants, after [`Settings::read`] or [`Settings::validate`]: `peers` has at least `replicas` elements and at most
/// [`REPLICAS_MAX`]; one replica if the strategy does not replicate; `checkpoint` if and only if the strategy takes them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Settings {
    /// Which store this is.
    pub store: StoreName,
    /// How many members it is to have, in `[1, REPLICAS_MAX]`: ordinals `[0, replicas)`. It may have others for a while.
    pub replicas: u8,
    /// What it does against faults.
    pub strategy: Strategy,
    /// Which members must hold a write before it is committed.
    pub consensus: Consensus,
    /// With consensus InSync so many members stay in sync, whatever happens; in `[1, replicas]`.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub min_in_sync: u8,
    /// Where members keep their log.
    pub durability: Durability,
    /// What an acknowledgement waits for if the request does not say.
    pub write_concern: WriteConcern,
    /// How members find out that one is gone.
    pub heartbeat: HeartbeatSettings,
    /// When checkpoints are taken, for strategies that do so. The others take one only to release their log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<CheckpointSettings>,
    /// `host:port` of every member's peer port, by ordinal. Those at and beyond `replicas` are of members that are still
    /// there, until the store has removed them: their votes count until then.
    pub peers: Vec<String>,
    /// In whose words `GET /health` says its status.
    #[serde(default, skip_serializing_if = "HealthWords::is_message_log")]
    pub health_words: HealthWords,
    /// The faults that members may have on purpose. Only `holdfast up` writes it.
    #[serde(default, skip_serializing_if = "FaultSettings::is_disabled")]
    pub faults: FaultSettings,
}

fn one() -> u8 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it so")]
fn is_one(number: &u8) -> bool {
    *number == 1
}

/// Which store.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StoreName {
    /// The namespace; on a laptop `default` unless the manifest says otherwise.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// The resource's uid, where there is one. A store that was deleted and made again has another; members keep to
    /// the name, because volumes outlive the resource on purpose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
}

/// How members find out that one is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HeartbeatSettings {
    /// How often a leader lets its followers know that it lives.
    pub interval: Span,
    /// After so long without word from the leader a follower campaigns. At least three intervals.
    pub timeout: Span,
}

/// When checkpoints are taken, and how many stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CheckpointSettings {
    /// The time from the begin of one to the begin of the next.
    pub interval: Span,
    /// How many are kept, in `[1, CHECKPOINT_RETAIN_MAX]`.
    pub retain: u8,
    /// How they are written.
    #[serde(default, skip_serializing_if = "Compression::is_none")]
    pub compression: Compression,
}

/// The faults that members may have on purpose, for demonstrations and tests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FaultSettings {
    /// Whether they may have any, also by an order while they run.
    pub enabled: bool,
    /// How long a member holds back entries, by ordinal.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub delays: BTreeMap<u8, Span>,
    /// How likely a member loses a message with entries, by ordinal.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub failures: BTreeMap<u8, Probability>,
}

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// More than [`SETTINGS_BYTES_MAX`].
    #[error("the settings have {bytes} bytes; {SETTINGS_BYTES_MAX} is the most")]
    TooLarge {
        /// How many.
        bytes: usize,
    },
    /// No YAML, a field that is missing or unknown, or a value of another type.
    #[error("the settings cannot be read")]
    Malformed(#[source] serde_yaml::Error),
    /// Values that cannot be.
    #[error("the settings are wrong: {}", violation::joined(.0))]
    Invalid(Vec<Violation>),
    /// A value that a running member cannot change to.
    #[error("a running member cannot change {field} from {from} to {to}")]
    Fixed {
        /// The field.
        field: &'static str,
        /// What it is.
        from: String,
        /// What it would be.
        to: String,
    },
}

impl fmt::Display for StoreName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl FaultSettings {
    /// Whether members may have none.
    pub fn is_disabled(&self) -> bool {
        *self == FaultSettings::default()
    }

    /// What member `ordinal` begins with.
    pub fn of(&self, ordinal: u8) -> (Span, Probability) {
        let delay = self.delays.get(&ordinal).copied().unwrap_or_default();
        (delay, self.failures.get(&ordinal).copied().unwrap_or_default())
    }
}

impl Settings {
    /// Read a settings file.
    ///
    /// # Errors
    ///
    /// [`SettingsError`], but never [`SettingsError::Fixed`].
    pub fn read(text: &str) -> Result<Settings, SettingsError> {
        if text.len() > SETTINGS_BYTES_MAX {
            return Err(SettingsError::TooLarge { bytes: text.len() });
        }
        let settings: Settings = serde_yaml::from_str(text).map_err(SettingsError::Malformed)?;
        settings.validate()?;
        Ok(settings)
    }

    /// The settings file. The same settings give the same bytes.
    pub fn to_yaml(&self) -> String {
        serde_yaml::to_string(self).expect("strings, numbers and enums without data can always be written")
    }

    /// Check what the types do not say.
    ///
    /// # Errors
    ///
    /// [`SettingsError::Invalid`] with everything that is wrong.
    pub fn validate(&self) -> Result<(), SettingsError> {
        let mut wrong = Violations::default();
        self.check_store(&mut wrong);
        self.check_members(&mut wrong);
        self.check_times(&mut wrong);
        self.check_faults(&mut wrong);
        wrong.into_result().map_err(SettingsError::Invalid)
    }

    fn check_store(&self, wrong: &mut Violations) {
        for (path, name, bytes_max) in [
            ("store.namespace", &self.store.namespace, 63),
            ("store.name", &self.store.name, names::STORE_NAME_BYTES_MAX),
        ] {
            if !is_label(name, bytes_max) {
                wrong.add(
                    path,
                    format!(
                        "{name:?} is not a name of at most {bytes_max} lower-case letters, digits and hyphens"
                    ),
                );
            }
        }
    }

    fn check_members(&self, wrong: &mut Violations) {
        let strategy = self.strategy.name();
        if !(1..=REPLICAS_MAX).contains(&self.replicas) {
            wrong.add("replicas", format!("{} is not one of 1 to {REPLICAS_MAX}", self.replicas));
        }
        if self.replicas > 1 && !self.strategy.replicates() {
            wrong.add("replicas", format!("strategy {strategy} has one member; write replicas: 1"));
        }
        if self.consensus == Consensus::InSync && self.replicas < 2 {
            wrong.add(
                "consensus",
                "InSync needs at least two members; write replicas: 2 or more, or Majority",
            );
        }
        let most = if self.consensus == Consensus::InSync { self.replicas.max(1) } else { 1 };
        if !(1..=most).contains(&self.min_in_sync) {
            wrong.add("minInSync", format!("{} is not one of 1 to {most}", self.min_in_sync));
        }
        // Replication with several members is safe without a log: one that stops comes back as another member.
        let replicated = self.strategy == Strategy::Replication && self.replicas > 1;
        if self.durability != self.strategy.durability() && !replicated {
            let durability = self.strategy.durability();
            wrong.add("durability", format!("strategy {strategy} goes with {durability:?}"));
        }
        if let WriteConcern::Members(k) = self.write_concern
            && !(1..=self.replicas).contains(&k)
        {
            wrong.add("writeConcern", format!("{k} is not one of 1 to {}, the replicas", self.replicas));
        }
        let (peers, replicas) = (self.peers.len(), self.replicas);
        if peers < usize::from(replicas) {
            wrong.add("peers", format!("{peers} addresses for {replicas} replicas; write one for each"));
        } else if peers > usize::from(REPLICAS_MAX) {
            wrong.add("peers", format!("{peers} addresses; a store has at most {REPLICAS_MAX} members"));
        }
        for (i, peer) in self.peers.iter().enumerate() {
            if !is_host_and_port(peer) {
                wrong.add(&format!("peers[{i}]"), format!("{peer:?} is not a host:port"));
            } else if self.peers[..i].contains(peer) {
                wrong.add(&format!("peers[{i}]"), format!("{peer} is listed twice"));
            }
        }
    }

    fn check_times(&self, wrong: &mut Violations) {
        let HeartbeatSettings { interval, timeout } = self.heartbeat;
        if interval < HEARTBEAT_INTERVAL_MIN {
            wrong.add("heartbeat.interval", format!("{interval} is less than {HEARTBEAT_INTERVAL_MIN}"));
        }
        if timeout.get() < interval.get() * HEARTBEAT_TIMEOUT_INTERVALS_MIN {
            let n = HEARTBEAT_TIMEOUT_INTERVALS_MIN;
            wrong.add("heartbeat.timeout", format!("{timeout} is less than {n} intervals of {interval}"));
        }
        if timeout > HEARTBEAT_TIMEOUT_MAX {
            wrong.add("heartbeat.timeout", format!("{timeout} is more than {HEARTBEAT_TIMEOUT_MAX}"));
        }
        let strategy = self.strategy.name();
        match (self.checkpoint, self.strategy.takes_checkpoints()) {
            (Some(CheckpointSettings { interval, retain, .. }), true) => {
                if !(CHECKPOINT_INTERVAL_MIN..=CHECKPOINT_INTERVAL_MAX).contains(&interval) {
                    wrong.add("checkpoint.interval", format!(
                        "{interval} is not between {CHECKPOINT_INTERVAL_MIN} and {CHECKPOINT_INTERVAL_MAX}"
                    ));
                }
                if !(1..=CHECKPOINT_RETAIN_MAX).contains(&retain) {
                    wrong.add(
                        "checkpoint.retain",
                        format!("{retain} is not one of 1 to {CHECKPOINT_RETAIN_MAX}"),
                    );
                }
            }
            (None, false) => {}
            (Some(_), false) => wrong.add("checkpoint", format!("strategy {strategy} takes no checkpoints")),
            (None, true) => {
                wrong.add("checkpoint", format!("strategy {strategy} needs an interval and a number"))
            }
        }
    }

    fn check_faults(&self, wrong: &mut Violations) {
        let FaultSettings { enabled, delays, failures } = &self.faults;
        let any = !delays.is_empty() || !failures.is_empty();
        if any && !enabled {
            wrong.add("faults.enabled", "faults are given, but not enabled; write true");
        }
        for (ordinal, delay) in delays {
            if *delay > REPLICATION_DELAY_MAX {
                let path = format!("faults.delays.{ordinal}");
                wrong.add(&path, format!("{delay} is more than {REPLICATION_DELAY_MAX}"));
            }
        }
    }

    /// Check that a member that runs by these settings may go on by `next`: times, checkpoints, faults, words, the write concern and
    /// the strategy between Replication and Hybrid may change, how many members there are to be, and where they are.
    ///
    /// # Errors
    ///
    /// [`SettingsError::Fixed`] for the first field that may not.
    pub fn check_change(&self, next: &Settings) -> Result<(), SettingsError> {
        let fixed = |field, from: String, to: String| {
            if from == to { Ok(()) } else { Err(SettingsError::Fixed { field, from, to }) }
        };
        fixed("store", self.store.to_string(), next.store.to_string())?;
        fixed("consensus", format!("{:?}", self.consensus), format!("{:?}", next.consensus))?;
        fixed("minInSync", self.min_in_sync.to_string(), next.min_in_sync.to_string())?;
        fixed("durability", format!("{:?}", self.durability), format!("{:?}", next.durability))?;
        if self.strategy.replicates() && next.strategy.replicates() {
            return Ok(());
        }
        fixed("strategy", self.strategy.name().into(), next.strategy.name().into())
    }
}

/// A DNS label, as Kubernetes wants the names of namespaces and Services.
pub(crate) fn is_label(name: &str, bytes_max: usize) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=bytes_max).contains(&name.len())
        && name.bytes().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

fn is_host_and_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    text.len() <= PEER_ADDRESS_BYTES_MAX
        && !host.is_empty()
        && host.bytes().all(|byte| byte.is_ascii_graphic())
        && port.bytes().all(|byte| byte.is_ascii_digit())
        && port.parse::<u16>().is_ok_and(|port| port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
store:
  namespace: shop
  name: orders
replicas: 3
strategy: Hybrid
consensus: Majority
durability: Disk
writeConcern: majority
heartbeat:
  interval: 100ms
  timeout: 1s
checkpoint:
  interval: 5m
  retain: 3
peers:
- orders-0.orders-peers.shop.svc:7401
- orders-1.orders-peers.shop.svc:7401
- orders-2.orders-peers.shop.svc:7401
";

    fn settings() -> Settings {
        Settings::read(FILE).expect("the file is right")
    }

    #[test]
    fn a_file_is_written_as_it_was_read() {
        assert_eq!(settings().to_yaml(), FILE);
    }

    /// Changes `from` to `to` in the file; the error must contain `message`.
    fn check(from: &str, to: &str, message: &str) {
        assert!(FILE.contains(from), "{from}");
        let error = Settings::read(&FILE.replace(from, to)).expect_err(to);
        let mut text = error.to_string();
        if let Some(source) = std::error::Error::source(&error) {
            text += &format!(": {source}");
        }
        assert!(text.contains(message), "{text}");
    }

    #[test]
    fn what_is_wrong_is_named() {
        check("name: orders", "name: Orders", "store.name: \"Orders\" is not a name");
        check("name: orders", "name: orders\n  nam: x", "unknown field `nam`");
        check("replicas: 3", "replicas: 3\nreplica: 3", "unknown field `replica`");
        check("replicas: 3", "replicas: 0", "replicas: 0 is not one of 1 to 7");
        check("replicas: 3", "replicas: 8", "replicas: 8 is not one of 1 to 7");
        check("replicas: 3", "replicas: 4", "peers: 3 addresses for 4 replicas");
        let eight = "peers:\n- a:1\n- b:1\n- c:1\n- d:1\n- e:1";
        check("peers:", eight, "peers: 8 addresses; a store has at most 7 members");
        check(
            "strategy: Hybrid",
            "strategy: Checkpointing",
            "replicas: strategy Checkpointing has one member",
        );
        check(
            "strategy: Hybrid",
            "strategy: Replication",
            "checkpoint: strategy Replication takes no checkpoints",
        );
        check("strategy: Hybrid", "strategy: hybrid", "unknown variant `hybrid`");
        check("consensus: Majority", "consensus: InSync\nminInSync: 4", "minInSync: 4 is not one of 1 to 3");
        check(
            "consensus: Majority",
            "consensus: Majority\nminInSync: 2",
            "minInSync: 2 is not one of 1 to 1",
        );
        check("durability: Disk", "durability: Memory", "durability: strategy Hybrid goes with Disk");
        check("writeConcern: majority", "writeConcern: most", "write \"majority\", \"all\", or a number");
        check("writeConcern: majority", "writeConcern: 4", "writeConcern: 4 is not one of 1 to 3");
        check("interval: 100ms", "interval: 9ms", "heartbeat.interval: 9ms is less than 10ms");
        check("interval: 100ms", "interval: 100", "heartbeat");
        check("timeout: 1s", "timeout: 299ms", "heartbeat.timeout: 299ms is less than 3 intervals of 100ms");
        check("timeout: 1s", "timeout: 11m", "heartbeat.timeout: 11m is more than 10m");
        check("interval: 5m", "interval: 999ms", "checkpoint.interval: 999ms is not between 1s and 24h");
        check("retain: 3", "retain: 0", "checkpoint.retain: 0 is not one of 1 to 50");
        check(
            "checkpoint:\n  interval: 5m\n  retain: 3\n",
            "",
            "checkpoint: strategy Hybrid needs an interval",
        );
        check(
            "orders-1.orders",
            "orders-0.orders",
            "peers[1]: orders-0.orders-peers.shop.svc:7401 is listed twice",
        );
        check("orders-2.orders-peers.shop.svc:7401", "orders-2", "peers[2]: \"orders-2\" is not a host:port");
        check("svc:7401\n- orders-1", "svc:0\n- orders-1", "peers[0]");
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once() {
        let text = FILE.replace("replicas: 3", "replicas: 9").replace("timeout: 1s", "timeout: 1ms");
        match Settings::read(&text) {
            Err(SettingsError::Invalid(violations)) => assert_eq!(violations.len(), 3, "{violations:?}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_file_that_is_far_too_large_is_not_parsed() {
        let text = "x".repeat(SETTINGS_BYTES_MAX + 1);
        assert!(matches!(Settings::read(&text), Err(SettingsError::TooLarge { .. })));
    }

    #[test]
    fn a_single_member_needs_no_more_than_one_address() {
        let text = FILE
            .replace("replicas: 3", "replicas: 1")
            .replace("Hybrid", "Checkpointing")
            .replace("Disk", "Memory")
            .replace("- orders-1.orders-peers.shop.svc:7401\n- orders-2.orders-peers.shop.svc:7401\n", "")
            .replace("orders-0.orders-peers.shop.svc:7401", "'[::1]:7401'");
        assert_eq!(
            Settings::read(&text).map(|settings| settings.peers).ok(),
            Some(vec!["[::1]:7401".to_owned()])
        );
    }

    #[test]
    fn members_that_are_to_go_have_addresses_until_they_are_gone() {
        let settings = Settings::read(&FILE.replace("replicas: 3", "replicas: 1")).expect("valid");
        assert_eq!((settings.replicas, settings.peers.len()), (1, 3));
    }

    #[test]
    fn a_running_member_follows_some_changes_and_names_the_others() {
        let running = settings();
        let change = |change: fn(&mut Settings)| {
            let mut next = settings();
            change(&mut next);
            running.check_change(&next).map_err(|error| error.to_string())
        };
        assert_eq!(change(|next| next.heartbeat.timeout = Span::from_secs(5)), Ok(()));
        assert_eq!(change(|next| next.write_concern = WriteConcern::All), Ok(()));
        assert_eq!(change(|next| next.strategy = Strategy::Replication), Ok(()));
        assert_eq!(change(|next| next.peers[0] = "127.0.0.1:1".into()), Ok(()));
        assert_eq!(change(|next| next.replicas = 1), Ok(()));
        let fixed =
            |field, from, to| Err(format!("a running member cannot change {field} from {from} to {to}"));
        assert_eq!(
            change(|next| next.store.name = "other".into()),
            fixed("store", "shop/orders", "shop/other")
        );
        assert_eq!(
            change(|next| next.consensus = Consensus::InSync),
            fixed("consensus", "Majority", "InSync")
        );
        assert_eq!(
            change(|next| next.durability = Durability::Memory),
            fixed("durability", "Disk", "Memory")
        );
        assert_eq!(
            change(|next| next.strategy = Strategy::Baseline),
            fixed("strategy", "Hybrid", "Baseline")
        );
    }
}
