//! One member as a process: opens the ports, starts the member, serves until it is asked to stop, and stops in order.
//!
//! Order matters both ways. The ports are opened before the data folder is touched, so that a second process on the
//! same addresses changes nothing; the admin port answers while a large state is restored. At the end the leadership
//! goes first, then the requests under way, then the disk. It refuses to start again by itself: whatever runs the
//! process does that.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use holdfast_api::{Consensus, Durability, Settings, Strategy};
use holdfast_engine::Ordinal;
use holdfast_storage::{LogPolicy, Options as LogOptions};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use crate::advice::advice;
use crate::arguments::{
    ADMIN, ALSO_CLIENT, Arguments, ArgumentsError, CLIENT, FaultArguments, FaultsAllowed, Options, PEER,
};
use crate::authority::{InSync, Place};
use crate::core::Faults;
use crate::ending::{End, Ending, ending};
use crate::files::{Files, FilesOptions, FilesTasks};
use crate::http::RequestIds;
use crate::listener::{BindError, Limits, Listener, Served, Socket, UnixSocket, announce, bind, chain};
use crate::logging::{self, LoggingError};
use crate::member::{Broken, Found, Member, MemberOptions, StartError};
use crate::metrics::{Metrics, Port};
use crate::running::Running;
use crate::settings_file::{self, SettingsError};
use crate::signals::{Signals, StopReason};
use crate::{admin, http, native};

/// Clients: room for what a busy machine's processes keep open; each costs some 20 KiB while it is idle.
const CLIENT_LIMITS: Limits =
    Limits { connections_max: 8192, header_timeout: Duration::from_secs(30), head_bytes_max: 64 * 1024 };

/// Probes, scrapes and operators: few, and they must get through whatever clients do.
const ADMIN_LIMITS: Limits =
    Limits { connections_max: 256, header_timeout: Duration::from_secs(30), head_bytes_max: 16 * 1024 };

/// How long requests under way may take once the member is stopping. Longer than a request waits by default, shorter
/// than the 30 s that Kubernetes gives a pod.
const REQUESTS_GRACE: Duration = Duration::from_secs(10);

/// How long the last scrape or probe may take.
const ADMIN_GRACE: Duration = Duration::from_secs(1);

/// How long handing over, the last checkpoint and the last write may take together. A checkpoint writes the whole state;
/// whoever runs the process may lose patience before.
const SHUT_DOWN_MAX: Duration = Duration::from_secs(60);

/// The code of a process whose member was removed from its store: starting it again on the same folder brings it nowhere.
pub const REMOVED_CODE: u8 = 3;

/// Why a member ended in good order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It was asked to.
    Stopped(StopReason),
}

