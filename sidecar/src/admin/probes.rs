//! `GET /livez` and `GET /readyz`, as Kubernetes and etcd spell them.
//!
//! `?verbose` lists every check, `?exclude=NAME` leaves one out (as often as needed). Liveness refuses to look at
//! anything but whether the core still answers: neither a quorum, nor a leader, nor the disk's speed.

use std::fmt::Write;
use std::time::{Duration, Instant};

use bytes::Bytes;
use holdfast_api::http::{Role, Status};
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use warp::Filter;
use warp::reply::Response;

use crate::core::{Consistency, Query as CoreQuery, ReadRequest};
use crate::http::{Group, Head, head, settle, with};
use crate::problem::Problem;
use crate::running::Running;

/// How long the linearizable read of a readiness check may take. A kubelet gives a probe one second by default.
const READ_TIME_MAX: Duration = Duration::from_millis(750);

/// Entries that a ready member may be behind what it knows to be committed; it catches up so many in milliseconds.
const BEHIND_MAX: u64 = 10_000;

/// A disk that has something to write and does not come further for so long is not well.
const DISK_STALL_MAX: Duration = Duration::from_secs(10);

/// What a check found: that all is well, or what is not.
type Finding = Result<(), String>;

/// One named check and what it found.
struct Check {
    name: &'static str,
    finding: Finding,
}

/// What a probe asks for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Asked {
    verbose: bool,
    exclude: Vec<String>,
}

/// The routes of this module.
pub(super) fn routes(running: Running) -> Group {
    let live = warp::path("livez")
        .and(warp::path::end())
        .and(with(running.clone()))
        .and(head())
        .then(async |running: Running, head: Head| settle(live(&running, &head).await));
    let ready = warp::path("readyz")
        .and(warp::path::end())
        .and(with(running))
        .and(head())
        .then(async |running: Running, head: Head| settle(ready(&running, &head).await));
    live.or(ready).unify().boxed()
}

async fn live(running: &Running, head: &Head) -> Result<Response, Problem> {
    let asked = Asked::of(&head.query)?;
    Ok(report("livez", vec![Check { name: "core", finding: running.alive().await }], &asked))
}

async fn ready(running: &Running, head: &Head) -> Result<Response, Problem> {
    let asked = Asked::of(&head.query)?;
    let (status, read) = tokio::join!(running.status(), linearizable_read(running));
    let mut checks = vec![Check { name: "serving", finding: serving(running) }];
    match status {
        Ok(status) => checks.extend(of_status(running, &status)),
        Err(problem) => checks.push(Check { name: "core", finding: Err(problem.detail) }),
    }
    checks.push(Check { name: "linearizable-read", finding: read });
    Ok(report("readyz", checks, &asked))
}

fn serving(running: &Running) -> Finding {
    if running.is_stopping() { Err("the member is stopping".to_owned()) } else { Ok(()) }
}

/// What the core's own status says.
fn of_status(running: &Running, status: &Status) -> [Check; 4] {
    let formed = match status.role {
        Role::Unformed => Err("the members have not all met yet, or this one was not told".to_owned()),
        Role::Learner => Err("this member learns and does not vote".to_owned()),
        _ => Ok(()),
    };
    let leader = status.leader.map(drop).ok_or_else(|| "this member knows no leader".to_owned());
    let positions = status.positions;
    let behind = positions.commit.saturating_sub(positions.applied);
    let caught_up =
        if behind <= BEHIND_MAX { Ok(()) } else { Err(format!("{behind} entries are not applied yet")) };
    let stalled = running.disk_stalled_for(positions.written, positions.durable, Instant::now());
    let disk = if stalled < DISK_STALL_MAX {
        Ok(())
    } else {
        Err(format!(
            "nothing became durable for {} s although there is something to write",
            stalled.as_secs()
        ))
    };
    [("formed", formed), ("leader", leader), ("caught-up", caught_up), ("disk", disk)]
        .map(|(name, finding)| Check { name, finding })
}

