//! Stress of a message log: many clients append with every write concern while members are killed and started again, and
//! afterwards every member is held against what the clients were told.
//!
//! - Every member has the same messages in the same order, from 1, without a gap.
//! - No message is there twice, however often it was sent, and none that nobody sent.
//! - What was acknowledged as committed is where the acknowledgement said.
//! - Who followed the log saw that order, each message once.
//!
//! What was acknowledged to be on one member and not committed may be lost; how much that was is told. It refuses to call a
//! run good in which nobody was killed.

mod clients;
mod verdict;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use holdfast_client::{Client, Followed};
use rustix::process::Signal;
use tokio::task::JoinHandle;

use crate::http::Http;
use crate::laptop::Laptop;
use crate::{runtime, wait};
use clients::Client as Appender;
pub use clients::Told;

/// The log.
pub const LOG: &str = "messages";

/// Between two kills. Each member lives longer than the runner's healthy time between its own, so that it is started
/// again at once.
const KILL_PAUSE: Duration = Duration::from_millis(2_500);

/// How long all clients together may take without appending anything. Members are back within seconds.
const STILLNESS_MAX: Duration = Duration::from_secs(120);

/// How long members may take to have the same after the last kill.
const SETTLING_MAX: Duration = Duration::from_secs(60);

/// What is done.
#[derive(Clone, Copy, Debug)]
pub struct Stress {
    /// Clients at once.
    pub clients: usize,
    /// Messages, over all clients.
    pub messages: u64,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Messages that are in the log.
    pub stored: u64,
    /// Messages that were acknowledged as committed.
    pub promised: u64,
    /// Messages that were acknowledged with a concern of 1 and are not there.
    pub lost_with_one: u64,
    /// Tries beyond the first, over all messages.
    pub retries: u64,
    /// Answers with status 202.
    pub short: u64,
    /// Members that were killed.
    pub kills: u64,
    /// How long the clients took.
    pub took: Duration,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { stored, promised, lost_with_one, retries, short, kills, took } = self;
        write!(
            f,
            "{stored} messages stored, {promised} acknowledged as committed, {lost_with_one} acknowledged by one and lost, \
             {retries} retries, {short} short of their concern, {kills} kills, {:.1} s, {:.0} messages/s",
            took.as_secs_f64(),
            *stored as f64 / took.as_secs_f64()
        )
    }
}

impl Stress {
    /// Do it to a store that is ready and whose log is empty, and judge.
    ///
    /// # Errors
    ///
    /// Whatever was not as it has to be.
    pub fn run(self, store: &Laptop) -> anyhow::Result<Report> {
        let begin = Instant::now();
        let next = Arc::new(AtomicU64::new(0));
        let clients: Vec<_> = (0..self.clients)
            .map(|number| {
                let client = Appender::new(number, store.bases(), Arc::clone(&next), self.messages);
                runtime().spawn(client.run())
            })
            .collect();
        let stop = Arc::new(AtomicBool::new(false));
        let followers: Vec<_> =
            store.bases().iter().map(|base| follow(base, self.messages, Arc::clone(&stop))).collect();
        let kills = kill_throughout(store, &next, self.messages);
        let mut told = Vec::new();
        for client in clients {
            told.extend(runtime().block_on(client).context("a client panicked")??);
        }
        let took = begin.elapsed();
        let kills = kills?;
        ensure!(kills > 0, "nobody was killed: the run was too short to say anything");
        let lists = settled(store)?;
        let mut report = verdict::judge(&told, &lists)?;
        stop.store(true, Ordering::Relaxed);
        for follower in followers {
            let seen = runtime().block_on(follower).context("a follower panicked")??;
            ensure!(
                lists[0].starts_with(&seen) || seen.starts_with(&lists[0]),
                "a follower saw another order than the members have"
            );
        }
        (report.kills, report.took) = (kills, took);
        Ok(report)
    }
}

/// Kill one member after the other by SIGKILL, now and then two at once, until the clients have taken their last message.
fn kill_throughout(store: &Laptop, next: &AtomicU64, messages: u64) -> anyhow::Result<u64> {
    let members = store.bases().len() as u64;
    let (mut kills, mut round) = (0, 0);
    let mut last = (next.load(Ordering::Relaxed), Instant::now());
    while next.load(Ordering::Relaxed) < messages {
        std::thread::sleep(KILL_PAUSE);
        let taken = next.load(Ordering::Relaxed);
        if taken > last.0 {
            last = (taken, Instant::now());
        }
        ensure!(
            last.1.elapsed() < STILLNESS_MAX,
            "nothing was appended for {STILLNESS_MAX:?}, after {taken}"
        );
        round += 1;
        let mut victims = vec![round % members];
        if round % 4 == 0 {
            victims.push((round + 1) % members); // no majority is left for a moment
        }
        for victim in victims {
            // It may be down already, and start again just now.
            kills += u64::from(store.signal(victim as u8, Signal::KILL).is_ok());
        }
    }
    Ok(kills)
}

/// The committed texts of every member, once all have as many.
fn settled(store: &Laptop) -> anyhow::Result<Vec<Vec<verdict::Stored>>> {
    store.wait_until_ready()?;
    let http = Http::default();
    let look = || {
        let lists = store
            .bases()
            .iter()
            .map(|base| runtime().block_on(verdict::list(&http, base)))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let lengths: Vec<usize> = lists.iter().map(Vec::len).collect();
        ensure!(lengths.windows(2).all(|pair| pair[0] == pair[1]), "members have {lengths:?} messages");
        Ok(lists)
    };
    Ok(wait::until("all members have as many messages", SETTLING_MAX, look)?.0)
}

/// Follow the log at one member, through all that happens to it.
fn follow(
    base: &str,
    messages: u64,
    stop: Arc<AtomicBool>,
) -> JoinHandle<anyhow::Result<Vec<verdict::Stored>>> {
    let client = Client::new([base]).map(|client| client.with_deadline(STILLNESS_MAX));
    runtime().spawn(async move {
        let mut follow = client?.log(LOG).follow(Some(1));
        let mut seen: Vec<verdict::Stored> = Vec::new();
        while (seen.len() as u64) < messages && !stop.load(Ordering::Relaxed) {
            // Giving up the wait loses nothing.
            let Ok(next) = tokio::time::timeout(Duration::from_millis(500), follow.next()).await else {
                continue;
            };
            match next? {
                Followed::Message(message) => {
                    ensure!(
                        message.sequence == seen.len() as u64 + 1,
                        "message {} came next",
                        message.sequence
                    );
                    ensure!(message.committed, "message {} is not committed", message.sequence);
                    seen.push(verdict::Stored::of(&message)?);
                }
                undone => anyhow::bail!("what is committed was undone: {undone:?}"),
            }
        }
        Ok(seen)
    })
}
