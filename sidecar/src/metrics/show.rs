//! Writes what the core says of itself into the gauges, at each scrape.
//!
//! What the core does not say now is taken out rather than shown as it was: a leader's view of a peer ends with its
//! leadership.

use holdfast_api::http::{AuthorityState, PeerStatus, Role, Status};
use holdfast_api::{Durability, Strategy};
use holdfast_store::QUOTA_BYTES;
use prometheus::GaugeVec;

use super::Metrics;
use super::instrument::gauge;
use super::state::State;
use crate::core::Figures;

/// Every role, for the series of those that the member does not have.
const ROLES: [Role; 5] = [Role::Unformed, Role::Learner, Role::Follower, Role::Candidate, Role::Leader];

/// How it can be with the authority, and what that is called.
const AUTHORITY_STATES: [(AuthorityState, &str); 4] = [
    (AuthorityState::Unknown, "unknown"),
    (AuthorityState::Reachable, "reachable"),
    (AuthorityState::Unreachable, "unreachable"),
    (AuthorityState::Lost, "lost"),
];

impl Metrics {
    /// Say what this member runs. Only the labels carry anything.
    pub(crate) fn show_info(&self, version: &str, strategy: Strategy, durability: Durability) {
        let durability = match durability {
            Durability::Disk => "Disk",
            Durability::Memory => "Memory",
        };
        self.state.info.reset();
        gauge(&self.state.info, &[version, strategy.name(), durability]).set(1.0);
    }

    /// Show what the core says of itself and of its peers.
    pub(crate) fn show_status(&self, status: &Status) {
        let state = &self.state;
        let flag = |value: bool| if value { 1.0 } else { 0.0 };
        state.formed.set(flag(status.role != Role::Unformed));
        state.has_leader.set(flag(status.leader.is_some()));
        state.is_leader.set(flag(status.role == Role::Leader));
        state.leader_ordinal.set(status.leader.map_or(-1.0, f64::from));
        for role in ROLES {
            gauge(&state.role, &[role.name()]).set(flag(status.role == role));
        }
        state.term.set(status.term as f64);
        state.written_index.set(status.positions.written as f64);
        state.durable_index.set(status.positions.durable as f64);
        state.commit_index.set(status.positions.commit as f64);
        state.applied_index.set(status.positions.applied as f64);
        let checkpoint = status.last_checkpoint;
        state.checkpoint_index.set(checkpoint.map_or(0.0, |checkpoint| checkpoint.index as f64));
        let time = checkpoint.map_or(0.0, |checkpoint| checkpoint.time.as_second() as f64);
        state.checkpoint_timestamp.set(time);
        state.checkpoint_bytes.set(checkpoint.map_or(0.0, |checkpoint| checkpoint.bytes as f64));
        let faults = status.faults.unwrap_or_default();
        state.fault_delay.set(faults.delay.get().as_secs_f64());
        state.fault_failure.set(faults.failure.get());
        state.fault_held.set(faults.held as f64);
        state.fault_lost.follow(faults.lost);
        let in_sync = status.in_sync.as_ref();
        state.in_sync_members.set(in_sync.map_or(0.0, |in_sync| in_sync.members.len() as f64));
        state.in_sync_min.set(in_sync.map_or(0.0, |in_sync| f64::from(in_sync.min)));
        for (which, name) in AUTHORITY_STATES {
            let is = in_sync.is_some_and(|in_sync| in_sync.authority.state == which);
            gauge(&state.authority, &[name]).set(flag(is));
        }
        for peer in &status.peers {
            state.show_peer(peer);
        }
    }

    /// Show what the core's state and queues come to.
    pub(crate) fn show_figures(&self, figures: &Figures) {
        let (state, statistics) = (&self.state, &figures.statistics);
        state.revision.set(statistics.revision.0 as f64);
        state.compacted_revision.set(statistics.compacted.0 as f64);
        state.keys.set(statistics.keys as f64);
        state.live_bytes.set(statistics.live_bytes as f64);
        state.history_bytes.set(statistics.history_bytes as f64);
        state.sessions.set(statistics.sessions as f64);
        state.quota_bytes.set(QUOTA_BYTES as f64);
        state.log_bytes.set(figures.log_bytes as f64);
        state.disk_full.set(if figures.disk_full { 1.0 } else { 0.0 });
        state.disk_waits.set(figures.disk_waits.as_secs_f64());
        state.proposals_pending.set(figures.writes_pending as f64);
        state.reads_pending.set(figures.reads_pending as f64);
    }
}

impl State {
    fn show_peer(&self, peer: &PeerStatus) {
        let name = peer.ordinal.to_string();
        let show = |family: &GaugeVec, value: Option<f64>| match value {
            Some(value) => gauge(family, &[&name]).set(value),
            None => {
                let _ = family.remove_label_values(&[name.as_str()]);
            }
        };
        show(&self.peer_match_index, peer.match_.map(|index| index as f64));
        show(&self.peer_lag_entries, peer.lag.map(|entries| entries as f64));
        show(&self.peer_contact_seconds, peer.last_heartbeat_ms_ago.map(|ms| ms as f64 / 1000.0));
    }
}
