//! Whole clusters under seeded faults, in virtual time.
//!
//! One run is one seed: it decides the number of members, their settings, the faults and every delay. Members run the
//! same engine and the same state as the sidecar; network, disks, clocks and clients are simulated. After every step
//! the invariants of `invariants` are checked, at the end the clients' history, and that the store works again once the
//! faults are over. A seed that fails prints the command that replays it.
//!
//! What it refuses to do: run real sockets, threads or files. Those are tested with real processes.

mod authority;
mod clients;
mod clock;
mod damage;
mod disk;
mod faults;
mod flaw;
mod history;
mod hunt;
mod invariants;
mod journal;
mod member;
mod messages;
mod network;
mod queue;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::faults::Theme;
pub use crate::flaw::{Flaw, ShellBug};
pub use crate::hunt::{Hunted, hunt};
pub use holdfast_engine::Bug;
use holdfast_engine::{Consensus, Random};

/// Seeds from here on simulate in-sync mode, those before majority mode.
pub const IN_SYNC: u64 = 1 << 63;

/// Seeds from here on, and before [`IN_SYNC`], simulate clients of message logs, in majority mode.
pub const MESSAGE_LOGS: u64 = 1 << 62;

/// What one seed stands for.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The seed.
    pub seed: u64,
    theme: Theme,
    consensus: Consensus,
    /// Members keep nothing on a disk: each start is another life.
    memory: bool,
    /// How many members the store is to have at first.
    members: u8,
    /// How many it may be asked to have; the same if that never changes.
    other_size: u8,
    clients: usize,
    election_timeout: Duration,
    faults_for: Duration,
    /// How far clocks may run wrong, in parts per million.
    drift_max: u64,
    append_bytes_max: usize,
    appends_in_flight_max: usize,
    uncommitted_bytes_max: usize,
    log_bytes_kept: usize,
    /// The faults go on until so many messages are in the logs.
    messages_min: u64,
}

/// What happened in one run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Time that passed in the simulated world.
    pub virtual_time: Duration,
    /// Events that happened.
    pub events: u64,
    /// Faults that were injected.
    pub faults: u64,
    /// Processes that started.
    pub starts: u64,
    /// Leaders that were elected.
    pub elections: u64,
    /// Disks that were damaged.
    pub damaged: u64,
    /// Members that made themselves whole again from what others had.
    pub repaired: u64,
    /// Changes of the number of members.
    pub resized: u64,
    /// Checkpoints that were taken.
    pub checkpoints: u64,
    /// Checkpoints that went from one member to another.
    pub checkpoints_fetched: u64,
    /// Entries that were committed.
    pub committed: u64,
    /// Operations whose end a client knows, at a majority or more.
    pub operations: u64,
    /// Messages that were added to logs, for good.
    pub messages: u64,
    /// Lists of messages that clients read.
    pub lists: u64,
}

/// A run that broke an invariant, or panicked.
#[derive(Clone, Debug, thiserror::Error)]
#[error("seed {seed}{}: {what}\nreplay: cargo run -p holdfast-sim -- --seed {seed}{}", with_bug(" with ", *.bug), with_bug(" --bug ", *.bug))]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// The bug that was switched on.
    pub bug: Option<Flaw>,
    /// The invariant, and how it was broken.
    pub what: String,
}

fn with_bug(before: &str, bug: Option<Flaw>) -> String {
    bug.map(|bug| format!("{before}{bug}")).unwrap_or_default()
}

impl Scenario {
    /// The scenario of a soak of the message logs: so many clients, and faults until there are so many messages.
    pub fn soak(seed: u64, clients: usize, messages: u64) -> Scenario {
        let mut scenario = Scenario::draw(MESSAGE_LOGS | (seed & (MESSAGE_LOGS - 1)));
        (scenario.clients, scenario.messages_min) = (clients, messages);
        (scenario.members, scenario.other_size) = (3, 3);
        // As members are set up: what is drawn is to meet bounds with little data.
        (scenario.append_bytes_max, scenario.appends_in_flight_max) = (64 * 1024, 64);
        (scenario.uncommitted_bytes_max, scenario.log_bytes_kept) = (1 << 20, 1 << 20);
        scenario
    }

    /// Whether its clients use message logs.
    fn has_messages(&self) -> bool {
        self.theme == Theme::Messages
    }

