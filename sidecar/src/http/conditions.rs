//! `If-Match` and `If-None-Match` as the state's [`Expect`], and revisions as entity tags.
//!
//! A tag is a key's revision in quotes: `"42"`. It refuses weak tags and lists of tags, which a compare-and-set on one
//! revision cannot honour.

use holdfast_store::{Expect, Revision};
use http::header::{ETAG, HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH};

use crate::problem::Problem;

/// What a write expects of its key.
pub(crate) fn expectation(headers: &HeaderMap) -> Result<Expect, Problem> {
    let if_match = single(headers, IF_MATCH)?;
    let if_none_match = single(headers, IF_NONE_MATCH)?;
    match (if_match, if_none_match) {
        (None, None) => Ok(Expect::Any),
        (Some(tag), None) => Ok(Expect::Revision(revision(tag, "If-Match")?)),
        (None, Some("*")) => Ok(Expect::Absent),
        (None, Some(_)) => {
            Err(Problem::invalid("a write takes only If-None-Match: *, the key must not exist"))
        }
        (Some(_), Some(_)) => Err(Problem::invalid("If-Match and If-None-Match cannot both be met by a key")),
    }
}

/// The revision that a reader has already, if it says so.
pub(crate) fn known_revision(headers: &HeaderMap) -> Result<Option<Revision>, Problem> {
    if headers.contains_key(IF_MATCH) {
        return Err(Problem::invalid("a read takes no If-Match"));
    }
    single(headers, IF_NONE_MATCH)?.map(|tag| revision(tag, "If-None-Match")).transpose()
}

/// A key's revision as an entity tag.
pub(crate) fn tag(revision: Revision) -> HeaderValue {
    HeaderValue::try_from(format!("\"{}\"", revision.0)).expect("digits in quotes")
}

/// The header that carries a key's revision.
pub(crate) const TAG: HeaderName = ETAG;

fn single(headers: &HeaderMap, name: HeaderName) -> Result<Option<&str>, Problem> {
    let mut values = headers.get_all(&name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Problem::invalid(format!("the header {name} is given more than once")));
    }
    let text = value.to_str().map_err(|_| Problem::invalid(format!("the header {name} is no text")))?;
    Ok(Some(text.trim()))
}

fn revision(tag: &str, header: &str) -> Result<Revision, Problem> {
    let digits = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
    let number = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    number.and_then(|digits| digits.parse().ok()).map(Revision).ok_or_else(|| {
        Problem::invalid(format!("{header}: {tag} is not one revision in quotes, such as {header}: \"42\""))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|&(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
    }

    #[test]
    fn conditions_become_expectations() {
        let of = |pairs: &[_]| expectation(&headers(pairs)).map_err(|problem| problem.detail);
        assert_eq!(of(&[]), Ok(Expect::Any));
        assert_eq!(of(&[("if-match", "\"42\"")]), Ok(Expect::Revision(Revision(42))));
        assert_eq!(of(&[("if-none-match", " * ")]), Ok(Expect::Absent));
        let wrong: [&[_]; 8] = [
            &[("if-match", "42")],
            &[("if-match", "W/\"42\"")],
            &[("if-match", "\"1\", \"2\"")],
            &[("if-match", "*")],
            &[("if-match", "\"-1\"")],
            &[("if-none-match", "\"42\"")],
            &[("if-match", "\"42\""), ("if-none-match", "*")],
            &[("if-match", "\"99999999999999999999\"")],
        ];
        for pairs in wrong {
            assert!(of(pairs).is_err(), "{pairs:?}");
        }
    }

    #[test]
    fn a_header_that_comes_twice_is_refused() {
        let mut twice = headers(&[("if-match", "\"1\"")]);
        twice.append(IF_MATCH, HeaderValue::from_static("\"2\""));
        assert!(expectation(&twice).is_err());
    }

    #[test]
    fn a_reader_says_what_it_has() {
        assert_eq!(known_revision(&headers(&[])), Ok(None));
        assert_eq!(known_revision(&headers(&[("if-none-match", "\"7\"")])), Ok(Some(Revision(7))));
        assert!(known_revision(&headers(&[("if-none-match", "7")])).is_err());
        assert!(known_revision(&headers(&[("if-match", "\"7\"")])).is_err());
        assert_eq!(tag(Revision(7)), "\"7\"");
    }
}
