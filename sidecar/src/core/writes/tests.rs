//! Verdicts on writes, through every way in which a leader's log can go on.

use bytes::Bytes;
use holdfast_engine::Ordinal;
use holdfast_store::{MessageHash, Reason, Revision, Sequence};
use tokio::sync::oneshot;

use super::*;
use crate::core::asking::{Asker, Client};

const SECOND: Moment = Moment(1_000_000_000);

fn write(concern: WriteConcern) -> Write {
    let (reply, _) = oneshot::channel();
    Write {
        command: Bytes::new(),
        concern,
        deadline: SECOND,
        retryable: false,
        uncertain: false,
        asker: Asker::Client(Client::Task(reply)),
    }
}

fn at(term: u64, index: u64) -> Position {
    Position::new(Term(term), Index(index))
}

fn outcome(revision: u64) -> Option<Outcome> {
    Some(Outcome::Put { revision: Revision(revision), previous: None })
}

/// Three voters; `durable` is on how many of them what is durable, by number of members.
fn progress(term: u64, commit: u64, durable: [u64; 3]) -> Progress {
    let mut durable_on = [Index(0); MEMBERS_MAX];
    durable_on[..3].copy_from_slice(&durable.map(Index));
    // The first member has most, as a leader does.
    let (term, commit, durable_by) = (Term(term), Index(commit), durable_on);
    Progress { term, commit, durable_on, durable_by, voters: 3, commit_from: 2 }
}

/// Writes at `first..` in `term`, one per concern, executed.
fn led(term: u64, first: u64, all: &[WriteConcern]) -> Writes {
    let mut writes = Writes::default();
    for (&concern, index) in all.iter().zip(first..) {
        writes.add(at(term, index), write(concern), Moment(0));
        writes.executed(at(term, index), outcome(index));
    }
    writes
}

fn progressed(writes: &mut Writes, progress: Progress) -> Vec<(u64, u8, bool)> {
    let mut done = Vec::new();
    writes.progressed(progress, Moment(1), &Metrics::example(), &mut done);
    written(done)
}

/// Index, reached and satisfied of what is written; nothing else may be there.
fn written(done: Done) -> Vec<(u64, u8, bool)> {
    let verdicts = done.into_iter().map(|(_, verdict)| match verdict {
        Verdict::Written(written) => {
            assert_eq!(Some(written.outcome), outcome(written.position.index.0), "each gets its own outcome");
            (written.position.index.0, written.reached, written.satisfied)
        }
        other => panic!("{other:?}"),
    });
    verdicts.collect()
}

const ONE: WriteConcern = WriteConcern::Members(1);
const TWO: WriteConcern = WriteConcern::Members(2);
const MAJORITY: WriteConcern = WriteConcern::Majority;
const ALL: WriteConcern = WriteConcern::All;

#[test]
fn each_concern_is_answered_when_it_is_reached_and_once() {
    let mut writes = led(2, 10, &[ONE, MAJORITY, ALL, TWO, ONE]);
    assert_eq!(progressed(&mut writes, progress(2, 9, [13, 9, 9])), [(10, 1, true)]);
    assert_eq!(progressed(&mut writes, progress(2, 11, [14, 11, 9])), [(11, 2, true), (14, 1, true)]);
    assert_eq!(progressed(&mut writes, progress(2, 14, [14, 14, 11])), [(13, 2, true)]);
    assert_eq!(progressed(&mut writes, progress(2, 14, [14, 14, 14])), [(12, 3, true)]);
    assert_eq!(progressed(&mut writes, progress(2, 14, [14, 14, 14])), []);
    assert_eq!(writes.count(), 0);
    assert!(writes.row.is_empty(), "nothing is kept of what is answered and committed");
}

#[test]
fn a_change_of_the_membership_between_two_writes_holds_nobody_up() {
    let mut writes = led(2, 10, &[MAJORITY]);
    writes.add(at(2, 12), write(MAJORITY), Moment(0));
    writes.executed(at(2, 12), outcome(12));
    let metrics = Metrics::example();
    let mut done = Vec::new();
    writes.progressed(progress(2, 12, [12, 12, 9]), Moment(1), &metrics, &mut done);
    assert_eq!(written(done), [(10, 2, true), (12, 2, true)]);
    assert_eq!(metrics.proposals_committed.value(), 2);
    assert!(writes.row.is_empty(), "nothing is kept of what is answered and committed");
}

