//! A runner's loop: supervisors that say what happened, terminals that ask, the manifest that is edited, and the end.
//!
//! Refuses to end while a member lives: after it nothing of the store runs.

mod scaling;

use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_api::Removal;
use holdfast_api::http::Status;
use holdfast_client::Admin;
use holdfast_laptop::companion::Beside;
use holdfast_laptop::control::{Answer, Asked, Control, Request};
use holdfast_laptop::event::Event;
use holdfast_laptop::folder::{Folder, Registration};
use holdfast_laptop::member_name::{find_member, member_name};
use holdfast_laptop::ports::on_loopback;
use holdfast_laptop::process::Program;
use holdfast_laptop::registry::Registry;
use holdfast_laptop::supervisor::Order;
use holdfast_laptop::{Companion, Member, Place};
use holdfast_sidecar::arguments::ArgumentsError;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::edit::{self, Edit};
use super::follow::{Follower, Look};
use super::leader::Leadership;
use super::page::Page;
use super::poll;
use super::reporter::Reporter;
use super::setup::Setup;
use crate::arguments::Up;
use crate::exit::{Exit, Failure, chain};
use crate::manifest;
use crate::remark;
use crate::view::{MemberView, StoreView};

/// Events that may wait for the loop; supervisors wait when it is full, and say a few in their members' lives.
const EVENTS_MAX: usize = 256;
/// How often the table is drawn and the leader looked at.
const DRAW_INTERVAL: Duration = Duration::from_millis(200);
/// How often the manifest is read.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(250);
/// How often logs are looked at, whether they are too long. A member that logs 100 MB/s exceeds the bound for as long.
const LOGS_INTERVAL: Duration = Duration::from_secs(5);

/// A member as the loop knows it.
struct Shown {
    member: Member,
    /// What runs beside it.
    application: Option<Companion>,
    /// What it said of itself last.
    status: watch::Receiver<Option<Status>>,
}

impl Shown {
    /// For orders that concern the member and what runs beside it.
    fn orders(&self) -> impl Iterator<Item = mpsc::Sender<Order>> + '_ {
        std::iter::once(self.member.orders()).chain(self.application.as_ref().map(Companion::orders))
    }
}

/// A store that runs.
struct Runner {
    setup: Setup,
    members: Vec<Shown>,
    supervisors: JoinSet<bool>,
    events: mpsc::Receiver<Event>,
    control: Control,
    follower: Follower,
    leadership: Leadership,
    reporter: Reporter,
    program: Program,
    /// For the supervisors of members that come later.
    events_in: mpsc::Sender<Event>,
    registry: Registry,
    registration: Registration,
    /// What was said last of members that are to go.
    removal: Option<Removal>,
    /// The dashboard, if its port is free.
    page: Option<Page>,
}

/// What asks the runner to end.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

/// Runs a store until it is asked to end. Call inside a runtime.
///
/// # Errors
/// Something is wrong with this process itself, or members had to be killed at the end.
pub async fn run(up: &Up, setup: Setup) -> Result<Exit, Failure> {
    let mut signals =
        Signals::listen().map_err(|error| Failure::general(format!("cannot listen for signals: {error}")))?;
    let registry = Registry::of_user();
    let registration = registration(&setup, &registry);
    let control = Control::listen(&registration.socket).map_err(|error| {
        Failure::general(format!("cannot listen at {}: {error}", registration.socket.display()))
    })?;
    let folder = setup.folder.clone();
    let unwritable =
        |error| Failure::general(format!("cannot write to {}: {error}", folder.root().display()));
    folder.register(&registration).map_err(unwritable)?;
    if let Err(error) = registry.add(&registration) {
        remark(&format!(
            "{}; commands in other terminals need --data {}",
            chain(&error),
            folder.root().display()
        ));
    }
    let result = match Runner::start(up, setup, control, registry.clone(), registration) {
        Ok(mut runner) => {
            runner.open_page(up.dashboard_port).await;
            runner.until_ended(&mut signals).await
        }
        Err(failure) => Err(failure),
    };
    // The number of members may have changed since.
    if let Some(registration) = folder.registration() {
        registry.remove(&registration);
    }
    folder.unregister();
    result
}

