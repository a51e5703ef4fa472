//! What is told about a store, as Events, when something changed: from the status before and after. It refuses to repeat what has not
//! changed; the status says what is the case.

use holdfast_api::names::condition::{self, reason};
use holdfast_api::{ReplicatedStore, ReplicatedStoreStatus, Strategy};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource as _};
use tracing::warn;

use crate::roll::Step;

/// Longest text of an event, as the API server takes it, in bytes.
const NOTE_BYTES_MAX: usize = 1000;

/// The reason of the event about a store that cannot be read.
pub const MALFORMED: &str = "Malformed";

/// One thing to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Whether somebody should look.
    pub warning: bool,
    /// In CamelCase.
    pub reason: &'static str,
    /// For a person.
    pub note: String,
}

/// Everything that changed between two statuses and that is worth telling, and what the operator does about the store.
///
/// That a member is missing while it is being restarted is no news.
#[must_use]
pub fn notices(
    strategy: Strategy,
    before: &ReplicatedStoreStatus,
    after: &ReplicatedStoreStatus,
    step: Option<&Step>,
) -> Vec<Notice> {
    let mut notices = Vec::new();
    leadership(before, after, &mut notices);
    losses(strategy, before, after, &mut notices);
    health(before, after, &mut notices);
    work(before, after, &mut notices);
    forced(before, after, &mut notices);
    let note = match step {
        Some(Step::Restart { ordinal, .. }) => format!("restarting member {ordinal}"),
        Some(Step::HandOver { from, to }) => {
            format!("member {from} hands its leadership over to member {to} before its restart")
        }
        Some(Step::Done | Step::Wait(_)) | None => return notices,
    };
    notices.push(Notice { warning: false, reason: reason::RESTARTING_MEMBERS, note });
    notices
}

/// Conditions that changed.
fn health(before: &ReplicatedStoreStatus, after: &ReplicatedStoreStatus, notices: &mut Vec<Notice>) {
    for (type_, warning, good) in [
        (condition::QUORUM_LOST, "QuorumLost", "QuorumRestored"),
        (condition::DEGRADED, "Degraded", "Recovered"),
        (condition::LAST_COPY, "LastCopy", "CopiesRestored"),
        (condition::AUTHORITY_LOST, "AuthorityLost", "AuthorityRestored"),
    ] {
        let expected = |status| type_ == condition::DEGRADED && is_restarting(status);
        let bad = |status| {
            find(status, type_).is_some_and(|condition| condition.status == "True") && !expected(status)
        };
        let Some(is) = find(after, type_) else { continue };
        if bad(after) && !bad(before) {
            notices.push(Notice { warning: true, reason: warning, note: is.message.clone() });
        } else if is.status == "False" && bad(before) {
            notices.push(Notice { warning: false, reason: good, note: is.message.clone() });
        }
    }
    let ready = |status| find(status, condition::READY).filter(|condition| condition.status == "True");
    if let (None, Some(is)) = (ready(before), ready(after))
        && !is_restarting(after)
    {
        notices.push(Notice { warning: false, reason: "Ready", note: is.message.clone() });
    }
}

fn is_restarting(status: &ReplicatedStoreStatus) -> bool {
    find(status, condition::PROGRESSING).is_some_and(|progress| progress.reason == reason::RESTARTING_MEMBERS)
}

fn is_removing(status: &ReplicatedStoreStatus) -> bool {
    find(status, condition::PROGRESSING).is_some_and(|progress| progress.reason == reason::REMOVING_MEMBERS)
}

fn leadership(before: &ReplicatedStoreStatus, after: &ReplicatedStoreStatus, notices: &mut Vec<Notice>) {
    let Some(leader) = after.leader.as_deref() else { return };
    let term = after.term.unwrap_or_default();
    match before.leader.as_deref() {
        Some(former) if former == leader => {}
        Some(former) => notices.push(Notice {
            warning: false,
            reason: "LeaderChanged",
            note: format!("{leader} leads in term {term}; before it was {former}"),
        }),
        None => {
            let note = format!("{leader} leads in term {term}");
            notices.push(Notice { warning: false, reason: "LeaderElected", note });
        }
    }
}

/// A member without a log that comes back in another life has lost something.
fn losses(
    strategy: Strategy,
    before: &ReplicatedStoreStatus,
    after: &ReplicatedStoreStatus,
    notices: &mut Vec<Notice>,
) {
    if strategy.replicates() {
        return;
    }
    for member in &after.members {
        let former = before.members.iter().find(|former| former.ordinal == member.ordinal);
        let (Some(was), Some(is)) = (former.and_then(|f| f.incarnation.as_ref()), &member.incarnation) else {
            continue;
        };
        if was == is {
            continue;
        }
        let name = &member.name;
        let (reason, said) = if strategy == Strategy::Baseline {
            (
                reason::STARTED_EMPTY,
                format!("{name} ended and started empty: everything that the store held is lost"),
            )
        } else {
            let said =
                format!("{name} ended and started from its last checkpoint: writes after that one are lost");
            ("StartedFromCheckpoint", said)
        };
        let note = member.note.clone().map_or(said.clone(), |note| format!("{said} ({note})"));
        notices.push(Notice { warning: true, reason, note });
    }
}

