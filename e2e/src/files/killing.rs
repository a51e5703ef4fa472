//! Files under stress: clients upload and download through every member while members are killed and stored files are
//! spoilt, and afterwards every member's disk is held against what the clients were told.
//!
//! - Every upload that was acknowledged is there, with its bytes, on every member.
//! - No byte that a download gave was wrong, also of those that broke off.
//! - Nothing else is left on the disks.
//!
//! One bit is flipped in one of a hundred stored copies, and never in two copies of the same bytes: what two of three
//! members have lost nobody can restore. It refuses to call a run good in which nobody was killed or nothing was spoilt.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rustix::process::Signal;

use super::{Download, Upload, content, get, length, list, on_disk, put, whole};
use crate::http::Http;
use crate::laptop::Laptop;
use crate::{runtime, wait};

/// How long something may take that takes seconds, on a machine that may be compiling.
const PATIENCE: Duration = Duration::from_secs(120);

/// One of so many stored copies is spoilt.
const SPOILT_PART: usize = 100;

/// Which of them: neither the first, which would spoil short runs early, nor the last.
const SPOILT_PLACE: usize = 37;

/// Between two looks at the disks.
const LOOK_PAUSE: Duration = Duration::from_millis(50);

/// Longest pause between a member that is back and the next kill.
const KILL_PAUSE_MAX_MS: usize = 700;

/// Bytes behind a stored file's own: four for each block, and its end (`sidecar/src/files/blobs.rs`).
const BLOCK_BYTES: usize = 256 * 1024;
const END_BYTES: usize = 52;

/// What is done.
#[derive(Clone, Copy, Debug)]
pub struct Killing {
    /// Files that are uploaded, each until it is acknowledged; as many others are read.
    pub files: usize,
    /// Clients at once.
    pub clients: usize,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Uploads that were acknowledged.
    pub uploads: usize,
    /// Tries of them that were not.
    pub unsure: usize,
    /// Downloads that came to their end.
    pub downloads: usize,
    /// Downloads that broke off, or gave nothing.
    pub broken: usize,
    /// Members that were killed.
    pub kills: usize,
    /// Copies in which a bit was flipped.
    pub spoilt: usize,
    /// Copies that were seen on the disks.
    pub copies: usize,
    /// How long the clients took.
    pub took: Duration,
    /// How long after the last kill every member had everything.
    pub settled: Duration,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { uploads, unsure, downloads, broken, kills, spoilt, copies, took, settled } = self;
        write!(
            f,
            "{uploads} uploads acknowledged, {unsure} tries were not; {downloads} whole downloads, {broken} broke off; \
             {kills} kills; {spoilt} of {copies} copies spoilt; {:.1} s, and {:.1} s later every member had every file, byte \
             for byte",
            took.as_secs_f64(),
            settled.as_secs_f64()
        )
    }
}

impl Killing {
    /// Do it to a store of three members that is ready and has no files.
    ///
    /// # Errors
    ///
    /// If anything that was promised is not so.
    pub fn run(self, store: &Laptop) -> anyhow::Result<Report> {
        let begin = Instant::now();
        let (next, done) = (AtomicUsize::new(0), AtomicBool::new(false));
        let bases = store.bases();
        let (acknowledged, mut report) = std::thread::scope(|scope| {
            let clients: Vec<_> = (0..self.clients)
                .map(|client| {
                    let (next, bases) = (&next, &bases);
                    scope.spawn(move || load(client, self.files, next, bases))
                })
                .collect();
            let kills = scope.spawn(|| kill_all(store, &done));
            let spoiling = scope.spawn(|| spoil(store, &done));
            let loads: Vec<_> = clients.into_iter().map(|client| client.join()).collect();
            done.store(true, Relaxed);
            let mut report = Report { kills: kills.join().expect("no panic")?, ..Report::default() };
            (report.spoilt, report.copies) = spoiling.join().expect("no panic")?;
            let mut acknowledged = BTreeMap::new();
            for loaded in loads {
                let loaded = loaded.map_err(|_| anyhow::anyhow!("a client panicked"))??;
                acknowledged.extend(loaded.acknowledged);
                report.unsure += loaded.unsure;
                report.downloads += loaded.downloads;
                report.broken += loaded.broken;
            }
            report.uploads = acknowledged.len();
            anyhow::Ok((acknowledged, report))
        })?;
        report.took = begin.elapsed();
        ensure!(report.uploads == self.files, "only {} of {} could be uploaded", report.uploads, self.files);
        ensure!(report.kills > 0, "nobody was killed");
        ensure!(report.spoilt > 0, "nothing was spoilt");
        let begin = Instant::now();
        store.wait_until_ready()?;
        let http = Http::default();
        let everywhere = || {
            wait::until("every file is on every member", PATIENCE, || {
                are_everywhere(store, &http, self.files)
            })
        };
        everywhere()?;
        // Reading is what finds the copies that nobody has looked at since they were spoilt.
        for (name, seed) in &acknowledged {
            for base in &bases {
                let read = whole(runtime().block_on(get(&http, base, name)))?;
                ensure!(read == content(*seed, length(*seed)), "{name} is another at {base}");
            }
        }
        wait::until("all disks have all bytes", PATIENCE, || are_on_disk(store, &acknowledged))?;
        everywhere()?;
        report.settled = begin.elapsed();
        Ok(report)
    }
}

