//! Linearizable reads: all that wait share one question to the leader, and are served when the state has come as far
//! as its answer says.
//!
//! A read changes nothing, so that it is asked again, for as long as its time lasts, whenever an answer is lost or
//! nobody leads.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use holdfast_engine::{Index, Moment, ReadToken};

use super::asking::Client;
use super::handle::{Query, ReadReply};

/// Reads that may wait at one member. A read costs some hundred bytes; more than this and the member is asked for
/// more than it can do.
pub(super) const READS_MAX: usize = 16 * 1024;

/// The pause before asking again when nobody could be asked. A new leader ends it.
const ASK_PAUSE: Duration = Duration::from_millis(20);

/// After so long an answer is taken for lost and the question asked again, as long as nothing else is known. Some tens
/// of round trips in any network that members should be in.
const ANSWER_TIME: Duration = Duration::from_millis(250);

/// An answer is never waited for longer: twice the round trip of the slowest link that a store still works over.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(8);

/// How many times longer than the last answer took the next one may take.
const ANSWER_TIME_SLACK: u32 = 4;

/// One read.
#[derive(Debug)]
pub(super) struct Read {
    /// What to read.
    pub(super) query: Query,
    /// When there has to be an answer.
    pub(super) deadline: Moment,
    /// Who waits.
    pub(super) client: Client<ReadReply>,
}

/// All linearizable reads that wait.
#[derive(Debug, Default)]
pub(super) struct Reads {
    /// Not asked for yet.
    waiting: Vec<Read>,
    /// Not before this, if nobody could be asked the last time.
    ask_at: Option<Moment>,
    /// Asked for, and an answer may come; by when that was, oldest first.
    asked: VecDeque<Round>,
    /// Asked for too long ago: they are asked for again.
    overdue: Vec<Round>,
    /// By the index that the state has to come to.
    confirmed: BTreeMap<Index, Vec<Read>>,
    count: usize,
    /// No deadline of what waits is earlier.
    earliest: Option<Moment>,
    patience: Patience,
}

/// How long an answer is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Patience(Duration);

impl Default for Patience {
    fn default() -> Patience {
        Patience(ANSWER_TIME)
    }
}

impl Patience {
    /// After an answer that was waited for with this patience was lost: doubled, so that one is heard over any link.
    fn doubled(self) -> Patience {
        Patience((self.0 * 2).min(ANSWER_TIME_MAX))
    }

    /// After an answer that took this long.
    fn from_answer(after: Duration) -> Patience {
        Patience((after * ANSWER_TIME_SLACK).clamp(ANSWER_TIME, ANSWER_TIME_MAX))
    }
}

/// Reads that were asked for together.
#[derive(Debug)]
struct Round {
    /// The questions, and when they were asked. The answer to any of them will do, however late: the reads were there
    /// before the first.
    questions: Vec<(ReadToken, Moment)>,
    asked: Moment,
    patience: Patience,
    reads: Vec<Read>,
}

impl Round {
    fn lost_at(&self) -> Moment {
        self.asked + self.patience.0
    }

    /// When the question of this name was asked, if it is one of this round's.
    fn asked_at(&self, token: ReadToken) -> Option<Moment> {
        self.questions.iter().find(|(question, _)| *question == token).map(|(_, asked)| *asked)
    }

    fn ask(&mut self, token: ReadToken, now: Moment, patience: Patience) {
        self.questions.push((token, now));
        (self.asked, self.patience) = (now, patience);
    }
}

impl Reads {
    /// Take a read; given back if there are too many.
    #[expect(clippy::result_large_err, reason = "the read goes back to where it came from, on the stack")]
    pub(super) fn add(&mut self, read: Read) -> Result<(), Read> {
        if self.count >= READS_MAX {
            return Err(read);
        }
        self.count += 1;
        self.earliest = Some(self.earliest.map_or(read.deadline, |earliest| earliest.min(read.deadline)));
        self.waiting.push(read);
        Ok(())
    }

    /// Whether reads wait to be asked for, and it is time to.
    pub(super) fn wants_to_ask(&self, now: Moment) -> bool {
        self.has_questions() && self.ask_at.is_none_or(|at| at <= now)
    }

    fn has_questions(&self) -> bool {
        !self.waiting.is_empty() || !self.overdue.is_empty()
    }

    /// The question for all that wait is named `token`.
    pub(super) fn ask(&mut self, token: ReadToken, now: Moment) {
        self.ask_at = None;
        let reads = std::mem::take(&mut self.waiting);
        let new = Round { questions: Vec::new(), asked: now, patience: self.patience, reads };
        let new = Some(new).filter(|round| !round.reads.is_empty());
        for mut round in self.overdue.drain(..).chain(new) {
            round.ask(token, now, self.patience);
            self.asked.push_back(round);
        }
    }

    /// A question was answered: with the index to come to, or by nobody.
    pub(super) fn answered(&mut self, token: ReadToken, index: Option<Index>, now: Moment) {
        while let Some((round, asked)) = self.take_round(token) {
            match index {
                Some(index) => {
                    self.patience = Patience::from_answer(now - asked);
                    self.confirmed.entry(index).or_default().extend(round.reads);
                }
                None => {
                    self.waiting.extend(round.reads);
                    self.ask_at = Some(now + ASK_PAUSE);
                }
            }
        }
    }

