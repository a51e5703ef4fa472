//! The store's status: what was seen, in one place, and written when it has changed.
//!
//! [`compute`] is pure. [`write`] sends it by server-side apply, at once when something changed that a person would act on, and not too
//! often when only positions moved: a busy store commits thousands of times a second.

use std::time::Duration;

use holdfast_api::http::{CheckpointStatus, Status};
use holdfast_api::kind::{LastCheckpoint, MemberStatus, Phase};
use holdfast_api::names::condition::{self, reason};
use holdfast_api::names::{self, FIELD_MANAGER};
use holdfast_api::{Consensus, ReplicatedStore, ReplicatedStoreStatus, Strategy};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;

use crate::build::pod_selector;
use crate::conditions::{self, View, Work, bounded, judge};
use crate::dereference::{Member, Observed};
use crate::in_sync::{self, Forced};
use crate::leader::{Leader, leader};
use crate::pod;
use crate::roll::Step;

/// How often a status is written of which only positions changed.
pub const POSITIONS_EVERY: Duration = Duration::from_secs(10);

/// The status could not be written.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// The API server refused, or could not be reached.
    #[error("cannot write the status of {store}")]
    Write {
        /// The store.
        store: String,
        /// What the API server or the connection to it said.
        #[source]
        source: kube::Error,
    },
}

/// The status of a store: from what was seen, how the work on it stands, and what the status was before.
#[must_use]
pub fn compute(
    store: &ReplicatedStore,
    before: &ReplicatedStoreStatus,
    observed: &Observed,
    work: &Work,
    forced: Option<&Forced>,
    now: Timestamp,
) -> ReplicatedStoreStatus {
    let leader = leader(observed);
    let name = store.name_any();
    let members: Vec<MemberStatus> = observed
        .members
        .iter()
        .map(|member| {
            let mut described = describe(&name, member, leader, observed, now);
            // Kept while it is away, so that it shows when it comes back in another life.
            described.incarnation = described.incarnation.or_else(|| {
                let former = before.members.iter().find(|former| former.ordinal == member.ordinal);
                former.and_then(|former| former.incarnation.clone())
            });
            described
        })
        .collect();
    let in_sync = in_sync::status(store, before, observed.lease.as_deref(), forced);
    let view = view(store, before, observed, leader, &members, work);
    let mut judgements = judge(&view).to_vec();
    if let Some(in_sync) = &in_sync {
        judgements.extend(in_sync::judge(in_sync, store, observed.lease.as_ref(), view.created));
    }
    let generation = store.metadata.generation;
    let answers = || observed.members.iter().filter_map(|member| member.answer.as_ref());
    ReplicatedStoreStatus {
        observed_generation: generation,
        phase: Some(phase(&view)),
        replicas: observed.members.iter().filter(|member| member.pod.is_some()).count() as i32,
        ready_replicas: members.iter().filter(|member| member.ready).count() as i32,
        selector: Some(pod_selector(&name)),
        leader: leader.map(|leader| names::member(&name, leader.ordinal)),
        term: highest(store, answers().map(|status| status.term), before.term),
        commit: highest(store, answers().map(|status| status.positions.commit), before.commit),
        last_checkpoint: last_checkpoint(&name, observed).or_else(|| before.last_checkpoint.clone()),
        members,
        in_sync,
        conditions: conditions::write(&before.conditions, &judgements, generation, now),
    }
}

