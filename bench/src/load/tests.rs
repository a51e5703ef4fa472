//! Bare clients against a server of one thread that speaks just enough Redis.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use super::*;
use crate::protocol::redis::SetAndWait;

/// A server that takes `connections` connections, one after the other, and answers every request on each with `answer`.
fn server(connections: usize, answer: &'static str) -> SockAddr {
    server_with(connections, usize::MAX, answer)
}

/// As [`server`], and silent after so many answers on a connection.
fn server_with(connections: usize, answers_max: usize, answer: &'static str) -> SockAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address: SocketAddr = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for _ in 0..connections {
            let (mut stream, _) = listener.accept().expect("a client");
            std::thread::spawn(move || {
                let (mut buffer, mut waits) = ([0; 4096], 0);
                let mut seen = String::new();
                while let Ok(read @ 1..) = stream.read(&mut buffer) {
                    seen.push_str(&String::from_utf8_lossy(&buffer[..read]));
                    let all = seen.matches("$1\r\n0\r\n").count().min(answers_max);
                    if stream.write_all(answer.repeat(all - waits).as_bytes()).is_err() {
                        return;
                    }
                    waits = all;
                }
            });
        }
    });
    address.into()
}

fn shape(clients: usize, depth: usize, until: Until) -> Shape {
    Shape { clients, depth, keys: Keys::Spread(100), until }
}

#[test]
fn everything_that_is_done_is_counted_once() {
    let address = server(3, "+OK\r\n:1\r\n");
    let measured = run(&address, &SetAndWait { sets: 1 }, &shape(3, 4, Until::Done(500))).expect("it runs");
    assert_eq!((measured.done, measured.failed, measured.latencies.len()), (500, 0, 500));
    assert!(measured.seconds > 0.0);
}

#[test]
fn a_warm_up_is_not_counted() {
    let until = Until::Time { warm_up: Duration::from_millis(500), length: Duration::from_millis(50) };
    // Five answers, all of them long before the warm-up is over, and then none.
    let address = server_with(1, 5, "+OK\r\n:1\r\n");
    let error = run(&address, &SetAndWait { sets: 1 }, &shape(1, 1, until)).expect_err("nothing counts");
    assert!(error.to_string().contains("nothing was done"), "{error}");
    let until = Until::Time { warm_up: Duration::ZERO, length: Duration::from_millis(500) };
    let address = server_with(1, 5, "+OK\r\n:1\r\n");
    let measured = run(&address, &SetAndWait { sets: 1 }, &shape(1, 1, until)).expect("five are done");
    assert_eq!((measured.done, measured.latencies.len(), measured.seconds), (5, 5, 0.5));
}

#[test]
fn failures_are_counted_apart_and_the_first_is_quoted() {
    let address = server(1, "+OK\r\n:0\r\n");
    let until = Until::Time { warm_up: Duration::ZERO, length: Duration::from_millis(20) };
    let error = run(&address, &SetAndWait { sets: 1 }, &shape(1, 1, until)).expect_err("nothing is done");
    assert!(error.to_string().contains("nothing was done: +OK\r\n:0"), "{error}");
}

#[test]
fn a_server_that_closes_or_talks_nonsense_is_an_error() {
    let until = Until::Done(1);
    let error = run(&server(1, "HTTP/1.1 200 OK\r\n"), &SetAndWait { sets: 1 }, &shape(1, 1, until));
    assert!(error.expect_err("nonsense").to_string().contains("no answer to SET"));
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    let nobody: SockAddr = nobody.expect("a port that was free").into();
    assert!(run(&nobody, &SetAndWait { sets: 1 }, &shape(1, 1, until)).is_err());
}

#[test]
fn keys_are_spread_evenly() {
    let mut counts = [0u32; 10];
    (0..10_000u64).for_each(|number| counts[(scatter(number) % 10) as usize] += 1);
    assert!(counts.iter().all(|count| (900..1100).contains(count)), "{counts:?}");
}
