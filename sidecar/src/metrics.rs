//! What a member counts and times: every `holdfast_*` family, made once per member.
//!
//! Label values come from closed sets (ordinals, routes, reasons): never a key, a client, or an error's text. Figures
//! that the core knows at any moment are read from its status when somebody scrapes; what would be missed between two
//! scrapes (durations, counts of events) is counted where it happens, by the instruments here.

mod files;
mod instrument;
mod labels;
mod reference;
mod show;
mod state;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use holdfast_engine::{MEMBERS_MAX, Ordinal};
use prometheus::{GaugeVec, HistogramVec, IntCounterVec};

pub use instrument::{Counter, Definition, Gauge, Kind, Timing};
pub use labels::{AppendResult, CheckpointResult, PeerRefusal, Port, ProposalFailure, ReloadResult};
pub use reference::reference;

pub(crate) use files::{FilesMetrics, TransferResult};
pub(crate) use instrument::Reading;

use instrument::{Families, counter, gauge, timing};
use state::State;

/// The label that names another member by its ordinal.
const PEER: &str = "peer";

/// fsync, commit and round trip: 0.125 ms to 8.192 s, each bound twice the one before, so that 1 ms and its powers of
/// two are bounds themselves.
const DISK_BUCKETS: [f64; 17] = [
    0.000_125, 0.000_25, 0.000_5, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512,
    1.024, 2.048, 4.096, 8.192,
];

/// HTTP requests: 0.25 ms to 10 s.
const REQUEST_BUCKETS: [f64; 15] =
    [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Checkpoints: 10 ms to 300 s.
const CHECKPOINT_BUCKETS: [f64; 14] =
    [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];

/// All of one member's metrics. A clone counts into the same families.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// From a proposal's arrival in the leader's log to its commit.
    pub commit_seconds: Timing,
    /// One fdatasync of the log, whatever it covers.
    pub fsync_seconds: Timing,
    /// One checkpoint, from its beginning until it is durable.
    pub checkpoint_seconds: Timing,
    /// Proposals of this member's requests that were committed.
    pub proposals_committed: Counter,
    /// Entries that this member executed.
    pub proposals_applied: Counter,
    /// Entries that this member executed as a leader and undid, because a failover dropped them.
    pub proposals_rolled_back: Counter,
    /// Those of them that had been acknowledged, with a concern of 1.
    pub acknowledged_rolled_back: Counter,
    /// How often this member saw another leader than before.
    pub leader_changes: Counter,
    /// Elections that this member started.
    pub campaigns: Counter,
    /// What this member has written to its disk.
    pub disk_written_bytes: Counter,
    /// Bytes on the disk that were read again and are as they were written.
    pub scrubbed_bytes: Counter,
    /// How often all of the disk was read again.
    pub scrubs: Counter,
    /// Watchers that are connected.
    pub watch_streams: Gauge,
    /// Events sent to watchers.
    pub watch_events: Counter,
    /// Streams of message logs that are connected.
    pub log_followers: Gauge,
    /// HTTP requests that wait for the head of their answer.
    pub http_in_flight: Gauge,
    /// What the core's status says, written down at each scrape.
    state: State,
    /// What is counted and timed of files.
    pub(crate) files: FilesMetrics,
    peers: Vec<Peer>,
    me: Ordinal,
    /// The peers that are scraped are those below: members come and go.
    peers_shown: Arc<AtomicUsize>,
    appends: IntCounterVec,
    append_seconds: Timing,
    proposals_failed: IntCounterVec,
    checkpoints: IntCounterVec,
    reloads: IntCounterVec,
    http_requests: IntCounterVec,
    http_seconds: HistogramVec,
    connections: GaugeVec,
    connections_refused: IntCounterVec,
    peer_connections_refused: IntCounterVec,
    families: Families,
}

/// What is measured of one peer.
#[derive(Clone, Debug)]
pub struct Peer {
    /// From a ping to its answer.
    pub round_trip_seconds: Timing,
    /// Bytes written to its connections.
    pub sent_bytes: Counter,
    /// Bytes read from its connections.
    pub received_bytes: Counter,
    /// Messages that were dropped because its queue was full or its connection down.
    pub send_failures: Counter,
    /// Whether there is a connection to it.
    pub connected: Gauge,
}

