//! A member's folder after its files were changed: flipped bits, lost and misdirected pages, cut and missing files.
//!
//! An input says which folder, and what happens to it ([`edit`]). The folder is opened, and repaired with the help of a
//! peer that has lost nothing. What has to hold depends on what happened:
//!
//! - *Rot*, with the last seal of the log whole: what was acknowledged is there or is reported as damaged, and after
//!   the repair it is there. The vote and the identity too, or the member goes on as another incarnation.
//! - *Rot of the log's end, or old content come back*: nothing tells that the log was longer. All that is there was
//!   written at its place once, and it hangs together.
//! - *Forgery* with checksums set right: it ends, in an error or a folder, and does not panic.
//!
//! What it refuses to do: start a member on such a folder.

mod base;
mod edit;

use std::fs;
use std::path::Path;

use holdfast_engine::{Entry, HardState, Incarnation, Index, Position, Restored};
use holdfast_storage::{Damaged, LogPolicy, Need, OpenError, Options, Owner, Repaired, Survey, survey};

use self::base::{Base, bases};
use self::edit::{Edited, Mode};
use super::memory;
use crate::{Target, shape};

/// A folder under edits.
pub(super) const FOLDER: Target = Target {
    name: "folder",
    about: "a member's folder with changed bytes and files: log, vote, identity, checkpoints",
    samples,
    words: &[],
    mend: None,
    run: open,
    // The files, read several times over, and chunks of a megabyte that a damaged length may claim.
    memory: memory(32 * 1024 * 1024, 0),
};

/// Small, so that segments fill quickly.
const OPTIONS: Options = Options { segment_bytes: 8 * 1024 };

/// The life that the folders are of.
const LIFE: Incarnation = Incarnation(0xfeed);

/// The life that a member goes on as when it has forgotten.
const NEXT: Incarnation = Incarnation(0xbeef);

/// More bytes than a peer gives at once, so that a hole takes several answers.
const ANSWER_BYTES: usize = 200;

/// Most steps of a repair: it has fewer entries than that.
const STEPS_MAX: usize = 1000;

/// Most repairs of a folder in which old files stand beside new ones.
const ROUNDS_MAX: usize = 3;

fn owner() -> Owner {
    Owner { store: "default/words".to_owned(), ordinal: holdfast_engine::Ordinal(1) }
}

/// Every folder as it is, and under each edit alone.
fn samples() -> Vec<Vec<u8>> {
    let folders = 0..bases().len() as u8;
    let edited =
        |base: u8| (0..edit::KINDS).map(move |kind| vec![base, 1 + base, kind, 0x90, 0x11, 0x20, 0, 0xff, 3]);
    let bare = folders.clone().map(|base| vec![base]);
    bare.chain(folders.flat_map(edited)).collect()
}

fn look(path: &Path, policy: LogPolicy) -> Result<Survey, OpenError> {
    survey(path, &owner(), policy, NEXT, OPTIONS)
}

fn open(bytes: &[u8]) {
    let Some((&first, edits)) = bytes.split_first() else { return };
    let mode = Mode::of(first);
    let base = &bases()[mode.base % bases().len()];
    let edited = edit::apply(base, mode, edits);
    let folder = tempfile::tempdir().expect("a temporary folder");
    base::write(folder.path(), &edited.files);
    let truth = Truth { base, edited: &edited, mode };
    match look(folder.path(), base.policy) {
        Ok(Survey::Whole(opened)) => {
            shape::note(&(
                opened.torn.is_some(),
                opened.damaged_checkpoints.len(),
                opened.restored.entries.len(),
            ));
            truth.check_opened(&opened.restored, opened.incarnation, None);
            let (restored, torn) = (opened.restored, opened.torn);
            drop((opened.disk, opened.checkpoint));
            truth.check_reopened(folder.path(), &restored, torn.is_some());
        }
        Ok(Survey::Damaged(damaged)) => truth.check_damaged(*damaged, folder.path(), 1),
        Err(error) => truth.check_error(&error),
    }
}

/// What there was, and what happened to it.
struct Truth<'a> {
    base: &'a Base,
    edited: &'a Edited,
    mode: Mode,
}

