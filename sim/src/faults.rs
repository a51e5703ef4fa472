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
    /// The next few leaders are killed right after their election.
    AmbushLeaders,
    /// A member loses its disk; at most a minority of the voters, once each.
    Wipe,
}

const ALL: [Fault; 19] = [
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
    Fault::Wipe,
];

impl Mixture {
    /// A mixture of this run's own.
    pub(crate) fn draw(random: &mut Random) -> Mixture {
        if random.chance(0.2) {
            return Mixture::turnover(random);
        }
        let busy = random.chance(0.5);
        let every = if busy { (20, 300) } else { (200, 2000) };
        let mut weights: Vec<(Fault, u64)> = ALL
            .into_iter()
            .map(|fault| (fault, if random.chance(0.5) { 1 + random.below(8) } else { 0 }))
            .collect();
        weights.push((Fault::Heal, 3));
        weights.push((Fault::Checkpoint, 5));
        Mixture { every: (Duration::from_millis(every.0), Duration::from_millis(every.1)), weights }
    }

    /// Leader after leader dies young, and what it wrote is on one member or two: the histories of figure 8 of the Raft
    /// paper, which come too seldom by themselves.
    fn turnover(random: &mut Random) -> Mixture {
        let weights = vec![
            (Fault::AmbushLeaders, 8),
            (Fault::Crash, random.below(4)),
            (Fault::CrashLeader, random.below(4)),
            (Fault::Isolate, random.below(4)),
            (Fault::IsolateLeader, random.below(4)),
            (Fault::CutLink, random.below(4)),
            (Fault::Split, random.below(3)),
            (Fault::Heal, 4),
        ];
        Mixture { every: (Duration::from_millis(20), Duration::from_millis(200)), weights }
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