fn registration(setup: &Setup, registry: &Registry) -> Registration {
    let name = setup.store.store_name();
    let elsewhere = registry.folder().map_or_else(|_| std::env::temp_dir(), std::path::Path::to_path_buf);
    Registration {
        pid: std::process::id(),
        store: name.name,
        namespace: name.namespace,
        replicas: setup.settings.peers.len() as u8,
        port_base: setup.ports.base(),
        folder: setup.folder.root().to_path_buf(),
        socket: setup.folder.socket(&elsewhere, setup.ports.base()),
    }
}

impl Signals {
    fn listen() -> std::io::Result<Signals> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next one, and says what it was.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "interrupted",
            _ = self.terminate.recv() => "terminated",
        }
    }
}

impl Runner {
    fn start(
        up: &Up,
        setup: Setup,
        control: Control,
        registry: Registry,
        registration: Registration,
    ) -> Result<Runner, Failure> {
        let program = Program::current()
            .map_err(|error| Failure::general(format!("cannot find this program's own file: {error}")))?;
        let (events_in, events) = mpsc::channel(EVENTS_MAX);
        let mut runner = Runner {
            members: Vec::new(),
            supervisors: JoinSet::new(),
            events,
            control,
            follower: Follower::new(&up.file, setup.text.clone()),
            leadership: Leadership::default(),
            reporter: Reporter::new(up.output),
            setup,
            program,
            events_in,
            registry,
            registration,
            removal: None,
            page: None,
        };
        runner.note(format!(
            "{}; data in {}",
            manifest::summary(&runner.setup.store),
            runner.setup.folder.root().display()
        ));
        for (also, ordinal) in runner.setup.also_clients.clone().into_iter().zip(0..) {
            let at: Vec<String> = also.iter().map(|port| format!("http://{}", on_loopback(*port))).collect();
            if !at.is_empty() {
                let name = member_name(&runner.setup.store.store_name().name, ordinal);
                runner.note(format!("{name} also serves clients at {}", at.join(", ")));
            }
        }
        if runner.setup.settings.faults.enabled {
            runner.note("faults on purpose are enabled; `holdfast delay` changes them".to_owned());
        }
        if runner.setup.store.spec.template.is_some() && runner.setup.application.is_none() {
            runner.note(
                "the manifest's template is for Kubernetes; start your application yourself".to_owned(),
            );
        }
        for ordinal in 0..runner.registration.replicas {
            runner.add(ordinal).map_err(Failure::general)?;
        }
        Ok(runner)
    }

    /// Serves the dashboard. A store that runs is worth more than its page, so that there may be none.
    async fn open_page(&mut self, port: Option<u16>) {
        let port = port.unwrap_or_else(|| self.setup.ports.dashboard());
        if self.setup.also_clients.iter().flatten().any(|also| *also == port) {
            return self.note(format!(
                "there is no dashboard of the runner: its port {port} is among spec.laptop.clientPorts; choose another with \
                 --dashboard-port. Each member has one at its client port"
            ));
        }
        match Page::open(port, self.setup.ports.base(), self.control.asker()).await {
            Ok(page) => {
                self.reporter.event(&Event::Dashboard { url: page.url() });
                self.page = Some(page);
            }
            Err(error) => self.note(format!(
                "there is no dashboard of the runner: {}. Each member has one at its client port",
                chain(&error)
            )),
        }
    }

