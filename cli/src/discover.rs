//! Finds the runner that a command in another terminal means.
//!
//! Refuses to guess: when several could be meant, all are named.

use std::fs;
use std::path::{Path, PathBuf};

use holdfast_laptop::folder::{Folder, Registration};
use holdfast_laptop::ports::Ports;
use holdfast_laptop::registry::Registry;

use crate::arguments::{PORT_BASE_DEFAULT, Reach, Target};

/// Why no runner was found.
#[derive(Debug, thiserror::Error)]
pub enum DiscoverError {
    /// None runs at all.
    #[error("no `holdfast up` of yours runs on this machine; start one with `holdfast up -f FILE`")]
    None,
    /// None has this port base.
    #[error("no `holdfast up` has port base {port_base}{}", others(.live))]
    NoneAt {
        /// What was asked for.
        port_base: u16,
        /// Those that run.
        live: Vec<Registration>,
    },
    /// None has this folder.
    #[error("no `holdfast up` holds {}{}", .data.display(), others(.live))]
    NoneIn {
        /// What was asked for.
        data: PathBuf,
        /// Those that run.
        live: Vec<Registration>,
    },
    /// None runs this store.
    #[error("no `holdfast up` runs a store {store:?}{}", others(.live))]
    NoneNamed {
        /// What was asked for.
        store: String,
        /// Those that run.
        live: Vec<Registration>,
    },
    /// More than one would do.
    #[error("several runners could be meant; name one with --port-base{}", list(.live))]
    Several {
        /// Those that would do.
        live: Vec<Registration>,
    },
}

fn others(live: &[Registration]) -> String {
    if live.is_empty() { String::new() } else { format!("; these run:{}", list(live)) }
}

fn list(live: &[Registration]) -> String {
    live.iter()
        .map(|one| {
            format!(
                "\n  --port-base {}  {} in {} (pid {})",
                one.port_base,
                one.store,
                one.folder.display(),
                one.pid
            )
        })
        .collect()
}

/// The runner that is meant.
///
/// By its data folder (the one given to `up`, or the store's folder in it); by its port base; else the one at the
/// default port base, else the only one.
///
/// # Errors
/// None or several would do.
pub fn find(target: &Target) -> Result<Registration, DiscoverError> {
    find_in(target, &Registry::of_user())
}

/// The runner of the store with this name, if one is given, else as [`find`].
///
/// # Errors
/// None or several would do.
pub fn find_named(store: Option<&str>, target: &Target) -> Result<Registration, DiscoverError> {
    let Some(store) = store else { return find(target) };
    if target.data.is_some() || target.port_base.is_some() {
        let found = find(target)?;
        return if found.store == store {
            Ok(found)
        } else {
            Err(DiscoverError::NoneNamed { store: store.to_owned(), live: vec![found] })
        };
    }
    let (named, others): (Vec<_>, Vec<_>) =
        Registry::of_user().live().into_iter().partition(|runner| runner.store == store);
    if named.is_empty() {
        return Err(DiscoverError::NoneNamed { store: store.to_owned(), live: others });
    }
    only(named)
}

fn find_in(target: &Target, registry: &Registry) -> Result<Registration, DiscoverError> {
    let live = registry.live();
    if let Some(data) = &target.data {
        return match in_folder(data) {
            found if found.is_empty() => Err(DiscoverError::NoneIn { data: data.clone(), live }),
            found => only(found),
        };
    }
    let at = |port_base| live.iter().find(|one| one.port_base == port_base).cloned();
    match target.port_base {
        Some(port_base) => at(port_base).ok_or(DiscoverError::NoneAt { port_base, live }),
        None => match at(PORT_BASE_DEFAULT) {
            Some(found) => Ok(found),
            None if live.is_empty() => Err(DiscoverError::None),
            None => only(live),
        },
    }
}

fn only(mut live: Vec<Registration>) -> Result<Registration, DiscoverError> {
    match live.pop() {
        Some(one) if live.is_empty() => Ok(one),
        last => {
            live.extend(last);
            Err(DiscoverError::Several { live })
        }
    }
}

