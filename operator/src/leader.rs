//! Who leads a store, as far as its members and pods say. For display, routing and the judgement of conditions; whoever is about
//! to restart a member asks again and decides by [`crate::roll`].

use holdfast_api::http::Role;

use crate::dereference::Observed;
use crate::pod;

/// Who leads a store, as far as its members and pods say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leader {
    /// Its ordinal.
    pub ordinal: u8,
    /// Its term.
    pub term: u64,
}

/// Who leads: the member that says so in the newest term that anybody is in. If it cannot be asked itself, the one that a
/// majority of all members follows in that term, as long as its pod is there.
#[must_use]
pub fn leader(observed: &Observed) -> Option<Leader> {
    let members = observed.members.len();
    let answers = || observed.members.iter().filter_map(|member| member.answer.as_ref());
    let term = answers().map(|status| status.term).max()?;
    let newest = || answers().filter(move |status| status.term == term);
    if let Some(status) = newest().find(|status| status.role == Role::Leader) {
        return Some(Leader { ordinal: status.member, term });
    }
    let silent = observed.members.iter().filter(|member| {
        member.answer.is_none() && member.pod.as_deref().is_some_and(|pod| !pod::is_leaving(pod))
    });
    silent
        .map(|member| member.ordinal)
        .find(|&ordinal| newest().filter(|status| status.leader == Some(ordinal)).count() > members / 2)
        .map(|ordinal| Leader { ordinal, term })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use holdfast_api::http::Status;
    use serde_json::json;

    use super::*;
    use crate::dereference::Member;

    /// One word per member: `L3` leads in term 3, `F0.3` follows member 0 in term 3, `C4` seeks votes in term 4, `?` has a pod and does not
    /// answer, `leaving` likewise with a pod that is ending, `gone` has no pod.
    fn check(words: &str, expected: Option<(u8, u64)>) {
        let members: Vec<Member> =
            words.split(' ').enumerate().map(|(ordinal, word)| member(ordinal as u8, word)).collect();
        let leader = leader(&Observed { members, ..Observed::default() });
        assert_eq!(leader.map(|leader| (leader.ordinal, leader.term)), expected, "{words}");
    }

    fn member(ordinal: u8, word: &str) -> Member {
        let pod = match word {
            "gone" => None,
            "leaving" => Some(json!({"metadata": {"deletionTimestamp": "2026-11-21T10:00:00Z"}})),
            _ => Some(json!({"metadata": {}})),
        };
        let pod = pod.map(|pod| Arc::new(serde_json::from_value(pod).unwrap()));
        let number = |text: &str| text.parse::<u64>().unwrap();
        let answer = match word.split_at(1) {
            ("L", term) => Some(("leader", Some(u64::from(ordinal)), number(term))),
            ("C", term) => Some(("candidate", None, number(term))),
            ("F", rest) => {
                let (whom, term) = rest.split_once('.').unwrap();
                Some(("follower", Some(number(whom)), number(term)))
            }
            _ => None,
        };
        let answer = answer.map(|(role, leader, term)| status(ordinal, role, leader, term));
        Member { ordinal, pod, answer, silence: None }
    }

    fn status(member: u8, role: &str, leader: Option<u64>, term: u64) -> Status {
        serde_json::from_value(json!({
            "store": "shop/orders", "strategy": "Replication", "member": member, "incarnation": "0", "version": "0",
            "role": role, "leader": leader, "term": term, "revision": 1, "peers": [],
            "positions": {"written": 0, "durable": 0, "commit": 0, "applied": 0},
        }))
        .unwrap()
    }

    #[test]
    fn the_one_that_says_so_leads() {
        check("L3 F0.3 F0.3", Some((0, 3)));
        check("L3 ? ?", Some((0, 3)));
        check("L1", Some((0, 1)));
        check("? ? ?", None);
        check("C4 C4 gone", None);
    }

    #[test]
    fn one_that_is_cut_off_does_not() {
        // It still believes in its old term; the others have moved on.
        check("L3 L4 F1.4", Some((1, 4)));
        // It cannot be asked, and the others have not elected yet.
        check("? C4 F0.3", None);
        // It cannot be asked, and the others have.
        check("? L4 F1.4", Some((1, 4)));
        // It can be asked, and the others are about to elect.
        check("L3 C4 F0.3", None);
    }

    #[test]
    fn one_that_only_the_operator_cannot_ask_does() {
        check("? F0.3 F0.3", Some((0, 3)));
        // Its pod is gone or going: the others will notice in a moment.
        check("gone F0.3 F0.3", None);
        check("leaving F0.3 F0.3", None);
        // A minority's word is not enough.
        check("? gone F0.3", None);
    }
}
