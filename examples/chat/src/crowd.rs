//! A simulated crowd: everybody writes to everybody, and at the end nothing is lost, nothing came twice, and everything came in
//! order, whatever happened to the servers meanwhile.
//!
//! Refuses to believe a server: what was received is compared with what was sent.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::caller::{CallError, Caller};
use crate::inbox::Inbox;

/// Most users: each has a connection's worth of tasks, and an account that stays.
pub const USERS_MAX: u32 = 1000;
/// Most messages of each.
pub const MESSAGES_MAX: u32 = 10_000;
/// What nobody expects any more is waited for so long after the last message.
const LATE_WAIT: Duration = Duration::from_millis(500);

/// What a crowd does.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Accounts, which are made.
    pub users: u32,
    /// Messages that each sends.
    pub messages: u32,
    /// Who writes to whom.
    pub seed: u64,
    /// How long the servers may be away, and how long everything may take beyond that.
    pub patience: Duration,
    /// A pause of each user after each message.
    pub pause: Duration,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Messages that were sent, and acknowledged.
    pub sent: usize,
    /// Messages that were received.
    pub received: usize,
    /// Of those that were sent, not received.
    pub lost: usize,
    /// Received again.
    pub twice: usize,
    /// Received after a later one of the same sender.
    pub disordered: usize,
    /// How long it took.
    pub took: Duration,
    /// The longest that one user waited for an acknowledgement.
    pub longest: Duration,
    /// What that one was waited for: servers that were asked in vain.
    pub detours: Vec<String>,
}

impl Outcome {
    /// Nothing lost, nothing twice, everything in order.
    pub fn is_right(&self) -> bool {
        (self.lost, self.twice, self.disordered) == (0, 0, 0)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Outcome { sent, received, lost, twice, disordered, took, longest, detours } = self;
        write!(
            f,
            "{sent} messages sent and {received} received in {:.1} s ({:.0}/s), the longest wait {:.0} ms; {lost} lost, \
             {twice} twice, {disordered} out of order",
            took.as_secs_f64(),
            *sent as f64 / took.as_secs_f64().max(1e-9),
            longest.as_secs_f64() * 1e3,
        )?;
        match detours.is_empty() {
            true => Ok(()),
            false => write!(f, " (the longest wait: {})", detours.join(", ")),
        }
    }
}

/// Runs a crowd against these servers.
///
/// # Errors
/// Somebody was refused, or had no answer within the plan's patience.
pub async fn run(servers: &[String], plan: &Plan) -> Result<Outcome, CallError> {
    let began = Instant::now();
    // Names and texts of one run are its own.
    let mut run = [0; 4];
    let _ = getrandom::fill(&mut run);
    let run = crate::hexadecimal(&run);
    let whom = whom(plan);
    let callers = arrive(servers, plan, &run).await?;
    let mut sending = JoinSet::new();
    let mut receiving = JoinSet::new();
    for (user, mut caller) in callers.into_iter().enumerate() {
        let expected: usize = whom.iter().flatten().filter(|to| **to == user as u32).count();
        receiving.spawn(receive(Inbox::new(&caller), expected, plan.patience));
        let (run, whom, pause) = (run.clone(), whom[user].clone(), plan.pause);
        sending.spawn(async move {
            let (mut longest, mut detours) = (Duration::ZERO, Vec::new());
            for (number, to) in whom.into_iter().enumerate() {
                let asked = Instant::now();
                caller.send(&name(&run, to), &format!("{run}:{user}:{number}")).await?;
                if asked.elapsed() > longest {
                    (longest, detours) = (asked.elapsed(), caller.detours().to_vec());
                }
                sleep(pause).await;
            }
            Ok::<_, CallError>((longest, detours))
        });
    }
    let mut outcome = Outcome { sent: whom.iter().map(Vec::len).sum(), ..Outcome::default() };
    while let Some(sent) = sending.join_next().await {
        let (longest, detours) = sent.expect("no panic")?;
        if longest > outcome.longest {
            (outcome.longest, outcome.detours) = (longest, detours);
        }
    }
    while let Some(received) = receiving.join_next().await {
        judge(&received.expect("no panic")?, &mut outcome);
    }
    outcome.lost = (outcome.sent + outcome.twice).saturating_sub(outcome.received);
    outcome.took = began.elapsed();
    Ok(outcome)
}

/// Everybody gets an account and logs in. Nobody is here before all are: whoever writes to an account that is still to come is refused.
async fn arrive(servers: &[String], plan: &Plan, run: &str) -> Result<Vec<Caller>, CallError> {
    let caller = Caller::new(servers)?.with_deadline(plan.patience);
    let mut arriving = Vec::new();
    for user in 0..plan.users {
        let mut caller = caller.clone().beginning_at(user as usize);
        let name = name(run, user);
        arriving.push(tokio::spawn(async move {
            caller.create_account(&name, "crowd").await?;
            caller.log_in(&name, "crowd").await?;
            Ok::<_, CallError>(caller)
        }));
    }
    let mut callers = Vec::new();
    for caller in arriving {
        callers.push(caller.await.expect("no panic")?);
    }
    Ok(callers)
}

fn name(run: &str, user: u32) -> String {
    format!("crowd-{run}-{user}")
}

/// To whom each user writes, in order.
fn whom(plan: &Plan) -> Vec<Vec<u32>> {
    // Xorshift: any will do that is the same for the same seed.
    let mut state = plan.seed | 1;
    let mut draw = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % u64::from(plan.users.max(1))) as u32
    };
    (0..plan.users).map(|_| (0..plan.messages).map(|_| draw()).collect()).collect()
}

async fn receive(mut inbox: Inbox, expected: usize, patience: Duration) -> Result<Vec<String>, CallError> {
    let mut received = Vec::new();
    loop {
        let wait = if received.len() < expected { patience } else { LATE_WAIT };
        match timeout(wait, inbox.next()).await {
            Ok(message) => received.push(message?.content),
            Err(_) => break,
        }
    }
    inbox.flush().await?;
    Ok(received)
}

/// What one user received: `RUN:SENDER:NUMBER` each.
fn judge(received: &[String], outcome: &mut Outcome) {
    let mut last: BTreeMap<&str, u32> = BTreeMap::new();
    let mut seen = std::collections::BTreeSet::new();
    for text in received {
        let Some((sender, number)) = text.rsplit_once(':') else { continue };
        let Ok(number) = number.parse() else { continue };
        outcome.received += 1;
        if !seen.insert(text) {
            outcome.twice += 1;
        } else if last.insert(sender, number).is_some_and(|before| before > number) {
            outcome.disordered += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_seen() {
        let check = |received: &[&str], expected: (usize, usize, usize)| {
            let mut outcome = Outcome::default();
            judge(&received.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>(), &mut outcome);
            assert_eq!((outcome.received, outcome.twice, outcome.disordered), expected, "{received:?}");
        };
        check(&["r:0:0", "r:1:4", "r:0:1", "r:1:9"], (4, 0, 0));
        check(&["r:0:0", "r:0:0"], (2, 1, 0));
        check(&["r:0:1", "r:0:0"], (2, 0, 1));
        check(&["something else"], (0, 0, 0));
    }

    #[test]
    fn a_seed_is_a_plan() {
        let plan = Plan { users: 5, messages: 20, seed: 7, patience: Duration::ZERO, pause: Duration::ZERO };
        assert_eq!(whom(&plan), whom(&plan));
        assert!(whom(&plan).iter().flatten().all(|to| *to < 5));
        assert_ne!(whom(&plan), whom(&Plan { seed: 9, ..plan.clone() }));
    }
}
