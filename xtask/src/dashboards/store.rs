//! The panels of the store overview: what is asked, what it means, and when to worry. How it is drawn is decided elsewhere.

use super::{Kind, Panel, Row};

pub(super) const ROWS: &[Row] = &[
    Row {
        title: "At a glance",
        panels: &[
            Panel {
                title: "Leader",
                description: "Ordinal of the member that leads. \"none\" for longer than the heartbeat timeout means that nothing \
                              can be written.",
                kind: Kind::Stat,
                unit: "none",
                width: 3,
                queries: &[("max(holdfast_leader_ordinal{})", "leader")],
            },
            Panel {
                title: "Members that see a leader",
                description: "Fewer than a majority: the store is unavailable. Fewer than all: it has lost redundancy.",
                kind: Kind::Stat,
                unit: "none",
                width: 3,
                queries: &[("sum(holdfast_has_leader{})", "members")],
            },
            Panel {
                title: "Leader changes, last day",
                description: "Each change is a short pause of writes. More than a few a day without a deployment points at a \
                              slow disk or network.",
                kind: Kind::Stat,
                unit: "none",
                width: 3,
                queries: &[("max(increase(holdfast_leader_changes_total{}[1d]))", "changes")],
            },
            Panel {
                title: "Term",
                description: "Grows by one with every election that was tried.",
                kind: Kind::Stat,
                unit: "none",
                width: 3,
                queries: &[("max(holdfast_term{})", "term")],
            },
            Panel {
                title: "Revision",
                description: "The keyspace's version: one per committed write.",
                kind: Kind::Stat,
                unit: "none",
                width: 3,
                queries: &[("max(holdfast_revision{})", "revision")],
            },
            Panel {
                title: "Keys",
                description: "Keys that exist now.",
                kind: Kind::Stat,
                unit: "short",
                width: 3,
                queries: &[("max(holdfast_keys{})", "keys")],
            },
            Panel {
                title: "Space used of the quota",
                description: "At 100 % writes are refused; deletes are not.",
                kind: Kind::Stat,
                unit: "percentunit",
                width: 3,
                queries: &[("max(holdfast_live_bytes{} / holdfast_quota_bytes{})", "used")],
            },
            Panel {
                title: "Last checkpoint",
                description: "When the newest durable checkpoint was taken. \"none\" is right for the strategies Baseline and \
                              Replication until a member needs one.",
                kind: Kind::Stat,
                unit: "dateTimeFromNow",
                width: 3,
                queries: &[("max(holdfast_checkpoint_timestamp_seconds{}) * 1000", "checkpoint")],
            },
        ],
    },
    Row {
        title: "Members and failovers",
        panels: &[
            Panel {
                title: "Role of each member",
                description: "1 while the member leads. Every change of colour is a failover or a hand-over.",
                kind: Kind::States,
                unit: "none",
                width: 12,
                queries: &[("max by (pod, member) (holdfast_is_leader{})", "member {{member}}")],
            },
            Panel {
                title: "Elections",
                description: "Campaigns that were started and leaders that were seen to change, per minute.",
                kind: Kind::Lines,
                unit: "short",
                width: 12,
                queries: &[
                    (
                        "sum by (member) (rate(holdfast_campaigns_total{}[$__rate_interval])) * 60",
                        "campaigns of {{member}}",
                    ),
                    ("max(rate(holdfast_leader_changes_total{}[$__rate_interval])) * 60", "leader changes"),
                ],
            },
            Panel {
                title: "What each member runs",
                description: "Version, strategy and durability as labels; members of one store should agree.",
                kind: Kind::States,
                unit: "none",
                width: 12,
                queries: &[(
                    "max by (member, version, strategy, durability) (holdfast_member_info{})",
                    "member {{member}}: {{version}} {{strategy}} {{durability}}",
                )],
            },
            Panel {
                title: "Time since each peer was heard of",
                description: "Beyond the heartbeat timeout the peer counts as lost.",
                kind: Kind::Lines,
                unit: "s",
                width: 12,
                queries: &[(
                    "max by (member, peer) (holdfast_peer_last_contact_seconds{})",
                    "{{member}} of {{peer}}",
                )],
            },
        ],
    },
    Row {
        title: "Requests",
        panels: &[
            Panel {
                title: "Requests",
                description: "Answered HTTP requests per second, by route and method.",
                kind: Kind::Lines,
                unit: "reqps",
                width: 8,
                queries: &[(
                    "sum by (route, method) (rate(holdfast_http_requests_total{}[$__rate_interval]))",
                    "{{method}} {{route}}",
                )],
            },
            Panel {
                title: "Share of requests that failed",
                description: "Answers of class 5xx: refused for want of a leader, overloaded, or outcome unknown.",
                kind: Kind::Lines,
                unit: "percentunit",
                width: 8,
                queries: &[(
                    "(sum(rate(holdfast_http_requests_total{code=\"5xx\",}[$__rate_interval])) or vector(0)) / \
                     clamp_min(sum(rate(holdfast_http_requests_total{}[$__rate_interval])), 1)",
                    "5xx",
                )],
            },
            Panel {
                title: "Request duration, p99",
                description: "From the head of a request to the head of its answer.",
                kind: Kind::Lines,
                unit: "s",
                width: 8,
                queries: &[(
                    "histogram_quantile(0.99, sum by (le, route, method) \
                     (rate(holdfast_http_request_seconds_bucket{}[$__rate_interval])))",
                    "{{method}} {{route}}",
                )],
            },
            Panel {
                title: "Under way",
                description: "Requests that are being answered, and watchers that are connected.",
                kind: Kind::Lines,
                unit: "short",
                width: 12,
                queries: &[
                    ("sum by (member) (holdfast_http_requests_in_flight{})", "requests at {{member}}"),
                    ("sum by (member) (holdfast_watch_streams{})", "watches at {{member}}"),
                ],
            },
            Panel {
                title: "Connections",
                description: "Open HTTP connections by port, and those refused because too many were open.",
                kind: Kind::Lines,
                unit: "short",
                width: 12,
                queries: &[
                    ("sum by (member, port) (holdfast_http_connections{})", "{{port}} at {{member}}"),
                    (
                        "sum by (port) (rate(holdfast_http_connections_refused_total{}[$__rate_interval]))",
                        "{{port}} refused per second",
                    ),
                ],
            },
        ],
    },
    Row {
        title: "Replication",
        panels: &[
            Panel {
                title: "Commit duration",
                description: "From a write's arrival in the leader's log to its commit. Above 0.25 s something is wrong.",
                kind: Kind::Lines,
                unit: "s",
                width: 8,
                queries: &[
                    (
                        "histogram_quantile(0.99, sum by (le) (rate(holdfast_commit_seconds_bucket{}[$__rate_interval])))",
                        "p99",
                    ),
                    (
                        "histogram_quantile(0.5, sum by (le) (rate(holdfast_commit_seconds_bucket{}[$__rate_interval])))",
                        "p50",
                    ),
                ],
            },
            Panel {
                title: "Proposals",
                description: "Writes committed and executed per second, and those waiting for their answer.",
                kind: Kind::Lines,
                unit: "short",
                width: 8,
                queries: &[
                    (
                        "sum(rate(holdfast_proposals_committed_total{}[$__rate_interval]))",
                        "committed per second",
                    ),
                    (
                        "max(rate(holdfast_proposals_applied_total{}[$__rate_interval]))",
                        "executed per second",
                    ),
                    ("sum(holdfast_proposals_pending{})", "pending"),
                ],
            },
            Panel {
                title: "Failed proposals",
                description: "Per second, by reason. Timeout and lost mean that the outcome is unknown to the client.",
                kind: Kind::Lines,
                unit: "short",
                width: 8,
                queries: &[(
                    "sum by (reason) (rate(holdfast_proposals_failed_total{}[$__rate_interval]))",
                    "{{reason}}",
                )],
            },
            Panel {
                title: "Lag of each follower",
                description: "Entries of the leader that the follower does not have durable yet.",
                kind: Kind::Lines,
                unit: "short",
                width: 8,
                queries: &[("max by (peer) (holdfast_peer_lag_entries{})", "follower {{peer}}")],
            },
            Panel {
                title: "Round trip between members, p99",
                description: "A ping on the peer connection. Above 0.15 s elections become likely.",
                kind: Kind::Lines,
                unit: "s",
                width: 8,
                queries: &[(
                    "histogram_quantile(0.99, sum by (le, member, peer) \
                     (rate(holdfast_peer_round_trip_seconds_bucket{}[$__rate_interval])))",
                    "{{member}} to {{peer}}",
                )],
            },
            Panel {
                title: "Traffic between members",
                description: "Bytes per second on the peer connections, and messages dropped per second.",
                kind: Kind::Lines,
                unit: "Bps",
                width: 8,
                queries: &[
                    (
                        "sum by (member) (rate(holdfast_peer_sent_bytes_total{}[$__rate_interval]))",
                        "sent by {{member}}",
                    ),
                    (
                        "sum by (member) (rate(holdfast_peer_received_bytes_total{}[$__rate_interval]))",
                        "received by {{member}}",
                    ),
                ],
            },
        ],
    },
    Row {
        title: "Log, disk and checkpoints",
        panels: &[
            Panel {
                title: "fsync duration, p99",
                description: "One fdatasync of the log. Above 0.5 s the disk cannot carry the store.",
                kind: Kind::Lines,
                unit: "s",
                width: 8,
                queries: &[(
                    "histogram_quantile(0.99, sum by (le, member) (rate(holdfast_fsync_seconds_bucket{}[$__rate_interval])))",
                    "member {{member}}",
                )],
            },
            Panel {
                title: "fsyncs",
                description: "Per second; with group commit one covers many writes.",
                kind: Kind::Lines,
                unit: "iops",
                width: 8,
                queries: &[(
                    "sum by (member) (rate(holdfast_fsync_seconds_count{}[$__rate_interval]))",
                    "member {{member}}",
                )],
            },
            Panel {
                title: "Entries not yet durable, committed, executed",
                description: "How far each position is behind the last entry in the member's log.",
                kind: Kind::Lines,
                unit: "short",
                width: 8,
                queries: &[
                    (
                        "max by (member) (holdfast_written_index{} - holdfast_durable_index{})",
                        "not durable at {{member}}",
                    ),
                    (
                        "max by (member) (holdfast_written_index{} - holdfast_commit_index{})",
                        "not committed at {{member}}",
                    ),
                    (
                        "max by (member) (holdfast_commit_index{} - holdfast_applied_index{})",
                        "not executed at {{member}}",
                    ),
                ],
            },
            Panel {
                title: "Checkpoints",
                description: "Taken per hour, by how they ended.",
                kind: Kind::Lines,
                unit: "short",
                width: 8,
                queries: &[(
                    "sum by (result) (rate(holdfast_checkpoints_total{}[$__rate_interval])) * 3600",
                    "{{result}}",
                )],
            },
            Panel {
                title: "Checkpoint duration, mean",
                description: "From the beginning of a checkpoint until it is durable.",
                kind: Kind::Lines,
                unit: "s",
                width: 8,
                queries: &[(
                    "sum by (member) (rate(holdfast_checkpoint_seconds_sum{}[$__rate_interval])) / \
                     clamp_min(sum by (member) (rate(holdfast_checkpoint_seconds_count{}[$__rate_interval])), 0.000001)",
                    "member {{member}}",
                )],
            },
            Panel {
                title: "Keyspace",
                description: "Live bytes and the quota they count against.",
                kind: Kind::Lines,
                unit: "bytes",
                width: 8,
                queries: &[("max(holdfast_live_bytes{})", "live"), ("max(holdfast_quota_bytes{})", "quota")],
            },
        ],
    },
    Row {
        title: "Files",
        panels: &[
            Panel {
                title: "Files",
                description: "Files in the catalogue.",
                kind: Kind::Stat,
                unit: "short",
                width: 3,
                queries: &[("max(holdfast_files{})", "files")],
            },
            Panel {
                title: "Bytes of files",
                description: "Bytes of the files in the catalogue, each once, however many members hold it.",
                kind: Kind::Stat,
                unit: "bytes",
                width: 3,
                queries: &[("max(holdfast_files_bytes{})", "bytes")],
            },
            Panel {
                title: "Copies missing",
                description: "Files that a member should hold and did not at the end of its last round. More than 0 for minutes: \
                              look at the replication queue, which says why.",
                kind: Kind::Lines,
                unit: "short",
                width: 6,
                queries: &[("max by (member) (holdfast_files_missing{})", "member {{member}}")],
            },
            Panel {
                title: "Replication queue",
                description: "Items by status. FAILED ones are tried again every five minutes.",
                kind: Kind::Lines,
                unit: "short",
                width: 6,
                queries: &[("max by (status) (holdfast_files_queue_items{})", "{{status}}")],
            },
            Panel {
                title: "Damaged copies, repairs",
                description: "Copies that were found damaged, and tries to make one that was missing or damaged. Damage that comes \
                              again on one member is a disk that fails.",
                kind: Kind::Lines,
                unit: "short",
                width: 6,
                queries: &[
                    (
                        "sum by (member) (increase(holdfast_files_damaged_total{}[$__rate_interval]))",
                        "damaged, member {{member}}",
                    ),
                    (
                        "sum by (result) (increase(holdfast_files_repairs_total{}[$__rate_interval]))",
                        "repairs, {{result}}",
                    ),
                ],
            },
            Panel {
                title: "Bytes uploaded and downloaded",
                description: "Bytes of files that members took from clients and gave to them, without copies between members.",
                kind: Kind::Lines,
                unit: "Bps",
                width: 8,
                queries: &[
                    ("sum(rate(holdfast_files_upload_bytes_total{}[$__rate_interval]))", "uploaded"),
                    ("sum(rate(holdfast_files_download_bytes_total{}[$__rate_interval]))", "downloaded"),
                ],
            },
            Panel {
                title: "Uploads and downloads, p99",
                description: "99th percentile of how long one takes, whatever its size.",
                kind: Kind::Lines,
                unit: "s",
                width: 8,
                queries: &[
                    (
                        "histogram_quantile(0.99, sum by (le) (rate(holdfast_files_upload_seconds_bucket{}[$__rate_interval])))",
                        "upload",
                    ),
                    (
                        "histogram_quantile(0.99, sum by (le) (rate(holdfast_files_download_seconds_bucket{}[$__rate_interval])))",
                        "download",
                    ),
                ],
            },
            Panel {
                title: "Scrub of files",
                description: "How much of its files each member has read again in the pass that is under way; 1 between two passes.",
                kind: Kind::Lines,
                unit: "percentunit",
                width: 8,
                queries: &[("max by (member) (holdfast_files_scrub_position_ratio{})", "member {{member}}")],
            },
        ],
    },
    Row {
        title: "Processes",
        panels: &[
            Panel {
                title: "Memory",
                description: "Resident memory of each member's process.",
                kind: Kind::Lines,
                unit: "bytes",
                width: 8,
                queries: &[("max by (member) (process_resident_memory_bytes{})", "member {{member}}")],
            },
            Panel {
                title: "CPU",
                description: "Cores used by each member's process.",
                kind: Kind::Lines,
                unit: "short",
                width: 8,
                queries: &[(
                    "sum by (member) (rate(process_cpu_seconds_total{}[$__rate_interval]))",
                    "member {{member}}",
                )],
            },
            Panel {
                title: "Settings reloads",
                description: "Changes of the settings file that were seen, by what became of them.",
                kind: Kind::Lines,
                unit: "short",
                width: 8,
                queries: &[("sum by (result) (holdfast_settings_reloads_total{})", "{{result}}")],
            },
        ],
    },
];
