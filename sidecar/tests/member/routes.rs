//! Every route of both ports against a real member, over a real connection.

use std::time::Duration;

use crate::process::{BASELINE, CHECKPOINTING, Events, Process, REPLICATION, Store};
use serde_json::json;

fn member() -> (Store, Process) {
    let store = Store::new(BASELINE);
    let process = store.start();
    (store, process)
}

#[test]
fn a_key_is_put_read_and_deleted() {
    let (_store, member) = member();
    let put = member.put("/v1/kv/a", b"\x00\xffone");
    assert_eq!(put.status, 200, "{}", put.text());
    let reply = put.json();
    let revision = reply["revision"].as_u64().expect("a revision");
    assert_eq!(reply["concern"]["requested"], "majority");
    assert!(reply["term"].as_u64() > Some(0) && reply["index"].as_u64() > Some(0), "{reply}");
    assert_eq!(put.header("etag"), format!("\"{revision}\""));

    let got = member.get("/v1/kv/a");
    assert_eq!((got.status, got.body.as_slice()), (200, b"\x00\xffone".as_slice()));
    assert_eq!(got.header("etag"), format!("\"{revision}\""));
    assert_eq!(got.header("x-holdfast-revision"), revision.to_string());
    assert_eq!(got.header("content-type"), "application/octet-stream");
    let head = member.ask("HEAD", "/v1/kv/a", &[], b"");
    assert_eq!((head.status, head.body.len(), head.header("content-length")), (200, 0, "5"));

    let deleted = member.ask("DELETE", "/v1/kv/a", &[], b"");
    assert_eq!((deleted.status, &deleted.json()["deleted"]), (200, &json!(1)));
    let gone = member.get("/v1/kv/a");
    assert_eq!(gone.problem(404), "KeyNotFound");
    assert_eq!(gone.header("x-holdfast-revision"), (revision + 1).to_string());
    assert_eq!(member.ask("DELETE", "/v1/kv/a", &[], b"").json()["deleted"], 0);
    let before = member.get(&format!("/v1/kv/a?revision={revision}&read=local"));
    assert_eq!(before.body, b"\x00\xffone");
    assert_eq!(member.get("/v1/kv/a?revision=1000").problem(400), "FutureRevision");
}

#[test]
fn keys_are_decoded_once_and_may_hold_slashes() {
    let (_store, member) = member();
    assert_eq!(member.put("/v1/kv/a/b", b"1").status, 200);
    assert_eq!(member.get("/v1/kv/a%2Fb").body, b"1");
    assert_eq!(member.put("/v1/kv/%C3%A9%2525/", b"2").status, 200);
    let keys = member.get("/v1/kv").json();
    assert_eq!(keys["items"][0]["key"], "a/b");
    assert_eq!(keys["items"][1]["key"], "é%25/");
    assert_eq!(member.put("/v1/kv//", b"3").status, 200);
    assert_eq!(member.get("/v1/kv/%2F").body, b"3");

    assert_eq!(member.put("/v1/kv/%ff", b"").problem(400), "InvalidKey");
    assert_eq!(member.put("/v1/kv/%2", b"").problem(400), "InvalidKey");
    assert_eq!(member.put(&format!("/v1/kv/{}", "k".repeat(4096)), b"").status, 200);
    assert_eq!(member.put(&format!("/v1/kv/{}", "k".repeat(4097)), b"").problem(400), "InvalidKey");
    assert_eq!(member.put(&format!("/v1/kv/{}", "%6b".repeat(4097)), b"").problem(400), "InvalidKey");
}

#[test]
fn conditions_decide() {
    let (_store, member) = member();
    let put = |headers: &[(&str, &str)], value: &[u8]| member.ask("PUT", "/v1/kv/c", headers, value);
    let first = put(&[("If-None-Match", "*")], b"1");
    assert_eq!(first.status, 200);
    let exists = put(&[("If-None-Match", "*")], b"2");
    assert_eq!(exists.problem(412), "PreconditionFailed");
    assert_eq!(exists.header("etag"), first.header("etag"));
    assert_eq!(exists.json()["revision"], first.json()["revision"]);
    let second = put(&[("If-Match", first.header("etag"))], b"2");
    assert_eq!(second.status, 200);
    assert_eq!(put(&[("If-Match", first.header("etag"))], b"3").problem(412), "PreconditionFailed");
    assert_eq!(put(&[("If-Match", "2")], b"3").problem(400), "BadRequest");
    assert_eq!(member.get("/v1/kv/c").body, b"2");

    let unchanged = member.ask("GET", "/v1/kv/c", &[("If-None-Match", second.header("etag"))], b"");
    assert_eq!((unchanged.status, unchanged.body.len()), (304, 0));
    let changed = member.ask("GET", "/v1/kv/c", &[("If-None-Match", first.header("etag"))], b"");
    assert_eq!((changed.status, changed.body.as_slice()), (200, b"2".as_slice()));

    let stale = member.ask("DELETE", "/v1/kv/c", &[("If-Match", first.header("etag"))], b"");
    assert_eq!(stale.problem(412), "PreconditionFailed");
    let deleted = member.ask("DELETE", "/v1/kv/c", &[("If-Match", second.header("etag"))], b"");
    assert_eq!(deleted.status, 200);
    let absent = put(&[("If-Match", second.header("etag"))], b"3");
    assert_eq!((absent.problem(412).as_str(), &absent.json()["revision"]), ("PreconditionFailed", &json!(0)));
}

