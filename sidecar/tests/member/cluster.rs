//! What the routes say when there are several members, and when some of them are gone.

use serde_json::json;

use crate::process::{Cluster, Events};

#[test]
fn any_member_takes_any_request() {
    let cluster = Cluster::start();
    let (leader, followers) = cluster.roles();
    let put = cluster.member(followers[0]).put("/v1/kv/a", b"1");
    assert_eq!(put.status, 200, "{}", put.text());
    assert!(put.json()["concern"]["reached"].as_u64() >= Some(2), "{}", put.text());
    assert!(put.json().get("warning").is_none());
    assert_eq!(cluster.member(followers[1]).get("/v1/kv/a").body, b"1");
    assert_eq!(cluster.member(leader).get("/v1/kv/a").body, b"1");

    let fast = cluster.member(followers[0]).put("/v1/kv/a?w=1", b"2");
    assert_eq!(fast.status, 200);
    assert!(
        fast.json()["warning"].as_str().is_some_and(|warning| warning.contains("may undo")),
        "{}",
        fast.text()
    );
    let all = cluster.member(followers[0]).put("/v1/kv/a?w=all", b"3").json();
    assert_eq!(all["concern"], json!({"requested": "all", "reached": 3}));
    assert_eq!(cluster.member(leader).put("/v1/kv/a?w=4", b"").problem(400), "ConcernTooHigh");

    let (mut watch, _) = Events::open(cluster.member(followers[1]), "/v1/watch?prefix=w", &[]);
    assert_eq!(cluster.member(followers[0]).put("/v1/kv/w", b"4").status, 200);
    assert_eq!(watch.next().expect("an event").data["events"][0]["value"], "4");

    let status = cluster.member(leader).get("/v1/status").json();
    for peer in status["peers"].as_array().expect("peers") {
        assert_eq!(peer["connected"], true, "{peer}");
        assert!(peer["match"].as_u64() > Some(0) && peer["lastHeartbeatMsAgo"].is_number(), "{peer}");
    }
    let scrape = cluster.member(leader).get_admin("/metrics").text();
    for family in holdfast_sidecar::metrics::Metrics::example().definitions() {
        assert!(scrape.contains(&format!("# TYPE {} ", family.name)), "no {} in\n{scrape}", family.name);
    }
}

#[test]
fn a_concern_that_is_not_met_in_time_is_done_with_a_warning() {
    let mut cluster = Cluster::start();
    let (leader, followers) = cluster.roles();
    cluster.take(followers[0]).kill();
    let put = cluster.member(leader).put("/v1/kv/a?w=all&timeout=300ms", b"1");
    assert_eq!(put.status, 202, "{}", put.text());
    assert_eq!(put.json()["concern"], json!({"requested": "all", "reached": 2}));
    assert!(
        put.json()["warning"].as_str().is_some_and(|warning| warning.contains("committed")),
        "{}",
        put.text()
    );
    assert_eq!(cluster.member(followers[1]).get("/v1/kv/a").body, b"1");
}

#[test]
fn without_a_majority_a_member_is_alive_not_ready_and_says_which_outcome() {
    let mut cluster = Cluster::start();
    let (leader, followers) = cluster.roles();
    assert_eq!(cluster.member(leader).put("/v1/kv/a?w=all", b"1").status, 200);
    cluster.take(leader).kill();
    cluster.take(followers[0]).kill();
    let left = cluster.member(followers[1]);
    assert_eq!(left.get_admin("/livez").status, 200);
    left.until("not ready", || left.get_admin("/readyz").status == 503);
    let checks = left.get_admin("/readyz").text();
    assert!(checks.contains("[-]linearizable-read failed"), "{checks}");
    assert!(checks.contains("[+]formed ok"), "{checks}");

    let put = left.put("/v1/kv/a?timeout=500ms", b"2");
    assert_eq!(put.problem(503), "NoLeader");
    let problem = put.json();
    assert_eq!((&problem["outcome"], &problem["retryable"]), (&json!("refused"), &json!(true)));
    assert!(!put.header("retry-after").is_empty());
    assert_eq!(left.get("/v1/kv/a?timeout=500ms").problem(503), "NoLeader");
    assert_eq!(left.get("/v1/kv/a?read=local").body, b"1");

    cluster.restart(leader);
    let left = cluster.member(followers[1]);
    left.until("ready again", || left.get_admin("/readyz").status == 200);
    assert_eq!(left.get("/v1/kv/a").body, b"1", "what was refused did not happen");
}

#[test]
fn a_leader_that_cannot_commit_does_not_know() {
    let mut cluster = Cluster::start();
    let (leader, followers) = cluster.roles();
    for follower in &followers {
        // Nothing tells the leader that nobody will answer.
        cluster.member(*follower).freeze();
    }
    let put = cluster.member(leader).put("/v1/kv/a?timeout=200ms", b"1");
    assert_eq!(put.problem(504), "OutcomeUnknown");
    assert_eq!((&put.json()["outcome"], &put.json()["retryable"]), (&json!("unknown"), &json!(false)));
    let stamped = cluster.member(leader).put("/v1/kv/b?timeout=200ms&session=1&sequence=1", b"1");
    // By now it may have stepped down; either way a session makes the retry safe.
    assert!([503, 504].contains(&stamped.status), "{}", stamped.text());
    assert_eq!(stamped.json()["retryable"], true, "{}", stamped.text());
    for follower in &followers {
        cluster.member(*follower).unfreeze();
    }
    let member = cluster.member(leader);
    member.until("ready again", || member.get_admin("/readyz").status == 200);
    let stamped = member.put("/v1/kv/b?session=1&sequence=1", b"1");
    assert_eq!(stamped.status, 200, "{}", stamped.text());
    assert_eq!(cluster.take(leader).stop().iter().filter(|line| line.contains("cut off")).count(), 0);
}

#[test]
fn a_leader_that_is_told_to_stop_hands_over_first() {
    let mut cluster = Cluster::start();
    let (leader, followers) = cluster.roles();
    assert_eq!(cluster.member(leader).put("/v1/kv/a", b"1").status, 200);
    let before = cluster.member(leader).get("/v1/status").json()["term"].as_u64();
    cluster.take(leader).stop();
    // It returns only after its end, so that somebody else must lead already: no election timeout passes.
    let put = cluster.member(followers[0]).put("/v1/kv/b?timeout=900ms", b"2");
    assert_eq!(put.status, 200, "{}", put.text());
    let (next, _) = cluster.roles();
    assert_ne!(next, leader);
    let after = cluster.member(next).get("/v1/status").json()["term"].as_u64();
    assert_eq!(after, before.map(|term| term + 1), "one election");

    cluster.restart(leader);
    let moved = cluster
        .member(leader)
        .post_admin("/v1/leadership/transfer", json!({"to": leader}).to_string().as_bytes());
    assert_eq!((moved.status, &moved.json()["leader"]), (200, &json!(leader)), "{}", moved.text());
    assert_eq!(cluster.roles().0, leader);
    assert_eq!(cluster.member(leader).get("/v1/kv/b").body, b"2");
}
