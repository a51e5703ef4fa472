//! A runner's folder for one store: where everything lies, who holds it, and what the holder says of itself.
//!
//! ```text
//! DATA/STORE/runner.lock        locked by the runner for as long as it lives; how others see that it does
//! DATA/STORE/runner.json        its registration: process, ports, socket
//! DATA/STORE/control.sock       its control channel
//! DATA/STORE/settings.yaml      the settings that the members follow
//! DATA/STORE/member-I/data/     what member I keeps, and its socket for applications
//! DATA/STORE/member-I/log       what member I said, and log.1 before that
//! DATA/STORE/removed-I-N/       the folder of a member I that the store removed, the Nth such
//! ```
//!
//! Refuses to delete anything of a member: the runner ends and the data stays, and what a removed member kept is set aside.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Longest path that a unix socket may have: `sun_path` is 108 bytes on Linux and 104 on macOS, with its final zero.
const SOCKET_PATH_BYTES_MAX: usize = 103;

/// A command that only asks whether a runner lives holds the lock for an instant; so often a starting runner tries.
const CLAIM_TRIES: u32 = 5;
/// And so long it waits in between.
const CLAIM_PAUSE: Duration = Duration::from_millis(50);

/// `DATA/STORE`, absolute. Making one touches no disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    root: PathBuf,
}

/// The folder is ours until this is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct Claim {
    _lock: File,
}

/// What a runner says of itself to the commands in other terminals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Registration {
    /// The runner's process.
    pub pid: u32,
    /// The store's name.
    pub store: String,
    /// The store's namespace.
    pub namespace: String,
    /// How many members it runs: ordinals `[0, replicas)`.
    pub replicas: u8,
    /// Member `i` listens at `port_base + 10 * i` and the two ports after it.
    pub port_base: u16,
    /// `DATA/STORE`, absolute.
    pub folder: PathBuf,
    /// Its control channel.
    pub socket: PathBuf,
}

/// Why a runner could not have its folder.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// The folder or its lock cannot be made.
    #[error(
        "cannot use {} as a data folder; give a folder that you may write to with --data DIR",
        .path.display()
    )]
    Unwritable {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another runner has it.
    #[error(
        "another runner{} holds {}; stop it, or give this one a folder of its own with --data DIR",
        .pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default(), .path.display()
    )]
    Held {
        /// The folder.
        path: PathBuf,
        /// The other runner, if it said so already.
        pid: Option<u32>,
    },
}

impl Folder {
    /// The folder of `store` below `data`, which need not exist yet.
    ///
    /// # Errors
    /// The working folder is gone, so that a relative path means nothing.
    pub fn new(data: &Path, store: &str) -> io::Result<Folder> {
        Ok(Folder { root: std::path::absolute(data)?.join(store) })
    }

    /// The folder that a registration names.
    pub fn at(root: &Path) -> Folder {
        Folder { root: root.to_path_buf() }
    }

    /// `DATA/STORE`.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The settings that the members follow.
    pub fn settings(&self) -> PathBuf {
        self.root.join("settings.yaml")
    }

    /// The settings that member `ordinal` follows, where members have settings of their own.
    pub fn member_settings(&self, ordinal: u8) -> PathBuf {
        self.root.join(format!("member-{ordinal}")).join("settings.yaml")
    }

    /// What decides in a store with consensus InSync.
    pub fn authority(&self) -> PathBuf {
        self.root.join("authority")
    }

    /// Checkpoints that are kept outside of the members, in a store with strategy Hybrid.
    pub fn outside(&self) -> PathBuf {
        self.root.join("outside")
    }

    /// What member `ordinal` keeps.
    pub fn member_data(&self, ordinal: u8) -> PathBuf {
        self.root.join(format!("member-{ordinal}")).join("data")
    }

    /// The Unix socket of member `ordinal` for applications; none in a folder whose path is too long for that.
    pub fn member_socket(&self, ordinal: u8) -> Option<PathBuf> {
        let socket = self.member_data(ordinal).join("client.sock");
        (socket.as_os_str().len() <= SOCKET_PATH_BYTES_MAX).then_some(socket)
    }

    /// What member `ordinal` said.
    pub fn member_log(&self, ordinal: u8) -> PathBuf {
        self.root.join(format!("member-{ordinal}")).join("log")
    }

    /// What the application beside member `ordinal` said.
    pub fn application_log(&self, ordinal: u8) -> PathBuf {
        self.root.join(format!("member-{ordinal}")).join("application.log")
    }

    /// Where the control channel is: in the folder, or in `elsewhere` if the folder's path is too long for a socket.
    pub fn socket(&self, elsewhere: &Path, port_base: u16) -> PathBuf {
        let here = self.root.join("control.sock");
        if here.as_os_str().as_bytes().len() <= SOCKET_PATH_BYTES_MAX {
            here
        } else {
            elsewhere.join(format!("{port_base}.sock"))
        }
    }

    fn lock(&self) -> PathBuf {
        self.root.join("runner.lock")
    }

    fn registration_path(&self) -> PathBuf {
        self.root.join("runner.json")
    }

