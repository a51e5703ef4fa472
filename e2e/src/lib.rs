//! What the tests with real processes and a real Kubernetes share. Nothing here knows what the product should do;
//! the tests in `tests/` do.

pub mod browser;
pub mod chat;
pub mod experiments;
pub mod faults;
pub mod files;
pub mod history;
pub mod http;
pub mod kubernetes;
pub mod laptop;
pub mod linearizability;
pub mod load;
pub mod messages;
pub mod programs;
pub mod revisions;
pub mod suite;
pub mod wait;

use std::sync::OnceLock;

use tokio::runtime::{Builder, Runtime};

/// The threads that all requests of a test program run on. They are made at the first use, and in the network namespace
/// of whoever uses them first.
///
/// # Panics
///
/// If the machine has no thread to spare.
pub fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads for a runtime")
    })
}
