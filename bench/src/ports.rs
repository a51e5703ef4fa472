//! Ports that nobody listens on just now. It refuses those that the kernel gives to outgoing connections.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::bail;

/// Below the ports of outgoing connections, above those that services of a machine have.
const RANGE: std::ops::Range<u16> = 12_000..30_000;

/// The first of `count` free ports in a row on 127.0.0.1.
///
/// # Errors
///
/// If there are none.
pub(crate) fn free(count: u16) -> anyhow::Result<u16> {
    // Two runs at the same time begin their search at different places.
    let offset = u16::try_from(std::process::id() % 800)? * 20;
    let bases = (RANGE.start + offset..RANGE.end - count).step_by(usize::from(count));
    for base in bases {
        if (base..base + count).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return Ok(base);
        }
    }
    bail!("there are no {count} free ports in a row")
}

/// A port on 127.0.0.1 as an address.
pub(crate) fn address(port: u16) -> socket2::SockAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_ports_can_be_listened_on() {
        let base = free(5).expect("ports");
        let held: Vec<_> = (base..base + 5).map(|port| TcpListener::bind(("127.0.0.1", port))).collect();
        assert!(held.iter().all(Result::is_ok));
    }
}
