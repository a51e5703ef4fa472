//! What happens to a runner's store, one event at a time: as a line for people and as JSON for programs.
//!
//! Refuses to judge: an event says what happened, not whether it is bad.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::log_file::LogFile;
use crate::process::{Ending, Process};

/// One thing that happened. As JSON it has its kind in `event` and the fields below in camelCase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Event {
    /// A member's process runs.
    Started {
        /// The member's name.
        member: String,
        /// Its process.
        pid: u32,
        /// Where its clients connect.
        client: String,
        /// How often it was started again before.
        restarts: u32,
    },
    /// A member's process cannot be started.
    NotStarted {
        /// The member's name.
        member: String,
        /// Why.
        error: String,
        /// Milliseconds until the next try.
        retry_in_ms: u64,
    },
    /// A member's process ended by itself.
    Died {
        /// The member's name.
        member: String,
        /// Its process.
        pid: u32,
        /// How it ended.
        ending: String,
        /// What it said last, if that may explain its end.
        last_words: Vec<String>,
        /// Where it said everything.
        log: PathBuf,
        /// Milliseconds until it is started again.
        restart_in_ms: u64,
    },
    /// A member was killed by order and stays down.
    Failed {
        /// The member's name.
        member: String,
        /// The process that it was.
        pid: Option<u32>,
    },
    /// A member's process ended because the store has removed the member.
    Removed {
        /// The member's name.
        member: String,
        /// The process that it was.
        pid: u32,
    },
    /// Another member leads, or the first one.
    LeaderChanged {
        /// The leader's name.
        leader: String,
        /// The term that it leads in.
        term: u64,
        /// The name of the one before.
        previous: Option<String>,
    },
    /// Every member is well, for the first time or again.
    Ready {
        /// The store, as `namespace/name`.
        store: String,
        /// The name of the member that leads.
        leader: String,
        /// Where clients connect, by ordinal.
        clients: Vec<String>,
    },
    /// The dashboard can be looked at.
    Dashboard {
        /// Where.
        url: String,
    },
    /// No running member knows a leader.
    LeaderLost {
        /// The one that was.
        previous: String,
    },
    /// The manifest was edited and the members follow the new settings without a restart.
    SettingsChanged {
        /// What changed, a line each.
        changes: Vec<String>,
    },
    /// The manifest was edited and the edit cannot be followed; the store goes on with the settings before.
    EditRefused {
        /// Why, a line each.
        reasons: Vec<String>,
    },
    /// The runner was asked to end, and asks its members.
    Stopping {
        /// What asked.
        cause: String,
    },
    /// A member's process ended because the runner ends.
    Stopped {
        /// The member's name.
        member: String,
        /// How it ended.
        ending: String,
        /// It did not end when asked, and was killed.
        killed: bool,
    },
    /// Something else that the person at the terminal should know.
    Note {
        /// What.
        text: String,
    },
}

/// An event and when it happened, as it is printed.
#[derive(Debug, Serialize)]
pub struct Dated<'a> {
    /// When, in UTC, to the millisecond.
    #[serde(serialize_with = "to_the_millisecond")]
    pub time: jiff::Timestamp,
    /// What.
    #[serde(flatten)]
    pub event: &'a Event,
}

impl Event {
    /// A member died and will be started again after `restart_in`.
    pub(crate) fn died(
        member: &str,
        process: &Process,
        ending: Ending,
        log: &LogFile,
        wait: Duration,
    ) -> Event {
        // A kill from outside leaves no words that explain it.
        let last_words = if ending.is_kill() { Vec::new() } else { log.last_words(process.log_from()) };
        Event::Died {
            member: member.to_owned(),
            pid: process.pid(),
            ending: ending.to_string(),
            last_words,
            log: log.path().to_path_buf(),
            restart_in_ms: millis(wait),
        }
    }
}

/// Always with three decimals, so that lines sort by their time.
fn to_the_millisecond<S: Serializer>(time: &jiff::Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{time:.3}"))
}

