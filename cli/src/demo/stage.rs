//! The commands of the demonstration, one at a time, each with what came of it.
//!
//! Refuses to fail the leader unless it is allowed, and members of the other machine always.

use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use holdfast_client::reply::Role;
use jiff::Zoned;
use tokio::process::Command;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep};

use super::cast::{Cast, Seen, State, Troupe};
use super::input::{COMMANDS, Input};
use super::{LEADER, MEMBERS, ON_FIRST};
use crate::arguments::DemoChat;
use crate::exit::{Exit, Failure};
use crate::table;

/// How long all members may take to be there: the other machine's are started by a person.
const READY_WAIT: Duration = Duration::from_secs(120);
/// How long a member may take to be back after it was started.
const START_WAIT: Duration = Duration::from_secs(15);
/// How often members are looked at meanwhile.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// Longest `wait`.
const WAIT_SECONDS_MAX: f64 = 3600.0;

const HELP: &str = "\
status       every member: state, leader, where, addresses, term, lag
test         accounts alice and bob, alice logs in and sends bob a message
fail ID      kill a member of this machine; it stays down
start ID     start it again
wait SECONDS
exit         end everything
A line that begins with ! is expected to fail; one that begins with # is a remark.";

/// A demonstration that runs.
pub(super) struct Stage<'a> {
    arguments: &'a DemoChat,
    cast: Cast,
    troupe: Troupe,
    input: Input,
    signals: [Signal; 2],
    /// Nothing that was told failed.
    well: bool,
}

/// What a command came to.
enum Done {
    Well,
    /// What is wrong, for the person.
    Wrong(String),
    Exit,
}

