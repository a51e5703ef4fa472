//! Everything that one run needs: a network, disks, members on them. Taken down in that order reversed, whatever happens.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use futures::future::join_all;
use holdfast_api::http::{Role, Status};
use reqwest::Client;
use tokio::runtime::Runtime;

use super::disk::Disk;
use super::interrupt;
use super::member::{Launch, Member};
use super::network::{Cut, Network};
use super::plan::Plan;
use super::{damage, ways};

/// How long a store may take to serve, after the worst that was done to it. It takes a second; the machine may be compiling.
const READY_WAIT_MAX: Duration = Duration::from_secs(60);

/// Time between two looks at processes and members.
pub const TICK: Duration = Duration::from_millis(5);

/// How long a member may take to say who leads, before a fault is chosen without its word.
const ASK_TIME_MAX: Duration = Duration::from_millis(300);

/// An old copy of a disk lacks at least so many entries that its member acknowledged.
const OLD_DISK_ENTRIES: u64 = 30;

/// How long a member with an old disk may end again and again, before somebody empties it.
const OLD_DISK_EXCUSE: Duration = Duration::from_secs(30);

/// The stage of one run. Fields are in the order in which they are taken down.
#[derive(Debug)]
pub struct Stage {
    /// By ordinal.
    pub members: Vec<Member>,
    /// By ordinal.
    pub disks: Vec<Disk>,
    /// Where everything happens.
    pub network: Arc<Network>,
    /// What the network does not let through at the moment: each fault's own.
    pub cuts: Vec<(usize, Cut)>,
    http: Client,
    runtime: Runtime,
}

