//! What is worth saying when members are looked at again and again: another leader, none, all well, their notes.
//!
//! Refuses to say a thing twice, and to cry over a gap that the next look closes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use holdfast_laptop::event::Event;

use crate::view::{Health, StoreView};

/// No leader for this long is worth a line; an election after a death takes milliseconds, one look at the members more.
const LOST_AFTER: Duration = Duration::from_secs(1);

/// What was said last.
#[derive(Debug, Default)]
pub struct Leadership {
    leader: Option<(String, u64)>,
    missing_since: Option<Instant>,
    said_lost: bool,
    said_ready: bool,
    /// The note of each member and the life that it was about.
    notes: BTreeMap<String, (String, String)>,
}

impl Leadership {
    /// What to say of the store as it is at `now`.
    pub fn observe(&mut self, view: &StoreView, now: Instant) -> Vec<Event> {
        let mut events = self.notes(view);
        match (&view.leader, view.term) {
            (Some(leader), Some(term)) => self.led(leader, term, &mut events),
            _ => self.not_led(now, &mut events),
        }
        let ready = view.health == Health::Ok;
        if ready
            && !self.said_ready
            && let (Some(store), Some(leader)) = (&view.store, &view.leader)
        {
            let clients = view.members.iter().map(|member| member.endpoint.clone()).collect();
            events.push(Event::Ready { store: store.clone(), leader: leader.clone(), clients });
        }
        self.said_ready = ready;
        events
    }

    /// What members want people to know, once for each of their lives.
    fn notes(&mut self, view: &StoreView) -> Vec<Event> {
        let mut events = Vec::new();
        for member in &view.members {
            let Some(status) = &member.status else { continue };
            let Some(note) = &status.note else { continue };
            let said = (status.incarnation.clone(), note.clone());
            if self.notes.get(&member.member) != Some(&said) {
                self.notes.insert(member.member.clone(), said);
                events.push(Event::Note { text: format!("{}: {note}", member.member) });
            }
        }
        events
    }

    fn led(&mut self, leader: &str, term: u64, events: &mut Vec<Event>) {
        self.missing_since = None;
        let said_lost = std::mem::take(&mut self.said_lost);
        if !said_lost && self.leader.as_ref().is_some_and(|(name, at)| name == leader && *at == term) {
            return;
        }
        let previous = self.leader.replace((leader.to_owned(), term)).map(|(name, _)| name);
        events.push(Event::LeaderChanged { leader: leader.to_owned(), term, previous });
    }

    fn not_led(&mut self, now: Instant, events: &mut Vec<Event>) {
        let since = *self.missing_since.get_or_insert(now);
        if let Some((previous, _)) = &self.leader
            && !self.said_lost
            && now.duration_since(since) >= LOST_AFTER
        {
            self.said_lost = true;
            events.push(Event::LeaderLost { previous: previous.clone() });
        }
    }
}

#[cfg(test)]
mod tests {
    use holdfast_client::reply::Role;

    use super::*;
    use crate::view::MemberView;

    /// One look: at so many milliseconds, the leader and its term if there is one, whether all are well.
    type LookedAt<'a> = (u64, Option<(&'a str, u64)>, bool);

    /// Looks at a store again and again.
    fn check(looks: &[LookedAt<'_>], expected: &[&str]) {
        let start = Instant::now();
        let mut leadership = Leadership::default();
        let mut said = Vec::new();
        for (at, leader, well) in looks {
            let view = StoreView {
                store: Some("default/orders".into()),
                health: if *well { Health::Ok } else { Health::Degraded },
                leader: leader.map(|(name, _)| name.to_owned()),
                term: leader.map(|(_, term)| term),
                members: Vec::new(),
            };
            let events = leadership.observe(&view, start + Duration::from_millis(*at));
            said.extend(events.iter().map(|event| match event {
                Event::LeaderChanged { leader, term, previous } => {
                    format!("{leader} {term} after {}", previous.as_deref().unwrap_or("nobody"))
                }
                Event::LeaderLost { previous } => format!("lost {previous}"),
                Event::Ready { .. } => "ready".to_owned(),
                other => panic!("{other:?}"),
            }));
        }
        assert_eq!(said, expected);
    }

    #[test]
    fn a_new_leader_or_term_is_said_once() {
        let a = |term| Some(("a", term));
        check(&[(0, None, false), (5000, a(1), false), (5200, a(1), false)], &["a 1 after nobody"]);
        check(&[(0, a(1), false), (200, Some(("b", 2)), false)], &["a 1 after nobody", "b 2 after a"]);
        check(&[(0, a(1), false), (200, a(3), false)], &["a 1 after nobody", "a 3 after a"]);
    }

    #[test]
    fn a_short_gap_is_not_worth_a_line_and_a_long_one_is() {
        let a = Some(("a", 1));
        check(
            &[(0, a, false), (200, None, false), (1100, None, false), (1150, a, false)],
            &["a 1 after nobody"],
        );
        check(
            &[(0, a, false), (200, None, false), (1200, None, false), (2000, None, false), (2200, a, false)],
            &["a 1 after nobody", "lost a", "a 1 after a"],
        );
    }

    #[test]
    fn a_note_is_said_once_for_each_life() {
        let mut leadership = Leadership::default();
        let mut look = |incarnation: &str, note: Option<&str>| {
            let mut status = crate::view::tests::status(0, Role::Unformed, None, false);
            status.incarnation = incarnation.to_owned();
            status.note = note.map(str::to_owned);
            let (member, endpoint) = ("a-0".to_owned(), "http://a".to_owned());
            let member = MemberView { member, endpoint, process: None, status: Some(status), error: None };
            leadership.observe(&StoreView::new(None, vec![member]), Instant::now())
        };
        assert_eq!(look("1", None), []);
        let said = Event::Note { text: "a-0: all is lost".to_owned() };
        assert_eq!(look("1", Some("all is lost")), std::slice::from_ref(&said));
        assert_eq!(look("1", Some("all is lost")), []);
        assert_eq!(look("2", Some("all is lost")), [said]);
    }

    #[test]
    fn ready_is_said_each_time_it_becomes_true() {
        let a = Some(("a", 1));
        check(
            &[(0, a, true), (200, a, true), (400, a, false), (600, a, true)],
            &["a 1 after nobody", "ready", "ready"],
        );
    }
}
