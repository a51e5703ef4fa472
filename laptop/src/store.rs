//! All members of a store that a program made for itself, as real processes: to be killed, stopped, cut off, and ended.
//!
//! Refuses to wait for members to be ready: who wants to know asks them. Refuses to leave anything: [`Store::discard`] ends the members
//! and removes the folder; a store that is dropped instead has its members killed, and its folder goes with the [`Scratch`].

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};

use holdfast_api::Settings;
use holdfast_sidecar::arguments::ArgumentsError;
use rustix::process::Signal;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

use crate::event::Event;
use crate::folder::{Claim, ClaimError, Folder, replace};
use crate::links::Links;
use crate::member::{Member, Place};
use crate::ports::{PortError, Ports};
use crate::process::Program;
use crate::scratch::Scratch;
use crate::supervisor::Order;

/// Events that may wait to be thrown away.
const EVENTS_MAX: usize = 64;
/// Stores get their ports from here on: above what services have by convention.
const PORTS_MIN: u16 = 12_000;
/// And below what systems give to outgoing connections, 32768 on Linux.
const PORTS_MAX: u16 = 32_000;
/// Room for the ports of the largest store.
const PORTS_STEP: u16 = 80;

/// How to make a store.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    /// What its members follow; the addresses of peers are filled in.
    pub settings: Settings,
    /// What to run.
    pub program: &'a Program,
    /// What comes before a member's own arguments.
    pub verb: &'a [OsString],
    /// Whether all connections go over [`Links`], so that members can be cut off. It costs each message a hop.
    pub links: bool,
}

/// A store that runs.
#[derive(Debug)]
pub struct Store {
    folder: Folder,
    _claim: Claim,
    ports: Ports,
    members: Vec<Member>,
    links: Option<Links>,
    supervisors: Mutex<JoinSet<bool>>,
}

