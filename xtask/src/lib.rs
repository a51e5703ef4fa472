//! What the project's commands do, as a library: the tests start the same cluster that `cargo xtask cluster` starts.
//! Nothing here is part of the product.

#[cfg(test)]
mod architecture;
pub mod cluster;
pub mod codegen;
pub mod command;
pub mod dashboards;
pub mod image;
pub mod lint;
mod manifests;
pub mod packages;
pub mod peers;
pub mod test;
pub mod tools;

use std::fmt::Arguments;
use std::io::Write as _;
use std::path::Path;

/// The folder that this program was built from.
pub fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a crate's folder lies in the checkout")
}

/// Tell the person at the terminal what goes on. It goes to standard error, which is not buffered and is never parsed.
pub fn say(what: Arguments<'_>) {
    // Nobody is left to be told that nobody listens.
    let _ = writeln!(std::io::stderr(), "    {what}");
}
