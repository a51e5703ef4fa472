//! A client that tries every member all the time, to see when a write is acknowledged again after a fault.
//!
//! For each member it keeps a few connections. On an idle one it makes a write every [`Pace::rest`]; while none is idle but
//! some wait, it makes another every [`Pace::stagger`] on a new connection, because a request that a dying leader took with
//! it is never answered. It shares nothing with real clients but their persistence; a member that holds requests until
//! there is a leader answers the first one, a member that loses them answers a later one.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::SockAddr;

use crate::load::connection::Connection;
use crate::load::next_client;
use crate::protocol::Protocol;

/// How eagerly it tries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Connections to one member.
    pub(crate) connections: usize,
    /// Between an answer, or a failure, and the next write on a connection.
    pub(crate) rest: Duration,
    /// Between a write without an answer and the next one to the same member.
    pub(crate) stagger: Duration,
    /// After so long without an answer a write is given up.
    pub(crate) patience: Duration,
}

impl Pace {
    /// Every 0.2 ms, and beside writes that wait, every 5 ms.
    pub(crate) const EAGER: Pace = Pace {
        connections: 8,
        rest: Duration::from_micros(200),
        stagger: Duration::from_millis(5),
        patience: Duration::from_millis(40),
    };

    /// One write after the other to each member; none is given up before a real client would.
    pub(crate) const STEADY: Pace = Pace {
        connections: 1,
        rest: Duration::ZERO,
        stagger: Duration::from_secs(5),
        patience: Duration::from_secs(5),
    };
}

/// What became of one write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attempt {
    /// The member that was asked.
    pub(crate) member: usize,
    /// When.
    pub(crate) begin: Instant,
    /// When the answer came, or the connection broke.
    pub(crate) end: Instant,
    /// Whether it was acknowledged.
    pub(crate) done: bool,
}

/// Keys of the key space that probes write to; any will do.
const KEYS: u64 = 1_000;

/// The shortest time between two looks at what is due.
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000 };

/// Between a refusal and the next write on a connection, at least: whoever is refused is not helped by haste.
const REFUSED_REST: Duration = Duration::from_micros(200);

/// The client.
pub(crate) struct Prober {
    protocol: Box<dyn Protocol>,
    pace: Pace,
    members: Vec<Member>,
    /// Everything that ended so far.
    pub(crate) attempts: Vec<Attempt>,
    keys: u64,
}

struct Member {
    address: SockAddr,
    asked: bool,
    slots: Vec<Slot>,
    /// When the last write to it was made.
    last: Option<Instant>,
}

#[derive(Default)]
struct Slot {
    connection: Option<Connection>,
    /// Not used before.
    rests_until: Option<Instant>,
}

impl Prober {
    /// A client of the members at `addresses`; none is asked before [`Prober::run`].
    pub(crate) fn new(addresses: Vec<SockAddr>, protocol: Box<dyn Protocol>, pace: Pace) -> Prober {
        let member = |address| {
            let slots = (0..pace.connections).map(|_| Slot::default()).collect();
            Member { address, asked: true, slots, last: None }
        };
        let members = addresses.into_iter().map(member).collect();
        Prober { protocol, pace, members, attempts: Vec::new(), keys: 0 }
    }

    /// From now on do not ask this member: it is known to be gone.
    pub(crate) fn leave_out(&mut self, member: usize) {
        self.members[member].asked = false;
        self.members[member].slots.iter_mut().for_each(|slot| slot.connection = None);
    }

    /// Try until `enough` says so of all attempts.
    ///
    /// # Errors
    ///
    /// If it does not within `patience`.
    pub(crate) fn run(
        &mut self,
        patience: Duration,
        mut enough: impl FnMut(&[Attempt]) -> bool,
    ) -> anyhow::Result<()> {
        let begin = Instant::now();
        while !enough(&self.attempts) {
            let now = Instant::now();
            ensure!(now - begin < patience, "no write was acknowledged for {patience:?}");
            self.start_due(now);
            for (member, slot) in self.ready()? {
                self.receive(member, slot);
            }
        }
        Ok(())
    }

