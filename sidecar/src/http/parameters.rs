//! The query parameters that several routes share: how long to wait, how fresh to read, how safe to write.
//!
//! Defaults are here and in the store's settings, nowhere else. It refuses values out of range instead of bending them.

use std::time::Duration;

use holdfast_api::http::query::{CONCERN, READ, REVISION, SEQUENCE, SESSION, TIMEOUT};
use holdfast_api::{Span, WriteConcern as Wished};
use holdfast_engine::WriteConcern;
use holdfast_store::{Command, Operation, Revision, SessionId};

use super::query::Query;
use crate::core::{Consistency, WriteRequest};
use crate::problem::Problem;

/// How long a request waits if it does not say: several elections at the default heartbeat timeout.
pub(crate) const TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

/// Longest wait that a request may ask for; what waits holds memory.
pub(crate) const TIMEOUT_MAX: Span = Span::from_secs(60);

/// Most hexadecimal digits of a session.
const SESSION_DIGITS_MAX: usize = 32;

/// How a write is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WriteParameters {
    concern: Option<Wished>,
    stamp: Option<(SessionId, u64)>,
    timeout: Option<Duration>,
}

impl WriteParameters {
    /// What they are called.
    pub(super) const NAMES: &'static [&'static str] = &[CONCERN, SESSION, SEQUENCE, TIMEOUT];

    /// Read them.
    pub(super) fn of(query: &Query) -> Result<WriteParameters, Problem> {
        WriteParameters::within(query, TIMEOUT_MAX)
    }

    /// Read them; the request waits for at most `timeout_max`.
    pub(super) fn within(query: &Query, timeout_max: Span) -> Result<WriteParameters, Problem> {
        Ok(WriteParameters {
            concern: query.parsed(CONCERN)?,
            stamp: stamp(query)?,
            timeout: timeout_within(query, timeout_max)?,
        })
    }

    /// What the reply waits for, if the query says so.
    pub(super) fn concern(&self) -> Option<Wished> {
        self.concern
    }

    /// How long the reply may take, if the query says so.
    pub(super) fn explicit_timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// Whether the same request can be sent again without being applied twice.
    pub(super) fn repeatable(&self) -> bool {
        self.stamp.is_some()
    }

    /// The request to the core; `usual` is the store's own concern.
    pub(super) fn request(&self, operation: Operation, usual: Wished) -> WriteRequest {
        let timeout = self.timeout.unwrap_or(TIMEOUT_DEFAULT);
        self.timed_request(operation, self.concern.unwrap_or(usual), timeout)
    }

    /// The request to the core with this concern and timeout, and the session that the parameters name.
    pub(super) fn timed_request(
        &self,
        operation: Operation,
        concern: Wished,
        timeout: Duration,
    ) -> WriteRequest {
        let command = Command::new(operation);
        let command = match self.stamp {
            Some((session, sequence)) => command.stamped(session, sequence),
            None => command,
        };
        WriteRequest {
            command: command.encode(),
            concern: engine_concern(concern),
            timeout,
            retryable: self.repeatable(),
        }
    }
}

/// The concern as the engine has it.
pub(crate) fn engine_concern(wished: Wished) -> WriteConcern {
    match wished {
        Wished::Members(k) => WriteConcern::Members(k),
        Wished::Majority => WriteConcern::Majority,
        Wished::All => WriteConcern::All,
    }
}

/// The concern as replies have it.
pub(super) fn wished_concern(concern: WriteConcern) -> Wished {
    match concern {
        WriteConcern::Members(k) => Wished::Members(k),
        WriteConcern::Majority => Wished::Majority,
        WriteConcern::All => Wished::All,
    }
}

fn stamp(query: &Query) -> Result<Option<(SessionId, u64)>, Problem> {
    let sequence = query.number(SEQUENCE, 1..=u64::MAX)?;
    match (query.text(SESSION), sequence) {
        (None, None) => Ok(None),
        (Some(session), Some(sequence)) => session_id(session).map(|session| Some((session, sequence))),
        (Some(_), None) => {
            Err(Problem::invalid("a session needs a sequence: the write's number in it, from 1"))
        }
        (None, Some(_)) => Err(Problem::invalid("a sequence needs a session")),
    }
}

