//! `holdfast demo chat`: five members with a chat server each, on one machine or two, and a prompt to fail and start them.
//!
//! | part | does |
//! |---|---|
//! | [`place`] | which member is where |
//! | [`cast`] | the processes of this machine, and how all members are |
//! | [`stage`] | the commands |
//! | [`input`] | where commands come from: a person with a line editor, a file, a pipe |
//!
//! Refuses to outlive itself: every process that it started ends with it.

mod cast;
mod input;
mod place;
mod stage;

use std::net::IpAddr;

use holdfast_api::names::PORT_STRIDE;

use crate::arguments::DemoChat;
use crate::exit::{Exit, Failure};
use crate::verb::block_on;
use cast::Cast;
use input::Input;
use place::Place;
use stage::Stage;

/// Members of the demonstration; people call them 1 to 5.
const MEMBERS: u8 = 5;
/// Of which so many are on the first machine.
const ON_FIRST: u8 = 2;
/// The one that leads at first, by ordinal.
const LEADER: u8 = 1;

/// Runs the demonstration until `exit`, the end of its input, or a signal.
///
/// # Errors
/// It could not start, or something that it was told failed.
pub(crate) fn chat(arguments: &DemoChat) -> Result<Exit, Failure> {
    let place = Place::new(arguments).map_err(Failure::usage)?;
    let cast = Cast::prepare(arguments, place)?;
    let input = Input::open();
    block_on(async move { Stage::new(arguments, cast, input).await?.play().await })
}

/// The first port of member `ordinal` among ports that are so far apart.
fn port(base: u16, ordinal: u8) -> u16 {
    base + PORT_STRIDE * u16::from(ordinal)
}

/// As in a URL.
fn url(address: IpAddr, port: u16) -> String {
    format!("http://{}", std::net::SocketAddr::new(address, port))
}