#[test]
fn progress_of_another_term_answers_nobody() {
    let mut writes = led(2, 10, &[MAJORITY]);
    assert_eq!(progressed(&mut writes, progress(1, 10, [10, 10, 10])), []);
    assert_eq!(progressed(&mut writes, progress(3, 10, [10, 10, 10])), []);
    assert_eq!(writes.count(), 1);
}

#[test]
fn progress_beyond_the_last_proposal_is_no_harm() {
    let mut writes = led(2, 10, &[MAJORITY]);
    assert_eq!(progressed(&mut writes, progress(2, 99, [99, 99, 99])), [(10, 3, true)]);
    writes.add(at(2, 11), write(MAJORITY), Moment(0));
    writes.executed(at(2, 11), outcome(11));
    assert_eq!(progressed(&mut writes, progress(2, 11, [11, 11, 5])), [(11, 2, true)]);
}

#[test]
fn time_tells_committed_from_unknown() {
    let mut writes = led(2, 10, &[ALL, MAJORITY]);
    assert_eq!(progressed(&mut writes, progress(2, 10, [11, 10, 3])), []);
    let mut done = Vec::new();
    writes.expire(Moment(SECOND.0 - 1), &mut done);
    assert!(done.is_empty(), "not before its time");
    writes.expire(SECOND, &mut done);
    assert_eq!(written(vec![done.remove(0)]), [(10, 2, false)], "committed, but not on all");
    assert!(matches!(done[..], [(_, Verdict::Unknown(_))]), "{done:?}");
    assert_eq!(writes.deadline(), None);
}

#[test]
fn an_orphan_whose_entry_is_committed_is_done() {
    let mut writes = led(2, 10, &[MAJORITY, ALL]);
    writes.orphan();
    let mut done = Vec::new();
    writes.committed(Index(9), 2, &mut done);
    assert!(done.is_empty());
    writes.committed(Index(11), 2, &mut done);
    assert_eq!(written(done), [(10, 2, true), (11, 2, false)]);
}

#[test]
fn an_orphan_whose_place_is_taken_never_happened() {
    let mut writes = led(2, 10, &[MAJORITY, MAJORITY]);
    writes.orphan();
    writes.rolled_back(Index(10));
    writes.executed(at(3, 11), None);
    let mut done = Vec::new();
    writes.committed(Index(11), 2, &mut done);
    assert!(matches!(done[..], [(_, Verdict::Written(_)), (_, Verdict::Superseded)]), "{done:?}");
}

#[test]
fn an_orphan_rolled_back_and_executed_again_is_done() {
    let mut writes = led(2, 10, &[MAJORITY]);
    writes.orphan();
    writes.rolled_back(Index(9));
    writes.executed(at(2, 10), outcome(10));
    let mut done = Vec::new();
    writes.committed(Index(10), 2, &mut done);
    assert_eq!(written(done), [(10, 2, true)]);
}

#[test]
fn leading_again_keeps_the_former_terms_apart() {
    let mut writes = led(2, 10, &[MAJORITY, MAJORITY]);
    writes.rolled_back(Index(10));
    writes.add(at(4, 12), write(MAJORITY), Moment(0));
    writes.executed(at(4, 11), None);
    writes.executed(at(4, 12), outcome(12));
    assert_eq!(progressed(&mut writes, progress(4, 12, [12, 12, 12])), [(12, 3, true)]);
    let mut done = Vec::new();
    writes.committed(Index(12), 2, &mut done);
    assert!(matches!(done[..], [(_, Verdict::Written(_)), (_, Verdict::Superseded)]), "{done:?}");
}

#[test]
fn a_checkpoint_over_an_orphan_leaves_it_unknown() {
    let mut writes = led(2, 10, &[MAJORITY, MAJORITY]);
    writes.orphan();
    let mut done = Vec::new();
    writes.restored(Index(10), &mut done);
    assert!(matches!(done[..], [(_, Verdict::Unknown(_))]), "{done:?}");
    assert_eq!(writes.count(), 1, "the one after the checkpoint waits on");
    writes.expire(SECOND, &mut done);
    assert!(matches!(done[..], [_, (_, Verdict::Unknown(_))]), "{done:?}");
    assert_eq!(writes.count(), 0);
}

