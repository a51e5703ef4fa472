//! Bytes of an upload on their way to another member: [`Branch`].
//!
//! Refuses to hold up the others: a member that takes nothing for too long is left out, and is told so by the connection's end.

use holdfast_engine::{MemberId, Ordinal};
use holdfast_wire::files::{Piece, Words};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::Files;
use super::calls::CallError;
use super::limits::{PEER_FINISH_MAX, PEER_STALL_MAX};
use super::nodes;
use super::upload::Kept;
use super::writing::PIECES_MAX;

/// Bytes on their way to another member.
pub(super) struct Branch {
    ordinal: Ordinal,
    /// `None` once the member is left out.
    pieces: Option<mpsc::Sender<Piece>>,
    end: Option<oneshot::Sender<Kept>>,
    sent: JoinHandle<Result<MemberId, CallError>>,
    /// Why it is left out.
    left_out: Option<String>,
}

impl Branch {
    /// Begin to send to a member.
    pub(super) fn begin(files: &Files, ordinal: Ordinal, upload: u128, size: Option<u64>) -> Branch {
        let (pieces, waiting) = mpsc::channel(PIECES_MAX);
        let (end, ended) = oneshot::channel();
        let up = files.is_up(ordinal);
        let files = files.clone();
        let sent = tokio::spawn(async move {
            if !up {
                return Err(CallError::Closed);
            }
            let _transfer = files.transfer(ordinal);
            send(&files, ordinal, upload, size, waiting, ended).await
        });
        let left_out = (!up).then(|| format!("{} is down", nodes::name(ordinal)));
        Branch { ordinal, pieces: up.then_some(pieces), end: Some(end), sent, left_out }
    }

    /// Send a piece, unless the member is left out by now.
    pub(super) async fn piece(&mut self, piece: &Piece) {
        let Some(pieces) = &self.pieces else { return };
        match tokio::time::timeout(PEER_STALL_MAX, pieces.send(piece.clone())).await {
            Ok(Ok(())) => return,
            // It says itself why it has ended.
            Ok(Err(_)) => {}
            Err(_) => {
                self.left_out = Some(format!("it took nothing for {} s", PEER_STALL_MAX.as_secs()));
                self.sent.abort();
            }
        }
        self.pieces = None;
    }

    /// Nothing follows; wait until the member has it, or has not.
    pub(super) async fn end(mut self, kept: Kept) -> (Ordinal, Result<MemberId, String>) {
        if let Some(end) = self.end.take() {
            let _ = end.send(kept);
        }
        self.pieces = None;
        if let Some(why) = self.left_out.take() {
            self.sent.abort();
            return (self.ordinal, Err(why));
        }
        let result = tokio::time::timeout(PEER_FINISH_MAX, &mut self.sent).await;
        let result = match result {
            Ok(Ok(sent)) => sent.map_err(|error| error.words()),
            Ok(Err(_)) => Err("the member is stopping".to_owned()),
            Err(_) => {
                self.sent.abort();
                Err(format!("it did not say within {} s that it has it", PEER_FINISH_MAX.as_secs()))
            }
        };
        (self.ordinal, result)
    }
}

impl Drop for Branch {
    fn drop(&mut self) {
        // An upload that ended early takes back what the other member has of it.
        self.sent.abort();
    }
}

/// Send what comes to a member; it has it when this returns.
async fn send(
    files: &Files,
    ordinal: Ordinal,
    upload: u128,
    size: Option<u64>,
    mut pieces: mpsc::Receiver<Piece>,
    end: oneshot::Receiver<Kept>,
) -> Result<MemberId, CallError> {
    let mut call = files.0.calls.to(ordinal).await?;
    call.say(&Words::Keep { upload, size }).await?;
    while let Some(piece) = pieces.recv().await {
        if let Err(error) = call.send(&piece).await {
            // It may have said why it takes no more.
            return Err(call.why_not(PEER_STALL_MAX, error).await);
        }
    }
    let Ok(Kept { digest, size }) = end.await else { return Err(CallError::Closed) };
    call.say(&Words::End { size, digest }).await?;
    match call.hear_words(PEER_FINISH_MAX).await? {
        Words::Kept => {
            let member = call.member();
            files.0.calls.keep(call);
            Ok(member)
        }
        _ => Err(CallError::Unexpected),
    }
}
