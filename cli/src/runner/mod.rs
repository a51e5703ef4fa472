//! A store on this machine: each member a real process, kept running as a kubelet would.
//!
//! | part | does |
//! |---|---|
//! | [`setup`] | everything that can be wrong before anything starts: manifest, folder, ports |
//! | [`running`] | the loop: what happened, what is asked, what the manifest says now |
//! | [`supervisor`], [`process`], [`backoff`] | one member's process: start, death, restart, end |
//! | [`poll`], [`leader`] | what members say of themselves, and what follows from it |
//! | [`follow`], [`edit`] | the manifest's edits |
//! | [`control`], [`folder`], [`registry`] | how commands in other terminals find the runner and ask it |
//! | [`reporter`], [`terminal`], [`event`] | how it is shown |
//!
//! Refuses to touch what members keep: it makes their folders, and never removes anything.

pub mod backoff;
pub mod control;
pub mod edit;
pub mod event;
pub mod folder;
pub mod follow;
pub mod leader;
pub mod log_file;
pub mod member_name;
pub mod poll;
pub mod ports;
pub mod process;
pub mod registry;
pub mod reporter;
pub mod running;
pub mod setup;
pub mod supervisor;
pub mod terminal;
