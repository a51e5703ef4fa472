//! The gauges that say how the member is, written from what the core says of itself at each scrape.
//!
//! They refuse to be counted into: whatever happens between two scrapes is for the instruments of [`super::Metrics`].

use prometheus::GaugeVec;

use super::instrument::{Counter, Families, Gauge};

/// Gauges that are written from the core's status when somebody scrapes.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) info: GaugeVec,
    pub(crate) formed: Gauge,
    pub(crate) has_leader: Gauge,
    pub(crate) is_leader: Gauge,
    pub(crate) leader_ordinal: Gauge,
    pub(crate) role: GaugeVec,
    pub(crate) term: Gauge,
    pub(crate) written_index: Gauge,
    pub(crate) durable_index: Gauge,
    pub(crate) commit_index: Gauge,
    pub(crate) applied_index: Gauge,
    pub(crate) revision: Gauge,
    pub(crate) compacted_revision: Gauge,
    pub(crate) keys: Gauge,
    pub(crate) live_bytes: Gauge,
    pub(crate) quota_bytes: Gauge,
    pub(crate) history_bytes: Gauge,
    pub(crate) sessions: Gauge,
    pub(crate) log_bytes: Gauge,
    pub(crate) disk_full: Gauge,
    pub(crate) disk_waits: Gauge,
    pub(crate) proposals_pending: Gauge,
    pub(crate) reads_pending: Gauge,
    pub(crate) checkpoint_index: Gauge,
    pub(crate) checkpoint_timestamp: Gauge,
    pub(crate) checkpoint_bytes: Gauge,
    pub(crate) in_sync_members: Gauge,
    pub(crate) in_sync_min: Gauge,
    pub(crate) authority: GaugeVec,
    pub(crate) fault_delay: Gauge,
    pub(crate) fault_failure: Gauge,
    pub(crate) fault_held: Gauge,
    pub(crate) fault_lost: Counter,
    pub(crate) peer_match_index: GaugeVec,
    pub(crate) peer_lag_entries: GaugeVec,
    pub(crate) peer_contact_seconds: GaugeVec,
}

impl State {
    pub(super) fn new(f: &mut Families) -> State {
        let peer = &["peer"];
        State {
            info: f.gauges(
                "holdfast_member_info",
                "Always 1; the labels say what this member runs.",
                &["version", "strategy", "durability"],
            ),
            formed: f.gauge("holdfast_formed", "1 once the member knows how its store was formed."),
            has_leader: f.gauge("holdfast_has_leader", "1 while the member knows a leader."),
            is_leader: f.gauge("holdfast_is_leader", "1 while the member leads."),
            leader_ordinal: f
                .gauge("holdfast_leader_ordinal", "Ordinal of the leader; -1 while none is known."),
            role: f.gauges(
                "holdfast_role",
                "1 for the role that the member has, 0 for the others.",
                &["role"],
            ),
            term: f.gauge("holdfast_term", "The highest term that the member has seen."),
            written_index: f.gauge("holdfast_written_index", "The last entry in the member's log."),
            durable_index: f.gauge("holdfast_durable_index", "The last entry that survives power loss here."),
            commit_index: f
                .gauge("holdfast_commit_index", "The last entry that the member knows to be committed."),
            applied_index: f
                .gauge("holdfast_applied_index", "The last entry executed on the member's state."),
            revision: f.gauge("holdfast_revision", "The keyspace's revision, committed."),
            compacted_revision: f
                .gauge("holdfast_compacted_revision", "Reads and watches before this revision are refused."),
            keys: f.gauge("holdfast_keys", "Keys that exist."),
            live_bytes: f.gauge(
                "holdfast_live_bytes",
                "Bytes of the keys that exist and their values, as the quota counts them.",
            ),
            quota_bytes: f.gauge("holdfast_quota_bytes", "Most live bytes; writes beyond it are refused."),
            history_bytes: f.gauge(
                "holdfast_history_bytes",
                "Bytes of superseded versions kept for old revisions and returning watchers.",
            ),
            sessions: f.gauge("holdfast_sessions", "Sessions that are remembered for retries."),
            log_bytes: f.gauge("holdfast_log_bytes", "Bytes of log entries in memory."),
            disk_full: f.gauge(
                "holdfast_disk_full",
                "1 while there is no space on the member's disk but the log's reserve.",
            ),
            disk_waits: f.gauge(
                "holdfast_disk_oldest_write_seconds",
                "How long the oldest write that is not durable yet has waited for the disk; 0 if none does.",
            ),
            proposals_pending: f
                .gauge("holdfast_proposals_pending", "Writes taken by this member and not yet answered."),
            reads_pending: f
                .gauge("holdfast_reads_pending", "Reads taken by this member and not yet answered."),
            checkpoint_index: f
                .gauge("holdfast_checkpoint_index", "The last entry in the newest durable checkpoint."),
            checkpoint_timestamp: f.gauge(
                "holdfast_checkpoint_timestamp_seconds",
                "When the newest durable checkpoint was taken, in seconds since 1970; 0 if there is none.",
            ),
            checkpoint_bytes: f.gauge("holdfast_checkpoint_bytes", "Size of the newest durable checkpoint."),
            in_sync_members: f.gauge(
                "holdfast_in_sync_members",
                "With consensus InSync: members that have every committed write, as this member knows; else 0.",
            ),
            in_sync_min: f.gauge(
                "holdfast_in_sync_members_min",
                "With consensus InSync: so many members stay in sync, whatever happens; else 0.",
            ),
            authority: f.gauges(
                "holdfast_authority",
                "With consensus InSync: 1 for how it is with what decides who leads, 0 for the others; else all 0.",
                &["state"],
            ),
            fault_delay: f.gauge(
                "holdfast_fault_delay_seconds",
                "How long the member holds back entries from its leader on purpose; 0 if it does not.",
            ),
            fault_failure: f.gauge(
                "holdfast_fault_failure_probability",
                "How likely the member loses a message with entries on purpose; 0 if it does not.",
            ),
            fault_held: f.gauge(
                "holdfast_fault_held_messages",
                "Messages with entries that the member holds back on purpose.",
            ),
            fault_lost: f.counter(
                "holdfast_fault_lost_messages_total",
                "Messages with entries that the member has lost on purpose.",
            ),
            peer_match_index: f.gauges(
                "holdfast_peer_match_index",
                "The last entry that the peer is known to have durable. Only at a leader.",
                peer,
            ),
            peer_lag_entries: f.gauges(
                "holdfast_peer_lag_entries",
                "Entries of this leader that the peer does not have durable. Only at a leader.",
                peer,
            ),
            peer_contact_seconds: f.gauges(
                "holdfast_peer_last_contact_seconds",
                "How long ago the peer was last heard of.",
                peer,
            ),
        }
    }
}
