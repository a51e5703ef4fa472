//! Tells subscribers what happens to their accounts, whichever server took the request: one watch of the store feeds them all.
//!
//! Refuses to pretend: when events may be missing (the member has no quorum, the watch broke off, a subscriber is too slow) its
//! stream ends, and the subscriber goes elsewhere and fetches what it missed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use holdfast_client::reply::WatchEventType;
use holdfast_client::{Client, ReadOptions};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use crate::keys::{self, Place};
use crate::limits::{EVENTS_WAITING_MAX, PULSE_INTERVAL, PULSE_WAIT, SUBSCRIBERS_MAX};
use crate::state::Message;

/// What happened to an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// It got a message.
    New(Message),
    /// It lost these.
    Deleted(Vec<i32>),
}

/// Those who want to know.
#[derive(Debug)]
pub(crate) struct Hub {
    subscribers: Mutex<Subscribers>,
    /// Whether what happens is known here.
    live: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Subscribers {
    by_name: HashMap<String, Vec<(u64, mpsc::Sender<Event>)>>,
    next: u64,
    count: usize,
}

/// A subscription, until it is dropped. Its events end when some may be missing.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) events: mpsc::Receiver<Event>,
    hub: Arc<Hub>,
    name: String,
    number: u64,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.hub.lock().remove(&self.name, self.number);
    }
}

impl Subscribers {
    fn remove(&mut self, name: &str, number: u64) {
        let Some(of_name) = self.by_name.get_mut(name) else { return };
        let before = of_name.len();
        of_name.retain(|(theirs, _)| *theirs != number);
        self.count -= before - of_name.len();
        if of_name.is_empty() {
            self.by_name.remove(name);
        }
    }
}

impl Hub {
    /// Follows the store until the process ends. Call inside a runtime.
    pub(crate) fn start(client: &Client) -> Arc<Hub> {
        let hub = Arc::new(Hub { subscribers: Mutex::default(), live: watch::Sender::new(false) });
        tokio::spawn(hub.clone().follow(client.clone()));
        tokio::spawn(hub.clone().feel_the_pulse(client.with_deadline(PULSE_WAIT)));
        hub
    }

    /// From now on, what happens to this account; `None` if that is not known here, or there are too many subscribers.
    pub(crate) async fn subscribe(self: &Arc<Hub>, name: &str) -> Option<Subscription> {
        let mut live = self.live.subscribe();
        timeout(PULSE_WAIT, live.wait_for(|live| *live)).await.ok()?.ok()?;
        let (sender, events) = mpsc::channel(EVENTS_WAITING_MAX);
        let mut subscribers = self.lock();
        if subscribers.count >= SUBSCRIBERS_MAX {
            return None;
        }
        subscribers.next += 1;
        subscribers.count += 1;
        let number = subscribers.next;
        subscribers.by_name.entry(name.to_owned()).or_default().push((number, sender));
        drop(subscribers);
        Some(Subscription { events, hub: self.clone(), name: name.to_owned(), number })
    }

    /// Ends every subscription.
    pub(crate) fn end_all(&self) {
        let mut subscribers = self.lock();
        subscribers.by_name.clear();
        subscribers.count = 0;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Subscribers> {
        // A panic elsewhere leaves a map of senders, which is good as it is.
        self.subscribers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, name: &str, event: &Event) {
        let mut subscribers = self.lock();
        let Some(of_name) = subscribers.by_name.get(name) else { return };
        let slow: Vec<u64> = of_name
            .iter()
            .filter(|(_, sender)| sender.try_send(event.clone()).is_err())
            .map(|(number, _)| *number)
            .collect();
        for number in slow {
            subscribers.remove(name, number);
        }
    }

    fn lost(&self) {
        self.live.send_replace(false);
        self.end_all();
    }

    async fn follow(self: Arc<Hub>, client: Client) {
        loop {
            let mut watch = client.watch(keys::BOXES, None);
            if watch.started().await.is_err() {
                self.lost();
                sleep(PULSE_INTERVAL).await;
                continue;
            }
            self.live.send_replace(true);
            // However it ends, what comes after might be missing something.
            while let Ok(batch) = watch.next().await {
                for event in batch.events {
                    match (event.type_, keys::place(&event.key)) {
                        (WatchEventType::Put, Some(Place::Unread(name))) => {
                            let message = event
                                .bytes()
                                .ok()
                                .flatten()
                                .and_then(|bytes| serde_json::from_slice::<Message>(bytes).ok());
                            match message {
                                Some(message) => self.tell(&name, &Event::New(message)),
                                None => tracing::warn!(key = event.key, "a message cannot be read"),
                            }
                        }
                        (WatchEventType::Delete, Some(Place::Id(name, id))) => {
                            self.tell(&name, &Event::Deleted(vec![id]));
                        }
                        _ => {}
                    }
                }
            }
            tracing::warn!("the watch of the store broke off; subscribers are sent elsewhere");
            self.lost();
        }
    }

    /// A member without a quorum keeps its watch open and has nothing to say: subscribers would wait for ever.
    async fn feel_the_pulse(self: Arc<Hub>, client: Client) {
        let mut well = true;
        loop {
            sleep(PULSE_INTERVAL).await;
            let felt = client.get(keys::PULSE, ReadOptions::default()).await.is_ok();
            if !felt {
                if well {
                    tracing::warn!(
                        "the member beside this server serves no reads; subscribers are sent elsewhere"
                    );
                }
                self.end_all();
            }
            well = felt;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub() -> Arc<Hub> {
        Arc::new(Hub { subscribers: Mutex::default(), live: watch::Sender::new(true) })
    }

    #[tokio::test]
    async fn a_subscriber_hears_of_its_account_alone_and_in_order() {
        let hub = hub();
        let mut of_a = hub.subscribe("a").await.expect("live");
        let _of_b = hub.subscribe("b").await.expect("live");
        for id in 1..=3 {
            hub.tell("a", &Event::Deleted(vec![id]));
            hub.tell("b", &Event::Deleted(vec![10 * id]));
        }
        for id in 1..=3 {
            assert_eq!(of_a.events.recv().await, Some(Event::Deleted(vec![id])));
        }
        drop(of_a);
        assert_eq!(hub.lock().count, 1);
        assert!(!hub.lock().by_name.contains_key("a"));
    }

    #[tokio::test]
    async fn a_slow_subscriber_is_cut_off_and_not_skipped() {
        let hub = hub();
        let mut slow = hub.subscribe("a").await.expect("live");
        for id in 0..EVENTS_WAITING_MAX as i32 + 5 {
            hub.tell("a", &Event::Deleted(vec![id]));
        }
        for id in 0..EVENTS_WAITING_MAX as i32 {
            assert_eq!(slow.events.recv().await, Some(Event::Deleted(vec![id])));
        }
        assert_eq!(slow.events.recv().await, None);
        assert_eq!(hub.lock().count, 0);
    }

    #[tokio::test]
    async fn when_events_may_be_missing_all_streams_end() {
        let hub = hub();
        let mut one = hub.subscribe("a").await.expect("live");
        hub.lost();
        assert_eq!(one.events.recv().await, None);
        assert!(hub.subscribe("a").await.is_none());
    }
}
