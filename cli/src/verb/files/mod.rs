//! `holdfast files`: a store's files, one module per verb.

mod get;
mod list;
mod progress;
mod put;
mod queue;
mod rm;

use holdfast_client::Files;

use super::{block_on, of_client};
use crate::arguments::{Files as Verb, Reach};
use crate::discover;
use crate::exit::{Exit, Failure};

/// Uploads, downloads, lists or deletes files.
///
/// # Errors
/// No store is found, it refuses, it does not answer, or the file here cannot be read or written.
pub fn run(verb: Verb) -> Result<Exit, Failure> {
    match verb {
        Verb::Put(put) => put::run(&put),
        Verb::Get(get) => get::run(&get),
        Verb::List(list) => list::run(&list),
        Verb::Rm(rm) => rm::run(&rm),
        Verb::Queue(queue) => queue::run(&queue),
    }
}

/// A client of the store that is meant.
fn client(reach: &Reach) -> Result<Files, Failure> {
    let found = discover::reach(reach).map_err(Failure::general)?;
    Files::new(&found.endpoints).map_err(Failure::usage)
}

/// Bytes as people read them.
fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut shown = count as f64;
    let mut unit = 0;
    while shown >= 1024.0 && unit + 1 < UNITS.len() {
        shown /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{shown:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn sizes_are_readable() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(10 << 30), "10.0 GiB");
    }
}
