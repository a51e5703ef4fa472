//! [`Span`]: a length of time as people write it, `30s`. It refuses fractions, signs and bare numbers, whose unit
//! everybody guesses differently.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a span looks like; the API server checks it too. Go's `time.ParseDuration`, and so `duration()` in CEL,
/// takes everything that matches.
pub const SPAN_PATTERN: &str = r"^([0-9]{1,6}(h|m|s|ms))+$";

/// Longest text of a span. With at most six digits a unit nothing of this length overflows Go's 292 years.
pub const SPAN_BYTES_MAX: usize = 16;

/// A length of time, from 0, to the millisecond. Written as one or more numbers with units `h`, `m`, `s`, `ms`, which
/// add up: `100ms`, `30s`, `1m30s`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(Duration);

/// Why a text is no span.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a length of time; write a whole number with a unit, such as \"100ms\", \"30s\" or \"5m\""
)]
pub struct SpanError {
    /// The text, at most a few bytes more than [`SPAN_BYTES_MAX`] of it.
    pub text: String,
}

impl Span {
    /// A span of so many milliseconds.
    pub const fn from_millis(milliseconds: u64) -> Span {
        Span(Duration::from_millis(milliseconds))
    }

    /// A span of so many seconds.
    pub const fn from_secs(seconds: u64) -> Span {
        Span(Duration::from_secs(seconds))
    }

    /// The same as the standard library has it.
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Span, SpanError> {
        let span = parse(text).map(Span::from_millis);
        // What is written must be readable again: hours in six digits with all other units would be too long.
        span.filter(|span| span.to_string().len() <= SPAN_BYTES_MAX).ok_or_else(|| {
            // An error message repeats what was written, not a whole file that was put there by mistake.
            SpanError { text: text.chars().take(SPAN_BYTES_MAX + 4).collect() }
        })
    }
}

/// The milliseconds, if `text` matches [`SPAN_PATTERN`] and is short enough.
fn parse(text: &str) -> Option<u64> {
    if text.is_empty() || text.len() > SPAN_BYTES_MAX {
        return None;
    }
    let mut rest = text;
    let mut milliseconds = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if !(1..=6).contains(&digits) {
            return None;
        }
        let number: u64 = rest[..digits].parse().ok()?;
        let unit = &rest[digits..];
        let (scale, after) = if let Some(after) = unit.strip_prefix("ms") {
            (1, after)
        } else if let Some(after) = unit.strip_prefix('s') {
            (1_000, after)
        } else if let Some(after) = unit.strip_prefix('m') {
            (60_000, after)
        } else {
            (3_600_000, unit.strip_prefix('h')?)
        };
        milliseconds += number * scale;
        rest = after;
    }
    // What is written must be readable again, and hours have six digits too.
    (milliseconds < 1_000_000 * 3_600_000).then_some(milliseconds)
}

impl fmt::Display for Span {
    /// The largest units first, none that is zero, so that the same span is always written the same.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_millis();
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, scale) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
            if rest >= scale {
                write!(f, "{}{unit}", rest / scale)?;
                rest %= scale;
            }
        }
        Ok(())
    }
}

impl From<Span> for Duration {
    fn from(span: Span) -> Duration {
        span.0
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, milliseconds: Option<u64>, written: &str) {
        let span = text.parse::<Span>();
        assert_eq!(span.as_ref().ok().map(|span| span.get().as_millis() as u64), milliseconds, "{text}");
        if let Ok(span) = span {
            assert_eq!(span.to_string(), written);
            assert_eq!(written.parse(), Ok(span));
        }
    }

    #[test]
    fn whole_numbers_with_units_add_up() {
        check("100ms", Some(100), "100ms");
        check("30s", Some(30_000), "30s");
        check("1m30s", Some(90_000), "1m30s");
        check("5m", Some(300_000), "5m");
        check("2h", Some(7_200_000), "2h");
        check("1500ms", Some(1_500), "1s500ms");
        check("90s", Some(90_000), "1m30s");
        check("0s", Some(0), "0s");
        check("000100ms", Some(100), "100ms");
        check("999999h", Some(999_999 * 3_600_000), "999999h");
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            "30",
            "s",
            "-1s",
            "+1s",
            "1.5s",
            "1 s",
            "1S",
            "1d",
            "1us",
            "1000000s",
            "1sx",
            " 1s",
            "1s1s1s1s1s1s1s1s1s",
        ] {
            check(text, None, "");
        }
        check("999999h60m", None, "");
        check("999999h99250ms", None, "");
        let error = "30".parse::<Span>().expect_err("no unit");
        assert!(error.to_string().contains("\"100ms\", \"30s\" or \"5m\""), "{error}");
        let error = "x".repeat(1_000_000).parse::<Span>().expect_err("no span");
        assert!(error.to_string().len() < 200, "the message stays short");
    }

    #[test]
    fn it_is_a_string_in_every_format() {
        assert_eq!(serde_json::to_string(&Span::from_secs(90)).ok().as_deref(), Some("\"1m30s\""));
        assert_eq!(serde_json::from_str::<Span>("\"250ms\"").ok(), Some(Span::from_millis(250)));
        assert!(serde_json::from_str::<Span>("250").is_err());
    }
}
