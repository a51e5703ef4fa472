//! What is done to a store in one run: all of it follows from one number.

use std::fmt;
use std::time::Duration;

use super::disk::FileSystem;
use super::lots::Lots;

/// Kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// SIGKILL to one member, more often than not the leader.
    KillOne,
    /// SIGKILL to a majority at once.
    KillMajority,
    /// SIGKILL to all at once.
    KillAll,
    /// SIGTERM to the leader: it hands over and ends.
    Terminate,
    /// SIGSTOP to the leader, SIGCONT later.
    PauseLeader,
    /// SIGSTOP to a follower, SIGCONT later.
    PauseFollower,
    /// SIGKILL at a drawn one of the system calls that change the disk, under load.
    CrashAtWrite,
    /// The same while it starts, several times.
    CrashAtStart,
    /// An fsync or fdatasync fails, once.
    FlushError,
    /// The same while it starts.
    FlushErrorAtStart,
    /// A write to the disk fails, for want of space or otherwise, once.
    WriteError,
    /// Bytes of any file of one member's change or are gone.
    DamageOne,
    /// A bit of every member's log changes, each in another place.
    DamageAll,
    /// One member's disk is replaced by an empty one.
    LostDisk,
    /// One member's disk is replaced by an older copy of it; then, as a person would, by an empty one.
    OldDisk,
    /// Every flush takes long.
    SlowFlush,
    /// All connections of one member are reset, again and again.
    Reset,
    /// One member and the others hear nothing of each other; clients reach all.
    Isolate,
    /// Two members hear nothing of each other.
    PartialCut,
    /// One direction between two members is cut, or all directions to or from one.
    OneWayCut,
    /// Packets are lost on their way to one member.
    Loss,
    /// The power of one member's ext4 is cut.
    PowerCutOneExt4,
    /// The power of all members' ext4 is cut.
    PowerCutAllExt4,
    /// The power of one member's XFS is cut.
    PowerCutOneXfs,
    /// The power of all members' XFS is cut.
    PowerCutAllXfs,
}

/// One fault of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What.
    pub kind: Kind,
    /// How long it lasts, from each time that it begins.
    pub lasts: Duration,
    /// How much later than the run's other fault it begins.
    pub delay: Duration,
    /// What its details are drawn from.
    pub seed: u64,
}

/// What is done in one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The number that it follows from.
    pub seed: u64,
    /// Members of the store: 3 or 5.
    pub members: u8,
    /// Whether an authority decides who leads, not a majority.
    pub in_sync: bool,
    /// Whether the store takes checkpoints every second.
    pub checkpoints: bool,
    /// What the members' data lies on.
    pub file_system: FileSystem,
    /// One fault, or two at once.
    pub faults: Vec<Fault>,
    /// How often they come.
    pub rounds: usize,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 25] = [
        Kind::KillOne,
        Kind::PowerCutAllExt4,
        Kind::CrashAtWrite,
        Kind::Isolate,
        Kind::LostDisk,
        Kind::KillAll,
        Kind::FlushError,
        Kind::PauseLeader,
        Kind::PowerCutOneXfs,
        Kind::OneWayCut,
        Kind::DamageOne,
        Kind::CrashAtStart,
        Kind::KillMajority,
        Kind::PartialCut,
        Kind::PowerCutAllXfs,
        Kind::SlowFlush,
        Kind::Reset,
        Kind::DamageAll,
        Kind::Terminate,
        Kind::FlushErrorAtStart,
        Kind::PowerCutOneExt4,
        Kind::Loss,
        Kind::OldDisk,
        Kind::PauseFollower,
        Kind::WriteError,
    ];

    /// Its name on a command line and in tables.
    pub fn name(self) -> &'static str {
        match self {
            Kind::KillOne => "kill-one",
            Kind::KillMajority => "kill-majority",
            Kind::KillAll => "kill-all",
            Kind::Terminate => "terminate",
            Kind::PauseLeader => "pause-leader",
            Kind::PauseFollower => "pause-follower",
            Kind::CrashAtWrite => "crash-at-write",
            Kind::CrashAtStart => "crash-at-start",
            Kind::FlushError => "flush-error",
            Kind::FlushErrorAtStart => "flush-error-at-start",
            Kind::WriteError => "write-error",
            Kind::DamageOne => "damage-one",
            Kind::DamageAll => "damage-all",
            Kind::LostDisk => "lost-disk",
            Kind::OldDisk => "old-disk",
            Kind::SlowFlush => "slow-flush",
            Kind::Reset => "reset",
            Kind::Isolate => "isolate",
            Kind::PartialCut => "partial-cut",
            Kind::OneWayCut => "one-way-cut",
            Kind::Loss => "loss",
            Kind::PowerCutOneExt4 => "power-cut-one-ext4",
            Kind::PowerCutAllExt4 => "power-cut-all-ext4",
            Kind::PowerCutOneXfs => "power-cut-one-xfs",
            Kind::PowerCutAllXfs => "power-cut-all-xfs",
        }
    }

    /// The file system that it needs.
    pub fn file_system(self) -> FileSystem {
        match self {
            Kind::PowerCutOneExt4 | Kind::PowerCutAllExt4 => FileSystem::Ext4,
            Kind::PowerCutOneXfs | Kind::PowerCutAllXfs => FileSystem::Xfs,
            _ => FileSystem::Host,
        }
    }

    /// Whether a store whose members all may be gone but one survives it without a person: what is on a disk is there again.
    pub fn suits_in_sync(self) -> bool {
        !self.damages()
    }

    /// Whether strace does it: a process has one tracer at most.
    fn traces(self) -> bool {
        matches!(
            self,
            Kind::CrashAtWrite
                | Kind::CrashAtStart
                | Kind::FlushError
                | Kind::FlushErrorAtStart
                | Kind::SlowFlush
                | Kind::WriteError
        )
    }

    /// Whether it takes away what a member has on disk: a store survives that at one member at a time, or at places that
    /// others still have, and then has to be whole again before the next time.
    pub fn damages(self) -> bool {
        matches!(self, Kind::DamageOne | Kind::DamageAll | Kind::LostDisk | Kind::OldDisk)
    }

    /// Whether both can be done to one store at once.
    fn goes_with(self, other: Kind) -> bool {
        let host = [self.file_system(), other.file_system()].map(|disk| disk == FileSystem::Host);
        let disks = if self.damages() || other.damages() { host == [true; 2] } else { host != [false; 2] };
        // An old copy is known by what the leader remembers, which must go on leading to say so.
        let pair = [self, other];
        let alone = pair.contains(&Kind::OldDisk) && !pair.contains(&Kind::SlowFlush);
        self != other
            && disks
            && !alone
            && !(self.traces() && other.traces())
            && !(self.damages() && other.damages())
    }

    /// How long it lasts, in milliseconds: from, to.
    fn lasts_ms(self) -> (u64, u64) {
        match self {
            Kind::KillOne | Kind::KillMajority => (0, 1500),
            Kind::KillAll | Kind::Terminate => (0, 500),
            // Shorter and longer than an election.
            Kind::PauseLeader | Kind::PauseFollower => (100, 2500),
            Kind::CrashAtWrite | Kind::FlushError | Kind::WriteError => (500, 1000),
            Kind::DamageOne | Kind::DamageAll | Kind::LostDisk => (0, 500),
            Kind::OldDisk => (1500, 2500),
            Kind::CrashAtStart | Kind::FlushErrorAtStart => (800, 1500),
            Kind::SlowFlush | Kind::Loss => (800, 2000),
            Kind::Reset => (100, 800),
            Kind::Isolate | Kind::PartialCut | Kind::OneWayCut => (300, 2500),
            Kind::PowerCutOneExt4 | Kind::PowerCutAllExt4 | Kind::PowerCutOneXfs | Kind::PowerCutAllXfs => {
                (0, 300)
            }
        }
    }
}

