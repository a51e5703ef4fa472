//! Whether what clients were told about one key could have come from a register that does one thing at a time: a search
//! as by Wing and Gong, which remembers where it has been as by Lowe.
//!
//! Revisions make the search nearly free of choices: acknowledged writes, and others whose effect somebody saw, took
//! effect in the order of their revisions. What is left to choose is whether and when a write of unknown outcome that
//! nobody read took effect, and whether it was the one that made a revision that somebody was told. It refuses to call a
//! history good that it could not finish with.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::time::Duration;

/// Most situations that the search remembers before it gives up: some hundred bytes each, together less than 100 MB. A
/// history that is linearizable needs about as many as it has operations.
const SITUATIONS_MAX: usize = 300_000;

/// Most operations that a counterexample shows: what led to the contradiction is at its end.
const SHOWN_MAX: usize = 16;

/// What a client asked for. Values are numbers, and no two writes have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Write a value, if the key is as expected.
    Put(u64, Expect),
    /// Remove the key, if it is as expected.
    Delete(Expect),
    /// Read the key.
    Get,
}

/// When a write is to take effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Always.
    Any,
    /// If the key does not exist.
    Absent,
    /// If the key was last written by this revision.
    Revision(u64),
}

/// What a client was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Return {
    /// The write made this revision.
    Done(u64),
    /// The read found this value, written by this revision.
    Found(u64, u64),
    /// The key does not exist: a read found nothing, a delete removed nothing.
    Absent,
    /// The key was not as expected; this revision wrote it, 0 if it does not exist.
    Mismatch(u64),
    /// Nobody can say what became of it; it may take effect at any later time.
    Unknown,
}

/// One request about the key. Requests that were refused, and reads without an answer, say nothing and are not here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Who asked.
    pub client: usize,
    /// When it was sent, since the begin of the run.
    pub begin: Duration,
    /// When the answer was there. Means nothing if it is [`Return::Unknown`].
    pub end: Duration,
    /// What was asked for.
    pub call: Call,
    /// What was answered.
    pub result: Return,
}

/// What a history is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A register could have answered so.
    Linearizable,
    /// No register could. The text shows a smallest part of the history that already contradicts itself.
    Violation(String),
    /// The search was given up. Nothing is known, which is a failure.
    TooHard,
}

/// The register between two operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Register {
    /// The value, if the key exists, and the revision that wrote it, if anybody knows it.
    item: Option<(u64, Option<u64>)>,
    /// The highest revision that took effect here.
    latest: u64,
}

const EMPTY: Register = Register { item: None, latest: 0 };

/// Judge the history of one key that did not exist before.
pub fn check(history: &[Operation]) -> Verdict {
    if let Err(contradiction) = revisions(history) {
        return Verdict::Violation(contradiction);
    }
    match Search::new(history).run() {
        Some(true) => Verdict::Linearizable,
        None => Verdict::TooHard,
        Some(false) => Verdict::Violation(Counterexample(smallest(history)).to_string()),
    }
}

/// The revision that wrote each value, as far as anybody was told.
fn revisions(history: &[Operation]) -> Result<BTreeMap<u64, u64>, String> {
    let mut known = BTreeMap::new();
    for operation in history {
        let (value, revision) = match (operation.call, operation.result) {
            (Call::Put(value, _), Return::Done(revision)) | (_, Return::Found(value, revision)) => {
                (value, revision)
            }
            _ => continue,
        };
        let before = *known.entry(value).or_insert(revision);
        if before != revision {
            return Err(format!("value {value} was written twice, by revisions {before} and {revision}"));
        }
    }
    for (value, revision) in &known {
        let writer = |one: &&Operation| matches!(one.call, Call::Put(written, _) if written == *value);
        if !history.iter().any(|one| writer(&one)) {
            return Err(format!(
                "value {value} of revision {revision} was read, and no write that may have happened wrote it"
            ));
        }
    }
    Ok(known)
}

/// One way through a history, and where it has been.
struct Search<'a> {
    /// By begin.
    operations: Vec<&'a Operation>,
    /// Operations with an answer, by end.
    ends: Vec<usize>,
    /// By operation: the revision that it made, if anybody knows.
    made: Vec<Option<u64>>,
    /// By operation: whether it certainly happened, so that it must be explained.
    certain: Vec<bool>,
    /// Operations that made a known revision, by that.
    writes: Vec<usize>,
    been: HashSet<Situation>,
}

/// Where a search is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Situation {
    done: Vec<u64>,
    register: Register,
}

