//! Whether the members that a store is not to have any more can be stopped for good: judged from what the members
//! themselves say, by the operator and by `holdfast up` alike.
//!
//! It refuses to take a cut-off member's word, and to believe that nobody can get a vote back as long as one of those who
//! stay might still lead by older settings.

use std::fmt;

use crate::http::{Role, Status};

/// What keeps members of a store from being stopped for good, or that nothing does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    /// Nobody votes, or can get a vote, but those who are to.
    Done,
    /// Of those who stay, these did not answer.
    Silent(Vec<u8>),
    /// Of those who stay, these do not use the new settings yet.
    Unaware(Vec<u8>),
    /// Nobody leads who could remove anybody.
    NoLeader,
    /// These still have a vote.
    Voting(Vec<u8>),
}

/// How far the removal of all ordinals at and beyond `replicas` has come, from the answers of all members that can be
/// asked, each given just now.
pub fn removal<'a>(replicas: u8, answers: impl Iterator<Item = &'a Status> + Clone) -> Removal {
    let of = |ordinal| answers.clone().find(|status| status.member == ordinal);
    let silent: Vec<u8> = (0..replicas).filter(|&ordinal| of(ordinal).is_none()).collect();
    if !silent.is_empty() {
        return Removal::Silent(silent);
    }
    let unaware = |ordinal: &u8| of(*ordinal).is_some_and(|status| status.replicas != replicas);
    let unaware: Vec<u8> = (0..replicas).filter(unaware).collect();
    if !unaware.is_empty() {
        return Removal::Unaware(unaware);
    }
    let term = answers.clone().map(|status| status.term).max();
    let leader = answers.clone().find(|status| status.role == Role::Leader && Some(status.term) == term);
    let Some(leader) = leader else { return Removal::NoLeader };
    let voting: Vec<u8> = leader.voters.iter().copied().filter(|&voter| voter >= replicas).collect();
    if voting.is_empty() { Removal::Done } else { Removal::Voting(voting) }
}

impl fmt::Display for Removal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Removal::Done => f.write_str("nobody votes who is not to"),
            Removal::Silent(members) => write!(f, "waiting for an answer of {}", Members(members)),
            Removal::Unaware(members) => {
                write!(f, "waiting for {} to read the new settings", Members(members))
            }
            Removal::NoLeader => f.write_str("waiting for a leader"),
            Removal::Voting(members) => write!(f, "waiting for {} to be removed", Members(members)),
        }
    }
}

/// `member 1` or `members 0, 2`.
struct Members<'a>(&'a [u8]);

impl fmt::Display for Members<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.len() == 1 { "member" } else { "members" })?;
        for (i, ordinal) in self.0.iter().enumerate() {
            write!(f, "{} {ordinal}", if i == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One word per member that answers: its ordinal, `L` or `F`, its term, `/` and the replicas that it knows of.
    fn check(words: &str, voters: &[u8], expected: &str) {
        let statuses: Vec<Status> = words.split_whitespace().map(|word| status(word, voters)).collect();
        assert_eq!(removal(3, statuses.iter()).to_string(), expected, "{words} {voters:?}");
    }

    fn status(word: &str, voters: &[u8]) -> Status {
        let (who, replicas) = word.split_once('/').expect("a slash");
        let role = if who[1..].starts_with('L') { "leader" } else { "follower" };
        let json = serde_json::json!({
            "store": "shop/orders", "strategy": "Replication", "member": who[..1].parse::<u8>().expect("a digit"),
            "incarnation": "0", "version": "0", "role": role, "term": who[2..].parse::<u64>().expect("a term"),
            "voters": voters, "replicas": replicas.parse::<u8>().expect("a number"), "revision": 1, "peers": [],
            "positions": {"written": 0, "durable": 0, "commit": 0, "applied": 0},
        });
        serde_json::from_value(json).expect("a status")
    }

    #[test]
    fn members_are_gone_when_the_leader_says_so_and_nobody_who_stays_can_say_otherwise() {
        check("0L4/3 1F4/3 2F4/3", &[0, 1, 2], "nobody votes who is not to");
        check("0L4/3 1F4/3 2F4/3 3F4/3", &[0, 1, 2], "nobody votes who is not to");
        check("0L4/3 1F4/3 2F4/3", &[0, 1, 2, 3, 4], "waiting for members 3, 4 to be removed");
        check("0L4/3 1F4/3 2F4/3", &[0, 1, 2, 4], "waiting for member 4 to be removed");
        check("0F4/3 1F4/3 2F4/3 3L4/3", &[0, 1, 2, 3], "waiting for member 3 to be removed");
    }

    #[test]
    fn a_member_that_may_lead_by_older_settings_holds_it_up() {
        check("0L4/3 1F4/5 2F4/3", &[0, 1, 2], "waiting for member 1 to read the new settings");
        check("0L4/3 1F4/0 2F4/5", &[0, 1, 2], "waiting for members 1, 2 to read the new settings");
        check("0L4/3 1F4/3", &[0, 1, 2], "waiting for an answer of member 2");
    }

    #[test]
    fn a_leader_of_an_older_term_does_not_count() {
        check("0L4/3 1F5/3 2F4/3", &[0, 1, 2], "waiting for a leader");
        check("0F4/3 1F4/3 2F4/3", &[0, 1, 2], "waiting for a leader");
    }
}
