//! Where a run took place, as far as the kernel tells.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// The machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Processors.
    pub processors: usize,
    /// What the first of them is called.
    pub model: String,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// The kernel's release.
    pub kernel: String,
    /// The file system that the data was on, and its device: `ext4 on /dev/vda`.
    pub file_system: String,
    /// The load average over one minute before the run.
    pub load_average: f64,
}

/// File systems that forget everything at a power cut.
const IN_MEMORY: [&str; 2] = ["tmpfs", "ramfs"];

impl Machine {
    /// This machine, with data in `folder`.
    ///
    /// # Errors
    ///
    /// If the folder does not exist, or the kernel does not tell what it is on.
    pub fn read(folder: &Path) -> io::Result<Machine> {
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        let (kind, device) = file_system(&mounts, &fs::canonicalize(folder)?)
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the folder is on no file system"))?;
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

    /// Whether the data was in memory, where a flush costs nothing.
    pub fn is_in_memory(&self) -> bool {
        IN_MEMORY.contains(&self.file_system.split(' ').next().unwrap_or_default())
    }

    /// It in one line.
    pub fn line(&self) -> String {
        let Machine { processors, model, memory_bytes, kernel, file_system, .. } = self;
        let gibibytes = *memory_bytes as f64 / f64::from(1 << 30);
        format!("{processors} × {model}, {gibibytes:.0} GiB, Linux {kernel}, {file_system}")
    }
}

/// How many processes wanted a processor, on average over the last minute.
pub fn load_average() -> f64 {
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
    fn memory_is_no_disk() {
        if Path::new("/dev/shm").is_dir() {
            assert!(Machine::read(Path::new("/dev/shm")).expect("a machine").is_in_memory());
        }
        Machine::read(Path::new("/no/such/folder")).expect_err("no folder");
    }
}
