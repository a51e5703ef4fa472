//! `holdfast demo`: demonstrations.

use crate::arguments::Demo;
use crate::demo;
use crate::exit::{Exit, Failure};

/// Runs the demonstration.
///
/// # Errors
/// It could not start, or something that it was told failed.
pub fn run(demo: &Demo) -> Result<Exit, Failure> {
    match demo {
        Demo::Chat(arguments) => demo::chat(arguments),
    }
}
