//! One member of a store: sockets, timers, disk, HTTP and metrics around the engine.
//!
//! | part | does |
//! |---|---|
//! | [`core`] | one thread that owns the engine and the state; everybody else asks it by a [`core::Handle`] |
//! | `peers` | connections to the other members |
//! | [`member`] | puts a member together: folder, core, writer, connections |
//! | `http`, `admin` | the routes of the client port and of the admin port |
//! | [`dashboard`] | the page for people, which the client port serves, and runners |
//! | `native` | the binary protocol of the client port |
//! | `files` | the bytes of files, beside the log, and their catalogue, in it |
//! | [`repair`] | puts a damaged folder right before the member starts |
//! | [`listener`] | serves them |
//! | [`process`] | a member as a process: [`main`], [`run`] |
//!
//! It refuses to decide what the engine and the state decide: who leads, what is committed, what a command does.

mod admin;
mod advice;
pub mod arguments;
pub mod authority;
mod byte_stream;
pub mod core;
pub mod dashboard;
pub mod ending;
pub mod files;
mod http;
pub mod listener;
mod loading;
pub mod logging;
pub mod member;
pub mod metrics;
mod native;
mod outside;
mod peers;
mod problem;
pub mod process;
pub mod repair;
mod reserved;
mod running;
pub mod settings_file;
pub mod signals;

pub use arguments::{Arguments, FaultArguments, Options};
#[doc(hidden)]
pub use http::readings;
pub use process::{Exit, RunError, main, run};
