//! A network of one run's own: a namespace with a switch, where the clients are, and one namespace per member on a cable to it.
//! Packets are dropped where they arrive, so that every direction between two members can be cut by itself. It touches
//! nothing outside of the namespaces that it made.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use holdfast_xtask::command;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Where `ip` keeps namespaces.
const NAMESPACES: &str = "/run/netns";

/// Every namespace of ours is called so, and then by the process that made it.
const PREFIX: &str = "hf-faults-";

/// The port that members use among themselves.
pub const PEER_PORT: u16 = 7401;

/// What does not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// What one member sends to another.
    OneWay {
        /// The sender.
        from: u8,
        /// The one who does not get it.
        to: u8,
    },
    /// So many of a hundred packets that a member is sent, also by clients.
    Loss {
        /// The member.
        to: u8,
        /// How many.
        percent: u8,
    },
}

/// The network. Dropping it removes it with everything in it.
#[derive(Debug)]
pub struct Network {
    name: String,
    members: u8,
}

impl Network {
    /// Make the network of the run `run` of this process.
    ///
    /// # Errors
    ///
    /// If that cannot be done; only root can.
    pub fn create(run: usize, members: u8) -> anyhow::Result<Network> {
        let network = Network { name: format!("{PREFIX}{}-{run}", std::process::id()), members };
        network.make().with_context(|| format!("cannot make the network {}", network.name))?;
        Ok(network)
    }

    /// Move this thread to where the clients are; threads that it starts are there too.
    ///
    /// # Errors
    ///
    /// If only root can do it.
    pub fn enter(&self) -> anyhow::Result<()> {
        let path = Path::new(NAMESPACES).join(&self.name);
        let namespace = fs::File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        move_into_link_name_space(std::os::fd::AsFd::as_fd(&namespace), Some(LinkNameSpaceType::Network))?;
        Ok(())
    }

    /// The member's own namespace, as `nsenter --net=` takes it.
    pub fn namespace(&self, member: u8) -> PathBuf {
        Path::new(NAMESPACES).join(self.of(member))
    }

    /// The member's address.
    pub fn address(member: u8) -> String {
        format!("10.77.0.{}", 10 + member)
    }

    /// Let exactly these be cut.
    ///
    /// # Errors
    ///
    /// If nftables refuses.
    pub fn cut(&self, cuts: &[Cut]) -> anyhow::Result<()> {
        for member in 0..self.members {
            let mut nft = self.inside(member, &["nft", "-f", "-"]);
            command::feed(&mut nft, &rules(member, cuts))?;
        }
        Ok(())
    }

    /// End every connection between this member and the others, by a reset at both ends.
    ///
    /// # Errors
    ///
    /// If `ss` refuses.
    pub fn reset(&self, member: u8) -> anyhow::Result<()> {
        let port = format!(":{PEER_PORT}");
        let filter = ["(", "sport", "=", &port, "or", "dport", "=", &port, ")"];
        let mut ss = self.inside(member, &["ss", "--kill", "--tcp", "state", "established"]);
        command::capture(ss.args(filter))?;
        Ok(())
    }

    fn inside(&self, member: u8, words: &[&str]) -> std::process::Command {
        let net = format!("--net={}", self.namespace(member).display());
        let mut command = command::words(["nsenter", &net, "--"]);
        command.args(words);
        command
    }

    fn of(&self, member: u8) -> String {
        format!("{}-{member}", self.name)
    }

    fn make(&self) -> anyhow::Result<()> {
        let names: Vec<String> = (0..self.members).map(|member| self.of(member)).collect();
        let mut add = format!("netns add {}\n", self.name);
        for name in &names {
            let _ = writeln!(add, "netns add {name}");
        }
        command::feed(&mut command::words(["ip", "-batch", "-"]), &add)?;
        let mut hub =
            "link set lo up\nlink add br0 type bridge\naddr add 10.77.0.1/24 dev br0\nlink set br0 up\n"
                .to_owned();
        for (member, name) in names.iter().enumerate() {
            let _ = writeln!(hub, "link add m{member} type veth peer name eth0 netns {name}");
            let _ = writeln!(hub, "link set m{member} master br0 up");
        }
        // `ip -netns` would copy the list of mounts, and so keep alive what others unmount meanwhile.
        let batch = |name: &str, lines: &str| {
            let net = format!("--net={}", Path::new(NAMESPACES).join(name).display());
            command::feed(&mut command::words(["nsenter", &net, "--", "ip", "-batch", "-"]), lines)
        };
        batch(&self.name, &hub)?;
        for (member, name) in (0..).zip(&names) {
            let own = format!(
                "link set lo up\naddr add {}/24 dev eth0\nlink set eth0 up\n",
                Network::address(member)
            );
            batch(name, &own)?;
        }
        Ok(())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for name in (0..self.members).map(|member| self.of(member)).chain([self.name.clone()]) {
            let _ = command::capture(&mut command::words(["ip", "netns", "delete", &name]));
        }
    }
}

/// Remove the networks of processes that did not live to do it themselves.
pub fn sweep() {
    for entry in fs::read_dir(NAMESPACES).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = command::capture(&mut command::words(["ip", "netns", "delete", &name]));
        }
    }
}

/// What a member's namespace is told.
fn rules(member: u8, cuts: &[Cut]) -> String {
    let mut rules = "table inet faults\ndelete table inet faults\ntable inet faults {\nchain arriving {\n\
                     type filter hook input priority 0;\n"
        .to_owned();
    for cut in cuts {
        let _ = match *cut {
            Cut::OneWay { from, to } if to == member => {
                writeln!(rules, "ip saddr {} drop", Network::address(from))
            }
            Cut::Loss { to, percent } if to == member => {
                writeln!(rules, "iifname eth0 numgen random mod 100 < {percent} drop")
            }
            Cut::OneWay { .. } | Cut::Loss { .. } => Ok(()),
        };
    }
    rules + "}\n}\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_is_a_rule_where_the_packets_arrive() {
        let cuts = [Cut::OneWay { from: 0, to: 2 }, Cut::Loss { to: 1, percent: 20 }];
        let dropped = |member| {
            let rules = rules(member, &cuts);
            let lines = rules.lines().filter(|line| line.ends_with("drop"));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        assert!(dropped(0).is_empty());
        assert_eq!(dropped(1), ["iifname eth0 numgen random mod 100 < 20 drop"]);
        assert_eq!(dropped(2), ["ip saddr 10.77.0.10 drop"]);
    }
}
