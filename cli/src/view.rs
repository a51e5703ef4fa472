//! A store and its members as one looks at them: rows of a table, JSON, and one word for how it is.
//!
//! Refuses to hide what could not be asked: a member that does not answer has a row that says so.

use holdfast_client::reply::{Role, Status};
use holdfast_laptop::supervisor::{Phase, Report};
use jiff::SignedDuration;
use serde::Serialize;

use crate::exit::Exit;
use crate::runner::terminal::{Line, Tone};
use crate::table;

/// A process that runs for less long is not expected to answer yet.
const STARTING_MAX: SignedDuration = SignedDuration::from_secs(3);

/// A store at one moment.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StoreView {
    /// The store, as `namespace/name`; absent if no member answered and no runner is known.
    pub store: Option<String>,
    /// How it is.
    pub health: Health,
    /// The name of the member that leads.
    pub leader: Option<String>,
    /// The term that it leads in.
    pub term: Option<u64>,
    /// Every member that was asked, in the order of asking.
    pub members: Vec<MemberView>,
}

/// How a store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Health {
    /// Every member is well.
    Ok,
    /// It serves without some.
    Degraded,
    /// No member leads with a quorum.
    NoQuorum,
}

/// A member at one moment.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberView {
    /// Its name, or its address if that is all that is known.
    pub member: String,
    /// Where its clients connect.
    pub endpoint: String,
    /// What its runner says of its process, if there is a runner.
    pub process: Option<Report>,
    /// What it says of itself, if it answers.
    pub status: Option<Status>,
    /// Why it does not answer.
    pub error: Option<String>,
}

impl Health {
    /// The code that says the same.
    pub fn exit(self) -> Exit {
        match self {
            Health::Ok => Exit::Ok,
            Health::Degraded => Exit::Degraded,
            Health::NoQuorum => Exit::NoQuorum,
        }
    }

    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Health::Ok => "all members are well",
            Health::Degraded => "degraded: it serves without some members",
            Health::NoQuorum => "no quorum: it does not serve",
        }
    }
}

impl StoreView {
    /// What the members' words come to. `store` is what is known without them.
    pub fn new(store: Option<String>, members: Vec<MemberView>) -> StoreView {
        let said = || members.iter().filter_map(|member| member.status.as_ref());
        let store = store.or_else(|| said().next().map(|status| status.store.clone()));
        let leader = said().filter(|status| status.role == Role::Leader).max_by_key(|status| status.term);
        let health = leader.map_or_else(|| without_leader(&members), |leader| with_leader(&members, leader));
        let term = leader.map(|leader| leader.term);
        let leader = members
            .iter()
            .find(|member| leader.is_some() && member.status.as_ref() == leader)
            .map(|member| member.member.clone());
        StoreView { store, health, leader, term, members }
    }

    /// A heading, and a line for each member.
    pub fn lines(&self) -> Vec<Line> {
        let rows = self.members.iter().map(|member| self.row(member));
        let heading = [
            "MEMBER",
            "STATE",
            "TERM",
            "WRITTEN",
            "DURABLE",
            "COMMIT",
            "REVISION",
            "LAG",
            "PID",
            "RESTARTS",
            "CLIENTS AT",
        ];
        let lines = table::lines(heading, rows);
        let tones = self.members.iter().map(|member| self.tone(member));
        lines
            .into_iter()
            .zip([Tone::Bold].into_iter().chain(tones))
            .map(|(text, tone)| Line::new(text, tone))
            .collect()
    }

    fn row(&self, member: &MemberView) -> [String; 11] {
        let none = || "-".to_owned();
        let said = |get: fn(&Status) -> u64| {
            member.status.as_ref().map_or_else(none, |status| get(status).to_string())
        };
        let process =
            |get: fn(&Report) -> Option<String>| member.process.as_ref().and_then(get).unwrap_or_else(none);
        [
            member.member.clone(),
            member.state().to_owned(),
            said(|status| status.term),
            said(|status| status.positions.written),
            said(|status| status.positions.durable),
            said(|status| status.positions.commit),
            said(|status| status.revision),
            self.lag(member).map_or_else(none, |lag| lag.to_string()),
            process(|report| report.pid.map(|pid| pid.to_string())),
            process(|report| Some(report.restarts.to_string())),
            member.endpoint.clone(),
        ]
    }

