//! A fault that is being done to a store: its victims are chosen when it begins, and it takes itself back when it ends.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::damage;
use super::lots::Lots;
use super::member::{FLUSHES, Injection, Tracer, WRITE_SIDE, WRITES};
use super::network::Cut;
use super::plan::{Fault, Kind};
use super::stage::Stage;

/// For so long after a flush that failed, or a disk without power, a member may end with an error.
const EXCUSE: Duration = Duration::from_secs(20);

/// How often connections are reset while that lasts.
const RESET_PAUSE: Duration = Duration::from_millis(100);

/// Members that die at a system call while they start do so as often in a row.
const START_CRASHES: u64 = 3;

/// The fault.
#[derive(Debug)]
pub(super) struct Acting {
    /// Which of the run's it is; its cuts are marked so.
    number: usize,
    fault: Fault,
    victims: Vec<u8>,
    tracer: Option<Tracer>,
    next_reset: Option<Instant>,
    /// What was done, for people.
    pub(super) said: String,
}

impl Acting {
    /// Begin. `round` changes what is drawn.
    ///
    /// # Errors
    ///
    /// If a tool refuses.
    pub(super) fn begin(
        number: usize,
        fault: &Fault,
        round: usize,
        stage: &mut Stage,
    ) -> anyhow::Result<Acting> {
        let mut lots = Lots::new(fault.seed.wrapping_add(round as u64));
        let victims = victims(fault.kind, stage, &mut lots);
        let said = format!("{} of {victims:?} for {:?}", fault.kind, fault.lasts);
        let mut acting =
            Acting { number, fault: fault.clone(), victims, tracer: None, next_reset: None, said };
        acting.act(stage, &mut lots, round)?;
        Ok(acting)
    }

    /// Called again and again while it lasts.
    ///
    /// # Errors
    ///
    /// If a tool refuses.
    pub(super) fn go_on(&mut self, stage: &Stage) -> anyhow::Result<()> {
        if self.next_reset.is_some_and(|at| at <= Instant::now()) {
            stage.network.reset(self.victims[0])?;
            self.next_reset = Some(Instant::now() + RESET_PAUSE);
        }
        Ok(())
    }

    /// End. Returns whether it came to anything: a system call that never came was not hit.
    ///
    /// # Errors
    ///
    /// If a tool refuses.
    pub(super) fn end(mut self, stage: &mut Stage) -> anyhow::Result<bool> {
        let mut hit = true;
        match self.fault.kind {
            Kind::PauseLeader | Kind::PauseFollower => self.signal(stage, Signal::CONT),
            Kind::CrashAtWrite | Kind::FlushError | Kind::WriteError | Kind::SlowFlush => {
                let tracer = self.tracer.take();
                hit = tracer.is_some_and(|tracer| tracer.hit());
            }
            Kind::CrashAtStart | Kind::FlushErrorAtStart => {
                let victims = self.victims.iter();
                hit = victims.clone().any(|&victim| stage.members[usize::from(victim)].hits_at_start() > 0);
                victims.for_each(|&victim| stage.members[usize::from(victim)].start_under(Vec::new()));
            }
            Kind::Isolate | Kind::PartialCut | Kind::OneWayCut | Kind::Loss => {
                stage.cuts.retain(|(number, _)| *number != self.number);
                stage.apply_cuts()?;
            }
            Kind::PowerCutOneExt4 | Kind::PowerCutAllExt4 | Kind::PowerCutOneXfs | Kind::PowerCutAllXfs => {
                for &victim in &self.victims {
                    let member = &mut stage.members[usize::from(victim)];
                    // It may have been started again by another fault's end.
                    member.kill();
                    stage.disks[usize::from(victim)].restore()?;
                    member.wake();
                }
            }
            Kind::OldDisk => {
                // By now it has been found out; a person gives it an empty one.
                hit = stage.ended_by_itself(self.victims[0]);
                stage.empty_disk(self.victims[0])?;
            }
            Kind::KillOne
            | Kind::KillMajority
            | Kind::KillAll
            | Kind::Terminate
            | Kind::Reset
            | Kind::DamageOne
            | Kind::DamageAll
            | Kind::LostDisk => {}
        }
        Ok(hit)
    }

