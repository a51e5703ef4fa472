//! The processes of this machine: for each member that is here a sidecar and a chat server, kept running until they are failed.
//!
//! Refuses to touch what runs on the other machine: it is only asked how it is.

use std::ffi::OsString;
use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

use futures::future::join_all;
use holdfast_api::validate;
use holdfast_api::{ReplicatedStore, Settings};
use holdfast_client::reply::Status;
use holdfast_client::{Admin, Client};
use holdfast_laptop::Companion;
use holdfast_laptop::companion::{self, Beside};
use holdfast_laptop::event::Event;
use holdfast_laptop::folder::{Claim, Folder, replace};
use holdfast_laptop::log_file::LogFile;
use holdfast_laptop::process::{Launch, Program};
use holdfast_laptop::supervisor::{ORDERS_MAX, Order, Phase, Report, Supervisor};
use holdfast_sidecar::arguments::{FILES_RECOVERY_INTERVAL, FILES_SCRUB_INTERVAL};
use holdfast_sidecar::logging::LogFormat;
use holdfast_sidecar::{Arguments, FaultArguments};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::MEMBERS;
use super::place::Place;
use crate::arguments::DemoChat;
use crate::exit::Failure;

/// The store of the demonstration is that of the sample.
const MANIFEST: &str = include_str!("../../../manifests/chat.yaml");
/// Its folder within the data folder.
const FOLDER: &str = "demo-chat";
/// How long a member may take to say how it is.
const ANSWER_MAX: Duration = Duration::from_millis(800);
/// Events that may wait; nobody but this drains them.
const EVENTS_MAX: usize = 64;

/// What is needed to start the processes, checked.
#[derive(Debug)]
pub(super) struct Cast {
    pub(super) place: Place,
    store: ReplicatedStore,
    folder: Folder,
    _claim: Claim,
    own: Program,
    pub(super) chat: Program,
}

/// The processes.
#[derive(Debug)]
pub(super) struct Troupe {
    pub(super) place: Place,
    members: Vec<Option<Actor>>,
    clients: Vec<Client>,
    supervisors: JoinSet<bool>,
}

/// A member that runs here.
#[derive(Debug)]
struct Actor {
    orders: mpsc::Sender<Order>,
    report: watch::Receiver<Report>,
    chat: Companion,
}

/// How a member is.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) state: State,
    /// What it says of itself, if it answers.
    pub(super) status: Option<Status>,
}

/// In a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The member answers, knows its store, and the chat beside it is served.
    Online,
    /// It runs, or some of it answers.
    Starting,
    /// It does not.
    Offline,
}

impl State {
    pub(super) fn word(self) -> &'static str {
        match self {
            State::Online => "Online",
            State::Starting => "Starting",
            State::Offline => "Offline",
        }
    }
}

impl Cast {
    /// Everything that can be wrong before anything starts.
    pub(super) fn prepare(arguments: &DemoChat, place: Place) -> Result<Cast, Failure> {
        let store = validate::read(MANIFEST).map_err(Failure::general)?;
        let own = Program::current()
            .map_err(|error| Failure::general(format!("cannot find this program's own file: {error}")))?;
        let chat = companion::find(&arguments.chat_program).map_err(|error| {
            Failure::general(format!(
                "cannot find the chat: {error}; build it with `cargo build --release -p holdfast-chat`, or name it with \
                 --chat-program"
            ))
        })?;
        let folder = Folder::new(&arguments.data, FOLDER)
            .map_err(|error| Failure::general(format!("the working folder cannot be found: {error}")))?;
        let claim = folder.claim(MEMBERS).map_err(Failure::general)?;
        for address in place.own_addresses() {
            if let Err(error) = TcpListener::bind(address) {
                return Err(Failure::general(format!(
                    "{address} cannot be used ({error}); end what listens there, or choose others with --port-base and \
                     --chat-port"
                )));
            }
        }
        if !arguments.skip_clear {
            clear(&folder).map_err(|error| {
                Failure::general(format!("cannot clear {}: {error}", folder.root().display()))
            })?;
        }
        let peers = (0..MEMBERS).map(|ordinal| place.peer(ordinal).to_string()).collect();
        let settings: Settings = store.settings_on_laptop(peers).map_err(Failure::general)?;
        replace(&folder.settings(), settings.to_yaml().as_bytes()).map_err(|error| {
            Failure::general(format!("cannot write to {}: {error}", folder.root().display()))
        })?;
        Ok(Cast { place, store, folder, _claim: claim, own, chat })
    }

    /// Where everything is kept, as a person gave it.
    pub(super) fn folder(&self, arguments: &DemoChat) -> PathBuf {
        arguments.data.join(FOLDER)
    }

    /// Starts what runs here. Call inside a runtime.
    pub(super) fn start(&self) -> Result<Troupe, Failure> {
        let (events_in, mut events) = mpsc::channel::<Event>(EVENTS_MAX);
        tokio::spawn(async move { while events.recv().await.is_some() {} });
        let mut supervisors = JoinSet::new();
        let mut members = Vec::new();
        let mut clients = Vec::new();
        for ordinal in 0..MEMBERS {
            let client = Client::new([self.place.endpoint(ordinal)])
                .map_err(|error| Failure::general(error.to_string()))?;
            clients.push(client.with_deadline(ANSWER_MAX));
            let local = self.place.is_local(ordinal);
            members.push(match local {
                true => Some(self.start_one(ordinal, &events_in, &mut supervisors)?),
                false => None,
            });
        }
        Ok(Troupe { place: self.place.clone(), members, clients, supervisors })
    }

