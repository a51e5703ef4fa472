//! Why a reconcile failed, sorted by the step in which it did. The variant's name is the reason in metrics: a closed set.

use std::fmt::Write as _;

use crate::apply::ApplyError;
use crate::dereference::DereferenceError;
use crate::restart::RestartError;
use crate::scale::ScaleError;
use crate::update_status::StatusError;

/// Why a reconcile failed. Every one is tried again after a pause that grows.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What is there could not be read.
    #[error("cannot read what is there")]
    Dereference(#[from] DereferenceError),
    /// An object could not be written.
    #[error("cannot bring the objects to what the spec says")]
    Apply(#[from] ApplyError),
    /// A member could not be restarted.
    #[error("cannot restart a member")]
    Restart(#[from] RestartError),
    /// Members could not be added or removed.
    #[error("cannot change the number of members")]
    Scale(#[from] ScaleError),
    /// The status could not be written.
    #[error("cannot write the status")]
    Status(#[from] StatusError),
    /// Everything together took too long.
    #[error("the reconcile took longer than {seconds} s")]
    Timeout {
        /// The limit.
        seconds: u64,
    },
}

impl Error {
    /// The reasons, for metrics that start at 0.
    pub(crate) const REASONS: [&str; 7] =
        ["Dereference", "Apply", "Restart", "Scale", "Status", "Timeout", "Malformed"];

    /// The reason, one of a closed set.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Error::Dereference(_) => "Dereference",
            Error::Apply(_) => "Apply",
            Error::Restart(_) => "Restart",
            Error::Scale(_) => "Scale",
            Error::Status(_) => "Status",
            Error::Timeout { .. } => "Timeout",
        }
    }
}

/// An error and what caused it, on one line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        // Writing to a String cannot fail. Some libraries repeat their cause in their own text.
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            let _ = write!(text, ": {cause_text}");
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the outside")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn a_chain_names_every_cause_once() {
        let error = Outer(std::io::Error::other("the inside"));
        assert!(error.source().is_some());
        assert_eq!(chain(&error), "the outside: the inside");
    }
}
