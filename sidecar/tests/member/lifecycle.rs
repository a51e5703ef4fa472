//! How a member starts, follows its settings, stops, and says why it does not start.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::process::{BASELINE, CHECKPOINTING, LONG, Process, REPLICATION, Store};

#[test]
fn a_member_stops_in_order_and_comes_back_with_everything() {
    let store = Store::new(REPLICATION);
    let member = store.start();
    assert_eq!(member.put("/v1/kv/a", b"1").status, 200);
    let log = member.stop();
    assert!(log.last().is_some_and(|line| line.contains("stopped")), "{log:?}");

    let member = store.start();
    assert_eq!(member.get("/v1/kv/a").body, b"1");
    assert_eq!(member.put("/v1/kv/b", b"2").status, 200);
    member.kill();
    let member = store.start();
    assert_eq!(member.get("/v1/kv/b").body, b"2", "what was acknowledged survives a kill");
}

#[test]
fn what_is_under_way_is_finished_and_a_second_signal_does_not_wait() {
    let store = Store::new(BASELINE);
    // A value of which the last byte is missing is under way until it comes.
    let half_a_put = |member: &Process| {
        let length = [("Content-Length", "2")];
        let stream = crate::process::send(member.client, "PUT", "/v1/kv/a", &length, b"1");
        let in_flight =
            |line: &str| line.starts_with("holdfast_http_requests_in_flight") && line.ends_with(" 2");
        member.until("under way", || member.get_admin("/metrics").text().lines().any(in_flight));
        stream
    };
    let mut member = store.start();
    let mut stream = half_a_put(&member);
    member.signal("TERM");
    member.until("stopping", || member.logged("stopping"));
    stream.write_all(b"2").expect("the rest goes out");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(member.wait().code(), Some(0));

    let mut member = store.start();
    let _stream = half_a_put(&member);
    member.signal("INT");
    member.until("stopping", || member.logged("stopping"));
    assert_eq!(member.get_admin("/readyz").status, 503, "not ready while it stops");
    assert_eq!(member.get_admin("/livez").status, 200, "but alive");
    let began = Instant::now();
    member.signal("TERM");
    assert_eq!(member.wait().code(), Some(1));
    assert!(began.elapsed() < Duration::from_secs(5), "the second signal does not wait");
    assert!(member.logged("second signal"));
}

#[test]
fn a_member_ends_with_its_lifeline() {
    let store = Store::new(BASELINE);
    let mut command = store.command();
    command.arg("--lifeline");
    let mut member = Process::start(command);
    member.close_stdin();
    assert_eq!(member.wait().code(), Some(0));
    assert!(member.logged("Lifeline"));
}

#[test]
fn a_baseline_store_that_lost_everything_says_so() {
    let store = Store::new(BASELINE);
    let member = store.start();
    assert_eq!(member.put("/v1/kv/a", b"1").status, 200);
    assert!(member.get("/v1/status").json().get("note").is_none());
    member.stop();
    let member = store.start();
    assert!(member.logged("all it held is lost"));
    assert!(member.get("/v1/status").json()["note"].is_string());
    assert_eq!(member.get("/v1/kv/a").problem(404), "KeyNotFound");
}

#[test]
fn a_checkpointing_store_comes_back_from_its_last_checkpoint() {
    let store = Store::new(CHECKPOINTING);
    let member = store.start();
    assert_eq!(member.put("/v1/kv/a", b"1").status, 200);
    assert_eq!(member.post_admin("/v1/checkpoint", b"").status, 200);
    assert_eq!(member.put("/v1/kv/b", b"2").status, 200);
    member.kill();
    let member = store.start();
    assert_eq!(member.get("/v1/kv/a").body, b"1");
    assert_eq!(member.get("/v1/kv/b").problem(404), "KeyNotFound");
    assert_eq!(member.put("/v1/kv/c", b"3").status, 200);
    member.stop();
    let member = store.start();
    assert_eq!(member.get("/v1/kv/c").body, b"3", "an orderly end takes a last checkpoint");
}

#[test]
fn changed_settings_are_followed_and_what_needs_a_restart_is_refused() {
    let store = Store::new(BASELINE);
    let member = store.start();
    assert_eq!(member.put("/v1/kv/a", b"").json()["concern"]["requested"], "majority");
    store.write_settings("all", "200ms");
    member.until("applied", || member.logged("the changed settings are in use"));
    assert_eq!(member.put("/v1/kv/a", b"").json()["concern"]["requested"], "all");

    store.write_settings_of("other", "majority", "200ms");
    member.until("refused", || member.logged("need a restart"));
    assert!(member.logged("cannot change store from shop/orders to shop/other"));
    assert_eq!(member.put("/v1/kv/a", b"").json()["concern"]["requested"], "all");

    store.write_settings("most", "200ms");
    member.until("seen", || member.logged("make no sense"));
    assert_eq!(member.put("/v1/kv/a", b"").status, 200);
    let scrape = member.get_admin("/metrics").text();
    for result in ["applied", "refused", "unreadable"] {
        let counted = scrape.lines().any(|line| {
            line.starts_with("holdfast_settings_reloads_total")
                && line.contains(result)
                && line.ends_with(" 1")
        });
        assert!(counted, "{result} in\n{scrape}");
    }
}

