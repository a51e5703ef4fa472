//! Histories whose verdict is known: by hand, and by trying every order.

use super::*;

fn at(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// An operation of client 0 in `[begin, end]` milliseconds.
fn op(begin: u64, end: u64, call: Call, result: Return) -> Operation {
    Operation { client: 0, begin: at(begin), end: at(end), call, result }
}

fn write(begin: u64, end: u64, value: u64, revision: u64) -> Operation {
    op(begin, end, Call::Put(value, Expect::Any), Return::Done(revision))
}

fn read(begin: u64, end: u64, value: u64, revision: u64) -> Operation {
    op(begin, end, Call::Get, Return::Found(value, revision))
}

fn nothing(begin: u64, end: u64) -> Operation {
    op(begin, end, Call::Get, Return::Absent)
}

fn unknown(begin: u64, call: Call) -> Operation {
    op(begin, begin + 1, call, Return::Unknown)
}

#[track_caller]
fn good(history: &[Operation]) {
    assert_eq!(check(history), Verdict::Linearizable);
    assert!(by_every_order(history));
}

/// It is no history of a register, and the text says `word`.
#[track_caller]
fn bad(history: &[Operation], word: &str) {
    let verdict = check(history);
    assert!(matches!(&verdict, Verdict::Violation(text) if text.contains(word)), "{verdict:?}");
    assert!(!by_every_order(history));
}

#[test]
fn a_register_can_do_all_of_this() {
    good(&[]);
    good(&[nothing(0, 1), write(2, 3, 7, 2), read(4, 5, 7, 2)]);
    // At the same time, in any order.
    good(&[write(0, 9, 1, 3), write(0, 9, 2, 2), read(10, 11, 1, 3)]);
    good(&[write(0, 9, 1, 2), nothing(1, 8), read(1, 8, 1, 2)]);
    // A compare-and-set that wins, and one that loses.
    let set = |expect, value, result| op(4, 5, Call::Put(value, expect), result);
    good(&[write(0, 1, 1, 2), set(Expect::Revision(2), 2, Return::Done(3)), read(6, 7, 2, 3)]);
    good(&[write(0, 1, 1, 2), set(Expect::Revision(9), 2, Return::Mismatch(2)), read(6, 7, 1, 2)]);
    good(&[write(0, 1, 1, 2), set(Expect::Absent, 2, Return::Mismatch(2))]);
    good(&[set(Expect::Revision(9), 2, Return::Mismatch(0))]);
    // Deletes.
    let delete = |begin, result| op(begin, begin + 1, Call::Delete(Expect::Any), result);
    good(&[write(0, 1, 1, 2), delete(2, Return::Done(3)), nothing(4, 5), delete(6, Return::Absent)]);
}

#[test]
fn a_write_of_unknown_outcome_may_happen_at_any_later_time_or_never() {
    let put = Call::Put(1, Expect::Any);
    good(&[unknown(0, put), nothing(2, 3), read(50, 51, 1, 2)]);
    good(&[unknown(0, put), nothing(2, 3), write(4, 5, 2, 2), nothing_but(6, 2, 2)]);
    // A delete that nobody can have seen but by its effect.
    good(&[write(0, 1, 1, 2), unknown(2, Call::Delete(Expect::Any)), read(4, 5, 1, 2), nothing(6, 7)]);
    // A write that nobody read, and that a delete found.
    let delete = op(4, 5, Call::Delete(Expect::Any), Return::Done(3));
    good(&[unknown(0, put), nothing(2, 3), delete]);
    // One after the other, none seen as such.
    let again = Call::Put(3, Expect::Absent);
    let told = op(6, 7, Call::Put(9, Expect::Absent), Return::Mismatch(5));
    good(&[write(0, 1, 1, 2), unknown(2, Call::Delete(Expect::Any)), unknown(2, again), nothing(4, 5), told]);
    bad(&[read(0, 1, 1, 2), unknown(2, put)], "get: 1");
    // Somebody was told its revision, and used that.
    let told = op(2, 3, Call::Put(8, Expect::Revision(9)), Return::Mismatch(4));
    let used = |revision| op(4, 5, Call::Put(5, Expect::Revision(revision)), Return::Done(6));
    good(&[unknown(0, put), told, used(4), read(6, 7, 5, 6)]);
    bad(&[unknown(0, put), told, used(5), read(6, 7, 5, 6)], "if of revision 5");
}

fn nothing_but(begin: u64, value: u64, revision: u64) -> Operation {
    read(begin, begin + 1, value, revision)
}

#[test]
fn a_stale_read_is_found() {
    bad(&[write(0, 1, 1, 2), write(2, 3, 2, 3), read(4, 5, 1, 2)], "get: 1 of revision 2");
    // Two reads one after the other that see two writes in the wrong order.
    bad(&[write(0, 9, 1, 2), write(0, 9, 2, 3), read(1, 2, 2, 3), read(3, 4, 1, 2)], "revision");
}

#[test]
fn a_lost_write_is_found() {
    bad(&[write(0, 1, 1, 2), nothing(2, 3)], "nothing there");
    bad(
        &[write(0, 1, 1, 2), write(2, 3, 2, 3), op(4, 5, Call::Put(3, Expect::Absent), Return::Done(4))],
        "absent",
    );
    // It was seen once, and is gone.
    bad(&[unknown(0, Call::Put(1, Expect::Any)), read(2, 3, 1, 2), nothing(4, 5)], "nothing there");
}

#[test]
fn a_write_that_happened_twice_is_found() {
    bad(&[write(0, 1, 1, 2), write(2, 3, 2, 3), read(4, 5, 1, 4)], "twice");
    // Two compare-and-sets on the same revision cannot both win.
    let set =
        |begin, value, made| op(begin, begin + 9, Call::Put(value, Expect::Revision(2)), Return::Done(made));
    bad(&[write(0, 1, 1, 2), set(2, 2, 3), set(2, 3, 4)], "if of revision 2");
}

#[test]
fn a_phantom_is_found() {
    bad(&[write(0, 1, 1, 2), read(2, 3, 5, 3)], "no write that may have happened");
    bad(&[write(0, 1, 1, 2), op(2, 3, Call::Delete(Expect::Any), Return::Absent)], "nothing there");
}

#[test]
fn revisions_follow_real_time() {
    bad(&[write(0, 1, 1, 3), write(2, 3, 2, 2)], "revision");
}

#[test]
fn a_counterexample_shows_what_contradicts_and_little_else() {
    let mut history: Vec<Operation> = (0..200).map(|n| write(10 * n, 10 * n + 1, n, n + 2)).collect();
    let reads: Vec<Operation> = (0..200).map(|n| read(10 * n + 5, 10 * n + 6, n, n + 2)).collect();
    history.extend(reads);
    history[299] = read(10 * 99 + 5, 10 * 99 + 6, 98, 100);
    let Verdict::Violation(text) = check(&history) else { panic!("a stale read") };
    assert!(
        text.ends_with(
            "put 99: done by revision 101\n  client 0 from 995.000 ms to 996.000: get: 98 of revision 100\n"
        ),
        "{text}"
    );
    assert_eq!(text.matches("get").count(), 1, "{text}");
}

#[test]
fn a_long_history_with_many_unknown_outcomes_is_judged() {
    let mut history = Vec::new();
    for n in 0..600 {
        history.push(write(10 * n, 10 * n + 9, n, 2 * n + 2));
        history.push(read(10 * n + 9, 10 * n + 9, n, 2 * n + 2));
        if n % 10 == 0 {
            history.push(unknown(10 * n, Call::Put(10_000 + n, Expect::Any)));
            history.push(unknown(10 * n, Call::Delete(Expect::Any)));
        }
    }
    assert_eq!(check(&history), Verdict::Linearizable);
}

/// Whether some order of the operations that respects real time explains every answer, by trying them all.
fn by_every_order(history: &[Operation]) -> bool {
    let Ok(known) = revisions(history) else { return false };
    let mut left: Vec<&Operation> = history.iter().collect();
    explained(history, &mut left, None, 0, &known)
}

fn explained(
    history: &[Operation],
    left: &mut Vec<&Operation>,
    item: Option<(u64, Option<u64>)>,
    latest: u64,
    known: &BTreeMap<u64, u64>,
) -> bool {
    if left.iter().all(|one| one.result == Return::Unknown) {
        return true;
    }
    for at in 0..left.len() {
        let one = left[at];
        if left.iter().any(|other| other.result != Return::Unknown && other.end < one.begin) {
            continue;
        }
        // What the operation says about the revision of the item that is here, if nobody knows it.
        let said = match (one.call, one.result) {
            (_, Return::Mismatch(revision)) => Some(revision),
            (Call::Put(_, Expect::Revision(revision)) | Call::Delete(Expect::Revision(revision)), _) => {
                Some(revision)
            }
            _ => None,
        };
        let free = |revision: u64| {
            let made = |one: &&Operation| one.result == Return::Done(revision);
            revision > latest
                && !history.iter().any(|one| made(&one))
                && !known.values().any(|known| *known == revision)
        };
        let item = match (item, said) {
            (Some((value, None)), Some(revision)) if free(revision) => Some((value, Some(revision))),
            _ => item,
        };
        let latest = item.and_then(|(_, made)| made).unwrap_or(0).max(latest);
        let meets = |expect| match expect {
            Expect::Any => true,
            Expect::Absent => item.is_none(),
            Expect::Revision(wanted) => item.is_some_and(|(_, made)| made == Some(wanted)),
        };
        let told = |revision| match item {
            None => revision == 0,
            Some((_, made)) => made == Some(revision),
        };
        let made = match (one.call, one.result) {
            (_, Return::Done(revision)) => Some(revision),
            (Call::Put(value, _), Return::Unknown) => known.get(&value).copied(),
            _ => None,
        };
        let later = made.is_none_or(|made| made > latest);
        let next = match (one.call, one.result) {
            (Call::Get, Return::Found(value, revision)) if item == Some((value, Some(revision))) => {
                Some(item)
            }
            (Call::Get | Call::Delete(_), Return::Absent) if item.is_none() => Some(item),
            (Call::Put(_, expect) | Call::Delete(expect), Return::Mismatch(revision))
                if told(revision) && !meets(expect) =>
            {
                Some(item)
            }
            (Call::Put(value, expect), Return::Done(_) | Return::Unknown) if later && meets(expect) => {
                Some(Some((value, made)))
            }
            (Call::Delete(expect), Return::Done(_) | Return::Unknown)
                if later && item.is_some() && meets(expect) =>
            {
                Some(None)
            }
            _ => None,
        };
        let Some(next) = next else { continue };
        left.remove(at);
        let found = explained(history, left, next, made.unwrap_or(latest).max(latest), known);
        left.insert(at, one);
        if found {
            return true;
        }
    }
    false
}

/// A small generator of numbers; the same seed gives the same ones.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Few operations about few values and revisions, so that histories are good about as often as not.
fn drawn(numbers: &mut Numbers) -> Vec<Operation> {
    let count = 2 + numbers.below(5);
    let draw = |value: u64| {
        let begin = numbers.below(12);
        let end = begin + numbers.below(6);
        let expect = match numbers.below(4) {
            0 => Expect::Absent,
            1 => Expect::Revision(2 + numbers.below(3)),
            _ => Expect::Any,
        };
        let call = match numbers.below(5) {
            0 | 1 => Call::Get,
            2 => Call::Delete(expect),
            _ => Call::Put(value, expect),
        };
        let result = match (call, numbers.below(4)) {
            (Call::Get, 0) => Return::Absent,
            (Call::Get, _) => Return::Found(1 + numbers.below(count), 2 + numbers.below(4)),
            (_, 0) => Return::Unknown,
            (_, 1) if expect != Expect::Any => Return::Mismatch(numbers.below(5).saturating_sub(1)),
            (Call::Delete(Expect::Any), 1) => Return::Absent,
            _ => Return::Done(1 + value),
        };
        op(begin, end, call, result)
    };
    (1..=count).map(draw).collect()
}

#[test]
fn the_search_agrees_with_trying_every_order() {
    let (mut numbers, mut goods) = (Numbers(1), 0);
    for number in 0..60_000 {
        let history = drawn(&mut numbers);
        let expected = by_every_order(&history);
        goods += u32::from(expected);
        assert_eq!(check(&history) == Verdict::Linearizable, expected, "history {number}: {history:#?}");
    }
    assert!(goods > 2_000, "only {goods} histories were good");
}
