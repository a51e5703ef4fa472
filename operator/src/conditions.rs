//! The four conditions of a store, from what was seen: a pure judgement, and how it is written down.
//!
//! It refuses to remember: what a condition was before matters only for the time of its last change.

use holdfast_api::names::condition::{self, reason};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

use crate::roll::{Are, Members, Step, Wait};
use crate::scale::Scaling;

/// What is known about a store, as far as the conditions need it.
#[derive(Clone, Debug)]
pub struct View {
    /// Members that it should have.
    pub replicas: u8,
    /// Whether an authority decides who leads, so that one member that is in sync is enough.
    pub in_sync: bool,
    /// Members that vote, as the leader says; empty if nobody said. Where an authority decides, those that are in sync.
    pub voters: Vec<u8>,
    /// Who leads, in which term.
    pub leader: Option<(u8, u64)>,
    /// Members whose pods the kubelet calls ready.
    pub ready: Vec<u8>,
    /// Members that answered and are voters of a formed store.
    pub voting: Vec<u8>,
    /// Members that are not well, with the reason: not ready, or ready but silent.
    pub unwell: Vec<(u8, String)>,
    /// Whether anybody ever led.
    pub formed: bool,
    /// Whether all members were ever ready at the same time.
    pub complete: bool,
    /// Whether the StatefulSet is there.
    pub created: bool,
    /// What a Baseline store says that it lost.
    pub lost: Option<String>,
    /// How the operator's work stands.
    pub work: Work,
}

/// How the operator's work on a store stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// The spec cannot be carried out.
    Refused(String),
    /// Something failed, and is tried again.
    Failed(String),
    /// The objects are as the spec says; this is the next step of a roll.
    Step(Step),
    /// The objects are as they can be, and members are being added or removed.
    Scaling(Scaling),
}

/// A condition as it should be from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Its type.
    pub type_: &'static str,
    /// Whether it holds; `None` if nobody can tell.
    pub holds: Option<bool>,
    /// One of [`reason`].
    pub reason: &'static str,
    /// For a person.
    pub message: String,
}

impl View {
    /// Whether so many members make a majority.
    #[must_use]
    pub fn is_majority(&self, members: usize) -> bool {
        members > self.votes() / 2
    }

    /// How many members vote. Before anybody has said, all that there are to be.
    fn votes(&self) -> usize {
        if self.voters.is_empty() { self.replicas.into() } else { self.voters.len() }
    }

    /// Whether a member is not expected to be well yet: it has no vote, and others have.
    fn is_new(&self, ordinal: u8) -> bool {
        !self.voters.is_empty() && !self.voters.contains(&ordinal)
    }

    /// Nobody answers, although pods are ready: the operator cannot see, so it must not claim.
    fn blind(&self) -> bool {
        self.leader.is_none() && self.voting.is_empty() && self.is_majority(self.ready.len())
    }

    /// Enough members can be reached for one to lead, or somebody does.
    fn has_quorum(&self) -> bool {
        if self.in_sync && !self.voters.is_empty() {
            return self.leader.is_some() || self.voters.iter().any(|voter| self.voting.contains(voter));
        }
        self.leader.is_some() || self.is_majority(self.voting.len())
    }

    fn unwell_text(&self) -> String {
        let mut text = String::new();
        for (ordinal, why) in &self.unwell {
            let separator = if text.is_empty() { "" } else { "; " };
            text += &format!("{separator}member {ordinal}: {why}");
        }
        text
    }
}

/// All conditions, in the order in which a status lists them.
#[must_use]
pub fn judge(view: &View) -> [Judgement; 4] {
    [ready(view), progressing(view), degraded(view), quorum_lost(view)]
}

