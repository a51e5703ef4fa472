//! The dashboard's page and what it shows, as a member sends them.

use std::io::{BufRead, BufReader};

use crate::process::{BASELINE, Events, REPLICATION, Store, send};

const LIVE: &str = "/dashboard/live";

#[test]
fn the_page_is_sent_once_and_may_do_nothing_elsewhere() {
    let store = Store::new(BASELINE);
    let member = store.start();
    let page = member.get("/dashboard");
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    assert!(page.text().contains("data-served-by=\"member\""));
    for (name, value) in [("x-content-type-options", "nosniff"), ("cache-control", "no-cache")] {
        assert_eq!(page.header(name), value);
    }
    assert!(
        page.header("content-security-policy")
            .starts_with("default-src 'none'; script-src 'self'; style-src 'self';")
    );
    let again = member.ask("GET", "/dashboard", &[("If-None-Match", page.header("etag"))], b"");
    assert_eq!((again.status, again.body.len()), (304, 0));
    let head = member.ask("HEAD", "/dashboard/uplot/uPlot.esm.js", &[], b"");
    assert_eq!(
        (head.status, head.body.len(), head.header("content-type")),
        (200, 0, "text/javascript; charset=utf-8")
    );
    assert_eq!(member.get("/dashboard/../Cargo.toml").problem(404), "RouteNotFound");
    assert_eq!(member.get("/dashboard/runner").problem(404), "RouteNotFound");
    assert_eq!(member.ask("POST", "/dashboard", &[], b"").problem(405), "MethodNotAllowed");
    assert_eq!(member.get("/dashboard/live?from=1").problem(400), "BadRequest");
}

#[test]
fn what_changes_is_sent_and_the_end_is_said() {
    let store = Store::new(REPLICATION);
    let mut member = store.start();
    let (mut events, first) = Events::read(&member, LIVE);
    assert_eq!(first.name, "");
    assert_eq!((&first.data["status"]["role"], &first.data["intervalMs"]), (&"leader".into(), &500.into()));
    assert_eq!(first.data["members"][0]["name"], "orders-0");
    assert_eq!(first.data["history"][0]["what"], "leads");
    assert_eq!(member.put("/v1/kv/a", b"1").status, 200);
    let count =
        |data: &serde_json::Value, name: &str| data["counts"][name]["count"].as_u64().expect("a count");
    let after = loop {
        let data = events.next().expect("it goes on").data;
        if count(&data, "commit") > count(&first.data, "commit") {
            break data;
        }
    };
    assert!(count(&after, "fsync") > count(&first.data, "fsync"), "{after}");
    assert!(after["uptimeMs"].as_u64() > first.data["uptimeMs"].as_u64());
    assert_eq!(after["state"]["keys"], 1);
    let bucket = after["counts"]["commit"]["buckets"][16].as_array().expect("a bound and a count");
    assert_eq!((bucket[0].as_f64(), bucket[1].as_u64()), (Some(8.192), Some(count(&after, "commit"))));
    member.signal("TERM");
    let end =
        std::iter::from_fn(|| events.next()).find(|event| event.name == "end").expect("the end is said");
    assert_eq!(end.data["detail"], "this member is stopping");
    assert!(member.wait().success());
}

#[test]
fn one_page_too_many_is_told_so() {
    let store = Store::new(BASELINE);
    let member = store.start();
    let mut pages: Vec<_> = (0..32).map(|_| Events::read(&member, LIVE)).collect();
    assert_eq!(member.get(LIVE).problem(429), "Overloaded");
    pages.pop();
    // The member notices with its next event that nobody reads it.
    member.until("there is room again", || {
        let mut status = String::new();
        let answer = send(member.client, "GET", LIVE, &[], b"");
        BufReader::new(answer).read_line(&mut status).expect("a line in time");
        status.contains(" 200 ")
    });
}

#[test]
fn a_page_of_another_site_has_nothing_recovered() {
    let store = Store::new(REPLICATION);
    let member = store.start();
    let recover = |headers: &[(&str, &str)]| member.ask("POST", "/nodes/node-1/recover", headers, b"");
    assert_eq!(recover(&[("Sec-Fetch-Site", "cross-site")]).problem(403), "ForeignPage");
    assert_eq!(recover(&[("Sec-Fetch-Site", "same-origin")]).status, 200);
    assert_eq!(recover(&[]).status, 200);
}
