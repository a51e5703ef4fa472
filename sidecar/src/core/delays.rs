//! Faults on purpose, for demonstrations and tests: a member that holds back the entries its leader sends, or loses them.
//!
//! They stand between the connection and the engine, where a slow or bad network would be. Only messages with entries are held
//! back or lost, and so the acknowledgements that follow from them. Everything else goes on: what such a message says
//! beside its entries is a heartbeat and reaches the engine at once, and so do votes, rounds of reads, commit notices of what
//! is here already, and checkpoints, which a member far behind fetches as always. A delayed member is therefore a
//! healthy follower that campaigns for no reason of its own. What is held back is delivered in the order in which it came.
//!
//! While this member leads, it gets no entries from anybody, so that its own are neither held back nor lost.
//!
//! It refuses to invent anything: the engine sees only what a leader has said in the term that it says.

use std::collections::VecDeque;
use std::time::Duration;

use holdfast_api::Probability;
use holdfast_api::http::FaultsStatus;
use holdfast_engine::{Entry, Index, Input, MemberId, Message, Moment, Ordinal, Position, Term};

use super::Core;
use super::handle::{Failure, FaultsChange, RefusalCode};

/// Messages that are held back. A leader has at most 64 under way that are not acknowledged; a connection that is made
/// again brings them once more.
const HELD_MESSAGES_MAX: usize = 128;

/// Bytes of entries that are held back: four times what a leader has under way, if no entry is larger than a message.
const HELD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What a member does wrong on purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Whether it may have any, whatever the settings say later.
    pub always_enabled: bool,
    /// Whether it may have any.
    pub enabled: bool,
    /// How long it holds back messages with entries.
    pub delay: Duration,
    /// How likely it loses one.
    pub failure: Probability,
}

/// What is held back, and how long.
#[derive(Debug, Default)]
pub(super) struct Delays {
    faults: Faults,
    /// In the order of arrival; so the first is always due first.
    held: VecDeque<Held>,
    bytes: usize,
    /// How far the leader of what is held back has committed, as it said last.
    commit: Index,
    /// Messages that were lost on purpose, since the member started.
    lost: u64,
}

/// A message with entries that has arrived and is not delivered yet.
#[derive(Debug)]
struct Held {
    from: MemberId,
    arrived: Moment,
    term: Term,
    previous: Position,
    end: Position,
    bytes: usize,
    message: Message,
}

impl Delays {
    pub(super) fn new(faults: Faults) -> Delays {
        let delays = Delays { faults, ..Delays::default() };
        if faults.enabled {
            delays.say();
        }
        delays
    }

    /// Loudly, because whoever does not know of it would look for a defect.
    fn say(&self) {
        let Faults { enabled, delay, failure, .. } = self.faults;
        let words = self
            .status()
            .map_or_else(|| "has no faults on purpose any more".to_owned(), |faults| faults.words());
        tracing::warn!(enabled, ?delay, %failure, "this member {words}");
    }

    /// As the status shows it; `None` if there may be no faults.
    pub(super) fn status(&self) -> Option<FaultsStatus> {
        let Faults { enabled, delay, failure, .. } = self.faults;
        enabled.then(|| FaultsStatus {
            delay: holdfast_api::Span::from_millis(delay.as_millis() as u64),
            failure,
            held: self.held.len() as u64,
            lost: self.lost,
        })
    }

    fn change(&mut self, change: FaultsChange) -> Result<FaultsStatus, Failure> {
        let before = self.faults;
        if let Some(enabled) = change.enabled {
            self.faults.enabled = enabled || before.always_enabled;
        }
        if !self.faults.enabled {
            (self.faults.delay, self.faults.failure) = (Duration::ZERO, Probability::NEVER);
        } else {
            self.faults.delay = change.delay.unwrap_or(before.delay);
            self.faults.failure = change.failure.unwrap_or(before.failure);
        }
        if self.faults != before {
            self.say();
        }
        self.status().ok_or_else(refused)
    }