#[test]
fn a_process_without_descriptors_goes_on_as_soon_as_it_has_some() {
    let store = Store::new(BASELINE);
    let mut command = Command::new("sh");
    let program = env!("CARGO_BIN_EXE_holdfast-sidecar");
    command.args(["-c", &format!("ulimit -n 64 && exec {program} \"$@\""), "sh"]);
    store.arguments(&mut command);
    let member = Process::start(command);
    let mut held: Vec<_> =
        (0..100).map(|_| TcpStream::connect(member.client).expect("the kernel connects")).collect();
    member.until("out of descriptors", || member.logged("cannot accept connections now"));
    held.clear();
    assert_eq!(member.put("/v1/kv/a", b"1").status, 200);
    assert_eq!(member.get_admin("/livez").status, 200);
}

/// The member must not start: one message with all of `parts`, and a code that is not 0.
#[track_caller]
fn check_refused(command: Command, parts: &[&str]) {
    let (code, last) = Process::fails(command);
    assert_eq!(code, Some(1), "{last}");
    let line: serde_json::Value =
        serde_json::from_str(&last).unwrap_or_else(|error| panic!("{error}: {last}"));
    assert_eq!(line["level"], "ERROR");
    for part in parts {
        assert!(
            line["message"].as_str().is_some_and(|message| message.contains(part)),
            "no {part} in {line}"
        );
    }
}

#[test]
fn a_taken_port_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address: SocketAddr = taken.local_addr().expect("it is bound");
    for port in ["client", "peer", "admin"] {
        let store = Store::new(BASELINE);
        let flag = format!("--{port}-address");
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast-sidecar"));
        command.args(["--ordinal", "0", "--settings"]).arg(store.settings()).arg("--data").arg(store.data());
        for other in ["client", "peer", "admin"] {
            let free = SocketAddr::from(([127, 0, 0, 1], 0));
            let address = if other == port { address } else { free };
            command.arg(format!("--{other}-address={address}"));
        }
        check_refused(command, &[&address.to_string(), port, "taken by another process", &flag]);
        assert!(!store.data().exists(), "nothing was touched");
    }
}

#[test]
fn a_folder_that_cannot_be_used_is_named() {
    let store = Store::new(REPLICATION);
    fs::write(store.data(), "a file where the folder should be").expect("written");
    check_refused(store.command(), &[&store.data().display().to_string(), "--data (HOLDFAST_DATA)"]);
}

#[test]
fn two_processes_cannot_share_a_folder() {
    let store = Store::new(REPLICATION);
    let member = store.start();
    assert_eq!(member.put("/v1/kv/a", b"1").status, 200);
    check_refused(store.command(), &[&store.data().display().to_string(), "end that process"]);
    assert_eq!(member.get("/v1/kv/a").body, b"1", "the first goes on");
}

#[test]
fn another_stores_folder_is_left_alone() {
    let store = Store::new(REPLICATION);
    let member = store.start();
    assert_eq!(member.put("/v1/kv/a", b"1").status, 200);
    member.stop();
    store.write_settings_of("invoices", "majority", "100ms");
    check_refused(
        store.command(),
        &["shop/orders", "shop/invoices", "own folder by --data", &store.data().display().to_string()],
    );
    store.write_settings("majority", "100ms");
    assert_eq!(store.start().get("/v1/kv/a").body, b"1");
}

#[test]
fn a_damaged_log_is_reported_and_not_served() {
    let store = Store::new(REPLICATION);
    let member = store.start();
    for i in 0..20 {
        assert_eq!(member.put(&format!("/v1/kv/{i}"), &[b'v'; 1000]).status, 200);
    }
    member.stop();
    let segment = crate::process::find(&store.data(), ".segment").expect("there is a log");
    let mut bytes = fs::read(&segment).expect("it can be read");
    let at = bytes.windows(4).position(|four| four == b"vvvv").expect("a value") + 100;
    bytes[at] ^= 1;
    fs::write(&segment, bytes).expect("it can be written");
    check_refused(store.command(), &[&segment.display().to_string(), "does not serve", "from a copy"]);
}

#[test]
fn settings_that_cannot_be_used_are_named() {
    let store = Store::new(BASELINE);
    let mut command = store.command();
    command.args(["--ordinal", "3"]);
    let output = command.output().expect("the program starts");
    assert_eq!(output.status.code(), Some(2), "an argument that comes twice is a matter of usage");

    let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast-sidecar"));
    command.args(["--ordinal", "3", "--settings"]).arg(store.settings()).arg("--data").arg(store.data());
    check_refused(command, &["ordinal 3", "1 members", "HOLDFAST_ORDINAL"]);
    fs::write(store.settings(), "replicas: many").expect("written");
    check_refused(store.command(), &[&store.settings().display().to_string()]);
    fs::remove_file(store.settings()).expect("it is there");
    check_refused(store.command(), &[&store.settings().display().to_string(), "HOLDFAST_SETTINGS"]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast-sidecar"));
    command.env_remove("HOLDFAST_POD_NAME");
    check_refused(command, &["--ordinal", "HOLDFAST_POD_NAME"]);
}

#[test]
fn a_port_closes_with_its_member() {
    let store = Store::new(BASELINE);
    let member = store.start();
    let (client, admin) = (member.client, member.admin);
    member.stop();
    let deadline = Instant::now() + LONG;
    for address in [client, admin] {
        while TcpStream::connect(address).is_ok() {
            assert!(Instant::now() < deadline, "{address} is still open");
        }
    }
}
