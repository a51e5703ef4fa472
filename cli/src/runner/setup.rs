//! Everything that can be wrong before the first process starts, in the order in which it is cheapest to know.
//!
//! Refuses to start anything; what it takes (the folder) it gives back when it is dropped.

use std::io;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use holdfast_api::{ReplicatedStore, Settings, SettingsError};
use holdfast_laptop::companion;
use holdfast_laptop::folder::{Claim, ClaimError, Folder, replace};
use holdfast_laptop::ports::{PortError, Ports, are};
use holdfast_laptop::process::Program;
use holdfast_laptop::registry::Registry;

use super::edit;
use crate::arguments::Up;
use crate::manifest::{Manifest, ManifestFileError};
use crate::remark;

/// How long the members of a killed runner are waited for: as long as they may take to end.
const ORPHANS_WAIT: Duration = Duration::from_secs(30);
/// How often their ports are looked at meanwhile.
const ORPHANS_PAUSE: Duration = Duration::from_millis(100);

/// A store that may start.
#[derive(Debug)]
pub struct Setup {
    /// What the manifest says.
    pub store: ReplicatedStore,
    /// The manifest's text.
    pub text: String,
    /// What the members follow; written to [`Folder::settings`].
    pub settings: Settings,
    /// Where everything lies.
    pub folder: Folder,
    /// Ours until this is dropped.
    pub claim: Claim,
    /// Where members listen.
    pub ports: Ports,
    /// Further ports for clients, by ordinal.
    pub also_clients: Vec<Vec<u16>>,
    /// What runs beside each member, if anything does.
    pub application: Option<Program>,
}

/// Why a store may not start.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestFileError),
    /// The ports.
    #[error(transparent)]
    Ports(#[from] PortError),
    /// The ports belong to another runner of this user.
    #[error(
        "{} taken on 127.0.0.1 by the `holdfast up` of {store} (pid {pid}), which has port base {port_base}; stop it, or \
         give this one a free range with --port-base", are(.ports)
    )]
    PortsOfRunner {
        /// Which ports, in order.
        ports: Vec<u16>,
        /// The other store.
        store: String,
        /// Its runner.
        pid: u32,
        /// Its port base.
        port_base: u16,
    },
    /// The folder.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// The working folder is gone.
    #[error("the working folder cannot be found; give an absolute path with --data DIR")]
    NoWorkingFolder(#[source] io::Error),
    /// The application is not there.
    #[error("cannot find the program of spec.laptop.application; build or install it, or write its path")]
    Application(#[source] io::Error),
    /// The manifest gives no settings.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The data in the folder is of another kind of store.
    #[error(
        "the data in {} belongs to another store than the manifest describes: {reason}; give another folder with \
         --data DIR, or remove that one to begin anew", .path.display()
    )]
    OtherData {
        /// The folder.
        path: PathBuf,
        /// What differs.
        reason: String,
    },
    /// The settings cannot be written.
    #[error("cannot write the members' settings to {}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Setup {
    /// Reads, checks and claims everything, and writes the members' settings.
    ///
    /// # Errors
    /// The first thing that is wrong; nothing has started then.
    pub fn new(up: &Up) -> Result<Setup, SetupError> {
        let Manifest { store, text } = Manifest::load(&up.file)?;
        let folder = Folder::new(&up.data, &store.store_name().name).map_err(SetupError::NoWorkingFolder)?;
        // Those that the last run had and that are to go are there until the store has removed them.
        let before = settings_before(&folder);
        let there = before.as_ref().map_or(0, |before| before.peers.len() as u8);
        let members = there.max(store.spec.replicas);
        let ports = Ports::new(up.port_base, members)?;
        let settings = store.settings_on_laptop(ports.peers())?;
        if let Some(before) = &before {
            edit::check_data(before, &settings)
                .map_err(|reason| SetupError::OtherData { path: folder.root().to_path_buf(), reason })?;
        }
        let laptop = store.spec.laptop.as_ref();
        let application = laptop.and_then(|laptop| laptop.application.first());
        let application =
            application.map(|name| companion::find(name)).transpose().map_err(SetupError::Application)?;
        let claim = folder.claim(members)?;
        let also = store.spec.laptop.as_ref().map_or(&[][..], |laptop| &laptop.client_ports);
        wait_for_orphans(&folder, ports, also)?;
        let of = |ordinal| {
            let laptop = store.spec.laptop.as_ref();
            laptop.map_or_else(Vec::new, |laptop| laptop.client_ports_of(ordinal, store.spec.replicas))
        };
        let also_clients = (0..store.spec.replicas).map(of).collect();
        let path = folder.settings();
        replace(&path, settings.to_yaml().as_bytes()).map_err(|source| SetupError::Write { path, source })?;
        Ok(Setup { store, text, settings, folder, claim, ports, also_clients, application })
    }
}

/// The settings of the last run, which say what the data in the folder is.
fn settings_before(folder: &Folder) -> Option<Settings> {
    // None at a first run; else a file that only this program writes and that is whole or absent.
    Settings::read(&std::fs::read_to_string(folder.settings()).ok()?).ok()
}

