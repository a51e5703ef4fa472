//! Where a member can be reached by the binary protocol.

use std::fmt;
use std::io;
use std::path::PathBuf;

use tokio::net::{TcpStream, UnixStream};

use crate::endpoints::EndpointError;

/// One way to one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// `HOST:PORT`; names are looked up at every connection.
    Tcp(String),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

/// An open connection.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Address {
    /// `HOST:PORT`, as a URL too, or `unix:PATH`.
    pub(crate) fn parse(text: &str) -> Result<Address, EndpointError> {
        let invalid = || EndpointError::Invalid { endpoint: text.to_owned() };
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() { Err(invalid()) } else { Ok(Address::Unix(PathBuf::from(path))) };
        }
        let host_port = text.strip_prefix("http://").unwrap_or(text);
        let host_port = host_port.strip_suffix('/').unwrap_or(host_port);
        let (host, port) = host_port.rsplit_once(':').ok_or_else(invalid)?;
        let plain = !host.is_empty() && !host.contains(['/', '@', ' ']);
        let bracketed = !host.contains(':') || (host.starts_with('[') && host.ends_with(']'));
        match port.parse::<u16>() {
            Ok(port) if port > 0 && plain && bracketed => Ok(Address::Tcp(host_port.to_owned())),
            _ => Err(invalid()),
        }
    }

    pub(crate) async fn connect(&self) -> io::Result<Stream> {
        match self {
            Address::Tcp(host_port) => {
                let stream = TcpStream::connect(host_port).await?;
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream))
            }
            Address::Unix(path) => UnixStream::connect(path).await.map(Stream::Unix),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(host_port) => f.write_str(host_port),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_with_ports_and_sockets_are_addresses() {
        let good = |text: &str, shown: &str| {
            assert_eq!(Address::parse(text).map(|address| address.to_string()).as_deref(), Ok(shown));
        };
        good("127.0.0.1:7400", "127.0.0.1:7400");
        good("http://orders-0.orders:7400/", "orders-0.orders:7400");
        good("[::1]:7400", "[::1]:7400");
        good("unix:/run/holdfast/client.sock", "unix:/run/holdfast/client.sock");
        for bad in [
            "",
            "localhost",
            ":7400",
            "a:0",
            "a:70000",
            "a:b",
            "https://a:1",
            "a/b:1",
            "u@a:1",
            "::1:7400",
            "unix:",
        ] {
            assert!(Address::parse(bad).is_err(), "{bad:?}");
        }
    }
}
