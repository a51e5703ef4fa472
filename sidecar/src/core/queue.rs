//! The one way into the core: a bounded queue of events that is emptied in one go.
//!
//! Clients are refused when it is full, connections of other members wait, and what the core itself has asked for
//! (the disk's answers, the end of connections) always finds room, because there is only so much of it. The queue
//! refuses to reorder.

use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

use super::event::Event;

/// Events from clients that may wait. The core takes what waits in one go and handles some hundred thousand events
/// a second, so that a full queue is some tens of milliseconds of work; clients beyond it are told so.
pub(crate) const CLIENT_EVENTS_MAX: usize = 8 * 1024;

/// Events that may wait before connections of other members have to. Higher than for clients: a member that is
/// flooded by its clients still hears its leader.
const PEER_EVENTS_MAX: usize = 16 * 1024;

/// Bytes of commands and messages that may wait: some tens of the largest requests.
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// Events and who waits for them.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    arrived: Notify,
    emptied: Notify,
}

#[derive(Debug, Default)]
struct State {
    events: Vec<Event>,
    /// Requests and other events among them.
    count: usize,
    bytes: usize,
    core_sleeps: bool,
    closed: bool,
}

/// Why an event was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PushError {
    /// Too much waits.
    Full,
    /// The core has ended.
    Closed,
}

impl Queue {
    /// For clients: take the event, or give it back if too much waits.
    #[expect(clippy::result_large_err, reason = "the event goes back to where it came from, on the stack")]
    pub(crate) fn push_now(&self, event: Event) -> Result<(), (PushError, Event)> {
        let state = self.lock();
        if state.closed {
            return Err((PushError::Closed, event));
        }
        if state.count >= CLIENT_EVENTS_MAX || state.bytes >= BYTES_MAX {
            return Err((PushError::Full, event));
        }
        self.put(state, [event]);
        Ok(())
    }

    /// For what the core has asked for or must know: take the event however much waits.
    pub(crate) fn push_always(&self, event: Event) -> Result<(), PushError> {
        let state = self.lock();
        if state.closed {
            return Err(PushError::Closed);
        }
        self.put(state, [event]);
        Ok(())
    }

    /// For connections of other members: take all events, as soon as there is room, and leave `events` empty.
    pub(crate) async fn push_when_room(&self, events: &mut Vec<Event>) -> Result<(), PushError> {
        if events.is_empty() {
            return Ok(());
        }
        loop {
            // Made before looking, so that an emptying in between is not missed.
            let emptied = self.emptied.notified();
            {
                let state = self.lock();
                if state.closed {
                    events.clear();
                    return Err(PushError::Closed);
                }
                if state.count < PEER_EVENTS_MAX && state.bytes < BYTES_MAX {
                    self.put(state, events.drain(..));
                    return Ok(());
                }
            }
            emptied.await;
        }
    }

    /// Wait until something waits here, for at most `patience`. For the core alone.
    ///
    /// Whoever else has something to do on the core's thread gets a turn first, so that a core that is never idle still
    /// hears everybody.
    pub(crate) async fn arrival(&self, patience: Duration) {
        tokio::task::yield_now().await;
        if self.sleeps() {
            let _ = timeout(patience, self.arrived.notified()).await;
        }
    }

    /// Whether nothing waits; whoever puts something in wakes the core then.
    fn sleeps(&self) -> bool {
        let mut state = self.lock();
        state.core_sleeps = state.events.is_empty();
        state.core_sleeps
    }

    /// Move everything that waits into `into`, which must be empty.
    pub(crate) fn take(&self, into: &mut Vec<Event>) {
        assert!(into.is_empty(), "what was taken before has to be handled first");
        let mut state = self.lock();
        state.core_sleeps = false;
        mem::swap(&mut state.events, into);
        (state.count, state.bytes) = (0, 0);
        drop(state);
        self.emptied.notify_waiters();
    }

