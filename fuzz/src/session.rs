//! Giving one target input after input: [`Session`].
//!
//! What it refuses to do: catch a panic. Whoever runs a session finds the input where [`Session::run`] put it.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use crate::{Mutator, Target, regressions, shape};

/// Most inputs that are kept because the target behaved as on none before.
const KEPT_MAX: usize = 4000;

/// Longest input that is kept: long ones are slow, and what they show a shorter one shows as well.
const KEPT_BYTES_MAX: usize = 8 * 1024;

/// Longest run of a target with one input, on a machine that is busy with other things.
const RUN_MAX: Duration = Duration::from_secs(10);

/// Time between two reports.
const REPORT_INTERVAL: Duration = Duration::from_secs(15);

/// When a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bounds {
    /// After so many mutated inputs.
    Inputs(u64),
    /// After so long.
    Time(Duration),
}

/// Looks at how much memory the process uses.
pub trait Meter {
    /// From now on.
    fn begin(&self);
    /// Most bytes that were in use at a time since then, beside what was in use then.
    fn most(&self) -> usize;
}

/// One target under mutated inputs. The same seed and the same target give the same inputs.
pub struct Session<'a> {
    target: &'a Target,
    mutator: Mutator,
    kept: Vec<Vec<u8>>,
    shapes: HashSet<u64>,
    meter: &'a dyn Meter,
}

impl<'a> Session<'a> {
    /// With the target's samples and all inputs that it once failed on.
    pub fn new(target: &'a Target, seed: u64, meter: &'a dyn Meter) -> Session<'a> {
        let mut kept = (target.samples)();
        kept.extend(regressions::of(target.name));
        Session { target, mutator: Mutator::new(seed, target.words), kept, shapes: HashSet::new(), meter }
    }

    /// Run the target with every input that there is, then with mutated ones. Each is given to `before` first, and
    /// from time to time it is told to `report` how many were tried and how many kept.
    ///
    /// # Panics
    ///
    /// If a property does not hold.
    pub fn run(&mut self, bounds: Bounds, mut before: impl FnMut(&[u8]), report: impl Fn(u64, usize)) {
        for input in self.kept.clone() {
            before(&input);
            self.run_one(&input);
            let Some(mend) = self.target.mend else { continue };
            let mut mended = input.clone();
            mend(&mut mended);
            before(&mended);
            self.run_one(&mended);
        }
        let (begin, mut reported, mut tried) = (Instant::now(), Instant::now(), 0);
        loop {
            match bounds {
                Bounds::Inputs(inputs) if tried >= inputs => break,
                Bounds::Time(time) if begin.elapsed() >= time => break,
                _ => {}
            }
            let mut input = self.mutator.mutated(&self.kept);
            if let Some(mend) = self.target.mend
                && self.mutator.below(4) > 0
            {
                mend(&mut input);
            }
            before(&input);
            let new = self.run_one(&input);
            if new && self.kept.len() < KEPT_MAX && input.len() <= KEPT_BYTES_MAX {
                self.kept.push(input);
            }
            tried += 1;
            if reported.elapsed() >= REPORT_INTERVAL {
                reported = Instant::now();
                report(tried, self.kept.len());
            }
        }
        report(tried, self.kept.len());
    }

    /// Run the target once, within its limits. Whether it behaved as never before.
    ///
    /// # Panics
    ///
    /// If a property does not hold.
    pub fn run_one(&mut self, input: &[u8]) -> bool {
        shape::take();
        let limit = self.target.memory.limit(input.len());
        let begin = Instant::now();
        self.meter.begin();
        (self.target.run)(input);
        let most = self.meter.most();
        assert!(
            most <= limit,
            "{most} bytes of memory for an input of {} bytes, {limit} is the limit",
            input.len()
        );
        let took = begin.elapsed();
        assert!(took <= RUN_MAX, "{took:?} for an input of {} bytes", input.len());
        self.shapes.insert(shape::take())
    }
}