fn session_id(text: &str) -> Result<SessionId, Problem> {
    let digits =
        (1..=SESSION_DIGITS_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
    let number = digits.then(|| u128::from_str_radix(text, 16).ok()).flatten();
    number.map(SessionId).ok_or_else(|| {
        let shown: String = text.chars().take(SESSION_DIGITS_MAX + 1).collect();
        Problem::invalid(format!("the session {shown:?} is not 1 to {SESSION_DIGITS_MAX} hexadecimal digits"))
    })
}

/// How long the request waits for its answer.
pub(crate) fn timeout(query: &Query) -> Result<Duration, Problem> {
    Ok(timeout_within(query, TIMEOUT_MAX)?.unwrap_or(TIMEOUT_DEFAULT))
}

fn timeout_within(query: &Query, max: Span) -> Result<Option<Duration>, Problem> {
    match query.parsed::<Span>(TIMEOUT)? {
        Some(span) if span.get().is_zero() || span > max => Err(Problem::invalid(format!(
            "the query parameter \"timeout\" is {span}, it must be 1ms to {max}"
        ))),
        span => Ok(span.map(Span::get)),
    }
}

/// How fresh the answer has to be.
pub(super) fn consistency(query: &Query) -> Result<Consistency, Problem> {
    match query.text(READ) {
        None | Some("linearizable") => Ok(Consistency::Linearizable),
        Some("local") => Ok(Consistency::Local),
        Some(other) => Err(Problem::invalid(format!(
            "the query parameter \"read\" is {other:?}, it must be linearizable or local"
        ))),
    }
}

/// Which revision is asked for, if not the newest.
pub(super) fn revision(query: &Query) -> Result<Option<Revision>, Problem> {
    Ok(query.number(REVISION, 1..=u64::MAX)?.map(Revision))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Code;

    fn write(raw: &str) -> Result<WriteParameters, String> {
        let query = Query::parse(raw, WriteParameters::NAMES).expect("known parameters");
        WriteParameters::of(&query).map_err(|problem| {
            assert_eq!(problem.code, Code::BadRequest);
            problem.detail
        })
    }

    #[test]
    fn a_write_says_how_safe_it_is_to_be() {
        let usual = write("").expect("nothing is needed");
        assert_eq!((usual.repeatable(), usual.timeout), (false, None));
        let operation = || Operation::Compact { revision: Revision(2) };
        let request = usual.request(operation(), Wished::All);
        assert_eq!((request.concern, request.retryable), (WriteConcern::All, false));
        assert_eq!(request.timeout, TIMEOUT_DEFAULT);

        let all = write("w=2&session=00ab&sequence=7&timeout=250ms").expect("valid");
        let request = all.request(operation(), Wished::All);
        assert_eq!((request.concern, request.retryable), (WriteConcern::Members(2), true));
        assert_eq!(request.timeout, Duration::from_millis(250));
        let stamped = Command::new(operation()).stamped(SessionId(0xab), 7);
        assert_eq!(Command::decode(&request.command), Ok(stamped));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let check = |raw: &str, named: &str| {
            let detail = write(raw).expect_err(raw);
            assert!(detail.contains(named), "{detail}");
        };
        check("w=0", "\"w\"");
        check("w=most", "majority");
        check("w=", "majority");
        check("session=1", "needs a sequence");
        check("sequence=1", "needs a session");
        check("session=&sequence=1", "hexadecimal");
        check("session=+1&sequence=1", "hexadecimal");
        check("session=000000000000000000000000000000001&sequence=1", "1 to 32");
        check("session=1&sequence=0", "from 1");
        check("timeout=5", "\"100ms\"");
        check("timeout=0s", "1ms to 1m");
        check("timeout=61s", "1ms to 1m");
    }

    #[test]
    fn a_read_says_how_fresh_it_is_to_be() {
        let of =
            |raw| consistency(&Query::parse(raw, &[READ]).expect("known parameters")).map_err(|p| p.code);
        assert_eq!(of(""), Ok(Consistency::Linearizable));
        assert_eq!(of("read=linearizable"), Ok(Consistency::Linearizable));
        assert_eq!(of("read=local"), Ok(Consistency::Local));
        assert_eq!(of("read=Local"), Err(Code::BadRequest));
    }
}
