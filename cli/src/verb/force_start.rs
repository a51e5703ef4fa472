//! `holdfast force-start`: in a store with consensus InSync, start from a member that may have lost writes.
//!
//! It refuses to choose the member or the epoch: a person looks, and names both.

use std::io;

use holdfast_client::Admin;
use holdfast_laptop::member_name::{find_member, member_name};
use holdfast_laptop::ports::Ports;

use super::{block_on, of_client};
use crate::arguments::ForceStart;
use crate::discover;
use crate::exit::{Exit, Failure};
use crate::output::print;

/// Gives the order.
///
/// # Errors
/// There is no such store or member, it does not answer, somebody leads, or the store is in another epoch.
pub fn run(order: &ForceStart) -> Result<Exit, Failure> {
    let (address, name) = match &order.admin {
        Some(admin) => (admin.clone(), order.member.clone()),
        None => {
            let runner = discover::find_named(None, &order.target).map_err(Failure::general)?;
            let ordinal =
                find_member(&runner.store, runner.replicas, &order.member).map_err(Failure::usage)?;
            let ports = Ports::new(runner.port_base, runner.replicas).map_err(Failure::general)?;
            (format!("http://{}", ports.admin(ordinal)), member_name(&runner.store, ordinal))
        }
    };
    let admin = Admin::new(&address).map_err(Failure::usage)?.with_deadline(order.timeout.get());
    let reply = block_on(async { admin.force_start(order.epoch).await.map_err(of_client) })?;
    print(order.printed.output, &reply, |out: &mut dyn io::Write| {
        writeln!(
            out,
            "{name} leads from epoch {} on; what only other members had by epoch {} is lost",
            reply.epoch, reply.ended
        )
    })?;
    Ok(Exit::Ok)
}
