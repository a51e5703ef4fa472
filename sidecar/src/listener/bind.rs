//! Opening a port, and saying what to change when it cannot be opened.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::net::TcpListener;

/// What a port is for and how its user changes it; the words of [`BindError`].
#[derive(Clone, Copy, Debug)]
pub struct Purpose {
    /// Such as `client`.
    pub name: &'static str,
    /// The flag that changes the address.
    pub flag: &'static str,
    /// The environment variable that changes it.
    pub environment: &'static str,
    /// What has to change with it, as the end of a sentence; empty if nothing has.
    pub also: &'static str,
}

/// Why a port could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process has it.
    #[error(
        "the {name} port {address} is taken by another process: end that process, or choose another address with \
         {flag} ({environment}){also}"
    )]
    Taken {
        /// What the port is for.
        name: &'static str,
        /// What was asked for.
        address: SocketAddr,
        /// The flag that changes it.
        flag: &'static str,
        /// The environment variable that changes it.
        environment: &'static str,
        /// What has to change with it.
        also: &'static str,
    },
    /// It cannot be opened for another reason.
    #[error("the {name} port {address} cannot be opened; {flag} ({environment}) changes the address")]
    Io {
        /// What the port is for.
        name: &'static str,
        /// What was asked for.
        address: SocketAddr,
        /// The flag that changes it.
        flag: &'static str,
        /// The environment variable that changes it.
        environment: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// Something is there already that is not ours to remove.
    #[error(
        "there is something at {} already: a socket that another process listens on, or no socket at all; end that \
         process, or choose another path with --client-socket (HOLDFAST_CLIENT_SOCKET)", path.display()
    )]
    SocketTaken {
        /// What was asked for.
        path: PathBuf,
    },
    /// A Unix socket cannot be made.
    #[error(
        "the client socket {} cannot be made; --client-socket (HOLDFAST_CLIENT_SOCKET) changes the path",
        path.display()
    )]
    Socket {
        /// What was asked for.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Open a port for whatever purpose.
///
/// # Errors
///
/// [`BindError`], which says what to change.
pub async fn bind(address: SocketAddr, purpose: Purpose) -> Result<TcpListener, BindError> {
    let Purpose { name, flag, environment, also } = purpose;
    TcpListener::bind(address).await.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::Taken { name, address, flag, environment, also },
        _ => BindError::Io { name, address, flag, environment, source },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PURPOSE: Purpose = Purpose {
        name: "client",
        flag: "--client-address",
        environment: "HOLDFAST_CLIENT_ADDRESS",
        also: ", and tell its users",
    };

    #[tokio::test]
    async fn a_taken_port_is_named_with_what_changes_it() {
        let first = bind("127.0.0.1:0".parse().expect("an address"), PURPOSE).await.expect("a free port");
        let address = first.local_addr().expect("a bound socket");
        let error = bind(address, PURPOSE).await.expect_err("the port is taken").to_string();
        for part in [
            address.to_string().as_str(),
            "client",
            "--client-address",
            "HOLDFAST_CLIENT_ADDRESS",
            "its users",
        ] {
            assert!(error.contains(part), "{error}");
        }
    }
}
