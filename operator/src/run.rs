//! The operator as a process: opens its port, waits for the kind and for the lease, works, and ends when it is told to or when it
//! has lost the lease.

use std::sync::Arc;
use std::time::Duration;

use holdfast_api::names::{API_VERSION, KIND, OPERATOR, PLURAL};
use kube::runtime::events::Reporter;
use kube::{Client, Config};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::arguments::Run;
use crate::context::Context;
use crate::election::{Candidate, ElectionError, Lost, REQUEST_LIMIT};
use crate::error::chain;
use crate::health::Health;
use crate::listener::{ListenError, Listener};
use crate::members::{AskError, Ports, Sidecars};
use crate::metrics::Metrics;
use crate::{caches, controller};

/// How often the API server is asked whether it serves the kind.
const KIND_EVERY: Duration = Duration::from_secs(1);

/// How long giving the lease back may take at the end.
const RELEASE_LIMIT: Duration = Duration::from_secs(5);

/// Why the operator ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// There is no way to an API server: no kubeconfig and no service account.
    #[error("cannot find out where the API server is")]
    Config(#[from] kube::config::InferConfigError),
    /// A client could not be made of it.
    #[error("cannot make a client for the API server")]
    Client(#[source] kube::Error),
    /// A client for sidecars could not be made.
    #[error("cannot make a client for sidecars")]
    Sidecars(#[from] AskError),
    /// The metrics are inconsistent, which is a defect.
    #[error("cannot set up the metrics")]
    Metrics(#[from] prometheus::Error),
    /// The port is taken.
    #[error("cannot open the port")]
    Listen(#[from] ListenError),
    /// The lease cannot be used.
    #[error("cannot stand for election")]
    Election(#[from] ElectionError),
    /// Another process took over, or may at any moment. The next life of this process stands by.
    #[error("the work had to end: {0}")]
    Lost(Lost),
}

/// Runs until `ending` becomes true.
///
/// # Errors
/// [`RunError`]; the process is to end with a code other than 0 then.
pub async fn run(arguments: Run, ending: watch::Receiver<bool>) -> Result<(), RunError> {
    let health = Arc::new(Health::default());
    let metrics = Arc::new(Metrics::new()?);
    let listener = Listener::bind(arguments.listen, Arc::clone(&health), Arc::clone(&metrics)).await?;
    let serving = tokio::spawn(listener.serve());
    let outcome = Operator { arguments, health, metrics }.work(ending).await;
    serving.abort();
    outcome
}

struct Operator {
    arguments: Run,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
}

impl Operator {
    async fn work(&self, ending: watch::Receiver<bool>) -> Result<(), RunError> {
        let config = configuration(None).await?;
        let namespace =
            self.arguments.pod_namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config).map_err(RunError::Client)?;
        tokio::select! {
            () = self.wait_for_the_kind(&client) => {}
            () = begun(ending.clone()) => return Ok(()),
        }
        if self.arguments.no_leader_election {
            self.look_after(client, ending).await?;
            return Ok(());
        }
        // Requests for the lease must not outlive it; those of the controller may wait, its watches do so all day.
        let quick = Client::try_from(configuration(Some(REQUEST_LIMIT)).await?).map_err(RunError::Client)?;
        let candidate = Candidate::enter(quick, &namespace, &self.arguments.pod_name).await?;
        let outcome = tokio::select! {
            () = candidate.win() => self.lead(client, &candidate, ending).await,
            () = begun(ending.clone()) => Ok(()),
        };
        if !matches!(outcome, Err(RunError::Lost(_))) {
            // Best effort: without it a standby waits for the end of the lease.
            let _ = tokio::time::timeout(RELEASE_LIMIT, candidate.release()).await;
        }
        outcome
    }

    /// Works for as long as the lease is held.
    async fn lead(
        &self,
        client: Client,
        candidate: &Candidate,
        ending: watch::Receiver<bool>,
    ) -> Result<(), RunError> {
        info!("this process holds the lease and looks after stores");
        self.health.set_leading(true);
        self.metrics.leader.set(1);
        let outcome = tokio::select! {
            outcome = self.look_after(client, ending) => outcome,
            lost = candidate.hold() => Err(RunError::Lost(lost)),
        };
        self.metrics.leader.set(0);
        self.health.set_leading(false);
        outcome
    }

    async fn look_after(&self, client: Client, ending: watch::Receiver<bool>) -> Result<(), RunError> {
        let arguments = &self.arguments;
        let (caches, controller) = caches::watch(&client, arguments.watch_namespace.as_deref());
        self.metrics.report(caches.stores.clone());
        let reporter =
            Reporter { controller: OPERATOR.to_owned(), instance: Some(arguments.pod_name.clone()) };
        let context = Context::new(
            client,
            caches,
            Sidecars::new(Ports::default())?,
            reporter,
            Arc::clone(&self.metrics),
            arguments.sidecar_image.clone(),
        );
        controller::run(controller, Arc::new(context), arguments.concurrency, begun(ending)).await;
        info!("all reconciles have ended");
        Ok(())
    }

    /// Without the definition every watch would fail for ever; saying so once is better.
    async fn wait_for_the_kind(&self, client: &Client) {
        let mut told = false;
        loop {
            let problem = match client.list_api_group_resources(API_VERSION).await {
                Ok(list) if list.resources.iter().any(|resource| resource.name == PLURAL) => break,
                Ok(_) => format!("the API server does not serve {PLURAL} in {API_VERSION}"),
                Err(error) => chain(&error),
            };
            if !told {
                warn!(problem, "waiting until the API server serves {KIND}; are the definitions installed?");
                told = true;
            }
            tokio::time::sleep(KIND_EVERY).await;
        }
        self.health.kind_is_served();
    }
}

/// Where the API server is. Requests are not retried below us: by default that takes up to a quarter of an hour, unseen.
async fn configuration(request_limit: Option<Duration>) -> Result<Config, RunError> {
    let mut config = Config::infer().await?;
    config.default_retry = false;
    if let Some(limit) = request_limit {
        config.connect_timeout = Some(limit);
        config.read_timeout = Some(limit);
        config.write_timeout = Some(limit);
        // The limit counts from the request, not from when its connection fell idle.
        config.reset_reader_on_write = true;
    }
    Ok(config)
}

async fn begun(mut ending: watch::Receiver<bool>) {
    // Whoever could say so is gone: then it is the end, too.
    let _ = ending.wait_for(|&ending| ending).await;
}
