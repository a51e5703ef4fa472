//! Faults that a member has on purpose, for demonstrations and tests: how long it holds back what its leader sends, and how
//! often it loses it. It refuses to say whether a member has any: that is in its settings.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Span;

/// Longest artificial delay: the longest heartbeat timeout. A demonstration waits for seconds; what waits for longer than
/// this looks like a defect to everybody who has not read the status.
pub const REPLICATION_DELAY_MAX: Span = Span::from_secs(600);

/// How finely a probability is told apart: one in a million.
const MILLIONTHS: f64 = 1_000_000.0;

/// How likely something is, `[0, 1]`, to the millionth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Probability(u32);

/// Why something is no probability.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a probability; write a number from 0 to 1, such as 0.1")]
pub struct ProbabilityError {
    /// The beginning of what was written.
    pub text: String,
}

/// Why a text is no delay.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a delay of at most {REPLICATION_DELAY_MAX}; write a length of time such as \"2s\" or \"500ms\", or \
     seconds such as \"2.0\""
)]
pub struct DelayError {
    /// The beginning of the text.
    pub text: String,
}

impl Probability {
    /// It never happens.
    pub const NEVER: Probability = Probability(0);

    /// # Errors
    /// `value` is not in `[0, 1]`.
    pub fn new(value: f64) -> Result<Probability, ProbabilityError> {
        if (0.0..=1.0).contains(&value) {
            Ok(Probability((value * MILLIONTHS).round() as u32))
        } else {
            Err(ProbabilityError { text: value.to_string().chars().take(16).collect() })
        }
    }

    /// As a number in `[0, 1]`.
    pub fn get(self) -> f64 {
        f64::from(self.0) / MILLIONTHS
    }

    /// Whether it happens, if `draw` is a number that is drawn from all there are.
    pub fn strikes(self, draw: u64) -> bool {
        draw % (MILLIONTHS as u64) < u64::from(self.0)
    }

    /// Whether it never happens.
    pub fn is_never(&self) -> bool {
        self.0 == 0
    }
}

impl FromStr for Probability {
    type Err = ProbabilityError;

    fn from_str(text: &str) -> Result<Probability, ProbabilityError> {
        let error = || ProbabilityError { text: text.chars().take(16).collect() };
        Probability::new(text.parse().map_err(|_| error())?).map_err(|_| error())
    }
}

impl fmt::Display for Probability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

impl Serialize for Probability {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.get())
    }
}

impl<'de> Deserialize<'de> for Probability {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Probability, D::Error> {
        Probability::new(f64::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// A delay as people write it, `2s`, or as clients of the replicated log do: a bare number of seconds, `2.0`.
///
/// # Errors
/// It is neither, or more than [`REPLICATION_DELAY_MAX`].
pub fn parse_delay(text: &str) -> Result<Span, DelayError> {
    let seconds = || {
        let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let seconds: f64 = text.parse().ok().filter(|_| plain)?;
        // More than the most is refused below; no number of milliseconds overflows here.
        Some(Span::from_millis((seconds.min(1e9) * 1e3).round() as u64))
    };
    let delay = text.parse::<Span>().ok().or_else(seconds);
    delay
        .filter(|delay| *delay <= REPLICATION_DELAY_MAX)
        .ok_or_else(|| DelayError { text: text.chars().take(16).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_a_span_or_seconds() {
        let check = |text: &str, milliseconds: Option<u64>| {
            assert_eq!(parse_delay(text).ok(), milliseconds.map(Span::from_millis), "{text}");
        };
        check("2s", Some(2000));
        check("1m30s", Some(90_000));
        check("2.0", Some(2000));
        check("2", Some(2000));
        check("0.05", Some(50));
        check("0", Some(0));
        check("10m", Some(600_000));
        for text in
            ["", ".", "-1", "+1", "1e3", "inf", "NaN", "2 s", "600.001", "11m", "99999999999999999999", "off"]
        {
            check(text, None);
        }
        let error = parse_delay("1h").expect_err("too long").to_string();
        assert!(error.contains("at most 10m") && error.contains("\"2.0\""), "{error}");
    }

    #[test]
    fn a_probability_is_a_number_from_0_to_1() {
        let check = |text: &str, value: Option<f64>| {
            assert_eq!(text.parse::<Probability>().ok().map(Probability::get), value, "{text}");
        };
        check("0", Some(0.0));
        check("0.1", Some(0.1));
        check("1", Some(1.0));
        check("0.000001", Some(0.000_001));
        for text in ["", "1.1", "-0.1", "NaN", "10%", "half"] {
            check(text, None);
        }
        assert_eq!(serde_json::to_string(&Probability(100_000)).ok().as_deref(), Some("0.1"));
        assert_eq!(serde_json::from_str::<Probability>("1").ok(), Some(Probability(1_000_000)));
        assert!(serde_json::from_str::<Probability>("1.5").is_err());
    }

    #[test]
    fn what_never_happens_never_strikes_and_what_always_does_always() {
        for draw in [0, 1, 999_999, 1_000_000, u64::MAX] {
            assert!(!Probability::NEVER.strikes(draw));
            assert!(Probability(1_000_000).strikes(draw));
        }
        let half = Probability(500_000);
        let struck = (0..2_000_000).filter(|&draw| half.strikes(draw)).count();
        assert_eq!(struck, 1_000_000);
    }
}
