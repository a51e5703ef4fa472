//! What clients ask, as the core has it.
//!
//! What can be seen to be wrong here is refused here, so that it takes no place in the log; the state looks at everything
//! once more.

use std::time::Duration;

use bytes::Bytes;
use holdfast_api::WriteConcern as Wished;
use holdfast_store::{
    Command, Compare, Expect, KEY_BYTES_MAX, Keys, Operation, Relation, Revision, SessionId, Target, Txn,
    TxnOperation, VALUE_BYTES_MAX,
};
use holdfast_wire::native as wire;
use holdfast_wire::native::{ReadHead, Request, Stamp, WriteHead};

use crate::core::{Consistency, Query, ReadRequest, WriteRequest};
use crate::http::{TIMEOUT_DEFAULT, TIMEOUT_MAX, engine_concern};
use crate::problem::{Code, Problem};
use crate::reserved;

/// Most items of one page, as over HTTP.
const LIMIT_MAX: u32 = 10_000;

/// A request that waits for the core.
#[derive(Debug)]
pub(crate) struct Asked {
    /// The client's name for it.
    pub(crate) id: u64,
    /// How many bytes it brought.
    pub(crate) bytes: usize,
    /// What it wants.
    pub(crate) wish: Wish,
}

impl Asked {
    /// Bytes that wait with it.
    pub(crate) fn command_bytes(&self) -> usize {
        match &self.wish {
            Wish::Write(write) => write.command.len(),
            Wish::Read(_) => 0,
        }
    }
}

/// What a request wants of the core.
#[derive(Debug)]
pub(crate) enum Wish {
    /// To write.
    Write(WriteRequest),
    /// To read.
    Read(ReadRequest),
}

/// The commands of requests that came together, in one piece of memory.
#[derive(Debug, Default)]
pub(super) struct Commands {
    bytes: Vec<u8>,
    /// How many bytes to ask memory for, once.
    room: usize,
}

/// A wish whose command is still among [`Commands`].
#[derive(Debug)]
pub(super) enum Draft {
    /// To write; the command ends there.
    Write { head: WriteRequest, end: usize },
    /// To read.
    Read(ReadRequest),
    /// To know whether anybody is there.
    Ping,
}

impl Commands {
    /// Of requests that have so many bytes: a command is shorter than its request, unless that is strange.
    pub(super) fn of_requests(bytes: usize) -> Commands {
        Commands { bytes: Vec::new(), room: bytes }
    }

    /// Take a request apart. `usual` is the store's own concern.
    pub(super) fn draft(&mut self, request: Request, usual: Wished) -> Result<Draft, Problem> {
        match request {
            Request::Put { write, key, value, expect } => {
                check_key(&key)?;
                check_value(&value)?;
                self.write(write, Operation::Put { key, value, expect: expectation(expect) }, usual)
            }
            Request::Delete { write, key, expect } => {
                check_key(&key)?;
                self.write(write, Operation::Delete { key, expect: expectation(expect) }, usual)
            }
            Request::Txn { write, txn } => self.write(write, Operation::Txn(transaction(txn)?), usual),
            Request::Get { read, key } => {
                check_key(&key)?;
                let query = Query::Get { key: Bytes::copy_from_slice(&key), at: read.revision.map(Revision) };
                self::read(read, query)
            }
            Request::Range { read, prefix, after, limit } => {
                check_length(&prefix)?;
                check_length(&after)?;
                if limit > LIMIT_MAX {
                    return Err(Problem::invalid(format!(
                        "a page has at most {LIMIT_MAX} items, not {limit}"
                    )));
                }
                let query = Query::Range {
                    prefix: Bytes::copy_from_slice(&prefix),
                    after: (!after.is_empty()).then(|| Bytes::copy_from_slice(&after)),
                    limit: limit as usize,
                    at: read.revision.map(Revision),
                };
                self::read(read, query)
            }
            Request::Ping => Ok(Draft::Ping),
        }
    }

    fn write(&mut self, head: WriteHead, operation: Operation, usual: Wished) -> Result<Draft, Problem> {
        let WriteHead { concern, timeout_ms, stamp } = head;
        let command = Command::new(operation);
        let command = match stamp {
            Some(Stamp { session, sequence }) => command.stamped(SessionId(session), sequence),
            None => command,
        };
        let head = WriteRequest {
            command: Bytes::new(),
            concern: concern.unwrap_or_else(|| engine_concern(usual)),
            timeout: timeout(timeout_ms)?,
            retryable: stamp.is_some(),
        };
        self.bytes.reserve_exact(std::mem::take(&mut self.room));
        self.bytes = command.encode_after(std::mem::take(&mut self.bytes));
        Ok(Draft::Write { head, end: self.bytes.len() })
    }

