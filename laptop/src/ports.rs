//! Which loopback ports a store's members listen on, and whether those are free.
//!
//! Refuses to hold a port: the members bind theirs themselves, and say so if somebody was faster.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// Ports from one member's first to the next one's.
const STRIDE: u16 = holdfast_api::names::PORT_STRIDE;
/// Client, peer and admin port, in this order.
const PORTS_PER_MEMBER: u16 = 3;
/// Ports below are the system's and need rights that a laptop's user has not.
const PORT_BASE_MIN: u16 = 1024;

/// The ports of one store on this machine: member `i` has `base + 10 * i` for clients, the next one for its peers
/// and the one after for operators. All on 127.0.0.1, and all at most 65535.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    base: u16,
    replicas: u8,
}

/// Why a store cannot have its ports.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// The base is out of range.
    #[error(
        "port base {base} leaves no room for {replicas} members; give one in [{PORT_BASE_MIN}, {max}] with --port-base",
        max = u16::MAX - span(*.replicas)
    )]
    OutOfRange {
        /// What was asked for.
        base: u16,
        /// For how many members.
        replicas: u8,
    },
    /// Somebody listens on some of them.
    #[error("{} taken on 127.0.0.1 by another process; stop it, or give a free range with --port-base", are(.ports))]
    Taken {
        /// The ports in use, in order.
        ports: Vec<u16>,
    },
    /// Somebody listens on some of the further ones that the manifest names.
    #[error(
        "{} taken on 127.0.0.1 by another process; stop it, or write other ports under spec.laptop.clientPorts in the \
         manifest", are(.ports)
    )]
    AlsoTaken {
        /// The ports in use, in order.
        ports: Vec<u16>,
    },
    /// The manifest names ports of the members' own.
    #[error(
        "{} among the members' own, from port base {base} on; write other ports under spec.laptop.clientPorts in the \
         manifest, or give another range with --port-base", are(.ports)
    )]
    AlsoOwn {
        /// The ports.
        ports: Vec<u16>,
        /// The port base.
        base: u16,
    },
    /// Loopback does not work at all.
    #[error("cannot listen on 127.0.0.1:{port}")]
    Io {
        /// The port.
        port: u16,
        /// Why.
        source: io::Error,
    },
}

/// "port 1 is" or "ports 1, 2 are"; the address and what they are come after.
pub fn are(ports: &[u16]) -> String {
    let list: Vec<String> = ports.iter().map(u16::to_string).collect();
    let (noun, verb) = if ports.len() == 1 { ("port", "is") } else { ("ports", "are") };
    format!("{noun} {} {verb}", list.join(", "))
}

/// Ports from the base to the last one, without the base itself.
fn span(replicas: u8) -> u16 {
    STRIDE * u16::from(replicas.max(1) - 1) + PORTS_PER_MEMBER - 1
}

impl Ports {
    /// The ports from `base` on.
    ///
    /// # Errors
    /// `base` is below 1024 or the last port would be above 65535.
    pub fn new(base: u16, replicas: u8) -> Result<Ports, PortError> {
        if base < PORT_BASE_MIN || base.checked_add(span(replicas)).is_none() {
            return Err(PortError::OutOfRange { base, replicas });
        }
        Ok(Ports { base, replicas })
    }

    /// The first port of all.
    pub fn base(self) -> u16 {
        self.base
    }

    fn of(self, ordinal: u8, offset: u16) -> SocketAddr {
        assert!(ordinal < self.replicas, "there is no member {ordinal}");
        on_loopback(self.base + STRIDE * u16::from(ordinal) + offset)
    }

    /// Where the clients of member `ordinal` connect.
    pub fn client(self, ordinal: u8) -> SocketAddr {
        self.of(ordinal, 0)
    }

    /// Where the peers of member `ordinal` connect.
    pub fn peer(self, ordinal: u8) -> SocketAddr {
        self.of(ordinal, 1)
    }

    /// Where member `ordinal` answers health checks, metrics and orders.
    pub fn admin(self, ordinal: u8) -> SocketAddr {
        self.of(ordinal, 2)
    }

    /// Where the runner's dashboard is unless somebody says otherwise: the port after the first member's.
    pub fn dashboard(self) -> u16 {
        self.base.saturating_add(PORTS_PER_MEMBER)
    }

    /// Whether `port` is one of them.
    pub fn has(self, port: u16) -> bool {
        let offset = port.wrapping_sub(self.base);
        offset <= span(self.replicas) && offset % STRIDE < PORTS_PER_MEMBER
    }

