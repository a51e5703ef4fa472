//! `POST /v1/txn`: compare, then do one of two lists of operations, at one revision.
//!
//! The body is a [`TxnRequest`]. What can be seen to be wrong here is refused here, so that it takes no place in the
//! log; the state looks at everything once more.

use bytes::Bytes;
use holdfast_api::http as dto;
use holdfast_api::http::{CompareOperator, CompareTarget, TxnReply, TxnRequest};
use holdfast_store::{
    Compare, KEY_BYTES_MAX, Keys, Operation, Outcome, Relation, Revision, TXN_OPERATIONS_MAX, Target, Txn,
    TxnOperation, TxnResult,
};
use warp::Filter;
use warp::reply::Response;

use super::body::BodyLimit;
use super::parameters::WriteParameters;
use super::reads::item;
use super::writes::write;
use super::{Context, Group, Head, Query, at_revision, head, json, settle, with};
use crate::byte_stream::ByteStream;
use crate::problem::{Code, Problem};
use crate::reserved;

/// What a transaction's JSON may be: twice what one log entry takes, because Base64 and escapes are longer than the
/// bytes that they stand for.
const TRANSACTION: BodyLimit = BodyLimit { bytes_max: 4 * 1024 * 1024, name: "a transaction" };

/// The routes of this module.
pub(super) fn routes(context: Context) -> Group {
    warp::path("v1")
        .and(warp::path("txn"))
        .and(warp::path::end())
        .and(warp::post())
        .and(with(context))
        .and(head())
        .and(warp::body::stream())
        .then(async |context: Context, head: Head, body| settle(txn(&context, &head, body).await))
        .boxed()
}

async fn txn(context: &Context, head: &Head, body: impl ByteStream) -> Result<Response, Problem> {
    let parameters = WriteParameters::of(&Query::parse(&head.query, WriteParameters::NAMES)?)?;
    let body = context.bodies.read(&head.headers, body, TRANSACTION).await?;
    let done = write(context, &parameters, Operation::Txn(transaction_of(&body.bytes)?)).await?;
    let Outcome::Txn { revision, succeeded, results } = &done.outcome else {
        unreachable!("a transaction is answered by a transaction")
    };
    let results = results.iter().cloned().map(result).collect();
    let reply = TxnReply { write: done.reply(*revision), succeeded: *succeeded, results };
    Ok(at_revision(json(done.status, &reply), *revision))
}

/// The transaction in a body.
pub(super) fn transaction_of(body: &[u8]) -> Result<Txn, Problem> {
    let request: TxnRequest = serde_json::from_slice(body)
        .map_err(|error| Problem::invalid(format!("the body is no transaction: {error}")))?;
    transaction(request)
}

/// The transaction as the state has it.
fn transaction(request: TxnRequest) -> Result<Txn, Problem> {
    let TxnRequest { compare, success, failure } = request;
    let largest = compare.len().max(success.len()).max(failure.len());
    if largest > TXN_OPERATIONS_MAX {
        let detail = format!("a list has {largest} elements, {TXN_OPERATIONS_MAX} is the most");
        return Err(Problem::new(Code::TooManyOperations, detail));
    }
    Ok(Txn {
        compare: compare.into_iter().map(comparison).collect::<Result<_, _>>()?,
        success: success.into_iter().map(operation).collect::<Result<_, _>>()?,
        failure: failure.into_iter().map(operation).collect::<Result<_, _>>()?,
    })
}

fn comparison(compare: dto::Compare) -> Result<Compare, Problem> {
    let wrong = |what: &str| Problem::invalid(format!("the comparison of {:?}: {what}", shown(&compare.key)));
    let target = match compare.target().map_err(wrong)? {
        CompareTarget::Version(version) => Target::Version(version),
        CompareTarget::CreateRevision(revision) => Target::Created(Revision(revision)),
        CompareTarget::ModRevision(revision) => Target::Modified(Revision(revision)),
        CompareTarget::Value(value) => Target::Value(Bytes::copy_from_slice(value)),
    };
    let relation = match compare.operator {
        CompareOperator::Equal => Relation::Equal,
        CompareOperator::NotEqual => Relation::NotEqual,
        CompareOperator::Less => Relation::Less,
        CompareOperator::Greater => Relation::Greater,
    };
    Ok(Compare { key: key(compare.key)?, relation, target })
}

fn operation(operation: dto::TxnOperation) -> Result<TxnOperation, Problem> {
    Ok(match operation {
        dto::TxnOperation::Put(put) => {
            let value = put
                .bytes()
                .map_err(|error| Problem::invalid(format!("the put of {:?}: {error}", shown(&put.key))))?;
            let value = Bytes::copy_from_slice(value);
            TxnOperation::Put { key: key(put.key)?, value }
        }
        dto::TxnOperation::Delete(delete) => {
            TxnOperation::Delete(keys("a delete", delete.key, delete.prefix)?)
        }
        dto::TxnOperation::Get(get) => {
            let many = get.prefix.is_some();
            let keys = keys("a get", get.key, get.prefix)?;
            let limit = match get.limit {
                None => u64::MAX,
                Some(limit) if many && limit > 0 => limit,
                Some(_) => {
                    return Err(Problem::invalid("a get's limit goes with a prefix and is at least 1"));
                }
            };
            TxnOperation::Get { keys, limit }
        }
    })
}

