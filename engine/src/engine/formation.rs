//! How a store begins: members with empty disks find each other, and ordinal 0 writes down who they are.

use super::tickets::Wait;
use super::{Engine, State};
use crate::bug::seeded;
use crate::membership::Memberships;
use crate::{Effects, Formation, MEMBERS_MAX, MemberId, Membership, Message, Moment, StoreId, Write};

/// What an unformed member knows.
#[derive(Debug)]
pub(super) struct Forming {
    next_announcement: Moment,
    /// By ordinal: the member that answered this incarnation that it is empty.
    empty: [Option<MemberId>; MEMBERS_MAX],
    /// This member was part of a store before, and forgot: it must not be taken for new.
    formed_before: bool,
}

impl Forming {
    pub(super) fn new(now: Moment, formed_before: bool) -> Forming {
        Forming { next_announcement: now, empty: [None; MEMBERS_MAX], formed_before }
    }

    pub(super) fn deadline(&self) -> Moment {
        self.next_announcement
    }
}

impl Engine {
    /// Ask every ordinal how it sees the store's beginning; a store of one needs nobody's answer.
    pub(super) fn announce(&mut self, now: Moment, effects: &mut Effects) {
        let State::Unformed(forming) = &mut self.state else { return };
        forming.next_announcement = now + self.config.heartbeat_interval;
        if self.formation.is_some() {
            return; // chosen, and becoming durable
        }
        for ordinal in self.others() {
            effects.send.push((ordinal, Message::Announce { formation: None, answers: None }));
        }
        self.form_if_everybody_is_empty(effects);
    }

    pub(super) fn announced(
        &mut self,
        from: MemberId,
        formation: Option<Formation>,
        answers: Option<MemberId>,
        effects: &mut Effects,
    ) {
        let unformed = matches!(self.state, State::Unformed(_));
        let forgetful = matches!(&self.state, State::Unformed(forming) if forming.formed_before);
        if answers.is_none() && !forgetful {
            // What is not durable yet is not said: after a crash it might not be true any more.
            let formation = if unformed { None } else { self.formation.clone() };
            effects.send.push((from.ordinal, Message::Announce { formation, answers: Some(from) }));
        }
        if !unformed || self.formation.is_some() {
            return;
        }
        match formation {
            Some(formation) => self.adopt(formation, effects),
            None if answers == Some(self.config.me) => {
                let State::Unformed(forming) = &mut self.state else { return };
                forming.empty[usize::from(from.ordinal.0)] = Some(from);
                self.form_if_everybody_is_empty(effects);
            }
            None => {}
        }
    }

    /// Ordinal 0 forms the store once every other member has told this very incarnation that it is empty.
    fn form_if_everybody_is_empty(&mut self, effects: &mut Effects) {
        let me = self.config.me;
        if me.ordinal.0 != 0 {
            return;
        }
        let State::Unformed(forming) = &self.state else { return };
        let others = &forming.empty[1..usize::from(self.config.members)];
        let unheard = others.iter().any(Option::is_none) && !seeded!(self, FormsWithoutAsking);
        if unheard || forming.formed_before && !others.is_empty() {
            return;
        }
        let voters = std::iter::once(me).chain(others.iter().copied().flatten()).collect();
        let store = StoreId(u128::from(self.random.draw()) << 64 | u128::from(self.random.draw()));
        self.adopt(Formation { store, voters }, effects);
    }

    fn adopt(&mut self, formation: Formation, effects: &mut Effects) {
        self.formation = Some(formation.clone());
        self.memberships = Memberships::starting_with(Membership::of(&formation));
        self.was_voter = self.membership().is_voter(self.config.me);
        self.persist(Write::Formation(formation), Wait::Formation, effects);
    }

    /// The formation is durable: this member takes part.
    pub(super) fn formed(&mut self, now: Moment, effects: &mut Effects) {
        self.wait_to_campaign(now);
        for ordinal in self.others() {
            let formation = self.formation.clone();
            // An answer to nobody's question: whoever is still unformed adopts it, nobody replies.
            effects.send.push((ordinal, Message::Announce { formation, answers: Some(self.config.me) }));
        }
    }
}
