//! Which bytes of a file a reader asks for, and whether it has them already: `Range`, `If-Range`, `If-None-Match`.
//!
//! It refuses nothing that a reader may be given whole: what cannot be understood, and several ranges at once, are the
//! whole file, as the standard says.

use http::HeaderMap;
use http::header::{HeaderName, IF_NONE_MATCH, IF_RANGE, RANGE};

/// What to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Everything.
    Whole,
    /// The bytes `[from, to)`.
    Part { from: u64, to: u64 },
    /// The reader has it.
    Known,
    /// The file does not have these bytes.
    Nothing,
}

/// What a reader of a file of `size` bytes with this entity tag asks for.
pub(super) fn wanted(headers: &HeaderMap, size: u64, tag: &str) -> Wanted {
    if text(headers, IF_NONE_MATCH).is_some_and(|known| knows(known, tag)) {
        return Wanted::Known;
    }
    let Some(range) = text(headers, RANGE) else { return Wanted::Whole };
    // A reader that has a part of another version gets this one whole.
    if text(headers, IF_RANGE).is_some_and(|part| part.trim() != tag) {
        return Wanted::Whole;
    }
    part(range, size)
}

fn knows(known: &str, tag: &str) -> bool {
    known
        .split(',')
        .map(str::trim)
        .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

fn part(range: &str, size: u64) -> Wanted {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let spec = range.trim().strip_prefix("bytes=").and_then(|spec| spec.split_once('-'));
    let Some((first, last)) = spec.map(|(first, last)| (first.trim(), last.trim())) else {
        return Wanted::Whole;
    };
    if !digits(first) || !digits(last) {
        return Wanted::Whole;
    }
    match (first.parse::<u64>(), last.parse::<u64>()) {
        // The last so many.
        (Err(_), Ok(length)) if first.is_empty() => match length.min(size) {
            0 => Wanted::Nothing,
            length => Wanted::Part { from: size - length, to: size },
        },
        (Ok(from), Err(_)) if last.is_empty() && from < size => Wanted::Part { from, to: size },
        (Ok(from), Ok(to)) if from <= to && from < size => {
            Wanted::Part { from, to: to.saturating_add(1).min(size) }
        }
        (Ok(from), Ok(to)) if from > to => Wanted::Whole,
        (Ok(_), _) => Wanted::Nothing,
        _ => Wanted::Whole,
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_some_bytes_of_the_file_or_all_of_them() {
        let check =
            |range: &str, size, expected| assert_eq!(part(range, size), expected, "{range} of {size}");
        check("bytes=0-9", 100, Wanted::Part { from: 0, to: 10 });
        check("bytes=90-", 100, Wanted::Part { from: 90, to: 100 });
        check("bytes=90-1000", 100, Wanted::Part { from: 90, to: 100 });
        check("bytes=-10", 100, Wanted::Part { from: 90, to: 100 });
        check("bytes=-1000", 100, Wanted::Part { from: 0, to: 100 });
        check("bytes=99-99", 100, Wanted::Part { from: 99, to: 100 });
        for nothing in ["bytes=100-", "bytes=100-200", "bytes=-0"] {
            check(nothing, 100, Wanted::Nothing);
        }
        check("bytes=0-", 0, Wanted::Nothing);
        for whole in
            ["bytes=5-4", "bytes=a-b", "bytes=0-1,3-4", "lines=0-1", "bytes", "bytes=-", "bytes=+1-2"]
        {
            check(whole, 100, Wanted::Whole);
        }
    }

    #[test]
    fn a_reader_that_has_it_needs_nothing_and_one_that_has_another_needs_all() {
        let with = |pairs: &[(&'static str, &'static str)]| {
            let headers = pairs
                .iter()
                .map(|&(name, value)| (HeaderName::from_static(name), http::HeaderValue::from_static(value)));
            wanted(&headers.collect(), 10, "\"abc\"")
        };
        assert_eq!(with(&[]), Wanted::Whole);
        for known in ["\"abc\"", "*", "\"x\", \"abc\"", "W/\"abc\""] {
            assert_eq!(with(&[("if-none-match", known)]), Wanted::Known);
        }
        assert_eq!(with(&[("if-none-match", "\"x\"")]), Wanted::Whole);
        assert_eq!(with(&[("range", "bytes=1-2"), ("if-range", "\"abc\"")]), Wanted::Part { from: 1, to: 3 });
        assert_eq!(with(&[("range", "bytes=1-2"), ("if-range", "\"x\"")]), Wanted::Whole);
    }
}
