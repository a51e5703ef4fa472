//! Where a run took place, as far as the kernel tells. It refuses folders in memory, where a flush costs nothing.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};

/// The machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// Processors.
    pub(crate) processors: usize,
    /// What the first of them is called.
    pub(crate) model: String,
    /// Bytes of memory.
    pub(crate) memory_bytes: u64,
    /// The kernel's release.
    pub(crate) kernel: String,
    /// The file system that the data was on, and its device.
    pub(crate) file_system: String,
    /// The load average over one minute before the run.
    pub(crate) load_average: f64,
}

/// File systems that forget everything at a power cut.
const IN_MEMORY: [&str; 2] = ["tmpfs", "ramfs"];

impl Machine {
    /// This machine, with data in `folder`.
    ///
    /// # Errors
    ///
    /// If the folder is in memory.
    pub(crate) fn read(folder: &Path) -> anyhow::Result<Machine> {
        let mounts = fs::read_to_string("/proc/self/mounts").context("cannot read the mounts")?;
        let folder = fs::canonicalize(folder)?;
        let (kind, device) = file_system(&mounts, &folder).context("the folder is on no file system")?;
        ensure!(
            !IN_MEMORY.contains(&kind.as_str()),
            "{} is on {kind}, where a flush costs nothing: give a folder on a disk by --data",
            folder.display()
        );
        let words = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
        };
        let memory = field(&words("/proc/meminfo"), "MemTotal").unwrap_or_default();
        let kibibytes: u64 = memory.trim_end_matches(" kB").parse().unwrap_or(0);
        Ok(Machine {
            processors: std::thread::available_parallelism().map_or(0, usize::from),
            model: field(&words("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown".to_owned()),
            memory_bytes: kibibytes * 1024,
            kernel: words("/proc/sys/kernel/osrelease").trim().to_owned(),
            file_system: format!("{kind} on {device}"),
            load_average: load_average(),
        })
    }
}

/// How many processes wanted a processor, on average over the last minute.
pub(crate) fn load_average() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(0.0)
}

/// The kind and device of the mount that `folder` is in: the longest mount point above it, and the last such.
fn file_system(mounts: &str, folder: &Path) -> Option<(String, String)> {
    let mut found: Option<(usize, (String, String))> = None;
    for line in mounts.lines() {
        let mut words = line.split(' ');
        let (device, point, kind) = (words.next()?, words.next()?, words.next()?);
        let longer = found.as_ref().is_none_or(|(length, _)| point.len() >= *length);
        if longer && folder.starts_with(point) {
            found = Some((point.len(), (kind.to_owned(), device.to_owned())));
        }
    }
    found.map(|(_, mount)| mount)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_on_the_innermost_mount() {
        let mounts = "/dev/vda / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/vdb /tmp/disk xfs rw 0 0\n";
        let found = |folder| file_system(mounts, Path::new(folder)).map(|(kind, _)| kind);
        assert_eq!(found("/home/x").as_deref(), Some("ext4"));
        assert_eq!(found("/tmp/x").as_deref(), Some("tmpfs"));
        assert_eq!(found("/tmp/disk/x").as_deref(), Some("xfs"));
        assert_eq!(found("/tmpx").as_deref(), Some("ext4"));
    }

    #[test]
    fn memory_is_refused_as_a_disk() {
        if Path::new("/dev/shm").is_dir() {
            let error = Machine::read(Path::new("/dev/shm")).expect_err("it is memory").to_string();
            assert!(error.contains("--data"), "{error}");
        }
    }
}
