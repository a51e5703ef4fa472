//! One member of a store on this machine: where it is, and the orders that can be given to its supervisor.
//!
//! Refuses to hold the process itself: that is its supervisor's, which ends it when nobody is left to give orders.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use holdfast_sidecar::arguments::{ArgumentsError, FILES_RECOVERY_INTERVAL, FILES_SCRUB_INTERVAL};
use holdfast_sidecar::logging::LogFormat;
use holdfast_sidecar::{Arguments, FaultArguments};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::event::Event;
use crate::folder::Folder;
use crate::log_file::LogFile;
use crate::member_name::member_name;
use crate::ports::{Ports, on_loopback};
use crate::process::{Launch, Program};
use crate::supervisor::{ORDERS_MAX, Order, Report, Supervisor};

/// Where a member lives and what it runs.
#[derive(Clone, Debug)]
pub struct Place<'a> {
    /// The store's name.
    pub store: &'a str,
    /// The store's folder.
    pub folder: &'a Folder,
    /// The store's ports.
    pub ports: Ports,
    /// The settings file that the member follows.
    pub settings: PathBuf,
    /// Further ports for the member's clients.
    pub also_clients: &'a [u16],
    /// What to run.
    pub program: &'a Program,
    /// What comes before a member's own arguments: the verb that makes the program a member.
    pub verb: &'a [OsString],
}

/// A member that is kept running until this, and every copy of its orders, is dropped.
#[derive(Debug)]
pub struct Member {
    name: String,
    client: SocketAddr,
    admin: SocketAddr,
    orders: mpsc::Sender<Order>,
    report: watch::Receiver<Report>,
    log: LogFile,
}

impl Member {
    /// Starts the supervisor of member `ordinal` as one of `supervisors`, which starts the member. What happens to it goes to
    /// `events`, which somebody must drain. Call inside a runtime.
    ///
    /// # Errors
    /// There is no such member.
    pub fn start(
        ordinal: u8,
        place: &Place<'_>,
        events: mpsc::Sender<Event>,
        supervisors: &mut JoinSet<bool>,
    ) -> Result<Member, ArgumentsError> {
        let name = member_name(place.store, ordinal);
        let log = LogFile::new(place.folder.member_log(ordinal));
        let mut arguments = place.verb.to_vec();
        arguments.extend(place.arguments(ordinal).options()?.command_line());
        let (orders, orders_in) = mpsc::channel(ORDERS_MAX);
        let (report_out, report) = watch::channel(Supervisor::unstarted(&name));
        let supervisor = Supervisor {
            member: name.clone(),
            client: format!("http://{}", place.ports.client(ordinal)),
            launch: Launch {
                program: place.program.clone(),
                title: "holdfast".into(),
                arguments,
                environment: Vec::new(),
                log: log.clone(),
            },
            orders: orders_in,
            events,
            report: report_out,
        };
        supervisors.spawn(supervisor.run());
        let (client, admin) = (place.ports.client(ordinal), place.ports.admin(ordinal));
        Ok(Member { name, client, admin, orders, report, log })
    }

    /// Its name, such as `orders-0`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its clients connect.
    pub fn client(&self) -> SocketAddr {
        self.client
    }

    /// Where its clients connect, as a URL.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.client)
    }

    /// Where it answers health checks, metrics and orders.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// What its process is doing, now.
    pub fn report(&self) -> Report {
        self.report.borrow().clone()
    }

    /// What its process is doing, whenever that changes.
    pub fn reports(&self) -> watch::Receiver<Report> {
        self.report.clone()
    }

    /// For those that give orders by themselves.
    pub fn orders(&self) -> mpsc::Sender<Order> {
        self.orders.clone()
    }

    /// What it said.
    pub fn log(&self) -> &LogFile {
        &self.log
    }

    /// Gives an order and waits for what became of it; `None` if its supervisor has ended.
    pub async fn order<T>(&self, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> Option<T> {
        let (answer, heard) = oneshot::channel();
        self.orders.send(order(answer)).await.ok()?;
        heard.await.ok()
    }
}

impl Place<'_> {
    fn arguments(&self, ordinal: u8) -> Arguments {
        Arguments {
            ordinal: Some(ordinal),
            pod_name: None,
            settings: self.settings.clone(),
            data: self.folder.member_data(ordinal),
            client_address: self.ports.client(ordinal),
            client_socket: self.folder.member_socket(ordinal),
            peer_address: self.ports.peer(ordinal),
            admin_address: self.ports.admin(ordinal),
            log_format: LogFormat::Text,
            lifeline: true,
            authority: Some(self.folder.authority()),
            checkpoints_outside: Some(self.folder.outside()),
            authority_lease: None,
            segment_bytes: None,
            files_recovery_interval: FILES_RECOVERY_INTERVAL,
            files_scrub_interval: FILES_SCRUB_INTERVAL,
            also_client_address: self.also_clients.iter().map(|port| on_loopback(*port)).collect(),
            faults: FaultArguments::default(),
        }
    }
}
