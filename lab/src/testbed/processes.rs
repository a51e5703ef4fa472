//! Stores as processes of this machine: what starts them and how they are reached.
//!
//! Refuses to leave anything: a store ends with its [`Bed`], and its files with the [`Processes`] or, if this program is killed, with the
//! janitor.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use holdfast_api::http::{HealthWords, Status};
use holdfast_api::{
    CheckpointSettings, Compression, FaultSettings, HEARTBEAT_INTERVAL_DEFAULT, HEARTBEAT_TIMEOUT_DEFAULT,
    HeartbeatSettings, Settings, StoreName, WriteConcern,
};
use holdfast_client::{Admin, Client, NativeClient};
use holdfast_laptop::process::Program;
use holdfast_laptop::store::Plan;
use holdfast_laptop::{Scratch, Store};
use tokio::time::{Instant, sleep, timeout};

use super::{Testbed, TestbedError};
use crate::experiment::{self, health};
use crate::{Configuration, Measurement, Protocol};

/// How long a store may take to be ready: processes start within tens of milliseconds and elect a leader within a second, on a machine that
/// does nothing else.
const READY_MAX: Duration = Duration::from_secs(30);
/// How often it is looked at meanwhile.
const READY_PAUSE: Duration = Duration::from_millis(10);
/// How long a member that is asked how it is may take.
const STATUS_MAX: Duration = Duration::from_secs(2);
/// How long a checkpoint may take: a gigabyte at 50 MB/s and some.
const CHECKPOINT_MAX: Duration = Duration::from_secs(60);
/// Checkpoints that are kept: the newest, and one to fall back to if it is damaged.
const CHECKPOINTS_RETAINED: u8 = 2;

/// Makes stores on this machine.
#[derive(Clone, Debug)]
pub struct Processes {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    scratch: Scratch,
    program: Program,
}

/// A store that is ready, and the ways to it.
#[derive(Debug)]
pub(crate) struct Bed {
    pub(crate) store: Store,
    /// To each member alone, by ordinal.
    pub(crate) members: Vec<NativeClient>,
    /// To whichever member answers.
    pub(crate) all: NativeClient,
    /// To each member's status, past all lines that may be cut.
    statuses: Vec<Client>,
    strategy: holdfast_api::Strategy,
    tolerates: u8,
}

impl Processes {
    /// Stores with their files below `data`, whose members are run by this program: `member` with a member's arguments must be one, and
    /// `janitor` with a folder must call [`holdfast_laptop::janitor::run`].
    ///
    /// # Errors
    /// The folder cannot be used.
    pub fn new(data: &Path) -> Result<Processes, TestbedError> {
        let failed = |source| TestbedError::new("finding this program's own file", source);
        let program = Program::current().map_err(|error| failed(Box::new(error)))?;
        Processes::of(program, data)
    }

    /// As [`Processes::new`], with another program for the members.
    ///
    /// # Errors
    /// The folder cannot be used.
    pub fn of(program: Program, data: &Path) -> Result<Processes, TestbedError> {
        let scratch = Scratch::new(data, &program, &["janitor".into()])
            .map_err(|error| TestbedError::new("making a folder for stores", error))?;
        Ok(Processes { shared: Arc::new(Shared { scratch, program }) })
    }

    /// Starts a store and waits until every member is well.
    pub(crate) async fn start(
        &self,
        configuration: &Configuration,
        links: bool,
    ) -> Result<Bed, TestbedError> {
        let verb: [OsString; 1] = ["member".into()];
        let (scratch, program) = (&self.shared.scratch, &self.shared.program);
        let plan = Plan { settings: settings(configuration), program, verb: &verb, links };
        let failed = |error| TestbedError::new("starting the store", error);
        let store = Store::start(plan, scratch).await.map_err(|error| failed(error.into()))?;
        let bed = Bed::reach(store, configuration).map_err(failed)?;
        bed.wait_until_well(READY_MAX).await?;
        Ok(bed)
    }
}

impl Testbed for Processes {
    async fn run(
        &self,
        configuration: &Configuration,
        protocol: &Protocol,
        run_id: u32,
    ) -> Result<Measurement, TestbedError> {
        let links = experiment::needs_links(protocol.failure_type);
        let bed = self.start(configuration, links).await?;
        let measured = experiment::run(&bed, configuration, protocol, run_id).await;
        bed.discard().await?;
        measured
    }
}

