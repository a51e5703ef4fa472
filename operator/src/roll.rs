//! Which member may be restarted next, if any: a pure decision from what the pods and the members themselves say.
//!
//! The order: members that take no part first, then followers, the leader last and only after another member leads. Never two at once.
//! It refuses to touch anything while a pod is missing or leaving, and it never looks at a cache's idea of who leads: its
//! input is what the members answered just now.

/// A follower that is at most this many entries behind counts as caught up. The members are asked one after another, so at
/// 20,000 writes per second the figures of a healthy store lie a few hundred entries apart.
const LAG_ENTRIES_MAX: u64 = 5_000;

/// One member as the decision sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its ordinal.
    pub ordinal: u8,
    /// Its pod.
    pub pod: PodState,
    /// What its sidecar answered just now, if it did.
    pub answer: Option<Answer>,
}

/// State of a member's pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodState {
    /// There is none.
    Missing,
    /// It is being deleted, or is stuck at that on a lost node.
    Leaving,
    /// It exists.
    Present {
        /// Made from the newest revision of the StatefulSet's template.
        updated: bool,
        /// The kubelet calls it ready.
        ready: bool,
    },
}

/// The part of a member's status that the decision needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// It says that it leads.
    pub leads: bool,
    /// The term it is in.
    pub term: u64,
    /// The last entry that it has as safe as its store asks for: durable with a disk, written without.
    pub safe: u64,
    /// The last entry that it knows to be committed.
    pub commit: u64,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Every pod is made from the newest revision.
    Done,
    /// Something must happen first.
    Wait(Wait),
    /// Delete this member's pod; the StatefulSet makes it anew.
    Restart {
        /// The member.
        ordinal: u8,
        /// Why it is its turn.
        why: Turn,
    },
    /// Let the leader hand over, so that it can be restarted as a follower.
    HandOver {
        /// The leader.
        from: u8,
        /// The follower that has most.
        to: u8,
    },
}

/// Why it is a member's turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It takes no part in the store.
    Idle,
    /// It is a follower and all others are well.
    Follower,
    /// It is the only member there is.
    Only,
}

/// What a roll waits for; each names the members concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Pods are missing or leaving.
    Absent(Vec<u8>),
    /// Pods are not ready.
    NotReady(Vec<u8>),
    /// Members did not answer.
    Silent(Vec<u8>),
    /// Nobody leads.
    NoLeader,
    /// Followers are behind.
    Behind(Vec<u8>),
    /// The StatefulSet's controller has not seen the newest template yet.
    Revision,
    /// The restart would lose everything that the store holds.
    WouldForget(u8),
}

impl std::fmt::Display for Wait {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Wait::Absent(members) => write!(f, "waiting for the pods of {}", Members(members)),
            Wait::NotReady(members) => write!(f, "waiting until {} ready", Are(members)),
            Wait::Silent(members) => write!(f, "waiting for an answer of {}", Members(members)),
            Wait::NoLeader => f.write_str("waiting for a leader"),
            Wait::Behind(members) => write!(f, "waiting until {} caught up", Have(members)),
            Wait::Revision => f.write_str("waiting for the StatefulSet's controller"),
            Wait::WouldForget(member) => write!(
                f,
                "member {member} is not restarted, because it would lose everything that it holds: delete its pod to go on"
            ),
        }
    }
}

/// `member 1` or `members 0, 2`.
#[derive(Debug)]
pub(crate) struct Members<'a>(pub(crate) &'a [u8]);

impl std::fmt::Display for Members<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.len() == 1 { "member" } else { "members" })?;
        for (i, ordinal) in self.0.iter().enumerate() {
            write!(f, "{} {ordinal}", if i == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

/// `member 1 is` or `members 0, 2 are`.
#[derive(Debug)]
pub(crate) struct Are<'a>(pub(crate) &'a [u8]);

impl std::fmt::Display for Are<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", Members(self.0), if self.0.len() == 1 { "is" } else { "are" })
    }
}

/// `member 1 has` or `members 0, 2 have`.
#[derive(Debug)]
pub(crate) struct Have<'a>(pub(crate) &'a [u8]);

impl std::fmt::Display for Have<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", Members(self.0), if self.0.len() == 1 { "has" } else { "have" })
    }
}

impl Member {
    fn outdated(&self) -> bool {
        matches!(self.pod, PodState::Present { updated: false, .. })
    }

    fn ready(&self) -> bool {
        matches!(self.pod, PodState::Present { ready: true, .. })
    }
}