fn ready(view: &View) -> Judgement {
    let judgement = |holds, reason, message| Judgement { type_: condition::READY, holds, reason, message };
    if let (Work::Refused(why), false) = (&view.work, view.created) {
        return judgement(Some(false), reason::INVALID_SPEC, why.clone());
    }
    if view.blind() {
        let silent = "no member answers the operator, although their pods are ready";
        return judgement(None, reason::UNKNOWN, format!("{silent}; {}", view.unwell_text()));
    }
    let Some((leader, term)) = view.leader else {
        return if !view.created {
            judgement(Some(false), reason::CREATING, "its objects are being made".to_owned())
        } else if !view.formed {
            judgement(
                Some(false),
                reason::FORMING,
                format!("the members find each other; {}", view.unwell_text()),
            )
        } else if view.has_quorum() {
            judgement(Some(false), reason::NO_LEADER, "a leader is being elected".to_owned())
        } else {
            judgement(Some(false), reason::NO_QUORUM, lost(view))
        };
    };
    if !view.unwell.is_empty() {
        let reason = if !view.complete {
            reason::FORMING
        } else if view.unwell.iter().all(|(ordinal, _)| view.is_new(*ordinal)) {
            reason::ADDING_MEMBERS
        } else {
            reason::MEMBERS_NOT_READY
        };
        return judgement(Some(false), reason, view.unwell_text());
    }
    let replicas = view.replicas;
    let message = format!("member {leader} leads in term {term}; {replicas} of {replicas} members are ready");
    match &view.lost {
        Some(lost) => judgement(Some(true), reason::STARTED_EMPTY, format!("{message}; {lost}")),
        None => judgement(Some(true), reason::ALL_MEMBERS_READY, message),
    }
}

fn progressing(view: &View) -> Judgement {
    let judgement = |holds, reason, message| Judgement {
        type_: condition::PROGRESSING,
        holds: Some(holds),
        reason,
        message,
    };
    match &view.work {
        Work::Refused(why) => judgement(false, reason::INVALID_SPEC, why.clone()),
        Work::Failed(why) => judgement(false, reason::RECONCILE_FAILED, why.clone()),
        Work::Step(_) | Work::Scaling(_) if !view.created => {
            judgement(true, reason::CREATING, "its objects are being made".to_owned())
        }
        Work::Step(_) | Work::Scaling(_) if !view.complete => {
            judgement(true, reason::FORMING, "the members find each other for the first time".to_owned())
        }
        Work::Scaling(scaling @ Scaling::Adding(_)) => {
            judgement(true, reason::ADDING_MEMBERS, scaling.to_string())
        }
        Work::Scaling(scaling) => judgement(true, reason::REMOVING_MEMBERS, scaling.to_string()),
        Work::Step(Step::Done | Step::Wait(Wait::Revision)) => {
            judgement(false, reason::AS_SPECIFIED, "everything is as the spec wants it".to_owned())
        }
        Work::Step(Step::Wait(wait)) => judgement(true, reason::RESTARTING_MEMBERS, wait.to_string()),
        Work::Step(Step::Restart { ordinal, .. }) => {
            judgement(true, reason::RESTARTING_MEMBERS, format!("restarting member {ordinal}"))
        }
        Work::Step(Step::HandOver { from, to }) => {
            let message =
                format!("member {from} hands its leadership over to member {to} before its restart");
            judgement(true, reason::RESTARTING_MEMBERS, message)
        }
    }
}

fn degraded(view: &View) -> Judgement {
    let judgement = |holds, reason, message| Judgement { type_: condition::DEGRADED, holds, reason, message };
    if !view.created {
        return judgement(Some(false), reason::CREATING, "its objects are being made".to_owned());
    }
    if view.blind() {
        return judgement(None, reason::UNKNOWN, view.unwell_text());
    }
    if !view.complete {
        return judgement(
            Some(false),
            reason::FORMING,
            "the members find each other for the first time".to_owned(),
        );
    }
    if view.unwell.iter().all(|(ordinal, _)| view.is_new(*ordinal)) {
        return judgement(Some(false), reason::ALL_MEMBERS_READY, "no member is missing".to_owned());
    }
    judgement(Some(true), reason::MEMBERS_NOT_READY, view.unwell_text())
}

