//! Requests that wait elsewhere than in this member's log: for a leader to appear, or for the leader's answer.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use holdfast_engine::{Moment, Ordinal};

use super::asking::{HandOver, Write};

/// Writes that may wait for a leader at one member: what a full queue of clients asks for in one go.
const HELD_MAX: usize = 8 * 1024;

/// Bytes of commands that may wait for a leader.
const HELD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Requests that may wait for the leader's answer: as many as may be at the leader.
pub(super) const FORWARDED_MAX: usize = 16 * 1024;

/// The pause before a request that was not taken is tried again, though nobody else leads as far as is known. A new
/// leader ends it.
const RETRY_PAUSE: Duration = Duration::from_millis(10);

/// Writes that wait for a leader, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Held {
    writes: VecDeque<Write>,
    bytes: usize,
    retry_at: Option<Moment>,
    /// No deadline of what waits is earlier.
    earliest: Option<Moment>,
}

impl Held {
    /// Hold a write until there is a leader; given back if there are too many.
    pub(super) fn add(&mut self, write: Write) -> Result<(), Write> {
        if self.writes.len() >= HELD_MAX || self.bytes >= HELD_BYTES_MAX {
            return Err(write);
        }
        self.bytes += write.command.len();
        self.earliest = Some(self.earliest.map_or(write.deadline, |earliest| earliest.min(write.deadline)));
        self.writes.push_back(write);
        Ok(())
    }

    /// Try what is held again after a pause, though nothing may have changed.
    pub(super) fn retry_later(&mut self, now: Moment) {
        self.retry_at.get_or_insert(now + RETRY_PAUSE);
    }

    /// Whether it is time to try again what is held.
    pub(super) fn is_due(&self, now: Moment) -> bool {
        self.retry_at.is_some_and(|at| at <= now)
    }

    /// Everything, to be tried again.
    pub(super) fn take(&mut self) -> VecDeque<Write> {
        std::mem::take(self).writes
    }

    /// What has waited for too long.
    pub(super) fn expire(&mut self, now: Moment) -> Vec<Write> {
        if self.earliest.is_none_or(|earliest| now < earliest) {
            return Vec::new();
        }
        let (expired, kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.writes).into_iter().partition(|write| write.deadline <= now);
        self.writes = VecDeque::from(kept);
        self.bytes = self.writes.iter().map(|write| write.command.len()).sum();
        self.earliest = self.writes.iter().map(|write| write.deadline).min();
        expired
    }

    /// When there is something to do at the earliest.
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.earliest.into_iter().chain(self.retry_at).min()
    }

    /// How many wait.
    pub(super) fn count(&self) -> usize {
        self.writes.len()
    }
}

/// A request that was passed on.
#[derive(Debug)]
pub(super) enum Request {
    /// A write.
    Write(Write),
    /// A wish for another leader.
    HandOver(HandOver),
}

/// Requests that were passed on to a leader and are not answered yet.
#[derive(Debug, Default)]
pub(super) struct Forwarded {
    last: u64,
    requests: HashMap<u64, (Ordinal, Request)>,
    /// No deadline of what waits is earlier.
    earliest: Option<Moment>,
}

impl Forwarded {
    /// A name for the next request.
    pub(super) fn next_id(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Whether no more may be passed on.
    pub(super) fn is_full(&self) -> bool {
        self.requests.len() >= FORWARDED_MAX
    }

    /// `request` was passed on to `leader`.
    pub(super) fn add(&mut self, id: u64, leader: Ordinal, request: Request) {
        let deadline = request.deadline();
        self.earliest = Some(self.earliest.map_or(deadline, |earliest| earliest.min(deadline)));
        self.requests.insert(id, (leader, request));
    }

    /// `from` has answered; the request, if it was passed on to it and still waits.
    pub(super) fn answered(&mut self, from: Ordinal, id: u64) -> Option<Request> {
        if self.requests.get(&id)?.0 != from {
            return None;
        }
        self.requests.remove(&id).map(|(_, request)| request)
    }

    /// A connection with `leader` ended: what was passed on to it, and may never be answered.
    pub(super) fn lost(&mut self, leader: Ordinal) -> Vec<Request> {
        self.requests.extract_if(|_, (to, _)| *to == leader).map(|(_, (_, request))| request).collect()
    }

    /// Writes that were passed on to somebody else than `leader`, and that `wanted` takes.
    pub(super) fn take_elsewhere(&mut self, leader: Ordinal, wanted: impl Fn(&Write) -> bool) -> Vec<Write> {
        let elsewhere = self.requests.extract_if(|_, (to, request)| {
            *to != leader && matches!(request, Request::Write(write) if wanted(write))
        });
        let writes = elsewhere.filter_map(|(_, (_, request))| match request {
            Request::Write(write) => Some(write),
            Request::HandOver(_) => None,
        });
        writes.collect()
    }

    /// What has waited for too long.
    pub(super) fn expire(&mut self, now: Moment) -> Vec<Request> {
        if self.earliest.is_none_or(|earliest| now < earliest) {
            return Vec::new();
        }
        let expired = self.requests.extract_if(|_, (_, request)| request.deadline() <= now);
        let expired = expired.map(|(_, (_, request))| request).collect();
        self.earliest = self.requests.values().map(|(_, request)| request.deadline()).min();
        expired
    }

    /// When there is something to do at the earliest.
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.earliest
    }

