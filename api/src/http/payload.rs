//! Values in JSON: text where it is text, else Base64.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes that are written in Base64 (RFC 4648, with padding).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Base64(pub Vec<u8>);

/// Why a request's value cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// Neither `value` nor `valueBase64`.
    #[error("there is no value; write \"value\" with text, or \"valueBase64\"")]
    Missing,
    /// Both.
    #[error("there are both \"value\" and \"valueBase64\"; write one of them")]
    Both,
}

impl fmt::Display for Base64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(&self.0))
    }
}

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Base64, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD
            .decode(&text)
            .map(Base64)
            .map_err(|error| D::Error::custom(format!("this is not Base64: {error}")))
    }
}

/// Which of the two fields holds `bytes`.
pub(super) fn split(bytes: Vec<u8>) -> (Option<String>, Option<Base64>) {
    match String::from_utf8(bytes) {
        Ok(text) => (Some(text), None),
        Err(error) => (None, Some(Base64(error.into_bytes()))),
    }
}

/// The bytes, if exactly one of the two fields is there.
pub(super) fn join<'a>(
    text: &'a Option<String>,
    base64: &'a Option<Base64>,
) -> Result<&'a [u8], PayloadError> {
    match (text, base64) {
        (Some(text), None) => Ok(text.as_bytes()),
        (None, Some(Base64(bytes))) => Ok(bytes),
        (None, None) => Err(PayloadError::Missing),
        (Some(_), Some(_)) => Err(PayloadError::Both),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], in_text: bool) {
        let (text, base64) = split(Vec::from(bytes));
        assert_eq!(text.is_some(), in_text);
        assert_eq!(join(&text, &base64), Ok(bytes));
        let json = serde_json::to_string(&base64).expect("serializable");
        assert_eq!(serde_json::from_str::<Option<Base64>>(&json).ok(), Some(base64));
    }

    #[test]
    fn bytes_come_back_as_they_were() {
        check(b"", true);
        check("größer\0".as_bytes(), true);
        check(&[0xff, 0x00, 0xfe], false);
    }

    #[test]
    fn one_of_both_fields_is_needed() {
        assert_eq!(join(&None, &None), Err(PayloadError::Missing));
        assert_eq!(join(&Some(String::new()), &Some(Base64::default())), Err(PayloadError::Both));
        assert!(serde_json::from_str::<Base64>("\"a\"").is_err());
        assert!(serde_json::from_str::<Base64>("\"/w==\"").is_ok_and(|bytes| bytes.0 == [0xff]));
    }
}
