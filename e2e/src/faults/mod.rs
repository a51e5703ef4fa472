//! Real members, real faults: processes are killed, stopped and crashed at single system calls, disks fail and lose their power,
//! networks are cut, one or two at once; then everything heals, and what clients were told must be what a store that
//! loses nothing and does one thing at a time would have said.
//!
//! | part | does |
//! |---|---|
//! | [`plan`] | draws from a seed what is done in a run |
//! | [`run`] | does it: [`stage`] holds processes, disks and network, [`acting`] a fault that is going on |
//! | [`clients`] | use the store meanwhile and remember |
//! | [`verdict`] | judges what they were told |
//! | [`report`] | many runs, and a table |
//!
//! It needs root, and what [`PACKAGES`] contain. It refuses to touch any network, disk or process that it did not make.

mod acting;
pub mod clients;
pub mod damage;
pub mod disk;
pub mod interrupt;
pub mod lots;
pub mod member;
pub mod network;
pub mod plan;
pub mod report;
pub mod run;
pub mod stage;
pub mod verdict;
mod ways;

use anyhow::ensure;
use holdfast_xtask::packages;

/// The Debian packages that are needed.
pub const PACKAGES: &[&str] = &["e2fsprogs", "iproute2", "nftables", "strace", "util-linux", "xfsprogs"];

/// Make sure that faults can be made here, and take away what processes left that died.
///
/// # Errors
///
/// If this user may not, or a package cannot be installed.
pub fn prepare() -> anyhow::Result<()> {
    ensure!(packages::is_root(), "only root can make networks and mount disks");
    packages::ensure(PACKAGES)?;
    stage::sweep();
    Ok(())
}