    fn act(&mut self, stage: &mut Stage, lots: &mut Lots, round: usize) -> anyhow::Result<()> {
        let lasts = self.fault.lasts;
        match self.fault.kind {
            Kind::KillOne | Kind::KillMajority | Kind::KillAll => {
                self.signal(stage, Signal::KILL);
                self.members(stage, |member| member.rest(lasts));
            }
            Kind::Terminate => self.signal(stage, Signal::TERM),
            Kind::PauseLeader | Kind::PauseFollower => self.signal(stage, Signal::STOP),
            Kind::CrashAtWrite => self.attach(stage, crash(lots, 1, 100), round)?,
            Kind::FlushError => {
                self.members(stage, |member| member.excuse(lasts + EXCUSE));
                let nth = Some(1 + lots.below(40));
                self.attach(stage, Injection { calls: FLUSHES, what: "error=EIO".to_owned(), nth }, round)?;
            }
            Kind::WriteError => {
                self.members(stage, |member| member.excuse(lasts + EXCUSE));
                let what = lots.pick(&["error=EIO", "error=ENOSPC"]).to_owned();
                let nth = Some(1 + lots.below(80));
                self.attach(stage, Injection { calls: WRITES, what, nth }, round)?;
            }
            Kind::DamageOne | Kind::DamageAll => {
                for &victim in &self.victims {
                    stage.members[usize::from(victim)].kill();
                }
                for &victim in &self.victims {
                    let data = stage.disks[usize::from(victim)].data();
                    let damage =
                        if self.fault.kind == Kind::DamageAll { damage::log_bit } else { damage::any_file };
                    self.said += &format!("; {}", damage(&data, lots)?);
                }
                self.members(stage, |member| member.rest(lasts));
            }
            Kind::LostDisk => {
                stage.empty_disk(self.victims[0])?;
                self.members(stage, |member| member.rest(lasts));
            }
            Kind::OldDisk => stage.old_disk(self.victims[0])?,
            Kind::SlowFlush => {
                let what = format!("delay_enter={}", lots.pick(&[5_000, 50_000, 300_000, 1_000_000]));
                self.said += &format!(" with {what} us");
                self.attach(stage, Injection { calls: FLUSHES, what, nth: None }, round)?;
            }
            Kind::CrashAtStart => {
                let injections = (0..START_CRASHES).map(|_| crash(lots, 1, 30)).collect();
                self.start_under(stage, injections);
            }
            Kind::FlushErrorAtStart => {
                self.members(stage, |member| member.excuse(lasts + EXCUSE));
                let failing = |lots: &mut Lots| Injection {
                    calls: FLUSHES,
                    what: "error=EIO".to_owned(),
                    nth: Some(1 + lots.below(6)),
                };
                let injections = (0..START_CRASHES).map(|_| failing(lots)).collect();
                self.start_under(stage, injections);
            }
            Kind::Reset => self.next_reset = Some(Instant::now()),
            Kind::Isolate | Kind::PartialCut | Kind::OneWayCut | Kind::Loss => {
                let cuts = self.cuts(stage.members.len() as u8, lots);
                self.said += &format!(": {cuts:?}");
                stage.cuts.extend(cuts.into_iter().map(|cut| (self.number, cut)));
                stage.apply_cuts()?;
            }
            Kind::PowerCutOneExt4 | Kind::PowerCutAllExt4 | Kind::PowerCutOneXfs | Kind::PowerCutAllXfs => {
                self.members(stage, |member| member.excuse(lasts + EXCUSE));
                for &victim in &self.victims {
                    stage.disks[usize::from(victim)].cut_power()?;
                }
                self.members(stage, |member| {
                    member.kill();
                    member.rest(lasts + EXCUSE);
                });
            }
        }
        Ok(())
    }

    fn members(&self, stage: &mut Stage, mut act: impl FnMut(&mut super::member::Member)) {
        self.victims.iter().for_each(|&victim| act(&mut stage.members[usize::from(victim)]));
    }

    fn signal(&self, stage: &Stage, signal: Signal) {
        self.victims.iter().for_each(|&victim| stage.members[usize::from(victim)].signal(signal));
    }

    fn attach(&mut self, stage: &Stage, injection: Injection, round: usize) -> anyhow::Result<()> {
        self.said += &format!(": {injection:?}");
        let name = self.number * 100 + round;
        self.tracer = stage.members[usize::from(self.victims[0])].attach(&injection, name)?;
        Ok(())
    }

    fn start_under(&mut self, stage: &mut Stage, injections: Vec<Injection>) {
        self.said += &format!(": {injections:?}");
        self.signal(stage, Signal::KILL);
        self.members(stage, |member| member.start_under(injections.clone()));
    }

    fn cuts(&self, members: u8, lots: &mut Lots) -> Vec<Cut> {
        let victim = self.victims[0];
        let others: Vec<u8> = (0..members).filter(|other| *other != victim).collect();
        let from_all = others.iter().map(|&from| Cut::OneWay { from, to: victim });
        let to_all = others.iter().map(|&to| Cut::OneWay { from: victim, to });
        let other = lots.pick(&others);
        let (there, back) =
            (Cut::OneWay { from: victim, to: other }, Cut::OneWay { from: other, to: victim });
        match (self.fault.kind, lots.below(4)) {
            (Kind::Isolate, _) => from_all.chain(to_all).collect(),
            (Kind::PartialCut, _) => vec![there, back],
            (Kind::OneWayCut, 0) => from_all.collect(),
            (Kind::OneWayCut, 1) => to_all.collect(),
            (Kind::OneWayCut, 2) => vec![there],
            (Kind::OneWayCut, _) => vec![back],
            (_, _) => vec![Cut::Loss { to: victim, percent: lots.pick(&[2, 10, 30]) }],
        }
    }
}

/// A crash at a drawn call in `[low, high]`.
fn crash(lots: &mut Lots, low: u64, high: u64) -> Injection {
    let nth = Some(low + lots.below(high - low + 1));
    Injection { calls: WRITE_SIDE, what: "signal=SIGKILL".to_owned(), nth }
}

/// Whom it is done to. More often than not the leader is among them.
fn victims(kind: Kind, stage: &Stage, lots: &mut Lots) -> Vec<u8> {
    let members = stage.members.len() as u8;
    let any = lots.below(u64::from(members)) as u8;
    let leader = stage.leader().unwrap_or(any);
    let follower = (leader + 1 + lots.below(u64::from(members) - 1) as u8) % members;
    let majority = members / 2 + 1;
    match kind {
        Kind::KillAll | Kind::PowerCutAllExt4 | Kind::PowerCutAllXfs | Kind::DamageAll => {
            (0..members).collect()
        }
        // The leader is to remember what this one had.
        Kind::OldDisk => vec![follower],
        Kind::KillMajority => (0..majority).map(|place| (leader + place) % members).collect(),
        Kind::PauseLeader | Kind::Terminate => vec![leader],
        Kind::PauseFollower => vec![follower],
        _ => vec![if lots.chance(60) { leader } else { follower }],
    }
}
