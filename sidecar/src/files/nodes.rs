//! Who is there, and who is best asked: members as clients of files know them.
//!
//! A member is called `node-1` for ordinal 0, and so on. What this refuses to do: decide who is in the store; it looks at
//! the settings and the connections.

use std::cmp::Reverse;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::Duration;

use holdfast_engine::{MEMBERS_MAX, MemberId, Ordinal};
use holdfast_wire::files::Words;

use super::Files;
use super::calls::CallError;
use super::limits::ASK_INTERVAL;
use super::records::FileRecord;

/// What one transfer that is under way counts against a member, beside its round trip: so many members that are equally
/// near share the load.
const TRANSFER_COST: Duration = Duration::from_millis(1);

/// How often it is looked whom nobody has asked yet, one that came back, say.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What a member said last of itself.
#[derive(Debug)]
pub(super) struct Said {
    /// The port where clients reach it; 0 if it never said.
    client_port: AtomicU32,
    /// Transfers that were under way with its clients.
    transfers: AtomicU32,
    /// Bytes that were free for files.
    free_bytes: AtomicU64,
}

impl Default for Said {
    fn default() -> Said {
        // Of whom nothing is known it is assumed that there is room; it says itself if there is none.
        Said {
            client_port: AtomicU32::new(0),
            transfers: AtomicU32::new(0),
            free_bytes: AtomicU64::new(u64::MAX),
        }
    }
}

/// Ask the other members how they are, again and again.
pub(super) async fn ask_others(files: Files) {
    let mut known = [false; MEMBERS_MAX];
    let mut next = tokio::time::Instant::now();
    loop {
        let all = tokio::time::Instant::now() >= next;
        if all {
            next = tokio::time::Instant::now() + ASK_INTERVAL;
        }
        for ordinal in files.members().into_iter().filter(|&ordinal| ordinal != files.me().ordinal) {
            let known = &mut known[usize::from(ordinal.0)];
            if !files.is_up(ordinal) {
                *known = false;
            } else if all || !*known {
                // Whoever does not answer is asked again.
                *known = files.check(ordinal).await.is_ok();
            }
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

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

    /// Who holds a file, as far as is known: whoever has said so in the life that it leads now. A member that lost its disk comes
    /// back in another life, and what it held before does not count until it has it again.
    pub(crate) fn holders(&self, record: &FileRecord) -> Vec<Ordinal> {
        let holders = record.holders.iter().map(|&holder| MemberId::from(holder));
        let of_now = |holder: &MemberId| self.life(holder.ordinal).is_none_or(|now| now == *holder);
        holders.filter(of_now).map(|holder| holder.ordinal).collect()
    }

    /// Which life of a member is there, or was there last; `None`: it was never heard of.
    fn life(&self, ordinal: Ordinal) -> Option<MemberId> {
        let me = self.me();
        if ordinal == me.ordinal { Some(me) } else { self.0.peers.link(ordinal).member() }
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
        let port = match self.0.said[usize::from(ordinal.0)].client_port.load(Relaxed) {
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
            let at = usize::from(ordinal.0);
            let transfers = self.0.transfers[at].load(Relaxed).max(self.0.said[at].transfers.load(Relaxed));
            self.latency(ordinal).unwrap_or(Duration::from_secs(1)) + TRANSFER_COST * transfers
        };
        let mut members: Vec<Ordinal> = among.into_iter().filter(|&ordinal| self.is_up(ordinal)).collect();
        members.sort_by_cached_key(|&ordinal| (cost(ordinal), ordinal));
        members
    }

    /// As [`Files::best`], without those that have no room for so many bytes as far as it is known.
    pub(super) fn best_with_room(
        &self,
        among: impl IntoIterator<Item = Ordinal>,
        bytes: Option<u64>,
    ) -> Vec<Ordinal> {
        let mut best = self.best(among);
        best.retain(|&ordinal| self.free_bytes(ordinal) > bytes.unwrap_or(0));
        best
    }

    /// These members, the best first to keep a copy of so many bytes: there, with room, near, with much room. Of equals `lot`
    /// decides, so that many files are on all of them in equal parts.
    pub(super) fn homes(
        &self,
        among: impl IntoIterator<Item = Ordinal>,
        bytes: u64,
        lot: u128,
    ) -> Vec<Ordinal> {
        let fitness = |ordinal: Ordinal| {
            let free = self.free_bytes(ordinal);
            let far = self.latency(ordinal).map_or(u32::MAX, distance);
            // Half as much room is worse; a little less is not.
            (!self.is_up(ordinal), free <= bytes, far, Reverse(free.checked_ilog2()), draw(lot, ordinal))
        };
        let mut members: Vec<Ordinal> = among.into_iter().collect();
        members.sort_by_cached_key(|&ordinal| fitness(ordinal));
        members
    }

    /// What is free for files at a member, as it said last.
    pub(super) fn free_bytes(&self, ordinal: Ordinal) -> u64 {
        if ordinal == self.me().ordinal {
            return self.0.blobs.free().map_or(0, |(free, kept)| free.saturating_sub(kept));
        }
        self.0.said[usize::from(ordinal.0)].free_bytes.load(Relaxed)
    }

    /// Ask a member how it is, now; how long that took.
    pub(crate) async fn check(&self, ordinal: Ordinal) -> Result<Duration, CallError> {
        let began = tokio::time::Instant::now();
        if ordinal != self.0.me.ordinal {
            match self.0.calls.ask(ordinal, Words::Ask).await? {
                (Words::Am { client_port, transfers, free_bytes }, _) => {
                    let said = &self.0.said[usize::from(ordinal.0)];
                    said.client_port.store(client_port.into(), Relaxed);
                    said.transfers.store(transfers, Relaxed);
                    said.free_bytes.store(free_bytes, Relaxed);
                }
                _ => return Err(CallError::Unexpected),
            }
        }
        Ok(began.elapsed())
    }
}

/// How far away a member is, roughly: 0 below a millisecond, one more for each doubling.
fn distance(round_trip: Duration) -> u32 {
    (round_trip.as_millis() as u64).checked_ilog2().map_or(0, |doublings| doublings + 1)
}

/// A member's lot among equals, in the manner of rendezvous hashing.
fn draw(lot: u128, ordinal: Ordinal) -> u64 {
    let mut mixed = (lot as u64 ^ (lot >> 64) as u64).wrapping_add(u64::from(ordinal.0) << 32 | 1);
    // The finaliser of SplitMix64: every bit of the input moves every bit of the output.
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_that_are_about_as_near_are_equals_and_draw_lots_evenly() {
        let far = |us| distance(Duration::from_micros(us));
        assert_eq!([far(0), far(40), far(999), far(1_000), far(2_500), far(90_000)], [0, 0, 0, 1, 2, 7]);
        let mut first = [0; 3];
        for lot in 0..3_000 {
            let best = (0..3u8).min_by_key(|&ordinal| draw(lot, Ordinal(ordinal))).expect("three");
            first[usize::from(best)] += 1;
        }
        assert!(first.iter().all(|&times| (900..1_100).contains(&times)), "{first:?}");
    }

    #[test]
    fn names_count_from_one() {
        assert_eq!(name(Ordinal(0)), "node-1");
        assert_eq!(ordinal("node-3"), Some(Ordinal(2)));
        for wrong in ["node-0", "node-8", "node-", "node-01", "node-+1", "main", "node-256"] {
            assert_eq!(ordinal(wrong), None, "{wrong}");
        }
    }
}
