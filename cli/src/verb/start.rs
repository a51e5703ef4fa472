//! `holdfast start`: starts a member that is down. That it runs already is no failure.

use holdfast_laptop::control::Request;

use super::order::give;
use crate::arguments::Member;
use crate::exit::{Exit, Failure};

/// Starts the member.
///
/// # Errors
/// There is no such runner or member, or the runner does not answer.
pub fn run(member: &Member) -> Result<Exit, Failure> {
    give(member, |member| Request::Start { member })
}
