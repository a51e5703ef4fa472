//! How the command ends: the exit codes that scripts may rely on, and the one error that every verb returns.
//!
//! Refuses to decide what went wrong; each verb says so with a [`Failure`] and the code that fits it.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

pub(crate) use holdfast_laptop::chain;

/// How a run of the command ended. The numbers are part of the interface and do not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: done, and all is well.
    Ok,
    /// 1: it could not be done, or was refused.
    Failure,
    /// 2: the command line, or a name on it, is wrong; nothing was tried.
    Usage,
    /// 3: the store serves, but a member is missing or behind.
    Degraded,
    /// 4: the store does not serve: no member leads with a quorum.
    NoQuorum,
    /// 124: no answer in time. After a write this means that its outcome is unknown. (As `timeout(1)` ends.)
    Timeout,
}

impl Exit {
    /// The number that the process ends with.
    pub fn code(self) -> u8 {
        match self {
            Exit::Ok => 0,
            Exit::Failure => 1,
            Exit::Usage => 2,
            Exit::Degraded => 3,
            Exit::NoQuorum => 4,
            Exit::Timeout => 124,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

/// Why a verb failed, in words for the person who typed it, and the code to end with.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    error: Box<dyn Error + Send + Sync>,
}

impl Failure {
    /// An error that ends the command with `exit`. A plain string will do for `error`.
    pub fn new(exit: Exit, error: impl Into<Box<dyn Error + Send + Sync>>) -> Failure {
        Failure { exit, error: error.into() }
    }

    /// Ends with 1.
    pub fn general(error: impl Into<Box<dyn Error + Send + Sync>>) -> Failure {
        Failure::new(Exit::Failure, error)
    }

    /// Ends with 2.
    pub fn usage(error: impl Into<Box<dyn Error + Send + Sync>>) -> Failure {
        Failure::new(Exit::Usage, error)
    }

    /// The code to end with.
    pub fn exit(&self) -> Exit {
        self.exit
    }
}

/// The error and its causes, each once, joined by colons.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&chain(self.error.as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read the manifest {path}")]
    struct Outer {
        path: &'static str,
        source: std::io::Error,
    }

    #[test]
    fn a_failure_prints_its_causes_once() {
        let failure = Failure::usage(Outer { path: "a.yaml", source: std::io::Error::other("disk on fire") });
        assert_eq!(failure.to_string(), "cannot read the manifest a.yaml: disk on fire");
        assert_eq!(failure.exit(), Exit::Usage);
    }

    #[test]
    fn the_codes_are_the_documented_ones() {
        let codes: Vec<u8> =
            [Exit::Ok, Exit::Failure, Exit::Usage, Exit::Degraded, Exit::NoQuorum, Exit::Timeout]
                .into_iter()
                .map(Exit::code)
                .collect();
        assert_eq!(codes, [0, 1, 2, 3, 4, 124]);
    }
}
