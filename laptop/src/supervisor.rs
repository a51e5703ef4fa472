//! Keeps one member running as a kubelet keeps a container: starts it, starts it again when it dies, waits longer
//! each time, and takes orders from the runner.
//!
//! Refuses to ask the member how it is; a process that runs is running.

use std::time::{Duration, Instant};

use holdfast_sidecar::process::REMOVED_CODE;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{sleep, timeout};

use crate::backoff::Backoff;
use crate::chain;
use crate::event::{Event, millis};
use crate::process::{Ending, Launch, Process};

/// How long a member may take to end after SIGTERM: it finishes what is under way, hands leadership over, and may
/// have a last checkpoint to write. What a kubelet gives; a person who has no patience asks twice.
const STOP_WAIT: Duration = Duration::from_secs(30);

/// Orders that may wait for one supervisor. Every one is answered, and people and scripts send few at a time.
pub const ORDERS_MAX: usize = 16;

/// What a supervisor may be told. Answers are sentences for the person who asked.
#[derive(Debug)]
pub enum Order {
    /// Kill the member by SIGKILL and leave it down.
    Fail(oneshot::Sender<String>),
    /// Start the member if it does not run.
    Start(oneshot::Sender<String>),
    /// Send the member a signal, if it runs; answers whether it did. One that dies of it is started again.
    Signal(Signal, oneshot::Sender<bool>),
    /// End the member by SIGTERM, and by SIGKILL if it takes too long, and then end.
    Stop,
    /// End the member by SIGKILL, and then end.
    Kill,
}

/// What a member's process is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// It runs.
    Running,
    /// It died and waits for its restart.
    Waiting,
    /// It was killed by order and stays down.
    Failed,
    /// The store has removed it; it stays down.
    Removed,
    /// It ended because the runner ends, or has removed it.
    Stopped,
}

/// What the supervisor knows of its member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The member's name.
    pub member: String,
    /// What its process is doing.
    pub phase: Phase,
    /// Since when.
    pub since: jiff::Timestamp,
    /// The process, while it runs.
    pub pid: Option<u32>,
    /// How often it was started again after it had died by itself or by order.
    pub restarts: u32,
}

/// Keeps one member running.
#[derive(Debug)]
pub struct Supervisor {
    /// The member's name.
    pub member: String,
    /// Where its clients connect.
    pub client: String,
    /// How to start it.
    pub launch: Launch,
    /// What it is told.
    pub orders: mpsc::Receiver<Order>,
    /// Where it says what happened. Whoever holds the other end drains it.
    pub events: mpsc::Sender<Event>,
    /// Where it says what is.
    pub report: watch::Sender<Report>,
}

/// Between two events in a member's life.
enum State {
    Running(Box<Process>),
    Waiting { until: Instant },
    Failed,
}

impl Supervisor {
    /// What to say of a member before its first start.
    pub fn unstarted(member: &str) -> Report {
        Report {
            member: member.to_owned(),
            phase: Phase::Waiting,
            since: jiff::Timestamp::now(),
            pid: None,
            restarts: 0,
        }
    }

    /// Runs until it is told to end, or nobody is left to tell it. True if the member ended when it was asked.
    pub async fn run(mut self) -> bool {
        let mut backoff = Backoff::default();
        let mut state = self.start(&mut backoff, false).await;
        loop {
            state = match state {
                State::Running(mut process) => tokio::select! {
                    ending = process.ended() => self.died(&process, ending, &mut backoff).await,
                    order = self.orders.recv() => match order {
                        Some(Order::Fail(answer)) => self.fail(process, answer).await,
                        Some(Order::Start(answer)) => {
                            self.answer(answer, format!("{} runs already (pid {})", self.member, process.pid()));
                            State::Running(process)
                        }
                        Some(Order::Signal(signal, answer)) => {
                            process.signal(signal);
                            // Whoever asked may have gone.
                            let _ = answer.send(true);
                            State::Running(process)
                        }
                        Some(Order::Stop) => return self.stop(*process).await,
                        Some(Order::Kill) | None => return self.kill(*process).await,
                    },
                },
                State::Waiting { until } => tokio::select! {
                    () = sleep(until.saturating_duration_since(Instant::now())) => self.start(&mut backoff, true).await,
                    order = self.orders.recv() => match self.order_while_down(order, &mut backoff).await {
                        Some(Some(next)) => next,
                        Some(None) => State::Waiting { until },
                        None => return true,
                    },
                },
                State::Failed => {
                    let order = self.orders.recv().await;
                    match self.order_while_down(order, &mut backoff).await {
                        Some(next) => next.unwrap_or(State::Failed),
                        None => return true,
                    }
                }
            };
        }
    }

