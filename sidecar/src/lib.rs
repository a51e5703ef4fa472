//! One member of a store: sockets, timers, disk, HTTP and metrics around the engine.

pub mod metrics;