/// Why a member did not start, or ended by itself. Each text says what failed, why, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The command line does not say who the member is.
    #[error(transparent)]
    Arguments(#[from] ArgumentsError),
    /// Signals or threads cannot be had.
    #[error("the process cannot listen for signals")]
    Signals(#[source] io::Error),
    /// The settings file cannot be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The settings do not have this member.
    #[error(
        "ordinal {ordinal} is not in this store: {path} says that it has {members} members, 0 to {}; correct \
         --ordinal (HOLDFAST_ORDINAL), or the settings", members - 1
    )]
    NotInStore {
        /// Who this member would be.
        ordinal: Ordinal,
        /// How many members the store has.
        members: u8,
        /// The settings file.
        path: String,
    },
    /// A fault on purpose is asked for, and the member may have none.
    #[error(
        "HOLDFAST_REPLICATION_DELAY or HOLDFAST_REPLICATION_FAILURE asks for a fault on purpose, and this member may have \
         none; write HOLDFAST_FAULTS=enabled too, or take them away"
    )]
    FaultsDisabled,
    /// Nothing decides in this store.
    #[error(
        "the settings say consensus InSync, for which an authority must decide who leads: give all members the same file by \
         --authority (HOLDFAST_AUTHORITY), or on Kubernetes the same Lease by --authority-lease (HOLDFAST_AUTHORITY_LEASE); \
         `holdfast up` and the operator do that by themselves"
    )]
    NoAuthority,
    /// A port cannot be opened.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The member's folder, state or threads did not come up.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The folder of files cannot be used.
    #[error("cannot use the folder of files")]
    Files(#[source] io::Error),
    /// The member ended by itself.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// A part of the process ended that must not.
    #[error("the {0} ended by itself; this is a defect of ours")]
    PartEnded(&'static str),
    /// It was asked to stop and did not.
    #[error("the member did not stop within {} s; what it was doing is cut off", SHUT_DOWN_MAX.as_secs())]
    Stuck,
    /// It was asked to stop a second time, and did so with things under way.
    #[error("stopped at once by a second signal; what was under way is cut off")]
    AtOnce,
}

/// The whole process: log, run, and say with which code to exit.
pub fn main(arguments: Arguments) -> ExitCode {
    if let Err(error) = logging::start(arguments.log_format) {
        return fail_without_log(&error);
    }
    let result = arguments.options().map_err(RunError::from).and_then(|options| {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(RunError::Signals)?;
        let result = runtime.block_on(run(options));
        // What is still running is cut off: the wait for it had its deadline.
        runtime.shutdown_background();
        result
    });
    match result {
        Ok(Exit::Stopped(reason)) => {
            info!(?reason, "stopped");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            match advice(&failure) {
                Some(advice) => error!("{}: {advice}", chain(&failure)),
                None => error!("{}", chain(&failure)),
            }
            match failure {
                RunError::Broken(Broken::Removed) => ExitCode::from(REMOVED_CODE),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

/// Without a log there is only standard error.
fn fail_without_log(error: &LoggingError) -> ExitCode {
    use std::io::Write;
    let _ = writeln!(io::stderr(), "holdfast-sidecar: {}", chain(error));
    ExitCode::FAILURE
}

/// Run one member until it is asked to stop. Must run inside a tokio runtime; listens to the process's signals.
///
/// # Errors
///
/// [`RunError`] if the member did not start, ended by itself, or was stopped at once.
pub async fn run(options: Options) -> Result<Exit, RunError> {
    let mut signals = Signals::listen(options.lifeline).map_err(RunError::Signals)?;
    let settings = settings_file::load(&options.settings)?;
    check_membership(&options, &settings)?;
    let faults = faults(&options, &settings)?;
    let ports = Ports::open(&options).await?;
    let metrics = Metrics::new(&settings.store.name, options.ordinal, settings.peers.len() as u8, true);
    let file = options.settings.clone();
    let (end, ending) = ending();
    let socket = options.client_socket.clone();
    let files = (options.data.clone(), files_options(&options));
    let in_sync = in_sync(&options, &settings)?;
    let options =
        MemberOptions { faults, in_sync, ..member_options(&options, &settings, ports.peer, &metrics) };
    let running = Running::new(settings, ending.clone(), metrics);
    let admin = Admin::start(ports.admin, &running);
    let progress = running.progress().clone();
    let mut starting = std::pin::pin!(Member::start_and_tell(options, &progress));
    // While a member repairs its disk, which may take long, its client port says so.
    let early = tokio::select! {
        started = &mut starting => Some(started?),
        () = running.progress().began() => None,
        reason = signals.next() => return Ok(Exit::Stopped(reason)),
    };
    let repairing = early.is_none();
    let mut tasks = early.as_ref().map(|member| begin(member, &running, files.clone())).transpose()?;
    announce(CLIENT.name, &ports.client);
    for port in &ports.also_client {
        announce(ALSO_CLIENT.name, port);
    }
    let socket = socket.map(|path| UnixSocket::bind(&path)).transpose()?;
    let clients =
        tokio::spawn(serve_clients(ports.client, ports.also_client, socket, running.clone(), ending));
    let member = match early {
        Some(member) => member,
        None => tokio::select! {
            started = starting => started?,
            reason = signals.next() => return Ok(Exit::Stopped(reason)),
        },
    };
    if repairing {
        tasks = Some(begin(&member, &running, files)?);
    }
    let follow = tokio::spawn(settings_file::follow(file, running.clone(), member.handle().clone()));
    Serving { member, running, end, admin, clients, follow, files: tasks }.until_stopped(&mut signals).await
}

/// Serve applications, over HTTP and the binary protocol alike. The Unix socket is bound last, when the member's folder
/// is locked: whatever is at its path then was left by a process that is gone.
async fn serve_clients(
    port: TcpListener,
    also: Vec<TcpListener>,
    socket: Option<UnixSocket>,
    running: Running,
    ending: Ending,
) -> Served {
    let service = http::service(running.clone(), request_ids());
    let native = native::Context::new(running.clone());
    let listener = |socket: Socket| {
        Listener::new(socket, Port::Client, CLIENT_LIMITS, running.metrics()).with_native(native.clone())
    };
    let mut sockets: Vec<Socket> = [port].into_iter().chain(also).map(Socket::from).collect();
    if let Some(socket) = socket {
        info!(path = %socket.path().display(), "the client socket is open");
        sockets.push(socket.into());
    }
    let served = sockets.into_iter().map(|socket| listener(socket).serve(service.clone(), ending.clone()));
    let cut_off = futures::future::join_all(served).await.into_iter().map(|served| served.cut_off).sum();
    Served { cut_off }
}

/// What the member is told, out of the command line and the settings.
fn member_options(
    options: &Options,
    settings: &Settings,
    peer_listener: TcpListener,
    metrics: &Metrics,
) -> MemberOptions {
    MemberOptions {
        store: settings.store.to_string(),
        ordinal: options.ordinal,
        members: settings.replicas,
        peers: settings.peers.clone(),
        data: options.data.clone(),
        log_options: options
            .segment_bytes
            .map_or_else(LogOptions::default, |segment_bytes| LogOptions { segment_bytes }),
        log: match settings.durability {
            Durability::Disk => LogPolicy::Kept,
            Durability::Memory => LogPolicy::None,
        },
        timing: settings_file::timing(settings),
        faults: Faults::default(),
        in_sync: None,
        checkpoints_outside: options
            .checkpoints_outside
            .clone()
            .filter(|_| settings.strategy == Strategy::Hybrid && settings.consensus == Consensus::Majority),
        metrics: metrics.clone(),
        peer_listener,
    }
}

/// What decides in the store, if that is not a majority.
fn in_sync(options: &Options, settings: &Settings) -> Result<Option<InSync>, RunError> {
    if settings.consensus == Consensus::Majority {
        return Ok(None);
    }
    let authority = match (&options.authority, &options.authority_lease) {
        (Some(path), _) => Place::File(path.clone()),
        (None, Some(name)) => Place::Lease {
            namespace: settings.store.namespace.clone(),
            name: name.clone(),
            store: settings.store.name.clone(),
        },
        (None, None) => return Err(RunError::NoAuthority),
    };
    Ok(Some(InSync { authority, min: settings.min_in_sync }))
}

/// What the member does wrong on purpose: as the command line says, and where it says nothing, as the settings do.
fn faults(options: &Options, settings: &Settings) -> Result<Faults, RunError> {
    let FaultArguments { allowed, replication_delay, replication_failure } = options.faults;
    let always_enabled = allowed == FaultsAllowed::Enabled;
    let enabled = always_enabled || settings.faults.enabled;
    if !enabled && (replication_delay.is_some() || replication_failure.is_some()) {
        return Err(RunError::FaultsDisabled);
    }
    let (delay, failure) = settings.faults.of(options.ordinal.0);
    let delay = replication_delay.unwrap_or(delay).get();
    Ok(Faults { always_enabled, enabled, delay, failure: replication_failure.unwrap_or(failure) })
}

fn check_membership(options: &Options, settings: &Settings) -> Result<(), RunError> {
    // One that is to be removed serves until it is.
    if usize::from(options.ordinal.0) < settings.peers.len() {
        return Ok(());
    }
    Err(RunError::NotInStore {
        ordinal: options.ordinal,
        members: settings.peers.len() as u8,
        path: options.settings.display().to_string(),
    })
}

/// A member has started: its routes have somebody to ask from now on.
fn begin(
    member: &Member,
    running: &Running,
    (data, options): (PathBuf, FilesOptions),
) -> Result<FilesTasks, RunError> {
    announce_found(member.found());
    let files = Files::start(member.handle(), member.connections(), running.clone(), data, options);
    let (files, tasks) = files.map_err(|error| RunError::Files(io::Error::other(error)))?;
    running.has_files(files);
    running.started(member.handle().clone());
    Ok(tasks)
}

/// What files are told, out of the command line.
fn files_options(options: &Options) -> FilesOptions {
    FilesOptions {
        // Where applications are told to go, if that is said.
        client_port: options.also_client_addresses.first().unwrap_or(&options.client_address).port(),
        recovery_interval: Some(options.files_recovery_interval.get()).filter(|interval| !interval.is_zero()),
        scrub_interval: options.files_scrub_interval.get(),
    }
}

fn announce_found(found: &Found) {
    if found.torn_bytes > 0 {
        info!(bytes = found.torn_bytes, "cut an unfinished write off the end of the log");
    }
    if found.lost_everything {
        warn!(
            "the store was formed before and all it held is lost: its strategy keeps nothing; it starts empty"
        );
    }
}

/// Request ids of this process. That they differ between processes is all that is asked of them.
fn request_ids() -> RequestIds {
    let fallback = || u64::from(std::process::id());
    RequestIds::new(getrandom::u64().unwrap_or_else(|_| fallback()))
}

/// The three ports and further ones for clients, open before anything else happens.
struct Ports {
    client: TcpListener,
    also_client: Vec<TcpListener>,
    peer: TcpListener,
    admin: TcpListener,
}

impl Ports {
    async fn open(options: &Options) -> Result<Ports, BindError> {
        let mut also_client = Vec::new();
        for address in &options.also_client_addresses {
            also_client.push(bind(*address, ALSO_CLIENT).await?);
        }
        Ok(Ports {
            also_client,
            client: bind(options.client_address, CLIENT).await?,
            peer: bind(options.peer_address, PEER).await?,
            admin: bind(options.admin_address, ADMIN).await?,
        })
    }
}

/// The admin port, which answers from before the member has started until after it has stopped.
struct Admin {
    end: End,
    served: JoinHandle<Served>,
}

impl Admin {
    fn start(socket: TcpListener, running: &Running) -> Admin {
        announce(ADMIN.name, &socket);
        let (end, ending) = ending();
        let listener = Listener::new(socket, Port::Admin, ADMIN_LIMITS, running.metrics());
        Admin {
            end,
            served: tokio::spawn(listener.serve(admin::service(running.clone(), request_ids()), ending)),
        }
    }
}

/// A member that serves.
struct Serving {
    member: Member,
    running: Running,
    end: End,
    admin: Admin,
    clients: JoinHandle<Served>,
    follow: JoinHandle<()>,
    files: Option<FilesTasks>,
}

impl Serving {
    /// Serve until a signal comes or something breaks.
    async fn until_stopped(mut self, signals: &mut Signals) -> Result<Exit, RunError> {
        let reason = tokio::select! {
            reason = signals.next() => reason,
            ended = self.member.ended() => {
                ended?;
                return Err(RunError::PartEnded("core"));
            }
            _ = &mut self.clients => return Err(RunError::PartEnded("client port")),
            _ = &mut self.admin.served => return Err(RunError::PartEnded("admin port")),
        };
        info!(
            ?reason,
            "stopping: finishing what is under way, then handing over; a second signal stops at once"
        );
        tokio::select! {
            stopped = self.stop() => stopped.map(|()| Exit::Stopped(reason)),
            _ = signals.next() => Err(RunError::AtOnce),
        }
    }

    /// Stop in order: leadership, no new requests, what is under way, disk, probes. Another member leads while requests
    /// are finished here, so that nobody waits for the slowest of them.
    async fn stop(mut self) -> Result<(), RunError> {
        self.running.stopping();
        self.member.handle().step_aside();
        self.follow.abort();
        self.end.begin(REQUESTS_GRACE);
        match self.clients.await {
            Ok(Served { cut_off: 0 }) => {}
            Ok(Served { cut_off }) => warn!(cut_off, "requests were cut off because their time was up"),
            Err(_) => return Err(RunError::PartEnded("client port")),
        }
        // What recovers copies writes to the catalogue, which takes nothing from now on.
        drop(self.files.take());
        let stopped = async {
            self.member.handle().shut_down().await;
            self.member.ended().await
        };
        tokio::time::timeout(SHUT_DOWN_MAX, stopped).await.map_err(|_| RunError::Stuck)??;
        self.admin.end.begin(ADMIN_GRACE);
        let _ = self.admin.served.await;
        Ok(())
    }
}
