//! `GET /health`: this member, and its peers as it sees them, in words that clients of the replicated log know.
//!
//! It answers without a quorum: everything is what the core knows. It refuses to be a probe: `/livez` and `/readyz` of the
//! admin port are, and whoever restarts a member because it has no quorum makes things worse.

use holdfast_api::HeartbeatSettings;
use holdfast_api::http::{
    Health, HealthStatus, HealthWords, LogRole, NodeRole, PeerHealth, PeerHealthStatus, PeerStatus, Quorum,
    Role, Status,
};
use holdfast_api::names;
use holdfast_engine::Ordinal;
use http::StatusCode;
use warp::Filter;
use warp::reply::Response;

use super::{Context, Group, Head, Query, head, json, settle, with};
use crate::core::Figures;
use crate::files::nodes;
use crate::problem::Problem;

/// Heartbeats that a healthy peer may miss. One that is late is nothing on a busy machine.
const HEARTBEATS_MISSED_MAX: u32 = 3;

/// What clients of files call whoever knows where files are. Every member does.
const NAMING_SERVICE: &str = "naming-service";

/// The routes of this module.
pub(super) fn routes(context: Context) -> Group {
    warp::path("health")
        .and(warp::path::end())
        .and(warp::get().or(warp::head()).unify())
        .and(with(context))
        .and(head())
        .then(async |context: Context, head: Head| settle(answer(&context, &head).await))
        .boxed()
}

async fn answer(context: &Context, head: &Head) -> Result<Response, Problem> {
    Query::parse(&head.query, &[])?;
    let (status, figures) = context.running.figures().await?;
    let settings = context.running.settings();
    let health = health(&status, &figures, settings.heartbeat);
    Ok(json(StatusCode::OK, &said_in(settings.health_words, health)))
}

/// A health as the clients of a store read it.
fn said_in(words: HealthWords, health: Health) -> Health {
    match words {
        HealthWords::MessageLog => health,
        HealthWords::Files => Health {
            status: match health.status {
                // It answers, but can neither take a file nor say for certain where one is.
                HealthStatus::ReadOnly | HealthStatus::Down => HealthStatus::Down,
                HealthStatus::Healthy | HealthStatus::Degraded | HealthStatus::Up => HealthStatus::Up,
            },
            service: Some(NAMING_SERVICE.to_owned()),
            hostname: Some(health.server_id.clone()),
            ..health
        },
    }
}

/// How a member is, by what its core says and how often heartbeats are due.
pub(super) fn health(status: &Status, figures: &Figures, heartbeat: HeartbeatSettings) -> Health {
    let peers: Vec<(u8, PeerHealth)> =
        status.peers.iter().map(|one| (one.ordinal, peer(one, status, heartbeat))).collect();
    let quorum = quorum(status, &peers);
    let reason = reason(status, figures, quorum);
    Health {
        status: match (quorum.has, &reason) {
            (false, _) => HealthStatus::ReadOnly,
            (true, Some(_)) => HealthStatus::Degraded,
            (true, None) => HealthStatus::Healthy,
        },
        role: if status.role == Role::Leader { LogRole::Master } else { LogRole::Secondary },
        server_id: server_id(status, status.member),
        node_id: nodes::name(Ordinal(status.member)),
        node: node_role(status, status.member),
        service: None,
        hostname: None,
        message_count: figures.messages,
        member_role: status.role,
        term: status.term,
        leader: status.leader.map(|leader| server_id(status, leader)),
        quorum,
        read_only: !quorum.has || figures.disk_full,
        reason: reason.or_else(|| status.note.clone()),
        peers: peers.into_iter().map(|(_, peer)| peer).collect(),
        faults: status.faults,
    }
}

/// What a member is to clients of files.
pub(super) fn node_role(status: &Status, member: u8) -> NodeRole {
    let leads = status.leader == Some(member) || status.member == member && status.role == Role::Leader;
    match status.voters.contains(&member) {
        _ if leads => NodeRole::Main,
        true => NodeRole::Replica,
        false => NodeRole::Backup,
    }
}

