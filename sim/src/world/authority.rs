//! Members and the authority of in-sync mode: questions, answers, and what must hold of what it holds.

use std::time::Duration;

use holdfast_engine::{Configuration, Index, Input, Question, QuestionToken, Verdict};

use super::{Event, World};
use crate::invariants::Broken;
use crate::member::Member;

/// How long a member waits for an answer before it calls it unknown.
const PATIENCE: Duration = Duration::from_millis(200);

impl World {
    /// A member asks the authority.
    pub(super) fn ask_authority(&mut self, at: usize, token: QuestionToken, question: Question) {
        let life = self.members[at].life;
        self.note(|| format!("{at} asks the authority #{}: {question:?}", token.0));
        match self.authority.way(at, &mut self.random) {
            Some(delay) => {
                self.authority.asked(&question);
                self.after(delay, Event::AuthorityAsked { member: at, life, token, question });
            }
            None => self.authority_silent(at, life, token),
        }
    }

    fn authority_silent(&mut self, member: usize, life: u64, token: QuestionToken) {
        let input = Input::Authority { token, verdict: Verdict::Unknown };
        self.after(PATIENCE, Event::Happen { member, life, input });
    }

    /// A question has come through, whatever has become of who asked it.
    pub(super) fn authority_asked(
        &mut self,
        member: usize,
        life: u64,
        token: QuestionToken,
        question: Question,
    ) -> Result<(), Broken> {
        let verdict = self.authority.answer(&question);
        self.note(|| format!("the authority answers #{} of {member}: {verdict:?}", token.0));
        if let (Verdict::Changed, Question::Change(to)) = (&verdict, &question) {
            self.check_in_sync(to)?;
        }
        match self.authority.way(member, &mut self.random).filter(|delay| *delay < PATIENCE) {
            Some(delay) => {
                let input = Input::Authority { token, verdict };
                self.after(delay, Event::Happen { member, life, input });
            }
            None => self.authority_silent(member, life, token),
        }
        Ok(())
    }

    /// Whoever the authority holds to be in sync has everything that is committed.
    fn check_in_sync(&self, configuration: &Configuration) -> Result<(), Broken> {
        let committed = self.invariants.committed();
        let last = self.invariants.entry(committed).map(|entry| entry.position());
        for voter in configuration.in_sync.voters() {
            let Some(disk) = self.disk_of(voter) else { continue };
            let lacks = last.is_some_and(|last| !disk.is_durable(last));
            if lacks && committed > Index(0) {
                return Err(format!(
                    "in sync: {voter} is held to be in sync in version {} and lacks what is committed up to {committed}",
                    configuration.version
                ));
            }
        }
        Ok(())
    }

    /// Whether a member may forget what it was: somebody else who is in sync keeps it, whatever comes through yet.
    pub(super) fn may_forget(&self, member: usize) -> bool {
        let keeps = |configuration: &Configuration| {
            let others = self.members.iter().enumerate().filter(|(at, _)| *at != member);
            others.map(|(_, other)| Member::id(other)).any(|other| configuration.in_sync.is_voter(other))
        };
        self.authority.holds().is_some() && self.authority.may_hold().all(keeps)
    }
}