fn keys(what: &str, one: Option<String>, prefix: Option<String>) -> Result<Keys, Problem> {
    match (one, prefix) {
        (Some(one), None) => Ok(Keys::Key(key(one)?)),
        (None, Some(prefix)) => Ok(Keys::Prefix(bounded(prefix)?)),
        _ => Err(Problem::invalid(format!("{what} needs exactly one of key and prefix"))),
    }
}

fn key(key: String) -> Result<Bytes, Problem> {
    if key.is_empty() {
        return Err(Problem::new(Code::InvalidKey, "a key has at least one byte"));
    }
    bounded(key)
}

fn bounded(text: String) -> Result<Bytes, Problem> {
    if text.len() > KEY_BYTES_MAX {
        let detail = format!("a key or prefix has {} bytes, {KEY_BYTES_MAX} is the most", text.len());
        return Err(Problem::new(Code::InvalidKey, detail));
    }
    reserved::check(text.as_bytes())?;
    Ok(Bytes::from(text))
}

/// The beginning of a key, for a message.
fn shown(key: &str) -> String {
    const SHOWN_CHARACTERS_MAX: usize = 80;
    key.chars().take(SHOWN_CHARACTERS_MAX).collect()
}

fn result(result: TxnResult) -> dto::TxnResult {
    match result {
        TxnResult::Put { previous } => {
            dto::TxnResult::Put { previous_revision: previous.map(|revision| revision.0) }
        }
        TxnResult::Deleted { count } => dto::TxnResult::Delete { deleted: count },
        TxnResult::Got { items, more } => {
            dto::TxnResult::Get { items: items.into_iter().map(item).collect(), more }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, expected: Result<Txn, (Code, &str)>) {
        let request = serde_json::from_str(json).expect("well-formed");
        match (transaction(request), expected) {
            (Ok(actual), Ok(expected)) => assert_eq!(actual, expected),
            (Err(problem), Err((code, named))) => {
                assert_eq!(problem.code, code);
                assert!(problem.detail.contains(named), "{}", problem.detail);
            }
            (actual, expected) => panic!("{json}: {actual:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn json_becomes_commands() {
        let json = r#"{
            "compare": [{"key": "a", "operator": ">", "modRevision": 7}, {"key": "b", "valueBase64": "/w=="}],
            "success": [{"put": {"key": "a", "value": "1"}}, {"delete": {"prefix": ""}}],
            "failure": [{"get": {"prefix": "a", "limit": 2}}, {"get": {"key": "b"}}]}"#;
        let a = || Bytes::from_static(b"a");
        let b = || Bytes::from_static(b"b");
        check(
            json,
            Ok(Txn {
                compare: vec![
                    Compare { key: a(), relation: Relation::Greater, target: Target::Modified(Revision(7)) },
                    Compare {
                        key: b(),
                        relation: Relation::Equal,
                        target: Target::Value(Bytes::from_static(b"\xff")),
                    },
                ],
                success: vec![
                    TxnOperation::Put { key: a(), value: Bytes::from_static(b"1") },
                    TxnOperation::Delete(Keys::Prefix(Bytes::new())),
                ],
                failure: vec![
                    TxnOperation::Get { keys: Keys::Prefix(a()), limit: 2 },
                    TxnOperation::Get { keys: Keys::Key(b()), limit: u64::MAX },
                ],
            }),
        );
    }

    #[test]
    fn what_is_wrong_is_refused_before_the_log() {
        check(r#"{"compare": [{"key": "a"}]}"#, Err((Code::BadRequest, "exactly one of version")));
        check(r#"{"success": [{"put": {"key": "a"}}]}"#, Err((Code::BadRequest, "\"a\": there is no value")));
        check(r#"{"success": [{"put": {"key": "", "value": ""}}]}"#, Err((Code::InvalidKey, "at least one")));
        check(
            r#"{"success": [{"delete": {"prefix": "\u0000"}}]}"#,
            Err((Code::InvalidKey, "the store's own")),
        );
        check(r#"{"success": [{"delete": {}}]}"#, Err((Code::BadRequest, "a delete needs exactly one")));
        check(
            r#"{"success": [{"get": {"key": "a", "prefix": "a"}}]}"#,
            Err((Code::BadRequest, "a get needs")),
        );
        check(r#"{"success": [{"get": {"key": "a", "limit": 1}}]}"#, Err((Code::BadRequest, "limit")));
        check(r#"{"success": [{"get": {"prefix": "a", "limit": 0}}]}"#, Err((Code::BadRequest, "limit")));
        let long = format!(r#"{{"success": [{{"get": {{"key": "{}"}}}}]}}"#, "k".repeat(KEY_BYTES_MAX + 1));
        check(&long, Err((Code::InvalidKey, "4097 bytes")));
        let many = vec![r#"{"get": {"key": "a"}}"#; TXN_OPERATIONS_MAX + 1].join(",");
        check(&format!(r#"{{"failure": [{many}]}}"#), Err((Code::TooManyOperations, "129")));
    }
}
