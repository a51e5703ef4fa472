//! What a member says while it repairs its disk.

use std::fs;

use crate::process::Cluster;

#[test]
fn a_member_that_repairs_its_disk_says_so_on_both_ports_until_the_others_answer() {
    let mut cluster = Cluster::start();
    let value = vec![b'x'; 500];
    for key in 0..5 {
        assert_eq!(cluster.member(0).put(&format!("/v1/kv/{key}?w=all"), &value).status, 200);
    }
    for ordinal in [2, 1, 0] {
        cluster.take(ordinal).stop();
    }
    let segment = fs::read_dir(cluster.data(2).join("log")).expect("a folder").next();
    let path = segment.expect("a segment").expect("an item").path();
    let mut bytes = fs::read(&path).expect("readable");
    let at = bytes.windows(value.len()).position(|window| window == value).expect("it was written");
    bytes[at] ^= 1;
    fs::write(&path, bytes).expect("writable");

    cluster.restart_unready(2);
    let member = cluster.member(2);
    for answer in [member.get("/v1/status"), member.get("/v1/kv/0"), member.put("/v1/kv/a", b"1")] {
        assert_eq!(answer.problem(503), "Repairing", "{}", answer.text());
        assert_eq!(answer.json()["retryable"], true);
    }
    member.until("named what is damaged", || {
        let detail = member.get("/v1/status").json()["detail"].as_str().unwrap_or_default().to_owned();
        detail.contains("entries ") && detail.contains("0 of 2 other members")
    });
    assert_eq!(member.get_admin("/livez").status, 200);
    let ready = member.get_admin("/readyz");
    assert!(ready.status == 503 && ready.text().contains("repairing: entries"), "{}", ready.text());
    assert_eq!(member.get_admin("/metrics").status, 200);

    cluster.restart_unready(0);
    let member = cluster.member(2);
    member.until("ready", || member.get_admin("/readyz").status == 200);
    assert_eq!(member.get("/v1/kv/0").body, value);
    let note = member.get("/v1/status").json()["note"].as_str().unwrap_or_default().to_owned();
    assert!(note.contains("came from other members"), "{note}");
}