#[test]
fn the_end_of_the_member_answers_everybody() {
    let mut writes = led(2, 10, &[MAJORITY, ALL]);
    writes.orphan();
    writes.add(at(3, 20), write(MAJORITY), Moment(0));
    let mut done = Vec::new();
    writes.abandon(&mut done);
    assert_eq!(done.len(), 3);
    assert_eq!(writes.count(), 0);
}

/// What was acknowledged with a concern of 1 and dropped by a failover is counted; what is committed is not.
#[test]
fn acknowledged_writes_that_are_undone_are_counted() {
    let mut writes = led(2, 10, &[ONE, ONE, MAJORITY, ONE]);
    assert_eq!(progressed(&mut writes, progress(2, 10, [13, 10, 9])).len(), 3);
    writes.orphan();
    let mut done = Vec::new();
    writes.committed(Index(11), 2, &mut done);
    assert_eq!(writes.rolled_back(Index(11)), 1, "13, but neither 10 nor 11, which are committed, nor 12");
    assert_eq!(writes.rolled_back(Index(11)), 0, "each once");
}

fn message(sequence: u64) -> Option<Outcome> {
    Some(Outcome::Appended { sequence: Sequence(sequence), time_ms: 1, hash: MessageHash([0; 32]) })
}

/// Messages at `first..` in term 2, with these concerns and outcomes.
fn appended(first: u64, all: &[(WriteConcern, Option<Outcome>)]) -> Writes {
    let mut writes = Writes::default();
    for ((concern, outcome), index) in all.iter().zip(first..) {
        writes.add(at(2, index), write(*concern), Moment(0));
        writes.executed(at(2, index), outcome.clone());
    }
    writes
}

/// Index, who has it, satisfied and committed of what is stored.
fn stored(done: &Done) -> Vec<(u64, Vec<u8>, bool, bool)> {
    let verdicts = done.iter().filter_map(|(_, verdict)| match verdict {
        Verdict::Written(written) => {
            let holders = written.holders.iter().map(|Ordinal(ordinal)| ordinal).collect();
            Some((written.position.index.0, holders, written.satisfied, written.committed))
        }
        _ => None,
    });
    verdicts.collect()
}

#[test]
fn a_message_that_is_stored_and_short_of_its_concern_is_told_so() {
    let mut writes = appended(10, &[(ALL, message(1)), (MAJORITY, message(2)), (MAJORITY, message(3))]);
    let mut done = Vec::new();
    writes.progressed(progress(2, 10, [11, 10, 3]), Moment(1), &Metrics::example(), &mut done);
    assert!(done.is_empty());
    writes.expire(SECOND, &mut done);
    assert_eq!(stored(&done), [(10, vec![0, 1], false, true), (11, vec![0], false, false)]);
    assert!(matches!(done[2..], [(_, Verdict::Unknown(_))]), "nobody has the last one durable: {done:?}");
}

#[test]
fn who_has_a_message_is_told() {
    let mut writes = appended(10, &[(TWO, message(1)), (ONE, message(2))]);
    let mut done = Vec::new();
    writes.progressed(progress(2, 10, [11, 10, 3]), Moment(1), &Metrics::example(), &mut done);
    assert_eq!(stored(&done), [(11, vec![0], true, false), (10, vec![0, 1], true, true)]);
}

#[test]
fn what_appends_nothing_waits_for_the_commit_and_not_for_all() {
    let duplicate = Outcome::Duplicate { sequence: Sequence(1), time_ms: 1, hash: MessageHash([0; 32]) };
    let reused = Outcome::Refused(Reason::KeyReused { sequence: Sequence(1) });
    let mut writes = appended(10, &[(ALL, Some(duplicate)), (ALL, message(2)), (ALL, Some(reused))]);
    let mut done = Vec::new();
    writes.progressed(progress(2, 12, [12, 12, 9]), Moment(1), &Metrics::example(), &mut done);
    assert_eq!(stored(&done), [(10, vec![0, 1], true, true), (12, vec![0, 1], true, true)]);
    assert_eq!(writes.count(), 1, "the message waits on");
    done.clear();
    writes.progressed(progress(2, 12, [12, 12, 12]), Moment(1), &Metrics::example(), &mut done);
    assert_eq!(stored(&done), [(11, vec![0, 1, 2], true, true)]);
    assert_eq!(writes.count(), 0);
}