    /// How many wait.
    pub(super) fn count(&self) -> usize {
        self.requests.len()
    }

    /// Give everything back; for a member that ends.
    pub(super) fn abandon(&mut self) -> Vec<Request> {
        self.requests.drain().map(|(_, (_, request))| request).collect()
    }
}

impl Request {
    fn deadline(&self) -> Moment {
        match self {
            Request::Write(write) => write.deadline,
            Request::HandOver(hand_over) => hand_over.deadline,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use holdfast_engine::WriteConcern;
    use tokio::sync::oneshot;

    use super::*;
    use crate::core::asking::{Asker, Client};

    fn write(deadline: u64, bytes: usize) -> Write {
        Write {
            command: Bytes::from(vec![0; bytes]),
            concern: WriteConcern::Majority,
            deadline: Moment(deadline),
            retryable: false,
            uncertain: false,
            asker: Asker::Client(Client::Task(oneshot::channel().0)),
        }
    }

    #[test]
    fn what_is_held_keeps_its_order_and_its_time() {
        let mut held = Held::default();
        for deadline in [5, 3, 9] {
            held.add(write(deadline, 1)).expect("room");
        }
        assert_eq!(held.deadline(), Some(Moment(3)));
        assert!(held.expire(Moment(2)).is_empty());
        assert_eq!(held.expire(Moment(3)).len(), 1);
        assert_eq!(held.deadline(), Some(Moment(5)));
        let deadlines: Vec<Moment> = held.take().iter().map(|write| write.deadline).collect();
        assert_eq!(deadlines, [Moment(5), Moment(9)]);
        assert_eq!((held.count(), held.deadline()), (0, None));
    }

    #[test]
    fn holding_is_bounded_in_number_and_bytes() {
        let mut held = Held::default();
        (0..HELD_MAX).for_each(|_| held.add(write(1, 0)).expect("room"));
        assert!(held.add(write(1, 0)).is_err());
        let mut held = Held::default();
        let largest = 2 * 1024 * 1024;
        let taken = (0..HELD_MAX).take_while(|_| held.add(write(1, largest)).is_ok()).count();
        assert_eq!(taken, HELD_BYTES_MAX / largest);
    }

    #[test]
    fn an_answer_counts_only_from_whom_was_asked() {
        let mut forwarded = Forwarded::default();
        let id = forwarded.next_id();
        forwarded.add(id, Ordinal(1), Request::Write(write(5, 0)));
        assert!(forwarded.answered(Ordinal(2), id).is_none());
        assert!(forwarded.answered(Ordinal(1), id + 1).is_none());
        assert!(forwarded.answered(Ordinal(1), id).is_some());
        assert!(forwarded.answered(Ordinal(1), id).is_none(), "only once");
    }

    #[test]
    fn a_lost_leader_gives_back_what_only_it_was_asked() {
        let mut forwarded = Forwarded::default();
        for leader in [1, 2, 1] {
            let id = forwarded.next_id();
            forwarded.add(id, Ordinal(leader), Request::Write(write(5, 0)));
        }
        assert_eq!(forwarded.lost(Ordinal(1)).len(), 2);
        assert_eq!(forwarded.count(), 1);
        assert_eq!(forwarded.expire(Moment(5)).len(), 1);
        assert_eq!(forwarded.deadline(), None);
    }
}
