//! One large file from here to there, by three ways: a plain copy, `rsync`, and a member of Holdfast. Each is timed from
//! the first byte that is read until everything is on the disk.
//!
//! What it refuses to do: let the file system share blocks between copies (reflinks), or leave anything to be flushed.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use rustix::fs::sendfile;

use crate::process;

/// What is read and written at a time.
const PIECE_BYTES: usize = 256 * 1024;

/// What is sent at a time.
const SEND_BYTES: u64 = 1024 * 1024;

/// How long one transfer may take.
pub(crate) const TRANSFER_TIME_MAX: Duration = Duration::from_secs(600);

/// Longest head of a reply.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Write a file of so many bytes that nothing can compress and no other seed has.
///
/// # Errors
///
/// If there is no room for it.
pub(crate) fn make(path: &Path, bytes: u64, seed: u64) -> anyhow::Result<()> {
    let mut file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
    let mut state = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut piece = vec![0; PIECE_BYTES];
    let mut left = bytes;
    while left > 0 {
        for word in piece.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        let now = left.min(PIECE_BYTES as u64);
        file.write_all(&piece[..now as usize])?;
        left -= now;
    }
    Ok(file.sync_all()?)
}

/// Copy a file to several places at once, each copy by a thread of its own, and flush every copy and its folder.
///
/// # Errors
///
/// If one cannot be written.
pub(crate) fn copy(from: &Path, to: &[PathBuf]) -> anyhow::Result<Duration> {
    let begin = Instant::now();
    std::thread::scope(|scope| {
        let copies: Vec<_> = to.iter().map(|to| scope.spawn(|| copy_one(from, to))).collect();
        copies.into_iter().try_for_each(|copy| copy.join().expect("no panic"))
    })?;
    Ok(begin.elapsed())
}

fn copy_one(from: &Path, to: &Path) -> anyhow::Result<()> {
    let mut from = File::open(from)?;
    let mut file = File::create(to).with_context(|| format!("cannot create {}", to.display()))?;
    pour(&mut from, &mut file, u64::MAX)?;
    file.sync_all()?;
    let folder = to.parent().context("a file is in a folder")?;
    Ok(File::open(folder)?.sync_all()?)
}

/// `rsync` to several places at once, a process for each, with its checks and with `--fsync`.
///
/// # Errors
///
/// If one fails.
pub(crate) fn rsync(program: &Path, from: &Path, to: &[PathBuf]) -> anyhow::Result<Duration> {
    let begin = Instant::now();
    std::thread::scope(|scope| {
        let copies: Vec<_> = to
            .iter()
            .map(|to| {
                let words = ["--whole-file", "--fsync"].map(str::to_owned).into_iter();
                let paths = [from, to].map(|path| path.to_string_lossy().into_owned());
                let arguments: Vec<String> = words.chain(paths).collect();
                scope.spawn(move || process::run(program, &arguments, TRANSFER_TIME_MAX))
            })
            .collect();
        copies.into_iter().try_for_each(|copy| copy.join().expect("no panic").map(drop))
    })?;
    Ok(begin.elapsed())
}

/// Upload a file to the member at a client port, and wait until all members have it on their disks.
///
/// # Errors
///
/// If the member does not say so.
pub(crate) fn upload(port: u16, name: &str, from: &Path) -> anyhow::Result<Duration> {
    let begin = Instant::now();
    let file = File::open(from)?;
    let bytes = file.metadata()?.len();
    let mut socket = connect(port)?;
    let head =
        format!("PUT /files/{name}?w=all HTTP/1.1\r\nhost: localhost\r\ncontent-length: {bytes}\r\n\r\n");
    socket.write_all(head.as_bytes())?;
    send(&file, &socket, bytes)?;
    let (status, body, length) = reply(&mut socket)?;
    if status != 200 {
        let mut rest = vec![0; length.saturating_sub(body.len() as u64).min(4096) as usize];
        let read = socket.read(&mut rest).unwrap_or(0);
        let said = [&body[..], &rest[..read]].concat();
        bail!("an upload was answered {status}: {}", String::from_utf8_lossy(&said));
    }
    Ok(begin.elapsed())
}

