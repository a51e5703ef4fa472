//! The parameters behind the `?` of a request.
//!
//! It refuses what it does not know: a misspelled `w=` that is ignored would acknowledge a write too early, so every
//! unknown, repeated or malformed parameter is a 400 that names it.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::percent::decode_query;
use crate::problem::{Code, Problem};

/// The parameters of one request, all of them known to its route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Query(Vec<(&'static str, String)>);

impl Query {
    /// Take a raw query apart. `known` is every parameter that the route has.
    pub(crate) fn parse(raw: &str, known: &'static [&'static str]) -> Result<Query, Problem> {
        let mut found: Vec<(&'static str, String)> = Vec::new();
        let mut unknown = Vec::new();
        for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let bad =
                |error| Problem::invalid(format!("the query parameter {name:?} cannot be decoded: {error}"));
            let (name, value) = (decode_query(name).map_err(bad)?, decode_query(value).map_err(bad)?);
            let Some(&name) = known.iter().find(|&&known| known == name) else {
                unknown.push(format!("{name:?}"));
                continue;
            };
            if found.iter().any(|&(earlier, _)| earlier == name) {
                return Err(Problem::invalid(format!(
                    "the query parameter \"{name}\" is given more than once"
                )));
            }
            found.push((name, value));
        }
        if unknown.is_empty() { Ok(Query(found)) } else { Err(unknown_parameters(&unknown, known)) }
    }

    /// The parameter as it was written, if it was.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|&&(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// The parameter as whatever it stands for, if it was given.
    pub(crate) fn parsed<T>(&self, name: &str) -> Result<Option<T>, Problem>
    where
        T: FromStr,
        T::Err: Display,
    {
        let Some(text) = self.text(name) else { return Ok(None) };
        let wrong = |error| Problem::invalid(format!("the query parameter \"{name}\" is {text:?}: {error}"));
        text.parse().map(Some).map_err(wrong)
    }

    /// The parameter as a number within `range`, if it was given.
    pub(crate) fn number(&self, name: &str, range: RangeInclusive<u64>) -> Result<Option<u64>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        match text.parse() {
            Ok(number) if range.contains(&number) => Ok(Some(number)),
            _ => {
                let (low, high) = range.into_inner();
                let bound = if high == u64::MAX { String::new() } else { format!(" to {high}") };
                let expected = format!("a whole number from {low}{bound}");
                Err(Problem::invalid(format!(
                    "the query parameter \"{name}\" is {text:?}, it must be {expected}"
                )))
            }
        }
    }
}

fn unknown_parameters(unknown: &[String], known: &[&str]) -> Problem {
    let (names, are) = (unknown.join(", "), if unknown.len() == 1 { "is" } else { "are" });
    let known =
        if known.is_empty() { "it takes none".to_owned() } else { format!("it takes {}", known.join(", ")) };
    Problem::new(Code::BadRequest, format!("{names} {are} no query parameter of this route; {known}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[&str] = &["prefix", "limit", "w"];

    #[test]
    fn known_parameters_are_decoded() {
        let query = Query::parse("prefix=a%2Fb+c&&limit=10&w", KNOWN).expect("valid");
        assert_eq!(query.text("prefix"), Some("a/b c"));
        assert_eq!(query.number("limit", 1..=100), Ok(Some(10)));
        assert_eq!(query.text("w"), Some(""));
        assert_eq!(Query::parse("", KNOWN).expect("valid").text("prefix"), None);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let check = |raw: &str, known: &'static [&'static str], code: Code, named: &[&str]| {
            let problem = Query::parse(raw, known).expect_err("refused");
            assert_eq!(problem.code, code, "{raw}");
            for name in named {
                assert!(problem.detail.contains(name), "{}", problem.detail);
            }
        };
        check(
            "limits=1&wait=2&w=1",
            KNOWN,
            Code::BadRequest,
            &["\"limits\", \"wait\" are", "prefix, limit, w"],
        );
        check("a=1", &[], Code::BadRequest, &["\"a\" is", "takes none"]);
        check("w=1&w=1", KNOWN, Code::BadRequest, &["\"w\"", "more than once"]);
        check("prefix=%ff", KNOWN, Code::BadRequest, &["prefix", "UTF-8"]);
    }

    #[test]
    fn numbers_have_a_range() {
        let of = |raw| Query::parse(raw, KNOWN).expect("valid").number("limit", 1..=10).map_err(|p| p.detail);
        assert_eq!(of("limit=1"), Ok(Some(1)));
        for wrong in ["limit=0", "limit=11", "limit=-1", "limit=", "limit=1e3"] {
            let detail = of(wrong).expect_err("out of range");
            assert!(detail.contains("from 1 to 10"), "{detail}");
        }
    }
}
