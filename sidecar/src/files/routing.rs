//! An upload through any member: the best one takes it, and this one passes it on.
//!
//! The best is one that is there, has room, and is near with little to do; this member is nearest to itself. A member that
//! is asked says first whether it takes the upload; until then nothing of the body is read, and the next best is asked.
//! After that a failure is the client's to know: what was read cannot be sent again. What this refuses to do: keep a body,
//! and pass on what was passed on already.

use std::time::Duration;

use holdfast_engine::{MEMBERS_MAX, Ordinal};
use holdfast_wire::files::{Copied, Parcel, Refusal, Upload, Words};

use super::answers::{refusal, refuse};
use super::blobs::BlobError;
use super::calls::{Call, CallError};
use super::limits::{ANSWER_TIME_MAX, BODY_STALL_MAX, NAME_BYTES_MAX, PEER_STALL_MAX, TAKE_FINISH_MAX};
use super::pieces::Pieces;
use super::upload::{Admitted, Kept, UploadError, Uploaded, Wish};
use super::{Files, nodes};
use crate::byte_stream::ByteStream;

/// Longest reason why a copy is missing that is passed on.
const REASON_BYTES_MAX: usize = 1024;

impl Files {
    /// Have the best member take an upload of about so many bytes, if that is known; who it was.
    pub(crate) async fn upload_at_best(
        &self,
        wish: Wish,
        about: Option<u64>,
        body: impl ByteStream,
    ) -> Result<(Ordinal, Uploaded), UploadError> {
        let me = self.me().ordinal;
        let mut why: Vec<(Ordinal, UploadError)> = Vec::new();
        for ordinal in self.best_with_room(self.members(), about.or(wish.size)) {
            // Nobody waits for a place while others may have one.
            let refused = if ordinal == me {
                match self.admit(&wish, Duration::ZERO).await {
                    Ok(admitted) => return Ok((me, self.upload_admitted(admitted, wish, body).await?)),
                    Err(error) => error,
                }
            } else {
                match self.ask_to_take(ordinal, &wish).await {
                    Ok(call) => return Ok((ordinal, self.pass_on(call, body).await?)),
                    Err(error) => error,
                }
            };
            if !is_another_chance(&refused) {
                return Err(refused);
            }
            why.push((ordinal, refused));
        }
        if why.iter().all(|(_, error)| is_busy(error)) {
            // All have much to do, or no room as far as it is known: this member waits, or says it with numbers.
            return Ok((me, self.upload(wish, body).await?));
        }
        let words = why.iter().map(|(ordinal, error)| format!("{}: {error}", nodes::name(*ordinal)));
        Err(UploadError::Nobody(words.collect::<Vec<_>>().join("; ")))
    }

    /// Ask a member to take an upload; it has read nothing of it when this fails.
    async fn ask_to_take(&self, ordinal: Ordinal, wish: &Wish) -> Result<Call, UploadError> {
        let asked = async {
            let mut call = self.0.calls.to(ordinal).await?;
            call.say(&Words::Take(Box::new(upload_of(wish)))).await?;
            match call.hear_words(PEER_STALL_MAX).await? {
                Words::Ready => Ok(call),
                _ => Err(CallError::Unexpected),
            }
        };
        asked.await.map_err(|error| from_call(error, false))
    }

    /// Send a body to the member that takes it.
    async fn pass_on(&self, mut call: Call, body: impl ByteStream) -> Result<Uploaded, UploadError> {
        let _transfer = self.transfer(call.member().ordinal);
        let mut body = std::pin::pin!(body);
        let mut pieces = Pieces::of(body.as_mut());
        // Returning closes the connection, which takes back what the member has of it.
        while let Some(piece) = pieces.next().await? {
            if let Err(error) = call.send(&piece).await {
                return Err(from_call(call.why_not(PEER_STALL_MAX, error).await, true));
            }
        }
        let finished = async {
            call.say(&Words::TakeEnd).await?;
            call.hear_words(TAKE_FINISH_MAX).await
        };
        match finished.await {
            Ok(Words::Taken { size, digest, copies }) => {
                let result = |why_not: Option<String>| why_not.map_or(Ok(()), Err);
                let copies = copies.into_iter().filter(|copied| usize::from(copied.ordinal) < MEMBERS_MAX);
                let copies = copies.map(|copied| (Ordinal(copied.ordinal), result(copied.why_not))).collect();
                self.0.calls.keep(call);
                Ok(Uploaded { kept: Kept { digest, size }, copies })
            }
            Ok(_) => Err(from_call(CallError::Unexpected, true)),
            Err(error) => Err(from_call(error, true)),
        }
    }

    /// Take an upload that another member passes on.
    pub(super) async fn take(&self, call: &mut Call, upload: Upload) -> Result<(), CallError> {
        let admitted = async {
            let wish = wish_of(upload)?;
            let admitted = self.admit(&wish, Duration::ZERO).await?;
            Ok::<_, UploadError>((wish, admitted))
        };
        let (wish, admitted) = match admitted.await {
            Ok(admitted) => admitted,
            Err(error) => return refuse(call, refusal_of(&error), &error.to_string()).await,
        };
        call.say(&Words::Ready).await?;
        match self.take_admitted(call, wish, admitted).await {
            Ok(Uploaded { kept, copies }) => {
                let why_not = |why: &String| why[..why.floor_char_boundary(REASON_BYTES_MAX)].to_owned();
                let copied = |(ordinal, result): &(Ordinal, Result<(), String>)| Copied {
                    ordinal: ordinal.0,
                    why_not: result.as_ref().err().map(why_not),
                };
                let copies = copies.iter().map(copied).collect();
                call.say(&Words::Taken { size: kept.size, digest: kept.digest, copies }).await
            }
            Err(error) => {
                refuse(call, refusal_of(&error), &error.to_string()).await?;
                Err(CallError::Closed) // pieces may follow
            }
        }
    }

