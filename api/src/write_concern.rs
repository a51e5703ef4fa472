//! [`WriteConcern`] as users write it: a word or a number. How it is met is the engine's business.

use std::fmt;
use std::str::FromStr;

use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::names::REPLICAS_MAX;

/// What an acknowledgement of one write waits for.
///
/// In YAML and JSON: `majority`, `all`, or a number of members from 1; the same text in a query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum WriteConcern {
    /// So many members have it durable, the leader among them, in `[1, REPLICAS_MAX]`. With less than a majority
    /// a failover may undo the write.
    Members(u8),
    /// It is committed: no failover can undo it.
    #[default]
    Majority,
    /// Every member has it durable.
    All,
}

/// Why a text is no write concern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a write concern; write \"majority\", \"all\", or a number of members from 1 to {REPLICAS_MAX}"
)]
pub struct WriteConcernError {
    /// The beginning of the text.
    pub text: String,
}

impl FromStr for WriteConcern {
    type Err = WriteConcernError;

    fn from_str(text: &str) -> Result<WriteConcern, WriteConcernError> {
        let number = || match text.as_bytes() {
            [digit @ b'1'..=b'9'] => Some(digit - b'0').filter(|&k| k <= REPLICAS_MAX),
            _ => None,
        };
        match text {
            "majority" => Ok(WriteConcern::Majority),
            "all" => Ok(WriteConcern::All),
            _ => number()
                .map(WriteConcern::Members)
                .ok_or_else(|| WriteConcernError { text: text.chars().take(16).collect() }),
        }
    }
}

impl fmt::Display for WriteConcern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WriteConcern::Members(k) => k.fmt(f),
            WriteConcern::Majority => f.write_str("majority"),
            WriteConcern::All => f.write_str("all"),
        }
    }
}

impl Serialize for WriteConcern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            WriteConcern::Members(k) => serializer.serialize_u8(*k),
            word => serializer.collect_str(word),
        }
    }
}

impl<'de> Deserialize<'de> for WriteConcern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<WriteConcern, D::Error> {
        struct WordOrNumber;

        impl Visitor<'_> for WordOrNumber {
            type Value = WriteConcern;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "\"majority\", \"all\", or a number of members from 1 to {REPLICAS_MAX}")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<WriteConcern, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<WriteConcern, E> {
                number.to_string().parse().map_err(E::custom)
            }

            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<WriteConcern, E> {
                number.to_string().parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_any(WordOrNumber).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_numbers_come_back_as_they_were() {
        for (concern, json) in [
            (WriteConcern::Majority, "\"majority\""),
            (WriteConcern::All, "\"all\""),
            (WriteConcern::Members(1), "1"),
            (WriteConcern::Members(7), "7"),
        ] {
            assert_eq!(serde_json::to_string(&concern).ok().as_deref(), Some(json));
            assert_eq!(serde_json::from_str(json).ok(), Some(concern));
            assert_eq!(concern.to_string().parse(), Ok(concern));
        }
    }

    #[test]
    fn what_is_neither_is_refused_with_what_to_write() {
        for text in ["", "0", "8", "-1", "+1", "01", "Majority", "quorum", "1.5"] {
            let error = text.parse::<WriteConcern>().expect_err(text);
            assert!(error.to_string().contains("write \"majority\", \"all\", or a number"), "{error}");
        }
        for json in ["0", "8", "-1", "1.5", "true", "null", "{}"] {
            assert!(serde_json::from_str::<WriteConcern>(json).is_err(), "{json}");
        }
    }
}