/// The living runners of the stores in a data folder, or of the store whose folder it is.
fn in_folder(data: &Path) -> Vec<Registration> {
    let data = std::path::absolute(data).unwrap_or_else(|_| data.to_path_buf());
    let below = fs::read_dir(&data).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let mut found: Vec<Registration> = [data.clone()]
        .into_iter()
        .chain(below)
        .map(|root| Folder::at(&root))
        .filter(Folder::is_claimed)
        .filter_map(|folder| folder.registration())
        .collect();
    found.sort_by_key(|one| one.port_base);
    found
}

/// Where a command that speaks to members finds them.
#[derive(Debug)]
pub struct Found {
    /// Members' client addresses as URLs; by ordinal if there is a runner.
    pub endpoints: Vec<String>,
    /// The runner, unless addresses were given.
    pub runner: Option<Registration>,
}

/// The members that are meant.
///
/// # Errors
/// No addresses were given, and no runner is found.
pub fn reach(reach: &Reach) -> Result<Found, DiscoverError> {
    if !reach.endpoints.is_empty() {
        return Ok(Found { endpoints: reach.endpoints.clone(), runner: None });
    }
    let runner = find(&reach.target)?;
    let ports = Ports::new(runner.port_base, runner.replicas).map(Ports::endpoints).unwrap_or_default();
    Ok(Found { endpoints: ports, runner: Some(runner) })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use holdfast_laptop::folder::Claim;

    use super::*;

    /// A process that another test starts at this instant has every lock too, until it runs its program.
    fn wait_until_free(folder: &Folder) {
        let until = Instant::now() + Duration::from_secs(20);
        while folder.is_claimed() {
            assert!(Instant::now() < until, "nobody holds it any more");
            std::thread::yield_now();
        }
    }

    struct Machine {
        data: tempfile::TempDir,
        registry: Registry,
        claims: Vec<Claim>,
    }

    fn machine(runners: &[(&str, u16)]) -> Machine {
        let data = tempfile::tempdir().expect("a temporary folder");
        let registry = Registry::at(&data.path().join("registry"));
        let mut claims = Vec::new();
        for (store, port_base) in runners {
            let folder = Folder::new(data.path(), store).expect("a folder");
            claims.push(folder.claim(1).expect("free"));
            let registration = Registration {
                pid: 1,
                store: (*store).into(),
                namespace: "default".into(),
                replicas: 1,
                port_base: *port_base,
                folder: folder.root().to_path_buf(),
                socket: folder.socket(data.path(), *port_base),
            };
            folder.register(&registration).expect("writable");
            registry.add(&registration).expect("writable");
        }
        Machine { data, registry, claims }
    }

    /// The store that is found, or the error's first line.
    fn check(machine: &Machine, data: Option<&str>, port_base: Option<u16>, expected: &str) {
        let target = Target { data: data.map(|data| machine.data.path().join(data)), port_base };
        let found = match find_in(&target, &machine.registry) {
            Ok(found) => found.store,
            Err(error) => error.to_string(),
        };
        assert!(found.contains(expected), "{found}");
    }

    #[test]
    fn without_a_name_it_is_the_default_or_the_only_one() {
        check(&machine(&[]), None, None, "start one with `holdfast up -f FILE`");
        check(&machine(&[("a", 7500)]), None, None, "a");
        check(&machine(&[("a", 7500), ("b", 7400)]), None, None, "b");
        check(&machine(&[("a", 7500), ("b", 7600)]), None, None, "several runners could be meant");
    }

    #[test]
    fn by_port_base_and_by_folder() {
        let machine = machine(&[("a", 7500), ("b", 7600)]);
        check(&machine, None, Some(7600), "b");
        check(
            &machine,
            None,
            Some(7700),
            "no `holdfast up` has port base 7700; these run:\n  --port-base 7500  a in",
        );
        check(&machine, Some("b"), None, "b");
        check(&machine, Some(""), None, "several runners could be meant");
        check(&machine, Some("c"), None, "no `holdfast up` holds");
    }

    #[test]
    fn the_dead_are_not_found() {
        let mut machine = machine(&[("a", 7500)]);
        machine.claims.clear();
        wait_until_free(&Folder::new(machine.data.path(), "a").expect("a folder"));
        check(&machine, None, None, "start one with");
        check(&machine, Some("a"), None, "no `holdfast up` holds");
    }
}
