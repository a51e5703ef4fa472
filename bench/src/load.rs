//! The bare clients: one thread, one `epoll`, a closed loop of requests on each connection. It parses no more of a reply
//! than its length and whether the request was done, so that the members get the processors.

pub(crate) mod connection;

use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};
use socket2::SockAddr;

use self::connection::{Connection, Reply};
use crate::histogram::Histogram;
use crate::protocol::Protocol;

/// Events that are taken from the kernel at once. More would make the last one wait longer.
const EVENTS_MAX: usize = 128;

/// Requests of a batch or a fill may take a while; whoever gives no answer for so long is stuck.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// What clients do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// How many there are, each with a connection of its own.
    pub(crate) clients: usize,
    /// Requests that each has in flight.
    pub(crate) depth: usize,
    /// Which keys they use.
    pub(crate) keys: Keys,
    /// When they stop.
    pub(crate) until: Until,
}

/// Which keys are used.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Keys {
    /// Any of so many, all equally often.
    Spread(u64),
    /// One after the other, from 0.
    InOrder,
}

/// When a load ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Until {
    /// After a warm-up that is not counted and a time that is.
    Time {
        /// Not counted.
        warm_up: Duration,
        /// Counted.
        length: Duration,
    },
    /// When so many writes are done.
    Done(u64),
}

/// What came of it.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    /// Latencies of requests that were done.
    pub(crate) latencies: Histogram,
    /// Writes or reads that were done: more than requests if each carries several.
    pub(crate) done: u64,
    /// Requests that were answered with a failure.
    pub(crate) failed: u64,
    /// What the first of them was answered.
    pub(crate) first_failure: Option<String>,
    /// How long it was counted.
    pub(crate) seconds: f64,
}

/// Another number for every connection of this program.
pub(crate) fn next_client() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Let clients of `protocol` work at `address`.
///
/// # Errors
///
/// If a connection cannot be made or is closed, if bytes come that are not of the protocol, or if nothing is done.
pub(crate) fn run(address: &SockAddr, protocol: &dyn Protocol, shape: &Shape) -> anyhow::Result<Measured> {
    run_while(address, protocol, shape, &mut || false)
}

/// As [`run`], and stop early when `stop` says so. It is asked a few times per millisecond at most.
///
/// # Errors
///
/// As [`run`].
pub(crate) fn run_while(
    address: &SockAddr,
    protocol: &dyn Protocol,
    shape: &Shape,
    stop: &mut dyn FnMut() -> bool,
) -> anyhow::Result<Measured> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut connections = Vec::with_capacity(shape.clients);
    for at in 0..shape.clients {
        let connection = Connection::open(address, protocol, next_client())?;
        epoll::add(&epoll, connection.socket(), EventData::new_u64(at as u64), EventFlags::IN)?;
        connections.push(connection);
    }
    let mut clock = Clock::new(protocol, shape);
    for connection in &mut connections {
        clock.fill(connection, shape.depth);
        connection.flush()?;
    }
    let mut events = [const { MaybeUninit::uninit() }; EVENTS_MAX];
    let mut heard = Instant::now();
    loop {
        let (ready, _) = epoll::wait(&epoll, &mut events[..], Some(&PAUSE_MAX))?;
        clock.now = Instant::now();
        if !ready.is_empty() {
            heard = clock.now;
        }
        for event in ready {
            let connection = &mut connections[event.data.u64() as usize];
            connection.receive()?;
            while let Some(reply) = connection.next_reply(protocol)? {
                clock.count(&reply, || connection.last_excerpt());
                clock.fill(connection, shape.depth);
            }
            let flags = if connection.flush()? { EventFlags::IN } else { EventFlags::IN | EventFlags::OUT };
            if connection.listens_for(flags) {
                epoll::modify(&epoll, connection.socket(), event.data, flags)?;
            }
        }
        if clock.is_over() || stop() {
            return clock.finish();
        }
        ensure!(clock.now - heard < SILENCE_MAX, "no answer for {SILENCE_MAX:?}");
    }
}

