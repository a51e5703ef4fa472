//! Writes that are in this member's log as a leader, and wait for their concern.
//!
//! While the member leads, they stand in a row by index, so that a whole range is answered when the log's progress
//! moves. When it stops leading they become orphans: each waits until its index is committed, and then it is certain
//! whether the committed entry is the one that was written here. What this refuses to do: guess. A write is done,
//! certainly undone, or unknown.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use holdfast_engine::{Index, MEMBERS_MAX, Moment, OrdinalSet, Position, Progress, Term, WriteConcern};
use holdfast_store::Outcome;

use super::asking::Write;
use super::handle::Written;
use super::messages::{appends_nothing, is_append};
use crate::metrics::Metrics;

/// Kinds of concern, each with its own way through the row: majority, all, and one per number of members.
const CONCERNS: usize = 2 + MEMBERS_MAX;

/// What became of a write.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It is in the log to stay, as far as its concern says.
    Written(Written),
    /// Another entry was committed at its index: it never happened, and never will.
    Superseded,
    /// Nobody here can tell.
    Unknown(&'static str),
}

/// Writes that have a verdict.
pub(super) type Done = Vec<(Write, Verdict)>;

/// All writes that wait for the log.
#[derive(Debug, Default)]
pub(super) struct Writes {
    /// The term that `row` was written in.
    term: Term,
    /// The index of the first in `row`; without meaning while it is empty.
    first: Index,
    /// What this leader has appended, by index, without gaps: from the first that waits or is not committed.
    row: VecDeque<Slot>,
    /// How many in `row` wait for each concern, and from where on to look for them.
    waiting: [Waiting; CONCERNS],
    /// Up to here the commits were counted.
    counted: Index,
    /// What is known of the members' logs in `term`.
    progress: Option<Progress>,
    /// Writes of terms in which this member led but does not any more.
    orphans: BTreeMap<Index, Vec<Orphan>>,
    /// Entries of former terms that were answered and are not committed: with a concern of 1.
    promised: BTreeSet<Index>,
    /// No deadline of what waits is earlier.
    earliest: Option<Moment>,
}

/// The default is an entry that nobody has proposed.
#[derive(Debug, Default)]
struct Slot {
    write: Option<Write>,
    outcome: Option<Outcome>,
    appended: Option<Moment>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Waiting {
    count: usize,
    next: Index,
}

#[derive(Debug)]
struct Orphan {
    term: Term,
    write: Write,
    /// The term and outcome of the entry that is executed at this index now.
    executed: Option<(Term, Option<Outcome>)>,
}

impl Writes {
    /// The term that this member leads in, as far as its writes know.
    pub(super) fn term(&self) -> Term {
        self.term
    }

    /// The leader has appended `write` at `position`.
    pub(super) fn add(&mut self, position: Position, write: Write, now: Moment) {
        if position.term != self.term {
            self.orphan();
            self.term = position.term;
            self.progress = None;
        }
        if self.row.is_empty() {
            self.first = position.index;
            self.counted = position.index.previous();
            self.waiting = [Waiting { count: 0, next: position.index }; CONCERNS];
        }
        let next = Index(self.first.0 + self.row.len() as u64);
        assert!(position.index >= next, "a leader's proposals follow each other");
        // What is between them is the engine's own: changes of the membership.
        self.row.extend((next.0..position.index.0).map(|_| Slot::default()));
        self.waiting[kind(write.concern)].count += 1;
        self.wait_until(write.deadline);
        self.row.push_back(Slot { write: Some(write), outcome: None, appended: Some(now) });
    }

    /// The entry at `position` was executed.
    pub(super) fn executed(&mut self, position: Position, outcome: Option<Outcome>) {
        if let Some(orphans) = self.orphans.get_mut(&position.index) {
            for orphan in orphans {
                orphan.executed = Some((position.term, outcome.clone()));
            }
        }
        if position.term == self.term
            && let Some(slot) = self.slot(position.index)
        {
            slot.outcome = outcome;
            if slot.outcome.as_ref().is_some_and(appends_nothing) {
                self.wait_for_commit_only(position.index);
            }
        }
    }

    /// The write at `index` has appended nothing: its answer is about another message, and waits for no more members
    /// than it takes to be sure of that.
    fn wait_for_commit_only(&mut self, index: Index) {
        let Some(write) = self.slot(index).and_then(|slot| slot.write.as_mut()) else { return };
        let (before, after) = (kind(write.concern), kind(WriteConcern::Majority));
        if before == after || matches!(write.concern, WriteConcern::Members(1)) {
            return;
        }
        write.concern = WriteConcern::Majority;
        self.waiting[before].count -= 1;
        self.waiting[after].count += 1;
        self.waiting[after].next = self.waiting[after].next.min(index);
    }