impl Metrics {
    /// All families of the member `ordinal` of the store `store`, with a series for every peer among `members`.
    ///
    /// `process` says whether this process is this member's alone, so that its memory and descriptors are the
    /// member's too.
    pub fn new(store: &str, ordinal: Ordinal, members: u8, process: bool) -> Metrics {
        let labels = [("store", store.to_owned()), ("member", ordinal.to_string())];
        let labels: HashMap<_, _> = labels.map(|(name, value)| (name.to_owned(), value)).into();
        let mut families = Families::new(labels);
        let f = &mut families;
        let state = State::new(f);
        let peers = Peer::all(f);
        let files = FilesMetrics::new(f);
        let metrics = Metrics {
            files,
            commit_seconds: f.timing(
                "holdfast_commit_seconds",
                "From a proposal's arrival in the leader's log to its commit.",
                &DISK_BUCKETS,
            ),
            fsync_seconds: f.timing("holdfast_fsync_seconds", "One fdatasync of the log.", &DISK_BUCKETS),
            checkpoint_seconds: f.timing(
                "holdfast_checkpoint_seconds",
                "One checkpoint, from its beginning until it is durable.",
                &CHECKPOINT_BUCKETS,
            ),
            proposals_committed: f.counter(
                "holdfast_proposals_committed_total",
                "Entries that this member proposed as a leader and that were committed.",
            ),
            proposals_applied: f
                .counter("holdfast_proposals_applied_total", "Entries that this member executed."),
            proposals_rolled_back: f.counter(
                "holdfast_proposals_rolled_back_total",
                "Entries that this member executed as a leader and undid, because a failover dropped them.",
            ),
            acknowledged_rolled_back: f.counter(
                "holdfast_acknowledged_rolled_back_total",
                "Writes that this member acknowledged with concern 1 as a leader, and that a failover dropped.",
            ),
            leader_changes: f.counter(
                "holdfast_leader_changes_total",
                "How often this member saw another leader than before.",
            ),
            campaigns: f.counter("holdfast_campaigns_total", "Elections that this member started."),
            disk_written_bytes: f.counter(
                "holdfast_disk_written_bytes_total",
                "Bytes of the log, votes, the identity and checkpoints that were written and flushed; without the zeros that \
                 segments of the log are filled with before they are used.",
            ),
            scrubbed_bytes: f.counter(
                "holdfast_scrubbed_bytes_total",
                "Bytes on the member's disk that were read again and are as they were written.",
            ),
            scrubs: f.counter("holdfast_scrubs_total", "How often all of the member's disk was read again."),
            watch_streams: f.gauge("holdfast_watch_streams", "Watchers that are connected."),
            watch_events: f.counter("holdfast_watch_events_total", "Events sent to watchers."),
            log_followers: f
                .gauge("holdfast_log_followers", "Streams of message logs that are connected."),
            http_in_flight: f.gauge(
                "holdfast_http_requests_in_flight",
                "HTTP requests that wait for the head of their answer.",
            ),
            state,
            peers,
            me: ordinal,
            peers_shown: Arc::new(AtomicUsize::new(members.into())),
            appends: f.counters(
                "holdfast_log_appends_total",
                "Messages that clients of this member wanted to append, by what became of them.",
                &["result"],
            ),
            append_seconds: f.timing(
                "holdfast_log_append_seconds",
                "From an append's head to its answer, whatever it waited for.",
                &REQUEST_BUCKETS,
            ),
            proposals_failed: f.counters(
                "holdfast_proposals_failed_total",
                "Proposals that came to nothing or whose outcome is unknown, by reason.",
                &["reason"],
            ),
            checkpoints: f.counters("holdfast_checkpoints_total", "Checkpoints that ended.", &["result"]),
            reloads: f.counters(
                "holdfast_settings_reloads_total",
                "Changes of the settings file that were seen, by what became of them.",
                &["result"],
            ),
            http_requests: f.counters(
                "holdfast_http_requests_total",
                "HTTP requests answered, by route, method and class of the status code.",
                &["route", "method", "code"],
            ),
            http_seconds: f.timings(
                "holdfast_http_request_seconds",
                "From an HTTP request's head to the head of its answer.",
                &["route", "method"],
                &REQUEST_BUCKETS,
            ),
            connections: f.gauges("holdfast_http_connections", "Open HTTP connections.", &["port"]),
            connections_refused: f.counters(
                "holdfast_http_connections_refused_total",
                "HTTP connections refused because too many were open.",
                &["port"],
            ),
            peer_connections_refused: f.counters(
                "holdfast_peer_connections_refused_total",
                "Connections to the peer port that were turned away or closed for what came over them.",
                &["reason"],
            ),
            families,
        };
        metrics.show_closed_sets();
        if process { metrics.with_process() } else { metrics }
    }