    fn start_one(
        &self,
        ordinal: u8,
        events: &mpsc::Sender<Event>,
        supervisors: &mut JoinSet<bool>,
    ) -> Result<Actor, Failure> {
        let name = format!("{}-{ordinal}", self.store.store_name().name);
        let options = Arguments {
            ordinal: Some(ordinal),
            pod_name: None,
            settings: self.folder.settings(),
            data: self.folder.member_data(ordinal),
            client_address: self.place.client(ordinal),
            client_socket: None,
            peer_address: self.place.peer(ordinal),
            admin_address: self.place.admin(ordinal),
            log_format: LogFormat::Text,
            lifeline: true,
            segment_bytes: None,
            files_recovery_interval: FILES_RECOVERY_INTERVAL,
            files_scrub_interval: FILES_SCRUB_INTERVAL,
            also_client_address: Vec::new(),
            authority: None,
            authority_lease: None,
            checkpoints_outside: None,
            faults: FaultArguments::default(),
        };
        let mut arguments: Vec<OsString> = vec!["member".into()];
        arguments.extend(options.options().map_err(Failure::general)?.command_line());
        let (orders, orders_in) = mpsc::channel(ORDERS_MAX);
        let (report_out, report) = watch::channel(Supervisor::unstarted(&name));
        let supervisor = Supervisor {
            member: name.clone(),
            client: self.place.endpoint(ordinal),
            launch: Launch {
                program: self.own.clone(),
                title: "holdfast".into(),
                arguments,
                environment: Vec::new(),
                log: LogFile::new(self.folder.member_log(ordinal)),
            },
            orders: orders_in,
            events: events.clone(),
            report: report_out,
        };
        supervisors.spawn(supervisor.run());
        let beside = Beside {
            ordinal,
            member: &name,
            endpoint: self.place.endpoint(ordinal),
            program: &self.chat,
            command: &[
                "holdfast-chat".to_owned(),
                "server".to_owned(),
                "--lifeline".to_owned(),
                format!("--listen={}", self.place.chat(ordinal)),
            ],
            log: self.folder.application_log(ordinal),
        };
        let chat = Companion::start(&beside, events.clone(), supervisors);
        Ok(Actor { orders, report, chat })
    }
}

/// Removes what an earlier run kept, and nothing else.
fn clear(folder: &Folder) -> std::io::Result<()> {
    for ordinal in 0..MEMBERS {
        let member = folder.member_data(ordinal);
        let member = member.parent().expect("a member's folder holds its data");
        fs::remove_dir_all(member)?;
        folder.make_member(ordinal)?;
    }
    Ok(())
}

impl Troupe {
    /// How every member is, by ordinal. Asks all at once.
    pub(super) async fn see(&self) -> Vec<Seen> {
        join_all((0..MEMBERS).map(|ordinal| self.see_one(ordinal))).await
    }

    async fn see_one(&self, ordinal: u8) -> Seen {
        let actor = self.members[usize::from(ordinal)].as_ref();
        let running = actor.map(|actor| actor.report.borrow().phase == Phase::Running);
        if running == Some(false) {
            let waiting = actor.is_some_and(|actor| actor.report.borrow().phase == Phase::Waiting);
            return Seen { state: if waiting { State::Starting } else { State::Offline }, status: None };
        }
        let status = self.clients[usize::from(ordinal)].status().await.ok();
        let served = match &status {
            Some(_) => timeout(ANSWER_MAX, TcpStream::connect(self.place.chat(ordinal)))
                .await
                .is_ok_and(|open| open.is_ok()),
            None => false,
        };
        let knows =
            status.as_ref().is_some_and(|status| status.store_id.is_some() && status.leader.is_some());
        let state = match (&status, served && knows) {
            (Some(_), true) => State::Online,
            (Some(_), false) => State::Starting,
            (None, _) if running == Some(true) => State::Starting,
            (None, _) => State::Offline,
        };
        Seen { state, status }
    }

    /// Kills a member that runs here, and the server beside it.
    pub(super) async fn fail(&self, ordinal: u8) -> bool {
        self.both(ordinal, Order::Fail).await
    }

    /// Starts a member that runs here, and the server beside it.
    pub(super) async fn start(&self, ordinal: u8) -> bool {
        self.both(ordinal, Order::Start).await
    }

    async fn both(&self, ordinal: u8, order: fn(oneshot::Sender<String>) -> Order) -> bool {
        let Some(actor) = &self.members[usize::from(ordinal)] else { return false };
        let (answer, heard) = oneshot::channel();
        let sent = actor.orders.send(order(answer)).await.is_ok();
        let beside = actor.chat.order(order).await;
        sent && heard.await.is_ok() && beside.is_some()
    }

    /// Hands leadership to a member, wherever it is.
    pub(super) async fn hand_over_to(&self, ordinal: u8) -> Result<(), String> {
        let admin = Admin::new(&format!("http://{}", self.place.admin(ordinal)))
            .map_err(|error| error.to_string())?;
        admin.transfer(Some(ordinal)).await.map(drop).map_err(|error| error.to_string())
    }

    /// Ends every process that was started, and waits until all are gone. False if some had to be killed.
    pub(super) async fn end(mut self, again: impl Future<Output = ()>) -> bool {
        let orders: Vec<_> = self
            .members
            .iter()
            .flatten()
            .flat_map(|actor| [actor.chat.orders(), actor.orders.clone()])
            .collect();
        for orders in &orders {
            let _ = orders.send(Order::Stop).await;
        }
        let ended = async {
            let mut in_order = true;
            while let Some(ended) = self.supervisors.join_next().await {
                in_order &= ended.unwrap_or(false);
            }
            in_order
        };
        tokio::pin!(ended);
        tokio::select! {
            in_order = &mut ended => in_order,
            () = again => {
                for orders in &orders {
                    let _ = orders.send(Order::Kill).await;
                }
                ended.await
            }
        }
    }
}
