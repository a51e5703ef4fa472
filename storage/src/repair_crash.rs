//! Tests of every crash during a repair: what is left is damaged still, or repaired; never something that looks whole
//! and is less than it was.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use holdfast_engine::{
    Checkpoint, Entry, EntryKind, Formation, HardState, Incarnation, Index, MemberId, Ordinal, Persist,
    Position, Random, StoreId, Term, Ticket, Write,
};
use tempfile::TempDir;

use crate::checkpoint::Nobody;
use crate::files::Files;
use crate::open::survey_through;
use crate::trace::{Model, Trace, lay_out};
use crate::{Damaged, LogPolicy, Need, OpenError, Options, Owner, Survey};

const OPTIONS: Options = Options { segment_bytes: 8 * 1024 };

const LIFE: Incarnation = Incarnation(77);

const NEXT: Incarnation = Incarnation(78);

fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a temporary folder")
}

fn survey(path: &Path, trace: &Arc<Trace>, fresh: Incarnation) -> Result<Survey, OpenError> {
    let owner = Owner { store: "default/words".to_owned(), ordinal: Ordinal(1) };
    let files = Files { trace: Some(Arc::clone(trace)) };
    survey_through(files, path, &owner, LogPolicy::Kept, fresh, OPTIONS, &mut Nobody::default())
}

fn log() -> Vec<Entry> {
    let entry = |index| {
        let position = Position::new(Term(1 + index / 20), Index(index));
        Entry::new(position, EntryKind::Command, &vec![index as u8; 300])
    };
    (1..=50).map(entry).collect()
}

/// A folder with this log over several segments, and perhaps a checkpoint.
fn written(path: &Path, checkpoint: Option<u64>) {
    let Ok(Survey::Whole(opened)) = survey(path, &Arc::default(), LIFE) else { panic!("a new folder") };
    let member = MemberId { ordinal: Ordinal(1), incarnation: LIFE };
    let formation = Formation { store: StoreId(5), voters: vec![member] };
    let mut writes = vec![Write::Formation(formation)];
    writes.push(Write::HardState(HardState { term: Term(4), voted_for: Some(member) }));
    writes.extend(log().chunks(3).map(|entries| Write::Append(entries.to_vec())));
    let last = writes.len() as u64;
    let persists = (1..).zip(writes).map(|(ticket, write)| Persist { ticket: Ticket(ticket), write });
    let (report, reports) = sync_channel(1000);
    let checkpoints = opened.disk.checkpoints();
    let writer = opened.disk.start(move |done| report.send(done.expect("written")).expect("heard"));
    let writer = writer.expect("a thread");
    for persist in persists {
        let ticket = persist.ticket;
        writer.submit(vec![persist]).expect("room");
        while reports.recv().expect("the writer reports") < ticket {}
    }
    if let Some(index) = checkpoint {
        let position = log()[index as usize - 1].position();
        let checkpoint = Checkpoint { position, membership: Default::default() };
        let mut writer = checkpoints.create(checkpoint).expect("created");
        writer.chunk(b"state").expect("written");
        writer.finish().expect("finished");
    }
    assert!(last > 10);
    writer.stop();
}

/// All files of a folder.
fn contents(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let parts = [root.to_owned(), root.join("log"), root.join("checkpoints")];
    let items = parts.iter().flat_map(|part| std::fs::read_dir(part).expect("a folder"));
    let paths = items.map(|item| item.expect("an item").path()).filter(|path| path.is_file());
    paths.map(|path| (path.clone(), std::fs::read(&path).expect("readable"))).collect()
}

/// Fetch what is lacking from a peer that has all of the log, and repair.
fn repair(mut damaged: Box<Damaged>) -> Result<crate::Repaired, OpenError> {
    let log = log();
    while let Need::Entries { after, anchor } = damaged.need() {
        let entries = &log[after.0 as usize..anchor.index.0 as usize];
        let previous = after.0.checked_sub(1).map_or(Position::ZERO, |at| log[at as usize].position());
        damaged.fill(previous, entries.to_vec()).expect("they fit");
    }
    damaged.repair(false)
}

