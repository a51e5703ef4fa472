//! Keys with their values, and pages of them.

use serde::{Deserialize, Serialize};

use super::payload::{self, Base64, PayloadError};

/// One key as of some revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyValue {
    /// The key.
    pub key: String,
    /// The value, if it is UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The value, if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_base64: Option<Base64>,
    /// The revision in which the key was put after it had not existed.
    pub create_revision: u64,
    /// The revision of its last put; its ETag.
    pub mod_revision: u64,
    /// How often it was put since it was created, from 1.
    pub version: u64,
}

/// One page of keys, in the order of their bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListReply {
    /// The page.
    pub items: Vec<KeyValue>,
    /// The revision of the state that all pages show.
    pub revision: u64,
    /// How many keys there are on all pages.
    pub count: u64,
    /// What to give as `cursor` for the next page; absent on the last one. It carries the revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

impl KeyValue {
    /// A key with a value of any bytes.
    pub fn new(
        key: String,
        value: Vec<u8>,
        create_revision: u64,
        mod_revision: u64,
        version: u64,
    ) -> KeyValue {
        let (value, value_base64) = payload::split(value);
        KeyValue { key, value, value_base64, create_revision, mod_revision, version }
    }

    /// The value's bytes.
    ///
    /// # Errors
    ///
    /// [`PayloadError`] if the other side did not write exactly one value.
    pub fn bytes(&self) -> Result<&[u8], PayloadError> {
        payload::join(&self.value, &self.value_base64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_text_where_they_are_text() {
        let check = |value: &[u8], json: &str| {
            let item = KeyValue::new("k".into(), value.to_vec(), 2, 3, 2);
            assert_eq!(serde_json::to_string(&item).ok().as_deref(), Some(json));
            let back: KeyValue = serde_json::from_str(json).expect("readable");
            assert_eq!(back.bytes(), Ok(value));
        };
        check(b"v", r#"{"key":"k","value":"v","createRevision":2,"modRevision":3,"version":2}"#);
        check(&[0xff], r#"{"key":"k","valueBase64":"/w==","createRevision":2,"modRevision":3,"version":2}"#);
    }
}
