//! `GET /v1/kv`: keys by prefix, in the order of their bytes, page by page.
//!
//! All pages of a listing show one revision, which the cursor carries. It refuses cursors that it did not make.

use std::fmt::Write;

use bytes::Bytes;
use holdfast_api::http::ListReply;
use holdfast_api::http::query::{CURSOR, LIMIT, PREFIX, READ, REVISION, TIMEOUT};
use holdfast_store::{KEY_BYTES_MAX, Range, Revision};
use http::StatusCode;
use warp::Filter;
use warp::reply::Response;

use super::parameters::{consistency, revision, timeout};
use super::reads::{item, read, text};
use super::{Context, Group, Head, Query, at_revision, head, json, settle, with};
use crate::core::{Answer, Query as CoreQuery, ReadRequest};
use crate::problem::Problem;
use crate::reserved;

const NAMES: &[&str] = &[PREFIX, LIMIT, CURSOR, READ, REVISION, TIMEOUT];

/// Items on a page if nobody says.
const LIMIT_DEFAULT: u64 = 100;

/// Most items on a page. A page of large values ends earlier, at the state's own bound of bytes.
const LIMIT_MAX: u64 = 10_000;

/// Where a page ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    /// The revision that all pages show.
    revision: Revision,
    /// How many keys there are on all pages; only the first page counts them.
    count: u64,
    /// The last key of the page.
    after: String,
}

/// The routes of this module.
pub(super) fn routes(context: Context) -> Group {
    warp::path("v1")
        .and(warp::path("kv"))
        .and(warp::path::end())
        .and(warp::get().or(warp::head()).unify())
        .and(with(context))
        .and(head())
        .then(async |context: Context, head: Head| settle(list(&context, &head).await))
        .boxed()
}

async fn list(context: &Context, head: &Head) -> Result<Response, Problem> {
    let query = Query::parse(&head.query, NAMES)?;
    let prefix = query.text(PREFIX).unwrap_or_default();
    reserved::check(prefix.as_bytes())?;
    let cursor = cursor(&query, prefix)?;
    let at = match &cursor {
        Some(cursor) => Some(cursor.revision),
        None => revision(&query)?,
    };
    let request = ReadRequest {
        query: CoreQuery::Range {
            prefix: Bytes::copy_from_slice(prefix.as_bytes()),
            after: cursor.as_ref().map(|cursor| Bytes::copy_from_slice(cursor.after.as_bytes())),
            limit: query.number(LIMIT, 0..=LIMIT_MAX)?.unwrap_or(LIMIT_DEFAULT) as usize,
            at,
        },
        consistency: consistency(&query)?,
        timeout: timeout(&query)?,
    };
    let reply = read(context, request).await?;
    let Answer::Range(range) = reply.answer else { unreachable!("a range is answered by a range") };
    let revision = range.revision;
    Ok(at_revision(json(StatusCode::OK, &page(range, cursor)), revision))
}

fn cursor(query: &Query, prefix: &str) -> Result<Option<Cursor>, Problem> {
    let Some(text) = query.text(CURSOR) else { return Ok(None) };
    if query.text(REVISION).is_some() {
        return Err(Problem::invalid(
            "a cursor carries its revision; leave the query parameter \"revision\" out",
        ));
    }
    match Cursor::parse(text) {
        Some(cursor) if cursor.after.starts_with(prefix) => Ok(Some(cursor)),
        Some(_) => Err(Problem::invalid("the cursor belongs to a listing of another prefix")),
        None => Err(Problem::invalid("the cursor is not one that a listing gave")),
    }
}

fn page(range: Range, before: Option<Cursor>) -> ListReply {
    let count = range.count.or(before.map(|cursor| cursor.count)).unwrap_or_default();
    let last = range.items.last().filter(|_| range.more);
    let next = last.map(|last| Cursor { revision: range.revision, count, after: text(&last.key) }.encode());
    let items = range.items.into_iter().map(item).collect();
    ListReply { items, revision: range.revision.0, count, cursor: next }
}

impl Cursor {
    /// `revision.count.key`, all in hexadecimal digits, so that it needs no escaping in a query.
    pub(super) fn encode(&self) -> String {
        let mut text = format!("{:x}.{:x}.", self.revision.0, self.count);
        for byte in self.after.bytes() {
            write!(text, "{byte:02x}").expect("a string takes everything");
        }
        text
    }

    pub(super) fn parse(text: &str) -> Option<Cursor> {
        let mut parts = text.split('.');
        let number = |part: &str| u64::from_str_radix(part, 16).ok();
        let revision = Revision(number(parts.next()?)?);
        let count = number(parts.next()?)?;
        let key = parts.next()?;
        if parts.next().is_some()
            || key.len() > 2 * KEY_BYTES_MAX
            || !key.len().is_multiple_of(2)
            || !key.is_ascii()
        {
            return None;
        }
        let pair = |at: usize| u8::from_str_radix(&key[at..at + 2], 16).ok();
        let bytes = (0..key.len()).step_by(2).map(pair).collect::<Option<Vec<_>>>()?;
        Some(Cursor { revision, count, after: String::from_utf8(bytes).ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Code;

    #[test]
    fn a_cursor_comes_back_as_it_was() {
        let cursor = Cursor { revision: Revision(300), count: 17, after: "größe/1".to_owned() };
        assert_eq!(cursor.encode(), "12c.11.6772c3b6c39f652f31");
        assert_eq!(Cursor::parse(&cursor.encode()), Some(cursor));
        for forged in ["", "1", "1.1", "1.1.6", "1.1.zz", "1.1.ff", "1.1.61.61", "x.1.61", "1.1.€€"] {
            assert_eq!(Cursor::parse(forged), None, "{forged}");
        }
    }

    #[test]
    fn a_cursor_stays_with_its_listing() {
        let of = |raw: &str, prefix: &str| {
            cursor(&Query::parse(raw, NAMES).expect("known"), prefix).map_err(|problem| problem.code)
        };
        assert_eq!(of("", "a"), Ok(None));
        assert!(of("cursor=1.1.6162", "a").is_ok_and(|cursor| cursor.is_some()));
        assert_eq!(of("cursor=1.1.6162", "b"), Err(Code::BadRequest));
        assert_eq!(of("cursor=1.1.6162&revision=1", "a"), Err(Code::BadRequest));
        assert_eq!(of("cursor=nonsense", "a"), Err(Code::BadRequest));
    }
}
