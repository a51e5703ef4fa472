//! A store on this machine as a person sees it. That its members run as processes is [`holdfast_laptop`]'s.
//!
//! | part | does |
//! |---|---|
//! | [`setup`] | everything that can be wrong before anything starts: manifest, folder, ports |
//! | [`running`] | the loop: what happened, what is asked, what the manifest says now |
//! | [`poll`], [`leader`] | what members say of themselves, and what follows from it |
//! | [`follow`], [`edit`] | the manifest's edits |
//! | [`reporter`], [`terminal`] | how it is shown |
//! | [`page`] | the dashboard |
//!
//! Refuses to touch what members keep: it makes their folders, and never removes anything.

pub mod edit;
pub mod follow;
pub mod leader;
pub mod page;
pub mod poll;
pub mod reporter;
pub mod running;
pub mod setup;
pub mod terminal;