fn quorum_lost(view: &View) -> Judgement {
    let judgement =
        |holds, reason, message| Judgement { type_: condition::QUORUM_LOST, holds, reason, message };
    if view.has_quorum() {
        let message = match &view.leader {
            Some((leader, _)) if view.in_sync => format!("member {leader} leads"),
            Some((leader, _)) => format!("member {leader} leads, which takes a majority"),
            None => format!("{} reachable", Are(&view.voting)),
        };
        return judgement(Some(false), reason::QUORUM, message);
    }
    if !view.created {
        return judgement(Some(false), reason::CREATING, "its objects are being made".to_owned());
    }
    if !view.formed {
        return judgement(Some(false), reason::FORMING, "the store is not formed yet".to_owned());
    }
    if view.blind() {
        return judgement(None, reason::UNKNOWN, view.unwell_text());
    }
    judgement(Some(true), reason::NO_QUORUM, lost(view))
}

fn lost(view: &View) -> String {
    let reachable = if view.voting.is_empty() {
        "no member is reachable".to_owned()
    } else {
        format!("only {} reachable", Are(&view.voting))
    };
    if view.in_sync && !view.voters.is_empty() {
        let any = Members(&view.voters);
        return format!(
            "{reachable}, and only {any} had every write: no writes and no linearizable reads until one of them is back"
        );
    }
    let needed = view.votes() / 2 + 1;
    let members: Vec<u8> =
        if view.voters.is_empty() { (0..view.replicas).collect() } else { view.voters.clone() };
    let missing: Vec<u8> = members.into_iter().filter(|ordinal| !view.voting.contains(ordinal)).collect();
    format!("{reachable} and {needed} are needed: no writes and no linearizable reads until {} back", {
        if missing.len() == 1 {
            format!("{} is", Members(&missing))
        } else {
            format!("enough of {} are", Members(&missing))
        }
    })
}

/// The conditions as they are written: with the generation they are about, and the time of the last change of their status kept.
/// Conditions of other types, which somebody else wrote, are not ours to keep.
#[must_use]
pub fn write(
    before: &[Condition],
    judgements: &[Judgement],
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    judgements
        .iter()
        .map(|judgement| {
            let status = match judgement.holds {
                Some(true) => "True",
                Some(false) => "False",
                None => "Unknown",
            };
            let kept = before
                .iter()
                .find(|condition| condition.type_ == judgement.type_ && condition.status == status)
                .map(|condition| condition.last_transition_time.clone());
            Condition {
                type_: judgement.type_.to_owned(),
                status: status.to_owned(),
                reason: judgement.reason.to_owned(),
                message: bounded(&judgement.message),
                observed_generation: generation,
                last_transition_time: kept.unwrap_or(Time(now)),
            }
        })
        .collect()
}

/// The API server takes messages of at most 32 KiB; nobody reads so much.
const MESSAGE_CHARACTERS_MAX: usize = 1024;