impl Plan {
    /// What follows from `seed`. Seeds that follow each other go through `kinds`, first alone, then with a second one.
    ///
    /// # Panics
    ///
    /// If there are no kinds.
    pub fn draw(seed: u64, kinds: &[Kind], in_sync: bool) -> Plan {
        let mut lots = Lots::new(seed);
        let count = kinds.len() as u64;
        let first = kinds[(seed % count) as usize];
        let mut drawn = vec![first];
        if (seed / count) % 2 == 1 {
            let goes = |other: &Kind| first.goes_with(*other) && (!in_sync || other.suits_in_sync());
            let others: Vec<Kind> = Kind::ALL.into_iter().filter(goes).collect();
            drawn.push(lots.pick(&others));
        }
        let file_system = drawn.iter().map(|kind| kind.file_system());
        let file_system =
            file_system.fold(FileSystem::Host, |all, one| if one == FileSystem::Host { all } else { one });
        let members = if lots.chance(25) { 5 } else { 3 };
        let checkpoints = lots.chance(50);
        let rounds = if file_system == FileSystem::Host { 2 } else { 4 };
        let fault = |kind: Kind| {
            let (low, high) = kind.lasts_ms();
            Fault { kind, lasts: lots.time(low, high), delay: lots.time(0, 300), seed: lots.draw() }
        };
        Plan {
            seed,
            members,
            in_sync,
            checkpoints,
            file_system,
            faults: drawn.into_iter().map(fault).collect(),
            rounds,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.faults.iter().map(|fault| fault.kind.name()).collect();
        write!(f, "seed {}: {} x {}, {} members", self.seed, self.rounds, names.join(" + "), self.members)?;
        f.write_str(if self.in_sync { ", in sync" } else { "" })?;
        f.write_str(if self.checkpoints { ", checkpoints" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_in_a_row_go_through_all_kinds_alone_and_in_pairs() {
        let plans: Vec<Plan> = (0..400).map(|seed| Plan::draw(seed, &Kind::ALL, false)).collect();
        for (number, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(plans[number].faults.len(), 1);
            assert_eq!(plans[number].faults[0].kind, kind);
        }
        let pairs = plans.iter().filter(|plan| plan.faults.len() == 2).count();
        assert_eq!(pairs, 200);
        assert_eq!(plans[77], Plan::draw(77, &Kind::ALL, false));
    }

    #[test]
    fn two_faults_at_once_are_possible_together() {
        for seed in 0..2000 {
            let plan = Plan::draw(seed, &Kind::ALL, false);
            if let [one, two] = &plan.faults[..] {
                assert!(one.kind.goes_with(two.kind) && two.kind.goes_with(one.kind), "{plan}");
            }
            for fault in &plan.faults {
                let wanted = fault.kind.file_system();
                assert!(wanted == FileSystem::Host || wanted == plan.file_system, "{plan}");
                assert!(!fault.kind.damages() || plan.file_system == FileSystem::Host, "{plan}");
            }
            assert!(plan.faults.iter().filter(|fault| fault.kind.damages()).count() < 2, "{plan}");
        }
    }

    #[test]
    fn names_are_unique() {
        let names: std::collections::BTreeSet<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), Kind::ALL.len());
    }
}