fn view(
    store: &ReplicatedStore,
    before: &ReplicatedStoreStatus,
    observed: &Observed,
    leader: Option<Leader>,
    members: &[MemberStatus],
    work: &Work,
) -> View {
    let voter = |status: &Status| status.role.votes();
    let answers = || observed.members.iter().filter_map(|member| member.answer.as_ref());
    let in_sync = store.spec.consensus == Consensus::InSync;
    let mut voters = leader.map(|leader| voters_by(observed, leader)).unwrap_or_default();
    if in_sync && leader.is_none() {
        // Any of them may lead next, and nobody else.
        let known = before.in_sync.iter().flat_map(|in_sync| &in_sync.members);
        voters = known.filter_map(|name| name.rsplit_once('-')?.1.parse().ok()).collect();
    }
    // Whoever has no vote any more may end as it likes.
    let stays = |ordinal| ordinal < store.spec.replicas || voters.contains(&ordinal);
    let unwell: Vec<_> = members
        .iter()
        .filter(|member| stays(member.ordinal) && (!member.ready || member.role.is_none()))
        .map(|member| {
            (member.ordinal, member.note.clone().unwrap_or_else(|| "its pod is not ready".to_owned()))
        })
        .collect();
    let lost = (store.spec.strategy == Strategy::Baseline)
        .then(|| answers().find_map(|status| status.note.clone()))
        .flatten();
    View {
        replicas: store.spec.replicas,
        in_sync,
        voters,
        leader: leader.map(|leader| (leader.ordinal, leader.term)),
        ready: members.iter().filter(|member| member.ready).map(|member| member.ordinal).collect(),
        voting: answers().filter(|status| voter(status)).map(|status| status.member).collect(),
        formed: leader.is_some() || was_past_forming(before, condition::QUORUM_LOST),
        complete: was_past_forming(before, condition::DEGRADED) || (leader.is_some() && unwell.is_empty()),
        created: observed.stateful_set.is_some(),
        unwell,
        lost,
        work: work.clone(),
    }
}

/// The ordinals that vote, as the leader says, if it was asked.
fn voters_by(observed: &Observed, leader: Leader) -> Vec<u8> {
    let leading = observed.members.iter().find(|member| member.ordinal == leader.ordinal);
    leading.and_then(|member| member.answer.as_ref()).map(|status| status.voters.clone()).unwrap_or_default()
}

/// Whether a condition has spoken of more than the first start: that is remembered nowhere else. A store that was made again on the
/// volumes of a former one starts for the first time, too.
fn was_past_forming(before: &ReplicatedStoreStatus, type_: &str) -> bool {
    let written = before.conditions.iter().find(|condition| condition.type_ == type_);
    written.is_some_and(|written| ![reason::FORMING, reason::CREATING].contains(&written.reason.as_str()))
}

fn phase(view: &View) -> Phase {
    let [ready, progressing, _, quorum_lost] = judge(view);
    match &view.work {
        Work::Refused(_) => Phase::Invalid,
        _ if !view.created => Phase::Pending,
        _ if quorum_lost.holds == Some(true) => Phase::QuorumLost,
        _ if !view.complete && view.ready.is_empty() && view.leader.is_none() => Phase::Pending,
        _ if !view.complete => Phase::Forming,
        Work::Step(step) if *step != Step::Done && progressing.holds == Some(true) => Phase::Updating,
        Work::Scaling(_) if progressing.holds == Some(true) => Phase::Updating,
        _ if ready.holds == Some(true) => Phase::Ready,
        _ => Phase::Degraded,
    }
}

/// What the status says of one member.
fn describe(
    store: &str,
    member: &Member,
    leader: Option<Leader>,
    observed: &Observed,
    now: Timestamp,
) -> MemberStatus {
    let pod = member.pod.as_deref();
    let ready = pod.is_some_and(pod::is_ready);
    let answer = member.answer.as_ref();
    let lag = leader.filter(|leader| leader.ordinal != member.ordinal).and_then(|leader| {
        let leading = observed.members.iter().find(|member| member.ordinal == leader.ordinal)?;
        leading.answer.as_ref()?.peers.iter().find(|peer| peer.ordinal == member.ordinal)?.lag
    });
    let note = match (pod, answer) {
        (None, _) => Some("there is no pod".to_owned()),
        (Some(pod), Some(status)) => pod::trouble(pod, now).or_else(|| status.note.clone()),
        (Some(pod), None) => pod::trouble(pod, now).or_else(|| member.silence.clone()),
    };
    MemberStatus {
        name: names::member(store, member.ordinal),
        ordinal: member.ordinal,
        ready,
        role: answer.map(|status| status.role),
        incarnation: answer.map(|status| status.incarnation.clone()),
        term: answer.map(|status| signed(status.term)),
        commit: answer.map(|status| signed(status.positions.commit)),
        lag: lag.map(signed),
        node: pod.and_then(pod::node),
        version: answer.map(|status| status.version.clone()),
        note: note.map(|note| bounded(&note)),
    }
}