    /// What the engine is to hear of a message now. `draw` draws a number from all there are.
    fn take(&mut self, from: MemberId, message: Message, now: Moment, draw: impl FnOnce() -> u64) -> Message {
        let Faults { delay, failure, .. } = self.faults;
        if delay.is_zero() && failure.is_never() && self.held.is_empty() {
            return message;
        }
        let newest = self.held.front().map_or(Term(0), |held| held.term);
        // What a deposed leader says is the engine's to refuse.
        if message.term().is_some_and(|term| term < newest) {
            return message;
        }
        let Message::Append { term, previous, entries, commit, round, receipt, answer } = message else {
            return message;
        };
        // What another leader said before is nothing to this one's log.
        self.held.retain(|held| (held.term, held.from) == (term, from));
        self.bytes = self.held.iter().map(|held| held.bytes).sum();
        self.commit = if self.held.is_empty() { commit } else { self.commit.max(commit) };
        // A heartbeat speaks of the end of the leader's log, of which this member is to know nothing yet. The leader has
        // said the same of the place after which it holds back.
        let known = self.held.front().map_or(previous, |held| held.previous);
        let heartbeat =
            Message::Append { term, previous: known, entries: Vec::new(), commit, round, receipt, answer };
        let Some(end) = entries.last().map(Entry::position) else { return heartbeat };
        if failure.strikes(draw()) {
            self.lost += 1;
        } else if delay.is_zero() && self.held.is_empty() {
            return Message::Append { term, previous, entries, commit, round, receipt, answer };
        } else {
            let bytes = entries.iter().map(Entry::record_bytes).sum();
            let message = Message::Append { term, previous, entries, commit, round, receipt, answer };
            self.hold(Held { from, arrived: now, term, previous, end, bytes, message });
        }
        heartbeat
    }

    fn hold(&mut self, new: Held) {
        // A leader that looks for the end of what both logs share repeats itself.
        if self.held.iter().any(|held| held.previous == new.previous && held.end.index >= new.end.index) {
            return;
        }
        if self.held.len() >= HELD_MESSAGES_MAX || self.bytes >= HELD_BYTES_MAX {
            // The leader sends it again: nothing is acknowledged yet.
            self.lost += 1;
            return;
        }
        self.bytes += new.bytes;
        self.held.push_back(new);
    }

    /// The next message whose time has come.
    fn next_due(&mut self, now: Moment) -> Option<(MemberId, Message)> {
        let delay = self.faults.delay;
        let held = self.held.pop_front_if(|held| held.arrived + delay <= now)?;
        self.bytes -= held.bytes;
        let mut message = held.message;
        // What was committed meanwhile is shown at once, and not with the next heartbeat.
        if let Message::Append { commit, .. } = &mut message {
            *commit = (*commit).max(self.commit);
        }
        Some((held.from, message))
    }

    /// When there is something to deliver at the earliest.
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.held.front().map(|held| held.arrived + self.faults.delay)
    }

    /// The connection with `peer` ended: what was on it is lost, and it will say it again.
    pub(super) fn forget(&mut self, peer: Ordinal) {
        self.held.retain(|held| held.from.ordinal != peer);
        self.bytes = self.held.iter().map(|held| held.bytes).sum();
    }

    /// Forget everything that is held back; for a member that leads.
    pub(super) fn clear(&mut self) {
        self.held.clear();
        self.bytes = 0;
    }
}

impl Core {
    /// A peer has said something.
    pub(super) fn receive(&mut self, from: MemberId, message: Message) {
        let message = self.delays.take(from, message, self.now, crate::peers::random);
        self.step(Input::Receive { from, message });
    }

    /// Deliver what was held back for long enough.
    pub(super) fn deliver_held_back(&mut self) {
        while let Some((from, message)) = self.delays.next_due(self.now) {
            self.step(Input::Receive { from, message });
        }
    }

    /// Have other faults from now on. A shorter delay counts for what is held back too.
    pub(super) fn change_faults(&mut self, change: FaultsChange) -> Result<FaultsStatus, Failure> {
        self.delays.change(change)
    }
}

