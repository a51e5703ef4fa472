//! The control channel of a runner: a unix socket in its folder that takes one line of JSON and answers with one.
//!
//! Refuses to listen on the network: whoever may write to the folder may give orders, nobody else.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use crate::supervisor::Report;

/// Longest line either way. A request is a verb and a name; an answer is at most seven members' reports.
const LINE_BYTES_MAX: u64 = 16 * 1024;
/// Connections served at a time; each lasts as long as one order takes.
const CONNECTIONS_MAX: usize = 16;
/// How long a connection may take to say what it wants.
const REQUEST_WAIT: Duration = Duration::from_secs(2);
/// How long a command waits for its answer: longer than killing and reaping a process takes on a busy machine.
const ANSWER_WAIT: Duration = Duration::from_secs(10);
/// Requests that may wait for the runner's loop.
const REQUESTS_MAX: usize = CONNECTIONS_MAX;

/// What a runner may be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "camelCase", deny_unknown_fields)]
pub enum Request {
    /// Kill this member and leave it down.
    Fail {
        /// Its ordinal or name.
        member: String,
    },
    /// Start this member.
    Start {
        /// Its ordinal or name.
        member: String,
    },
    /// How the processes are.
    Members,
}

/// What a runner answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "camelCase")]
pub enum Answer {
    /// It is done.
    Done {
        /// What was done, as a sentence.
        text: String,
    },
    /// It cannot be done.
    Refused {
        /// Why, as a sentence.
        text: String,
    },
    /// How the processes are, by ordinal.
    Members {
        /// One each.
        members: Vec<Report>,
    },
}

/// A request and where to answer it.
#[derive(Debug)]
pub struct Asked {
    /// What was asked.
    pub request: Request,
    /// Where to answer.
    pub answer: oneshot::Sender<Answer>,
}

/// Why a runner could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Nobody listens.
    #[error("cannot reach the runner at {}", .socket.display())]
    Connect {
        /// Its control channel.
        socket: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It did not answer, or broke off.
    #[error("the runner at {} took the request but did not answer it", .socket.display())]
    NoAnswer {
        /// Its control channel.
        socket: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It speaks differently.
    #[error("the runner at {} answers what this version of holdfast does not understand", .socket.display())]
    Foreign {
        /// Its control channel.
        socket: PathBuf,
        /// Where.
        source: serde_json::Error,
    },
}

/// Asks the runner behind `socket`.
///
/// # Errors
/// Nobody listens there, the answer does not come within ten seconds, or it is not understood.
pub fn ask(socket: &Path, request: &Request) -> Result<Answer, ControlError> {
    let path = || socket.to_path_buf();
    let mut stream =
        UnixStream::connect(socket).map_err(|source| ControlError::Connect { socket: path(), source })?;
    let mut line = serde_json::to_vec(request).expect("a request is plain data");
    line.push(b'\n');
    let mut talk = || -> io::Result<Vec<u8>> {
        stream.set_write_timeout(Some(REQUEST_WAIT))?;
        stream.set_read_timeout(Some(ANSWER_WAIT))?;
        stream.write_all(&line)?;
        let mut answer = Vec::new();
        BufReader::new(&stream).take(LINE_BYTES_MAX).read_until(b'\n', &mut answer)?;
        if answer.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(answer) }
    };
    let answer = talk().map_err(|source| ControlError::NoAnswer { socket: path(), source })?;
    serde_json::from_slice(&answer).map_err(|source| ControlError::Foreign { socket: path(), source })
}

/// The runner's end: a socket that only this user may use. Ends with the runtime.
#[derive(Debug)]
pub struct Control {
    socket: PathBuf,
    /// What is asked, one at a time.
    pub requests: mpsc::Receiver<Asked>,
    asker: mpsc::Sender<Asked>,
}

impl Control {
    /// Listens at `socket`, in place of what a dead runner left there. Call inside a runtime, holding the folder.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub fn listen(socket: &Path) -> io::Result<Control> {
        match fs::remove_file(socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(socket)?;
        fs::set_permissions(socket, fs::Permissions::from_mode(0o600))?;
        let (sender, requests) = mpsc::channel(REQUESTS_MAX);
        tokio::spawn(accept(listener, sender.clone()));
        Ok(Control { socket: socket.to_path_buf(), requests, asker: sender })
    }