    /// The client ports' addresses as URLs, by ordinal.
    pub fn endpoints(self) -> Vec<String> {
        (0..self.replicas).map(|ordinal| format!("http://{}", self.client(ordinal))).collect()
    }

    /// The peer ports' addresses, by ordinal, as the settings have them.
    pub fn peers(self) -> Vec<String> {
        (0..self.replicas).map(|ordinal| self.peer(ordinal).to_string()).collect()
    }

    /// Whether every port is free at this instant.
    ///
    /// # Errors
    /// Some are taken: all of them are named.
    pub fn check_free(self) -> Result<(), PortError> {
        self.check_free_from(0)
    }

    /// Whether every port of the members `first` and after is free at this instant.
    ///
    /// # Errors
    /// Some are taken: all of them are named.
    pub fn check_free_from(self, first: u8) -> Result<(), PortError> {
        let of = |ordinal| [self.client(ordinal), self.peer(ordinal), self.admin(ordinal)];
        let ports = taken((first..self.replicas).flat_map(of))?;
        if ports.is_empty() { Ok(()) } else { Err(PortError::Taken { ports }) }
    }

    /// Whether every one of these further ports is free at this instant, and none of the members' own.
    ///
    /// # Errors
    /// Some are not: all of them are named.
    pub fn check_also_free(self, also: &[u16]) -> Result<(), PortError> {
        let ports: Vec<u16> = also.iter().copied().filter(|port| self.has(*port)).collect();
        if !ports.is_empty() {
            return Err(PortError::AlsoOwn { ports, base: self.base });
        }
        let ports = taken(also.iter().map(|port| on_loopback(*port)))?;
        if ports.is_empty() { Ok(()) } else { Err(PortError::AlsoTaken { ports }) }
    }
}

/// A port of this machine that no other machine reaches.
pub fn on_loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// The ports of these addresses that somebody listens on.
fn taken(addresses: impl Iterator<Item = SocketAddr>) -> Result<Vec<u16>, PortError> {
    let mut taken = Vec::new();
    for address in addresses {
        match TcpListener::bind(address) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => taken.push(address.port()),
            Err(source) => return Err(PortError::Io { port: address.port(), source }),
        }
    }
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn further_ports_are_free_and_not_the_members_own() {
        let held = TcpListener::bind(on_loopback(0)).expect("a port");
        let port = held.local_addr().expect("an address").port();
        let ports = Ports::new(2000, 3).expect("in range");
        let error = ports.check_also_free(&[port]).expect_err("it is held").to_string();
        assert!(
            error.starts_with(&format!("port {port} is taken")) && error.contains("clientPorts"),
            "{error}"
        );
        let error = ports.check_also_free(&[2011, 2012]).expect_err("the members' own").to_string();
        assert!(
            error.starts_with("ports 2011, 2012 are among the members' own, from port base 2000 on"),
            "{error}"
        );
        assert!(ports.check_also_free(&[]).is_ok());
    }

    #[test]
    fn members_are_ten_ports_apart() {
        let ports = Ports::new(7400, 3).expect("in range");
        assert_eq!(ports.client(0).to_string(), "127.0.0.1:7400");
        assert_eq!(ports.peer(1).to_string(), "127.0.0.1:7411");
        assert_eq!(ports.admin(2).to_string(), "127.0.0.1:7422");
        assert_eq!(ports.endpoints()[2], "http://127.0.0.1:7420");
        let ours: Vec<u16> = (7390..7430).filter(|port| ports.has(*port)).collect();
        assert!(!ours.contains(&ports.dashboard()));
        assert_eq!(ours, [7400, 7401, 7402, 7410, 7411, 7412, 7420, 7421, 7422]);
    }

    #[test]
    fn the_range_is_checked_to_its_last_port() {
        Ports::new(65_513, 3).expect("the last port is 65535");
        let error = Ports::new(65_514, 3).expect_err("one too many").to_string();
        assert!(error.contains("[1024, 65513]"), "{error}");
        Ports::new(80, 1).expect_err("a port of the system's");
    }

    #[test]
    fn taken_ports_are_all_named() {
        let (base, _held) = (20_000..u16::MAX)
            .step_by(20)
            .find_map(|base| {
                let ports = Ports::new(base, 2).ok()?;
                ports.check_free().ok()?;
                Some((
                    base,
                    [TcpListener::bind(ports.peer(0)).ok()?, TcpListener::bind(ports.client(1)).ok()?],
                ))
            })
            .expect("a free range");
        let error =
            Ports::new(base, 2).expect("in range").check_free().expect_err("two are held").to_string();
        assert!(error.starts_with(&format!("ports {}, {} are taken", base + 1, base + 10)), "{error}");
    }
}