/// What the operator cannot do, and that a roll has ended.
fn work(before: &ReplicatedStoreStatus, after: &ReplicatedStoreStatus, notices: &mut Vec<Notice>) {
    let (was, Some(is)) = (find(before, condition::PROGRESSING), find(after, condition::PROGRESSING)) else {
        return;
    };
    if was.is_some_and(|was| was.reason == is.reason && was.message == is.message) {
        return;
    }
    match is.reason.as_str() {
        reason::INVALID_SPEC => {
            notices.push(Notice { warning: true, reason: reason::INVALID_SPEC, note: is.message.clone() })
        }
        reason::RECONCILE_FAILED => {
            notices.push(Notice { warning: true, reason: reason::RECONCILE_FAILED, note: is.message.clone() })
        }
        reason::ADDING_MEMBERS | reason::REMOVING_MEMBERS => {
            let reason = if is.reason == reason::ADDING_MEMBERS {
                reason::ADDING_MEMBERS
            } else {
                reason::REMOVING_MEMBERS
            };
            notices.push(Notice { warning: false, reason, note: is.message.clone() });
        }
        reason::AS_SPECIFIED if is_removing(before) => {
            notices.push(Notice { warning: false, reason: "MembersRemoved", note: is.message.clone() })
        }
        reason::AS_SPECIFIED if is_restarting(before) => {
            notices.push(Notice { warning: false, reason: "MembersRestarted", note: is.message.clone() })
        }
        _ => {}
    }
}

/// That somebody made a member start that may have lost writes, or tried to.
fn forced(before: &ReplicatedStoreStatus, after: &ReplicatedStoreStatus, notices: &mut Vec<Notice>) {
    let told = |status: &ReplicatedStoreStatus| {
        let in_sync = status.in_sync.clone().unwrap_or_default();
        (in_sync.forced_start, in_sync.forced_outcome)
    };
    let (Some(order), outcome) = told(after) else { return };
    if told(before).0.as_ref() != Some(&order) {
        let note = format!("the order to start from {order}: {}", outcome.unwrap_or_default());
        notices.push(Notice { warning: true, reason: "ForcedStart", note });
    }
}

fn find<'a>(status: &'a ReplicatedStoreStatus, type_: &str) -> Option<&'a Condition> {
    status.conditions.iter().find(|condition| condition.type_ == type_)
}

/// Where events are written.
#[derive(Clone)]
pub struct Events {
    client: Client,
    reporter: Reporter,
    /// Counts what is told again instead of telling it.
    counting: Recorder,
}

impl Events {
    /// Events by this reporter.
    #[must_use]
    pub fn new(client: Client, reporter: Reporter) -> Events {
        let counting = Recorder::new(client.clone(), reporter.clone());
        Events { client, reporter, counting }
    }

    /// Tells what there is to tell. An event that cannot be written is logged and forgotten: the status has the same facts.
    pub async fn publish(&self, store: &ReplicatedStore, notices: &[Notice]) {
        for notice in notices {
            self.tell(&store.object_ref(&()), notice).await;
        }
    }

