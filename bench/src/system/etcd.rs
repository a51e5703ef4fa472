//! Three members of etcd, with etcd's own defaults but for the quota, which a fill of a gigabyte would exceed.

use std::path::Path;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::{Cluster, MEMBERS};
use crate::process::Process;
use crate::protocol::Protocol;
use crate::protocol::http::Http;
use crate::{exchange, ports};

/// Most bytes of a member's file: etcd's own suggested maximum.
const QUOTA_BYTES: u64 = 8 * 1024 * 1024 * 1024;

/// The running members.
pub(super) struct Etcd {
    processes: Vec<Process>,
    port_base: u16,
}

impl Etcd {
    /// Members that are not started yet.
    pub(super) fn new(tools: &Path, folder: &Path) -> anyhow::Result<Etcd> {
        let port_base = ports::free(2 * MEMBERS as u16)?;
        let url = |at: usize, offset: u16| format!("http://127.0.0.1:{}", port_base + 2 * at as u16 + offset);
        let cluster = (0..MEMBERS).map(|at| format!("m{at}={}", url(at, 1))).collect::<Vec<_>>().join(",");
        let member = |at: usize| {
            let arguments = [
                format!("--name=m{at}"),
                format!("--data-dir={}", folder.join(format!("m{at}")).display()),
                format!("--listen-client-urls={}", url(at, 0)),
                format!("--advertise-client-urls={}", url(at, 0)),
                format!("--listen-peer-urls={}", url(at, 1)),
                format!("--initial-advertise-peer-urls={}", url(at, 1)),
                format!("--initial-cluster={cluster}"),
                format!("--quota-backend-bytes={QUOTA_BYTES}"),
                "--log-level=error".to_owned(),
            ];
            Process::new(tools.join("etcd"), arguments, folder.join(format!("m{at}.log")))
        };
        Ok(Etcd { processes: (0..MEMBERS).map(member).collect(), port_base })
    }
}

/// What a member says about itself.
struct EtcdStatus {
    member: String,
    leader: String,
    term: u64,
    committed: u64,
    applied: u64,
}

/// Ask the member at a client port through the JSON gateway, which writes 64-bit numbers as strings.
fn status(port: u16) -> anyhow::Result<EtcdStatus> {
    let status = exchange::json(port, "POST", "/v3/maintenance/status", "{}")?;
    let text = |value: &Value| value.as_str().unwrap_or("0").to_owned();
    let number = |value: &Value| value.as_str().and_then(|text| text.parse().ok()).unwrap_or(0);
    Ok(EtcdStatus {
        member: text(&status["header"]["member_id"]),
        leader: text(&status["leader"]),
        term: number(&status["raftTerm"]),
        committed: number(&status["raftIndex"]),
        applied: number(&status["raftAppliedIndex"]),
    })
}

/// The last entry that the member at a client port carried out.
pub(super) fn applied(port: u16) -> anyhow::Result<u64> {
    Ok(status(port)?.applied)
}

impl Cluster for Etcd {
    fn processes(&mut self) -> &mut [Process] {
        &mut self.processes
    }

    fn port(&self, at: usize) -> u16 {
        self.port_base + 2 * at as u16
    }

    fn leader(&self, without: Option<usize>) -> anyhow::Result<usize> {
        let asked = (0..MEMBERS).filter(|at| Some(*at) != without);
        let statuses = asked.filter_map(|at| Some((at, status(self.port(at)).ok()?)));
        let leaders = statuses.filter(|(_, status)| status.leader == status.member && status.leader != "0");
        let leader = leaders.max_by_key(|(_, status)| status.term).context("nobody leads")?;
        Ok(leader.0)
    }

    fn look(&self) -> anyhow::Result<()> {
        let leader = status(self.port(self.leader(None)?))?;
        for at in 0..MEMBERS {
            let status = status(self.port(at))?;
            ensure!((status.term, &status.leader) == (leader.term, &leader.leader), "m{at} follows nobody");
            ensure!(status.applied >= leader.committed, "m{at} is behind");
        }
        Ok(())
    }

    fn writer(&self) -> Box<dyn Protocol> {
        Box::new(Http::EtcdPut)
    }

    fn settings(&self) -> String {
        format!("its own defaults (heartbeat 100 ms, election 1 s), --quota-backend-bytes={QUOTA_BYTES}")
    }
}