fn refused() -> Failure {
    Failure::Refused {
        code: RefusalCode::FaultsDisabled,
        detail: "this member may have no faults on purpose; write faults: Enabled in the manifest's spec.laptop, or start \
                 the member with HOLDFAST_FAULTS=enabled"
            .to_owned(),
        retryable: false,
        retry_after: None,
    }
}

#[cfg(test)]
mod tests {
    use holdfast_engine::{EntryKind, Incarnation, Receipt};

    use super::*;

    const DELAY: Duration = Duration::from_secs(2);

    fn leader(ordinal: u8) -> MemberId {
        MemberId { ordinal: Ordinal(ordinal), incarnation: Incarnation(7) }
    }

    fn at(term: u64, index: u64) -> Position {
        Position::new(Term(term), Index(index))
    }

    /// Entries after `previous` up to `end`, all of one term.
    fn append(term: u64, previous: u64, end: u64) -> Message {
        let entries = (previous + 1..=end).map(|index| Entry::new(at(term, index), EntryKind::Command, b"x"));
        Message::Append {
            term: Term(term),
            previous: at(term, previous),
            entries: entries.collect(),
            commit: Index(end),
            round: end,
            receipt: Receipt::default(),
            answer: true,
        }
    }

    fn delays(delay: Duration, failure: f64) -> Delays {
        let failure = Probability::new(failure).expect("a probability");
        Delays::new(Faults { always_enabled: true, enabled: true, delay, failure })
    }

    /// What the engine hears: the place after which there is something, and how many entries there are.
    fn heard(message: &Message) -> (u64, usize) {
        let Message::Append { previous, entries, .. } = message else { panic!("no append: {message:?}") };
        (previous.index.0, entries.len())
    }

    fn take(delays: &mut Delays, message: Message, seconds: u64) -> (u64, usize) {
        heard(&delays.take(leader(0), message, moment(seconds), || 0))
    }

    fn moment(seconds: u64) -> Moment {
        Moment(0) + Duration::from_secs(seconds)
    }

    fn due(delays: &mut Delays, seconds: u64) -> Vec<(u64, usize)> {
        std::iter::from_fn(|| delays.next_due(moment(seconds))).map(|(_, message)| heard(&message)).collect()
    }

    #[test]
    fn entries_wait_in_order_and_heartbeats_do_not() {
        let mut delays = delays(DELAY, 0.0);
        assert_eq!(take(&mut delays, append(1, 4, 6), 0), (4, 0), "the engine hears that the leader lives");
        assert_eq!(take(&mut delays, append(1, 6, 7), 1), (4, 0), "but nothing beyond what it has");
        assert_eq!(take(&mut delays, append(1, 7, 7), 1), (4, 0));
        assert_eq!(delays.status().map(|status| status.held), Some(2));
        assert_eq!(delays.deadline(), Some(moment(2)));
        assert_eq!(due(&mut delays, 1), []);
        assert_eq!(due(&mut delays, 2), [(4, 2)]);
        assert_eq!(take(&mut delays, append(1, 7, 7), 2), (6, 0));
        assert_eq!(due(&mut delays, 3), [(6, 1)]);
        assert_eq!(take(&mut delays, append(1, 7, 7), 3), (7, 0));
        assert_eq!((delays.deadline(), delays.bytes), (None, 0));
    }

    #[test]
    fn what_was_committed_meanwhile_is_known_on_delivery() {
        let mut delays = delays(DELAY, 0.0);
        take(&mut delays, append(1, 4, 6), 0);
        take(&mut delays, append(1, 9, 9), 1);
        let (_, message) = delays.next_due(moment(2)).expect("due");
        assert!(matches!(message, Message::Append { commit: Index(9), .. }), "{message:?}");
        // Another leader may have committed less.
        delays.take(leader(1), append(2, 4, 5), moment(2), || 0);
        let (_, message) = delays.next_due(moment(4)).expect("due");
        assert!(matches!(message, Message::Append { commit: Index(5), .. }), "{message:?}");
    }