    /// Give the drafts their commands, which share one piece of memory: it goes when the last of them does.
    pub(super) fn finish(self, drafts: &mut Vec<(u64, usize, Draft)>) -> Vec<Asked> {
        let commands = Bytes::from(self.bytes);
        let mut start = 0;
        let mut asked = Vec::with_capacity(drafts.len());
        for (id, bytes, draft) in drafts.drain(..) {
            let wish = match draft {
                Draft::Write { head, end } => {
                    let command = commands.slice(std::mem::replace(&mut start, end)..end);
                    Wish::Write(WriteRequest { command, ..head })
                }
                Draft::Read(request) => Wish::Read(request),
                Draft::Ping => continue,
            };
            asked.push(Asked { id, bytes, wish });
        }
        asked
    }
}

fn read(head: ReadHead, query: Query) -> Result<Draft, Problem> {
    let consistency = match head.consistency {
        wire::Consistency::Linearizable => Consistency::Linearizable,
        wire::Consistency::Local => Consistency::Local,
    };
    Ok(Draft::Read(ReadRequest { query, consistency, timeout: timeout(head.timeout_ms)? }))
}

fn timeout(timeout_ms: u32) -> Result<Duration, Problem> {
    match Duration::from_millis(timeout_ms.into()) {
        Duration::ZERO => Ok(TIMEOUT_DEFAULT),
        timeout if timeout <= TIMEOUT_MAX.get() => Ok(timeout),
        _ => Err(Problem::invalid(format!("a timeout is at most {TIMEOUT_MAX}"))),
    }
}

fn check_key(key: &[u8]) -> Result<(), Problem> {
    if key.is_empty() {
        return Err(Problem::new(Code::InvalidKey, "a key has at least one byte"));
    }
    check_length(key)
}

/// A key, a prefix, or the end of a page.
fn check_length(key: &[u8]) -> Result<(), Problem> {
    if key.len() > KEY_BYTES_MAX {
        let detail = format!("a key or prefix has {} bytes, {KEY_BYTES_MAX} is the most", key.len());
        return Err(Problem::new(Code::InvalidKey, detail));
    }
    reserved::check(key)
}

fn check_value(value: &[u8]) -> Result<(), Problem> {
    if value.len() > VALUE_BYTES_MAX {
        let detail = format!("a value may have at most {VALUE_BYTES_MAX} bytes");
        return Err(Problem::new(Code::TooLarge, detail));
    }
    Ok(())
}

fn expectation(expect: wire::Expect) -> Expect {
    match expect {
        wire::Expect::Any => Expect::Any,
        wire::Expect::Absent => Expect::Absent,
        wire::Expect::Revision(revision) => Expect::Revision(Revision(revision)),
    }
}

fn transaction(txn: wire::Txn) -> Result<Txn, Problem> {
    let wire::Txn { compare, success, failure } = txn;
    Ok(Txn {
        compare: compare.into_iter().map(comparison).collect::<Result<_, _>>()?,
        success: success.into_iter().map(operation).collect::<Result<_, _>>()?,
        failure: failure.into_iter().map(operation).collect::<Result<_, _>>()?,
    })
}

fn comparison(compare: wire::Compare) -> Result<Compare, Problem> {
    check_key(&compare.key)?;
    let relation = match compare.relation {
        wire::Relation::Equal => Relation::Equal,
        wire::Relation::NotEqual => Relation::NotEqual,
        wire::Relation::Less => Relation::Less,
        wire::Relation::Greater => Relation::Greater,
    };
    let target = match compare.target {
        wire::Target::Version(version) => Target::Version(version),
        wire::Target::Created(revision) => Target::Created(Revision(revision)),
        wire::Target::Modified(revision) => Target::Modified(Revision(revision)),
        wire::Target::Value(value) => Target::Value(value),
    };
    Ok(Compare { key: compare.key, relation, target })
}