fn last_checkpoint(store: &str, observed: &Observed) -> Option<LastCheckpoint> {
    let checkpoints = observed
        .members
        .iter()
        .filter_map(|member| Some((member.ordinal, member.answer.as_ref()?.last_checkpoint?)));
    let (ordinal, newest) = checkpoints.max_by_key(|(_, checkpoint)| (checkpoint.index, checkpoint.time))?;
    let CheckpointStatus { index, term, revision, time, bytes } = newest;
    Some(LastCheckpoint {
        time: Time(time),
        index: signed(index),
        term: signed(term),
        revision: revision.map(signed),
        bytes: signed(bytes),
        member: names::member(store, ordinal),
    })
}

/// Terms and commits never fall, whoever can be asked at the moment; only a member without a log begins anew. Before the
/// first there is nothing to show.
fn highest(store: &ReplicatedStore, told: impl Iterator<Item = u64>, before: Option<i64>) -> Option<i64> {
    let told = told.map(signed).max();
    let highest = if store.spec.strategy.replicates() { told.max(before) } else { told.or(before) };
    highest.filter(|&highest| highest > 0)
}

/// Kubernetes has no unsigned integers. Nobody will ever write so many entries.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Whether two statuses differ in something that a person would act on.
#[must_use]
pub fn differs(before: &ReplicatedStoreStatus, after: &ReplicatedStoreStatus) -> bool {
    still(before) != still(after)
}

/// The status without what moves with every write.
fn still(status: &ReplicatedStoreStatus) -> ReplicatedStoreStatus {
    let mut status = status.clone();
    status.commit = None;
    for member in &mut status.members {
        member.commit = None;
        member.lag = None;
    }
    status
}

/// Writes the status.
///
/// # Errors
/// When the API server refuses it. A store that is gone by now is no error.
pub async fn write(
    client: &Client,
    store: &ReplicatedStore,
    status: &ReplicatedStoreStatus,
) -> Result<(), StatusError> {
    let name = store.store_name();
    let api: Api<ReplicatedStore> = Api::namespaced(client.clone(), &name.namespace);
    let patch = json!({
        "apiVersion": names::API_VERSION,
        "kind": names::KIND,
        // The uid makes the API server refuse the status of a store that was deleted and made again.
        "metadata": {"name": name.name, "uid": store.uid()},
        "status": status,
    });
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    match api.patch_status(&name.name, &parameters, &Patch::Apply(&patch)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        Err(source) => Err(StatusError::Write { store: name.to_string(), source }),
    }
}

#[cfg(test)]
mod tests {
    use holdfast_api::http::Role;
    use std::sync::Arc;

    use holdfast_api::http::{PeerStatus, Positions};
    use k8s_openapi::api::apps::v1::StatefulSet;
    use serde_json::json;

    use super::*;
    use crate::roll::{Turn, Wait};

    const NOW: &str = "2026-11-21T10:00:00Z";

    fn store(strategy: &str, replicas: u8) -> ReplicatedStore {
        serde_json::from_value(json!({
            "apiVersion": "holdfast.dev/v1alpha1",
            "kind": "ReplicatedStore",
            "metadata": {"name": "orders", "namespace": "shop", "uid": "u", "generation": 4},
            "spec": {"replicas": replicas, "strategy": strategy},
        }))
        .unwrap()
    }