    /// A round that this question was asked for, and when that was.
    fn take_round(&mut self, token: ReadToken) -> Option<(Round, Moment)> {
        let asks = |round: &Round| round.asked_at(token).is_some();
        let round = match self.asked.iter().position(asks) {
            Some(place) => self.asked.remove(place)?,
            None => self.overdue.swap_remove(self.overdue.iter().position(asks)?),
        };
        let asked = round.asked_at(token)?;
        Some((round, asked))
    }

    /// There is somebody to ask now.
    pub(super) fn ask_now(&mut self) {
        self.ask_at = None;
    }

    /// Whoever was asked will not answer: it leads no more, or the connection with the question is gone. Everything is asked
    /// for again, and not only after the time that an answer may take: as long as the last ones took, through an
    /// election too, which may be seconds.
    pub(super) fn ask_again(&mut self) {
        self.ask_at = None;
        self.overdue.extend(self.asked.drain(..));
    }

    /// Reads that may be served from a state that is committed up to `committed`.
    pub(super) fn take_ready(&mut self, committed: Index) -> Vec<Read> {
        let mut ready = Vec::new();
        while let Some(first) = self.confirmed.first_entry().filter(|first| *first.key() <= committed) {
            ready.extend(first.remove());
        }
        self.count -= ready.len();
        ready
    }

    /// Ask again for what was asked too long ago, and give back the reads whose time is up.
    pub(super) fn expire(&mut self, now: Moment) -> Vec<Read> {
        while let Some(round) = self.asked.pop_front_if(|round| round.lost_at() <= now) {
            self.patience = self.patience.max(round.patience.doubled());
            self.overdue.push(round);
        }
        if self.earliest.is_none_or(|earliest| now < earliest) {
            return Vec::new();
        }
        let mut expired = Vec::new();
        let mut earliest: Option<Moment> = None;
        let groups = std::iter::once(&mut self.waiting)
            .chain(self.asked.iter_mut().chain(&mut self.overdue).map(|round| &mut round.reads))
            .chain(self.confirmed.values_mut());
        for reads in groups {
            expired.extend(reads.extract_if(.., |read| read.deadline <= now));
            let next = reads.iter().map(|read| read.deadline).min();
            earliest = earliest.into_iter().chain(next).min();
        }
        self.confirmed.retain(|_, reads| !reads.is_empty());
        self.asked.retain(|round| !round.reads.is_empty());
        self.overdue.retain(|round| !round.reads.is_empty());
        self.earliest = earliest;
        self.count -= expired.len();
        expired
    }

    /// When there is something to do at the earliest.
    pub(super) fn deadline(&self) -> Option<Moment> {
        let lost = self.asked.front().map(Round::lost_at);
        let ask = self.has_questions().then(|| self.ask_at.unwrap_or_default());
        [self.earliest, lost, ask].into_iter().flatten().min()
    }