    /// What was executed after `index` was undone. Returns how many of these writes were acknowledged.
    pub(super) fn rolled_back(&mut self, index: Index) -> usize {
        for orphan in self.orphans.range_mut(index.next()..).flat_map(|(_, orphans)| orphans) {
            orphan.executed = None;
        }
        self.promised.split_off(&index.next()).len()
    }

    /// The leader's log has come further on the members: answer all whose concern is reached by now.
    pub(super) fn progressed(&mut self, progress: Progress, now: Moment, metrics: &Metrics, done: &mut Done) {
        if progress.term != self.term {
            return;
        }
        self.progress = Some(progress);
        let end = Index(self.first.0 + self.row.len() as u64);
        for concern in concerns() {
            let kind = kind(concern);
            let satisfied = progress.satisfied(concern);
            while self.waiting[kind].count > 0 && self.waiting[kind].next <= satisfied {
                let index = self.waiting[kind].next;
                if index >= end {
                    break;
                }
                self.waiting[kind].next = index.next();
                self.answer_if(index, concern, &progress, done);
            }
        }
        let committed = progress.commit.min(end.previous());
        if self.counted < committed {
            let took = metrics.commit_seconds.many();
            let mut proposed = 0;
            while self.counted < committed {
                self.counted = self.counted.next();
                if let Some(appended) = self.slot(self.counted).and_then(|slot| slot.appended) {
                    took.observe(now - appended);
                    proposed += 1;
                }
            }
            metrics.proposals_committed.add(proposed);
        }
        while self.first <= self.counted && self.row.front().is_some_and(|slot| slot.write.is_none()) {
            self.row.pop_front();
            self.first = self.first.next();
        }
    }

    /// Leadership is over: whether what waits happened will be seen when its indexes are committed.
    pub(super) fn orphan(&mut self) {
        let (term, first) = (self.term, self.first.0);
        for (slot, index) in self.row.drain(..).zip(first..) {
            let index = Index(index);
            if let Some(write) = slot.write {
                let executed = Some((term, slot.outcome));
                self.orphans.entry(index).or_default().push(Orphan { term, write, executed });
            } else if index > self.counted {
                self.promised.insert(index);
            }
        }
        self.waiting = Default::default();
    }

    /// Everything up to `index` is committed as it was executed: orphans up to there know what became of them.
    /// `majority` is on how many members that makes a write durable at least.
    pub(super) fn committed(&mut self, index: Index, majority: u8, done: &mut Done) {
        self.promised = self.promised.split_off(&index.next());
        while let Some(first) = self.orphans.first_entry().filter(|first| *first.key() <= index) {
            let index = *first.key();
            for Orphan { term, write, executed } in first.remove() {
                let verdict = match executed {
                    Some((executed, Some(outcome))) if executed == term => Verdict::Written(Written {
                        position: Position::new(term, index),
                        outcome,
                        concern: write.concern,
                        reached: majority,
                        holders: OrdinalSet::default(),
                        committed: true,
                        satisfied: match write.concern {
                            WriteConcern::Majority => true,
                            WriteConcern::Members(members) => members <= majority,
                            WriteConcern::All => false,
                        },
                    }),
                    Some((executed, _)) if executed != term => Verdict::Superseded,
                    _ => Verdict::Unknown(
                        "the member lost the leadership and cannot tell what became of the write",
                    ),
                };
                done.push((write, verdict));
            }
        }
    }

    /// The whole state was replaced by a checkpoint that covers `index`: what was committed up to there is not known
    /// entry by entry.
    pub(super) fn restored(&mut self, index: Index, done: &mut Done) {
        self.orphan();
        self.promised.clear();
        let later = self.orphans.split_off(&index.next());
        let covered = std::mem::replace(&mut self.orphans, later);
        let detail =
            "the member lost the leadership and fell behind, so that it cannot tell what became of the write";
        done.extend(covered.into_values().flatten().map(|orphan| (orphan.write, Verdict::Unknown(detail))));
    }

