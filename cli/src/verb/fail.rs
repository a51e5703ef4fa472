//! `holdfast fail`: kills a member as a crash would, and leaves it down.

use super::order::give;
use crate::arguments::Member;
use crate::exit::{Exit, Failure};
use crate::runner::control::Request;

/// Kills the member by SIGKILL.
///
/// # Errors
/// There is no such runner or member, or the runner does not answer.
pub fn run(member: &Member) -> Result<Exit, Failure> {
    give(member, |member| Request::Fail { member })
}