    /// For those in the runner's own process that ask too.
    pub fn asker(&self) -> mpsc::Sender<Asked> {
        self.asker.clone()
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // What stays behind is replaced by the next runner.
        let _ = fs::remove_file(&self.socket);
    }
}

async fn accept(listener: UnixListener, requests: mpsc::Sender<Asked>) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    while let Ok(slot) = slots.clone().acquire_owned().await {
        if requests.is_closed() {
            return;
        }
        let Ok((mut stream, _)) = listener.accept().await else {
            // Out of descriptors, most likely: let others finish.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let requests = requests.clone();
        tokio::spawn(async move {
            let answer = serve(&mut stream, &requests).await;
            let mut line = serde_json::to_vec(&answer).expect("an answer is plain data");
            line.push(b'\n');
            // Whoever asked may have gone.
            let _ = timeout(REQUEST_WAIT, stream.write_all(&line)).await;
            drop(slot);
        });
    }
}

async fn serve(stream: &mut tokio::net::UnixStream, requests: &mpsc::Sender<Asked>) -> Answer {
    let refused = |text: String| Answer::Refused { text };
    let mut line = Vec::new();
    let mut reader = tokio::io::BufReader::new(stream.take(LINE_BYTES_MAX));
    match timeout(REQUEST_WAIT, reader.read_until(b'\n', &mut line)).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => return refused(format!("the request cannot be read: {error}")),
        Err(_) => return refused("the request did not come in time".to_owned()),
    }
    let request = match serde_json::from_slice(&line) {
        Ok(request) => request,
        Err(error) => return refused(format!("the request is not understood: {error}")),
    };
    let (answer, answered) = oneshot::channel();
    if requests.send(Asked { request, answer }).await.is_err() {
        return refused("the runner is ending".to_owned());
    }
    answered.await.unwrap_or_else(|_| refused("the runner is ending".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask_elsewhere(socket: &Path, request: Request) -> Result<Answer, ControlError> {
        let socket = socket.to_path_buf();
        tokio::task::spawn_blocking(move || ask(&socket, &request)).await.expect("no panic")
    }

    #[tokio::test]
    async fn a_question_gets_its_answer() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let socket = folder.path().join("control.sock");
        fs::write(&socket, "left behind").expect("writable");
        let mut control = Control::listen(&socket).expect("a free path");
        let asking = tokio::spawn({
            let socket = socket.clone();
            async move { ask_elsewhere(&socket, Request::Fail { member: "0".into() }).await }
        });
        let asked = control.requests.recv().await.expect("a request");
        assert_eq!(asked.request, Request::Fail { member: "0".into() });
        asked.answer.send(Answer::Done { text: "killed".into() }).expect("it waits");
        assert_eq!(
            asking.await.expect("no panic").expect("an answer"),
            Answer::Done { text: "killed".into() }
        );
        drop(control);
        let error = ask_elsewhere(&socket, Request::Members).await.expect_err("nobody listens");
        assert!(matches!(error, ControlError::Connect { .. }), "{error}");
    }

    #[tokio::test]
    async fn nonsense_is_refused_and_a_dropped_question_too() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let socket = folder.path().join("control.sock");
        let mut control = Control::listen(&socket).expect("a free path");
        let mut stream = tokio::net::UnixStream::connect(&socket).await.expect("it listens");
        stream.write_all(b"{\"verb\":\"dance\"}\n").await.expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("it answers");
        assert!(answer.contains("not understood") && answer.ends_with('\n'), "{answer}");
        let asking = tokio::spawn({
            let socket = socket.clone();
            async move { ask_elsewhere(&socket, Request::Members).await }
        });
        drop(control.requests.recv().await.expect("a request").answer);
        let answer = asking.await.expect("no panic").expect("an answer");
        assert_eq!(answer, Answer::Refused { text: "the runner is ending".into() });
    }
}