    /// Wait a tick at most for something to read; which slots of which members have it. There are so few sockets that
    /// `poll` costs nothing, and unlike `epoll` its timeout may be less than a millisecond everywhere.
    fn ready(&self) -> anyhow::Result<Vec<(usize, usize)>> {
        let (mut places, mut sockets) = (Vec::new(), Vec::new());
        for (at, member) in self.members.iter().enumerate() {
            for (slot_at, slot) in member.slots.iter().enumerate() {
                if let Some(connection) = &slot.connection {
                    places.push((at, slot_at));
                    sockets.push(PollFd::new(connection.socket(), PollFlags::IN));
                }
            }
        }
        poll(&mut sockets, Some(&TICK))?;
        let places = places.into_iter().zip(&sockets);
        Ok(places.filter(|(_, socket)| !socket.revents().is_empty()).map(|(place, _)| place).collect())
    }

    /// Try for so long, whatever comes of it.
    ///
    /// # Errors
    ///
    /// If `poll` fails.
    pub(crate) fn run_for(&mut self, time: Duration) -> anyhow::Result<()> {
        let end = Instant::now() + time;
        self.run(time + Duration::from_secs(1), |_| Instant::now() >= end)
    }

    /// Try every member until each has acknowledged a write, so that all connections are warm.
    ///
    /// # Errors
    ///
    /// If one does not within `patience`.
    pub(crate) fn warm_up(&mut self, patience: Duration) -> anyhow::Result<()> {
        let asked: Vec<usize> =
            (0..self.members.len()).filter(|member| self.members[*member].asked).collect();
        self.run(patience, |attempts| {
            asked
                .iter()
                .all(|member| attempts.iter().any(|attempt| attempt.member == *member && attempt.done))
        })
        .context("not every member takes writes")
    }

    fn start_due(&mut self, now: Instant) {
        for member in 0..self.members.len() {
            if self.members[member].asked {
                self.give_up(member, now);
                self.start_one(member, now);
            }
        }
    }

    /// Close connections whose write has waited too long.
    fn give_up(&mut self, member: usize, now: Instant) {
        for slot in &mut self.members[member].slots {
            let oldest = slot.connection.as_ref().and_then(Connection::oldest);
            if let Some(begin) = oldest.filter(|begin| now - *begin > self.pace.patience) {
                slot.connection = None;
                self.attempts.push(Attempt { member, begin, end: now, done: false });
            }
        }
    }

    fn start_one(&mut self, at: usize, now: Instant) {
        let pace = self.pace;
        let member = &mut self.members[at];
        let busy =
            |slot: &Slot| slot.connection.as_ref().is_some_and(|connection| connection.in_flight() > 0);
        let waits = member.slots.iter().any(busy);
        let since = member.last.map_or(Duration::MAX, |last| now - last);
        if since < if waits { pace.stagger } else { pace.rest } {
            return;
        }
        let idle = |slot: &Slot| !busy(slot) && slot.rests_until.is_none_or(|until| until <= now);
        let Some(slot_at) = member.slots.iter().position(idle) else { return };
        member.last = Some(now);
        let (address, slot) = (member.address.clone(), &mut member.slots[slot_at]);
        slot.rests_until = Some(now + pace.rest);
        if slot.connection.is_none() {
            let Ok(connection) = Connection::open(&address, &*self.protocol, next_client()) else {
                self.attempts.push(Attempt { member: at, begin: now, end: Instant::now(), done: false });
                return;
            };
            slot.connection = Some(connection);
        }
        self.ask(at, slot_at);
    }

    fn ask(&mut self, at: usize, slot_at: usize) {
        let slot = &mut self.members[at].slots[slot_at];
        let Some(connection) = &mut slot.connection else { return };
        let begin = Instant::now();
        let keys = &mut self.keys;
        connection.ask(&*self.protocol, begin, &mut || {
            *keys += 1;
            *keys % KEYS
        });
        if connection.flush().is_err() {
            slot.connection = None;
            self.attempts.push(Attempt { member: at, begin, end: Instant::now(), done: false });
        }
    }

    fn receive(&mut self, at: usize, slot_at: usize) {
        let slot = &mut self.members[at].slots[slot_at];
        let Some(connection) = &mut slot.connection else { return };
        let oldest = connection.oldest();
        let reply = connection.receive().and_then(|()| connection.next_reply(&*self.protocol));
        let end = Instant::now();
        match reply {
            Ok(None) => {}
            Ok(Some(reply)) => {
                let rest = if reply.done { self.pace.rest } else { self.pace.rest.max(REFUSED_REST) };
                slot.rests_until = Some(end + rest);
                self.attempts.push(Attempt { member: at, begin: reply.asked_at, end, done: reply.done });
                // Without a rest the next write follows at once, not at the next tick.
                if rest.is_zero() && self.members[at].asked {
                    self.members[at].last = Some(end);
                    self.ask(at, slot_at);
                }
            }
            Err(_) => {
                slot.connection = None;
                slot.rests_until = Some(end + self.pace.rest);
                if let Some(begin) = oldest {
                    self.attempts.push(Attempt { member: at, begin, end, done: false });
                }
            }
        }
    }
}

