//! The Rust client: finds a member that answers, retries what is safe, says `unknown` when it is.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use holdfast_client::{Client, Error, Expect, ReadOptions, WriteOptions};
//!
//! let client = Client::new(["http://127.0.0.1:7400", "http://127.0.0.1:7410", "http://127.0.0.1:7420"])?;
//! let options = WriteOptions { expect: Expect::Absent, ..WriteOptions::default() };
//! match client.put("lock", "me", options).await {
//!     Ok(written) => println!("mine since revision {}", written.revision),
//!     Err(Error::Refused(problem)) => println!("not mine: {}", problem.detail),
//!     Err(Error::Unknown { .. }) => println!("perhaps mine: {:?}", client.get("lock", ReadOptions::default()).await?),
//!     Err(error) => return Err(error.into()),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A write has three outcomes, never two: done, refused, unknown. All lengths of time are [`std::time::Duration`]s;
//! revisions count the store's writes from 1, the empty store.
//!
//! What it refuses to do: cache, follow leaders by itself (members pass requests on), or speak TLS, which is to come.

mod admin;
mod client;
mod endpoints;
mod error;
mod event_stream;
mod files;
mod lanes;
mod log;
pub mod native;
mod request;
mod streaming;
mod transport;
mod watch;

#[cfg(test)]
mod scripted;

pub use admin::{Admin, Readiness};
pub use client::{Client, Consistency, DEADLINE_DEFAULT, Expect, Pages, ReadOptions, Value, WriteOptions};
pub use endpoints::{ENDPOINTS_MAX, EndpointError};
pub use error::{Error, Tried};
pub use files::{Download, Files, PutOptions};
pub use holdfast_api::WriteConcern;
pub use holdfast_api::http as reply;
pub use log::{AppendOptions, Follow, Followed, Log, LogConsistency};
pub use native::NativeClient;
pub use watch::Watch;
