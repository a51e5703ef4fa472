//! What waits for the writer thread: bounded, in order, taken all at once.
//!
//! What it refuses to do: make whoever submits wait. A member's core must go on sending heartbeats while its disk is
//! slow, so a full queue says so and hands the writes back.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use holdfast_engine::{Persist, Write};

/// Most bytes of entries that wait for the writer.
///
/// A disk that writes 100 MB/s clears them in less than a second; a member whose disk is further behind should stop
/// taking entries. The bytes are shared with the engine's log in memory, so waiting costs little more.
pub const QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Most writes that wait for the writer: four times the number of clients of a busy member (16,384), each of which
/// waits for one write.
pub const QUEUE_WRITES_MAX: usize = 65_536;

/// Why writes were not taken. All of them are handed back.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// Too much waits. Keep these, ask for nothing new, and submit them again, before anything else, when the writer
    /// has reported progress. A queue with nothing in it takes any number of writes, so that this ends.
    #[error("the disk is behind: {QUEUE_BYTES_MAX} bytes or {QUEUE_WRITES_MAX} writes wait for it")]
    Full(Vec<Persist>),
    /// The writer has stopped: it failed, which it has reported, or it was told to.
    #[error("the writer has stopped")]
    Stopped(Vec<Persist>),
}

/// How much waits for the writer; what it is writing at the moment is not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queued {
    /// Writes.
    pub writes: usize,
    /// Bytes of the entries in them.
    pub bytes: usize,
}

/// The queue between one core and one writer.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Persist>,
    bytes: usize,
    stopped: bool,
    /// When the oldest of those that wait was submitted, and of those that are being written.
    waits_since: Option<Instant>,
    written_since: Option<Instant>,
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn submit(&self, writes: Vec<Persist>) -> Result<(), SubmitError> {
        let bytes = writes.iter().map(bytes_of).sum::<usize>();
        let mut state = self.state();
        if state.stopped {
            return Err(SubmitError::Stopped(writes));
        }
        let full =
            state.waiting.len() + writes.len() > QUEUE_WRITES_MAX || state.bytes + bytes > QUEUE_BYTES_MAX;
        if full && !state.waiting.is_empty() {
            return Err(SubmitError::Full(writes));
        }
        if state.waiting.is_empty() && !writes.is_empty() {
            state.waits_since = Some(Instant::now());
        }
        state.bytes += bytes;
        state.waiting.extend(writes);
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// Wait for writes and take them all; `None` when there are none and never will be.
    pub(crate) fn take(&self) -> Option<VecDeque<Persist>> {
        let mut state = self.state();
        state.written_since = None;
        while state.waiting.is_empty() {
            if state.stopped {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.bytes = 0;
        state.written_since = state.waits_since.take();
        Some(std::mem::take(&mut state.waiting))
    }

    pub(crate) fn queued(&self) -> Queued {
        let state = self.state();
        Queued { writes: state.waiting.len(), bytes: state.bytes }
    }

    /// For how long the oldest write that is not durable has been here.
    pub(crate) fn waiting_for(&self) -> Duration {
        let state = self.state();
        state.written_since.or(state.waits_since).map_or(Duration::ZERO, |since| since.elapsed())
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.state().stopped
    }

    /// Take nothing more. What waits can still be taken.
    pub(crate) fn stop(&self) {
        self.state().stopped = true;
        self.changed.notify_all();
    }
}

fn bytes_of(persist: &Persist) -> usize {
    match &persist.write {
        Write::Append(entries) => entries.iter().map(|entry| entry.record_bytes()).sum(),
        Write::Formation(_) | Write::HardState(_) | Write::Reset(_) | Write::Release(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use holdfast_engine::{Entry, EntryKind, HardState, Index, Position, Term, Ticket};

    use super::*;

    fn vote(ticket: u64) -> Persist {
        Persist { ticket: Ticket(ticket), write: Write::HardState(HardState::default()) }
    }

    fn append(ticket: u64, bytes: usize) -> Persist {
        let position = Position::new(Term(1), Index(ticket));
        let entry = Entry::new(position, EntryKind::Command, &vec![0; bytes]);
        Persist { ticket: Ticket(ticket), write: Write::Append(vec![entry]) }
    }

    #[test]
    fn everything_is_taken_at_once_and_in_order() {
        let queue = Queue::default();
        queue.submit(vec![vote(1), append(2, 10)]).expect("room");
        queue.submit(vec![vote(3)]).expect("room");
        assert_eq!(queue.queued(), Queued { writes: 3, bytes: 35 });
        let tickets = queue.take().expect("three").iter().map(|persist| persist.ticket.0).collect::<Vec<_>>();
        assert_eq!(tickets, [1, 2, 3]);
        assert_eq!(queue.queued(), Queued::default());
    }

    #[test]
    fn a_full_queue_hands_everything_back_and_an_empty_one_takes_anything() {
        let queue = Queue::default();
        queue.submit((1..=QUEUE_WRITES_MAX as u64).map(vote).collect()).expect("exactly full");
        match queue.submit(vec![vote(7), vote(8)]) {
            Err(SubmitError::Full(writes)) => assert_eq!(writes, [vote(7), vote(8)]),
            other => panic!("{other:?}"),
        }
        queue.take().expect("full");
        queue.submit((0..=QUEUE_WRITES_MAX as u64).map(vote).collect()).expect("it was empty");
    }

    #[test]
    fn the_oldest_write_is_waited_for_until_it_is_done() {
        let queue = Queue::default();
        assert_eq!(queue.waiting_for(), Duration::ZERO);
        queue.submit(vec![vote(1)]).expect("room");
        std::thread::sleep(Duration::from_millis(20));
        queue.submit(vec![vote(2)]).expect("room");
        assert!(queue.waiting_for() >= Duration::from_millis(20));
        queue.take().expect("two");
        queue.submit(vec![vote(3)]).expect("room");
        assert!(queue.waiting_for() >= Duration::from_millis(20), "the first is not done");
        let third = queue.waiting_for();
        queue.take().expect("one");
        assert!(queue.waiting_for() < third);
        queue.stop();
        assert!(queue.take().is_none() && queue.waiting_for() == Duration::ZERO);
    }

    #[test]
    fn bytes_are_counted_too() {
        let queue = Queue::default();
        let large = 1024 * 1024;
        let mut ticket = 0;
        while queue.queued().bytes + large + 25 <= QUEUE_BYTES_MAX {
            ticket += 1;
            queue.submit(vec![append(ticket, large)]).expect("room");
        }
        assert!(matches!(queue.submit(vec![append(99, large)]), Err(SubmitError::Full(_))));
        queue.submit(vec![vote(100)]).expect("a vote needs no bytes");
    }

    #[test]
    fn a_stopped_queue_gives_what_it_has_and_then_ends() {
        let queue = Queue::default();
        queue.submit(vec![vote(1)]).expect("room");
        queue.stop();
        assert!(
            matches!(queue.submit(vec![vote(2)]), Err(SubmitError::Stopped(writes)) if writes.len() == 1)
        );
        assert_eq!(queue.take().map(|writes| writes.len()), Some(1));
        assert!(queue.take().is_none());
    }
}