    fn add(&mut self, ordinal: u8) -> Result<(), ArgumentsError> {
        let Setup { folder, ports, store, also_clients, application, .. } = &self.setup;
        let place = Place {
            store: &store.store_name().name,
            folder,
            ports: *ports,
            settings: folder.settings(),
            also_clients: also_clients.get(usize::from(ordinal)).map_or(&[], Vec::as_slice),
            program: &self.program,
            verb: &["member".into()],
        };
        let member = Member::start(ordinal, &place, self.events_in.clone(), &mut self.supervisors)?;
        let status = poll::spawn(&member.endpoint(), member.reports());
        let command = store.spec.laptop.as_ref().map_or(&[][..], |laptop| &laptop.application);
        let application = application.as_ref().map(|program| {
            let beside = Beside {
                ordinal,
                member: member.name(),
                endpoint: member.endpoint(),
                program,
                command,
                log: folder.application_log(ordinal),
            };
            Companion::start(&beside, self.events_in.clone(), &mut self.supervisors)
        });
        self.members.push(Shown { member, application, status });
        Ok(())
    }

    async fn until_ended(mut self, signals: &mut Signals) -> Result<Exit, Failure> {
        let ticks = |period| {
            let mut ticks = interval(period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            ticks
        };
        let (mut draw, mut follow, mut logs) =
            (ticks(DRAW_INTERVAL), ticks(FOLLOW_INTERVAL), ticks(LOGS_INTERVAL));
        let cause = loop {
            tokio::select! {
                cause = signals.next() => break cause,
                Some(event) = self.events.recv() => self.reporter.event(&event),
                Some(asked) = self.control.requests.recv() => self.answer(asked),
                _ = draw.tick() => {
                    self.look();
                    self.remove_leavers();
                }
                _ = follow.tick() => self.follow(),
                _ = logs.tick() => self.bound_logs(),
            }
        };
        self.end(cause, signals).await
    }

    fn view(&self) -> StoreView {
        let member = |shown: &Shown| MemberView {
            member: shown.member.name().to_owned(),
            endpoint: shown.member.endpoint(),
            process: Some(shown.member.report()),
            status: shown.status.borrow().clone(),
            error: None,
        };
        let store = self.setup.store.store_name().to_string();
        StoreView::new(Some(store), self.members.iter().map(member).collect())
    }

    /// Looks at the members, and shows what is new.
    fn look(&mut self) {
        let view = self.view();
        for event in self.leadership.observe(&view, Instant::now()) {
            self.reporter.event(&event);
            if let Event::Ready { leader, .. } = &event {
                self.hand_over_from(leader);
            }
        }
        self.reporter.show(&manifest::summary(&self.setup.store), &view);
    }

    /// Every member is well and `leader` leads: hand over if the manifest wants another one to.
    fn hand_over_from(&self, leader: &str) {
        let store = &self.setup.store;
        let Some(wanted) = store.spec.laptop.as_ref().and_then(|laptop| laptop.leader) else { return };
        let name = member_name(&store.store_name().name, wanted);
        let Some(Shown { member, .. }) = self.members.get(usize::from(wanted)).filter(|_| name != leader)
        else {
            return;
        };
        let (endpoint, events) = (format!("http://{}", member.admin()), self.events_in.clone());
        tokio::spawn(async move {
            let handed = match Admin::new(&endpoint) {
                Ok(admin) => admin.transfer(Some(wanted)).await.map(drop).map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            // What was done is seen by who leads.
            if let Err(reason) = handed {
                let text = format!("{name} is to lead, but leadership could not be handed to it: {reason}");
                let _ = events.send(Event::Note { text }).await;
            }
        });
    }

    fn answer(&self, Asked { request, answer }: Asked) {
        let (given, order): (_, fn(oneshot::Sender<String>) -> Order) = match request {
            Request::Members => {
                let members = self.members.iter().map(|shown| shown.member.report()).collect();
                let _ = answer.send(Answer::Members { members });
                return;
            }
            Request::Fail { member } => (member, Order::Fail),
            Request::Start { member } => (member, Order::Start),
        };
        let store = self.setup.store.store_name().name;
        match find_member(&store, self.members.len() as u8, &given) {
            Ok(ordinal) => {
                let shown = &self.members[usize::from(ordinal)];
                let (orders, beside) =
                    (shown.member.orders(), shown.application.as_ref().map(Companion::orders));
                tokio::spawn(async move {
                    if let Some(beside) = beside {
                        // A pod fails and starts as one; what became of it is an event.
                        let _ = beside.send(order(oneshot::channel().0)).await;
                    }
                    let (said, hear) = oneshot::channel();
                    let sent = orders.send(order(said)).await;
                    // Dropping the answer says that the runner is ending.
                    if sent.is_ok()
                        && let Ok(text) = hear.await
                    {
                        let _ = answer.send(Answer::Done { text });
                    }
                });
            }
            Err(error) => drop(answer.send(Answer::Refused { text: error.to_string() })),
        }
    }

    /// Looks at the manifest, and has the members follow it.
    fn follow(&mut self) {
        let event = match self.follower.look() {
            Look::Same => return,
            Look::Unreadable(error) => Event::Note {
                text: format!("the manifest cannot be read any more ({error}); the store goes on as before"),
            },
            Look::Edited(text) => {
                let Setup { store, settings, ports, .. } = &self.setup;
                match edit::judge(&text, store, settings, ports.base()) {
                    Edit::Refused { reasons } => Event::EditRefused { reasons },
                    Edit::Nothing { store } => {
                        self.setup.store = *store;
                        Event::Note {
                            text: "the manifest was edited; nothing that members use changed".to_owned(),
                        }
                    }
                    Edit::Changed { store, settings, changes } => match self.take(*settings) {
                        Ok(()) => {
                            self.setup.store = *store;
                            Event::SettingsChanged { changes }
                        }
                        Err(reason) => Event::EditRefused { reasons: vec![reason] },
                    },
                }
            }
        };
        self.reporter.event(&event);
        // After the event that says why.
        self.start_newcomers();
    }

    fn bound_logs(&mut self) {
        for Shown { member, application, .. } in &self.members {
            for log in std::iter::once(member.log()).chain(application.as_ref().map(Companion::log)) {
                if let Err(error) = log.bound() {
                    let text = format!("the log {} cannot be kept short: {error}", log.path().display());
                    self.reporter.event(&Event::Note { text });
                }
            }
        }
    }

    fn note(&mut self, text: String) {
        self.reporter.event(&Event::Note { text });
    }

    /// Ends every member, in order: asked first, killed when they take too long or somebody asks again.
    async fn end(mut self, cause: &str, signals: &mut Signals) -> Result<Exit, Failure> {
        self.reporter.clear();
        self.reporter.event(&Event::Stopping { cause: cause.to_owned() });
        let orders: Arc<[mpsc::Sender<Order>]> = self.members.iter().flat_map(Shown::orders).collect();
        tell(&orders, || Order::Stop);
        let mut in_order = true;
        loop {
            tokio::select! {
                biased;
                Some(event) = self.events.recv() => self.reporter.event(&event),
                ended = self.supervisors.join_next() => match ended {
                    Some(ended) => in_order &= ended.unwrap_or(false),
                    None => break,
                },
                cause = signals.next() => {
                    self.reporter.event(&Event::Note { text: format!("{cause} again: killing what still runs") });
                    tell(&orders, || Order::Kill);
                }
            }
        }
        while let Ok(event) = self.events.try_recv() {
            self.reporter.event(&event);
        }
        let folder: &Folder = &self.setup.folder;
        if in_order {
            Ok(Exit::Ok)
        } else {
            let folder = folder.root().display();
            Err(Failure::general(format!(
                "some members did not end when asked and were killed; their logs are in {folder}"
            )))
        }
    }
}

/// Gives every member an order, without waiting for any: a supervisor that is gone needs none, and a full queue only
/// means that it is behind.
fn tell(orders: &Arc<[mpsc::Sender<Order>]>, order: fn() -> Order) {
    let orders = orders.clone();
    tokio::spawn(async move {
        for member in orders.iter() {
            let _ = member.send(order()).await;
        }
    });
}
