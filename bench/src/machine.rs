//! Refuses folders in memory, where a flush costs nothing.

use std::path::Path;

use anyhow::{Context as _, ensure};
use holdfast_figures::Machine;

/// This machine, with data in `folder`.
///
/// # Errors
///
/// If the folder is in memory.
pub(crate) fn read(folder: &Path) -> anyhow::Result<Machine> {
    let machine = Machine::read(folder).with_context(|| format!("cannot look at {}", folder.display()))?;
    ensure!(
        !machine.is_in_memory(),
        "{} is on {}, where a flush costs nothing: give a folder on a disk by --data",
        folder.display(),
        machine.file_system
    );
    Ok(machine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_refused_as_a_disk() {
        if Path::new("/dev/shm").is_dir() {
            let error = read(Path::new("/dev/shm")).expect_err("it is memory").to_string();
            assert!(error.contains("--data"), "{error}");
        }
    }
}