impl Bed {
    fn reach(
        store: Store,
        configuration: &Configuration,
    ) -> Result<Bed, Box<dyn std::error::Error + Send + Sync>> {
        let addresses = store.clients();
        let members =
            addresses.iter().map(|address| NativeClient::new([address])).collect::<Result<_, _>>()?;
        let all = NativeClient::new(&addresses)?;
        let status = |member: &holdfast_laptop::Member| {
            Client::new([member.endpoint()]).map(|client| client.with_deadline(STATUS_MAX))
        };
        let statuses = store.members().iter().map(status).collect::<Result<_, _>>()?;
        let (strategy, tolerates) = (configuration.strategy, configuration.tolerates());
        Ok(Bed { store, members, all, statuses, strategy, tolerates })
    }

    /// How many members there are.
    pub(crate) fn replicas(&self) -> u8 {
        self.members.len() as u8
    }

    /// How many of them may fail at a time while the others go on.
    pub(crate) fn tolerates(&self) -> u8 {
        self.tolerates
    }

    pub(crate) fn strategy(&self) -> holdfast_api::Strategy {
        self.strategy
    }

    /// What every member says of itself; `None` for those that do not answer.
    pub(crate) async fn statuses(&self) -> Vec<Option<Status>> {
        health::ask(&self.statuses).await
    }

    /// Who leads, as far as those who answer know, and what it says of itself.
    pub(crate) async fn leader(&self) -> Option<Status> {
        health::leader(self.statuses().await)
    }

    /// Whether every member leads or follows the same leader.
    pub(crate) async fn is_well(&self) -> bool {
        health::is_well(&self.statuses().await)
    }

    /// Waits until every member is well.
    pub(crate) async fn wait_until_well(&self, most: Duration) -> Result<(), TestbedError> {
        let until = Instant::now() + most;
        while !self.is_well().await {
            if Instant::now() > until {
                let words = self.last_words();
                return Err(TestbedError::new("waiting until every member is well", words));
            }
            sleep(READY_PAUSE).await;
        }
        Ok(())
    }

    /// What members said that may explain why they are not well.
    fn last_words(&self) -> String {
        let said = |member: &holdfast_laptop::Member| {
            let report = member.report();
            let words = member.log().last_words(0).join("\n  ");
            format!("{} ({:?}, {} restarts):\n  {words}", report.member, report.phase, report.restarts)
        };
        let members: Vec<String> = self.store.members().iter().map(said).collect();
        format!("not after {} s\n{}", READY_MAX.as_secs(), members.join("\n"))
    }

    /// Has a member take a checkpoint, and waits until it is durable.
    pub(crate) async fn take_checkpoint(&self, ordinal: u8) -> Result<(), TestbedError> {
        let failed =
            |error: Box<dyn std::error::Error + Send + Sync>| TestbedError::new("taking a checkpoint", error);
        let member = &self.store.members()[usize::from(ordinal)];
        let admin =
            Admin::new(&format!("http://{}", member.admin())).map_err(|error| failed(error.into()))?;
        let admin = admin.with_deadline(CHECKPOINT_MAX);
        match timeout(CHECKPOINT_MAX, admin.checkpoint()).await {
            Ok(taken) => taken.map(drop).map_err(|error| failed(error.into())),
            Err(_) => Err(failed("it took too long".into())),
        }
    }

    /// Ends the store, and leaves nothing.
    pub(crate) async fn discard(&self) -> Result<(), TestbedError> {
        self.store.discard().await.map_err(|error| TestbedError::new("removing the store", error))
    }
}

fn settings(configuration: &Configuration) -> Settings {
    let Configuration { strategy, replicas, checkpoint_interval, durability, .. } = *configuration;
    let interval = checkpoint_interval.or(strategy.checkpoint_interval());
    let checkpoint = interval.filter(|_| strategy.takes_checkpoints()).map(|interval| CheckpointSettings {
        interval,
        retain: CHECKPOINTS_RETAINED,
        compression: Compression::None,
    });
    Settings {
        store: StoreName { namespace: "lab".to_owned(), name: "experiment".to_owned(), uid: None },
        replicas,
        strategy,
        consensus: configuration.consensus(),
        min_in_sync: 1,
        durability: durability.unwrap_or(strategy.durability()),
        write_concern: WriteConcern::Majority,
        heartbeat: HeartbeatSettings {
            interval: HEARTBEAT_INTERVAL_DEFAULT,
            timeout: HEARTBEAT_TIMEOUT_DEFAULT,
        },
        checkpoint,
        peers: Vec::new(),
        health_words: HealthWords::default(),
        faults: FaultSettings::default(),
    }
}