    /// Take no more events, and drop those that wait: whoever asked is told by the loss of the answer's channel.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let dropped = mem::take(&mut state.events);
        drop(state);
        drop(dropped);
        self.emptied.notify_waiters();
    }

    fn put(&self, mut state: MutexGuard<'_, State>, events: impl IntoIterator<Item = Event>) {
        for event in events {
            state.count += event.count();
            state.bytes += event.bytes();
            state.events.push(event);
        }
        // Cleared here, so that several events in a row wake the core once.
        let wake = mem::take(&mut state.core_sleeps);
        drop(state);
        if wake {
            self.arrived.notify_one();
        }
    }

    /// Nothing panics while it holds the lock, so that a poisoned one is still whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use holdfast_engine::Ordinal;

    use super::*;

    fn event() -> Event {
        Event::Unreachable { peer: Ordinal(1) }
    }

    #[test]
    fn clients_are_refused_when_it_is_full_and_the_core_never_is() {
        let queue = Queue::default();
        for _ in 0..CLIENT_EVENTS_MAX {
            queue.push_now(event()).expect("room");
        }
        assert!(matches!(queue.push_now(event()), Err((PushError::Full, _))));
        assert_eq!(queue.push_always(event()), Ok(()));
        let mut taken = Vec::new();
        queue.take(&mut taken);
        assert_eq!(taken.len(), CLIENT_EVENTS_MAX + 1);
        queue.push_now(event()).expect("there is room again");
    }

    #[tokio::test]
    async fn an_event_wakes_the_core() {
        let queue = Arc::new(Queue::default());
        let core = tokio::spawn({
            let queue = queue.clone();
            async move {
                let mut taken = Vec::new();
                queue.arrival(Duration::from_secs(60)).await;
                queue.take(&mut taken);
                taken.len()
            }
        });
        tokio::task::yield_now().await;
        thread::spawn(move || queue.push_now(event()).expect("room")).join().expect("no panic");
        assert_eq!(core.await.expect("the core ends"), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_core_waits_no_longer_than_it_has_time() {
        let queue = Queue::default();
        queue.arrival(Duration::from_secs(60)).await;
        queue.push_now(event()).expect("room");
        // A wakeup that is left over from before must not hide what came since, nor must it be needed.
        queue.arrival(Duration::from_secs(60)).await;
        queue.take(&mut Vec::new());
        let began = tokio::time::Instant::now();
        queue.arrival(Duration::from_millis(20)).await;
        queue.arrival(Duration::from_millis(20)).await;
        assert!(began.elapsed() >= Duration::from_millis(20), "at most one wakeup is left over");
    }

    #[tokio::test]
    async fn connections_wait_for_room_and_lose_nothing() {
        let queue = Arc::new(Queue::default());
        let mut first: Vec<Event> = (0..PEER_EVENTS_MAX).map(|_| event()).collect();
        queue.push_when_room(&mut first).await.expect("room");
        let waiting = tokio::spawn({
            let queue = queue.clone();
            async move { queue.push_when_room(&mut vec![event(), event()]).await }
        });
        tokio::task::yield_now().await;
        let mut taken = Vec::new();
        queue.take(&mut taken);
        assert_eq!(taken.len(), PEER_EVENTS_MAX);
        assert_eq!(waiting.await.expect("the task ends"), Ok(()));
        taken.clear();
        queue.take(&mut taken);
        assert_eq!(taken.len(), 2);
    }

    #[tokio::test]
    async fn a_closed_queue_takes_nothing_and_keeps_nobody_waiting() {
        let queue = Arc::new(Queue::default());
        let mut full: Vec<Event> = (0..PEER_EVENTS_MAX).map(|_| event()).collect();
        queue.push_when_room(&mut full).await.expect("room");
        let waiting = tokio::spawn({
            let queue = queue.clone();
            async move { queue.push_when_room(&mut vec![event()]).await }
        });
        tokio::task::yield_now().await;
        queue.close();
        assert_eq!(waiting.await.expect("the task ends"), Err(PushError::Closed));
        assert!(matches!(queue.push_now(event()), Err((PushError::Closed, _))));
        assert_eq!(queue.push_always(event()), Err(PushError::Closed));
    }
}
