//! What goes wrong, and when: drawn from the seed.

use std::time::Duration;

use holdfast_engine::Random;

/// How often which fault comes in one run: each run has its own mixture, so that some faults meet seldom and some often.
#[derive(Clone, Debug)]
pub(crate) struct Mixture {
    pub(crate) every: (Duration, Duration),
    weights: Vec<(Fault, u64)>,
}

/// One thing that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Kill one member; it starts again later.
    Crash,
    /// Kill the member that leads.
    CrashLeader,
    /// Kill all members at once.
    CrashAll,
    /// Stop one member for a while without killing it.
    Pause,
    /// Stop the member that leads for a while.
    PauseLeader,
    /// Cut one direction of one link.
    CutOneWay,
    /// Cut one link.
    CutLink,
    /// Cut one member off.
    Isolate,
    /// Cut the leader off.
    IsolateLeader,
    /// Split the members in two.
    Split,
    /// Mend all cuts.
    Heal,
    /// End one connection that works.
    Reset,
    /// Other delays, losses and duplications from now on.
    Weather,
    /// One disk gets slow, or fast again.
    SlowDisk,
    /// Take a checkpoint somewhere.
    Checkpoint,
    /// Ask the leader to hand over.
    HandOver,
    /// The next voters are killed before their votes are durable, and a rival campaigns in the same term.
    AmbushVoter,
    /// The next member that replaces some of its log is killed before its disk is done.
    AmbushCut,
    /// The next few leaders are killed right after their election.
    AmbushLeaders,
    /// A member loses its disk and comes back as another one; never so many that a majority of the voters is gone.
    Wipe,
    /// Something on a disk cannot be read any more; never the last good copy of anything.
    Damage,
    /// A write to a disk fails.
    FailWrite,
    /// A disk has no space for a while.
    FillDisk,
    /// Two members' disks are exchanged for a while.
    SwapDisks,
    /// The store is to have more members, or fewer.
    Resize,
    /// One member cannot reach the authority any more, or can again.
    CutAuthority,
    /// Nobody can reach the authority for a while.
    AuthorityDown,
    /// The primary is cut off from the authority and from one member, which may take over behind its back.
    Coup,
    /// The authority answers with other delays and losses from now on.
    AuthorityWeather,
    /// One member gets entries seconds late, and heartbeats at once; or in time again.
    HoldBack,
}

/// Those that any run of majority mode may meet.
const ALL: [Fault; 25] = [
    Fault::Crash,
    Fault::CrashLeader,
    Fault::CrashAll,
    Fault::Pause,
    Fault::PauseLeader,
    Fault::CutOneWay,
    Fault::CutLink,
    Fault::Isolate,
    Fault::IsolateLeader,
    Fault::Split,
    Fault::Heal,
    Fault::Reset,
    Fault::Weather,
    Fault::SlowDisk,
    Fault::Checkpoint,
    Fault::HandOver,
    Fault::AmbushVoter,
    Fault::AmbushLeaders,
    Fault::AmbushCut,
    Fault::Wipe,
    Fault::Damage,
    Fault::FailWrite,
    Fault::FillDisk,
    Fault::SwapDisks,
    Fault::Resize,
];

/// What a run is mostly about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Theme {
    /// Any faults, in a mixture of the run's own.
    Anything,
    /// Leader after leader dies young, and what it wrote is on one member or two: the histories of figure 8 of the Raft
    /// paper, which come too seldom by themselves.
    Turnover,
    /// Members come, go and are replaced while leaders change.
    Churn,
    /// Disks fail, in all ways, and everybody restarts.
    Decay,
    /// Members fall behind what the others still have in their logs.
    Lagging,
    /// Leaders are paused and cut off while clients read.
    Reads,
    /// An authority decides, and cannot always be reached.
    InSync,
    /// Clients add messages to logs and read them; members fall behind, are killed, restart from checkpoints.
    Messages,
}

impl Theme {
    pub(crate) fn draw(random: &mut Random) -> Theme {
        match random.below(10) {
            0 | 1 => Theme::Turnover,
            2 | 3 => Theme::Churn,
            4 => Theme::Decay,
            5 => Theme::Lagging,
            6 => Theme::Reads,
            _ => Theme::Anything,
        }
    }