impl Stage {
    /// Set everything up for the run `run` of this process, in `folder`, and move this thread to the clients' network. No
    /// member runs yet.
    ///
    /// # Errors
    ///
    /// If that cannot be done.
    pub fn set(plan: &Plan, run: usize, folder: &Path, program: &Path) -> anyhow::Result<Stage> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let network = Arc::new(Network::create(run, plan.members)?);
        network.enter()?;
        let settings = folder.join("settings.yaml");
        fs::write(&settings, settings_of(plan))?;
        let (mut members, mut disks) = (Vec::new(), Vec::new());
        for ordinal in 0..plan.members {
            let disk = Disk::create(plan.file_system, folder, &format!("disk-{ordinal}"))?;
            members.push(Member::new(Launch {
                ordinal,
                program: program.to_owned(),
                namespace: network.namespace(ordinal),
                address: Network::address(ordinal),
                settings: settings.clone(),
                data: disk.data(),
                authority: plan.in_sync.then(|| folder.join("authority")),
                folder: folder.to_owned(),
            }));
            disks.push(disk);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Stage { members, disks, network, cuts: Vec::new(), http: ways::http(), runtime })
    }

    /// Where clients reach the members.
    pub fn bases(&self) -> Vec<String> {
        (0..self.members.len() as u8)
            .map(|ordinal| format!("http://{}:7400", Network::address(ordinal)))
            .collect()
    }

    /// Look after the members for so long.
    ///
    /// # Errors
    ///
    /// If one ended by itself, or the run is to be cut short.
    pub fn tend(&mut self, time: Duration) -> anyhow::Result<()> {
        let until = Instant::now() + time;
        loop {
            interrupt::check()?;
            for member in &mut self.members {
                member.keep_running()?;
            }
            if Instant::now() >= until {
                return Ok(());
            }
            std::thread::sleep(TICK.min(until.saturating_duration_since(Instant::now())));
        }
    }

    /// Wait until `so`, and look after the members meanwhile.
    ///
    /// # Errors
    ///
    /// As [`Stage::tend`]; and the last look's error, if it took too long.
    pub fn tend_until<T>(&mut self, mut so: impl FnMut(&Stage) -> anyhow::Result<T>) -> anyhow::Result<T> {
        let begin = Instant::now();
        loop {
            self.tend(TICK)?;
            match so(self) {
                Ok(seen) => return Ok(seen),
                Err(error) if begin.elapsed() > READY_WAIT_MAX => {
                    return Err(error.context(format!("the store did not recover within {READY_WAIT_MAX:?}")));
                }
                Err(_) => self.tend(TICK * 4)?,
            }
        }
    }

    /// What every member says about itself; at once, and nothing of those that do not answer.
    pub fn statuses(&self, patience: Duration) -> Vec<Option<Status>> {
        let bases = self.bases();
        let ask = async |base: &String| -> Option<Status> {
            let answer = self.http.get(format!("{base}/v1/status")).timeout(patience).send().await.ok()?;
            serde_json::from_slice(&answer.bytes().await.ok()?).ok()
        };
        self.runtime.block_on(join_all(bases.iter().map(ask)))
    }

    /// The ordinal of the member that leads, if one says so.
    pub fn leader(&self) -> Option<u8> {
        let statuses = self.statuses(ASK_TIME_MAX);
        let leaders = statuses.iter().flatten().filter(|status| status.role == Role::Leader);
        leaders.max_by_key(|status| status.term).map(|status| status.member)
    }

    /// Check that every member follows one leader and has all that it has. Returns their states' hashes with the index.
    ///
    /// # Errors
    ///
    /// If it is not so.
    pub fn settled(&self) -> anyhow::Result<Vec<(u64, String)>> {
        let statuses = self.statuses(Duration::from_secs(1));
        let all: Vec<&Status> = statuses.iter().flatten().collect();
        ensure!(all.len() == self.members.len(), "only {} of {} answer", all.len(), self.members.len());
        let leaders = all.iter().filter(|status| status.role == Role::Leader);
        let leader = leaders.max_by_key(|status| status.term).context("nobody leads")?;
        for status in &all {
            ensure!(
                status.term == leader.term && status.leader == Some(leader.member),
                "member {} follows {:?} in term {}, not {} in term {}",
                status.member,
                status.leader,
                status.term,
                leader.member,
                leader.term
            );
            ensure!(
                status.role == Role::Leader || status.role == Role::Follower,
                "member {} is {}",
                status.member,
                status.role
            );
            ensure!(status.positions.commit >= leader.positions.commit, "member {} is behind", status.member);
        }
        let hash = |status: &&Status| status.state_hash.as_ref().map(|hash| (hash.index, hash.hash.clone()));
        all.iter().map(hash).collect::<Option<Vec<_>>>().context("a member has no hash of its state")
    }

    /// Kill a member and take everything off its disk.
    ///
    /// # Errors
    ///
    /// If that cannot be done.
    pub fn empty_disk(&mut self, member: u8) -> anyhow::Result<()> {
        self.members[usize::from(member)].kill();
        fs::remove_dir_all(self.disks[usize::from(member)].data()).context("cannot empty a disk")
    }

    /// Kill a member, copy its disk, let it run on for a while, and put the copy back. It is started then.
    ///
    /// # Errors
    ///
    /// If that cannot be done.
    pub fn old_disk(&mut self, member: u8) -> anyhow::Result<()> {
        let place = usize::from(member);
        let (data, aside) = (self.disks[place].data(), self.disks[place].data().with_extension("copy"));
        self.members[place].kill();
        damage::copy(&data, &aside)?;
        let before =
            self.statuses(ASK_TIME_MAX).into_iter().flatten().map(|status| status.positions.commit).max();
        self.tend_until(|stage| {
            let status = stage.statuses(ASK_TIME_MAX).swap_remove(place).context("it does not answer")?;
            ensure!(
                status.positions.durable > before.unwrap_or(0) + OLD_DISK_ENTRIES,
                "it is not much newer"
            );
            Ok(())
        })?;
        self.members[place].kill();
        fs::remove_dir_all(&data)?;
        fs::rename(&aside, &data).context("cannot put a copy back")?;
        self.members[place].excuse(OLD_DISK_EXCUSE);
        self.members[place].keep_running()
    }

    /// Whether the member has found out that its disk is an old copy.
    pub fn ended_by_itself(&self, member: u8) -> bool {
        self.members[usize::from(member)]
            .log()
            .contains("the folder is older than what this member has acknowledged")
    }

    /// Tell the network what is cut.
    ///
    /// # Errors
    ///
    /// If it refuses.
    pub fn apply_cuts(&self) -> anyhow::Result<()> {
        let cuts: Vec<Cut> = self.cuts.iter().map(|(_, cut)| *cut).collect();
        self.network.cut(&cuts)
    }

    /// Do something that takes requests.
    pub fn ask<T>(&self, what: impl Future<Output = T>) -> T {
        self.runtime.block_on(what)
    }
}

/// The members' settings.
fn settings_of(plan: &Plan) -> String {
    let peers: String =
        (0..plan.members).map(|ordinal| format!("- {}:7401\n", Network::address(ordinal))).collect();
    let strategy =
        if plan.checkpoints { "Hybrid\ncheckpoint: {interval: 1s, retain: 2}" } else { "Replication" };
    format!(
        "store: {{namespace: default, name: faults}}\nreplicas: {}\nstrategy: {strategy}\nconsensus: {}\n\
         durability: Disk\nwriteConcern: majority\nheartbeat: {{interval: 50ms, timeout: 500ms}}\npeers:\n{peers}",
        plan.members,
        if plan.in_sync { "InSync" } else { "Majority" }
    )
}

/// Where runs keep what they make, unless told otherwise: on the disk that the checkout is on, never in memory.
pub fn folder() -> PathBuf {
    holdfast_xtask::checkout().join("target/tmp/faults")
}

/// Take away what processes left behind that did not live to do it themselves.
pub fn sweep() {
    super::network::sweep();
    for entry in fs::read_dir(folder()).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.split('-').next().filter(|pid| pid.bytes().all(|byte| byte.is_ascii_digit()));
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            super::disk::sweep(&entry.path());
        }
    }
}
