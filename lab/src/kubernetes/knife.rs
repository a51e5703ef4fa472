//! The knife: a container beside a member, in the pods of an experiment's stores, that kills the member's process when it is told to. The
//! containers of such a pod see each other's processes, and run as the same user; that is all it needs, and no right in the cluster.
//!
//! | request | does |
//! |---|---|
//! | `GET /livez` | answers |
//! | `POST /kill`, `/stop`, `/continue` | SIGKILL, SIGSTOP, SIGCONT to the member's process; answers its id |
//! | `GET /gone/ID` | answers when that process is gone and its connections are closed |
//!
//! Whoever reaches the port may use it: the stores of experiments are there to be killed, and no others have one. It refuses to signal anything
//! but a member.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use holdfast_sidecar::ending::ending;
use holdfast_sidecar::listener::{Limits, Listener, Purpose, bind};
use holdfast_sidecar::signals::Signals;
use http::{Method, Response, StatusCode};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

use crate::rest::ServeError;

/// The lab, and a person with curl.
const LIMITS: Limits =
    Limits { connections_max: 64, header_timeout: Duration::from_secs(60), head_bytes_max: 16 * 1024 };
/// How the port's address is changed.
const PURPOSE: Purpose =
    Purpose { name: "knife", flag: "--listen", environment: "HOLDFAST_KNIFE_LISTEN", also: "" };
/// How long a request that is under way may take at the end: none is worth waiting for.
const GRACE: Duration = Duration::from_millis(100);
/// How long a killed process may take to be gone. The kernel gives its memory back first: a second for ten gigabytes.
const GONE_MAX: Duration = Duration::from_secs(30);
/// How often it is looked for.
const GONE_PAUSE: Duration = Duration::from_millis(1);
/// The member's program.
const PROGRAM: &str = "holdfast-sidecar";

/// Serves until SIGTERM. Must run inside a multi-threaded runtime.
///
/// # Errors
/// It cannot begin.
pub async fn serve(listen: SocketAddr) -> Result<(), ServeError> {
    let mut signals = Signals::listen(false).map_err(ServeError::Signals)?;
    let socket = bind(listen, PURPOSE).await?;
    let (end, heard) = ending();
    let service = hyper::service::service_fn(|request: http::Request<hyper::body::Incoming>| async move {
        let (status, text) = answer(request.method(), request.uri().path()).await;
        let mut response = Response::new(text);
        *response.status_mut() = status;
        Ok::<_, Infallible>(response)
    });
    let serving = tokio::spawn(Listener::apart(socket, LIMITS).serve(service, heard));
    signals.next().await;
    end.begin(GRACE);
    let _ = serving.await;
    Ok(())
}

async fn answer(method: &Method, path: &str) -> (StatusCode, String) {
    let signal = match (method, path) {
        (&Method::GET, "/livez") => return (StatusCode::OK, "ok\n".to_owned()),
        (&Method::GET, path) if path.starts_with("/gone/") => {
            return gone(path.trim_start_matches("/gone/")).await;
        }
        (&Method::POST, "/kill") => Signal::KILL,
        (&Method::POST, "/stop") => Signal::STOP,
        (&Method::POST, "/continue") => Signal::CONT,
        _ => return (StatusCode::NOT_FOUND, "there is no such route\n".to_owned()),
    };
    match strike(signal) {
        Ok(pid) => (StatusCode::OK, pid.as_raw_nonzero().to_string()),
        Err(error) => (StatusCode::CONFLICT, format!("{error}\n")),
    }
}

/// Why nobody was struck.
#[derive(Debug, thiserror::Error)]
enum StrikeError {
    #[error("no process here runs {PROGRAM}; does the pod share its process namespace?")]
    Nobody,
    #[error("{0} processes here run {PROGRAM}, so this is no pod of a store's; nobody is signalled")]
    Several(usize),
    #[error("the process {0} cannot be signalled")]
    Refused(i32, #[source] rustix::io::Errno),
}

fn strike(signal: Signal) -> Result<Pid, StrikeError> {
    let member = find(Path::new("/proc"))?;
    match kill_process(member, signal) {
        Ok(()) => Ok(member),
        Err(errno) => Err(StrikeError::Refused(member.as_raw_nonzero().get(), errno)),
    }
}

/// The process that runs the member's program. A pod has one; where there are more, this is somebody's machine.
fn find(proc: &Path) -> Result<Pid, StrikeError> {
    let entries = fs::read_dir(proc).map_err(|_| StrikeError::Nobody)?;
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let members: Vec<i32> = pids.filter(|pid| runs(proc, *pid).unwrap_or(false)).collect();
    match members[..] {
        [member] => Pid::from_raw(member).ok_or(StrikeError::Nobody),
        [] => Err(StrikeError::Nobody),
        _ => Err(StrikeError::Several(members.len())),
    }
}

fn runs(proc: &Path, pid: i32) -> io::Result<bool> {
    // A process that has ended and was not asked for its end yet has no command line any more.
    let line = fs::read(proc.join(pid.to_string()).join("cmdline"))?;
    let program = line.split(|byte| *byte == 0).next().unwrap_or_default();
    Ok(program.rsplit(|byte| *byte == b'/').next() == Some(PROGRAM.as_bytes()))
}

async fn gone(pid: &str) -> (StatusCode, String) {
    let Ok(pid) = pid.parse::<u32>() else {
        return (StatusCode::NOT_FOUND, "write /gone/ID with the process's id\n".to_owned());
    };
    let (path, until) = (format!("/proc/{pid}"), Instant::now() + GONE_MAX);
    // It is there until its last thread has ended, and with that its connections, and the container's runtime has asked for its end.
    while Path::new(&path).exists() {
        if Instant::now() > until {
            return (StatusCode::GATEWAY_TIMEOUT, format!("the process {pid} does not end\n"));
        }
        sleep(GONE_PAUSE).await;
    }
    (StatusCode::OK, "gone\n".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    // No test strikes: on a machine the processes that are found are somebody's.
    #[test]
    fn only_the_members_program_is_found() {
        let proc = tempfile::tempdir().expect("a folder");
        let process = |pid: &str, line: &[u8]| {
            let folder = proc.path().join(pid);
            fs::create_dir(&folder).expect("a folder");
            fs::write(folder.join("cmdline"), line).expect("a file");
        };
        process("1", b"/pause\0");
        process("7", b"/usr/local/bin/holdfast-lab\0knife\0--of\0holdfast-sidecar\0");
        process("self", b"/usr/local/bin/holdfast-sidecar\0");
        process("8", b"");
        assert!(matches!(find(proc.path()), Err(StrikeError::Nobody)));
        process("23", b"/usr/local/bin/holdfast-sidecar\0--settings\0x\0");
        assert_eq!(find(proc.path()).ok(), Pid::from_raw(23));
        process("24", b"holdfast-sidecar\0");
        assert!(matches!(find(proc.path()), Err(StrikeError::Several(2))));
    }

    #[tokio::test]
    async fn what_is_no_request_strikes_nobody() {
        assert_eq!(answer(&Method::GET, "/livez").await.0, StatusCode::OK);
        assert_eq!(answer(&Method::GET, "/kill").await.0, StatusCode::NOT_FOUND);
        assert_eq!(answer(&Method::GET, "/gone/x").await.0, StatusCode::NOT_FOUND);
        assert_eq!(answer(&Method::GET, "/gone/4000000000").await.0, StatusCode::OK);
        assert_eq!(answer(&Method::POST, "/").await.0, StatusCode::NOT_FOUND);
    }
}
