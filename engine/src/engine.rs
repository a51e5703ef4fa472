//! Being written.
use crate::{Config, Effects, Input, Moment, Restored};
/// Being written.
#[derive(Debug)] pub struct Engine;
/// Being written.
#[derive(Debug)] pub struct Peer;
/// Being written.
#[derive(Debug)] pub struct Status;
impl Engine {
    /// x
    pub fn new(_c: Config, _r: Restored, _now: Moment) -> Engine { Engine }
    /// x
    pub fn step(&mut self, _now: Moment, _i: Input, _e: &mut Effects) {}
}
