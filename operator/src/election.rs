//! Which of several operator processes works: one Lease, held and renewed. It refuses to be a fence for the stores: those
//! decide their leaders by their own consensus, and every disruptive act of the operator carries preconditions of its own.

use std::time::Duration;

use kube::Client;
use kube_lease_manager::{LeaseCreateMode, LeaseManager, LeaseManagerError, LeaseParams};
use tokio::time::Instant;
use tracing::{info, warn};

/// Name of the Lease object in the operator's namespace.
pub const LEASE_NAME: &str = "holdfast-operator";

/// How long the lease is valid after a renewal. Another process takes over at most this long after a crash.
const LEASE_SECONDS: u64 = 15;

/// The holder renews this long before the end of the lease: two attempts of [`REQUEST_LIMIT`] and a pause fit in.
const GRACE_SECONDS: u64 = 6;

/// Longest single request for the lease. The client for leases carries this limit: a request that hangs on a cut connection would
/// otherwise outlive the lease unnoticed.
pub const REQUEST_LIMIT: Duration = Duration::from_secs(2);

/// Renewals that fail for this long end the holder's work before the lease does.
const FAILING_MAX: Duration = Duration::from_millis(2_500);

/// Pause between attempts while the API server fails.
const PAUSE: Duration = Duration::from_millis(500);

/// The lease could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum ElectionError {
    /// The Lease object could not be read or created.
    #[error("cannot use the Lease {namespace}/{LEASE_NAME}")]
    Lease {
        /// Namespace of the Lease.
        namespace: String,
        /// What the API server or the connection to it said.
        #[source]
        source: LeaseManagerError,
    },
}

/// Why a holder must stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// Another process holds the lease.
    Taken,
    /// Renewals failed until the lease was about to end.
    NotRenewed,
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Taken => "another process holds the lease",
            Self::NotRenewed => "the lease could not be renewed in time",
        })
    }
}

/// A place in the election.
#[derive(Debug)]
pub struct Candidate {
    manager: LeaseManager,
}

impl Candidate {
    /// Prepares the Lease object. `client` must carry [`REQUEST_LIMIT`]; `identity` is the pod's name.
    ///
    /// # Errors
    /// When the Lease can be neither read nor created, usually for a missing right.
    pub async fn enter(client: Client, namespace: &str, identity: &str) -> Result<Self, ElectionError> {
        let parameters = LeaseParams::new(identity, LEASE_SECONDS, GRACE_SECONDS);
        let manager =
            LeaseManager::new(client, LEASE_NAME, namespace, parameters, LeaseCreateMode::AutoCreate)
                .await
                .map_err(|source| ElectionError::Lease { namespace: namespace.to_owned(), source })?;
        Ok(Self { manager })
    }

    /// Waits until this process holds the lease. Failures are retried for ever: a standby has nothing better to do.
    pub async fn win(&self) {
        loop {
            match self.manager.changed().await {
                Ok(true) => return,
                Ok(false) => info!("standing by: another process holds the lease"),
                Err(error) => {
                    warn!(%error, "cannot ask for the lease");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Renews until the lease is lost. To be polled for as long as the holder works.
    pub async fn hold(&self) -> Lost {
        let mut failing: Option<(Instant, Instant)> = None;
        loop {
            match self.manager.changed().await {
                Ok(true) => failing = None,
                Ok(false) => return Lost::Taken,
                Err(error) => {
                    let now = Instant::now();
                    // `changed` returns only on a change or an error, so a long silence before this error was health.
                    let since = match failing {
                        Some((since, last)) if now - last < FAILING_MAX + REQUEST_LIMIT => since,
                        _ => now,
                    };
                    if now - since >= FAILING_MAX {
                        return Lost::NotRenewed;
                    }
                    warn!(%error, "cannot renew the lease");
                    failing = Some((since, now));
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Gives the lease back, so that a standby need not wait for its end.
    pub async fn release(&self) {
        if let Err(error) = self.manager.release().await {
            warn!(%error, "cannot release the lease; it ends by itself");
        }
    }
}
