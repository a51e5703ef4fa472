//! Large files: onto three members and back, beside `rsync` to two targets and plain copies, in turns.
//!
//! The floor of an upload is a plain copy of the file to three folders at once, each flushed; that of a download a plain
//! copy to one. Nothing that keeps three copies on one disk can be faster, and it checks nothing and tells nobody. All read
//! a file that is in the page cache and end when what they wrote is on the disk, where what went there stays while it comes
//! back.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::Bench;
use crate::exchange;
use crate::figure::{Direction, Spread, Transfer, Way};
use crate::process::{self, Process};
use crate::system::{Cluster, MEMBERS, System};
use crate::{say, transfer};

/// Targets of `rsync`: where the file is already counts as the third.
const RSYNC_TARGETS: usize = 2;

/// Measure files of every size.
pub(super) fn run(bench: &mut Bench) {
    if bench.systems(&[System::Holdfast]).is_empty() {
        return;
    }
    let version = process::run(&bench.programs.rsync, &["--version".to_owned()], Duration::from_secs(10));
    bench.results.rsync =
        version.ok().and_then(|said| said.lines().next().map(|line| line.trim().to_owned()));
    bench.with(System::Holdfast, "files", |bench, cluster| {
        let folder = bench.data.join("files");
        std::fs::create_dir_all(&folder)?;
        let done = sizes(bench, cluster, &folder);
        // What is left is taken away with the whole folder.
        let _ = std::fs::remove_dir_all(&folder);
        done
    });
}

fn sizes(bench: &mut Bench, cluster: &mut dyn Cluster, folder: &Path) -> anyhow::Result<()> {
    for bytes in bench.plan.file_bytes.clone() {
        for repetition in 0..bench.plan.repetitions {
            let source = folder.join("source");
            // Every repetition has another content: nobody has any of it already.
            transfer::make(&source, bytes, bytes + repetition as u64)?;
            let mut ways = Way::ALL;
            ways.rotate_left(repetition % Way::ALL.len());
            for way in ways {
                let done = once(bench, cluster, way, &source, folder);
                match (done, way) {
                    (Ok(seconds), _) => keep(bench, cluster, way, bytes, repetition, seconds)?,
                    (Err(error), Way::Rsync) => {
                        bench.results.missing.push(format!("rsync, files: {error:#}"));
                    }
                    (Err(error), _) => return Err(error),
                }
            }
            std::fs::remove_file(&source)?;
        }
        report(bench, bytes);
    }
    Ok(())
}

/// How long it takes there, and back.
fn once(
    bench: &Bench,
    cluster: &mut dyn Cluster,
    way: Way,
    source: &Path,
    folder: &Path,
) -> anyhow::Result<[Duration; 2]> {
    let places = |count: usize| -> anyhow::Result<Vec<PathBuf>> {
        (0..count).map(|at| place(folder, &format!("copy{at}"))).collect()
    };
    // What was copied there stays while it comes back, as it does with members.
    let back = place(folder, "back")?;
    let bytes = std::fs::metadata(source)?.len();
    let took = match way {
        Way::Copy => {
            settle(folder, bytes)?;
            let there = transfer::copy(source, &places(MEMBERS)?)?;
            settle(folder, bytes)?;
            let back = transfer::copy(source, &[back])?;
            [there, back]
        }
        Way::Rsync => {
            settle(folder, bytes)?;
            let there = transfer::rsync(&bench.programs.rsync, source, &places(RSYNC_TARGETS)?)?;
            settle(folder, bytes)?;
            let back = transfer::rsync(&bench.programs.rsync, source, &[back])?;
            [there, back]
        }
        Way::Holdfast => {
            // A follower takes it, as it happens to two of three clients that ask any member.
            let port = cluster.port((cluster.wait_for_leader()? + 1) % MEMBERS);
            settle(folder, bytes)?;
            let there = transfer::upload(port, "file", source)?;
            settle(folder, bytes)?;
            let took = transfer::download(port, "file", &back)?;
            ensure!(same(source, &back)?, "what was downloaded is another file");
            exchange::http(port, "DELETE", "/files/file", "", exchange::PATIENCE)?;
            [there, took]
        }
    };
    clear(folder)?;
    Ok(took)
}

/// What was written before is on the disk, so that nobody waits for another's bytes, and three copies' worth of
/// page cache was in use a moment ago: what is free for longer, the host of a virtual machine takes back, and gives slowly again.
fn settle(folder: &Path, bytes: u64) -> anyhow::Result<()> {
    let scratch = folder.join("scratch");
    transfer::make(&scratch, MEMBERS as u64 * bytes, 0)?;
    rustix::fs::sync();
    Ok(std::fs::remove_file(scratch)?)
}

/// Where a file goes that is called so.
fn place(folder: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let folder = folder.join(name);
    std::fs::create_dir_all(&folder).context("cannot make a folder")?;
    Ok(folder.join("file"))
}

fn clear(folder: &Path) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            std::fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

fn same(one: &Path, other: &Path) -> anyhow::Result<bool> {
    use std::io::Read as _;
    let (mut one, mut other) = (std::fs::File::open(one)?, std::fs::File::open(other)?);
    if one.metadata()?.len() != other.metadata()?.len() {
        return Ok(false);
    }
    let (mut here, mut there) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let read = one.read(&mut here)?;
        other.read_exact(&mut there[..read])?;
        if read == 0 || here[..read] != there[..read] {
            return Ok(read == 0);
        }
    }
}

fn keep(
    bench: &mut Bench,
    cluster: &mut dyn Cluster,
    way: Way,
    bytes: u64,
    repetition: usize,
    took: [Duration; 2],
) -> anyhow::Result<()> {
    let memory = match way {
        Way::Holdfast => cluster
            .processes()
            .iter()
            .map(Process::resident_bytes_most)
            .collect::<anyhow::Result<Vec<_>>>()?,
        Way::Copy | Way::Rsync => Vec::new(),
    };
    for (direction, took) in [Direction::There, Direction::Back].into_iter().zip(took) {
        let seconds = took.as_secs_f64();
        let memory = memory.clone();
        bench.results.files.push(Transfer { way, direction, bytes, repetition, seconds, memory });
    }
    Ok(())
}

fn report(bench: &Bench, bytes: u64) {
    for direction in [Direction::There, Direction::Back] {
        for way in Way::ALL {
            let rate: Option<Spread> = bench.results.file_rate(way, direction, bytes);
            let rate = rate.map_or(0.0, |rate| rate.median * 1e-6);
            say(format_args!(
                "{:<32} {} {} MiB: {rate:.0} MB/s",
                way.title(),
                direction.title(),
                bytes >> 20
            ));
        }
    }
}
