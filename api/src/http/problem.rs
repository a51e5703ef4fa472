//! Errors on the wire: `application/problem+json` (RFC 9457) with a stable code, and an outcome that tells "refused"
//! from "unknown". The table of codes is the contract; whether to send one is the sidecar's decision.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a request has no result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// A link to the code's description.
    #[serde(rename = "type")]
    pub type_: String,
    /// The code in a few words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong with this very request, and what to do about it.
    pub detail: String,
    /// The same text, for clients of files and message logs that were there before this program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The stable name of the reason.
    pub code: ProblemCode,
    /// The request's id, also in the member's log.
    pub request_id: String,
    /// Whether sending the same request again is safe and may succeed.
    pub retryable: bool,
    /// Whether nothing happened, or nobody can tell.
    pub outcome: Outcome,
    /// How long to wait before another try, in milliseconds, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// The ordinal of the leader, if it is known and would have helped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<u8>,
    /// With [`ProblemCode::PreconditionFailed`]: the key's revision, 0 if it does not exist. With
    /// [`ProblemCode::Compacted`]: the first revision that can still be read. With [`ProblemCode::FutureRevision`]:
    /// the newest revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// With [`ProblemCode::DuplicateMessage`] and [`ProblemCode::KeyReused`]: the message that is there. With
    /// [`ProblemCode::MessageTrimmed`]: the first that still is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
}

/// What became of a request that has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Nothing happened, and nothing of the request will.
    Refused,
    /// It may or may not have taken effect, or may still.
    Unknown,
}

/// The stable names of reasons; a closed set for the sidecar. A client that is older than the sidecar reads names it
/// does not know as [`ProblemCode::Unrecognized`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ProblemCode {
    /// A parameter, header or body cannot be read.
    BadRequest,
    /// There is no such route.
    RouteNotFound,
    /// The route does not take this method.
    MethodNotAllowed,
    /// The body has a type that the route does not take.
    UnsupportedMediaType,
    /// The key does not exist, as of the revision that was asked for.
    KeyNotFound,
    /// There is no such file.
    FileNotFound,
    /// There is a file of this name already.
    FileExists,
    /// The form that was sent has no file in it.
    NoFile,
    /// What came is not what the request says that it is.
    DigestMismatch,
    /// The file does not have the bytes that are asked for.
    RangeNotSatisfiable,
    /// Not as many members have the file as the write concern asks for, or none that can be reached has its bytes.
    TooFewCopies,
    /// The key is empty or too long.
    InvalidKey,
    /// The value, or the whole request, is too large.
    TooLarge,
    /// A transaction has more operations than it may have.
    TooManyOperations,
    /// The key is not at the revision that the request names.
    PreconditionFailed,
    /// The store is full; deletes are still taken.
    QuotaExceeded,
    /// The disk of the leader is full; deletes are still taken.
    DiskFull,
    /// The log has this message already.
    DuplicateMessage,
    /// The log has another message with this `Idempotency-Key`.
    KeyReused,
    /// There is no such log.
    LogNotFound,
    /// No log can have this name.
    InvalidLogName,
    /// The store has as many logs as it may have.
    TooManyLogs,
    /// The log has no such message yet.
    MessageNotFound,
    /// The log does not keep this message any more.
    MessageTrimmed,
    /// The session is not known: it never began, or was idle for too long.
    SessionExpired,
    /// The session has gone on past this sequence number.
    StaleSequence,
    /// The revision that was asked for is compacted away.
    Compacted,
    /// The revision that was asked for does not exist yet.
    FutureRevision,
    /// The write concern asks for more members than there are.
    ConcernTooHigh,
    /// No such member, or not one that can lead.
    NoSuchMember,
    /// The member has as many watches as it may have.
    TooManyWatches,
    /// Too much is under way.
    Overloaded,
    /// Nobody leads, and nobody did within the request's time.
    NoLeader,
    /// The member that was asked does not lead.
    NotLeader,
    /// The member is restoring its state.
    Starting,
    /// The member is repairing its disk, or cannot because what is damaged is nowhere else.
    Repairing,
    /// The member is stopping.
    ShuttingDown,
    /// Nobody took the leadership over in time; the leader goes on.
    HandOverFailed,
    /// This store takes no checkpoints, or this one could not be written.
    CheckpointFailed,
    /// The member may have no faults on purpose.
    FaultsDisabled,
    /// A start from a member that may have lost writes cannot be, or is not needed.
    ForceRefused,
    /// A browser sent it for a page of another site.
    ForeignPage,
    /// The time was up, or the way to the leader broke, while the request was under way.
    OutcomeUnknown,
    /// The member has a defect; its log says more.
    Internal,
    /// A name that this program does not know.
    #[serde(other)]
    Unrecognized,
}