/// A peer is there if what it owes this member comes: heartbeats and their answers between a leader and its followers.
/// Followers owe each other nothing but a connection.
fn peer(peer: &PeerStatus, status: &Status, heartbeat: HeartbeatSettings) -> PeerHealth {
    let heard_within = |most: std::time::Duration| {
        peer.last_heartbeat_ms_ago.is_some_and(|ms| u128::from(ms) <= most.as_millis())
    };
    let owes = status.role == Role::Leader || status.leader == Some(peer.ordinal);
    let late = owes && !heard_within(heartbeat.interval.get() * HEARTBEATS_MISSED_MAX);
    let gone = (owes || !peer.connected) && !heard_within(heartbeat.timeout.get());
    PeerHealth {
        server_id: server_id(status, peer.ordinal),
        status: if gone {
            PeerHealthStatus::Unhealthy
        } else if late || !peer.connected {
            PeerHealthStatus::Suspected
        } else {
            PeerHealthStatus::Healthy
        },
        connected: peer.connected,
        last_heard_ms_ago: peer.last_heartbeat_ms_ago,
        round_trip_ms: peer.round_trip_ms,
        lag: peer.lag,
    }
}

/// Whether there are enough, as this member sees it. A leader that has lost its majority knows so before it steps down.
fn quorum(status: &Status, peers: &[(u8, PeerHealth)]) -> Quorum {
    let voters = &status.voters;
    let others = peers
        .iter()
        .filter(|(ordinal, peer)| voters.contains(ordinal) && peer.status != PeerHealthStatus::Unhealthy);
    let there = others.count() as u8 + u8::from(voters.contains(&status.member));
    let needed = voters.len() as u8 / 2 + 1;
    let leader = status.leader.filter(|leader| {
        let of_leader = peers.iter().find(|(ordinal, _)| ordinal == leader);
        of_leader.is_none_or(|(_, peer)| peer.status != PeerHealthStatus::Unhealthy)
    });
    Quorum { has: leader.is_some() && there >= needed, voters: voters.len() as u8, there, needed }
}

/// Why the member is not healthy.
fn reason(status: &Status, figures: &Figures, quorum: Quorum) -> Option<String> {
    let Quorum { has, voters, there, needed } = quorum;
    if status.role == Role::Unformed {
        Some("the store is not formed yet, or this member does not know it".to_owned())
    } else if !has && there < needed {
        Some(format!("no quorum: {there} of {voters} members are there, {needed} are needed"))
    } else if !has {
        Some("nobody leads at the moment".to_owned())
    } else if figures.disk_full {
        Some(status.note.clone().unwrap_or_else(|| "the disk is full".to_owned()))
    } else if status.role == Role::Learner {
        Some("this member is catching up and does not vote yet".to_owned())
    } else {
        None
    }
}