    /// A member from words: `gone`, or `up`/`down` for its pod and then what it answered: `leads 3`, `follows 0 3` (whom, term),
    /// `seeks 3`, `unformed`, or nothing.
    fn member(ordinal: u8, words: &str) -> Member {
        let words: Vec<&str> = words.split(' ').collect();
        if words[0] == "gone" {
            return Member { ordinal, ..Member::default() };
        }
        let ready = if words[0] == "up" { "True" } else { "False" };
        let pod = json!({
            "metadata": {"name": format!("orders-{ordinal}"), "uid": format!("uid-{ordinal}")},
            "spec": {"containers": [], "nodeName": format!("node-{ordinal}")},
            "status": {"phase": "Running", "podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": ready}]},
        });
        let number = |i: usize| words[i].parse::<u8>().unwrap();
        let answer = match words.get(1) {
            Some(&"leads") => Some((Role::Leader, Some(ordinal), number(2))),
            Some(&"follows") => Some((Role::Follower, Some(number(2)), number(3))),
            Some(&"seeks") => Some((Role::Candidate, None, number(2))),
            Some(&"unformed") => Some((Role::Unformed, None, 0)),
            _ => None,
        };
        let silence = answer.is_none().then(|| "it did not answer".to_owned());
        let answer = answer.map(|(role, leader, term)| status(ordinal, role, leader, term.into()));
        Member { ordinal, pod: Some(Arc::new(serde_json::from_value(pod).unwrap())), answer, silence }
    }

    fn status(member: u8, role: Role, leader: Option<u8>, term: u64) -> Status {
        Status {
            store: "shop/orders".into(),
            store_id: None,
            strategy: Strategy::Replication,
            member,
            incarnation: format!("{member:016x}"),
            version: "0.1.0".into(),
            role,
            leader,
            term,
            positions: Positions { written: 90, durable: 90, commit: 80, applied: 90 },
            revision: 70,
            state_hash: None,
            peers: vec![PeerStatus {
                ordinal: 2,
                incarnation: None,
                connected: true,
                match_: Some(85),
                durable: Some(85),
                lag: Some(5),
                round_trip_ms: None,
                last_heartbeat_ms_ago: None,
            }],
            voters: Vec::new(),
            replicas: 3,
            last_checkpoint: None,
            faults: None,
            in_sync: None,
            note: None,
        }
    }

    fn observed(members: &[&str]) -> Observed {
        Observed {
            stateful_set: Some(Arc::new(StatefulSet::default())),
            members: members.iter().enumerate().map(|(i, words)| member(i as u8, words)).collect(),
            ..Observed::default()
        }
    }

    fn computed(members: &[&str], before: &ReplicatedStoreStatus) -> ReplicatedStoreStatus {
        let store = store("Replication", members.len() as u8);
        compute(&store, before, &observed(members), &Work::Step(Step::Done), None, NOW.parse().unwrap())
    }

    fn check(members: &[&str], leader: Option<&str>, phase: Phase, ready: i32) {
        let well: Vec<&str> = members.iter().map(|_| "up leads 1").collect();
        let complete = computed(&well, &ReplicatedStoreStatus::default());
        let status = computed(members, &complete);
        assert_eq!(status.leader.as_deref(), leader, "{members:?}");
        assert_eq!(status.phase, Some(phase), "{members:?}: {:?}", status.conditions);
        assert_eq!(status.ready_replicas, ready, "{members:?}");
        assert_eq!(status.conditions.len(), condition::ALL.len());
        for (written, name) in status.conditions.iter().zip(condition::ALL) {
            assert_eq!(written.type_, name);
        }
    }

    #[test]
    fn the_phase_says_what_is_the_case() {
        check(&["up leads 3", "up follows 0 3", "up follows 0 3"], Some("orders-0"), Phase::Ready, 3);
        check(&["up leads 3", "up follows 0 3", "gone"], Some("orders-0"), Phase::Degraded, 2);
        check(&["up leads 3", "up follows 0 3", "down follows 0 3"], Some("orders-0"), Phase::Degraded, 2);
        check(&["gone", "up seeks 4", "up seeks 4"], None, Phase::Degraded, 2);
        check(&["gone", "gone", "down seeks 4"], None, Phase::QuorumLost, 0);
        check(&["gone", "gone", "gone"], None, Phase::QuorumLost, 0);
        check(&["up leads 2"], Some("orders-0"), Phase::Ready, 1);
    }

    #[test]
    fn a_new_store_forms() {
        let before = ReplicatedStoreStatus::default();
        let phase = |members: &[&str]| computed(members, &before).phase;
        assert_eq!(phase(&["gone", "gone", "gone"]), Some(Phase::Pending));
        assert_eq!(phase(&["down unformed", "down unformed", "gone"]), Some(Phase::Pending));
        assert_eq!(phase(&["up unformed", "up unformed", "gone"]), Some(Phase::Forming));
        // On the volumes of a former store: its members remember a term, and that is no lost quorum.
        assert_eq!(phase(&["up seeks 4", "gone", "gone"]), Some(Phase::Forming));
        assert_eq!(phase(&["up leads 1", "up follows 0 1", "down unformed"]), Some(Phase::Forming));
        assert_eq!(phase(&["up leads 1", "up follows 0 1", "up follows 0 1"]), Some(Phase::Ready));
    }

    #[test]
    fn work_shows_in_the_phase() {
        let store = store("Replication", 3);
        let observed = observed(&["up leads 3", "up follows 0 3", "up follows 0 3"]);
        let phase = |work| {
            let before = ReplicatedStoreStatus::default();
            compute(&store, &before, &observed, &work, None, NOW.parse().unwrap()).phase
        };
        let restart = Step::Restart { ordinal: 2, why: Turn::Follower };
        assert_eq!(phase(Work::Step(restart)), Some(Phase::Updating));
        assert_eq!(phase(Work::Step(Step::Wait(Wait::Absent(vec![2])))), Some(Phase::Updating));
        assert_eq!(phase(Work::Step(Step::Wait(Wait::Revision))), Some(Phase::Ready));
        assert_eq!(phase(Work::Refused("x".into())), Some(Phase::Invalid));
        assert_eq!(phase(Work::Failed("x".into())), Some(Phase::Ready));
    }

    #[test]
    fn every_member_is_described() {
        let status = computed(&["up leads 3", "up", "down follows 0 3"], &ReplicatedStoreStatus::default());
        let [first, second, third] = &status.members[..] else { panic!("{:?}", status.members) };
        assert_eq!((first.name.as_str(), first.role, first.lag), ("orders-0", Some(Role::Leader), None));
        assert_eq!((second.role, second.note.as_deref()), (None, Some("it did not answer")));
        assert_eq!((third.ready, third.lag, third.node.as_deref()), (false, Some(5), Some("node-2")));
        assert_eq!((status.term, status.commit), (Some(3), Some(80)));
        assert_eq!(status.observed_generation, Some(4));
        assert_eq!(status.selector.as_deref(), Some("holdfast.dev/store=orders"));
    }

    #[test]
    fn a_life_is_remembered_while_its_member_is_away() {
        let before = computed(&["up leads 3", "up follows 0 3"], &ReplicatedStoreStatus::default());
        let after = computed(&["up leads 3", "gone"], &before);
        assert_eq!(after.members[1].incarnation, before.members[1].incarnation);
        assert!(after.members[1].incarnation.is_some() && after.members[1].role.is_none());
    }

    #[test]
    fn terms_and_commits_do_not_fall_while_members_are_away() {
        let before =
            ReplicatedStoreStatus { term: Some(9), commit: Some(500), ..ReplicatedStoreStatus::default() };
        let status = computed(&["gone", "gone", "down seeks 4"], &before);
        assert_eq!((status.term, status.commit), (Some(9), Some(500)));
        // A Baseline store that lost everything begins anew, and that is the truth.
        let observed = observed(&["up leads 1"]);
        let status = compute(
            &store("Baseline", 1),
            &before,
            &observed,
            &Work::Step(Step::Done),
            None,
            NOW.parse().unwrap(),
        );
        assert_eq!((status.term, status.commit), (Some(1), Some(80)));
    }

    #[test]
    fn the_newest_checkpoint_of_any_member_counts_and_is_not_forgotten() {
        let mut seen = observed(&["up leads 3", "up follows 0 3"]);
        let checkpoint = |index| CheckpointStatus {
            index,
            term: 2,
            revision: None,
            time: NOW.parse().unwrap(),
            bytes: 10,
        };
        for (member, index) in [(0, 40), (1, 60)] {
            let member = &mut seen.members[member];
            member.answer.as_mut().unwrap().last_checkpoint = Some(checkpoint(index));
        }
        let store = store("Hybrid", 2);
        let work = Work::Step(Step::Done);
        let now = NOW.parse().unwrap();
        let status = compute(&store, &ReplicatedStoreStatus::default(), &seen, &work, None, now);
        let last = status.last_checkpoint.clone().unwrap();
        assert_eq!((last.index, last.member.as_str()), (60, "orders-1"));
        let silent = compute(&store, &status, &observed(&["gone", "gone"]), &work, None, now);
        assert_eq!(silent.last_checkpoint, status.last_checkpoint);
    }

    #[test]
    fn only_what_a_person_would_act_on_is_written_at_once() {
        let members = ["up leads 3", "up follows 0 3", "up follows 0 3"];
        let before = computed(&members, &ReplicatedStoreStatus::default());
        let mut after = before.clone();
        after.commit = Some(81);
        after.members[2].lag = Some(6);
        assert!(!differs(&before, &after));
        after.members[2].ready = false;
        assert!(differs(&before, &after));
    }

    #[test]
    fn a_status_fits_its_own_definition() {
        let mut store = store("Replication", 3);
        store.status = Some(computed(&["up leads 3", "up", "gone"], &ReplicatedStoreStatus::default()));
        assert_eq!(holdfast_api::validate::check(&store).map_err(|error| error.to_string()), Ok(()));
    }
}
