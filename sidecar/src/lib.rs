//! One member of a store: sockets, timers, disk, HTTP and metrics around the engine.

pub mod arguments;
pub mod ending;
pub mod listener;
pub mod logging;
pub mod metrics;