    /// How many wait.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Give everything back; for a member that ends.
    pub(super) fn abandon(&mut self) -> Vec<Read> {
        let Reads { waiting, asked, overdue, confirmed, .. } = std::mem::take(self);
        let asked = asked.into_iter().chain(overdue).flat_map(|round| round.reads);
        waiting.into_iter().chain(asked).chain(confirmed.into_values().flatten()).collect()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::sync::oneshot;

    use super::*;

    const SECOND: Moment = Moment(1_000_000_000);

    fn read(deadline: Moment) -> Read {
        let query = Query::Get { key: Bytes::from_static(b"key"), at: None };
        Read { query, deadline, client: Client::Task(oneshot::channel().0) }
    }

    fn with(count: usize) -> Reads {
        let mut reads = Reads::default();
        for _ in 0..count {
            reads.add(read(SECOND)).expect("room");
        }
        reads
    }

    #[test]
    fn all_that_wait_share_one_question() {
        let mut reads = with(3);
        assert!(reads.wants_to_ask(Moment(0)));
        reads.ask(ReadToken(1), Moment(0));
        assert!(!reads.wants_to_ask(Moment(0)));
        reads.answered(ReadToken(1), Some(Index(5)), Moment(1));
        assert_eq!(reads.take_ready(Index(4)).len(), 0, "the state is not there yet");
        assert_eq!(reads.take_ready(Index(5)).len(), 3);
        assert_eq!(reads.count(), 0);
    }

    #[test]
    fn a_question_that_nobody_takes_is_asked_again_later_or_at_a_new_leader() {
        let mut reads = with(1);
        reads.ask(ReadToken(1), Moment(0));
        reads.answered(ReadToken(1), None, Moment(0));
        assert!(!reads.wants_to_ask(Moment(0)));
        assert_eq!(reads.deadline(), Some(Moment(0) + ASK_PAUSE));
        assert!(reads.wants_to_ask(Moment(0) + ASK_PAUSE));
        reads.ask_now();
        assert!(reads.wants_to_ask(Moment(0)));
    }

    #[test]
    fn a_lost_answer_is_asked_for_again_and_the_first_that_comes_will_do() {
        for answered in [ReadToken(1), ReadToken(2)] {
            let mut reads = with(1);
            reads.ask(ReadToken(1), Moment(0));
            let later = Moment(0) + ANSWER_TIME;
            assert_eq!(reads.deadline(), Some(later));
            assert!(reads.expire(later).is_empty());
            assert!(reads.wants_to_ask(later));
            // This one was not there when the first question was asked.
            reads.add(read(SECOND)).expect("room");
            reads.ask(ReadToken(2), later);
            reads.answered(answered, Some(Index(1)), later);
            let ready = if answered == ReadToken(1) { 1 } else { 2 };
            assert_eq!(reads.take_ready(Index(9)).len(), ready);
            reads.answered(ReadToken(2), Some(Index(1)), later);
            assert_eq!(reads.take_ready(Index(9)).len(), 2 - ready);
            assert_eq!(reads.count(), 0);
        }
    }

    #[test]
    fn what_a_lost_leader_was_asked_another_one_is_asked_at_once() {
        let mut reads = with(1);
        // An answer that took long, because there was an election: the next one may take longer still.
        reads.ask(ReadToken(1), Moment(0));
        let late = Moment(0) + Duration::from_millis(200) * 5;
        reads.answered(ReadToken(1), Some(Index(1)), late);
        assert_eq!(reads.take_ready(Index(1)).len(), 1);
        reads.add(read(Moment(100 * SECOND.0))).expect("room");
        reads.ask(ReadToken(2), late);
        assert!(!reads.wants_to_ask(late));
        reads.ask_again();
        assert!(reads.wants_to_ask(late));
        assert_eq!(reads.deadline(), Some(Moment(0)), "at once");
        // Nobody leads yet; then somebody does.
        reads.ask(ReadToken(3), late);
        reads.answered(ReadToken(3), None, late);
        assert!(!reads.wants_to_ask(late));
        reads.ask_again();
        reads.ask(ReadToken(4), late);
        reads.answered(ReadToken(4), Some(Index(2)), late);
        assert_eq!(reads.take_ready(Index(2)).len(), 1);
        assert_eq!(reads.count(), 0);
    }

    #[test]
    fn an_answer_that_comes_before_it_is_asked_for_again_will_do() {
        let mut reads = with(1);
        reads.ask(ReadToken(1), Moment(0));
        let later = Moment(0) + ANSWER_TIME;
        assert!(reads.expire(later).is_empty());
        reads.answered(ReadToken(1), Some(Index(1)), later);
        assert!(!reads.wants_to_ask(later));
        assert_eq!(reads.take_ready(Index(1)).len(), 1);
    }

    /// The answer to every question comes after `round_trip`; when the read is answered.
    fn answered_after(reads: &mut Reads, round_trip: Duration) -> Moment {
        let mut now = Moment(0);
        let mut on_the_way = VecDeque::new();
        for token in 1.. {
            reads.ask(ReadToken(token), now);
            on_the_way.push_back((now + round_trip, ReadToken(token)));
            while !reads.wants_to_ask(now) {
                let next = reads.deadline().expect("a read waits");
                match on_the_way.pop_front_if(|(comes, _)| *comes <= next) {
                    Some((comes, token)) => {
                        now = comes;
                        reads.answered(token, Some(Index(1)), now);
                        if !reads.take_ready(Index(1)).is_empty() {
                            return now;
                        }
                    }
                    None => {
                        now = next;
                        assert!(reads.expire(now).is_empty(), "the read's time was up");
                    }
                }
            }
        }
        unreachable!("a read is answered or expires")
    }

    #[test]
    fn an_answer_is_heard_however_long_its_way() {
        let round_trip = Duration::from_secs(2);
        let mut reads = Reads::default();
        for _ in 0..2 {
            reads.add(read(Moment(0) + Duration::from_secs(10))).expect("room");
            assert_eq!(answered_after(&mut reads, round_trip), Moment(0) + round_trip);
        }
        assert_eq!(reads.patience.0, ANSWER_TIME_MAX, "the next is not asked twice");
    }

    #[test]
    fn time_ends_a_read_wherever_it_waits() {
        let mut reads = with(1);
        reads.ask(ReadToken(1), Moment(0));
        reads.answered(ReadToken(1), Some(Index(5)), Moment(0));
        reads.add(read(SECOND)).expect("room");
        reads.ask(ReadToken(2), Moment(SECOND.0 - 1));
        reads.add(read(SECOND)).expect("room");
        reads.add(read(Moment(SECOND.0 + 1))).expect("room");
        assert!(reads.expire(Moment(SECOND.0 - 1)).is_empty());
        assert_eq!(reads.expire(SECOND).len(), 3);
        assert_eq!(reads.count(), 1);
        assert_eq!(reads.abandon().len(), 1);
    }

    #[test]
    fn too_many_are_given_back() {
        let mut reads = with(READS_MAX);
        assert!(reads.add(read(SECOND)).is_err());
    }
}
