//! What the operator knows of its own readiness. It refuses to look at any store: a broken store must not make the operator
//! unready, or nobody would be left to report it.

use std::sync::atomic::{AtomicBool, Ordering};

/// Facts that other tasks set and the health port reads.
#[derive(Debug, Default)]
pub struct Health {
    served: AtomicBool,
    leading: AtomicBool,
}

/// One named readiness check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Check {
    /// Stable name, as printed by `/readyz?verbose`.
    pub name: &'static str,
    /// Whether it passes.
    pub passes: bool,
    /// What is the case, for a person.
    pub detail: &'static str,
}

impl Health {
    /// The API server has answered and serves the `ReplicatedStore` kind.
    pub fn kind_is_served(&self) {
        self.served.store(true, Ordering::Relaxed);
    }

    /// This process holds, or no longer holds, the operator's lease.
    pub fn set_leading(&self, leading: bool) {
        self.leading.store(leading, Ordering::Relaxed);
    }

    /// Whether this process holds the operator's lease.
    #[must_use]
    pub fn leading(&self) -> bool {
        self.leading.load(Ordering::Relaxed)
    }

    /// All checks, in the order they are printed. A standby is ready: it can take over at once.
    #[must_use]
    pub fn checks(&self) -> Vec<Check> {
        let served = self.served.load(Ordering::Relaxed);
        vec![
            Check {
                name: "kind-served",
                passes: served,
                detail: if served {
                    "the API server serves ReplicatedStore"
                } else {
                    "the API server was not reached yet, or the custom resource definition is missing"
                },
            },
            Check {
                name: "lease",
                passes: true,
                detail: if self.leading() { "this process holds the lease" } else { "standing by" },
            },
        ]
    }
}
