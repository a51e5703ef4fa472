//! Transactions as they travel: compare, then do one of two lists of operations, at one revision.
//!
//! Each list is `count u16` and its elements. A count is checked before anything is set aside for it.

use bytes::{BufMut, Bytes, BytesMut};

use super::fields::{key, put_key, put_value, value};
use crate::FrameError;
use crate::cursor::Cursor;

/// Most elements of one list of a transaction, as the state has it.
pub const LIST_MAX: usize = 128;

/// A transaction. An empty list of comparisons always holds, so that a batch of puts is only a `success`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    /// All must hold; none always does. At most [`LIST_MAX`], as each list.
    pub compare: Vec<Compare>,
    /// What to do if so. No key may be changed twice.
    pub success: Vec<TxnOperation>,
    /// What to do if not.
    pub failure: Vec<TxnOperation>,
}

/// One comparison: "the key's `target` is `relation` than/to the operand".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compare {
    /// The key.
    pub key: Bytes,
    /// How.
    pub relation: Relation,
    /// What of the key, and the operand.
    pub target: Target,
}

/// How two values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `>`
    Greater,
}

/// What of a key is compared. A key that does not exist has 0 in all numbers, and no comparison of its value holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// How often the key was put since it was created.
    Version(u64),
    /// The revision that created it.
    Created(u64),
    /// The revision that last put it.
    Modified(u64),
    /// Its value.
    Value(Bytes),
}

/// One operation of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TxnOperation {
    /// Give a key a value.
    Put {
        /// The key.
        key: Bytes,
        /// The value.
        value: Bytes,
    },
    /// Delete keys.
    Delete(Keys),
    /// Read keys.
    Get {
        /// Which.
        keys: Keys,
        /// Most items in the answer.
        limit: u64,
    },
}

/// One key, or many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keys {
    /// This key.
    Key(Bytes),
    /// Every key that begins so; empty for all.
    Prefix(Bytes),
}

/// # Panics
///
/// If a list is longer than a `u16` says.
pub(super) fn encode(txn: &Txn, out: &mut BytesMut) {
    put_count(out, txn.compare.len());
    for Compare { key, relation, target } in &txn.compare {
        put_key(out, key);
        out.put_u8(match relation {
            Relation::Equal => 0,
            Relation::NotEqual => 1,
            Relation::Less => 2,
            Relation::Greater => 3,
        });
        put_target(out, target);
    }
    for list in [&txn.success, &txn.failure] {
        put_count(out, list.len());
        for operation in list {
            put_operation(out, operation);
        }
    }
}

pub(super) fn decode(body: &mut Cursor) -> Result<Txn, FrameError> {
    Ok(Txn {
        compare: list(body, comparison)?,
        success: list(body, operation)?,
        failure: list(body, operation)?,
    })
}

fn put_count(out: &mut BytesMut, count: usize) {
    out.put_u16_le(u16::try_from(count).expect("lists of transactions are short"));
}

fn list<T>(
    body: &mut Cursor,
    element: impl Fn(&mut Cursor) -> Result<T, FrameError>,
) -> Result<Vec<T>, FrameError> {
    let count = usize::from(body.u16()?);
    if count > LIST_MAX {
        return Err(FrameError::Value { what: "the length of a transaction's list" });
    }
    (0..count).map(|_| element(body)).collect()
}

fn put_target(out: &mut BytesMut, target: &Target) {
    let (kind, number) = match target {
        Target::Version(version) => (0, version),
        Target::Created(revision) => (1, revision),
        Target::Modified(revision) => (2, revision),
        Target::Value(value) => {
            out.put_u8(3);
            return put_value(out, value);
        }
    };
    out.put_u8(kind);
    out.put_u64_le(*number);
}

fn comparison(body: &mut Cursor) -> Result<Compare, FrameError> {
    let key = key(body)?;
    let relation = match body.u8()? {
        0 => Relation::Equal,
        1 => Relation::NotEqual,
        2 => Relation::Less,
        3 => Relation::Greater,
        _ => return Err(FrameError::Value { what: "a comparison's relation" }),
    };
    let target = match body.u8()? {
        0 => Target::Version(body.u64()?),
        1 => Target::Created(body.u64()?),
        2 => Target::Modified(body.u64()?),
        3 => Target::Value(value(body)?),
        _ => return Err(FrameError::Value { what: "a comparison's target" }),
    };
    Ok(Compare { key, relation, target })
}

fn put_operation(out: &mut BytesMut, operation: &TxnOperation) {
    match operation {
        TxnOperation::Put { key, value } => {
            out.put_u8(0);
            put_key(out, key);
            put_value(out, value);
        }
        TxnOperation::Delete(keys) => {
            out.put_u8(1);
            put_keys(out, keys);
        }
        TxnOperation::Get { keys, limit } => {
            out.put_u8(2);
            put_keys(out, keys);
            out.put_u64_le(*limit);
        }
    }
}

fn operation(body: &mut Cursor) -> Result<TxnOperation, FrameError> {
    match body.u8()? {
        0 => Ok(TxnOperation::Put { key: key(body)?, value: value(body)? }),
        1 => Ok(TxnOperation::Delete(keys(body)?)),
        2 => Ok(TxnOperation::Get { keys: keys(body)?, limit: body.u64()? }),
        _ => Err(FrameError::Value { what: "a transaction's operation" }),
    }
}

fn put_keys(out: &mut BytesMut, keys: &Keys) {
    let (kind, bytes) = match keys {
        Keys::Key(key) => (0, key),
        Keys::Prefix(prefix) => (1, prefix),
    };
    out.put_u8(kind);
    put_key(out, bytes);
}

fn keys(body: &mut Cursor) -> Result<Keys, FrameError> {
    match body.flag("whether keys are one or many")? {
        false => key(body).map(Keys::Key),
        true => key(body).map(Keys::Prefix),
    }
}
