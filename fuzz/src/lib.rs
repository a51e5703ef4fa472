//! Fuzz targets: one for everything that comes from a peer, a client or a disk.
//!
//! A [`Target`] is one function that is given bytes and panics when a property of their reader does not hold: that what
//! was read is written as it was, that nothing is set aside for a length that is only claimed, that a damaged log is
//! never a shorter one. [`targets::all`] lists them. A [`Mutator`] makes inputs from a target's samples, which are
//! made by the code that writes the real thing, and a [`Session`] gives them to the target for as long as it is told,
//! keeping those on which it behaved as on none before.
//!
//! The program of this crate runs a session in a process of its own, with the input of the moment on disk, so that a
//! stack that overflows, memory that runs out and a loop without end are found like a panic and can be replayed. So
//! do the crate's tests, for a bounded number of inputs each.
//!
//! # Why not a library
//!
//! libFuzzer and cargo-fuzz need a nightly compiler. [bolero](https://github.com/camshaft/bolero) runs on a stable one,
//! but there it draws inputs without looking at what they did, which is the part that these 300 lines do with the
//! project's own source of chance; and it brings 36 crates, 16 of which nothing else of ours uses (a second
//! `toml_edit`, `winnow`, `rand` with three generators). The compiler's own coverage counters can be had on a stable
//! compiler, but only by unsafe code. Whoever has a nightly one points libFuzzer at a target's `run`: it is the function
//! that it wants.
//!
//! What this crate refuses to do: hold binary samples (they are made by code, and inputs that once failed stand in
//! [`regressions`] as text), depend on anything but the seed, or be part of a product.

mod minimise;
mod mutation;
mod property;
pub mod regressions;
mod session;
mod shape;
pub mod supervisor;
mod target;
pub mod targets;

pub use mutation::{INPUT_BYTES_MAX, Mutator};
pub use session::{Bounds, Meter, Session};
pub use target::{Memory, Target};