impl Truth<'_> {
    fn check_error(&self, error: &OpenError) {
        shape::note(error);
        if !self.mode.forged {
            assert!(matches!(error, OpenError::Damaged { .. }), "damage shows as {error:?}");
            assert_eq!(self.base.policy, LogPolicy::None, "it can be repaired: {error:?}");
        }
    }

    /// The folder could be opened, at once or after this repair.
    fn check_opened(&self, restored: &Restored, incarnation: Incarnation, repaired: Option<&Repaired>) {
        check_contiguous(restored);
        if self.mode.forged {
            return;
        }
        for entry in &restored.entries {
            let record = self.base.ever.get(&entry.position());
            assert_eq!(record, Some(&entry.record()), "{} was never written", entry.position());
        }
        if self.base.policy == LogPolicy::None {
            assert_eq!((incarnation, restored.entries.len()), (NEXT, 0));
            let newest = restored.checkpoint.map(|checkpoint| checkpoint.position);
            assert!(
                self.edited.missing || newest == self.base.checkpoint,
                "{newest:?} instead of the newest checkpoint"
            );
            return;
        }
        if repaired.is_some_and(|repaired| repaired.aside.is_some()) || self.edited.emptied {
            return;
        }
        if !self.edited.hidden {
            self.check_log(restored);
            if self.base.formed {
                assert_eq!(restored.formation, Some(base::formation()));
            }
        }
        if repaired.is_none() {
            assert_eq!(incarnation, LIFE);
        }
        let renewed = repaired.is_some_and(|repaired| repaired.former.is_some() || self.mode.alone);
        if !renewed && !self.edited.stale {
            assert_eq!(restored.hard_state, self.base.vote, "another vote");
        }
    }

    /// Every acknowledged entry is there, or in the checkpoint.
    fn check_log(&self, restored: &Restored) {
        let covered = restored.checkpoint.map_or(Position::ZERO, |checkpoint| checkpoint.position);
        let end = restored.entries.last().map_or(covered, Entry::position);
        let acknowledged = self.base.log.last().map_or(Position::ZERO, Entry::position);
        assert!(end.index >= acknowledged.index, "the log ends at {end}, {acknowledged} was acknowledged");
        let first = restored.entries.first().map_or(end.index.next(), Entry::index);
        assert!(first <= covered.index.next(), "entries begin at {first}, the checkpoint ends at {covered}");
        for entry in &restored.entries {
            assert_eq!(Some(entry), self.base.entry(entry.index()), "an entry that was replaced");
        }
    }

    /// Opened again, a folder is what it was the first time, and nothing is torn any more.
    fn check_reopened(&self, path: &Path, before: &Restored, was_torn: bool) {
        let opened = match look(path, self.base.policy) {
            Ok(Survey::Whole(opened)) => opened,
            other => panic!("it could be opened once, and then: {other:?}"),
        };
        assert!(opened.torn.is_none(), "torn before: {was_torn}, and now {:?}", opened.torn);
        assert_eq!(opened.damaged_checkpoints, [], "they were put aside");
        // It has no equality, but all of it shows.
        let (again, before) = (format!("{:?}", opened.restored), format!("{before:?}"));
        assert_eq!(again, before, "opened again, it is another one");
    }

    fn check_damaged(&self, mut damaged: Damaged, path: &Path, round: usize) {
        assert!(!damaged.faults().is_empty(), "damaged without a fault");
        for fault in damaged.faults() {
            shape::note(&fault.what);
        }
        let forgets = damaged.forgets();
        shape::note(&(forgets, damaged.end_known(), damaged.need()));
        for step in 0.. {
            assert!(step < STEPS_MAX, "the repair does not come to an end: {damaged:?}");
            let Need::Entries { after, anchor } = damaged.need() else { break };
            assert!(self.mode.forged || after < anchor.index, "nothing is needed: {after} to {anchor}");
            self.help(&mut damaged, after, anchor);
        }
        match damaged.repair(self.mode.alone) {
            Ok(repaired) => self.check_repaired(path, &repaired, forgets, round),
            // Alone, nobody knows where the log ended; and a forged log need not hang together.
            Err(error) => {
                assert!(self.mode.alone || self.mode.forged, "it cannot be repaired: {error:?}");
                shape::note(&error);
            }
        }
    }

    /// What a peer gives that has all that was acknowledged.
    fn help(&self, damaged: &mut Damaged, after: Index, anchor: Position) {
        let strict = !self.mode.forged && !self.edited.hidden;
        match self.base.given(anchor, after, ANSWER_BYTES) {
            Some(_) if self.mode.checkpoint => {
                base::checkpoint(&damaged.checkpoints(), anchor);
                damaged.covered_by(anchor).expect("it can be read");
            }
            Some((previous, entries)) => {
                let filled = damaged.fill(previous, entries);
                assert!(filled.is_ok() || !strict, "{filled:?}");
                if filled.is_err() {
                    damaged.void();
                }
            }
            None => {
                assert!(!strict, "{anchor} was never the end of what counts");
                damaged.void();
            }
        }
    }

    fn check_repaired(&self, path: &Path, repaired: &Repaired, forgets: bool, round: usize) {
        shape::note(&(repaired.former.is_some(), repaired.aside.is_some()));
        if !self.mode.alone {
            let another = repaired.former.is_some() || repaired.aside.is_some();
            assert_eq!(forgets, another, "whoever has forgotten is another one: {repaired:?}");
        }
        let opened = match look(path, self.base.policy) {
            Ok(Survey::Whole(opened)) => opened,
            // An old identity does not know what it lacks until the log can be read.
            Ok(Survey::Damaged(damaged)) if self.edited.stale && round < ROUNDS_MAX => {
                return self.check_damaged(*damaged, path, round + 1);
            }
            Err(error) if self.mode.forged => return shape::note(&error),
            Ok(Survey::Damaged(damaged)) if self.mode.forged => return shape::note(&damaged.faults()),
            other => panic!("it was repaired, and then: {other:?}"),
        };
        assert_eq!(opened.incarnation, repaired.incarnation);
        assert!(
            repaired.aside.is_none() || opened.restored.formed_before,
            "it does not know that it was somebody"
        );
        assert_eq!(opened.torn, None);
        if !self.mode.forged {
            let vote = opened.restored.hard_state;
            let end = opened.restored.entries.last().map_or(Position::ZERO, Entry::position);
            assert!(vote.term >= end.term, "{vote:?} is older than the log's end {end}");
            assert!(repaired.former.is_none() || vote == HardState { voted_for: None, ..vote });
        }
        self.check_opened(&opened.restored, opened.incarnation, Some(repaired));
        let restored = opened.restored;
        drop((opened.disk, opened.checkpoint));
        self.check_reopened(path, &restored, false);
        if let Some(aside) = &repaired.aside {
            assert!(fs::exists(aside).is_ok_and(|there| there), "what nobody can use is kept");
        }
    }
}

/// Whoever starts on it counts on these.
fn check_contiguous(restored: &Restored) {
    let positions = restored.entries.iter().map(Entry::position).collect::<Vec<_>>();
    for pair in positions.windows(2) {
        assert!(
            pair[0].index.next() == pair[1].index && pair[0].term <= pair[1].term,
            "{} and {}",
            pair[0],
            pair[1]
        );
    }
}
