//! An order to a runner about one member: finding the runner, checking the name, saying what became of it.

use std::io::Write;

use holdfast_laptop::control::{Answer, Request, ask};
use holdfast_laptop::member_name::find_member;

use crate::arguments::Member;
use crate::discover;
use crate::exit::{Exit, Failure};
use crate::output::settle;

/// Gives the runner an order about one of its members.
pub(super) fn give(member: &Member, request: impl FnOnce(String) -> Request) -> Result<Exit, Failure> {
    let runner = discover::find(&member.target).map_err(Failure::general)?;
    // Before asking, so that a slip in the name is told apart from a failure.
    find_member(&runner.store, runner.replicas, &member.member).map_err(Failure::usage)?;
    match ask(&runner.socket, &request(member.member.clone())).map_err(Failure::general)? {
        Answer::Done { text } => settle(writeln!(std::io::stdout(), "{text}")).map(|_| Exit::Ok),
        Answer::Refused { text } => Err(Failure::general(text)),
        Answer::Members { .. } => Err(Failure::general("the runner answered another question")),
    }
}
