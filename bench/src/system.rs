//! The systems that are compared: three members of each as processes on loopback, with their own defaults except where the
//! comparison needs otherwise; [`Cluster::settings`] says what was set.

mod etcd;
mod holdfast;
mod nats;
mod redis;

use std::path::{Path, PathBuf};
use std::time::Duration;

use holdfast_api::Consensus;
use serde::{Deserialize, Serialize};
use socket2::SockAddr;

pub(crate) use self::holdfast::checkpoint;
use crate::ports;
use crate::process::Process;
use crate::protocol::Protocol;

/// Members of every system.
pub(crate) const MEMBERS: usize = 3;

/// How long a system may take until it serves: NATS elects twice, for 4 to 9 seconds each, and the machine may be busy.
pub(crate) const START_TIME_MAX: Duration = Duration::from_secs(60);

/// Time between two looks whether a system serves.
pub(crate) const LOOK_PAUSE: Duration = Duration::from_millis(20);

/// A system and how it is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum System {
    /// Holdfast, three members, majority on disk.
    Holdfast,
    /// Holdfast, three members, all that are in sync on disk; a file decides who leads.
    HoldfastInSync,
    /// etcd.
    Etcd,
    /// NATS JetStream, a stream on one of three servers, a flush for every write.
    NatsOne,
    /// NATS JetStream, a stream of three replicas, a flush for every write.
    NatsAlways,
    /// NATS JetStream, a stream of three replicas, a flush every two minutes.
    NatsDefault,
    /// Redis, a primary and two replicas, a flush for every write, WAIT 1.
    Redis,
}

/// Where the programs are.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    /// `holdfast-sidecar`.
    pub(crate) sidecar: PathBuf,
    /// The folder of etcd, its `benchmark`, and NATS.
    pub(crate) tools: PathBuf,
    /// Redis.
    pub(crate) redis: PathBuf,
    /// `rsync`.
    pub(crate) rsync: PathBuf,
}

/// Three running members. Dropping it kills them.
pub(crate) trait Cluster {
    /// The members' processes, by ordinal.
    fn processes(&mut self) -> &mut [Process];

    /// The port on which member `at` serves clients.
    fn port(&self, at: usize) -> u16;

    /// Who leads, according to the members that answer; `without` is not asked.
    ///
    /// # Errors
    ///
    /// If nobody leads.
    fn leader(&self, without: Option<usize>) -> anyhow::Result<usize>;

    /// Look once whether every member is there and has everything.
    ///
    /// # Errors
    ///
    /// If not; the error says what is missing.
    fn look(&self) -> anyhow::Result<()>;

    /// One durable write per request.
    fn writer(&self) -> Box<dyn Protocol>;

    /// What was set, for people.
    fn settings(&self) -> String;

    /// Let member `at` get its data into the form from which it starts fastest, and wait until it is there.
    ///
    /// # Errors
    ///
    /// If it does not.
    fn settle(&mut self, _at: usize) -> anyhow::Result<()> {
        Ok(())
    }

    /// Where clients reach member `at`.
    fn address(&self, at: usize) -> SockAddr {
        ports::address(self.port(at))
    }

    /// Where clients on the same host reach member `at` without TCP, if it can be reached so.
    fn local(&self, _at: usize) -> Option<SockAddr> {
        None
    }

    /// Wait until every member is there and has everything.
    ///
    /// # Errors
    ///
    /// If that does not come about; the error holds what the members said last.
    fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let looked = crate::wait::until("a system serves", START_TIME_MAX, LOOK_PAUSE, || self.look());
        looked.map_err(|error| {
            let words: Vec<String> = self.processes().iter().map(Process::last_words).collect();
            error.context(format!("the members said last:\n{}", words.join("\n--\n")))
        })
    }

    /// Wait until somebody leads, and say who.
    ///
    /// # Errors
    ///
    /// If nobody does for too long.
    fn wait_for_leader(&self) -> anyhow::Result<usize> {
        crate::wait::until("somebody leads", START_TIME_MAX, LOOK_PAUSE, || self.leader(None))
    }
}

/// How much the member at a client port has: entries applied, or keys.
///
/// # Errors
///
/// If it does not answer yet, or nobody can say.
pub(crate) fn position(system: System, port: u16) -> anyhow::Result<u64> {
    match system {
        System::Holdfast | System::HoldfastInSync => holdfast::applied(port),
        System::Etcd => etcd::applied(port),
        System::Redis => redis::keys(port),
        System::NatsOne | System::NatsAlways | System::NatsDefault => {
            anyhow::bail!("a stream is read when somebody asks for it")
        }
    }
}

impl System {
    /// All of them.
    pub(crate) const ALL: [System; 7] = [
        System::Holdfast,
        System::HoldfastInSync,
        System::Etcd,
        System::NatsOne,
        System::NatsAlways,
        System::NatsDefault,
        System::Redis,
    ];

    /// Its name in tables.
    pub(crate) fn title(self) -> &'static str {
        match self {
            System::Holdfast => "Holdfast",
            System::HoldfastInSync => "Holdfast, InSync",
            System::Etcd => "etcd",
            System::NatsOne => "NATS JetStream R1, sync always",
            System::NatsAlways => "NATS JetStream R3, sync always",
            System::NatsDefault => "NATS JetStream R3, default",
            System::Redis => "Redis, AOF always, WAIT 1",
        }
    }

    /// Start three members with empty data below `folder`, and wait until they serve.
    ///
    /// # Errors
    ///
    /// If they do not.
    pub(crate) fn start(self, programs: &Programs, folder: &Path) -> anyhow::Result<Box<dyn Cluster>> {
        std::fs::create_dir_all(folder)?;
        let mut cluster: Box<dyn Cluster> = match self {
            System::Holdfast => {
                Box::new(holdfast::Holdfast::new(&programs.sidecar, folder, Consensus::Majority)?)
            }
            System::HoldfastInSync => {
                Box::new(holdfast::Holdfast::new(&programs.sidecar, folder, Consensus::InSync)?)
            }
            System::Etcd => Box::new(etcd::Etcd::new(&programs.tools, folder)?),
            System::NatsOne => Box::new(nats::Nats::new(&programs.tools, folder, 1, true)?),
            System::NatsAlways => Box::new(nats::Nats::new(&programs.tools, folder, MEMBERS, true)?),
            System::NatsDefault => Box::new(nats::Nats::new(&programs.tools, folder, MEMBERS, false)?),
            System::Redis => Box::new(redis::Redis::new(&programs.redis, folder)?),
        };
        for process in cluster.processes() {
            process.start()?;
        }
        cluster.wait_until_ready()?;
        Ok(cluster)
    }

    /// Which version is measured, as its own program says.
    ///
    /// # Errors
    ///
    /// If the program cannot be run.
    pub(crate) fn version(self, programs: &Programs) -> anyhow::Result<String> {
        let (program, flag) = match self {
            System::Holdfast | System::HoldfastInSync => (programs.sidecar.clone(), "--version"),
            System::Etcd => (programs.tools.join("etcd"), "--version"),
            System::NatsOne | System::NatsAlways | System::NatsDefault => {
                (programs.tools.join("nats-server"), "--version")
            }
            System::Redis => (programs.redis.clone(), "--version"),
        };
        let said = crate::process::run(&program, &[flag.to_owned()], Duration::from_secs(10))?;
        Ok(said.lines().next().unwrap_or_default().trim().to_owned())
    }
}