/// A text that fits into a status, with a sign that it was cut.
#[must_use]
pub fn bounded(text: &str) -> String {
    if text.chars().count() <= MESSAGE_CHARACTERS_MAX {
        return text.to_owned();
    }
    text.chars().take(MESSAGE_CHARACTERS_MAX - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use holdfast_api::Removal;

    use super::*;

    fn view(replicas: u8) -> View {
        View {
            replicas,
            in_sync: false,
            voters: (0..replicas).collect(),
            leader: Some((0, 3)),
            ready: (0..replicas).collect(),
            voting: (0..replicas).collect(),
            unwell: Vec::new(),
            formed: true,
            complete: true,
            created: true,
            lost: None,
            work: Work::Step(Step::Done),
        }
    }

    /// The conditions as words: `Ready=AllMembersReady`, with `!` for false and `?` for unknown.
    fn check(view: &View, expected: &str) {
        let words: Vec<String> = judge(view)
            .iter()
            .map(|judgement| {
                assert!(!judgement.message.is_empty(), "{judgement:?}");
                let sign = match judgement.holds {
                    Some(true) => "",
                    Some(false) => "!",
                    None => "?",
                };
                format!("{sign}{}={}", judgement.type_, judgement.reason)
            })
            .collect();
        assert_eq!(words.join(" "), expected, "{view:?}");
    }

    #[test]
    fn all_well() {
        check(
            &view(3),
            "Ready=AllMembersReady !Progressing=AsSpecified !Degraded=AllMembersReady !QuorumLost=Quorum",
        );
        check(
            &view(1),
            "Ready=AllMembersReady !Progressing=AsSpecified !Degraded=AllMembersReady !QuorumLost=Quorum",
        );
    }

    #[test]
    fn a_new_store_is_created_then_forms() {
        let mut view = View {
            leader: None,
            ready: vec![],
            voting: vec![],
            unwell: vec![(0, "there is no pod".into())],
            formed: false,
            complete: false,
            created: false,
            ..view(3)
        };
        check(&view, "!Ready=Creating Progressing=Creating !Degraded=Creating !QuorumLost=Creating");
        view.created = true;
        check(&view, "!Ready=Forming Progressing=Forming !Degraded=Forming !QuorumLost=Forming");
        // A leader is there before all members are. That is no degradation, and a quorum can be lost from now on.
        let view = View { leader: Some((0, 1)), formed: true, voting: vec![0, 1], ready: vec![0], ..view };
        check(&view, "!Ready=Forming Progressing=Forming !Degraded=Forming !QuorumLost=Quorum");
        let view = View { leader: None, voting: vec![0], ..view };
        check(&view, "!Ready=NoQuorum Progressing=Forming !Degraded=Forming QuorumLost=NoQuorum");
    }

    #[test]
    fn one_member_is_missing() {
        let view = View {
            ready: vec![0, 1],
            voting: vec![0, 1],
            unwell: vec![(2, "there is no pod".into())],
            ..view(3)
        };
        check(
            &view,
            "!Ready=MembersNotReady !Progressing=AsSpecified Degraded=MembersNotReady !QuorumLost=Quorum",
        );
        assert_eq!(judge(&view)[2].message, "member 2: there is no pod");
    }

    #[test]
    fn members_that_come_and_go_are_no_degradation() {
        let adding = Work::Scaling(Scaling::Adding(vec![3, 4]));
        let unwell =
            |members: &[u8]| members.iter().map(|&member| (member, "there is no pod".into())).collect();
        let grows = View { voters: vec![0, 1, 2], unwell: unwell(&[3, 4]), work: adding, ..view(5) };
        check(
            &grows,
            "!Ready=AddingMembers Progressing=AddingMembers !Degraded=AllMembersReady !QuorumLost=Quorum",
        );
        // One that votes is missing meanwhile; of three, not of five, a majority is left.
        let led_by_none =
            View { leader: None, voting: vec![0, 1], ready: vec![0, 1], unwell: unwell(&[2, 3, 4]), ..grows };
        check(
            &led_by_none,
            "!Ready=NoLeader Progressing=AddingMembers Degraded=MembersNotReady !QuorumLost=Quorum",
        );
        let removing = Work::Scaling(Scaling::Removing(Removal::Voting(vec![3, 4])));
        let shrinks = View { replicas: 3, voters: (0..5).collect(), work: removing, ..view(5) };
        check(
            &shrinks,
            "Ready=AllMembersReady Progressing=RemovingMembers !Degraded=AllMembersReady !QuorumLost=Quorum",
        );
        assert_eq!(judge(&shrinks)[1].message, "waiting for members 3, 4 to be removed");
    }

    #[test]
    fn an_election_is_not_a_lost_quorum() {
        let view = View { leader: None, voting: vec![1, 2], unwell: vec![(0, "x".into())], ..view(3) };
        check(&view, "!Ready=NoLeader !Progressing=AsSpecified Degraded=MembersNotReady !QuorumLost=Quorum");
    }

    #[test]
    fn a_majority_is_missing() {
        let view = View {
            leader: None,
            ready: vec![2],
            voting: vec![2],
            unwell: vec![(0, "x".into()), (1, "y".into())],
            ..view(3)
        };
        check(&view, "!Ready=NoQuorum !Progressing=AsSpecified Degraded=MembersNotReady QuorumLost=NoQuorum");
        let message = &judge(&view)[3].message;
        assert!(message.starts_with("only member 2 is reachable and 2 are needed"), "{message}");
        assert!(message.ends_with("until enough of members 0, 1 are back"), "{message}");
    }

    #[test]
    fn one_member_that_is_in_sync_is_enough() {
        let alone =
            View { in_sync: true, voters: vec![2], leader: None, voting: vec![2], ready: vec![2], ..view(3) };
        let said = &judge(&alone)[3];
        assert_eq!((said.holds, said.reason), (Some(false), reason::QUORUM));
        // Two that do not have everything are not.
        let others = View { voting: vec![0, 1], ready: vec![0, 1], ..alone };
        let said = &judge(&others)[3];
        assert_eq!((said.holds, said.reason), (Some(true), reason::NO_QUORUM));
        assert!(said.message.contains("only member 2 had every write"), "{}", said.message);
    }

    #[test]
    fn an_operator_that_sees_nothing_claims_nothing() {
        let view =
            View { leader: None, voting: vec![], unwell: vec![(0, "it did not answer".into())], ..view(3) };
        check(&view, "?Ready=Unknown !Progressing=AsSpecified ?Degraded=Unknown ?QuorumLost=Unknown");
    }

    #[test]
    fn what_the_operator_does_is_progress() {
        let work = |work| View { work, ..view(3) };
        let rest = "!Degraded=AllMembersReady !QuorumLost=Quorum";
        check(
            &work(Work::Failed("x".into())),
            &format!("Ready=AllMembersReady !Progressing=ReconcileFailed {rest}"),
        );
        // A store that serves goes on serving when its spec is changed to something impossible.
        check(
            &work(Work::Refused("x".into())),
            &format!("Ready=AllMembersReady !Progressing=InvalidSpec {rest}"),
        );
        for step in [
            Step::HandOver { from: 0, to: 1 },
            Step::Restart { ordinal: 2, why: crate::roll::Turn::Follower },
            Step::Wait(Wait::Absent(vec![1])),
        ] {
            check(
                &work(Work::Step(step)),
                &format!("Ready=AllMembersReady Progressing=RestartingMembers {rest}"),
            );
        }
    }

    #[test]
    fn a_store_that_never_was_says_why() {
        let view = View {
            leader: None,
            ready: vec![],
            voting: vec![],
            formed: false,
            complete: false,
            created: false,
            work: Work::Refused("write replicas: 1".into()),
            ..view(3)
        };
        check(&view, "!Ready=InvalidSpec !Progressing=InvalidSpec !Degraded=Creating !QuorumLost=Creating");
    }

    #[test]
    fn a_baseline_store_that_lost_everything_says_so() {
        let view = View { lost: Some("everything was lost".into()), ..view(1) };
        check(
            &view,
            "Ready=StartedEmpty !Progressing=AsSpecified !Degraded=AllMembersReady !QuorumLost=Quorum",
        );
        assert!(judge(&view)[0].message.ends_with("everything was lost"));
    }

    #[test]
    fn the_time_of_the_last_change_is_kept() {
        let then: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        let now: Timestamp = "2026-11-21T11:00:00Z".parse().unwrap();
        let before = write(&[], &judge(&view(3)), Some(1), then);
        let degraded = View { unwell: vec![(2, "x".into())], ..view(3) };
        let after = write(&before, &judge(&degraded), Some(2), now);
        let times: Vec<_> = after.iter().map(|condition| condition.last_transition_time.0).collect();
        // Ready and Degraded changed, Progressing and QuorumLost did not; the generation is always the newest.
        assert_eq!(times, [now, then, now, then]);
        assert!(after.iter().all(|condition| condition.observed_generation == Some(2)));
    }

    #[test]
    fn long_messages_are_cut() {
        assert_eq!(bounded("short"), "short");
        let cut = bounded(&"ä".repeat(5000));
        assert_eq!(cut.chars().count(), MESSAGE_CHARACTERS_MAX);
        assert!(cut.ends_with('…'));
    }
}