    async fn take_admitted(
        &self,
        call: &mut Call,
        wish: Wish,
        admitted: Admitted,
    ) -> Result<Uploaded, UploadError> {
        let body = futures::stream::unfold(Some(call), async |call| {
            let call = call?;
            match call.hear(BODY_STALL_MAX + ANSWER_TIME_MAX).await {
                Ok(Parcel::Piece(piece)) => Some((Ok(piece.into_bytes()), Some(call))),
                Ok(Parcel::Words(Words::TakeEnd)) => None,
                Ok(Parcel::Words(_)) => Some((Err(CallError::Unexpected), None)),
                Err(error) => Some((Err(error), None)),
            }
        });
        self.upload_admitted(admitted, wish, body).await
    }
}

fn upload_of(wish: &Wish) -> Upload {
    Upload {
        name: wish.name.clone(),
        original: wish.original.clone(),
        size: wish.size,
        replicas: wish.replicas,
        concern: wish.concern.map(|concern| concern.to_string()),
        digest: wish.digest,
        only_if_absent: wish.only_if_absent,
    }
}

/// What another member says that a client wants: checked as if the client said it here.
fn wish_of(upload: Upload) -> Result<Wish, UploadError> {
    let Upload { name, original, size, replicas, concern, digest, only_if_absent } = upload;
    let named = |name: &str| (1..=NAME_BYTES_MAX).contains(&name.len());
    if !named(&name) || !named(&original) {
        return Err(UploadError::Passed {
            why: Refusal::Invalid,
            text: "a name is too long or empty".to_owned(),
        });
    }
    let concern = concern.map(|concern| concern.parse()).transpose();
    let concern = concern.map_err(|error: holdfast_api::WriteConcernError| UploadError::Passed {
        why: Refusal::Invalid,
        text: error.to_string(),
    })?;
    super::upload::check_size(size)?;
    Ok(Wish { name, original, size, replicas, concern, digest, only_if_absent })
}

/// Whether another member may take what this one does not.
fn is_another_chance(error: &UploadError) -> bool {
    match error {
        UploadError::Busy
        | UploadError::Blob(BlobError::Full { .. } | BlobError::Stopping | BlobError::Io { .. }) => true,
        UploadError::Passed { why, .. } => matches!(
            why,
            Refusal::Busy | Refusal::DiskFull | Refusal::Failed | Refusal::Missing | Refusal::Damaged
        ),
        _ => false,
    }
}

fn is_busy(error: &UploadError) -> bool {
    matches!(error, UploadError::Busy | UploadError::Passed { why: Refusal::Busy, .. })
}

/// What a call's end means for the client. Without an answer nobody knows what became of what was sent.
fn from_call(error: CallError, sent: bool) -> UploadError {
    let text = error.words();
    match error {
        CallError::Refused { why, .. } => UploadError::Passed { why, text },
        _ if sent => UploadError::Passed { why: Refusal::Unknown, text },
        _ => UploadError::Passed { why: Refusal::Failed, text },
    }
}

/// How another member is told.
fn refusal_of(error: &UploadError) -> Refusal {
    match error {
        UploadError::Busy => Refusal::Busy,
        UploadError::Blob(error) => refusal(error),
        UploadError::Mismatch(_) => Refusal::Mismatch,
        UploadError::Exists(_) => Refusal::Exists,
        UploadError::TooMany => Refusal::TooMany,
        UploadError::Replicas { .. } => Refusal::Invalid,
        UploadError::TooFew { .. } => Refusal::TooFewCopies,
        UploadError::Passed { why, .. } => *why,
        UploadError::Catalogue(_) => Refusal::Unknown,
        UploadError::Body(_) | UploadError::Stalled | UploadError::Offset { .. } | UploadError::Nobody(_) => {
            Refusal::Failed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish() -> Wish {
        Wish {
            name: "a".to_owned(),
            original: "b.txt".to_owned(),
            size: Some(7),
            replicas: Some(2),
            concern: Some(holdfast_api::WriteConcern::All),
            digest: Some([3; 32]),
            only_if_absent: true,
        }
    }

    #[test]
    fn a_wish_is_passed_on_as_it_is_and_checked_again() {
        assert_eq!(wish_of(upload_of(&wish())).expect("a wish"), wish());
        let none = Wish { size: None, replicas: None, concern: None, digest: None, ..wish() };
        assert_eq!(wish_of(upload_of(&none)).expect("a wish"), none);
        for wrong in [
            Upload { name: String::new(), ..upload_of(&wish()) },
            Upload { original: "n".repeat(NAME_BYTES_MAX + 1), ..upload_of(&wish()) },
            Upload { concern: Some("most".to_owned()), ..upload_of(&wish()) },
            Upload { size: Some(u64::MAX), ..upload_of(&wish()) },
        ] {
            assert!(wish_of(wrong.clone()).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_next_member_is_asked_only_if_it_may_say_something_else() {
        let passed = |why| UploadError::Passed { why, text: String::new() };
        for chance in
            [UploadError::Busy, passed(Refusal::Busy), passed(Refusal::DiskFull), passed(Refusal::Failed)]
        {
            assert!(is_another_chance(&chance), "{chance:?}");
        }
        for end in [
            UploadError::Exists([0; 32]),
            UploadError::TooMany,
            passed(Refusal::Exists),
            passed(Refusal::Unknown),
            passed(Refusal::Invalid),
        ] {
            assert!(!is_another_chance(&end), "{end:?}");
        }
    }
}
