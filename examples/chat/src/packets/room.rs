//! What all connections of the packet protocol share: who is here, and whether this server's member leads.
//!
//! Only the server beside the leader serves the protocol, so that "online" has one meaning. Refuses to decide who leads: it asks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use holdfast_client::reply::Role;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::limits::PULSE_WAIT;
use crate::push::Hub;
use crate::state::State;

/// How often the member is asked whether it leads: a deposed leader's clients are sent on as soon.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// The connections of one server.
#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) state: Arc<State>,
    pub(crate) hub: Arc<Hub>,
    online: Mutex<Online>,
    leads: watch::Sender<bool>,
}

/// Who is on which connection.
#[derive(Debug, Default)]
struct Online {
    by_name: HashMap<String, u64>,
    next: u64,
}

impl Room {
    /// Opens it, and looks at the member from now on. Call inside a runtime.
    pub(crate) fn open(state: Arc<State>, hub: Arc<Hub>) -> Arc<Room> {
        let room = Arc::new(Room { state, hub, online: Mutex::default(), leads: watch::Sender::new(false) });
        tokio::spawn({
            let room = room.clone();
            async move {
                loop {
                    let leads = room.look().await;
                    room.leads.send_if_modified(|before| std::mem::replace(before, leads) != leads);
                    sleep(LOOK_INTERVAL).await;
                }
            }
        });
        room
    }

    /// Whether this server's member leads, right now.
    pub(crate) async fn look(&self) -> bool {
        let client = self.state.client().with_deadline(PULSE_WAIT);
        client.status().await.is_ok_and(|status| status.role == Role::Leader)
    }

    /// Ends when the member does not lead any more.
    pub(crate) async fn deposed(&self) {
        let mut leads = self.leads.subscribe();
        // First seen to lead: the connection may have come before the last look.
        if leads.wait_for(|leads| *leads).await.is_ok() {
            let _ = leads.wait_for(|leads| !*leads).await;
        }
    }

    fn online(&self) -> MutexGuard<'_, Online> {
        // A panic elsewhere leaves a map of numbers, which is good as it is.
        self.online.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number for a connection.
    pub(crate) fn number(&self) -> u64 {
        let mut online = self.online();
        online.next += 1;
        online.next
    }

    pub(crate) fn is_online(&self, name: &str) -> bool {
        self.online().by_name.contains_key(name)
    }

    /// This connection is `name`'s, unless another one is.
    pub(crate) fn enter(&self, name: &str, connection: u64) -> bool {
        let mut online = self.online();
        match online.by_name.get(name) {
            Some(theirs) => *theirs == connection,
            None => online.by_name.insert(name.to_owned(), connection).is_none(),
        }
    }

    /// This connection is `name`'s, whoever's it was.
    pub(crate) fn take_over(&self, name: &str, connection: u64) {
        self.online().by_name.insert(name.to_owned(), connection);
    }

    /// Whether it still is.
    pub(crate) fn has(&self, name: &str, connection: u64) -> bool {
        self.online().by_name.get(name) == Some(&connection)
    }

    pub(crate) fn leave(&self, name: &str, connection: u64) {
        let mut online = self.online();
        if online.by_name.get(name) == Some(&connection) {
            online.by_name.remove(name);
        }
    }
}