/// Decides the next step for the store with these `members`, one for each ordinal of its spec.
#[must_use]
pub fn next(members: &[Member]) -> Step {
    if !members.iter().any(Member::outdated) {
        // Missing pods are made from the newest revision anyway.
        return Step::Done;
    }
    let absent = ordinals(members, |m| matches!(m.pod, PodState::Missing | PodState::Leaving));
    if !absent.is_empty() {
        return Step::Wait(Wait::Absent(absent));
    }
    let leader = leader(members);

    // A member that is neither ready nor answers holds nothing up: replacing it can only help.
    if let Some(dead) = last(members, |m| m.outdated() && !m.ready() && m.answer.is_none()) {
        return Step::Restart { ordinal: dead, why: Turn::Idle };
    }
    // A new pod that does not come back stops the roll. Unless nobody leads: then there is no service to protect, and the new pod may be
    // waiting for the others to become new as well.
    let not_back = ordinals(members, |m| !m.outdated() && !m.ready());
    let stopped =
        members.iter().any(|m| !m.outdated() && !m.ready() && (leader.is_some() || m.answer.is_none()));
    if stopped {
        return Step::Wait(Wait::NotReady(not_back));
    }
    let is_leader = |m: &Member| leader == Some(m.ordinal);
    if let Some(idle) = last(members, |m| m.outdated() && !m.ready() && !is_leader(m)) {
        return Step::Restart { ordinal: idle, why: Turn::Idle };
    }

    if members.len() == 1 {
        return Step::Restart { ordinal: members[0].ordinal, why: Turn::Only };
    }
    let not_ready = ordinals(members, |m| !m.ready());
    if !not_ready.is_empty() {
        return Step::Wait(Wait::NotReady(not_ready));
    }
    let silent = ordinals(members, |m| m.answer.is_none());
    if !silent.is_empty() {
        return Step::Wait(Wait::Silent(silent));
    }
    let Some(leader) = leader else {
        return Step::Wait(Wait::NoLeader);
    };
    let committed = members.iter().filter_map(|m| m.answer).map(|a| a.commit).max().unwrap_or(0);
    let behind =
        ordinals(members, |m| m.answer.is_some_and(|a| a.safe.saturating_add(LAG_ENTRIES_MAX) < committed));
    if !behind.is_empty() {
        return Step::Wait(Wait::Behind(behind));
    }
    if let Some(follower) = last(members, |m| m.outdated() && m.ordinal != leader) {
        return Step::Restart { ordinal: follower, why: Turn::Follower };
    }
    let heir = members
        .iter()
        .filter(|m| m.ordinal != leader)
        .filter_map(|m| m.answer.map(|a| (a.safe, std::cmp::Reverse(m.ordinal))))
        .max();
    match heir {
        Some((_, std::cmp::Reverse(to))) => Step::HandOver { from: leader, to },
        None => Step::Wait(Wait::NoLeader),
    }
}

/// What the end of a roll still waits for: the pods are all new, but the last ones may not be back.
#[must_use]
pub fn end(members: &[Member]) -> Step {
    let absent = ordinals(members, |m| matches!(m.pod, PodState::Missing | PodState::Leaving));
    if !absent.is_empty() {
        return Step::Wait(Wait::Absent(absent));
    }
    let not_ready = ordinals(members, |m| !m.ready());
    if not_ready.is_empty() { Step::Done } else { Step::Wait(Wait::NotReady(not_ready)) }
}

/// The member that leads: of those that say so the one in the highest term, and only if nobody is in a higher one.
fn leader(members: &[Member]) -> Option<u8> {
    let answers = || members.iter().filter_map(|m| m.answer.map(|a| (m.ordinal, a)));
    let newest = answers().map(|(_, a)| a.term).max()?;
    answers().find(|(_, a)| a.leads && a.term == newest).map(|(ordinal, _)| ordinal)
}

fn ordinals(members: &[Member], which: impl Fn(&Member) -> bool) -> Vec<u8> {
    members.iter().filter(|m| which(m)).map(|m| m.ordinal).collect()
}