/// Damage a folder, repair it, and crash after every change that the repair makes. `forgets` is whether the member may
/// not go on under its name.
fn check(what: &str, checkpoint: Option<u64>, forgets: bool, damage: impl Fn(&Path)) {
    let folder = folder();
    written(folder.path(), checkpoint);
    damage(folder.path());
    let before = contents(folder.path());
    let trace = Arc::new(Trace::default());
    let Ok(Survey::Damaged(damaged)) = survey(folder.path(), &trace, NEXT) else { panic!("{what}") };
    assert_eq!(damaged.forgets(), forgets, "{what}");
    assert!(!trace.events().iter().any(|event| event.is_change()), "{what}: looking changes nothing");
    repair(damaged).unwrap_or_else(|error| panic!("{what}: {error:?}"));
    let mut model = Model::flushed(&before);
    let mut random = Random::new(1);
    let (mut damaged, mut whole) = (0, 0);
    let events = trace.events();
    for (at, event) in events.iter().enumerate() {
        model.apply(event);
        for likely in [None, Some(0), Some(2)] {
            let what = format!("{what}: crash after event {at} of {}", events.len());
            let left = likely.map_or_else(|| model.killed(), |likely| model.cut_off(&mut random, likely));
            match after_crash(&left, folder.path(), forgets, &what) {
                true => whole += 1,
                false => damaged += 1,
            }
        }
    }
    assert!(damaged > 0 && whole > 0, "{what}: {damaged} and {whole}");
}

/// Whether the folder is whole after the crash. If not, it can be repaired.
fn after_crash(left: &BTreeMap<PathBuf, Vec<u8>>, root: &Path, forgets: bool, what: &str) -> bool {
    let folder = folder();
    lay_out(left, root, folder.path());
    let look =
        |fresh| survey(folder.path(), &Arc::default(), fresh).unwrap_or_else(|e| panic!("{what}: {e:?}"));
    let (opened, whole) = match look(Incarnation(79)) {
        Survey::Whole(opened) => (opened, true),
        Survey::Damaged(damaged) => {
            repair(damaged).unwrap_or_else(|error| panic!("{what}: {error:?}"));
            let Survey::Whole(opened) = look(Incarnation(80)) else { panic!("{what}: it was repaired") };
            (opened, false)
        }
    };
    let entries = opened.restored.entries;
    assert_eq!(opened.incarnation != LIFE, forgets, "{what}");
    assert!(entries[..] == log()[..entries.len()], "{what}");
    assert!(forgets || entries.len() == log().len(), "{what}: {} entries", entries.len());
    whole
}

/// The segments of a folder, oldest first.
fn segments(path: &Path) -> Vec<PathBuf> {
    let found = contents(path).into_keys();
    found.filter(|path| path.extension().is_some_and(|end| end == "segment")).collect()
}

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).expect("readable");
    bytes[at] ^= 1;
    std::fs::write(path, bytes).expect("writable");
}

#[test]
fn a_crash_while_entries_are_put_back() {
    check("a record", None, false, |path| flip(&segments(path)[1], 4500));
    check("a header and a record", None, false, |path| {
        let segments = segments(path);
        flip(&segments[0], 30);
        flip(&segments[2], 4500);
    });
    check("a segment", None, false, |path| std::fs::remove_file(&segments(path)[1]).expect("removed"));
}

#[test]
fn a_crash_while_a_member_becomes_another_one() {
    check("votes", None, true, |path| std::fs::remove_file(path.join("vote")).expect("removed"));
    check("votes and a record", None, true, |path| {
        std::fs::write(path.join("vote"), vec![0; 8192]).expect("writable");
        flip(&segments(path)[1], 4500);
    });
    check("the end", None, true, |path| {
        let last = segments(path).pop().expect("one");
        std::fs::write(last, vec![0; 8192]).expect("writable");
    });
}

#[test]
fn a_crash_while_an_identity_is_written_anew() {
    check("the identity", Some(30), false, |path| {
        flip(&path.join("identity"), 30);
        flip(&path.join("identity.copy"), 30);
    });
}