impl<'a> Search<'a> {
    fn new(history: &'a [Operation]) -> Search<'a> {
        let mut operations: Vec<&Operation> = history.iter().collect();
        operations.sort_by_key(|operation| operation.begin);
        let known = revisions(history).unwrap_or_default();
        let made: Vec<Option<u64>> = operations
            .iter()
            .map(|operation| match (operation.call, operation.result) {
                (_, Return::Done(revision)) => Some(revision),
                (Call::Put(value, _), Return::Unknown) => known.get(&value).copied(),
                _ => None,
            })
            .collect();
        let certain = operations.iter().zip(&made);
        let certain = certain.map(|(one, made)| one.result != Return::Unknown || made.is_some()).collect();
        let mut writes: Vec<usize> = (0..operations.len()).filter(|&at| made[at].is_some()).collect();
        writes.sort_by_key(|&at| made[at]);
        let mut ends: Vec<usize> =
            (0..operations.len()).filter(|&at| operations[at].result != Return::Unknown).collect();
        ends.sort_by_key(|&at| operations[at].end);
        Search { operations, ends, made, certain, writes, been: HashSet::new() }
    }

    /// Whether all that is certain can be explained; nothing if that takes too long.
    fn run(mut self) -> Option<bool> {
        let words = self.operations.len().div_ceil(64);
        let mut ways = vec![Situation { done: vec![0; words], register: EMPTY }];
        while let Some(mut here) = ways.pop() {
            self.take_answers(&mut here);
            if (0..self.operations.len()).all(|at| has(&here.done, at) || !self.certain[at]) {
                return Some(true);
            }
            if !self.been.insert(here.clone()) {
                continue;
            }
            if self.been.len() > SITUATIONS_MAX {
                return None;
            }
            ways.extend(self.unseen(&here));
            ways.extend(self.bound(&here));
            // Tried first: what certainly happened.
            ways.extend(self.next_write(&here));
        }
        Some(false)
    }

    /// Take every answer that only tells the register's state and tells it right: earlier is never worse.
    fn take_answers(&self, here: &mut Situation) {
        let mut first = 0;
        for (at, operation) in self.operations.iter().enumerate() {
            while self.ends.get(first).is_some_and(|&ended| has(&here.done, ended)) {
                first += 1;
            }
            // One that was taken may open others, but only later ones.
            if self.ends.get(first).is_some_and(|&ended| self.operations[ended].end < operation.begin) {
                break;
            }
            let tells_only = self.certain[at] && self.made[at].is_none();
            if tells_only && !has(&here.done, at) && self.after(here.register, at) == Some(here.register) {
                put(&mut here.done, at);
            }
        }
    }

    /// Whether no operation that is still to be explained ended before this one began.
    fn is_open(&self, here: &Situation, at: usize) -> bool {
        let first = self.ends.iter().find(|&&ended| !has(&here.done, ended));
        first.is_none_or(|&ended| self.operations[ended].end >= self.operations[at].begin)
    }

    /// The write with the lowest revision of those that are left: it is the next one that took effect.
    fn next_write(&self, here: &Situation) -> Option<Situation> {
        let at = *self.writes.iter().find(|&&at| !has(&here.done, at))?;
        self.step(here, at)
    }

    /// Ways by a write of unknown outcome whose effect nobody saw as such. It is of use only if it makes something
    /// possible: else the register is none the worse without it.
    fn unseen(&self, here: &Situation) -> Vec<Situation> {
        let uncertain = (0..self.operations.len()).filter(|&at| !self.certain[at] && !has(&here.done, at));
        uncertain
            .filter_map(|at| self.step(here, at))
            .filter(|after| {
                after.register.item.is_some() != here.register.item.is_some() || self.enables(here, after)
            })
            .collect()
    }

    /// Ways by an answer that may tell the revision of the write of unknown outcome that is here.
    fn bound(&self, here: &Situation) -> Vec<Situation> {
        if !matches!(here.register.item, Some((_, None))) {
            return Vec::new();
        }
        let told = (0..self.operations.len())
            .filter(|&at| matches!(self.operations[at].result, Return::Mismatch(_)) && !has(&here.done, at));
        told.filter_map(|at| self.step(here, at)).collect()
    }

    fn enables(&self, before: &Situation, after: &Situation) -> bool {
        (0..self.operations.len()).any(|at| {
            !has(&before.done, at)
                && self.after(before.register, at).is_none()
                && self.after(after.register, at).is_some()
        })
    }

    /// The register, if this revision may have written it, 0 if there is nothing; and then it is known.
    fn at_revision(&self, register: Register, revision: u64) -> Option<Register> {
        match register.item {
            None => (revision == 0).then_some(register),
            Some((_, Some(made))) => (revision == made).then_some(register),
            // Nobody was told which revision the write made, so that it may be this one.
            Some((value, None)) => (revision > register.latest && !self.made.contains(&Some(revision)))
                .then_some(Register { item: Some((value, Some(revision))), latest: revision }),
        }
    }

    fn step(&self, here: &Situation, at: usize) -> Option<Situation> {
        if !self.is_open(here, at) {
            return None;
        }
        let register = self.after(here.register, at)?;
        let mut done = here.done.clone();
        put(&mut done, at);
        Some(Situation { done, register })
    }

    /// The register after an operation; nothing if the operation cannot have been answered so by this register.
    fn after(&self, register: Register, at: usize) -> Option<Register> {
        let operation = self.operations[at];
        match (operation.call, operation.result) {
            (Call::Get | Call::Delete(Expect::Any), Return::Absent) => {
                register.item.is_none().then_some(register)
            }
            (Call::Get, Return::Found(value, revision)) => {
                (register.item == Some((value, Some(revision)))).then_some(register)
            }
            (Call::Put(_, expect) | Call::Delete(expect), Return::Mismatch(revision)) => {
                let register = self.at_revision(register, revision)?;
                (!register.meets(expect)).then_some(register)
            }
            (Call::Put(_, expect) | Call::Delete(expect), Return::Done(_) | Return::Unknown) => {
                let register = match expect {
                    Expect::Revision(revision) => self.at_revision(register, revision)?,
                    Expect::Any | Expect::Absent => register,
                };
                let made = self.made[at];
                let later = made.is_none_or(|made| made > register.latest);
                let (item, possible) = match operation.call {
                    Call::Put(value, _) => (Some((value, made)), true),
                    _ => (None, register.item.is_some()),
                };
                let latest = made.unwrap_or(register.latest);
                (later && possible && register.meets(expect)).then_some(Register { item, latest })
            }
            // Answers that do not go with their question.
            (Call::Get, _) | (_, Return::Found(..) | Return::Absent) => None,
        }
    }
}

impl Register {
    fn meets(&self, expect: Expect) -> bool {
        match (expect, self.item) {
            (Expect::Any, _) | (Expect::Absent, None) => true,
            (Expect::Revision(wanted), Some((_, made))) => made == Some(wanted),
            (Expect::Absent, Some(_)) | (Expect::Revision(_), None) => false,
        }
    }
}

fn has(done: &[u64], at: usize) -> bool {
    done[at / 64] & (1 << (at % 64)) != 0
}

fn put(done: &mut [u64], at: usize) {
    done[at / 64] |= 1 << (at % 64);
}

/// The shortest begin of a history that is none any more, without the answers that do not matter. What was not answered
/// by then counts as unknown.
fn smallest(history: &[Operation]) -> Vec<Operation> {
    let mut ends: Vec<Duration> = history.iter().map(|operation| operation.end).collect();
    ends.sort_unstable();
    let until = |end: Duration| -> Vec<Operation> {
        let begun = history.iter().filter(|operation| operation.begin <= end);
        begun
            .filter_map(|operation| if operation.end <= end { Some(*operation) } else { open(operation) })
            .collect()
    };
    let wrong = |part: &[Operation]| revisions(part).is_err() || Search::new(part).run() == Some(false);
    let first = ends.partition_point(|end| !wrong(&until(*end)));
    let mut part = ends.get(first).map_or_else(|| history.to_vec(), |end| until(*end));
    for at in (0..part.len()).rev() {
        // Writes stay: without one, a history that is good may become bad.
        let write = matches!(part[at].result, Return::Done(_) | Return::Unknown);
        let mut without = part.clone();
        without.remove(at);
        if !write && wrong(&without) {
            part = without;
        }
    }
    part.sort_by_key(|operation| operation.begin);
    part
}

/// An operation as it was before its answer came; nothing if it was a read.
fn open(operation: &Operation) -> Option<Operation> {
    (operation.call != Call::Get).then_some(Operation { result: Return::Unknown, ..*operation })
}

/// A part of a history that contradicts itself, for people.
struct Counterexample(Vec<Operation>);

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let skipped = self.0.len().saturating_sub(SHOWN_MAX);
        writeln!(f, "no order of these explains all answers ({skipped} earlier ones are left out):")?;
        for operation in &self.0[skipped..] {
            writeln!(f, "  {operation}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |time: Duration| format!("{:.3}", time.as_secs_f64() * 1e3);
        let end = if self.result == Return::Unknown { "...".to_owned() } else { ms(self.end) };
        write!(f, "client {} from {} ms to {end}: ", self.client, ms(self.begin))?;
        match self.call {
            Call::Put(value, expect) => write!(f, "put {value}{expect}")?,
            Call::Delete(expect) => write!(f, "delete{expect}")?,
            Call::Get => write!(f, "get")?,
        }
        match self.result {
            Return::Done(revision) => write!(f, ": done by revision {revision}"),
            Return::Found(value, revision) => write!(f, ": {value} of revision {revision}"),
            Return::Absent => write!(f, ": nothing there"),
            Return::Mismatch(0) => write!(f, ": refused, there is no such key"),
            Return::Mismatch(revision) => write!(f, ": refused, it is of revision {revision}"),
            Return::Unknown => write!(f, ": unknown"),
        }
    }
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expect::Any => Ok(()),
            Expect::Absent => write!(f, " if absent"),
            Expect::Revision(revision) => write!(f, " if of revision {revision}"),
        }
    }
}

#[cfg(test)]
mod tests;
