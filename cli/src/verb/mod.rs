//! What the command can do, one module per verb. Each takes its part of the command line and says how it ended.

pub mod delay;
pub mod demo;
pub mod echo;
pub mod experiment;
pub mod fail;
pub mod files;
pub mod force_start;
pub mod kv;
pub mod lab;
pub mod log;
mod order;
pub mod start;
pub mod status;
pub mod up;
pub mod validate;
pub mod version;

use std::future::Future;

use holdfast_client::Error;
use holdfast_client::reply::ProblemCode;

use crate::exit::{Exit, Failure};

/// Runs a verb that waits for something.
pub(crate) fn block_on<T>(verb: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::general(format!("cannot start: {error}")))?;
    let result = runtime.block_on(verb);
    // Nothing that is left, such as a question to a member that is gone, is worth waiting for.
    runtime.shutdown_background();
    result
}

/// The failure that a client's error means.
pub(crate) fn of_client(error: Error) -> Failure {
    let exit = match &error {
        Error::Unknown { .. } => Exit::Timeout,
        Error::Refused(problem) if problem.code == ProblemCode::NoLeader => Exit::NoQuorum,
        Error::Unreachable { tried } if tried.iter().any(|tried| tried.silent) => Exit::Timeout,
        Error::Refused(_) | Error::Unreachable { .. } | Error::Protocol { .. } => Exit::Failure,
    };
    let hint = match &error {
        Error::Unknown { .. } => "; read before you write again",
        Error::Unreachable { .. } => "; `holdfast status` shows which members run",
        error if error.code() == Some(ProblemCode::NoLeader) => "; `holdfast status` shows which members run",
        _ => "",
    };
    Failure::new(exit, format!("{error}{hint}"))
}

#[cfg(test)]
mod tests {
    use holdfast_client::Tried;
    use holdfast_client::reply::Problem;

    use super::*;

    #[test]
    fn errors_have_the_documented_codes() {
        let refused = |code| Error::Refused(Box::new(Problem::new(code, "so", "r")));
        let unreachable = |silent| {
            let tried = Tried { endpoint: "http://a".into(), why: "so".into(), silent };
            Error::Unreachable { tried: vec![tried] }
        };
        let check = |error, exit| assert_eq!(of_client(error).exit(), exit);
        check(refused(ProblemCode::NoLeader), Exit::NoQuorum);
        check(refused(ProblemCode::PreconditionFailed), Exit::Failure);
        check(Error::Unknown { detail: "so".into(), attempts: 2 }, Exit::Timeout);
        check(unreachable(true), Exit::Timeout);
        check(unreachable(false), Exit::Failure);
    }
}
