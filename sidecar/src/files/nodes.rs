//! Who is there, and who is best asked: members as clients of files know them.
//!
//! A member is called `node-1` for ordinal 0, and so on. What this refuses to do: decide who is in the store; it looks at
//! the settings and the connections.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use holdfast_engine::{MEMBERS_MAX, Ordinal};
use holdfast_wire::files::Words;

use super::Files;
use super::calls::CallError;

/// What one transfer that is under way counts against a member, beside its round trip: so many members that are equally
/// near share the load.
const TRANSFER_COST: Duration = Duration::from_millis(1);

/// A member's name.
pub(crate) fn name(ordinal: Ordinal) -> String {
    format!("node-{}", u16::from(ordinal.0) + 1)
}

/// The member that a name means, if it can be one.
pub(crate) fn ordinal(name: &str) -> Option<Ordinal> {
    let number: u8 = name.strip_prefix("node-")?.parse().ok()?;
    let ordinal = number.checked_sub(1)?;
    let written = format!("node-{number}") == name;
    (written && usize::from(ordinal) < MEMBERS_MAX).then_some(Ordinal(ordinal))
}

impl Files {
    /// The members that the store is to have, by the settings.
    pub(crate) fn members(&self) -> Vec<Ordinal> {
        (0..self.0.running.settings().replicas).map(Ordinal).collect()
    }

    /// Whether there is a connection to a member.
    pub(crate) fn is_up(&self, ordinal: Ordinal) -> bool {
        ordinal == self.0.me.ordinal || self.0.peers.link(ordinal).is_connected()
    }

    /// The last round trip to a member; nothing to this one.
    pub(crate) fn latency(&self, ordinal: Ordinal) -> Option<Duration> {
        if ordinal == self.0.me.ordinal {
            return Some(Duration::ZERO);
        }
        self.0.peers.link(ordinal).round_trip()
    }

    /// Where clients reach a member, as far as it is known: the host of its peer port, and the port that it named.
    pub(crate) fn address(&self, ordinal: Ordinal) -> Option<String> {
        let peer = self.0.peers.address(ordinal)?;
        let port = match self.0.client_ports[usize::from(ordinal.0)].load(Relaxed) {
            _ if ordinal == self.0.me.ordinal => u32::from(self.0.options.client_port),
            known => known,
        };
        if port == 0 {
            return Some(peer);
        }
        let host = peer.rsplit_once(':').map_or(peer.as_str(), |(host, _)| host);
        Some(format!("http://{host}:{port}"))
    }

    /// These members, the best first: near, and with little to do.
    pub(crate) fn best(&self, among: impl IntoIterator<Item = Ordinal>) -> Vec<Ordinal> {
        let cost = |ordinal: Ordinal| {
            let transfers = self.0.transfers[usize::from(ordinal.0)].load(Relaxed);
            self.latency(ordinal).unwrap_or(Duration::from_secs(1)) + TRANSFER_COST * transfers
        };
        let mut members: Vec<Ordinal> = among.into_iter().filter(|&ordinal| self.is_up(ordinal)).collect();
        members.sort_by_cached_key(|&ordinal| (cost(ordinal), ordinal));
        members
    }

    /// Ask those members for their clients' port that are there and have not said it yet.
    pub(super) async fn learn_addresses(&self) {
        for ordinal in self.members() {
            let known = self.0.client_ports[usize::from(ordinal.0)].load(Relaxed) > 0;
            if !known && ordinal != self.0.me.ordinal && self.is_up(ordinal) {
                // Whoever does not answer is asked again.
                let _ = self.check(ordinal).await;
            }
        }
    }

    /// Ask a member how it is, now; how long that took.
    pub(crate) async fn check(&self, ordinal: Ordinal) -> Result<Duration, CallError> {
        let began = tokio::time::Instant::now();
        if ordinal != self.0.me.ordinal {
            match self.0.calls.ask(ordinal, Words::Ask).await? {
                (Words::Am { client_port, .. }, _) => {
                    self.0.client_ports[usize::from(ordinal.0)].store(client_port.into(), Relaxed);
                }
                _ => return Err(CallError::Unexpected),
            }
        }
        Ok(began.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_count_from_one() {
        assert_eq!(name(Ordinal(0)), "node-1");
        assert_eq!(ordinal("node-3"), Some(Ordinal(2)));
        for wrong in ["node-0", "node-8", "node-", "node-01", "node-+1", "main", "node-256"] {
            assert_eq!(ordinal(wrong), None, "{wrong}");
        }
    }
}
