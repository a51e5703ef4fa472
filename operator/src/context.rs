//! What a reconcile may use, and the little that is remembered between two reconciles of one store. All of it can be
//! forgotten: a new process finds everything out again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use holdfast_api::ReplicatedStoreStatus;
use kube::Client;
use kube::runtime::events::Reporter;
use kube::runtime::reflector::ObjectRef;
use tokio::time::Instant;

use crate::apply::Applied;
use crate::caches::{Caches, Watched};
use crate::event::Events;
use crate::in_sync::Forced;
use crate::members::Sidecars;
use crate::metrics::Metrics;

/// What a reconcile may use.
#[derive(Clone)]
pub struct Context {
    /// The way to the API server.
    pub client: Client,
    /// Copies of what is there.
    pub caches: Caches,
    /// The way to the members.
    pub sidecars: Sidecars,
    /// Where events are written.
    pub events: Events,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The image of members whose store names none.
    pub sidecar_image: String,
    memories: Arc<Mutex<HashMap<ObjectRef<Watched>, Memory>>>,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("sidecar_image", &self.sidecar_image).finish_non_exhaustive()
    }
}

/// What is remembered of one store.
#[derive(Debug, Default)]
pub struct Memory {
    /// The store that it is about: one of the same name that came later has another uid.
    pub uid: Option<String>,
    /// What was applied last.
    pub applied: Applied,
    /// The status that was computed last; the copy of the store may lag behind it.
    pub status: Option<ReplicatedStoreStatus>,
    /// When a status was written last.
    pub written: Option<Instant>,
    /// Since when the store is not as it should be.
    pub unsettled: Option<Instant>,
    /// What became of an order to start from a member that may have lost writes, until the status says it.
    pub forced: Option<Forced>,
    /// Whether members are being restarted.
    pub rolling: bool,
    /// Reconciles that failed in a row.
    pub failures: u32,
}

impl Context {
    /// A context in which nothing is remembered yet.
    #[must_use]
    pub fn new(
        client: Client,
        caches: Caches,
        sidecars: Sidecars,
        reporter: Reporter,
        metrics: Arc<Metrics>,
        sidecar_image: String,
    ) -> Context {
        Context {
            events: Events::new(client.clone(), reporter),
            client,
            caches,
            sidecars,
            metrics,
            sidecar_image,
            memories: Arc::default(),
        }
    }

    /// Takes what is remembered of a store; the runtime never reconciles one store twice at the same time.
    #[must_use]
    pub fn recall(&self, store: &ObjectRef<Watched>, uid: Option<String>) -> Memory {
        let remembered = self.memories().remove(store).filter(|memory| memory.uid == uid);
        remembered.unwrap_or_else(|| Memory { uid, ..Memory::default() })
    }

    /// Puts it back.
    pub fn remember(&self, store: ObjectRef<Watched>, memory: Memory) {
        self.memories().insert(store, memory);
    }

    /// Forgets a store that is gone.
    pub fn forget(&self, store: &ObjectRef<Watched>) {
        self.memories().remove(store);
    }

    /// Another reconcile of a store failed; returns how many did in a row.
    pub fn failed(&self, store: &ObjectRef<Watched>) -> u32 {
        let mut memories = self.memories();
        let memory = memories.entry(store.clone()).or_default();
        memory.failures = memory.failures.saturating_add(1);
        memory.failures
    }

    fn memories(&self) -> std::sync::MutexGuard<'_, HashMap<ObjectRef<Watched>, Memory>> {
        // A panic elsewhere leaves a memory that is at worst incomplete.
        self.memories.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
