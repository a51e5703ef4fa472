//! Events in the order of their time, and of equal times in the order in which they were put in.
//!
//! The heap holds only keys; the events, which are large, stay where they were put until their time has come.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use holdfast_engine::Moment;

/// What will happen, soonest first.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    keys: BinaryHeap<Reverse<(Moment, u64, u32)>>,
    slots: Vec<Option<T>>,
    free: Vec<u32>,
    pushed: u64,
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Queue<T> {
        Queue { keys: BinaryHeap::new(), slots: Vec::new(), free: Vec::new(), pushed: 0 }
    }

    pub(crate) fn push(&mut self, at: Moment, event: T) {
        let slot = self.free.pop().unwrap_or(self.slots.len() as u32);
        match self.slots.get_mut(slot as usize) {
            Some(place) => *place = Some(event),
            None => self.slots.push(Some(event)),
        }
        self.pushed += 1;
        self.keys.push(Reverse((at, self.pushed, slot)));
    }

    /// The next event, if it happens at `end` or before.
    pub(crate) fn pop_until(&mut self, end: Moment) -> Option<(Moment, T)> {
        let &Reverse((at, _, slot)) = self.keys.peek()?;
        if at > end {
            return None;
        }
        self.keys.pop();
        self.free.push(slot);
        let event = self.slots[slot as usize].take().expect("every key has its event");
        Some((at, event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_and_then_in_the_order_they_were_put_in() {
        let mut queue = Queue::new();
        for (at, event) in [(5, 'c'), (3, 'a'), (5, 'd'), (4, 'b'), (9, 'e')] {
            queue.push(Moment(at), event);
        }
        let first: String =
            std::iter::from_fn(|| queue.pop_until(Moment(5))).map(|(_, event)| event).collect();
        queue.push(Moment(6), 'x');
        let rest: String =
            std::iter::from_fn(|| queue.pop_until(Moment(9))).map(|(_, event)| event).collect();
        assert_eq!((first.as_str(), rest.as_str()), ("abcd", "xe"));
    }
}
