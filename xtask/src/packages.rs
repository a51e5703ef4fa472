//! Debian packages that tests and `bench` need: which are missing, and their installation where that is possible. Nothing is
//! upgraded or removed.

use anyhow::{Context as _, bail};

use crate::command;

/// What a cluster needs besides the tools that are built: a container runtime, a network, certificates, an image builder.
pub const CLUSTER: &[&str] = &[
    "buildah",
    "conntrack",
    "containerd",
    "containernetworking-plugins",
    "iproute2",
    "iptables",
    "openssl",
    "runc",
];

/// What the tests of dashboards and alerts need.
pub const PROMETHEUS: &[&str] = &["prometheus"];

/// What the tests of the dashboard need: a browser, and letters for it.
pub const BROWSER: &[&str] = &["chromium", "fonts-dejavu-core"];

/// What `bench` compares with, as far as Debian has it. Its service is not needed; `bench` starts processes of its own.
pub const BENCH: &[&str] = &["redis-server", "rsync"];

/// Install those of `packages` that are missing.
///
/// # Errors
///
/// If some are missing and this machine or this user cannot install them, or the installation fails. The error says
/// what a person would have to do.
pub fn ensure(packages: &[&str]) -> anyhow::Result<()> {
    if !command::exists("dpkg-query") || !command::exists("apt-get") {
        bail!("this is no Debian; what its packages {} contain is needed", packages.join(", "));
    }
    let missing = missing(packages);
    if missing.is_empty() {
        return Ok(());
    }
    if !is_root() {
        bail!("only root can do it: apt-get install --no-install-recommends {}", missing.join(" "));
    }
    let mut update = command::words(["apt-get", "update", "--quiet"]);
    command::capture(&mut update).context("cannot refresh the list of Debian packages")?;
    let mut install = command::words(["apt-get", "install", "--yes", "--quiet", "--no-install-recommends"]);
    install.args(&missing).env("DEBIAN_FRONTEND", "noninteractive");
    command::capture(&mut install).with_context(|| format!("cannot install {}", missing.join(", ")))?;
    Ok(())
}

/// Whether this process may do what only root may.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn missing<'a>(packages: &[&'a str]) -> Vec<&'a str> {
    let installed = |package: &str| {
        let mut query = command::words(["dpkg-query", "--show", "--showformat=${db:Status-Status}", package]);
        command::capture(&mut query).is_ok_and(|status| status.trim() == "installed")
    };
    packages.iter().copied().filter(|package| !installed(package)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_installed_is_missing() {
        if command::exists("dpkg-query") {
            assert_eq!(missing(&["dpkg", "no-such-package"]), ["no-such-package"]);
        }
    }
}
