//! How a call can fail. A write fails in one of two ways that must not be mixed up: it did not happen, or nobody knows.
//!
//! Refuses to hide the second: no error of another kind is ever given for a write that may have happened.

use std::fmt;

use holdfast_api::http::{Problem, ProblemCode};

/// Why a call has no answer of the kind that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing was changed, and nothing will be: a member said no.
    #[error("{}", Refusal(.0))]
    Refused(Box<Problem>),
    /// The request may have taken effect, or may still. Read before writing again.
    #[error("the outcome is unknown after {attempts} attempt{}: {detail}", plural(*.attempts))]
    Unknown {
        /// What is known about the attempt in doubt.
        detail: String,
        /// How often it was sent.
        attempts: u32,
    },
    /// Nothing was changed: no member took the request within the deadline.
    #[error("no member answered{}", Tries(.tried))]
    Unreachable {
        /// The last thing that went wrong at each endpoint.
        tried: Vec<Tried>,
    },
    /// Nothing was changed: something answered that is no member, or one of another version. A write that such an
    /// answer leaves in doubt is [`Error::Unknown`].
    #[error("{endpoint} does not answer as a member does: {detail}")]
    Protocol {
        /// Who answered.
        endpoint: String,
        /// What is wrong with the answer.
        detail: String,
    },
}

/// One endpoint and what went wrong there last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// Its base URL.
    pub endpoint: String,
    /// What went wrong.
    pub why: String,
    /// It took the connection and was silent until the time was up.
    pub silent: bool,
}

impl Error {
    /// Why a member said no, if one did.
    pub fn code(&self) -> Option<ProblemCode> {
        match self {
            Error::Refused(problem) => Some(problem.code),
            _ => None,
        }
    }

    /// A refusal by the client itself, before anything is sent.
    pub(crate) fn refused(code: ProblemCode, detail: impl Into<String>) -> Error {
        Error::Refused(Box::new(Problem::new(code, detail, "")))
    }
}

fn plural(count: u32) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// What a member said, with the request's id where its log has one.
struct Refusal<'a>(&'a Problem);

impl fmt::Display for Refusal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem { detail, code, request_id, .. } = self.0;
        write!(f, "{detail} ({code}")?;
        if !request_id.is_empty() {
            write!(f, ", request {request_id}")?;
        }
        f.write_str(")")
    }
}

struct Tries<'a>(&'a [Tried]);

impl fmt::Display for Tries<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (count, Tried { endpoint, why, .. }) in self.0.iter().enumerate() {
            write!(f, "{} {endpoint} ({why})", if count == 0 { ":" } else { "," })?;
        }
        Ok(())
    }
}