/// Why a store does not run.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No range of ports is free.
    #[error("no {PORTS_STEP} ports in a row are free between {PORTS_MIN} and {PORTS_MAX} on 127.0.0.1")]
    NoPorts(#[source] PortError),
    /// The folder cannot be used.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// A file cannot be written, or removed.
    #[error("cannot write to {}", .path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The lines between members cannot be opened.
    #[error("cannot open the lines between members")]
    Links(#[source] io::Error),
    /// A member cannot be.
    #[error(transparent)]
    Member(#[from] ArgumentsError),
    /// A member's supervisor has ended.
    #[error("member {0} is not looked after any more; this is a defect of ours")]
    Gone(u8),
}

impl Store {
    /// Starts a store in a new folder of `scratch`. Call inside a runtime.
    ///
    /// # Errors
    /// Anything that is wrong before the first member starts. A member that dies is started again, and its report and log say so.
    pub async fn start(plan: Plan<'_>, scratch: &Scratch) -> Result<Store, StoreError> {
        let Plan { mut settings, program, verb, links } = plan;
        let folder = Folder::at(&scratch.next());
        let ports = free_ports(settings.replicas)?;
        let claim = folder.claim(settings.replicas)?;
        let links = match links {
            true => Some(Links::open(ports, settings.replicas).await.map_err(StoreError::Links)?),
            false => None,
        };
        let (events_in, mut events) = mpsc::channel::<Event>(EVENTS_MAX);
        tokio::spawn(async move { while events.recv().await.is_some() {} });
        let mut supervisors = JoinSet::new();
        let mut members = Vec::new();
        let store = settings.store.name.clone();
        for ordinal in 0..settings.replicas {
            settings.peers = links.as_ref().map_or_else(|| ports.peers(), |links| links.peers_of(ordinal));
            let path = folder.member_settings(ordinal);
            replace(&path, settings.to_yaml().as_bytes())
                .map_err(|source| StoreError::Write { path: path.clone(), source })?;
            let place = Place {
                store: &store,
                folder: &folder,
                ports,
                settings: path,
                program,
                verb,
                also_clients: &[],
            };
            members.push(Member::start(ordinal, &place, events_in.clone(), &mut supervisors)?);
        }
        Ok(Store { folder, _claim: claim, ports, members, links, supervisors: Mutex::new(supervisors) })
    }

    /// The members, by ordinal.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The lines between members and from clients, if there are any.
    pub fn links(&self) -> Option<&Links> {
        self.links.as_ref()
    }

    /// Where clients reach the members, by ordinal, as `HOST:PORT`: over the lines where there are any.
    pub fn clients(&self) -> Vec<String> {
        let direct = |ordinal| self.ports.client(ordinal);
        let reached =
            |ordinal| self.links.as_ref().map_or_else(|| direct(ordinal), |links| links.client(ordinal));
        (0..self.members.len() as u8).map(|ordinal| reached(ordinal).to_string()).collect()
    }

    /// The store's folder.
    pub fn folder(&self) -> &Path {
        self.folder.root()
    }

    /// Sends a member a signal. One that dies of it is started again, the first time at once.
    ///
    /// # Errors
    /// Only if the member is not looked after any more.
    pub async fn signal(&self, ordinal: u8, signal: Signal) -> Result<(), StoreError> {
        let answer = |answer| Order::Signal(signal, answer);
        self.member(ordinal).order(answer).await.map(drop).ok_or(StoreError::Gone(ordinal))
    }

    /// Kills a member by SIGKILL and leaves it down. When this returns the process is gone.
    ///
    /// # Errors
    /// Only if the member is not looked after any more.
    pub async fn fail(&self, ordinal: u8) -> Result<(), StoreError> {
        self.member(ordinal).order(Order::Fail).await.map(drop).ok_or(StoreError::Gone(ordinal))
    }

    /// Starts a member that is down. That it runs is no error.
    ///
    /// # Errors
    /// Only if the member is not looked after any more.
    pub async fn restart(&self, ordinal: u8) -> Result<(), StoreError> {
        self.member(ordinal).order(Order::Start).await.map(drop).ok_or(StoreError::Gone(ordinal))
    }

    /// Removes what a member keeps. Fail it first.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn wipe(&self, ordinal: u8) -> Result<(), StoreError> {
        let path = self.folder.member_data(ordinal);
        std::fs::remove_dir_all(&path)
            .and_then(|()| std::fs::create_dir_all(&path))
            .map_err(|source| StoreError::Write { path, source })
    }

    /// Kills every member, waits until all are gone, and removes the folder.
    ///
    /// # Errors
    /// The folder cannot be removed.
    pub async fn discard(&self) -> Result<(), StoreError> {
        for member in &self.members {
            // A supervisor that is gone has no process either.
            let _ = member.orders().send(Order::Kill).await;
        }
        let mut supervisors = self.supervisors.lock().await;
        while supervisors.join_next().await.is_some() {}
        let path = self.folder.root().to_path_buf();
        match std::fs::remove_dir_all(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::Write { path, source })
            }
            _ => Ok(()),
        }
    }

    fn member(&self, ordinal: u8) -> &Member {
        &self.members[usize::from(ordinal)]
    }
}

/// Ports that are free at this instant. Different programs, and different stores of one, begin to look at different places.
fn free_ports(replicas: u8) -> Result<Ports, StoreError> {
    static STORES: AtomicU16 = AtomicU16::new(0);
    let steps = (PORTS_MAX - PORTS_MIN) / PORTS_STEP;
    let first =
        (std::process::id() % u32::from(steps)) as u16 + STORES.fetch_add(1, Ordering::Relaxed) % steps;
    let mut last = None;
    for step in 0..steps {
        let base = PORTS_MIN + (first + step) % steps * PORTS_STEP;
        match Ports::new(base, replicas).and_then(|ports| ports.check_free().map(|()| ports)) {
            Ok(ports) => return Ok(ports),
            Err(error) => last = Some(error),
        }
    }
    Err(StoreError::NoPorts(last.expect("there are steps")))
}