#[test]
fn what_no_route_takes_is_told_what_there_is() {
    let (_store, member) = member();
    let nowhere = member.get("/v2/kv");
    assert_eq!(nowhere.problem(404), "RouteNotFound");
    let detail = nowhere.json()["detail"].as_str().expect("a detail").to_owned();
    for route in ["GET|HEAD|PUT|DELETE /v1/kv/{key}", "POST /v1/txn", "GET /v1/watch"] {
        assert!(detail.contains(route), "{detail}");
    }
    assert_eq!(member.get("/v1/kv/").problem(404), "RouteNotFound");
    let wrong = member.ask("PATCH", "/v1/kv/a", &[], b"");
    assert_eq!(wrong.problem(405), "MethodNotAllowed");
    assert_eq!(wrong.header("allow"), "GET, HEAD, PUT, DELETE");
    assert_eq!(member.get("/v1/txn").problem(405), "MethodNotAllowed");
    assert_eq!(member.get_admin("/v1/kv").problem(404), "RouteNotFound");

    let unknown = member.put("/v1/kv/a?ww=1&w=1", b"");
    assert_eq!(unknown.problem(400), "BadRequest");
    let detail = unknown.json()["detail"].as_str().expect("a detail").to_owned();
    assert!(detail.contains("\"ww\"") && detail.contains("session"), "{detail}");
    assert_eq!(member.get("/v1/kv/a?w=1").problem(400), "BadRequest");
    assert_eq!(member.get("/v1/kv/a").problem(404), "KeyNotFound");
}

