//! A program that runs beside a member, as an application's container runs beside it in a pod: started with it, started again when it
//! dies, failed with it.
//!
//! It is told where it is by its environment. Its standard input is a pipe that closes when the runner is gone; a program
//! that does not end then is left behind by a runner that was killed. Refuses to know what the program does.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::event::Event;
use crate::log_file::LogFile;
use crate::process::{Launch, Program};
use crate::supervisor::{ORDERS_MAX, Order, Report, Supervisor};

/// The member's ordinal.
pub const ORDINAL_VARIABLE: &str = "HOLDFAST_ORDINAL";
/// The member's name.
pub const MEMBER_VARIABLE: &str = "HOLDFAST_MEMBER";
/// The URL of the member's client port.
pub const ENDPOINT_VARIABLE: &str = "HOLDFAST_ENDPOINT";

/// Beside which member, and what.
#[derive(Clone, Debug)]
pub struct Beside<'a> {
    /// The member's ordinal.
    pub ordinal: u8,
    /// The member's name.
    pub member: &'a str,
    /// The URL of its client port.
    pub endpoint: String,
    /// What to run.
    pub program: &'a Program,
    /// Its name and its arguments.
    pub command: &'a [String],
    /// Where what it says goes.
    pub log: PathBuf,
}

/// A program that is kept running until this, and every copy of its orders, is dropped.
#[derive(Debug)]
pub struct Companion {
    orders: mpsc::Sender<Order>,
    report: watch::Receiver<Report>,
    log: LogFile,
}

impl Companion {
    /// Starts its supervisor as one of `supervisors`, which starts it. What happens to it goes to `events`, which somebody must
    /// drain. Call inside a runtime.
    pub fn start(
        beside: &Beside<'_>,
        events: mpsc::Sender<Event>,
        supervisors: &mut JoinSet<bool>,
    ) -> Companion {
        let name = beside.command.first().map_or("", String::as_str);
        let called = format!("{} beside {}", name.rsplit('/').next().unwrap_or(name), beside.member);
        let log = LogFile::new(beside.log.clone());
        let (orders, orders_in) = mpsc::channel(ORDERS_MAX);
        let (report_out, report) = watch::channel(Supervisor::unstarted(&called));
        let environment = [
            (ORDINAL_VARIABLE, beside.ordinal.to_string()),
            (MEMBER_VARIABLE, beside.member.to_owned()),
            (ENDPOINT_VARIABLE, beside.endpoint.clone()),
        ];
        let supervisor = Supervisor {
            member: called,
            client: beside.endpoint.clone(),
            launch: Launch {
                program: beside.program.clone(),
                title: name.into(),
                arguments: beside.command.iter().skip(1).map(OsString::from).collect(),
                environment: environment.map(|(name, value)| (name.to_owned(), value.into())).to_vec(),
                log: log.clone(),
            },
            orders: orders_in,
            events,
            report: report_out,
        };
        supervisors.spawn(supervisor.run());
        Companion { orders, report, log }
    }

    /// For those that give orders by themselves.
    pub fn orders(&self) -> mpsc::Sender<Order> {
        self.orders.clone()
    }

    /// What its process is doing, now.
    pub fn report(&self) -> Report {
        self.report.borrow().clone()
    }

    /// What it said.
    pub fn log(&self) -> &LogFile {
        &self.log
    }

    /// Gives an order and waits for what became of it; `None` if its supervisor has ended.
    pub async fn order<T>(&self, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> Option<T> {
        let (answer, heard) = oneshot::channel();
        self.orders.send(order(answer)).await.ok()?;
        heard.await.ok()
    }
}

/// Finds a program by its name beside this one or on `PATH`, or by its path.
///
/// # Errors
/// [`io::ErrorKind::NotFound`] with where it was looked for.
pub fn find(name: &str) -> io::Result<Program> {
    if name.contains('/') {
        return Program::at(Path::new(name));
    }
    let own = std::env::current_exe().ok().and_then(|own| own.parent().map(Path::to_path_buf));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = own.clone().into_iter().chain(std::env::split_paths(&path)).map(|folder| folder.join(name));
    for candidate in found {
        if candidate.is_file() {
            return Program::at(&candidate);
        }
    }
    let own = own.map_or_else(|| "this program".to_owned(), |own| own.display().to_string());
    Err(io::Error::new(io::ErrorKind::NotFound, format!("{name} is neither in {own} nor on PATH")))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;
    use crate::supervisor::Phase;

    #[tokio::test]
    async fn it_knows_its_place_and_ends_when_it_is_let_go() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let said = folder.path().join("said");
        let script = format!(
            "echo $HOLDFAST_ORDINAL $HOLDFAST_MEMBER $HOLDFAST_ENDPOINT > {}; exec sleep 600",
            said.display()
        );
        let (events_in, mut events) = mpsc::channel(16);
        let mut supervisors = JoinSet::new();
        let program = find("sh").expect("every unix has one");
        let beside = Beside {
            ordinal: 2,
            member: "chat-2",
            endpoint: "http://127.0.0.1:7420".to_owned(),
            program: &program,
            command: &["sh".to_owned(), "-c".to_owned(), script],
            log: folder.path().join("log"),
        };
        let companion = Companion::start(&beside, events_in, &mut supervisors);
        let Some(Event::Started { member, .. }) = events.recv().await else { panic!("a start") };
        assert_eq!(member, "sh beside chat-2");
        let read = async {
            loop {
                match std::fs::read_to_string(&said) {
                    Ok(text) if text.ends_with('\n') => return text,
                    _ => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        };
        let text = timeout(Duration::from_secs(20), read).await.expect("in time");
        assert_eq!(text, "2 chat-2 http://127.0.0.1:7420\n");
        companion.order(Order::Fail).await.expect("an answer");
        assert_eq!(companion.report().phase, Phase::Failed);
        drop(companion);
        let ended = timeout(Duration::from_secs(20), supervisors.join_next()).await.expect("in time");
        ended.expect("one supervisor").expect("no panic");
    }

    #[test]
    fn what_is_not_there_is_said() {
        let error = find("no-such-program-of-holdfast").expect_err("there is none").to_string();
        assert!(error.contains("nor on PATH"), "{error}");
    }
}
