//! The binary protocol on the client port: many requests of one client over one connection, without a task or a wakeup
//! for each.
//!
//! | part | does |
//! |---|---|
//! | `connection` | reads what has arrived, hands all of it to the core in one go |
//! | [`outbox`] | collects answers, written once per round of the core |
//! | `requests`, `replies` | the protocol's words as the core has them, and back |
//! | [`stream`] | TCP or a Unix socket |
//!
//! The protocol itself is [`holdfast_wire::native`]. What this refuses to do: decide anything that the core or the
//! replicated state decides, or read faster than the core answers.

mod connection;
pub(crate) mod outbox;
pub(crate) mod replies;
mod requests;
pub(crate) mod stream;

pub(crate) use connection::{Context, serve};
pub(crate) use outbox::{Outbox, Unsent};
pub(crate) use requests::{Asked, Wish};