/// The highest ordinal: lower ones are preferred as leaders, so they keep their places longest.
fn last(members: &[Member], which: impl Fn(&Member) -> bool) -> Option<u8> {
    members.iter().filter(|m| which(m)).map(|m| m.ordinal).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One word per member: `n`ew or `o`ld, `+` ready or `-` not, then what it answered: `L` leads, `F` follows, `l` an old leader of
    /// an older term, `B` follows far behind, `.` nothing. `gone` and `leaving` are pods.
    fn members(words: &str) -> Vec<Member> {
        words.split_whitespace().enumerate().map(|(i, word)| member(i as u8, word)).collect()
    }

    fn member(ordinal: u8, word: &str) -> Member {
        let pod = match word {
            "gone" => PodState::Missing,
            "leaving" => PodState::Leaving,
            _ => PodState::Present { updated: word.starts_with('n'), ready: word.contains('+') },
        };
        let answer = |leads, term, safe| Some(Answer { leads, term, safe, commit: safe });
        let answer = match word.chars().last() {
            Some('L') => answer(true, 7, 90_000),
            Some('F') => answer(false, 7, 90_000 - u64::from(ordinal)),
            Some('l') => answer(true, 6, 90_000),
            Some('B') => answer(false, 7, 80_000),
            _ => None,
        };
        Member { ordinal, pod, answer }
    }

    fn check(words: &str, expected: Step) {
        assert_eq!(next(&members(words)), expected, "{words}");
    }

    fn restart(ordinal: u8, why: Turn) -> Step {
        Step::Restart { ordinal, why }
    }

    #[test]
    fn nothing_is_done_when_every_pod_is_new() {
        check("n+L n+F n+F", Step::Done);
        check("n+L n-. gone", Step::Done);
    }

    #[test]
    fn followers_go_first_from_the_highest_ordinal_down() {
        check("o+L o+F o+F", restart(2, Turn::Follower));
        check("o+L o+F n+F", restart(1, Turn::Follower));
        check("o+F o+F o+L", restart(1, Turn::Follower));
    }

    #[test]
    fn the_leader_goes_last_and_only_as_a_follower() {
        check("o+L n+F n+F", Step::HandOver { from: 0, to: 1 });
        check("n+F n+F o+L", Step::HandOver { from: 2, to: 0 });
        check("o+F n+L n+F", restart(0, Turn::Follower));
    }

    #[test]
    fn never_two_at_once() {
        check("o+L o+F gone", Step::Wait(Wait::Absent(vec![2])));
        check("o+L leaving n+F", Step::Wait(Wait::Absent(vec![1])));
        check("o+L o+F n-F", Step::Wait(Wait::NotReady(vec![2])));
        check("o+L o+F n-.", Step::Wait(Wait::NotReady(vec![2])));
    }

    #[test]
    fn a_member_that_takes_no_part_is_replaced_first() {
        check("o+L o-. o+F", restart(1, Turn::Idle));
        check("o+L o-F o+F", restart(1, Turn::Idle));
        // Even while a new pod is not back: the fix for a broken revision must get through.
        check("o+L o-. n-.", restart(1, Turn::Idle));
    }

    #[test]
    fn a_participating_member_waits_for_a_new_one_that_is_not_back() {
        check("o+L o-F n-.", Step::Wait(Wait::NotReady(vec![2])));
    }

    #[test]
    fn without_a_leader_the_roll_goes_on_one_by_one() {
        check("o-F o-F n-F", restart(1, Turn::Idle));
        check("o-F o-F o-F", restart(2, Turn::Idle));
    }

    #[test]
    fn ready_members_without_a_leader_are_left_alone() {
        check("o+F o+F o+F", Step::Wait(Wait::NoLeader));
    }

    #[test]
    fn a_leader_of_an_older_term_does_not_count() {
        check("o+l n+F n+F", Step::Wait(Wait::NoLeader));
        check("o+l n+L n+F", restart(0, Turn::Follower));
    }

    #[test]
    fn an_unready_leader_is_not_idle() {
        check("o-L n+F n+F", Step::Wait(Wait::NotReady(vec![0])));
    }

    #[test]
    fn silence_and_lag_hold_a_roll_up() {
        check("o+L o+F o+.", Step::Wait(Wait::Silent(vec![2])));
        check("o+L o+F n+B", Step::Wait(Wait::Behind(vec![2])));
    }

    #[test]
    fn a_store_of_one_or_two_is_restarted_although_it_pauses() {
        check("o+L", restart(0, Turn::Only));
        check("o-.", restart(0, Turn::Idle));
        check("o+L o+F", restart(1, Turn::Follower));
        check("o+L n+F", Step::HandOver { from: 0, to: 1 });
    }

    #[test]
    fn a_roll_ends_when_the_last_member_is_back() {
        assert_eq!(end(&members("n+L n+F gone")), Step::Wait(Wait::Absent(vec![2])));
        assert_eq!(end(&members("n+L n-F n-.")), Step::Wait(Wait::NotReady(vec![1, 2])));
        assert_eq!(end(&members("n+L n+F n+F")), Step::Done);
    }

    #[test]
    fn whatever_the_state_at_most_one_member_is_touched_and_never_a_new_one() {
        let words =
            ["gone", "leaving", "n+L", "n+F", "n-F", "n-.", "o+L", "o+F", "o-F", "o-L", "o+.", "o-.", "o+l"];
        for a in words {
            for b in words {
                for c in words {
                    let members = members(&format!("{a} {b} {c}"));
                    if let Step::Restart { ordinal, why } = next(&members) {
                        let touched = &members[usize::from(ordinal)];
                        assert!(touched.outdated(), "{a} {b} {c}");
                        assert!(members.iter().all(|m| !matches!(m.pod, PodState::Leaving)), "{a} {b} {c}");
                        if why == Turn::Follower {
                            assert!(members.iter().all(Member::ready), "{a} {b} {c}");
                            assert_ne!(leader(&members), Some(ordinal), "{a} {b} {c}");
                        }
                    }
                }
            }
        }
    }
}