/// What is the same for every problem with a code.
struct Row {
    status: u16,
    title: &'static str,
    retryable: bool,
}

impl ProblemCode {
    /// All codes that a sidecar sends.
    pub const ALL: [ProblemCode; 44] = [
        ProblemCode::BadRequest,
        ProblemCode::RouteNotFound,
        ProblemCode::MethodNotAllowed,
        ProblemCode::UnsupportedMediaType,
        ProblemCode::KeyNotFound,
        ProblemCode::FileNotFound,
        ProblemCode::FileExists,
        ProblemCode::NoFile,
        ProblemCode::DigestMismatch,
        ProblemCode::RangeNotSatisfiable,
        ProblemCode::TooFewCopies,
        ProblemCode::InvalidKey,
        ProblemCode::TooLarge,
        ProblemCode::TooManyOperations,
        ProblemCode::PreconditionFailed,
        ProblemCode::QuotaExceeded,
        ProblemCode::DiskFull,
        ProblemCode::DuplicateMessage,
        ProblemCode::KeyReused,
        ProblemCode::LogNotFound,
        ProblemCode::InvalidLogName,
        ProblemCode::TooManyLogs,
        ProblemCode::MessageNotFound,
        ProblemCode::MessageTrimmed,
        ProblemCode::SessionExpired,
        ProblemCode::StaleSequence,
        ProblemCode::Compacted,
        ProblemCode::FutureRevision,
        ProblemCode::ConcernTooHigh,
        ProblemCode::NoSuchMember,
        ProblemCode::TooManyWatches,
        ProblemCode::Overloaded,
        ProblemCode::NoLeader,
        ProblemCode::NotLeader,
        ProblemCode::Starting,
        ProblemCode::Repairing,
        ProblemCode::ShuttingDown,
        ProblemCode::HandOverFailed,
        ProblemCode::CheckpointFailed,
        ProblemCode::FaultsDisabled,
        ProblemCode::ForceRefused,
        ProblemCode::ForeignPage,
        ProblemCode::OutcomeUnknown,
        ProblemCode::Internal,
    ];

    const fn row(self) -> Row {
        let (status, title, retryable) = match self {
            ProblemCode::BadRequest => (400, "The request cannot be read", false),
            ProblemCode::RouteNotFound => (404, "There is no such route", false),
            ProblemCode::MethodNotAllowed => (405, "The route does not take this method", false),
            ProblemCode::UnsupportedMediaType => (415, "The route does not take this type of body", false),
            ProblemCode::KeyNotFound => (404, "The key does not exist", false),
            ProblemCode::FileNotFound => (404, "There is no such file", false),
            ProblemCode::FileExists => (412, "There is a file of this name", false),
            ProblemCode::NoFile => (422, "There is no file in the form", false),
            ProblemCode::DigestMismatch => (400, "What came is not what was named", false),
            ProblemCode::RangeNotSatisfiable => (416, "The file does not have these bytes", false),
            ProblemCode::TooFewCopies => (503, "Not enough members have the file", true),
            ProblemCode::InvalidKey => (400, "The key is empty or too long", false),
            ProblemCode::TooLarge => (413, "The request is too large", false),
            ProblemCode::TooManyOperations => (400, "The transaction has too many operations", false),
            ProblemCode::PreconditionFailed => (412, "The key is at another revision", false),
            ProblemCode::QuotaExceeded => (507, "The store is full", false),
            ProblemCode::DiskFull => (507, "The leader's disk is full", true),
            ProblemCode::DuplicateMessage => (409, "The log has this message already", false),
            ProblemCode::KeyReused => (422, "The key belongs to another message", false),
            ProblemCode::LogNotFound => (404, "There is no such log", false),
            ProblemCode::InvalidLogName => (400, "No log can have this name", false),
            ProblemCode::TooManyLogs => (507, "The store has too many logs", false),
            ProblemCode::MessageNotFound => (404, "There is no such message", false),
            ProblemCode::MessageTrimmed => (410, "The message is not kept any more", false),
            ProblemCode::SessionExpired => (410, "The session is not known", false),
            ProblemCode::StaleSequence => (409, "The session has gone on", false),
            ProblemCode::Compacted => (410, "The revision is compacted away", false),
            ProblemCode::FutureRevision => (400, "The revision does not exist yet", false),
            ProblemCode::ConcernTooHigh => (400, "There are not so many members", false),
            ProblemCode::NoSuchMember => (404, "There is no such member", false),
            ProblemCode::TooManyWatches => (429, "The member has too many watches", true),
            ProblemCode::Overloaded => (429, "Too much is under way", true),
            ProblemCode::NoLeader => (503, "Nobody leads at the moment", true),
            ProblemCode::NotLeader => (421, "This member does not lead", true),
            ProblemCode::Starting => (503, "The member is starting", true),
            ProblemCode::Repairing => (503, "The member is repairing its disk", true),
            ProblemCode::ShuttingDown => (503, "The member is stopping", true),
            ProblemCode::HandOverFailed => (503, "Nobody took the leadership over", true),
            ProblemCode::CheckpointFailed => (500, "The checkpoint could not be taken", false),
            ProblemCode::FaultsDisabled => (403, "The member may have no faults on purpose", false),
            ProblemCode::ForceRefused => (409, "The member cannot be made to start", false),
            ProblemCode::ForeignPage => (403, "The request comes from a page of another site", false),
            ProblemCode::OutcomeUnknown => (504, "Nobody can tell what became of the request", false),
            ProblemCode::Internal | ProblemCode::Unrecognized => (500, "The member has a defect", false),
        };
        Row { status, title, retryable }
    }