    /// What it is about, by weight; the rest is as chance has it.
    fn weights(self) -> &'static [(Fault, u64)] {
        match self {
            Theme::Anything => &[(Fault::Heal, 3), (Fault::Checkpoint, 5)],
            Theme::Turnover => &[
                (Fault::AmbushLeaders, 8),
                (Fault::AmbushCut, 2),
                (Fault::AmbushVoter, 1),
                (Fault::Crash, 2),
                (Fault::CrashLeader, 2),
                (Fault::Isolate, 2),
                (Fault::IsolateLeader, 2),
                (Fault::CutLink, 2),
                (Fault::Split, 1),
                (Fault::Heal, 4),
            ],
            Theme::Churn => &[
                (Fault::Resize, 10),
                (Fault::Wipe, 5),
                (Fault::Checkpoint, 5),
                (Fault::IsolateLeader, 4),
                (Fault::Split, 3),
                (Fault::CrashLeader, 3),
                (Fault::AmbushLeaders, 2),
                (Fault::Heal, 8),
            ],
            Theme::Decay => &[
                (Fault::Damage, 12),
                (Fault::FailWrite, 4),
                (Fault::CrashAll, 3),
                (Fault::CrashLeader, 3),
                (Fault::Checkpoint, 3),
                (Fault::SwapDisks, 2),
                (Fault::Heal, 3),
            ],
            Theme::Lagging => &[
                (Fault::Checkpoint, 12),
                (Fault::Isolate, 4),
                (Fault::CutLink, 3),
                (Fault::Crash, 3),
                (Fault::HandOver, 3),
                (Fault::CrashLeader, 2),
                (Fault::Weather, 3),
                (Fault::Heal, 6),
            ],
            Theme::InSync => &[
                (Fault::Crash, 4),
                (Fault::CrashLeader, 6),
                (Fault::CrashAll, 1),
                (Fault::Pause, 2),
                (Fault::PauseLeader, 4),
                (Fault::CutOneWay, 2),
                (Fault::CutLink, 3),
                (Fault::Isolate, 3),
                (Fault::IsolateLeader, 5),
                (Fault::Split, 2),
                (Fault::Heal, 12),
                (Fault::Reset, 3),
                (Fault::Weather, 2),
                (Fault::SlowDisk, 2),
                (Fault::Checkpoint, 3),
                (Fault::HandOver, 3),
                (Fault::AmbushLeaders, 3),
                (Fault::AmbushCut, 1),
                (Fault::Wipe, 4),
                (Fault::CutAuthority, 6),
                (Fault::AuthorityDown, 2),
                (Fault::AuthorityWeather, 4),
                (Fault::Coup, 5),
            ],
            Theme::Messages => &[
                (Fault::HoldBack, 8),
                (Fault::Crash, 5),
                (Fault::CrashLeader, 4),
                (Fault::CrashAll, 1),
                (Fault::Pause, 2),
                (Fault::Isolate, 2),
                (Fault::IsolateLeader, 4),
                (Fault::CutLink, 2),
                (Fault::Checkpoint, 8),
                (Fault::HandOver, 2),
                (Fault::AmbushCut, 1),
                (Fault::Weather, 2),
                (Fault::Wipe, 1),
                (Fault::Heal, 12),
            ],
            Theme::Reads => &[
                (Fault::PauseLeader, 8),
                (Fault::IsolateLeader, 8),
                (Fault::HandOver, 2),
                (Fault::CutOneWay, 2),
                (Fault::Weather, 1),
                (Fault::Heal, 8),
            ],
        }
    }

    /// How much of the rest there is: one fault in so many has any weight.
    fn others(self, random: &mut Random) -> f64 {
        match self {
            Theme::Anything => 0.5,
            Theme::Turnover | Theme::Reads | Theme::InSync | Theme::Messages => 0.0,
            _ => [0.0, 0.15, 0.3][random.below(3) as usize],
        }
    }
}

impl Mixture {
    /// A mixture of this run's own.
    pub(crate) fn draw(theme: Theme, random: &mut Random) -> Mixture {
        let others = theme.others(random);
        let weight = |random: &mut Random| 1 + random.below(8);
        let mut weights: Vec<(Fault, u64)> = ALL
            .into_iter()
            .map(|fault| (fault, if random.chance(others) { weight(random) } else { 0 }))
            .collect();
        weights.extend(theme.weights());
        let every = match theme {
            Theme::Turnover => (20, 200),
            Theme::Reads | Theme::Churn | Theme::InSync | Theme::Messages => (20, 400),
            _ if random.chance(0.5) => (20, 300),
            Theme::Anything => (200, 2000),
            _ => (50, 800),
        };
        Mixture { every: (Duration::from_millis(every.0), Duration::from_millis(every.1)), weights }
    }

    /// The next fault.
    pub(crate) fn next(&self, random: &mut Random) -> Fault {
        let total = self.weights.iter().map(|(_, weight)| weight).sum();
        let mut at = random.below(total);
        for (fault, weight) in &self.weights {
            if at < *weight {
                return *fault;
            }
            at -= weight;
        }
        Fault::Heal
    }
}