    /// Answer all whose time is up: as committed but short of their concern, if they are, else as unknown.
    pub(super) fn expire(&mut self, now: Moment, done: &mut Done) {
        if self.earliest.is_none_or(|earliest| now < earliest) {
            return;
        }
        let mut earliest = None;
        let mut wait_until = |deadline: Moment| match earliest {
            Some(before) if before <= deadline => {}
            _ => earliest = Some(deadline),
        };
        for (slot, index) in self.row.iter_mut().zip(self.first.0..) {
            let index = Index(index);
            if let Some(write) = slot.write.take_if(|write| write.deadline <= now) {
                self.waiting[kind(write.concern)].count -= 1;
                let verdict = match (self.progress, slot.outcome.take()) {
                    (Some(progress), Some(outcome)) if tells(&progress, index, &outcome) => {
                        Verdict::Written(Written {
                            position: Position::new(self.term, index),
                            outcome,
                            concern: write.concern,
                            reached: progress.reached(index),
                            holders: progress.holders(index),
                            satisfied: false,
                            committed: index <= progress.commit,
                        })
                    }
                    _ => Verdict::Unknown("the write is in the leader's log, but was not committed in time"),
                };
                done.push((write, verdict));
            } else if let Some(write) = &slot.write {
                wait_until(write.deadline);
            }
        }
        self.orphans.retain(|_, orphans| {
            let expired = |orphan: &mut Orphan| orphan.write.deadline <= now;
            let detail = "the member lost the leadership, and in time nobody told what became of the write";
            done.extend(
                orphans.extract_if(.., expired).map(|orphan| (orphan.write, Verdict::Unknown(detail))),
            );
            orphans.iter().for_each(|orphan| wait_until(orphan.write.deadline));
            !orphans.is_empty()
        });
        self.earliest = earliest;
    }

    /// When [`Writes::expire`] has something to do at the earliest.
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.earliest
    }

    /// How many wait for an answer.
    pub(super) fn count(&self) -> usize {
        self.waiting.iter().map(|waiting| waiting.count).sum::<usize>()
            + self.orphans.values().map(Vec::len).sum::<usize>()
    }

    /// Give everything up; for a member that ends.
    pub(super) fn abandon(&mut self, done: &mut Done) {
        self.orphan();
        let detail = "the member stopped before it could tell what became of the write";
        let orphans = std::mem::take(&mut self.orphans).into_values().flatten();
        done.extend(orphans.map(|orphan| (orphan.write, Verdict::Unknown(detail))));
    }

    fn answer_if(&mut self, index: Index, concern: WriteConcern, progress: &Progress, done: &mut Done) {
        let term = self.term;
        let Some(slot) = self.slot(index) else { return };
        let Some(write) = slot.write.take_if(|write| kind(write.concern) == kind(concern)) else { return };
        let verdict = match slot.outcome.take() {
            Some(outcome) => Verdict::Written(Written {
                position: Position::new(term, index),
                outcome,
                concern: write.concern,
                reached: progress.reached(index),
                holders: progress.holders(index),
                satisfied: true,
                committed: index <= progress.commit,
            }),
            None => Verdict::Unknown("the write is done, but its outcome is lost"),
        };
        self.waiting[kind(concern)].count -= 1;
        done.push((write, verdict));
    }

    fn slot(&mut self, index: Index) -> Option<&mut Slot> {
        let offset = index.0.checked_sub(self.first.0)?;
        self.row.get_mut(usize::try_from(offset).ok()?)
    }

    fn wait_until(&mut self, deadline: Moment) {
        self.earliest = Some(self.earliest.map_or(deadline, |earliest| earliest.min(deadline)));
    }
}

/// Whether there is something to tell of a write whose time is up before its concern is reached: that it is committed,
/// or of a message that it is stored somewhere. Who appends wants to know that; of other writes "not committed" says no
/// more than "unknown".
fn tells(progress: &Progress, index: Index, outcome: &Outcome) -> bool {
    index <= progress.commit || is_append(outcome) && progress.reached(index) > 0
}

/// Which way through the row a concern takes.
fn kind(concern: WriteConcern) -> usize {
    match concern {
        WriteConcern::Majority => 0,
        WriteConcern::All => 1,
        WriteConcern::Members(members) => 1 + usize::from(members).clamp(1, MEMBERS_MAX),
    }
}

fn concerns() -> impl Iterator<Item = WriteConcern> {
    let members = (1..=MEMBERS_MAX as u8).map(WriteConcern::Members);
    [WriteConcern::Majority, WriteConcern::All].into_iter().chain(members)
}

#[cfg(test)]
mod tests;
