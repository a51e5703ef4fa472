//! `holdfast fail`: kills a member as a crash would, and leaves it down.

use holdfast_laptop::control::Request;

use super::order::give;
use crate::arguments::Member;
use crate::exit::{Exit, Failure};

/// Kills the member by SIGKILL.
///
/// # Errors
/// There is no such runner or member, or the runner does not answer.
pub fn run(member: &Member) -> Result<Exit, Failure> {
    give(member, |member| Request::Fail { member })
}