    /// Tells one thing about an object.
    pub async fn tell(&self, object: &ObjectReference, notice: &Notice) {
        let Notice { warning, reason, note } = notice;
        let event = Event {
            type_: if *warning { EventType::Warning } else { EventType::Normal },
            reason: (*reason).to_owned(),
            note: Some(cut(note)),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        // A recorder shows the first text of a reason for minutes and only counts the others. Of what keeps failing that is right; the
        // second change of leaders is news.
        let recorder = if *reason == reason::RECONCILE_FAILED || *reason == MALFORMED {
            self.counting.clone()
        } else {
            Recorder::new(self.client.clone(), self.reporter.clone())
        };
        if let Err(error) = recorder.publish(&event, object).await {
            warn!(%error, reason, "cannot write an event");
        }
    }
}

fn cut(note: &str) -> String {
    let mut end = note.len().min(NOTE_BYTES_MAX);
    while !note.is_char_boundary(end) {
        end -= 1;
    }
    note[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use holdfast_api::kind::MemberStatus;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn status(leader: Option<&str>, conditions: &[(&str, &str, &str)]) -> ReplicatedStoreStatus {
        let conditions = conditions.iter().map(|(type_, status, reason)| Condition {
            type_: (*type_).to_owned(),
            status: (*status).to_owned(),
            reason: (*reason).to_owned(),
            message: format!("because of {reason}"),
            observed_generation: Some(1),
            last_transition_time: Time("2026-11-21T10:00:00Z".parse().unwrap()),
        });
        ReplicatedStoreStatus {
            leader: leader.map(str::to_owned),
            term: Some(4),
            conditions: conditions.collect(),
            ..ReplicatedStoreStatus::default()
        }
    }

    fn check(before: &ReplicatedStoreStatus, after: &ReplicatedStoreStatus, expected: &[&str]) {
        let told = notices(Strategy::Replication, before, after, None);
        let told: Vec<String> = told
            .iter()
            .map(|notice| format!("{}{}", if notice.warning { "!" } else { "" }, notice.reason))
            .collect();
        assert_eq!(told, expected);
        assert_eq!(notices(Strategy::Replication, after, after, None), [], "nothing is told twice");
    }

    #[test]
    fn a_first_leader_and_a_change_of_leaders() {
        let nobody = status(None, &[]);
        let first = status(Some("a-0"), &[]);
        let second = status(Some("a-1"), &[]);
        check(&nobody, &first, &["LeaderElected"]);
        check(&first, &second, &["LeaderChanged"]);
        check(&second, &nobody, &[]);
    }

    #[test]
    fn conditions_that_change() {
        let well =
            status(None, &[("Ready", "True", "x"), ("Degraded", "False", "x"), ("QuorumLost", "False", "x")]);
        let ill =
            status(None, &[("Ready", "False", "x"), ("Degraded", "True", "x"), ("QuorumLost", "True", "x")]);
        check(&ReplicatedStoreStatus::default(), &well, &["Ready"]);
        check(&well, &ill, &["!QuorumLost", "!Degraded"]);
        check(&ill, &well, &["QuorumRestored", "Recovered", "Ready"]);
    }

    #[test]
    fn work_that_goes_on_or_fails() {
        let work = |reason| status(None, &[("Progressing", "True", reason)]);
        let done = work(reason::AS_SPECIFIED);
        check(&done, &work(reason::RECONCILE_FAILED), &["!ReconcileFailed"]);
        check(&done, &work(reason::INVALID_SPEC), &["!InvalidSpec"]);
        check(&done, &work(reason::RESTARTING_MEMBERS), &[]);
        check(&work(reason::RESTARTING_MEMBERS), &done, &["MembersRestarted"]);
    }

    #[test]
    fn a_restart_is_told_by_its_steps_and_not_by_what_follows_from_them() {
        let well = [
            ("Ready", "True", "x"),
            ("Degraded", "False", "x"),
            ("Progressing", "False", reason::AS_SPECIFIED),
        ];
        let away = [
            ("Ready", "False", "x"),
            ("Degraded", "True", "x"),
            ("Progressing", "True", reason::RESTARTING_MEMBERS),
        ];
        let (well, away) = (status(None, &well), status(None, &away));
        check(&well, &away, &[]);
        check(&away, &well, &["Ready", "MembersRestarted"]);
        // A member that fails while nobody restarts it is told.
        let failed =
            status(None, &[("Degraded", "True", "x"), ("Progressing", "False", reason::AS_SPECIFIED)]);
        check(&away, &failed, &["!Degraded", "MembersRestarted"]);
        let told =
            |step| notices(Strategy::Replication, &away, &away, Some(&step)).pop().map(|notice| notice.note);
        let restart = Step::Restart { ordinal: 2, why: crate::roll::Turn::Follower };
        assert_eq!(told(restart).as_deref(), Some("restarting member 2"));
        assert_eq!(told(Step::Wait(crate::roll::Wait::NoLeader)), None);
    }

    #[test]
    fn a_member_without_a_log_that_comes_back_in_another_life_has_lost_something() {
        let life = |incarnation: &str| ReplicatedStoreStatus {
            members: vec![MemberStatus {
                name: "a-0".into(),
                ordinal: 0,
                ready: true,
                role: None,
                incarnation: Some(incarnation.into()),
                term: None,
                commit: None,
                lag: None,
                node: None,
                version: None,
                note: None,
            }],
            ..ReplicatedStoreStatus::default()
        };
        let told = |strategy, after: &str| {
            notices(strategy, &life("1"), &life(after), None).pop().map(|notice| notice.reason)
        };
        assert_eq!(told(Strategy::Baseline, "2"), Some("StartedEmpty"));
        assert_eq!(told(Strategy::Checkpointing, "2"), Some("StartedFromCheckpoint"));
        assert_eq!(told(Strategy::Baseline, "1"), None);
        assert_eq!(told(Strategy::Replication, "2"), None);
    }

    #[test]
    fn long_notes_are_cut_between_characters() {
        assert_eq!(cut("short"), "short");
        assert!(cut(&"ä".repeat(2000)).len() <= NOTE_BYTES_MAX);
    }
}