/// A member's name.
pub(super) fn server_id(status: &Status, ordinal: u8) -> String {
    let store = status.store.rsplit_once('/').map_or(status.store.as_str(), |(_, name)| name);
    names::member(store, ordinal)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use holdfast_api::http::Positions;
    use holdfast_api::{Span, Strategy};
    use holdfast_store::Store;

    use super::*;

    /// Member 0 of three, with peers that were heard of so many milliseconds ago; a negative number says that the
    /// connection is gone too.
    fn status(role: Role, leader: Option<u8>, heard: [i64; 2]) -> Status {
        let peers = heard.into_iter().zip(1..).map(|(ms, ordinal)| PeerStatus {
            ordinal,
            incarnation: None,
            connected: ms >= 0,
            match_: None,
            durable: None,
            lag: None,
            round_trip_ms: None,
            last_heartbeat_ms_ago: Some(ms.unsigned_abs()),
        });
        Status {
            store: "default/messages".to_owned(),
            store_id: None,
            strategy: Strategy::Replication,
            member: 0,
            incarnation: String::new(),
            version: String::new(),
            role,
            leader,
            term: 3,
            voters: vec![0, 1, 2],
            replicas: 3,
            positions: Positions::default(),
            revision: 1,
            state_hash: None,
            peers: peers.collect(),
            last_checkpoint: None,
            note: None,
            faults: None,
            in_sync: None,
        }
    }

    fn figures(disk_full: bool) -> Figures {
        Figures {
            statistics: Store::new().statistics(),
            writes_pending: 0,
            reads_pending: 0,
            messages: 7,
            log_bytes: 0,
            disk_full,
            disk_waits: Duration::ZERO,
        }
    }

    const HEARTBEAT: HeartbeatSettings =
        HeartbeatSettings { interval: Span::from_millis(100), timeout: Span::from_secs(1) };

    fn check(status: Status, expected: HealthStatus, peers: [PeerHealthStatus; 2]) -> Health {
        let health = health(&status, &figures(false), HEARTBEAT);
        assert_eq!(
            (health.status, health.peers[0].status, health.peers[1].status),
            (expected, peers[0], peers[1])
        );
        assert_eq!(health.read_only, expected == ReadOnly);
        assert_eq!(health.quorum.has, expected != ReadOnly);
        health
    }

    use HealthStatus::{Healthy as Well, ReadOnly};
    use PeerHealthStatus::{Healthy, Suspected, Unhealthy};

    #[test]
    fn a_leader_judges_by_what_its_followers_answer() {
        let health = check(status(Role::Leader, Some(0), [40, 250]), Well, [Healthy, Healthy]);
        assert_eq!((health.role, health.server_id.as_str()), (LogRole::Master, "messages-0"));
        assert_eq!(health.message_count, 7);
        assert_eq!((health.node_id.as_str(), health.node), ("node-1", NodeRole::Main));
        assert_eq!(health.leader.as_deref(), Some("messages-0"));
        check(status(Role::Leader, Some(0), [40, 400]), Well, [Healthy, Suspected]);
        check(status(Role::Leader, Some(0), [40, -50]), Well, [Healthy, Suspected]);
        check(status(Role::Leader, Some(0), [40, 1001]), Well, [Healthy, Unhealthy]);
        let health = check(status(Role::Leader, Some(0), [-3000, 1001]), ReadOnly, [Unhealthy, Unhealthy]);
        let reason = health.reason.expect("a reason");
        assert_eq!(reason, "no quorum: 1 of 3 members are there, 2 are needed");
    }

    #[test]
    fn followers_owe_each_other_a_connection() {
        let health = check(status(Role::Follower, Some(1), [40, 90_000]), Well, [Healthy, Healthy]);
        assert_eq!((health.role, health.leader.as_deref()), (LogRole::Secondary, Some("messages-1")));
        assert_eq!(health.node, NodeRole::Replica);
        check(status(Role::Follower, Some(1), [40, -90_000]), Well, [Healthy, Unhealthy]);
        check(status(Role::Follower, Some(1), [1500, 90_000]), ReadOnly, [Unhealthy, Healthy]);
        let health = check(status(Role::Candidate, None, [900, 90_000]), ReadOnly, [Healthy, Healthy]);
        assert_eq!(health.reason.as_deref(), Some("nobody leads at the moment"));
    }

    #[test]
    fn clients_of_files_read_their_own_words() {
        let said = |full, heard| {
            let health = health(&status(Role::Leader, Some(0), heard), &figures(full), HEARTBEAT);
            serde_json::to_value(said_in(HealthWords::Files, health)).expect("JSON")
        };
        let well = said(false, [40, 40]);
        let shown = ["status", "node_id", "node", "service", "hostname"].map(|field| well[field].clone());
        assert_eq!(shown, ["UP", "node-1", "main", "naming-service", "messages-0"]);
        assert_eq!(said(true, [40, 40])["status"], "UP", "what is there is served");
        assert_eq!(said(false, [-3000, -3000])["status"], "DOWN");
    }

    #[test]
    fn what_else_is_wrong_is_said() {
        let leader = status(Role::Leader, Some(0), [40, 40]);
        let full = health(&leader, &figures(true), HEARTBEAT);
        assert_eq!((full.status, full.read_only), (HealthStatus::Degraded, true));
        let learner = health(&status(Role::Learner, Some(1), [40, 40]), &figures(false), HEARTBEAT);
        assert_eq!((learner.status, learner.read_only), (HealthStatus::Degraded, false));
        let noted = Status { note: Some("n".to_owned()), ..leader };
        let noted = health(&noted, &figures(false), HEARTBEAT);
        assert_eq!((noted.status, noted.reason.as_deref()), (Well, Some("n")));
    }
}