    #[test]
    fn what_is_no_entry_is_not_looked_at() {
        let mut delays = delays(DELAY, 1.0);
        let message = Message::CampaignNow { term: Term(3) };
        assert_eq!(delays.take(leader(0), message.clone(), moment(0), || 0), message);
    }

    #[test]
    fn without_faults_a_message_is_what_it_was() {
        let mut delays = delays(Duration::ZERO, 0.0);
        assert_eq!(delays.take(leader(0), append(1, 4, 6), moment(0), || panic!("drawn")), append(1, 4, 6));
    }

    #[test]
    fn a_shorter_delay_keeps_the_order() {
        let mut delays = delays(DELAY, 0.0);
        take(&mut delays, append(1, 4, 5), 0);
        let off = FaultsChange { delay: Some(Duration::ZERO), ..FaultsChange::default() };
        delays.change(off).expect("enabled");
        assert_eq!(take(&mut delays, append(1, 5, 6), 0), (4, 0), "it stays behind what came before");
        assert_eq!(due(&mut delays, 0), [(4, 1), (5, 1)]);
        assert_eq!(take(&mut delays, append(1, 6, 7), 0), (6, 1));
    }

    #[test]
    fn what_is_lost_is_lost_and_the_leader_lives_on() {
        let mut delays = delays(Duration::ZERO, 0.5);
        let mut lose = |message, draw| heard(&delays.take(leader(0), message, moment(0), || draw));
        assert_eq!(lose(append(1, 4, 6), 499_999), (4, 0));
        assert_eq!(lose(append(1, 4, 6), 500_000), (4, 2));
        assert_eq!(delays.status().map(|status| (status.lost, status.held)), Some((1, 0)));
    }

    #[test]
    fn repetitions_and_former_leaders_take_no_room() {
        let mut delays = delays(DELAY, 0.0);
        take(&mut delays, append(1, 4, 6), 0);
        take(&mut delays, append(1, 4, 6), 0);
        assert_eq!(delays.held.len(), 1);
        take(&mut delays, append(1, 4, 9), 0);
        assert_eq!(delays.held.len(), 2, "it has more");
        assert_eq!(heard(&delays.take(leader(1), append(2, 4, 5), moment(0), || 0)), (4, 0));
        assert_eq!((delays.held.len(), delays.held[0].term), (1, Term(2)));
        assert_eq!(
            take(&mut delays, append(1, 4, 6), 0),
            (4, 2),
            "the engine refuses what a deposed leader says"
        );
        assert_eq!(delays.held.len(), 1);
        delays.forget(Ordinal(0));
        assert_eq!(delays.held.len(), 1);
        delays.forget(Ordinal(1));
        assert_eq!((delays.held.len(), delays.bytes), (0, 0));
    }

    #[test]
    fn holding_back_is_bounded() {
        let mut delays = delays(DELAY, 0.0);
        for index in 0..2 * HELD_MESSAGES_MAX as u64 {
            take(&mut delays, append(1, index, index + 1), 0);
        }
        assert_eq!(delays.held.len(), HELD_MESSAGES_MAX);
        assert_eq!(delays.lost, HELD_MESSAGES_MAX as u64);
    }

    #[test]
    fn who_may_have_no_faults_is_told_how_to() {
        let mut delays = Delays::new(Faults::default());
        let slow = FaultsChange { delay: Some(DELAY), ..FaultsChange::default() };
        let refused = delays.change(slow).expect_err("not enabled");
        assert!(refused.to_string().contains("HOLDFAST_FAULTS=enabled"), "{refused}");
        assert_eq!(delays.status(), None);
        delays.change(FaultsChange { enabled: Some(true), ..slow }).expect("enabled with it");
        assert_eq!(delays.status().map(|status| status.delay.get()), Some(DELAY));
        delays.change(FaultsChange { enabled: Some(false), ..FaultsChange::default() }).expect_err("no more");
        assert_eq!((delays.status(), delays.faults.delay), (None, Duration::ZERO));
    }
}
