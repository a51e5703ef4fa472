//! Where a member's data lies: a plain folder, or a file system of its own in an image file, whose power can be cut. A cut loses what
//! was written and not flushed, as a real one does; what the disk's own cache would lose beyond that is not imitated.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use holdfast_xtask::command;

use crate::wait;

/// Length of an image in bytes: mkfs.xfs makes none below 300 MB. Images are sparse files.
const IMAGE_BYTES: u64 = 384 * 1024 * 1024;

/// How long a file system may be busy after the last process that used it ended.
const UNMOUNT_WAIT_MAX: Duration = Duration::from_secs(10);

/// What a member's data lies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSystem {
    /// The machine's own file system. Its power cannot be cut.
    Host,
    /// ext4 in an image.
    Ext4,
    /// XFS in an image.
    Xfs,
}

/// One member's disk. Dropping it unmounts it and removes an image.
#[derive(Debug)]
pub struct Disk {
    file_system: FileSystem,
    image: PathBuf,
    mount: PathBuf,
}

impl Disk {
    /// Make the disk `name` in `folder`.
    ///
    /// # Errors
    ///
    /// If that cannot be done; only root can mount.
    pub fn create(file_system: FileSystem, folder: &Path, name: &str) -> anyhow::Result<Disk> {
        let disk = Disk { file_system, image: folder.join(format!("{name}.img")), mount: folder.join(name) };
        fs::create_dir_all(&disk.mount).context("cannot make a folder for data")?;
        let mkfs: &[&str] = match file_system {
            FileSystem::Host => return Ok(disk),
            FileSystem::Ext4 => &["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=1,lazy_journal_init=1"],
            FileSystem::Xfs => &["mkfs.xfs", "-q", "-f"],
        };
        fs::File::create(&disk.image)?.set_len(IMAGE_BYTES).context("cannot make an image")?;
        command::capture(command::words(mkfs).arg(&disk.image))?;
        disk.mount()?;
        Ok(disk)
    }

    /// The folder for the member.
    pub fn data(&self) -> PathBuf {
        self.mount.join("data")
    }

    /// Cut the power: from now on nothing reaches the disk, and what was not flushed is lost. The member must be ended
    /// before [`Disk::restore`].
    ///
    /// # Errors
    ///
    /// If the file system has no such switch, or is not a mounted image: the machine's own must never be cut.
    pub fn cut_power(&self) -> anyhow::Result<()> {
        let device = |path: &Path| fs::metadata(path).map(|found| found.dev());
        let own = device(&self.mount).with_context(|| format!("cannot look at {}", self.mount.display()))?;
        let around = device(&self.image).context("cannot look at an image")?;
        ensure!(own != around, "{} is no file system of its own", self.mount.display());
        command::capture(command::words(["xfs_io", "-x", "-c", "shutdown"]).arg(&self.mount))?;
        Ok(())
    }

    /// Bring the disk back as after a power cut.
    ///
    /// # Errors
    ///
    /// If the file system cannot be unmounted or mounted.
    pub fn restore(&self) -> anyhow::Result<()> {
        self.unmount()?;
        // Whoever copied the list of mounts in this instant, as every new container does, keeps the file system alive as it
        // is, without power.
        let mount = || {
            self.mount()?;
            let probe = self.mount.join("probe");
            let works = fs::write(&probe, "").and_then(|()| fs::remove_file(&probe));
            works.map_err(|error| self.unmount().err().unwrap_or_else(|| error.into()))
        };
        wait::until("a file system has power again", UNMOUNT_WAIT_MAX, mount)?;
        Ok(())
    }

    fn mount(&self) -> anyhow::Result<()> {
        command::capture(Command::new("mount").args(["-o", "loop"]).arg(&self.image).arg(&self.mount))?;
        Ok(())
    }

    fn unmount(&self) -> anyhow::Result<()> {
        let unmount = || command::capture(Command::new("umount").arg(&self.mount));
        wait::until("a file system can be unmounted", UNMOUNT_WAIT_MAX, unmount)?;
        Ok(())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.file_system != FileSystem::Host {
            if self.unmount().is_err() {
                let _ = command::capture(Command::new("umount").arg("--lazy").arg(&self.mount));
            }
            let _ = fs::remove_file(&self.image);
        }
    }
}

/// Unmount and remove the images below `folder`, which belonged to a process that did not live to do it itself.
pub fn sweep(folder: &Path) {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    for point in points.filter(|point| Path::new(point).starts_with(folder)) {
        let _ = command::capture(&mut command::words(["umount", "--lazy", point]));
    }
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().extension().is_some_and(|ending| ending == "img") {
            let _ = fs::remove_file(entry.path());
        }
    }
}