    /// By how many entries the leader says that a member is behind.
    fn lag(&self, member: &MemberView) -> Option<u64> {
        let ordinal = member.status.as_ref()?.member;
        let leader =
            self.members.iter().find(|one| Some(&one.member) == self.leader.as_ref())?.status.as_ref()?;
        leader.peers.iter().find(|peer| peer.ordinal == ordinal)?.lag
    }

    fn tone(&self, member: &MemberView) -> Tone {
        match (&member.process, &member.status) {
            (Some(Report { phase: Phase::Failed | Phase::Stopped, .. }), _) => Tone::Red,
            (_, None) => Tone::Yellow,
            (_, Some(status)) if status.role == Role::Leader => Tone::Green,
            (_, Some(status)) if is_well(status) => Tone::Plain,
            _ => Tone::Yellow,
        }
    }
}

impl MemberView {
    /// What it does, in a word.
    fn state(&self) -> &'static str {
        match (&self.status, &self.process) {
            (_, Some(Report { phase: Phase::Failed, .. })) => "failed",
            (_, Some(Report { phase: Phase::Waiting, .. })) => "restarting",
            (_, Some(Report { phase: Phase::Removed, .. })) => "removed",
            (_, Some(Report { phase: Phase::Stopped, .. })) => "stopped",
            (Some(status), _) => status.role.name(),
            (None, Some(report)) if report.since.duration_until(jiff::Timestamp::now()) < STARTING_MAX => {
                "starting"
            }
            (None, Some(_)) => "no answer",
            (None, None) => "unreachable",
        }
    }
}

/// It follows or leads, and knows whom.
fn is_well(status: &Status) -> bool {
    status.leader.is_some() && matches!(status.role, Role::Leader | Role::Follower)
}

fn with_leader(members: &[MemberView], leader: &Status) -> Health {
    let in_term = |status: &Status| is_well(status) && status.term == leader.term;
    let well = |member: &&MemberView| member.status.as_ref().is_some_and(in_term);
    // Perhaps not every member was asked; the leader knows of all.
    let connected = leader.peers.iter().filter(|peer| peer.connected).count();
    let size = leader.peers.len() + 1;
    let well = members.iter().filter(well).count();
    let voting = leader.peers.iter().filter(|peer| peer.connected && leader.voters.contains(&peer.ordinal));
    let has_majority = match leader.voters.len() {
        0 => connected >= size / 2, // a version that did not say
        voters => voting.count() >= voters / 2,
    };
    if !has_majority {
        // With itself it has no majority, and has not noticed yet.
        Health::NoQuorum
    } else if well == members.len() && connected + 1 == size {
        Health::Ok
    } else {
        Health::Degraded
    }
}

