//! Three members of Holdfast: the sidecar's own program with a settings file, as `holdfast up` starts them, but without
//! anybody who starts them again.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use holdfast_api::http::{HealthWords, Role, Status};
use holdfast_api::names::PORT_STRIDE;
use holdfast_api::{
    Consensus, Durability, FaultSettings, HeartbeatSettings, Settings, Span, StoreName, Strategy,
    WriteConcern,
};

use socket2::SockAddr;

use super::{Cluster, MEMBERS};
use crate::process::Process;
use crate::protocol::Protocol;
use crate::protocol::http::Http;
use crate::{exchange, ports};

/// How long a checkpoint of gigabytes may take.
const CHECKPOINT_TIME_MAX: Duration = Duration::from_secs(120);

/// The running members.
pub(super) struct Holdfast {
    processes: Vec<Process>,
    port_base: u16,
    folder: PathBuf,
    settings: Settings,
}

impl Holdfast {
    /// Members that are not started yet.
    pub(super) fn new(sidecar: &Path, folder: &Path, consensus: Consensus) -> anyhow::Result<Holdfast> {
        let port_base = ports::free(PORT_STRIDE * MEMBERS as u16)?;
        let settings = Settings { consensus, ..settings(port_base) };
        settings.validate()?;
        let file = folder.join("settings.yaml");
        std::fs::write(&file, settings.to_yaml())?;
        let member = |at: usize| {
            let port = port_base + PORT_STRIDE * at as u16;
            let address = |offset: u16| format!("127.0.0.1:{}", port + offset);
            let mut arguments: Vec<OsString> = vec![
                "--ordinal".into(),
                at.to_string().into(),
                "--settings".into(),
                file.clone().into(),
                "--data".into(),
                folder.join(format!("m{at}")).into(),
                "--client-address".into(),
                address(0).into(),
                "--client-socket".into(),
                socket(folder, at).into(),
                "--peer-address".into(),
                address(1).into(),
                "--admin-address".into(),
                address(2).into(),
                "--log-format".into(),
                "text".into(),
            ];
            if consensus == Consensus::InSync {
                arguments.extend(["--authority".into(), folder.join("authority").into()]);
            }
            Process::new(sidecar.to_owned(), arguments, folder.join(format!("m{at}.log")))
        };
        Ok(Holdfast {
            processes: (0..MEMBERS).map(member).collect(),
            port_base,
            folder: folder.to_owned(),
            settings,
        })
    }

    fn statuses(&self, without: Option<usize>) -> Vec<anyhow::Result<Status>> {
        let asked = (0..MEMBERS).filter(|at| Some(*at) != without);
        asked.map(|at| status(self.port(at))).collect()
    }
}

fn socket(folder: &Path, at: usize) -> PathBuf {
    folder.join(format!("m{at}.socket"))
}

/// The sample store with three members, as `manifests/store-three-members.yaml` has it.
fn settings(port_base: u16) -> Settings {
    let peer = |at: u16| format!("127.0.0.1:{}", port_base + PORT_STRIDE * at + 1);
    Settings {
        store: StoreName { namespace: "default".to_owned(), name: "bench".to_owned(), uid: None },
        replicas: MEMBERS as u8,
        strategy: Strategy::Replication,
        consensus: Consensus::Majority,
        min_in_sync: 1,
        durability: Durability::Disk,
        write_concern: WriteConcern::Majority,
        heartbeat: HeartbeatSettings { interval: Span::from_millis(100), timeout: Span::from_secs(1) },
        checkpoint: None,
        peers: (0..MEMBERS as u16).map(peer).collect(),
        health_words: HealthWords::default(),
        faults: FaultSettings::default(),
    }
}

/// What the member at a client port says about itself.
fn status(port: u16) -> anyhow::Result<Status> {
    let status = exchange::json(port, "GET", "/v1/status", "")?;
    serde_json::from_value(status).context("this is no status")
}

/// The last entry that the member at a client port carried out.
pub(super) fn applied(port: u16) -> anyhow::Result<u64> {
    Ok(status(port)?.positions.applied)
}

/// Let the member whose client port is `port` take a checkpoint, and wait until it is durable.
///
/// # Errors
///
/// If it fails.
pub(crate) fn checkpoint(port: u16) -> anyhow::Result<()> {
    exchange::http(port + 2, "POST", "/v1/checkpoint", "", CHECKPOINT_TIME_MAX).map(|_| ())
}

impl Cluster for Holdfast {
    fn processes(&mut self) -> &mut [Process] {
        &mut self.processes
    }

    fn port(&self, at: usize) -> u16 {
        self.port_base + PORT_STRIDE * at as u16
    }

    fn local(&self, at: usize) -> Option<SockAddr> {
        SockAddr::unix(socket(&self.folder, at)).ok()
    }

    fn leader(&self, without: Option<usize>) -> anyhow::Result<usize> {
        let statuses = self.statuses(without).into_iter().flatten();
        let leaders = statuses.filter(|status| status.role == Role::Leader);
        // One that was stopped may still believe that it leads in an earlier term.
        let leader = leaders.max_by_key(|status| status.term).context("nobody leads")?;
        Ok(usize::from(leader.member))
    }

    fn look(&self) -> anyhow::Result<()> {
        let leader = self.leader(None)?;
        let leader = status(self.port(leader))?;
        if let Some(in_sync) = &leader.in_sync {
            // Who is not in sync could not take over.
            ensure!(in_sync.members.len() == MEMBERS, "only {:?} are in sync", in_sync.members);
        }
        for status in self.statuses(None) {
            let status = status?;
            let member = status.member;
            ensure!(
                (status.term, status.leader) == (leader.term, Some(leader.member)),
                "{member} follows nobody"
            );
            ensure!(status.positions.durable >= leader.positions.commit, "{member} is behind");
        }
        Ok(())
    }

    fn settle(&mut self, at: usize) -> anyhow::Result<()> {
        checkpoint(self.port(at))
    }

    fn writer(&self) -> Box<dyn Protocol> {
        Box::new(Http::HoldfastPut)
    }

    fn settings(&self) -> String {
        let Settings { strategy, consensus, durability, write_concern, heartbeat, .. } = &self.settings;
        format!(
            "strategy {}, consensus {consensus:?}, durability {durability:?}, writeConcern {write_concern}, heartbeat \
             {} with timeout {}",
            strategy.name(),
            heartbeat.interval,
            heartbeat.timeout
        )
    }
}
