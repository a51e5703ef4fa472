//! What travels between members: greetings, frames, their versions and their limits; and [`native`], what travels
//! between a member and its clients; and [`files`], what members say about the bytes of files.
//!
//! A connection begins with one [`Greeting`] each way, by which both sides prove that they mean the same store, speak
//! a common version and are who they should be; then frames follow. Everything that comes from a peer is checked
//! here: a frame that this crate returns has its invariants.
//!
//! What it refuses to do: open connections, wait, or allocate by a length that a peer claims.

mod cursor;
pub mod files;
mod frame;
mod hello;
mod message;
pub mod native;
mod repair;

pub use frame::{
    CHUNK_BYTES_MAX, FORWARD_BYTES_MAX, FRAME_BYTES_MAX, Fingerprint, Frame, FrameError, TooLarge,
};
pub use hello::{
    Greeting, GreetingError, HELLO_BYTES_MAX, Hello, Purpose, STORE_NAME_BYTES_MAX, TurnedAway, VERSION,
    VERSION_MIN,
};
pub use repair::{Lack, REPAIR_BYTES_MAX, Repair};
