//! Which runners of this user live on this machine, by port base: one small file each in a folder of the user's own.
//!
//! Refuses to trust the files: a runner counts only while it holds the lock of the folder that its file names.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::folder::{Folder, Registration, replace};

/// The folders that registrations may lie in; the first is the one to write to.
///
/// `$XDG_RUNTIME_DIR/holdfast` where a login session has one, else `holdfast-UID` in the temporary folder. Both are
/// searched, because two terminals need not share their environment.
#[derive(Clone, Debug)]
pub struct Registry {
    folders: Vec<PathBuf>,
}

/// Why a runner could not be entered.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The folder cannot be made or written to.
    #[error("cannot keep the list of runners in {}", .path.display())]
    Unwritable {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody else could write there.
    #[error("{} is not a folder of yours alone (mode 0700), so the list of runners cannot be kept there", .path.display())]
    NotPrivate {
        /// The folder.
        path: PathBuf,
    },
}

impl Registry {
    /// This user's registry. Touches no disk.
    pub fn of_user() -> Registry {
        let user = rustix::process::geteuid().as_raw();
        let session = std::env::var_os("XDG_RUNTIME_DIR")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute() && path.is_dir())
            .map(|path| path.join("holdfast"));
        let temporary = std::env::temp_dir().join(format!("holdfast-{user}"));
        Registry { folders: session.into_iter().chain([temporary]).collect() }
    }

    /// The registry in this folder alone.
    pub fn at(folder: &Path) -> Registry {
        Registry { folders: vec![folder.to_path_buf()] }
    }

    /// Where to write, made if it was missing.
    ///
    /// # Errors
    /// It cannot be made, or is not private: in a shared temporary folder somebody else may have made it first.
    pub fn folder(&self) -> Result<&Path, RegistryError> {
        let path = self.folders.first().expect("there is always the temporary folder").as_path();
        let unwritable = |source| RegistryError::Unwritable { path: path.to_path_buf(), source };
        match fs::DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(unwritable(error)),
            _ => {}
        }
        let found = fs::symlink_metadata(path).map_err(unwritable)?;
        let ours = found.uid() == rustix::process::geteuid().as_raw();
        if found.is_dir() && ours && found.permissions().mode() & 0o077 == 0 {
            Ok(path)
        } else {
            Err(RegistryError::NotPrivate { path: path.to_path_buf() })
        }
    }

    /// Enters a runner, which holds its folder already, and clears away what dead runners left.
    ///
    /// # Errors
    /// The folder or the file cannot be written.
    pub fn add(&self, registration: &Registration) -> Result<(), RegistryError> {
        self.clear_dead();
        let path = self.folder()?.join(file_name(registration.port_base));
        let content = serde_json::to_vec_pretty(registration).map_err(io::Error::from);
        content
            .and_then(|content| replace(&path, &content))
            .map_err(|source| RegistryError::Unwritable { path, source })
    }

    /// Takes a runner out, if the entry is still its own.
    pub fn remove(&self, registration: &Registration) {
        for folder in &self.folders {
            let path = folder.join(file_name(registration.port_base));
            if read(&path).as_ref() == Some(registration) {
                // Left behind it would only be stale, and stale entries are skipped.
                let _ = fs::remove_file(path);
            }
        }
    }

    fn clear_dead(&self) {
        for (path, registration) in self.entries() {
            if !lives(&registration) {
                // Somebody else may have cleared it away already.
                let _ = fs::remove_file(path);
            }
        }
    }

    fn entries(&self) -> impl Iterator<Item = (PathBuf, Registration)> {
        let entries = self.folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten();
        entries.filter_map(|entry| {
            let path = entry.ok()?.path();
            read(&path).map(|registration| (path, registration))
        })
    }

    /// The runners that live, by port base.
    pub fn live(&self) -> Vec<Registration> {
        let mut found: Vec<Registration> =
            self.entries().map(|(_, registration)| registration).filter(lives).collect();
        found.sort_by(|one, other| (one.port_base, &one.folder).cmp(&(other.port_base, &other.folder)));
        found.dedup();
        found
    }
}

/// Whether the runner that wrote this still holds its folder.
fn lives(registration: &Registration) -> bool {
    let folder = Folder::at(&registration.folder);
    folder.is_claimed() && folder.registration().as_ref() == Some(registration)
}

fn file_name(port_base: u16) -> String {
    format!("{port_base}.json")
}

fn read(path: &Path) -> Option<Registration> {
    if path.extension()? != "json" {
        return None;
    }
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::tests::wait_until_free;

    fn runner(data: &Path, store: &str, port_base: u16) -> (Folder, Registration) {
        let folder = Folder::new(data, store).expect("a folder");
        let registration = Registration {
            pid: 1,
            store: store.into(),
            namespace: "default".into(),
            replicas: 1,
            port_base,
            folder: folder.root().to_path_buf(),
            socket: folder.socket(data, port_base),
        };
        (folder, registration)
    }

    #[test]
    fn only_runners_that_hold_their_folder_are_found() {
        let data = tempfile::tempdir().expect("a temporary folder");
        let registry = Registry::at(&data.path().join("registry"));
        let (living_folder, living) = runner(data.path(), "living", 7500);
        let (dead_folder, dead) = runner(data.path(), "dead", 7400);
        let _claim = living_folder.claim(1).expect("free");
        living_folder.register(&living).expect("writable");
        drop(dead_folder.claim(1).expect("free"));
        wait_until_free(&dead_folder);
        dead_folder.register(&dead).expect("writable");
        registry.add(&dead).expect("writable");
        assert_eq!(registry.live(), []);
        registry.add(&living).expect("writable");
        assert_eq!(registry.live(), std::slice::from_ref(&living));
        assert!(!data.path().join("registry/7400.json").exists(), "what the dead left is cleared away");
        registry.remove(&living);
        assert_eq!(registry.live(), []);
    }

    #[test]
    fn a_folder_that_others_may_write_to_is_refused() {
        let data = tempfile::tempdir().expect("a temporary folder");
        let path = data.path().join("registry");
        fs::create_dir(&path).expect("writable");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).expect("ours");
        let error = Registry::at(&path).add(&runner(data.path(), "x", 1).1).expect_err("not private");
        assert!(matches!(error, RegistryError::NotPrivate { .. }), "{error}");
    }
}
