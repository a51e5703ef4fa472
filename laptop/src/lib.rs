//! The members of a store as processes of this machine, kept running as a kubelet would.
//!
//! | part | does |
//! |---|---|
//! | [`supervisor`], [`process`], [`backoff`] | one member's process: start, death, restart, end |
//! | [`member`] | where it is, and the orders that can be given |
//! | [`companion`] | an application beside a member |
//! | [`store`], [`links`] | all members of a store that a program made for itself, and the lines between them |
//! | [`scratch`], [`janitor`] | the folder of such stores, which goes when the program goes |
//! | [`event`] | what happened to it |
//! | [`folder`], [`log_file`], [`ports`] | what it has of the machine |
//! | [`control`], [`registry`] | how other programs find whoever runs a store here, and ask it |
//!
//! `holdfast up` shows a store that runs so to a person; the lab does experiments with it. Refuses to ask members how they are: a process
//! that runs is running. Refuses to outlive the program that uses it: whatever it started ends with that, however that ends.

pub mod backoff;
mod chain;
pub mod companion;
pub mod control;
pub mod event;
pub mod folder;
pub mod janitor;
pub mod links;
pub mod log_file;
pub mod member;
pub mod member_name;
pub mod ports;
pub mod process;
pub mod registry;
pub mod scratch;
pub mod store;
pub mod supervisor;

pub use chain::chain;
pub use companion::Companion;
pub use member::{Member, Place};
pub use rustix::process::Signal;
pub use scratch::Scratch;
pub use store::Store;