fn operation(operation: wire::TxnOperation) -> Result<TxnOperation, Problem> {
    Ok(match operation {
        wire::TxnOperation::Put { key, value } => {
            check_key(&key)?;
            check_value(&value)?;
            TxnOperation::Put { key, value }
        }
        wire::TxnOperation::Delete(which) => TxnOperation::Delete(keys(which)?),
        wire::TxnOperation::Get { keys: which, limit } => TxnOperation::Get { keys: keys(which)?, limit },
    })
}

fn keys(keys: wire::Keys) -> Result<Keys, Problem> {
    match keys {
        wire::Keys::Key(key) => check_key(&key).map(|()| Keys::Key(key)),
        wire::Keys::Prefix(prefix) => check_length(&prefix).map(|()| Keys::Prefix(prefix)),
    }
}

#[cfg(test)]
mod tests {
    use holdfast_engine::WriteConcern;

    use super::*;

    fn bytes(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    fn put(key: Bytes, value: Bytes, write: WriteHead) -> Request {
        Request::Put { write, key, value, expect: wire::Expect::Absent }
    }

    #[test]
    fn commands_of_a_batch_share_memory_and_keep_their_places() {
        let stamp = Some(Stamp { session: 5, sequence: 7 });
        let all = WriteHead { concern: Some(WriteConcern::All), timeout_ms: 250, stamp };
        let requests = [
            (1, put(bytes("a"), bytes("1"), WriteHead::default())),
            (2, Request::Get { read: ReadHead::default(), key: bytes("a") }),
            (3, Request::Ping),
            (4, Request::Delete { write: all, key: bytes("b"), expect: wire::Expect::Revision(3) }),
        ];
        let mut commands = Commands::default();
        let drafts = requests
            .map(|(id, request)| (id, 10, commands.draft(request, Wished::Members(2)).expect("valid")));
        let asked = commands.finish(&mut drafts.into());
        assert_eq!(asked.iter().map(|asked| asked.id).collect::<Vec<_>>(), [1, 2, 4]);
        let write = |asked: &Asked| match &asked.wish {
            Wish::Write(write) => (Command::decode(&write.command).expect("a command"), write.clone()),
            Wish::Read(_) => panic!("no write"),
        };
        let (command, head) = write(&asked[0]);
        let expected = Operation::Put { key: bytes("a"), value: bytes("1"), expect: Expect::Absent };
        assert_eq!(command, Command::new(expected));
        assert_eq!((head.concern, head.retryable), (WriteConcern::Members(2), false));
        assert_eq!(head.timeout, TIMEOUT_DEFAULT);
        let (command, head) = write(&asked[2]);
        let expected = Operation::Delete { key: bytes("b"), expect: Expect::Revision(Revision(3)) };
        assert_eq!(command, Command::new(expected).stamped(SessionId(5), 7));
        assert_eq!((head.concern, head.retryable), (WriteConcern::All, true));
        assert_eq!(head.timeout, Duration::from_millis(250));
    }

    #[test]
    fn what_is_wrong_is_refused_before_the_log() {
        let check = |request: Request, code: Code| {
            let mut commands = Commands::default();
            let problem = commands.draft(request, Wished::Majority).expect_err("refused");
            assert_eq!(problem.code, code);
            assert_eq!(commands.bytes, b"", "nothing of it is left");
        };
        let write = WriteHead::default();
        check(put(Bytes::new(), Bytes::new(), write), Code::InvalidKey);
        check(put(vec![b'k'; KEY_BYTES_MAX + 1].into(), Bytes::new(), write), Code::InvalidKey);
        check(put(bytes("\0files"), Bytes::new(), write), Code::InvalidKey);
        check(put(bytes("k"), vec![0; VALUE_BYTES_MAX + 1].into(), write), Code::TooLarge);
        check(put(bytes("k"), Bytes::new(), WriteHead { timeout_ms: 60_001, ..write }), Code::BadRequest);
        check(Request::Get { read: ReadHead::default(), key: Bytes::new() }, Code::InvalidKey);
        let success = vec![wire::TxnOperation::Delete(wire::Keys::Key(Bytes::new()))];
        check(Request::Txn { write, txn: wire::Txn { success, ..wire::Txn::default() } }, Code::InvalidKey);
        let read = ReadHead::default();
        let range = Request::Range { read, prefix: Bytes::new(), after: Bytes::new(), limit: 10_001 };
        check(range, Code::BadRequest);
    }
}