#[test]
fn what_is_too_large_is_refused_before_it_is_read() {
    let (_store, member) = member();
    let largest = vec![7; 1024 * 1024];
    assert_eq!(member.put("/v1/kv/big", &largest).status, 200);
    assert_eq!(member.get("/v1/kv/big").body.len(), largest.len());
    let larger = vec![7; 1024 * 1024 + 1];
    assert_eq!(member.put("/v1/kv/big", &larger).problem(413), "TooLarge");
    // It need not even arrive for a client that asks first.
    let asks = [("Expect", "100-continue"), ("Content-Length", "1048577")];
    assert_eq!(member.ask("PUT", "/v1/kv/big", &asks, b"").problem(413), "TooLarge");

    let chunk = |bytes: &[u8]| [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
    let chunked = |chunks: &[&[u8]]| {
        let mut body: Vec<u8> = chunks.iter().flat_map(|bytes| chunk(bytes)).collect();
        body.extend_from_slice(b"0\r\n\r\n");
        member.ask("PUT", "/v1/kv/chunked", &[("Transfer-Encoding", "chunked")], &body)
    };
    assert_eq!(chunked(&[b"one", b"two"]).status, 200);
    assert_eq!(member.get("/v1/kv/chunked").body, b"onetwo");
    assert_eq!(chunked(&[&largest, b"x"]).problem(413), "TooLarge");
    assert_eq!(member.get("/v1/kv/chunked").body, b"onetwo");
}

#[test]
fn a_listing_shows_one_revision_on_all_its_pages() {
    let (_store, member) = member();
    for key in ["p/a", "p/b", "p/c", "q"] {
        assert_eq!(member.put(&format!("/v1/kv/{key}"), key.as_bytes()).status, 200);
    }
    let first = member.get("/v1/kv?prefix=p%2F&limit=2").json();
    assert_eq!((&first["count"], first["items"].as_array().map(Vec::len)), (&json!(3), Some(2)));
    assert_eq!(first["items"][0]["value"], "p/a");
    let cursor = first["cursor"].as_str().expect("there is more");
    assert_eq!(member.put("/v1/kv/p/d", b"later").status, 200);
    let second = member.get(&format!("/v1/kv?prefix=p/&limit=2&cursor={cursor}")).json();
    assert_eq!(second["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(second["items"][0]["key"], "p/c");
    assert_eq!((&second["revision"], &second["count"]), (&first["revision"], &json!(3)));
    assert!(second.get("cursor").is_none(), "{second}");
    assert_eq!(member.get("/v1/kv?prefix=p/&read=local").json()["count"], 4);
    assert_eq!(member.get("/v1/kv?cursor=forged").problem(400), "BadRequest");
    assert_eq!(member.get("/v1/kv?limit=100000").problem(400), "BadRequest");
    assert_eq!(member.get(&format!("/v1/kv?prefix=q&cursor={cursor}")).problem(400), "BadRequest");
}

#[test]
fn a_transaction_is_one_revision() {
    let (_store, member) = member();
    let txn = |body: &serde_json::Value| member.ask("POST", "/v1/txn", &[], body.to_string().as_bytes());
    let lock = json!({
        "compare": [{"key": "lock", "version": 0}],
        "success": [{"put": {"key": "lock", "value": "me"}}, {"put": {"key": "since", "valueBase64": "/w=="}}],
        "failure": [{"get": {"key": "lock"}}],
    });
    let taken = txn(&lock).json();
    assert_eq!((&taken["succeeded"], taken["results"].as_array().map(Vec::len)), (&json!(true), Some(2)));
    let (one, other) = (member.get("/v1/kv/lock"), member.get("/v1/kv/since"));
    assert_eq!(one.header("etag"), other.header("etag"));
    assert_eq!(other.body, b"\xff");
    let held = txn(&lock).json();
    assert_eq!((&held["succeeded"], &held["revision"]), (&json!(false), &taken["revision"]));
    assert_eq!(held["results"][0]["get"]["items"][0]["value"], "me");

    assert_eq!(txn(&json!({"succes": []})).problem(400), "BadRequest");
    assert_eq!(member.ask("POST", "/v1/txn", &[], b"{").problem(400), "BadRequest");
    let twice =
        json!({"success": [{"put": {"key": "a", "value": "1"}}, {"put": {"key": "a", "value": "2"}}]});
    assert_eq!(txn(&twice).problem(400), "BadRequest");
    assert_eq!(member.get("/v1/kv/a").problem(404), "KeyNotFound");
}

#[test]
fn a_watch_tells_every_change_once_and_goes_on_where_it_was() {
    let (_store, member) = member();
    let (mut watch, started) = Events::open(&member, "/v1/watch?prefix=w/", &[]);
    let from = started.data["from"].as_u64().expect("a revision");
    assert_eq!(member.put("/v1/kv/other", b"").status, 200);
    assert_eq!(member.put("/v1/kv/w/a", b"1").status, 200);
    let both = json!({"success": [{"put": {"key": "w/b", "value": "2"}}, {"delete": {"key": "w/a"}}]});
    assert_eq!(member.ask("POST", "/v1/txn", &[], both.to_string().as_bytes()).status, 200);

    let first = watch.next().expect("an event");
    assert_eq!(
        (first.id.as_str(), &first.data["revision"]),
        ((from + 1).to_string().as_str(), &json!(from + 1))
    );
    assert_eq!(first.data["events"][0]["value"], "1");
    let second = watch.next().expect("an event");
    assert_eq!(
        second.data["events"].as_array().map(Vec::len),
        Some(2),
        "a revision is not parted: {second:?}"
    );
    assert_eq!(
        (&second.data["events"][0]["type"], &second.data["events"][1]["type"]),
        (&json!("delete"), &json!("put"))
    );

    let (mut again, started) =
        Events::open(&member, "/v1/watch?prefix=w/&from=1", &[("Last-Event-ID", &first.id)]);
    assert_eq!(started.data["from"], from + 2);
    assert_eq!(again.next(), Some(second));
    let scrape = member.get_admin("/metrics").text();
    assert!(has_sample(&scrape, "holdfast_watch_streams", &[], |value| value == 2.0), "{scrape}");
    drop(again);
    member.until("the closed watch is gone", || {
        let _ = member.put("/v1/kv/w/wake", b"");
        has_sample(&member.get_admin("/metrics").text(), "holdfast_watch_streams", &[], |value| value == 1.0)
    });

    member.signal("TERM");
    let end =
        std::iter::from_fn(|| watch.next()).find(|event| event.name == "end").expect("it says that it ends");
    assert_eq!(end.data["code"], "ShuttingDown");
    assert!(end.data["resume"].as_u64() > Some(from + 2), "{end:?}");
    assert_eq!(watch.next(), None);
}

#[test]
fn a_session_applies_a_write_once() {
    let (_store, member) = member();
    let put = |sequence: u64, value: &[u8]| {
        member.put(&format!("/v1/kv/s?session=ab12&sequence={sequence}"), value)
    };
    let first = put(1, b"1");
    assert_eq!(first.status, 200);
    assert_eq!(member.put("/v1/kv/s", b"2").status, 200);
    let repeated = put(1, b"1");
    assert_eq!(repeated.json()["revision"], first.json()["revision"]);
    assert_eq!(member.get("/v1/kv/s").body, b"2");
    assert_eq!(put(2, b"3").status, 200);
    assert_eq!(put(1, b"1").problem(409), "StaleSequence");
    assert_eq!(member.put("/v1/kv/s?session=ff&sequence=7", b"").problem(410), "SessionExpired");
    assert_eq!(member.put("/v1/kv/s?session=ff", b"").problem(400), "BadRequest");
}

#[test]
fn a_concern_that_cannot_be_met_is_refused() {
    let (_store, member) = member();
    assert_eq!(member.put("/v1/kv/a?w=2", b"").problem(400), "ConcernTooHigh");
    assert_eq!(member.get("/v1/kv/a").problem(404), "KeyNotFound");
    for concern in ["1", "majority", "all"] {
        assert_eq!(member.put(&format!("/v1/kv/a?w={concern}"), b"").status, 200, "{concern}");
    }
}

#[test]
fn a_status_says_how_the_member_is() {
    let store = Store::new(REPLICATION);
    let member = store.start();
    assert_eq!(member.put("/v1/kv/a", b"1").status, 200);
    let answer = member.ask("GET", "/v1/status", &[("X-Request-Id", "trace-7")], b"");
    assert_eq!(answer.header("x-request-id"), "trace-7");
    let status = answer.json();
    assert_eq!((&status["store"], &status["member"]), (&json!("shop/orders"), &json!(0)));
    assert_eq!((&status["role"], &status["leader"]), (&json!("leader"), &json!(0)));
    assert_eq!(status["positions"]["durable"], status["positions"]["written"]);
    assert_eq!(status["revision"], 2);
    let reply = member.put("/v1/kv/a", b"2").json();
    assert_eq!(reply["concern"]["reached"], 1, "one member has it on its disk");
}

#[test]
fn probes_name_their_checks() {
    let (_store, member) = member();
    assert_eq!(member.get_admin("/livez").text(), "ok\n");
    let ready = member.get_admin("/readyz?verbose");
    assert_eq!(ready.status, 200);
    for check in ["serving", "formed", "leader", "caught-up", "disk", "linearizable-read"] {
        assert!(ready.text().contains(&format!("[+]{check} ok\n")), "{}", ready.text());
    }
    assert!(member.get_admin("/readyz?verbose&exclude=disk").text().contains("[+]disk excluded: ok"));
    assert_eq!(member.get_admin("/readyz?verbos").problem(400), "BadRequest");
    assert_eq!(member.get_admin("/version").json(), json!({"version": env!("CARGO_PKG_VERSION")}));
}

#[test]
fn operators_ask_for_checkpoints_and_leaders() {
    let store = Store::new(CHECKPOINTING);
    let member = store.start();
    assert_eq!(member.put("/v1/kv/a", b"1").status, 200);
    let taken = member.post_admin("/v1/checkpoint", b"");
    assert_eq!(taken.status, 200, "{}", taken.text());
    assert!(taken.json()["index"].as_u64() > Some(0), "{}", taken.text());
    assert_eq!(taken.json()["verified"], false);
    let verified = member.post_admin("/v1/checkpoint?verify", b"");
    assert_eq!((verified.status, &verified.json()["verified"]), (200, &json!(true)), "{}", verified.text());
    assert_eq!(member.post_admin("/v1/checkpoint?verify=perhaps", b"").problem(400), "BadRequest");
    let status = member.get("/v1/status").json();
    assert_eq!(status["lastCheckpoint"]["index"], taken.json()["index"]);
    let scrape = member.get_admin("/metrics").text();
    assert!(
        has_sample(&scrape, "holdfast_checkpoints_total", &[r#"result="ok""#], |value| value >= 1.0),
        "{scrape}"
    );
    assert!(has_sample(&scrape, "holdfast_checkpoint_seconds_count", &[], |value| value >= 1.0), "{scrape}");

    assert_eq!(member.post_admin("/v1/leadership/transfer", b"{\"to\": 1}").problem(404), "NoSuchMember");
    assert_eq!(member.post_admin("/v1/leadership/transfer", b"{\"too\": 1}").problem(400), "BadRequest");
    assert_eq!(member.get_admin("/v1/checkpoint").problem(405), "MethodNotAllowed");
}

#[test]
fn a_checkpoint_covers_what_was_acknowledged_before_it_was_asked_for() {
    let store = Store::new(CHECKPOINTING);
    let member = store.start();
    let ask = |times: u32| {
        for _ in 0..times {
            let put = member.put("/v1/kv/a", b"1").json();
            let taken = member.post_admin("/v1/checkpoint", b"").json();
            assert!(taken["index"].as_u64() >= put["index"].as_u64(), "{taken} after {put}");
        }
    };
    // Each finds the other's under way, which began before its own write.
    std::thread::scope(|scope| {
        scope.spawn(|| ask(30));
        ask(30);
    });
}

#[test]
fn every_metric_of_the_reference_is_scraped_and_moves() {
    let store = Store::new(REPLICATION);
    let member = store.start();
    for _ in 0..3 {
        assert_eq!(member.put("/v1/kv/a", b"1").status, 200);
    }
    assert_eq!(member.get("/v1/kv/nothing-here").status, 404);
    let page = member.get_admin("/metrics");
    assert!(page.header("content-type").starts_with("text/plain; version=0.0.4"));
    let scrape = page.text();
    for family in holdfast_sidecar::metrics::Metrics::example().definitions() {
        // A store of one member has no peers.
        if family.name.starts_with("holdfast_peer_") {
            continue;
        }
        assert!(scrape.contains(&format!("# TYPE {} ", family.name)), "no {} in\n{scrape}", family.name);
    }
    let has = |name: &str, labels: &[&str], holds: fn(f64) -> bool| {
        assert!(has_sample(&scrape, name, labels, holds), "{name} {labels:?} in\n{scrape}");
    };
    has("holdfast_has_leader", &[r#"store="orders""#, r#"member="0""#], |value| value == 1.0);
    has("holdfast_is_leader", &[], |value| value == 1.0);
    has("holdfast_role", &[r#"role="leader""#], |value| value == 1.0);
    has("holdfast_role", &[r#"role="follower""#], |value| value == 0.0);
    has("holdfast_term", &[], |value| value >= 1.0);
    has("holdfast_commit_index", &[], |value| value >= 4.0);
    has("holdfast_revision", &[], |value| value == 4.0);
    has("holdfast_keys", &[], |value| value == 1.0);
    has("holdfast_quota_bytes", &[], |value| value > 0.0);
    has("holdfast_commit_seconds_count", &[], |value| value >= 3.0);
    has("holdfast_fsync_seconds_count", &[], |value| value >= 3.0);
    has("holdfast_proposals_committed_total", &[], |value| value >= 3.0);
    has("holdfast_proposals_applied_total", &[], |value| value >= 3.0);
    has("holdfast_leader_changes_total", &[], |value| value >= 1.0);
    let route = r#"route="/v1/kv/{key}""#;
    has("holdfast_http_requests_total", &[route, r#"method="PUT""#, r#"code="2xx""#], |value| value == 3.0);
    has("holdfast_http_requests_total", &[route, r#"method="GET""#, r#"code="4xx""#], |value| value == 1.0);
    has("holdfast_http_request_seconds_count", &[route, r#"method="PUT""#], |value| value == 3.0);
    has("holdfast_member_info", &[r#"strategy="Replication""#], |value| value == 1.0);
    has("process_resident_memory_bytes", &[r#"store="orders""#], |value| value > 0.0);
    assert!(!scrape.contains("nothing-here"), "no key is a label");
}

#[test]
fn a_request_that_takes_too_long_to_arrive_holds_nobody_up() {
    let (_store, member) = member();
    // A head that never ends, while others are served.
    use std::io::Write as _;
    let mut slow = std::net::TcpStream::connect(member.client).expect("the port is open");
    slow.write_all(b"GET /v1/status HTTP/1.1\r\n").expect("the beginning goes out");
    let began = std::time::Instant::now();
    assert_eq!(member.put("/v1/kv/a", b"1").status, 200);
    assert!(began.elapsed() < Duration::from_secs(10), "served beside it");
}

/// Whether the scrape has a sample of `name` with all of `labels` whose value is as it should be.
fn has_sample(scrape: &str, name: &str, labels: &[&str], holds: impl Fn(f64) -> bool) -> bool {
    scrape.lines().any(|line| {
        let Some(rest) = line.strip_prefix(name).and_then(|rest| rest.strip_prefix('{')) else {
            return false;
        };
        let Some((all, value)) = rest.rsplit_once("} ") else { return false };
        labels.iter().all(|label| all.contains(label)) && value.parse().is_ok_and(&holds)
    })
}