    /// Makes the folder with room for so many members, and takes it.
    ///
    /// # Errors
    /// It cannot be made or written to, or another runner has it.
    pub fn claim(&self, replicas: u8) -> Result<Claim, ClaimError> {
        let unwritable = |path: &Path| {
            let path = path.to_path_buf();
            move |source| ClaimError::Unwritable { path, source }
        };
        fs::create_dir_all(&self.root).map_err(unwritable(&self.root))?;
        let path = self.lock();
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(unwritable(&self.root))?;
        let mut tries = 1;
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(source)) => return Err(unwritable(&path)(source)),
                Err(TryLockError::WouldBlock) if tries < CLAIM_TRIES => {
                    tries += 1;
                    thread::sleep(CLAIM_PAUSE);
                }
                Err(TryLockError::WouldBlock) => {
                    let pid = self.registration().map(|registration| registration.pid);
                    return Err(ClaimError::Held { path: self.root.clone(), pid });
                }
            }
        }
        for ordinal in 0..replicas {
            let data = self.member_data(ordinal);
            self.make_member(ordinal).map_err(unwritable(&data))?;
        }
        Ok(Claim { _lock: lock })
    }

    /// Makes room for member `ordinal`. Only for the holder of the claim.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn make_member(&self, ordinal: u8) -> io::Result<()> {
        fs::create_dir_all(self.member_data(ordinal))
    }

    /// Sets the folder of a removed member aside and says where it is now: the next member of this ordinal begins with an
    /// empty one. `None` if there is nothing. Only for the holder of the claim, when nothing runs in it any more.
    ///
    /// # Errors
    /// It cannot be renamed.
    pub fn set_aside(&self, ordinal: u8) -> io::Result<Option<PathBuf>> {
        let aside = (1..u32::MAX).map(|number| self.root.join(format!("removed-{ordinal}-{number}")));
        let aside = aside.into_iter().find(|path| !path.exists()).expect("not all numbers are used");
        match fs::rename(self.root.join(format!("member-{ordinal}")), &aside) {
            Ok(()) => Ok(Some(aside)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether a living runner holds the folder.
    pub fn is_claimed(&self) -> bool {
        File::open(self.lock())
            .is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// What the folder's runner said of itself last. It may be dead: see [`Folder::is_claimed`].
    pub fn registration(&self) -> Option<Registration> {
        serde_json::from_slice(&fs::read(self.registration_path()).ok()?).ok()
    }

    /// Says who we are. Only for the holder of the claim.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn register(&self, registration: &Registration) -> io::Result<()> {
        replace(&self.registration_path(), &serde_json::to_vec_pretty(registration)?)
    }

    /// Takes the registration back. Only for the holder of the claim.
    pub fn unregister(&self) {
        // A file that stays behind misleads nobody: the lock says whether its author lives.
        let _ = fs::remove_file(self.registration_path());
    }
}

/// Writes a file so that a reader sees the old content or the new, never a part.
///
/// # Errors
/// The file beside it cannot be written or renamed.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    fs::write(&beside, content)?;
    fs::rename(&beside, path)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A process that another test starts at this instant has every lock too, until it runs its program.
    pub(crate) fn wait_until_free(folder: &Folder) {
        let until = std::time::Instant::now() + Duration::from_secs(20);
        while folder.is_claimed() {
            assert!(std::time::Instant::now() < until, "nobody holds it any more");
            thread::yield_now();
        }
    }

    fn registration(folder: &Folder) -> Registration {
        Registration {
            pid: 4242,
            store: "orders".into(),
            namespace: "default".into(),
            replicas: 3,
            port_base: 7400,
            folder: folder.root().to_path_buf(),
            socket: folder.socket(Path::new("/run"), 7400),
        }
    }

    #[test]
    fn a_folder_has_one_holder_at_a_time_and_says_who() {
        let data = tempfile::tempdir().expect("a temporary folder");
        let folder = Folder::new(data.path(), "orders").expect("a folder");
        assert!(!folder.is_claimed());
        let claim = folder.claim(3).expect("nobody holds it");
        assert!(folder.is_claimed());
        assert!(folder.member_data(2).is_dir());
        folder.register(&registration(&folder)).expect("writable");
        let error = folder.claim(3).expect_err("it is held").to_string();
        assert!(error.contains("(pid 4242)") && error.contains("--data"), "{error}");
        drop(claim);
        wait_until_free(&folder);
        folder.claim(3).expect("free again");
    }

    #[test]
    fn what_a_removed_member_kept_is_set_aside_and_never_lost() {
        let data = tempfile::tempdir().expect("a temporary folder");
        let folder = Folder::new(data.path(), "orders").expect("a folder");
        for number in 1..=2 {
            folder.make_member(4).expect("writable");
            fs::write(folder.member_data(4).join("log"), number.to_string()).expect("writable");
            let aside = folder.set_aside(4).expect("renamed").expect("it was there");
            assert_eq!(aside, folder.root().join(format!("removed-4-{number}")));
            assert_eq!(fs::read_to_string(aside.join("data/log")).expect("kept"), number.to_string());
        }
        assert_eq!(folder.set_aside(4).expect("nothing to do"), None);
    }

    #[test]
    fn an_unwritable_folder_is_named() {
        let data = tempfile::tempdir().expect("a temporary folder");
        let file = data.path().join("a-file");
        fs::write(&file, "").expect("writable");
        let error = Folder::new(&file, "orders").expect("a folder").claim(1).expect_err("below a file");
        assert!(error.to_string().contains("a-file/orders"), "{error}");
    }

    #[test]
    fn a_long_path_moves_the_socket() {
        let folder = Folder::at(&Path::new("/").join("x".repeat(120)));
        assert_eq!(folder.socket(Path::new("/run/holdfast"), 7500), Path::new("/run/holdfast/7500.sock"));
        assert_eq!(Folder::at(Path::new("/d/s")).socket(Path::new("/r"), 1), Path::new("/d/s/control.sock"));
    }

    #[test]
    fn a_registration_reads_back() {
        let data = tempfile::tempdir().expect("a temporary folder");
        let folder = Folder::new(data.path(), "orders").expect("a folder");
        let _claim = folder.claim(1).expect("free");
        assert_eq!(folder.registration(), None);
        folder.register(&registration(&folder)).expect("writable");
        assert_eq!(folder.registration(), Some(registration(&folder)));
        folder.unregister();
        assert_eq!(folder.registration(), None);
    }
}