/// Whether this member can give a linearizable answer: it needs a leader and a majority.
async fn linearizable_read(running: &Running) -> Finding {
    let request = ReadRequest {
        query: CoreQuery::Get { key: Bytes::from_static(b"readyz"), at: None },
        consistency: Consistency::Linearizable,
        timeout: READ_TIME_MAX,
    };
    let handle = running.handle().map_err(|problem| problem.detail)?;
    // Whether the key exists does not matter.
    match tokio::time::timeout(READ_TIME_MAX, handle.read(request)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(failure)) => Err(failure.to_string()),
        Err(_) => Err(format!("no answer within {} ms", READ_TIME_MAX.as_millis())),
    }
}

/// The answer: 200 if every check that counts is well, else 503; the list if it was asked for, or if something failed.
fn report(probe: &str, checks: Vec<Check>, asked: &Asked) -> Response {
    let mut text = String::new();
    let mut failed = false;
    for Check { name, finding } in &checks {
        let line = match finding {
            _ if asked.exclude.iter().any(|excluded| excluded == name) => format!("[+]{name} excluded: ok"),
            Ok(()) => format!("[+]{name} ok"),
            Err(what) => {
                failed = true;
                format!("[-]{name} failed: {what}")
            }
        };
        writeln!(text, "{line}").expect("a string takes everything");
    }
    for unknown in
        asked.exclude.iter().filter(|excluded| !checks.iter().any(|check| check.name == **excluded))
    {
        writeln!(text, "warn: there is no check {unknown:?} to exclude").expect("a string takes everything");
    }
    let verdict = if failed { "failed" } else { "passed" };
    let body =
        if failed || asked.verbose { format!("{text}{probe} check {verdict}\n") } else { "ok\n".to_owned() };
    let mut response = Response::new(body.into());
    *response.status_mut() = if failed { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl Asked {
    /// A probe's query. `exclude` may come more than once, as nowhere else.
    fn of(raw: &str) -> Result<Asked, Problem> {
        let mut asked = Asked::default();
        for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=').unwrap_or((pair, "")) {
                ("verbose", "" | "true" | "1") => asked.verbose = true,
                ("verbose", "false" | "0") => asked.verbose = false,
                ("exclude", name) => asked.exclude.push(name.to_owned()),
                (other, _) => {
                    let detail =
                        format!("{other:?} is no query parameter of a probe; it takes verbose, exclude");
                    return Err(Problem::invalid(detail));
                }
            }
        }
        Ok(asked)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    async fn check(query: &str, findings: [Finding; 2], status: u16, body: &str) {
        let [first, second] = findings;
        let checks =
            vec![Check { name: "formed", finding: first }, Check { name: "leader", finding: second }];
        let response = report("readyz", checks, &Asked::of(query).expect("a probe's query"));
        assert_eq!(response.status().as_u16(), status);
        let bytes = response.into_body().collect().await.expect("a body").to_bytes();
        assert_eq!(bytes, body);
    }

    #[tokio::test]
    async fn checks_are_listed_when_asked_for_or_failed() {
        let lost = || Err("none known".to_owned());
        check("", [Ok(()), Ok(())], 200, "ok\n").await;
        check("verbose", [Ok(()), Ok(())], 200, "[+]formed ok\n[+]leader ok\nreadyz check passed\n").await;
        let failed = "[+]formed ok\n[-]leader failed: none known\nreadyz check failed\n";
        check("", [Ok(()), lost()], 503, failed).await;
        check("exclude=leader", [Ok(()), lost()], 200, "ok\n").await;
        let excluded = "[+]formed ok\n[+]leader excluded: ok\nreadyz check passed\n";
        check("verbose=true&exclude=leader", [Ok(()), lost()], 200, excluded).await;
        let unknown =
            "[+]formed ok\n[+]leader ok\nwarn: there is no check \"x\" to exclude\nreadyz check passed\n";
        check("verbose&exclude=x", [Ok(()), Ok(())], 200, unknown).await;
    }

    #[test]
    fn unknown_parameters_of_probes_are_named() {
        let problem = Asked::of("verbos").expect_err("unknown");
        assert!(problem.detail.contains("\"verbos\""), "{}", problem.detail);
    }
}