/// How long after `fault` the first write was acknowledged that was made after it.
pub(crate) fn outage(attempts: &[Attempt], fault: Instant) -> Option<Duration> {
    let after = attempts.iter().filter(|attempt| attempt.done && attempt.begin >= fault);
    after.map(|attempt| attempt.end - fault).min()
}

/// The longest time between `from` and `to` in which one member acknowledged nothing, over all members that were asked,
/// and how many writes failed meanwhile.
pub(crate) fn longest_gap(attempts: &[Attempt], from: Instant, to: Instant) -> (Duration, usize) {
    let within = |attempt: &&Attempt| attempt.end >= from && attempt.end <= to;
    let failed = attempts.iter().filter(within).filter(|attempt| !attempt.done).count();
    let members = attempts.iter().map(|attempt| attempt.member).max().map_or(0, |most| most + 1);
    let gap = |member: usize| {
        let mine = attempts.iter().filter(|attempt| attempt.member == member);
        if mine.clone().next().is_none() {
            return Duration::ZERO;
        }
        let mut moments = vec![from];
        moments.extend(mine.filter(within).filter(|attempt| attempt.done).map(|attempt| attempt.end));
        moments.push(to);
        moments.windows(2).map(|pair| pair[1].saturating_duration_since(pair[0])).max().unwrap_or_default()
    };
    ((0..members).map(gap).max().unwrap_or_default(), failed)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;
    use crate::protocol::redis::SetAndWait;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn only_writes_made_after_the_fault_end_an_outage() {
        let start = Instant::now();
        let attempt = |begin: u32, end: u32, done| Attempt {
            member: 0,
            begin: start + begin * MS,
            end: start + end * MS,
            done,
        };
        let fault = start + 10 * MS;
        // Made before the fault, a failure, and two that end it, of which the later one was made earlier.
        let attempts =
            [attempt(9, 11, true), attempt(11, 12, false), attempt(12, 19, true), attempt(13, 17, true)];
        assert_eq!(outage(&attempts, fault), Some(7 * MS));
        assert_eq!(outage(&attempts[..2], fault), None);
    }

    #[test]
    fn a_gap_is_the_longest_of_any_member() {
        let start = Instant::now();
        let attempt = |member, end: u32, done| {
            let end = start + end * MS;
            Attempt { member, begin: end - MS, end, done }
        };
        let attempts = [
            attempt(1, 2, true),
            attempt(2, 1, true),
            attempt(2, 4, false),
            attempt(1, 5, true),
            attempt(2, 8, true),
            attempt(1, 9, true),
        ];
        assert_eq!(longest_gap(&attempts, start, start + 10 * MS), (7 * MS, 1));
        assert_eq!(longest_gap(&attempts, start, start + 30 * MS), (22 * MS, 1));
        assert_eq!(longest_gap(&[], start, start), (Duration::ZERO, 0));
    }

    #[test]
    fn a_member_that_does_not_answer_is_asked_again_on_other_connections() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address").into();
        // The first three connections are never answered.
        std::thread::spawn(move || {
            let mut silent = Vec::new();
            for at in 0.. {
                let (mut stream, _) = listener.accept().expect("a client");
                if at < 3 {
                    silent.push(stream);
                } else {
                    let mut buffer = [0; 1024];
                    while let Ok(1..) = stream.read(&mut buffer) {
                        stream.write_all(b"+OK\r\n:1\r\n").expect("the client reads");
                    }
                }
            }
        });
        let pace = Pace { connections: 2, rest: MS, stagger: 2 * MS, patience: 5 * MS };
        let mut prober = Prober::new(vec![address], Box::new(SetAndWait { sets: 1 }), pace);
        prober.warm_up(Duration::from_secs(30)).expect("the fourth connection is answered");
        assert!(prober.attempts.iter().filter(|attempt| !attempt.done).count() >= 2, "{:?}", prober.attempts);
        prober.leave_out(0);
        let before = prober.attempts.len();
        prober.run_for(5 * MS).expect("it runs");
        assert_eq!(prober.attempts.len(), before, "a member that is left out is not asked");
    }
}