/// Whole milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// One line for the event, and one more, indented, for each thing that it lists.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Started { member, pid, client, restarts: 0 } => {
                write!(f, "{member} started (pid {pid}, clients at {client})")
            }
            Event::Started { member, pid, client, restarts } => {
                write!(f, "{member} started again (pid {pid}, clients at {client}, restart {restarts})")
            }
            Event::NotStarted { member, error, retry_in_ms } => {
                write!(f, "{member} could not be started: {error}; trying again {}", Soon(*retry_in_ms))
            }
            Event::Died { member, pid, ending, last_words, log, restart_in_ms } => {
                write!(f, "{member} died (pid {pid}, {ending}), restarting {}", Soon(*restart_in_ms))?;
                list(f, last_words)?;
                if last_words.is_empty() { Ok(()) } else { write!(f, "\n    (from {})", log.display()) }
            }
            Event::Failed { member, pid: Some(pid) } => {
                write!(f, "{member} killed by order (pid {pid}), stays down until `holdfast start {member}`")
            }
            Event::Failed { member, pid: None } => {
                write!(f, "{member} taken down by order, stays down until `holdfast start {member}`")
            }
            Event::Removed { member, pid } => {
                write!(f, "{member} was removed from the store and ended (pid {pid})")
            }
            Event::LeaderChanged { leader, term, previous: None } => {
                write!(f, "{leader} leads in term {term}")
            }
            Event::LeaderChanged { leader, term, previous: Some(previous) } if leader == previous => {
                write!(f, "{leader} leads again, in term {term}")
            }
            Event::LeaderChanged { leader, term, previous: Some(previous) } => {
                write!(f, "{leader} leads in term {term}, before it {previous}")
            }
            Event::Ready { store, leader, clients } => {
                write!(f, "{store} is ready: {leader} leads, clients connect to {}", clients.join(" "))
            }
            Event::Dashboard { url } => write!(f, "the dashboard is at {url}"),
            Event::LeaderLost { previous } => write!(f, "no leader; the last one was {previous}"),
            Event::SettingsChanged { changes } => {
                f.write_str("the manifest was edited; the members follow without a restart")?;
                list(f, changes)
            }
            Event::EditRefused { reasons } => {
                f.write_str("the manifest was edited, but the edit is refused; the store goes on as before")?;
                list(f, reasons)
            }
            Event::Stopping { cause } => write!(f, "{cause}: ending the members"),
            Event::Stopped { member, ending, killed: false } => write!(f, "{member} ended ({ending})"),
            Event::Stopped { member, ending, killed: true } => {
                write!(f, "{member} did not end when asked and was killed ({ending})")
            }
            Event::Note { text } => f.write_str(text),
        }
    }
}

fn list(f: &mut fmt::Formatter<'_>, lines: &[String]) -> fmt::Result {
    lines.iter().try_for_each(|line| write!(f, "\n    {line}"))
}

/// "at once" or "in 4s".
struct Soon(u64);

impl fmt::Display for Soon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("at once"),
            wait if wait.is_multiple_of(1000) => write!(f, "in {}s", wait / 1000),
            wait => write!(f, "in {wait}ms"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(event: &Event, line: &str) {
        assert_eq!(event.to_string(), line);
    }

    #[test]
    fn events_read_as_sentences() {
        let started = |restarts| Event::Started {
            member: "orders-0".into(),
            pid: 7,
            client: "http://127.0.0.1:7400".into(),
            restarts,
        };
        check(&started(0), "orders-0 started (pid 7, clients at http://127.0.0.1:7400)");
        check(&started(2), "orders-0 started again (pid 7, clients at http://127.0.0.1:7400, restart 2)");
        let died = |restart_in_ms| Event::Died {
            member: "orders-0".into(),
            pid: 7,
            ending: "exited with code 1".into(),
            last_words: vec!["disk full".into()],
            log: "/d/log".into(),
            restart_in_ms,
        };
        check(
            &died(0),
            "orders-0 died (pid 7, exited with code 1), restarting at once\n    disk full\n    (from /d/log)",
        );
        check(
            &died(4000),
            "orders-0 died (pid 7, exited with code 1), restarting in 4s\n    disk full\n    (from /d/log)",
        );
    }

    #[test]
    fn as_json_an_event_is_flat() {
        let event = Event::LeaderChanged { leader: "orders-1".into(), term: 3, previous: None };
        let time = jiff::Timestamp::UNIX_EPOCH;
        let json = serde_json::to_value(Dated { time, event: &event }).expect("plain data");
        let expected = serde_json::json!({
            "time": "1970-01-01T00:00:00.000Z", "event": "leaderChanged", "leader": "orders-1", "term": 3, "previous": null
        });
        assert_eq!(json, expected);
    }
}