/// Every member is said to hold every file, and has exactly those on its disk.
///
/// # Errors
///
/// If it is not so.
pub fn are_everywhere(store: &Laptop, http: &Http, count: usize) -> anyhow::Result<()> {
    let listed = runtime().block_on(list(http, &store.base(0)))?;
    ensure!(listed.len() == count, "there are {} files", listed.len());
    let missing: Vec<_> = listed.iter().filter(|file| file.replicas.len() < 3).collect();
    ensure!(missing.is_empty(), "{} are not on all members, as {:?}", missing.len(), missing[0]);
    let expected: BTreeSet<&str> = listed.iter().map(|file| file.checksum_sha256.as_str()).collect();
    for ordinal in 0..3 {
        let there = on_disk(store, ordinal)?;
        let names = there.iter().filter_map(|path| path.file_name()?.to_str());
        let names = names.collect::<BTreeSet<_>>();
        let odd = names.symmetric_difference(&expected).collect::<Vec<_>>();
        ensure!(odd.is_empty(), "member {ordinal} misses, or has too much: {odd:?}");
    }
    Ok(())
}

/// Every member has the bytes of every file on its disk, without asking it.
fn are_on_disk(store: &Laptop, files: &BTreeMap<String, usize>) -> anyhow::Result<()> {
    let http = Http::default();
    let listed = runtime().block_on(list(&http, &store.base(0)))?;
    for file in listed {
        let seed = *files.get(&file.file_key).context("a file that nobody uploaded")?;
        let bytes = content(seed, length(seed));
        for ordinal in 0..3 {
            let digest = &file.checksum_sha256;
            let path = super::folder(store, ordinal).join(&digest[..2]).join(digest);
            let there = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let expected = bytes.len() + 4 * bytes.len().div_ceil(BLOCK_BYTES) + END_BYTES;
            ensure!(
                there.starts_with(&bytes) && there.len() == expected,
                "{} of {} is another on the disk of member {ordinal}",
                file.file_key,
                path.display()
            );
        }
    }
    Ok(())
}

/// What a client did.
#[derive(Default)]
struct Loaded {
    acknowledged: BTreeMap<String, usize>,
    unsure: usize,
    downloads: usize,
    broken: usize,
}

/// Upload files until all are, each until it is acknowledged, and read others meanwhile.
fn load(client: usize, count: usize, next: &AtomicUsize, bases: &[String]) -> anyhow::Result<Loaded> {
    let http = Http::default();
    let mut loaded = Loaded::default();
    loop {
        let seed = next.fetch_add(1, Relaxed);
        if seed >= count {
            return Ok(loaded);
        }
        let name = format!("file-{seed}");
        let begin = Instant::now();
        let mut place = seed + client;
        loop {
            place += 1;
            let base = &bases[place % bases.len()];
            match runtime().block_on(put(&http, base, &name, content(seed, length(seed)))) {
                Upload::Acknowledged(_) => break,
                Upload::Otherwise(why) => {
                    loaded.unsure += 1;
                    ensure!(begin.elapsed() < PATIENCE, "{name} cannot be uploaded: {why}");
                    std::thread::sleep(LOOK_PAUSE);
                }
            }
        }
        loaded.acknowledged.insert(name, seed);
        // Whatever comes of another file must be a part of it, from its beginning.
        let other = (seed * 31 + client) % (seed + 1);
        match runtime().block_on(get(&http, &bases[seed % bases.len()], &format!("file-{other}"))) {
            Download::Whole(bytes) => {
                ensure!(bytes == content(other, length(other)), "a wrong byte of file-{other}");
                loaded.downloads += 1;
            }
            Download::Absent => {
                let mine = loaded.acknowledged.contains_key(&format!("file-{other}"));
                ensure!(!mine, "file-{other} was acknowledged and is not there");
                loaded.broken += 1;
            }
            Download::Broken { bytes, .. } => {
                let whole = content(other, length(other));
                ensure!(whole.starts_with(&bytes), "a wrong byte of file-{other}, which broke off");
                loaded.broken += 1;
            }
        }
    }
}

/// Kill one member after the other, at any moment, and the next when it is back: the runner starts it again.
fn kill_all(store: &Laptop, done: &AtomicBool) -> anyhow::Result<usize> {
    let http = Http::default();
    let mut kills = 0;
    while !done.load(Relaxed) {
        std::thread::sleep(Duration::from_millis((kills * 977 % KILL_PAUSE_MAX_MS) as u64));
        let ordinal = (kills * 2 % 3) as u8;
        store.signal(ordinal, Signal::KILL)?;
        kills += 1;
        wait::until("a killed member is back", PATIENCE, || {
            let status = runtime().block_on(http.status(&store.base(ordinal)))?;
            ensure!(status.leader.is_some(), "it follows nobody");
            Ok(())
        })?;
    }
    Ok(kills)
}

/// Flip a bit in some of the copies as they come; how many, and how many copies there were.
fn spoil(store: &Laptop, done: &AtomicBool) -> anyhow::Result<(usize, usize)> {
    let (mut seen, mut spoilt) = (BTreeSet::new(), BTreeSet::new());
    let mut wanted = 0;
    while !done.load(Relaxed) {
        for ordinal in 0..3 {
            for path in on_disk(store, ordinal)? {
                let Some(name) = stored_name(&path) else { continue };
                if !seen.insert((ordinal, name.clone())) {
                    continue;
                }
                wanted += usize::from(seen.len() % SPOILT_PART == SPOILT_PLACE);
                // It may be gone by now, replaced by a later upload of the same bytes.
                if spoilt.len() < wanted
                    && !spoilt.contains(&name)
                    && super::flip(&path, seen.len() * 7919).is_ok()
                {
                    spoilt.insert(name);
                }
            }
        }
        std::thread::sleep(LOOK_PAUSE);
    }
    Ok((spoilt.len(), seen.len()))
}

/// The name of a stored file; none if it is not whole, or was set aside.
fn stored_name(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    (name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| name.to_owned())
}