impl<'a> Stage<'a> {
    pub(super) async fn new(arguments: &'a DemoChat, cast: Cast, input: Input) -> Result<Stage<'a>, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| Failure::general(format!("cannot listen for signals: {error}")))
        };
        let signals = [listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?];
        let troupe = cast.start()?;
        Ok(Stage { arguments, cast, troupe, input, signals, well: true })
    }

    /// Until `exit`, the end of the input, or a signal.
    pub(super) async fn play(mut self) -> Result<Exit, Failure> {
        say(&format!(
            "five members, the first {ON_FIRST} on machine 1, the others on machine 2{}; data in {}{}",
            if self.troupe.place.is_one_machine() { " (both are this one)" } else { "" },
            self.cast.folder(self.arguments).display(),
            if self.arguments.skip_clear { ", kept from the last time" } else { "" },
        ));
        let mut interrupted = false;
        let ready = self.ready();
        match or_signal(ready, &mut Stage::fresh_signals()?).await {
            Some(Ok(took)) => say(&format!("all members are online after {:.1} s", took.as_secs_f64())),
            Some(Err(text)) => {
                say(&text);
                self.well = false;
            }
            None => interrupted = true,
        }
        while !interrupted {
            let [interrupt, terminate] = &mut self.signals;
            let line = tokio::select! {
                line = self.input.next() => line,
                _ = interrupt.recv() => break,
                _ = terminate.recv() => break,
            };
            let Some(line) = line else { break };
            if !self.input.typed {
                say(&format!("chat> {line}"));
            }
            match or_signal(self.obey(&line), &mut Stage::fresh_signals()?).await {
                Some(Done::Well) => {}
                Some(Done::Wrong(text)) => {
                    say(&text);
                    self.well = false;
                }
                Some(Done::Exit) => break,
                None => interrupted = true,
            }
        }
        say("ending every process that was started");
        let [interrupt, _] = &mut self.signals;
        let in_order = self.troupe.end(async { interrupt.recv().await.unwrap_or_default() }).await;
        if !in_order {
            return Err(Failure::general("some processes did not end when asked and were killed"));
        }
        Ok(if self.well { Exit::Ok } else { Exit::Failure })
    }

    fn fresh_signals() -> Result<[Signal; 2], Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| Failure::general(format!("cannot listen for signals: {error}")))
        };
        Ok([listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?])
    }

    /// Waits until every member is there, and has the one lead that is to lead at first.
    async fn ready(&self) -> Result<Duration, String> {
        let began = Instant::now();
        let mut hinted = false;
        loop {
            let seen = self.troupe.see().await;
            let online = online(&seen);
            if online == usize::from(MEMBERS) {
                break;
            }
            if began.elapsed() > READY_WAIT {
                return Err(format!("only {online} of {MEMBERS} members are online; `status` shows which"));
            }
            if !hinted && began.elapsed() > START_WAIT / 5 && !self.troupe.place.is_one_machine() {
                say("waiting for the members of the other machine");
                hinted = true;
            }
            sleep(LOOK_INTERVAL).await;
        }
        if self.troupe.place.is_local(LEADER) && leader(&self.troupe.see().await) != Some(LEADER) {
            self.troupe.hand_over_to(LEADER).await.map_err(|error| {
                format!("leadership could not be handed to member {}: {error}", LEADER + 1)
            })?;
        }
        // The other machine waits for what this one hands over.
        let until = Instant::now() + START_WAIT;
        while leader(&self.troupe.see().await) != Some(LEADER) && Instant::now() < until {
            sleep(LOOK_INTERVAL).await;
        }
        Ok(began.elapsed())
    }

    async fn obey(&self, line: &str) -> Done {
        let line = line.trim();
        if line.starts_with('#') {
            return Done::Well;
        }
        let (line, expected_to_fail) = match line.strip_prefix('!') {
            Some(rest) => (rest.trim(), true),
            None => (line, false),
        };
        match (self.command(line).await, expected_to_fail) {
            (Done::Wrong(text), true) => {
                say(&text);
                say("(as expected)");
                Done::Well
            }
            (Done::Well, true) => Done::Wrong(format!("{line} was expected to fail, and did not")),
            (done, _) => done,
        }
    }

    async fn command(&self, line: &str) -> Done {
        let mut words = line.split_whitespace();
        let (verb, given, more) = (words.next().unwrap_or(""), words.next(), words.next());
        let takes_one = verb == "wait" || COMMANDS.iter().any(|(name, member)| *member && *name == verb);
        if more.is_some() || (given.is_some() && !takes_one) {
            return Done::Wrong(format!("{verb} takes {}", if takes_one { "one word" } else { "nothing" }));
        }
        match verb {
            "" => Done::Well,
            "exit" | "quit" => Done::Exit,
            "help" => {
                say(HELP);
                Done::Well
            }
            "status" => {
                self.status().await;
                Done::Well
            }
            "test" => self.test().await,
            "wait" => match given.and_then(|word| word.parse::<f64>().ok()) {
                Some(seconds) if (0.0..=WAIT_SECONDS_MAX).contains(&seconds) => {
                    sleep(Duration::from_secs_f64(seconds)).await;
                    Done::Well
                }
                _ => Done::Wrong("wait SECONDS, at most an hour".to_owned()),
            },
            "fail" | "kill" => match id(given) {
                Ok(ordinal) => self.fail(ordinal).await,
                Err(text) => Done::Wrong(text),
            },
            "start" => match id(given) {
                Ok(ordinal) => self.start(ordinal).await,
                Err(text) => Done::Wrong(text),
            },
            other => Done::Wrong(format!("there is no command {other}; help says what there is")),
        }
    }

    async fn status(&self) {
        let seen = self.troupe.see().await;
        let leader = leader(&seen);
        let lag = |ordinal: u8| {
            let status = seen[usize::from(leader?)].status.as_ref()?;
            status.peers.iter().find(|peer| peer.ordinal == ordinal)?.lag
        };
        let none = || "-".to_owned();
        let rows = seen.iter().zip(0..).map(|(seen, ordinal)| {
            let (place, status) = (&self.troupe.place, seen.status.as_ref());
            let lag = if leader == Some(ordinal) { Some(0) } else { lag(ordinal) };
            [
                (ordinal + 1).to_string(),
                seen.state.word().to_owned(),
                if leader == Some(ordinal) { "leader".to_owned() } else { String::new() },
                if place.is_local(ordinal) { "Local" } else { "Remote" }.to_owned(),
                format!("{} / {}", place.chat(ordinal), place.peer(ordinal).port()),
                status.map_or_else(none, |status| status.term.to_string()),
                lag.filter(|_| seen.state != State::Offline).map_or_else(none, |lag| lag.to_string()),
            ]
        });
        let heading = ["MEMBER", "STATE", "LEADER", "LOCATION", "ADDRESS (CLIENT / PEER)", "TERM", "LAG"];
        table::lines(heading, rows).iter().for_each(|line| say(line));
    }

    /// Runs the chat's own trial, in a process of its own as any client is.
    async fn test(&self) -> Done {
        let name = format!("Manual Test @ {}", Zoned::now().strftime("%H:%M:%S"));
        let servers: Vec<String> =
            (0..MEMBERS).map(|ordinal| self.troupe.place.chat(ordinal).to_string()).collect();
        let began = Instant::now();
        let run = Command::new(self.cast.chat.file())
            .args(["try", "--servers", &servers.join(","), "--timeout", &self.arguments.timeout.to_string()])
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await;
        let reason = match run {
            Ok(output) => {
                String::from_utf8_lossy(&output.stdout).lines().for_each(say);
                if output.status.success() {
                    say(&format!(
                        "=== WORKLOAD '{name}' COMPLETED SUCCESSFULLY === ({:.0} ms)",
                        began.elapsed().as_secs_f64() * 1e3
                    ));
                    return Done::Well;
                }
                String::from_utf8_lossy(&output.stderr).trim().trim_start_matches("error: ").to_owned()
            }
            Err(error) => format!("{} cannot be run: {error}", self.cast.chat.file().display()),
        };
        let seen = self.troupe.see().await;
        let quorum = usize::from(MEMBERS / 2 + 1);
        let why = match online_processes(&seen) {
            there if there < quorum => {
                format!("no quorum: {there} of {MEMBERS} members run, and {quorum} are needed; {reason}")
            }
            _ => reason,
        };
        Done::Wrong(format!("{why}\n=== WORKLOAD '{name}' FAILED ==="))
    }

    async fn fail(&self, ordinal: u8) -> Done {
        let id = ordinal + 1;
        if !self.troupe.place.is_local(ordinal) {
            return Done::Wrong(format!("member {id} runs on the other machine: fail it there"));
        }
        let leads = leader(&self.troupe.see().await) == Some(ordinal);
        if leads && !self.arguments.fail_leader {
            return Done::Wrong(format!(
                "member {id} leads: failing the leader needs --fail-leader when the demonstration is started"
            ));
        }
        match self.troupe.fail(ordinal).await {
            true => {
                let what = if leads { ", which led," } else { "" };
                say(&format!("member {id}{what} was killed; it stays down until `start {id}`"));
                Done::Well
            }
            false => {
                Done::Wrong(format!("member {id} is not looked after any more; this is a defect of ours"))
            }
        }
    }

    async fn start(&self, ordinal: u8) -> Done {
        let id = ordinal + 1;
        if !self.troupe.place.is_local(ordinal) {
            return Done::Wrong(format!("member {id} runs on the other machine: start it there"));
        }
        let began = Instant::now();
        if !self.troupe.start(ordinal).await {
            return Done::Wrong(format!(
                "member {id} is not looked after any more; this is a defect of ours"
            ));
        }
        loop {
            let seen = self.troupe.see().await;
            if seen[usize::from(ordinal)].state == State::Online {
                say(&format!("member {id} is online after {:.1} s", began.elapsed().as_secs_f64()));
                return Done::Well;
            }
            // Without a quorum nobody can be online; that it runs is all that can be had.
            if began.elapsed() > START_WAIT / 5 && online_processes(&seen) <= usize::from(MEMBERS / 2) {
                say(&format!("member {id} runs; it waits for more members"));
                return Done::Well;
            }
            if began.elapsed() > START_WAIT {
                return Done::Wrong(format!(
                    "member {id} was started and is not online after {START_WAIT:?}"
                ));
            }
            sleep(LOOK_INTERVAL).await;
        }
    }
}