    /// Metrics of no real member, for the reference and for tests.
    pub fn example() -> Metrics {
        Metrics::new("example", Ordinal(0), 3, true)
    }

    /// From now on there is a series for every peer among so many members.
    pub fn show_peers(&self, members: usize) {
        self.peers_shown.store(members, Relaxed);
    }

    /// What is measured of the peer `ordinal`. Of a member that the store does not have there is a series that
    /// nobody scrapes.
    pub fn peer(&self, ordinal: Ordinal) -> &Peer {
        &self.peers[usize::from(ordinal.0).min(self.peers.len() - 1)]
    }

    /// Whose metrics they are.
    pub(crate) fn ordinal(&self) -> Ordinal {
        self.me
    }

    /// A proposal failed.
    pub fn proposal_failed(&self, reason: ProposalFailure) {
        counter(&self.proposals_failed, &[reason.name()]).increment();
    }

    /// A client of this member wanted to append a message, and was answered.
    pub(crate) fn message_appended(&self, result: AppendResult, took: std::time::Duration) {
        counter(&self.appends, &[result.name()]).increment();
        self.append_seconds.observe(took);
    }

    /// A checkpoint ended.
    pub fn checkpoint(&self, result: CheckpointResult) {
        counter(&self.checkpoints, &[result.name()]).increment();
    }

    /// A change of the settings file was seen.
    pub fn settings_reloaded(&self, result: ReloadResult) {
        counter(&self.reloads, &[result.name()]).increment();
    }

    /// A connection to the peer port was turned away, or closed for what came over it.
    pub fn peer_refused(&self, reason: PeerRefusal) {
        counter(&self.peer_connections_refused, &[reason.name()]).increment();
    }

    /// An HTTP request was answered. All three come from closed sets: the route table, the methods it names, and
    /// `1xx` to `5xx`.
    pub(crate) fn http_answered(
        &self,
        route: &'static str,
        method: &'static str,
        code: &'static str,
        took: std::time::Duration,
    ) {
        counter(&self.http_requests, &[route, method, code]).increment();
        timing(&self.http_seconds, &[route, method]).observe(took);
    }

    /// Open connections of a listener.
    pub(crate) fn connections(&self, port: Port) -> Gauge {
        gauge(&self.connections, &[port.name()])
    }

    /// Connections that a listener refused because too many were open.
    pub(crate) fn connections_refused(&self, port: Port) -> Counter {
        counter(&self.connections_refused, &[port.name()])
    }

    /// Everything in Prometheus' text format 0.0.4.
    pub fn text(&self) -> String {
        let shown = self.peers_shown.load(Relaxed);
        self.families.text(PEER, |peer| {
            peer.parse().is_ok_and(|ordinal: u8| usize::from(ordinal) < shown && Ordinal(ordinal) != self.me)
        })
    }

    /// Every family, in the order of the reference.
    pub fn definitions(&self) -> &[Definition] {
        self.families.definitions()
    }

    /// A series that appears only with its first event is missed by `rate()`, so all of them start at 0.
    fn show_closed_sets(&self) {
        for reason in ProposalFailure::ALL {
            counter(&self.proposals_failed, &[reason.name()]);
        }
        for result in AppendResult::ALL {
            counter(&self.appends, &[result.name()]);
        }
        for result in CheckpointResult::ALL {
            counter(&self.checkpoints, &[result.name()]);
        }
        for result in ReloadResult::ALL {
            counter(&self.reloads, &[result.name()]);
        }
        for reason in PeerRefusal::ALL {
            counter(&self.peer_connections_refused, &[reason.name()]);
        }
        for port in Port::ALL {
            gauge(&self.connections, &[port.name()]);
            counter(&self.connections_refused, &[port.name()]);
        }
    }

    fn with_process(mut self) -> Metrics {
        self.families.process();
        self
    }
}