/// Download a file from the member at a client port into a new one, and flush that.
///
/// # Errors
///
/// If not all of it comes.
pub(crate) fn download(port: u16, name: &str, to: &Path) -> anyhow::Result<Duration> {
    let begin = Instant::now();
    let mut socket = connect(port)?;
    socket.write_all(format!("GET /files/{name} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes())?;
    let (status, first, length) = reply(&mut socket)?;
    ensure!(status == 200, "a download was answered {status}: {}", String::from_utf8_lossy(&first));
    let mut file = File::create(to)?;
    file.write_all(&first)?;
    let left = length - first.len() as u64;
    let poured = pour(&mut socket, &mut file, left)?;
    ensure!(poured == left, "a download ended {} bytes early", left - poured);
    file.sync_all()?;
    File::open(to.parent().context("a file is in a folder")?)?.sync_all()?;
    Ok(begin.elapsed())
}

fn connect(port: u16) -> anyhow::Result<TcpStream> {
    let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(TRANSFER_TIME_MAX))?;
    socket.set_write_timeout(Some(TRANSFER_TIME_MAX))?;
    Ok(socket)
}

/// All of a file, straight from the page cache: the processors are for the members.
fn send(file: &File, socket: &TcpStream, bytes: u64) -> anyhow::Result<()> {
    let mut sent = 0;
    while sent < bytes {
        let piece = (bytes - sent).min(SEND_BYTES) as usize;
        let now = sendfile(socket, file, Some(&mut sent), piece)?;
        ensure!(now > 0, "the file became shorter meanwhile");
    }
    Ok(())
}

/// Up to `most` bytes from one to the other; how many they were.
fn pour(from: &mut impl Read, to: &mut impl Write, most: u64) -> anyhow::Result<u64> {
    let mut piece = vec![0; PIECE_BYTES];
    let mut poured = 0;
    while poured < most {
        let want = (most - poured).min(PIECE_BYTES as u64) as usize;
        let read = from.read(&mut piece[..want])?;
        if read == 0 {
            break;
        }
        to.write_all(&piece[..read])?;
        poured += read as u64;
    }
    Ok(poured)
}

/// The head of a reply: its status, what came behind it already, and the body's length.
fn reply(socket: &mut TcpStream) -> anyhow::Result<(u16, Vec<u8>, u64)> {
    let mut read = Vec::new();
    let end = loop {
        if let Some(at) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        ensure!(read.len() < HEAD_BYTES_MAX, "the head of a reply is too long");
        let mut piece = [0; 4096];
        let count = socket.read(&mut piece)?;
        ensure!(count > 0, "the member closed the connection");
        read.extend_from_slice(&piece[..count]);
    };
    let body = read.split_off(end);
    let head = String::from_utf8_lossy(&read).to_ascii_lowercase();
    let status = head.split_whitespace().nth(1).and_then(|status| status.parse().ok());
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length = length.and_then(|length| length.trim().parse().ok());
    Ok((status.context("a reply without a status")?, body, length.context("a reply without a length")?))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn copies_are_what_was_copied() {
        let folder = tempfile::tempdir().expect("a folder");
        let source = folder.path().join("source");
        make(&source, 600_001, 7).expect("room");
        let copies = ["a", "b"].map(|name| folder.path().join(name));
        copy(&source, &copies).expect("copies");
        let bytes = std::fs::read(&source).expect("the source");
        assert_eq!(bytes.len(), 600_001);
        copies.iter().for_each(|copy| assert!(std::fs::read(copy).expect("a copy") == bytes));
        make(&source, 600_001, 8).expect("room");
        assert!(std::fs::read(&source).expect("the source") != bytes);
    }

    #[test]
    fn a_download_that_ends_early_is_none() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("a port").port();
        let server = std::thread::spawn(move || {
            for body in ["0123456789", "01234"] {
                let (mut socket, _) = listener.accept().expect("a client");
                let mut request = [0; 1024];
                assert!(socket.read(&mut request).expect("a request") > 0);
                let reply = format!("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{body}");
                socket.write_all(reply.as_bytes()).expect("it is read");
            }
        });
        let folder = tempfile::tempdir().expect("a folder");
        let to = folder.path().join("to");
        download(port, "a", &to).expect("all of it");
        assert_eq!(std::fs::read(&to).expect("a file"), b"0123456789");
        let error = download(port, "a", &to).unwrap_err().to_string();
        assert!(error.contains("5 bytes early"), "{error}");
        server.join().expect("no panic");
    }
}