/// The member that leads, as those who answer see it.
fn leader(seen: &[Seen]) -> Option<u8> {
    let said = seen.iter().filter_map(|seen| seen.status.as_ref());
    let leader = said.filter(|status| status.role == Role::Leader).max_by_key(|status| status.term);
    leader.map(|status| status.member)
}

fn online(seen: &[Seen]) -> usize {
    seen.iter().filter(|seen| seen.state == State::Online).count()
}

/// Members that answer at all, with a quorum or without.
fn online_processes(seen: &[Seen]) -> usize {
    seen.iter().filter(|seen| seen.status.is_some()).count()
}

/// The ordinal of the member that a person calls so.
fn id(word: Option<&str>) -> Result<u8, String> {
    match word.and_then(|word| word.parse::<u8>().ok()) {
        Some(id) if (1..=MEMBERS).contains(&id) => Ok(id - 1),
        _ => Err(format!("members are called 1 to {MEMBERS}")),
    }
}

/// Waits for something unless a signal comes first.
async fn or_signal<T>(what: impl Future<Output = T>, [interrupt, terminate]: &mut [Signal; 2]) -> Option<T> {
    tokio::select! {
        done = what => Some(done),
        _ = interrupt.recv() => None,
        _ = terminate.recv() => None,
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // Whoever started it may not listen.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