impl Peer {
    /// One per ordinal, [`MEMBERS_MAX`] of them.
    fn all(f: &mut Families) -> Vec<Peer> {
        let label = &[PEER];
        let round_trip = f.timings(
            "holdfast_peer_round_trip_seconds",
            "From a ping on the peer connection to its answer.",
            label,
            &DISK_BUCKETS,
        );
        let sent =
            f.counters("holdfast_peer_sent_bytes_total", "Bytes written to the peer's connections.", label);
        let received = f.counters(
            "holdfast_peer_received_bytes_total",
            "Bytes read from the peer's connections.",
            label,
        );
        let failures = f.counters(
            "holdfast_peer_send_failures_total",
            "Messages dropped because the peer's queue was full or its connection down.",
            label,
        );
        let connected =
            f.gauges("holdfast_peer_connected", "1 while there is a connection to the peer.", label);
        (0..MEMBERS_MAX as u8)
            .map(|ordinal| {
                let name = ordinal.to_string();
                let values = &[name.as_str()];
                Peer {
                    round_trip_seconds: timing(&round_trip, values),
                    sent_bytes: counter(&sent, values),
                    received_bytes: counter(&received, values),
                    send_failures: counter(&failures, values),
                    connected: gauge(&connected, values),
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_name_has_our_prefix_or_is_spelled_as_everywhere() {
        for family in Metrics::example().definitions() {
            let name = &family.name;
            assert!(name.starts_with("holdfast_") || name.starts_with("process_"), "{name}");
            assert_eq!(name.ends_with("_total"), family.kind == Kind::Counter, "{name}");
            assert_eq!(family.buckets.is_empty(), family.kind != Kind::Histogram, "{name}");
            assert!(family.help.ends_with('.'), "{name}: the help is no sentence");
        }
    }

    #[test]
    fn no_label_can_hold_a_key_or_a_client() {
        let closed = [
            "code",
            "durability",
            "method",
            "peer",
            "port",
            "reason",
            "result",
            "role",
            "route",
            "state",
            "status",
            "strategy",
            "version",
        ];
        for family in Metrics::example().definitions() {
            for label in &family.labels {
                assert!(closed.contains(&label.as_str()), "{}: label {label}", family.name);
            }
        }
    }

    #[test]
    fn a_scrape_says_what_was_counted_and_who_counted_it() {
        let metrics = Metrics::new("orders", Ordinal(1), 3, false);
        metrics.proposal_failed(ProposalFailure::Overloaded);
        metrics.fsync_seconds.observe(Duration::from_micros(300));
        metrics.http_answered("/v1/kv/{key}", "PUT", "2xx", Duration::from_millis(1));
        metrics.peer(Ordinal(2)).sent_bytes.add(7);
        metrics.peer(Ordinal(1)).sent_bytes.add(9);
        let text = metrics.text();
        let has = |name: &str, labels: &[&str], value: &str| {
            // The registry's own labels come in any order.
            let found = text.lines().any(|line| {
                let rest = line.strip_prefix(name).and_then(|rest| rest.strip_prefix('{'));
                let Some((all, seen)) = rest.and_then(|rest| rest.rsplit_once("} ")) else { return false };
                seen == value
                    && labels.iter().chain(&[r#"member="1""#, r#"store="orders""#]).all(|l| all.contains(l))
            });
            assert!(found, "no {name} {labels:?} {value} in:\n{text}");
        };
        has("holdfast_proposals_failed_total", &[r#"reason="overloaded""#], "1");
        has("holdfast_proposals_failed_total", &[r#"reason="lost""#], "0");
        has("holdfast_fsync_seconds_bucket", &[r#"le="0.00025""#], "0");
        has("holdfast_fsync_seconds_bucket", &[r#"le="0.0005""#], "1");
        let request = &[r#"code="2xx""#, r#"method="PUT""#, r#"route="/v1/kv/{key}""#];
        has("holdfast_http_requests_total", request, "1");
        has("holdfast_peer_sent_bytes_total", &[r#"peer="2""#], "7");
        assert!(!text.contains(r#"peer="1""#), "a member is no peer of its own");
        assert!(!text.contains(r#"peer="3""#), "a store of three has no ordinal 3");
        metrics.show_peers(4);
        assert!(metrics.text().contains(r#"peer="3""#), "a store of four has");
        metrics.show_peers(1);
        let text = metrics.text();
        assert!(
            text.contains(r#"peer="0""#) && !text.contains(r#"peer="2""#),
            "a removed member is no peer:\n{text}"
        );
    }

    #[test]
    fn a_followed_count_never_falls() {
        let metrics = Metrics::example();
        metrics.campaigns.follow(5);
        metrics.campaigns.follow(3);
        metrics.campaigns.follow(6);
        assert_eq!(metrics.campaigns.value(), 6);
    }
}