    /// Whether its clients read more than they write, and ask whoever they know.
    fn reads_much(&self) -> bool {
        let in_sync = self.theme == Theme::InSync && self.seed.is_multiple_of(2);
        self.theme == Theme::Reads || in_sync
    }

    /// The scenario of a seed.
    pub fn draw(seed: u64) -> Scenario {
        let mut scenario = Scenario::draw_majority(seed);
        if (MESSAGE_LOGS..IN_SYNC).contains(&seed) {
            let mut random = Random::new(seed ^ 0x1065_0000_0000_0000);
            scenario.theme = Theme::Messages;
            scenario.clients = 2 + random.below(6) as usize;
        }
        if seed >= IN_SYNC {
            let mut random = Random::new(seed ^ 0x15c0_0000_0000_0000);
            scenario.theme = Theme::InSync;
            scenario.members = [2, 3, 3, 3, 3, 4, 5][random.below(7) as usize];
            scenario.other_size = scenario.members;
            scenario.memory = random.chance(0.3);
            let min = if random.chance(0.2) { 2 } else { 1 };
            scenario.consensus = Consensus::InSync { min };
        }
        scenario
    }

    fn draw_majority(seed: u64) -> Scenario {
        let mut random = Random::new(seed ^ 0x5ce7_a210_0000_0000);
        let theme = Theme::draw(&mut random);
        let sizes: &[u8] = match theme {
            Theme::Anything => &[1, 2, 3, 3, 3, 3, 4, 5, 5, 7],
            Theme::Churn => &[2, 3, 3, 4, 5],
            Theme::Turnover => &[3, 3, 4, 5, 5],
            _ => &[2, 3, 3, 3, 4, 5, 5, 7],
        };
        let members = sizes[random.below(sizes.len() as u64) as usize];
        // One entry at a time, and one message: whoever is far behind would not catch up before the end.
        let windows =
            [(1, 4), (1, 64), (100, 1), (100, 4), (1000, 1), (1000, 64), (64 * 1024, 1), (64 * 1024, 64)];
        let window = if theme == Theme::Turnover { 2 } else { windows.len() as u64 };
        let (append_bytes_max, appends_in_flight_max) = windows[random.below(window) as usize];
        let resized = if theme == Theme::Churn { 1.0 } else { 0.3 };
        let other_size = match members {
            3..=5 if random.chance(resized) => [5, 3, 3][usize::from(members) - 3],
            2 if random.chance(resized) => 3,
            same => same,
        };
        Scenario {
            seed,
            theme,
            consensus: Consensus::Majority,
            memory: false,
            members,
            other_size,
            clients: if theme == Theme::Reads { 6 } else { 1 + random.below(5) as usize },
            election_timeout: Duration::from_millis(match theme {
                Theme::Churn | Theme::Reads => [150, 300][random.below(2) as usize],
                _ => [150, 300, 1000][random.below(3) as usize],
            }),
            faults_for: Duration::from_secs(8),
            drift_max: [0, 200, 200, 100_000][random.below(4) as usize],
            append_bytes_max,
            appends_in_flight_max,
            uncommitted_bytes_max: [500, 10_000, 1 << 20][random.below(3) as usize],
            log_bytes_kept: if theme == Theme::Lagging {
                0
            } else {
                [0, 500, 5000][random.below(3) as usize]
            },
            messages_min: 0,
        }
    }
}

/// Run one seed, with `bug` switched on if there is one.
///
/// # Errors
///
/// [`Failure`]: an invariant was broken or something panicked; the same seed fails the same way again.
pub fn run(seed: u64, bug: Option<Flaw>, trace: bool) -> Result<Report, Failure> {
    run_scenario(Scenario::draw(seed), bug, trace)
}

/// Run one scenario.
///
/// # Errors
///
/// [`Failure`], as [`run`].
pub fn run_scenario(scenario: Scenario, bug: Option<Flaw>, trace: bool) -> Result<Report, Failure> {
    let seed = scenario.seed;
    let world = world::World::new(scenario, bug, trace);
    let outcome = catch_unwind(AssertUnwindSafe(|| world.run()));
    let failure = |what| Failure { seed, bug, what };
    match outcome {
        Ok(Ok(report)) => Ok(report),
        Ok(Err(broken)) => Err(failure(broken)),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
            Err(failure(format!("panic: {text}")))
        }
    }
}
