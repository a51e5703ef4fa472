//! Percent-decoding of paths and queries.
//!
//! It refuses to repair: a `%` without two digits behind it, or bytes that are no UTF-8, are errors and never
//! replaced, because a key that is repaired is another key.

/// Why a text could not be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PercentError {
    /// A percent sign is not followed by two hexadecimal digits.
    #[error("a % is not followed by two hexadecimal digits; write %25 for the sign itself")]
    Digits,
    /// The decoded bytes are not UTF-8.
    #[error("the decoded bytes are not UTF-8")]
    Utf8,
}

/// Decode `%xx`; everything else stands for itself, as in a path.
pub(crate) fn decode_path(text: &str) -> Result<String, PercentError> {
    decode(text, false)
}

/// Decode `%xx` and `+` for a space, as in a query.
pub(crate) fn decode_query(text: &str) -> Result<String, PercentError> {
    decode(text, true)
}

fn decode(text: &str, plus_is_space: bool) -> Result<String, PercentError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
                let (Some(high), Some(low)) = (digit(), digit()) else { return Err(PercentError::Digits) };
                (high * 16 + low) as u8
            }
            b'+' if plus_is_space => b' ',
            other => other,
        });
    }
    String::from_utf8(bytes).map_err(|_| PercentError::Utf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_queries_differ_only_in_the_plus() {
        let check = |text: &str, path: Result<&str, PercentError>, query: Result<&str, PercentError>| {
            assert_eq!(decode_path(text), path.map(str::to_owned), "{text}");
            assert_eq!(decode_query(text), query.map(str::to_owned), "{text}");
        };
        check("a/b", Ok("a/b"), Ok("a/b"));
        check("a%2Fb%2fc", Ok("a/b/c"), Ok("a/b/c"));
        check("a+b%2B", Ok("a+b+"), Ok("a b+"));
        check("%C3%A9", Ok("é"), Ok("é"));
        check("%25", Ok("%"), Ok("%"));
        for broken in ["%", "%2", "%zz", "a%+1"] {
            check(broken, Err(PercentError::Digits), Err(PercentError::Digits));
        }
        check("%ff", Err(PercentError::Utf8), Err(PercentError::Utf8));
    }
}
