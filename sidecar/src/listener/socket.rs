//! What a listener listens on: a TCP port, or a Unix socket for the container next door.
//!
//! A Unix socket is a file. A stale one, left by a process that was killed, is replaced; one that somebody listens on
//! is not. Who may connect is who may write to the file: the member's user and group.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, UnixListener};

use super::BindError;
use crate::native::stream::Stream;

/// Who may connect: the member's user and its group, as of a pod's containers that share one.
const MODE: u32 = 0o660;

/// Something to listen on.
#[derive(Debug)]
pub enum Socket {
    /// A TCP port.
    Tcp(TcpListener),
    /// A Unix socket. Its file is removed when it is dropped.
    Unix(UnixSocket),
}

/// A Unix socket and its file.
#[derive(Debug)]
pub struct UnixSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl From<TcpListener> for Socket {
    fn from(socket: TcpListener) -> Socket {
        Socket::Tcp(socket)
    }
}

impl From<UnixSocket> for Socket {
    fn from(socket: UnixSocket) -> Socket {
        Socket::Unix(socket)
    }
}

impl Socket {
    pub(super) async fn accept(&self) -> io::Result<Stream> {
        match self {
            Socket::Tcp(socket) => socket.accept().await.map(|(stream, _)| Stream::Tcp(stream)),
            Socket::Unix(socket) => socket.listener.accept().await.map(|(stream, _)| Stream::Unix(stream)),
        }
    }
}

impl UnixSocket {
    /// Listen at `path`, whose folder must be there. Must run inside a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`BindError::SocketTaken`] if somebody listens there, or something else than a socket is there;
    /// [`BindError::Socket`] else.
    pub fn bind(path: &Path) -> Result<UnixSocket, BindError> {
        let failed = |source| BindError::Socket { path: path.to_owned(), source };
        clear(path)?;
        let listener = UnixListener::bind(path).map_err(failed)?;
        let socket = UnixSocket { listener, path: path.to_owned() };
        fs::set_permissions(path, Permissions::from_mode(MODE)).map_err(failed)?;
        Ok(socket)
    }
}

impl UnixSocket {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Remove what a killed process left at `path`.
fn clear(path: &Path) -> Result<(), BindError> {
    let Ok(there) = fs::symlink_metadata(path) else { return Ok(()) };
    let stale = there.file_type().is_socket()
        && StdUnixStream::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
    if !stale {
        return Err(BindError::SocketTaken { path: path.to_owned() });
    }
    fs::remove_file(path).map_err(|source| BindError::Socket { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_used_one_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("client.sock");
        let first = UnixSocket::bind(&path).expect("nobody is there");
        let mode = fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, MODE);
        assert!(matches!(UnixSocket::bind(&path), Err(BindError::SocketTaken { .. })));
        drop(first);
        assert!(!path.exists(), "it is removed with its listener");
        // As a killed process leaves it.
        drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket that nobody removes"));
        UnixSocket::bind(&path).expect("a stale one is replaced");
    }

    #[tokio::test]
    async fn what_is_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notes.txt");
        fs::write(&path, "mine").expect("a file");
        let refused = UnixSocket::bind(&path).map(|_| ());
        assert!(matches!(refused, Err(BindError::SocketTaken { .. })), "{refused:?}");
        assert_eq!(fs::read_to_string(&path).expect("it is there"), "mine");
        let nowhere = UnixSocket::bind(&folder.path().join("no/folder.sock")).map(|_| ());
        assert!(matches!(nowhere, Err(BindError::Socket { .. })), "{nowhere:?}");
    }
}