fn without_leader(members: &[MemberView]) -> Health {
    let follows = |member: &MemberView| {
        member.status.as_ref().is_some_and(|status| status.role == Role::Follower && status.leader.is_some())
    };
    // If its leader was not among those that were asked, a follower's word has to do.
    let asked = |ordinal: u8| {
        members.iter().any(|member| {
            member.status.as_ref().is_some_and(|status| status.member == ordinal) || member.process.is_some()
        })
    };
    let elsewhere =
        members.iter().filter_map(|member| member.status.as_ref()?.leader).any(|leader| !asked(leader));
    match (elsewhere, members.iter().all(follows)) {
        (true, true) => Health::Ok,
        (true, false) => Health::Degraded,
        (false, _) => Health::NoQuorum,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use holdfast_client::reply::{PeerStatus, Positions};

    use super::*;

    /// A status of member `member` of three.
    pub(crate) fn status(member: u8, role: Role, leader: Option<u8>, connected: bool) -> Status {
        let peer = |ordinal| PeerStatus {
            ordinal,
            incarnation: None,
            connected,
            match_: None,
            durable: None,
            lag: (role == Role::Leader).then_some(4),
            round_trip_ms: None,
            last_heartbeat_ms_ago: None,
        };
        Status {
            store: "default/orders".into(),
            store_id: None,
            strategy: holdfast_api::Strategy::Replication,
            member,
            incarnation: "0".into(),
            version: "0".into(),
            role,
            leader,
            term: 3,
            positions: Positions { written: 9, durable: 8, commit: 7, applied: 7 },
            revision: 5,
            state_hash: None,
            peers: (0..3).filter(|ordinal| *ordinal != member).map(peer).collect(),
            voters: Vec::new(),
            replicas: 3,
            last_checkpoint: None,
            note: None,
            faults: None,
            in_sync: None,
        }
    }

    fn member(ordinal: u8, phase: Option<Phase>, status: Option<Status>) -> MemberView {
        let name = format!("orders-{ordinal}");
        let pid = (phase == Some(Phase::Running)).then_some(100 + u32::from(ordinal));
        let process = phase.map(|phase| Report {
            member: name.clone(),
            phase,
            since: jiff::Timestamp::UNIX_EPOCH,
            pid,
            restarts: 0,
        });
        let endpoint = format!("http://127.0.0.1:{}", 7400 + 10 * u16::from(ordinal));
        MemberView { member: name, endpoint, process, status, error: None }
    }

    const RUNNING: Option<Phase> = Some(Phase::Running);

    fn check(members: Vec<MemberView>, health: Health) {
        let view = StoreView::new(None, members);
        assert_eq!(view.health, health, "{view:?}");
    }

    #[test]
    fn a_store_is_as_well_as_its_members() {
        let leader = |connected| member(0, RUNNING, Some(status(0, Role::Leader, Some(0), connected)));
        let follower =
            |ordinal| member(ordinal, RUNNING, Some(status(ordinal, Role::Follower, Some(0), true)));
        let lost = |ordinal| member(ordinal, RUNNING, Some(status(ordinal, Role::Candidate, None, false)));
        check(vec![leader(true), follower(1), follower(2)], Health::Ok);
        check(vec![leader(true), follower(1), member(2, Some(Phase::Failed), None)], Health::Degraded);
        check(vec![leader(true), follower(1), lost(2)], Health::Degraded);
        check(vec![leader(false), lost(1), lost(2)], Health::NoQuorum);
        check(vec![lost(0), lost(1), member(2, Some(Phase::Waiting), None)], Health::NoQuorum);
        check(vec![member(0, Some(Phase::Failed), None), follower(1), follower(2)], Health::NoQuorum);
    }

    #[test]
    fn one_member_alone_can_say_how_the_store_is() {
        let follower = |leader| member(1, None, Some(status(1, Role::Follower, leader, true)));
        check(vec![follower(Some(0))], Health::Ok);
        check(vec![follower(Some(0)), member(2, None, None)], Health::Degraded);
        check(vec![follower(None)], Health::NoQuorum);
        check(vec![member(1, None, None)], Health::NoQuorum);
    }

    #[test]
    fn the_table_shows_every_member() {
        let view = StoreView::new(
            None,
            vec![
                member(0, RUNNING, Some(status(0, Role::Leader, Some(0), true))),
                member(1, RUNNING, Some(status(1, Role::Follower, Some(0), true))),
                member(2, Some(Phase::Failed), None),
            ],
        );
        let lines: Vec<String> = view.lines().into_iter().map(|line| line.text).collect();
        let expected = [
            "MEMBER    STATE     TERM  WRITTEN  DURABLE  COMMIT  REVISION  LAG  PID  RESTARTS  CLIENTS AT",
            "orders-0  leader    3     9        8        7       5         -    100  0         http://127.0.0.1:7400",
            "orders-1  follower  3     9        8        7       5         4    101  0         http://127.0.0.1:7410",
            "orders-2  failed    -     -        -        -       -         -    -    0         http://127.0.0.1:7420",
        ];
        assert_eq!(lines, expected);
        assert_eq!((view.leader.as_deref(), view.term), (Some("orders-0"), Some(3)));
        assert_eq!(view.store.as_deref(), Some("default/orders"));
    }
}