/// The longest time without a look at the clock.
const PAUSE_MAX: Timespec = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };

/// What is counted, and until when.
struct Clock<'a> {
    protocol: &'a dyn Protocol,
    keys: Keys,
    until: Until,
    now: Instant,
    begin: Instant,
    end: Instant,
    /// Writes that were asked for.
    asked: u64,
    requests: u64,
    /// Keys that were given out.
    given: u64,
    measured: Measured,
}

impl<'a> Clock<'a> {
    fn new(protocol: &'a dyn Protocol, shape: &Shape) -> Clock<'a> {
        let now = Instant::now();
        let (begin, end) = match shape.until {
            Until::Time { warm_up, length } => (now + warm_up, now + warm_up + length),
            Until::Done(_) => (now, now),
        };
        let measured = Measured {
            latencies: Histogram::default(),
            done: 0,
            failed: 0,
            first_failure: None,
            seconds: 0.0,
        };
        Clock {
            protocol,
            keys: shape.keys,
            until: shape.until,
            now,
            begin,
            end,
            asked: 0,
            requests: 0,
            given: 0,
            measured,
        }
    }

    /// Let a connection have `depth` requests in flight, as long as there is something left to do.
    fn fill(&mut self, connection: &mut Connection, depth: usize) {
        while connection.in_flight() < depth {
            if matches!(self.until, Until::Done(total) if self.asked >= total) {
                return;
            }
            self.asked += self.protocol.units();
            self.requests += 1;
            // A transaction may not write a key twice, so the keys of one request follow each other.
            let first = match self.keys {
                Keys::Spread(_) => scatter(self.requests),
                Keys::InOrder => self.given,
            };
            let (keys, given) = (self.keys, &mut self.given);
            let mut offset = 0;
            let mut next_key = || {
                let key = first.wrapping_add(offset);
                (*given, offset) = (*given + 1, offset + 1);
                if let Keys::Spread(space) = keys { key % space } else { key }
            };
            connection.ask(self.protocol, self.now, &mut next_key);
        }
    }

    fn count(&mut self, reply: &Reply, words: impl FnOnce() -> String) {
        let counted = match self.until {
            Until::Time { .. } => self.now >= self.begin && self.now < self.end,
            Until::Done(_) => true,
        };
        if !reply.done {
            self.measured.failed += 1;
            self.measured.first_failure.get_or_insert_with(words);
        } else if counted {
            self.measured.latencies.add(self.now - reply.asked_at);
            self.measured.done += self.protocol.units();
        }
    }

    fn is_over(&self) -> bool {
        match self.until {
            Until::Time { .. } => self.now >= self.end,
            Until::Done(total) => self.measured.done + self.measured.failed * self.protocol.units() >= total,
        }
    }

    fn finish(mut self) -> anyhow::Result<Measured> {
        let first = || self.measured.first_failure.clone().unwrap_or_default();
        ensure!(self.measured.done > 0, "nothing was done: {}", first());
        let end = match self.until {
            Until::Time { .. } => self.end.min(self.now),
            Until::Done(_) => self.now,
        };
        self.measured.seconds = (end - self.begin).as_secs_f64();
        ensure!(self.measured.seconds > 0.0, "it was over before anything was counted");
        Ok(self.measured)
    }
}

/// Numbers that follow each other end up far from each other (the finalizer of SplitMix64, so that any run has the
/// same).
pub(crate) fn scatter(number: u64) -> u64 {
    let mut mixed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// Open files that so many connections need besides a reserve. Every system that is started inherits the limit.
///
/// # Errors
///
/// If the machine allows fewer.
pub(crate) fn allow_open_files(connections: usize) -> anyhow::Result<()> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).context("cannot raise the limit of open files")?;
    let wanted = connections as u64 + 256;
    ensure!(
        limit.maximum.is_none_or(|maximum| maximum >= wanted),
        "{wanted} open files are needed; see ulimit -Hn"
    );
    Ok(())
}

#[cfg(test)]
mod tests;