/// Members of a runner that was killed end by themselves, but not at once.
fn wait_for_orphans(folder: &Folder, ports: Ports, also: &[u16]) -> Result<(), SetupError> {
    let check_free = || ports.check_free().and_then(|()| ports.check_also_free(also));
    let Err(error) = check_free() else { return Ok(()) };
    // A runner that ended in order took its registration back.
    let killed = folder.registration().filter(|before| before.port_base == ports.base());
    let Some(killed) = killed else { return Err(of_runner(error)) };
    remark(&format!(
        "waiting for the members of the runner before (pid {}), which was killed, to end",
        killed.pid
    ));
    let until = Instant::now() + ORPHANS_WAIT;
    loop {
        sleep(ORPHANS_PAUSE);
        match check_free() {
            Err(PortError::Taken { .. } | PortError::AlsoTaken { .. }) if Instant::now() < until => {}
            other => return other.map_err(of_runner),
        }
    }
}

/// The error, with the name of the runner that has the ports if it is one of ours.
fn of_runner(error: PortError) -> SetupError {
    let PortError::Taken { ports } = &error else { return error.into() };
    let owner = Registry::of_user().live().into_iter().find(|runner| {
        let theirs = Ports::new(runner.port_base, runner.replicas);
        theirs.is_ok_and(|theirs| ports.iter().any(|port| theirs.has(*port)))
    });
    match owner {
        Some(owner) => {
            let (store, pid, port_base) = (owner.store, owner.pid, owner.port_base);
            SetupError::PortsOfRunner { ports: ports.clone(), store, pid, port_base }
        }
        None => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::path::Path;

    use super::*;
    use crate::arguments::UpOutput;
    use crate::exit::chain;
    use crate::manifest::tests::ORDERS;

    fn up(folder: &Path, text: &str, port_base: u16) -> Up {
        let file = folder.join("store.yaml");
        std::fs::write(&file, text).expect("writable");
        Up { file, data: folder.join("data"), port_base, dashboard_port: None, output: UpOutput::Table }
    }

    /// A base from which nine ports were free just now. Below the system's own choices, which other tests use.
    fn free_base(from: u16) -> u16 {
        (from..30_000)
            .step_by(30)
            .find(|base| Ports::new(*base, 3).is_ok_and(|ports| ports.check_free().is_ok()))
            .expect("free")
    }

    #[test]
    fn a_store_that_may_start_has_settings_and_folders() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let base = free_base(21_000);
        let setup = Setup::new(&up(folder.path(), ORDERS, base)).expect("all is well");
        let written = std::fs::read_to_string(setup.folder.settings()).expect("written");
        assert_eq!(Settings::read(&written).expect("valid"), setup.settings);
        assert_eq!(setup.settings.peers[2], format!("127.0.0.1:{}", base + 21));
        assert!(setup.folder.member_data(2).is_dir());
        let error = Setup::new(&up(folder.path(), ORDERS, base)).expect_err("it is held");
        assert!(matches!(error, SetupError::Claim(ClaimError::Held { .. })), "{error}");
    }

    #[test]
    fn further_client_ports_go_to_the_members_in_turn() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (base, also) = (free_base(25_000), free_base(26_000));
        let text = |first: u16| {
            format!(
                "{ORDERS}  laptop: {{clientPorts: [{first}, {}, {}, {}]}}\n",
                also + 1,
                also + 2,
                also + 3
            )
        };
        let setup = Setup::new(&up(folder.path(), &text(also), base)).expect("all is well");
        assert_eq!(setup.also_clients, [vec![also, also + 3], vec![also + 1], vec![also + 2]]);
        drop(setup);
        let error = Setup::new(&up(folder.path(), &text(base + 1), base)).expect_err("a member's own");
        assert!(
            error.to_string().contains(&format!("port {} is among the members' own", base + 1)),
            "{error}"
        );
        let _held = TcpListener::bind(("127.0.0.1", also + 2)).expect("free");
        let error = Setup::new(&up(folder.path(), &text(also), base)).expect_err("a port is taken");
        assert!(error.to_string().starts_with(&format!("port {} is taken", also + 2)), "{error}");
    }

    #[test]
    fn data_of_another_kind_of_store_is_left_alone() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let base = free_base(22_000);
        drop(Setup::new(&up(folder.path(), ORDERS, base)).expect("all is well"));
        let baseline = ORDERS.replace("replicas: 3", "replicas: 1\n  strategy: Baseline");
        let error = Setup::new(&up(folder.path(), &baseline, base)).expect_err("it keeps no log");
        assert!(chain(&error).contains("durability cannot change from Disk to Memory"), "{error}");
        drop(Setup::new(&up(folder.path(), ORDERS, base)).expect("nothing was changed"));
    }

    #[test]
    fn members_of_the_last_run_are_there_until_they_are_removed() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let base = free_base(24_000);
        drop(Setup::new(&up(folder.path(), ORDERS, base)).expect("all is well"));
        let one = ORDERS.replace("replicas: 3", "replicas: 1");
        let setup = Setup::new(&up(folder.path(), &one, base)).expect("all is well");
        assert_eq!((setup.settings.replicas, setup.settings.peers.len()), (1, 3));
    }

    #[test]
    fn taken_ports_are_named_and_nothing_is_written() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let base = free_base(23_000);
        let _held = TcpListener::bind(("127.0.0.1", base + 12)).expect("free");
        let error = Setup::new(&up(folder.path(), ORDERS, base)).expect_err("a port is taken");
        assert!(
            error.to_string().starts_with(&format!("port {} is taken on 127.0.0.1", base + 12)),
            "{error}"
        );
        assert!(!folder.path().join("data/orders/settings.yaml").exists());
    }
}
