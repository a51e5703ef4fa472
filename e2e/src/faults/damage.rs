//! What goes wrong with the bytes on a disk, done to the folder of a member that does not run.

use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::lots::Lots;

/// Bytes that a disk loses at once.
const SECTOR: u64 = 512;

/// Damage one file of the member's, drawn from all but its lock. Says what was done.
///
/// # Errors
///
/// If the folder cannot be changed.
pub fn any_file(data: &Path, lots: &mut Lots) -> anyhow::Result<String> {
    let mut files = files_below(data)?;
    // An empty file has nothing to damage, and a lock holds nothing.
    files.retain(|path| fs::metadata(path).is_ok_and(|found| found.len() > 0));
    let Some(path) = (!files.is_empty()).then(|| &files[lots.below(files.len() as u64) as usize]) else {
        return Ok("nothing there".to_owned());
    };
    match lots.below(10) {
        0 => {
            fs::remove_file(path)?;
            Ok(format!("removed {}", path.display()))
        }
        1 => {
            let at = lots.below(fs::metadata(path)?.len());
            fs::File::options().write(true).open(path)?.set_len(at)?;
            Ok(format!("cut {} at {at}", path.display()))
        }
        2 | 3 => {
            let at = lots.below(fs::metadata(path)?.len()) / SECTOR * SECTOR;
            change(path, at, SECTOR, |_| 0)?;
            Ok(format!("zeroed a sector of {} at {at}", path.display()))
        }
        _ => flip(path, lots),
    }
}

/// Flip a bit in the part of a log segment that is in use.
///
/// # Errors
///
/// If the folder cannot be changed.
pub fn log_bit(data: &Path, lots: &mut Lots) -> anyhow::Result<String> {
    let mut segments = files_below(&data.join("log"))?;
    segments.retain(|path| path.extension().is_some_and(|ending| ending == "segment"));
    if segments.is_empty() {
        return Ok("nothing there".to_owned());
    }
    flip(&segments[lots.below(segments.len() as u64) as usize], lots)
}

/// Copy a folder with everything in it.
///
/// # Errors
///
/// If it cannot be read, or the copy not be written.
pub fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot list {}", from.display()))? {
        let (path, to) = {
            let entry = entry?;
            (entry.path(), to.join(entry.file_name()))
        };
        if path.is_dir() {
            copy(&path, &to)?;
        } else {
            fs::copy(&path, &to).with_context(|| format!("cannot copy {}", path.display()))?;
        }
    }
    Ok(())
}

/// Flip one bit of the bytes up to the last one that is not zero: what is behind has not been written yet.
fn flip(path: &Path, lots: &mut Lots) -> anyhow::Result<String> {
    let used = fs::read(path)?.iter().rposition(|byte| *byte != 0).map_or(1, |last| last as u64 + 1);
    let (at, bit) = (lots.below(used), lots.below(8));
    let byte = change(path, at, 1, |byte| byte ^ (1 << bit))?;
    Ok(format!("flipped bit {bit} of byte {at} of {used}, {byte:#04x}, in {}", path.display()))
}

/// Change so many bytes from an offset, or as many as there are. Returns the first one as it was.
fn change(path: &Path, at: u64, length: u64, new: impl Fn(u8) -> u8) -> anyhow::Result<u8> {
    let mut file = fs::File::options().read(true).write(true).open(path)?;
    let length = length.min(file.metadata()?.len() - at);
    let mut bytes = vec![0; usize::try_from(length)?];
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(&mut bytes)?;
    let first = bytes[0];
    bytes.iter_mut().for_each(|byte| *byte = new(*byte));
    file.seek(SeekFrom::Start(at))?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    Ok(first)
}

fn files_below(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(files_below(&path)?);
        } else {
            files.push(path);
        }
    }
    // The order in which a folder lists its files is nobody's choice.
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bit_changes_in_what_is_in_use() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("log");
        fs::create_dir(&log).expect("made");
        let whole = [[7; 100].as_slice(), &[0; 900]].concat();
        for seed in 0..50 {
            fs::write(log.join("1.segment"), &whole).expect("written");
            log_bit(folder.path(), &mut Lots::new(seed)).expect("flipped");
            let now = fs::read(log.join("1.segment")).expect("there");
            let changed: Vec<usize> = (0..1000).filter(|&at| now[at] != whole[at]).collect();
            assert!(changed.len() == 1 && changed[0] < 100, "{changed:?}");
            assert_eq!((now[changed[0]] ^ 7).count_ones(), 1);
        }
    }

    #[test]
    fn every_kind_of_damage_changes_something() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut done = std::collections::BTreeSet::new();
        for seed in 0..50 {
            fs::write(folder.path().join("file"), [7; 2000]).expect("written");
            let said = any_file(folder.path(), &mut Lots::new(seed)).expect("damaged");
            assert_ne!(fs::read(folder.path().join("file")).unwrap_or_default(), [7; 2000], "{said}");
            done.insert(said.split(' ').next().expect("a word").to_owned());
        }
        assert_eq!(done.into_iter().collect::<Vec<_>>(), ["cut", "flipped", "removed", "zeroed"]);
    }
}
