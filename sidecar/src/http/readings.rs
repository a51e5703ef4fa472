//! What HTTP clients send, read apart from any connection: the entrance of the fuzz targets.
//!
//! It refuses to be of use to anybody else: requests go through the routes. Each function is what a route does with one
//! part of a request; a refusal is its problem's detail.

use std::time::Duration;

use bytes::Bytes;
use holdfast_api::WriteConcern;
use holdfast_engine::WriteConcern as Concern;
use holdfast_store::{Command, Expect, Operation, Revision, Stamp, Txn};
use http::HeaderMap;

use super::list::Cursor;
use super::parameters::{WriteParameters, consistency, revision, timeout};
use super::{Query, conditions, key, txn};
use crate::core::Consistency;
use crate::problem::Problem;

/// What a write's query says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteQuery {
    /// What the answer waits for; all members if it does not say.
    pub concern: Concern,
    /// The session's name for the write.
    pub stamp: Option<Stamp>,
    /// How long the client waits.
    pub timeout: Duration,
}

/// What a read's query says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadQuery {
    /// Whether what the member has at hand is enough.
    pub local: bool,
    /// As of which revision.
    pub revision: Option<Revision>,
    /// How long the client waits.
    pub timeout: Duration,
}

fn told(problem: Problem) -> String {
    problem.detail
}

/// The key in a path.
///
/// # Errors
///
/// What is wrong with it.
pub fn key(path: &str) -> Result<Bytes, String> {
    key::key_of(path).map_err(told)
}

/// The query of a write.
///
/// # Errors
///
/// What is wrong with it.
pub fn write(query: &str) -> Result<WriteQuery, String> {
    let query = Query::parse(query, WriteParameters::NAMES).map_err(told)?;
    let parameters = WriteParameters::of(&query).map_err(told)?;
    let nothing = Operation::Compact { revision: Revision::EMPTY };
    let request = parameters.request(nothing, WriteConcern::All);
    let command = Command::decode(&request.command).map_err(|error| error.to_string())?;
    Ok(WriteQuery { concern: request.concern, stamp: command.session, timeout: request.timeout })
}

/// The query of a read.
///
/// # Errors
///
/// What is wrong with it.
pub fn read(query: &str) -> Result<ReadQuery, String> {
    use holdfast_api::http::query::{READ, REVISION, TIMEOUT};
    let query = Query::parse(query, &[READ, REVISION, TIMEOUT]).map_err(told)?;
    Ok(ReadQuery {
        local: consistency(&query).map_err(told)? == Consistency::Local,
        revision: revision(&query).map_err(told)?,
        timeout: timeout(&query).map_err(told)?,
    })
}

/// A listing's cursor, as a listing writes it; `None` if it is none.
pub fn cursor(text: &str) -> Option<String> {
    Cursor::parse(text).map(|cursor| cursor.encode())
}

/// The transaction in a body.
///
/// # Errors
///
/// What is wrong with it.
pub fn transaction(body: &[u8]) -> Result<Txn, String> {
    txn::transaction_of(body).map_err(told)
}

/// What the headers of a write expect of its key.
///
/// # Errors
///
/// What is wrong with them.
pub fn expectation(headers: &HeaderMap) -> Result<Expect, String> {
    conditions::expectation(headers).map_err(told)
}