    /// The HTTP status.
    pub const fn status(self) -> u16 {
        self.row().status
    }

    /// The code in a few words.
    pub const fn title(self) -> &'static str {
        self.row().title
    }

    /// Whether sending the same request again is safe and may succeed, if nothing more is known about it.
    pub const fn retryable(self) -> bool {
        self.row().retryable
    }

    /// Whether nothing happened. A defect may have struck before or after the write.
    pub const fn outcome(self) -> Outcome {
        match self {
            ProblemCode::OutcomeUnknown | ProblemCode::Internal | ProblemCode::Unrecognized => {
                Outcome::Unknown
            }
            _ => Outcome::Refused,
        }
    }
}

impl fmt::Display for ProblemCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl Problem {
    /// A problem with what its code says; the optional fields are left empty.
    pub fn new(code: ProblemCode, detail: impl Into<String>, request_id: impl Into<String>) -> Problem {
        Problem {
            type_: format!("https://holdfast.dev/problems#{code}"),
            title: code.title().to_owned(),
            status: code.status(),
            detail: detail.into(),
            error: None,
            code,
            request_id: request_id.into(),
            retryable: code.retryable(),
            outcome: code.outcome(),
            retry_after_ms: None,
            leader: None,
            revision: None,
            id: None,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, request {})", self.detail, self.code, self.request_id)
    }
}

impl std::error::Error for Problem {}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_problem_has_the_documented_fields() {
        let mut problem = Problem::new(ProblemCode::PreconditionFailed, "the key is at 3", "r-1");
        problem.revision = Some(3);
        let json = r#"{"type":"https://holdfast.dev/problems#PreconditionFailed","title":"The key is at another revision","status":412,"detail":"the key is at 3","code":"PreconditionFailed","requestId":"r-1","retryable":false,"outcome":"refused","revision":3}"#;
        assert_eq!(serde_json::to_string(&problem).ok().as_deref(), Some(json));
        assert_eq!(serde_json::from_str::<Problem>(json).ok(), Some(problem));
    }

    #[test]
    fn a_newer_code_can_be_read() {
        assert_eq!(serde_json::from_str("\"Melted\"").ok(), Some(ProblemCode::Unrecognized));
    }

    #[test]
    fn codes_are_listed_once_and_are_errors() {
        assert_eq!(ProblemCode::ALL.iter().collect::<HashSet<_>>().len(), ProblemCode::ALL.len());
        for code in ProblemCode::ALL {
            assert!((400..600).contains(&code.status()), "{code}");
            assert!(!code.retryable() || code.outcome() == Outcome::Refused, "{code}: retries must be safe");
            assert_eq!(serde_json::to_value(code).ok(), Some(code.to_string().into()));
        }
    }
}
