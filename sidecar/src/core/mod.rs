//! The core of a member: one thread that owns the engine and the state, and the [`Handle`] to ask it.
//!
//! Everything that happens to a member is an event in one bounded queue. The core refuses to wait for anything else:
//! disk, network and clients are told what to do and report back by events.

mod event;
mod handle;
mod queue;
mod watches;

pub use handle::{
    Answer, CheckpointTaken, Consistency, Failure, HandedOver, Handle, Query, ReadReply, ReadRequest, RefusalCode,
    Timing, WatchBatch, WatchEnd, WriteRequest, Written,
};
pub use watches::WatchStream;
