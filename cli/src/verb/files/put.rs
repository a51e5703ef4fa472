//! `holdfast files put`.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::Stream;
use holdfast_client::PutOptions;
use tokio::sync::mpsc;

use super::progress::Progress;
use super::{block_on, bytes, client, of_client};
use crate::arguments::FilesPut;
use crate::exit::{Exit, Failure};
use crate::output::print;
use crate::table::printable;

/// Bytes that are read in one go, and pieces that wait for the network.
const PIECE_BYTES: usize = 128 * 1024;
const PIECES_MAX: usize = 4;

pub(super) fn run(put: &FilesPut) -> Result<Exit, Failure> {
    let client = client(&put.reach)?;
    let name = match (&put.name, put.file.file_name()) {
        (Some(name), _) => name.clone(),
        (None, Some(name)) if put.file != Path::new("-") => name.to_string_lossy().into_owned(),
        _ => return Err(Failure::usage("standard input has no name; give one by --name")),
    };
    let options = PutOptions { replicas: put.replicas, concern: put.concern, if_absent: put.if_absent };
    let mut taken = false;
    let open = || {
        if put.file != Path::new("-") {
            let file = File::open(&put.file)?;
            let size = file.metadata()?.len();
            return Ok((pieces(Box::new(file), &name, Some(size)), Some(size)));
        }
        if std::mem::replace(&mut taken, true) {
            return Err(io::Error::other(
                "standard input was read already, and a member broke off; try again",
            ));
        }
        Ok((pieces(Box::new(io::stdin()), &name, None), None))
    };
    let reply = block_on(async { client.put(&name, options, open).await.map_err(of_client) })?;
    if let Some(replication) = reply.replication.as_ref().filter(|replication| replication.failed > 0) {
        let missing = replication.failed_nodes.join(", ");
        crate::remark(&format!("{missing}: not there yet; `holdfast files queue` shows when it is"));
    }
    print(put.printed.output, &reply, |out| {
        let copies = 1 + reply.replication.as_ref().map_or(0, |replication| replication.successful);
        let (size, sum) = (bytes(reply.size_bytes), &reply.checksum_sha256);
        writeln!(out, "{}: {size} on {copies} members, SHA-256 {sum}", printable(reply.file_key.as_bytes()))
    })?;
    Ok(Exit::Ok)
}

/// What is read, piece by piece, on a thread of its own.
fn pieces(
    mut from: Box<dyn Read + Send>,
    name: &str,
    size: Option<u64>,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let (sender, receiver) = mpsc::channel(PIECES_MAX);
    let progress = Mutex::new(Progress::new(name, size));
    std::thread::spawn(move || {
        let mut done = 0;
        loop {
            let mut piece = vec![0; PIECE_BYTES];
            let read = match from.read(&mut piece) {
                Ok(0) => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read,
            };
            let ended = read.is_err();
            done += *read.as_ref().unwrap_or(&0) as u64;
            let piece = read.map(|length| {
                piece.truncate(length);
                piece.into()
            });
            // Whoever takes no more has an answer.
            if sender.blocking_send(piece).is_err() || ended {
                return;
            }
            progress.lock().unwrap_or_else(PoisonError::into_inner).at(done);
        }
    });
    let receiver = Arc::new(tokio::sync::Mutex::new(receiver));
    futures::stream::unfold(receiver, async |receiver| {
        let next = receiver.lock().await.recv().await;
        next.map(|piece| (piece, receiver))
    })
}