    async fn start(&mut self, backoff: &mut Backoff, again: bool) -> State {
        match self.launch.start() {
            Ok(process) => {
                let pid = process.pid();
                self.report.send_modify(|report| {
                    report.phase = Phase::Running;
                    report.since = jiff::Timestamp::now();
                    report.pid = Some(pid);
                    report.restarts += u32::from(again);
                });
                let restarts = self.report.borrow().restarts;
                let (member, client) = (self.member.clone(), self.client.clone());
                self.say(Event::Started { member, pid, client, restarts }).await;
                State::Running(Box::new(process))
            }
            Err(error) => {
                // A start that fails at once is tried again after the same waits as a death.
                let wait = backoff.wait_after(Duration::ZERO);
                self.report.send_modify(|report| report.phase = Phase::Waiting);
                let (member, error) = (self.member.clone(), chain(&error));
                self.say(Event::NotStarted { member, error, retry_in_ms: millis(wait) }).await;
                State::Waiting { until: Instant::now() + wait }
            }
        }
    }

    async fn died(&mut self, process: &Process, ending: Ending, backoff: &mut Backoff) -> State {
        if ending.code() == Some(REMOVED_CODE.into()) {
            // It would be told the same again.
            self.down(Phase::Removed);
            self.say(Event::Removed { member: self.member.clone(), pid: process.pid() }).await;
            return State::Failed;
        }
        let wait = backoff.wait_after(process.lived());
        self.down(Phase::Waiting);
        self.say(Event::died(&self.member, process, ending, &self.launch.log, wait)).await;
        State::Waiting { until: Instant::now() + wait }
    }

    async fn fail(&mut self, mut process: Box<Process>, answer: oneshot::Sender<String>) -> State {
        process.kill();
        process.ended().await;
        self.down(Phase::Failed);
        let pid = process.pid();
        self.say(Event::Failed { member: self.member.clone(), pid: Some(pid) }).await;
        let member = &self.member;
        self.answer(
            answer,
            format!("{member} killed (pid {pid}); it stays down until `holdfast start {member}`"),
        );
        State::Failed
    }

    /// What an order does to a member that does not run: a new state, none, or (outer `None`) the end.
    async fn order_while_down(
        &mut self,
        order: Option<Order>,
        backoff: &mut Backoff,
    ) -> Option<Option<State>> {
        let member = self.member.clone();
        match order {
            Some(Order::Start(answer)) => {
                backoff.reset();
                let state = self.start(backoff, true).await;
                let text = match &state {
                    State::Running(process) => format!("{member} started (pid {})", process.pid()),
                    _ => format!("{member} could not be started; `holdfast up` says why and tries again"),
                };
                self.answer(answer, text);
                Some(Some(state))
            }
            Some(Order::Signal(_, answer)) => {
                let _ = answer.send(false);
                Some(None)
            }
            Some(Order::Fail(answer)) if self.report.borrow().phase == Phase::Failed => {
                self.answer(answer, format!("{member} is down already"));
                Some(None)
            }
            Some(Order::Fail(answer)) => {
                self.down(Phase::Failed);
                self.say(Event::Failed { member: member.clone(), pid: None }).await;
                self.answer(answer, format!("{member} was waiting for its restart and now stays down"));
                Some(Some(State::Failed))
            }
            Some(Order::Stop | Order::Kill) | None => {
                self.down(Phase::Stopped);
                None
            }
        }
    }

    async fn stop(mut self, mut process: Process) -> bool {
        process.terminate();
        let ending = tokio::select! {
            ending = timeout(STOP_WAIT, process.ended()) => ending.ok(),
            () = told_to_kill(&mut self.orders) => None,
        };
        match ending {
            Some(ending) => self.stopped(ending, false).await,
            None => self.kill(process).await,
        }
    }

    async fn kill(self, mut process: Process) -> bool {
        process.kill();
        let ending = process.ended().await;
        self.stopped(ending, true).await
    }

    async fn stopped(&self, ending: Ending, killed: bool) -> bool {
        self.down(Phase::Stopped);
        self.say(Event::Stopped { member: self.member.clone(), ending: ending.to_string(), killed }).await;
        !killed
    }

    fn down(&self, phase: Phase) {
        self.report.send_modify(|report| {
            report.phase = phase;
            report.since = jiff::Timestamp::now();
            report.pid = None;
        });
    }

    async fn say(&self, event: Event) {
        // Nobody listens only when the runner is being torn down.
        let _ = self.events.send(event).await;
    }

    fn answer(&self, to: oneshot::Sender<String>, text: String) {
        // Whoever asked may have gone; the event says the same.
        let _ = to.send(text);
    }
}

/// Ends when the order to kill comes, and refuses other orders by dropping them.
async fn told_to_kill(orders: &mut mpsc::Receiver<Order>) {
    loop {
        match orders.recv().await {
            Some(Order::Kill) => return,
            Some(_) => {}
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::tests::script;

    struct Bench {
        orders: mpsc::Sender<Order>,
        events: mpsc::Receiver<Event>,
        report: watch::Receiver<Report>,
        end: tokio::task::JoinHandle<bool>,
        _folder: tempfile::TempDir,
    }

    fn bench(text: &str) -> Bench {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (orders, orders_in) = mpsc::channel(ORDERS_MAX);
        let (events_out, events) = mpsc::channel(100);
        let (report_out, report) = watch::channel(Supervisor::unstarted("orders-0"));
        let supervisor = Supervisor {
            member: "orders-0".into(),
            client: "http://127.0.0.1:1".into(),
            launch: script(&folder, text),
            orders: orders_in,
            events: events_out,
            report: report_out,
        };
        Bench { orders, events, report, end: tokio::spawn(supervisor.run()), _folder: folder }
    }

    impl Bench {
        async fn next(&mut self) -> Event {
            timeout(Duration::from_secs(20), self.events.recv()).await.expect("in time").expect("it runs")
        }

        async fn order(&self, order: impl FnOnce(oneshot::Sender<String>) -> Order) -> String {
            let (answer, heard) = oneshot::channel();
            self.orders.send(order(answer)).await.expect("it runs");
            timeout(Duration::from_secs(20), heard).await.expect("in time").expect("every order is answered")
        }
    }

    #[tokio::test]
    async fn a_dead_member_is_started_again_and_its_words_are_shown() {
        let mut bench = bench("echo cannot go on >&2; exit 7");
        assert!(matches!(bench.next().await, Event::Started { restarts: 0, .. }));
        let Event::Died { ending, last_words, restart_in_ms, .. } = bench.next().await else {
            panic!("a death")
        };
        assert_eq!((ending.as_str(), restart_in_ms), ("exited with code 7", 0));
        assert_eq!(last_words, ["cannot go on"]);
        assert!(matches!(bench.next().await, Event::Started { restarts: 1, .. }));
        assert!(matches!(bench.next().await, Event::Died { restart_in_ms: 1000, .. }));
        bench.orders.send(Order::Stop).await.expect("it runs");
        assert!(bench.end.await.expect("no panic"));
        assert_eq!(bench.report.borrow().phase, Phase::Stopped);
    }

    #[tokio::test]
    async fn a_failed_member_stays_down_until_it_is_started() {
        let mut bench = bench("exec sleep 600");
        bench.next().await;
        assert!(bench.order(Order::Start).await.contains("runs already"));
        assert!(bench.order(Order::Fail).await.contains("stays down until `holdfast start orders-0`"));
        assert!(matches!(bench.next().await, Event::Failed { pid: Some(_), .. }));
        assert!(bench.order(Order::Fail).await.contains("down already"));
        assert_eq!(bench.report.borrow().pid, None);
        assert!(bench.order(Order::Start).await.contains("orders-0 started"));
        assert!(matches!(bench.next().await, Event::Started { restarts: 1, .. }));
        bench.orders.send(Order::Stop).await.expect("it runs");
        assert!(matches!(bench.next().await, Event::Stopped { killed: false, .. }));
        assert!(bench.end.await.expect("no panic"));
    }

    #[tokio::test]
    async fn a_removed_member_stays_down() {
        let mut bench = bench("exit 3");
        bench.next().await;
        assert!(matches!(bench.next().await, Event::Removed { .. }));
        assert_eq!(bench.report.borrow().phase, Phase::Removed);
        bench.orders.send(Order::Stop).await.expect("it runs");
        assert!(bench.end.await.expect("no panic"));
    }

    #[tokio::test]
    async fn a_member_that_does_not_end_is_killed_on_the_second_ask() {
        let mut bench = bench("trap '' TERM; echo ready; while :; do sleep 1; done");
        bench.next().await;
        while bench._folder.path().join("log").metadata().is_ok_and(|log| log.len() == 0) {
            tokio::task::yield_now().await;
        }
        bench.orders.send(Order::Stop).await.expect("it runs");
        bench.orders.send(Order::Kill).await.expect("it runs");
        assert!(matches!(bench.next().await, Event::Stopped { killed: true, .. }));
        assert!(!bench.end.await.expect("no panic"));
    }

    #[tokio::test]
    async fn a_member_that_cannot_start_is_tried_again() {
        let mut bench = bench("exit 0");
        // The log's folder vanishes: the launch itself fails.
        while !matches!(bench.next().await, Event::Died { restart_in_ms: 1000.., .. }) {}
        std::fs::remove_dir_all(bench._folder.path()).expect("ours");
        let Event::NotStarted { error, .. } = bench.next().await else { panic!("it cannot start") };
        assert!(error.contains("cannot open the log"), "{error}");
        drop(bench.orders);
        assert!(bench.end.await.expect("no panic"));
    }
}
