//! Transactions: if all comparisons hold, one list of operations is carried out, else the other; as one revision.
//!
//! ```json
//! {"compare": [{"key": "lock", "version": 0}],
//!  "success": [{"put": {"key": "lock", "value": "me"}}],
//!  "failure": [{"get": {"key": "lock"}}]}
//! ```

use serde::{Deserialize, Serialize};

use super::payload::{self, Base64, PayloadError};
use super::{KeyValue, WriteReply};

/// What `POST /v1/txn` takes. At most 128 comparisons and operations together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TxnRequest {
    /// All must hold; none always does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub compare: Vec<Compare>,
    /// What to do if so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub success: Vec<TxnOperation>,
    /// What to do if not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failure: Vec<TxnOperation>,
}

/// One comparison: the key's version, revision or value with what is written here. Exactly one of the five is there.
/// A key that does not exist has version and revisions 0, and no comparison of its value holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Compare {
    /// The key.
    pub key: String,
    /// How to compare what the key has (left) with what is written (right).
    #[serde(default)]
    pub operator: CompareOperator,
    /// How often the key was put since it was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// The revision that created the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create_revision: Option<u64>,
    /// The revision of its last put.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mod_revision: Option<u64>,
    /// Its value, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Its value, in Base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_base64: Option<Base64>,
}

/// How to compare.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum CompareOperator {
    /// Equal.
    #[default]
    #[serde(rename = "=")]
    Equal,
    /// Not equal.
    #[serde(rename = "!=")]
    NotEqual,
    /// The key has less.
    #[serde(rename = "<")]
    Less,
    /// The key has more.
    #[serde(rename = ">")]
    Greater,
}

/// What a [`Compare`] compares with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompareTarget<'a> {
    /// The key's version.
    Version(u64),
    /// The revision that created it.
    CreateRevision(u64),
    /// The revision of its last put.
    ModRevision(u64),
    /// Its value.
    Value(&'a [u8]),
}

/// One operation of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TxnOperation {
    /// Put a key.
    Put(TxnPut),
    /// Delete a key, or all with a prefix.
    Delete(TxnDelete),
    /// Read a key, or those with a prefix, as the operations before have left them.
    Get(TxnGet),
}

/// Put a key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TxnPut {
    /// The key.
    pub key: String,
    /// The value, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The value, in Base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_base64: Option<Base64>,
}

/// Delete `key`, or all keys that begin with `prefix`. Exactly one of both is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TxnDelete {
    /// The one key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// How the keys begin; empty for all keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
}

/// Read `key`, or keys that begin with `prefix`. Exactly one of both is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TxnGet {
    /// The one key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// How the keys begin; empty for all keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Most items in the answer, from 1; only with `prefix`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
}

/// What became of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TxnReply {
    /// As for every write.
    #[serde(flatten)]
    pub write: WriteReply,
    /// Whether all comparisons held.
    pub succeeded: bool,
    /// One for each operation that was carried out, in order.
    pub results: Vec<TxnResult>,
}

/// What became of one operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum TxnResult {
    /// A key was put.
    Put {
        /// The revision of its put before, if it existed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        previous_revision: Option<u64>,
    },
    /// Keys were deleted.
    Delete {
        /// How many.
        deleted: u64,
    },
    /// Keys were read.
    Get {
        /// What was found, in the order of their bytes.
        items: Vec<KeyValue>,
        /// Whether the limit left some out.
        more: bool,
    },
}

impl Compare {
    /// What to compare with.
    ///
    /// # Errors
    ///
    /// What to write instead, if there is not exactly one thing.
    pub fn target(&self) -> Result<CompareTarget<'_>, &'static str> {
        let targets = [
            self.version.map(CompareTarget::Version),
            self.create_revision.map(CompareTarget::CreateRevision),
            self.mod_revision.map(CompareTarget::ModRevision),
            self.value.as_ref().map(|value| CompareTarget::Value(value.as_bytes())),
            self.value_base64.as_ref().map(|value| CompareTarget::Value(&value.0)),
        ];
        let mut targets = targets.into_iter().flatten();
        match (targets.next(), targets.next()) {
            (Some(target), None) => Ok(target),
            _ => Err(
                "a comparison needs exactly one of version, createRevision, modRevision, value, valueBase64",
            ),
        }
    }
}

impl TxnPut {
    /// Put any bytes.
    pub fn new(key: String, value: Vec<u8>) -> TxnPut {
        let (value, value_base64) = payload::split(value);
        TxnPut { key, value, value_base64 }
    }

    /// The value's bytes.
    ///
    /// # Errors
    ///
    /// [`PayloadError`] if there is not exactly one value.
    pub fn bytes(&self) -> Result<&[u8], PayloadError> {
        payload::join(&self.value, &self.value_base64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::WriteConcern;
    use crate::http::Concern;

    #[test]
    fn the_example_in_the_documentation_is_right() {
        let text = r#"{"compare": [{"key": "lock", "version": 0}],
            "success": [{"put": {"key": "lock", "value": "me"}}],
            "failure": [{"get": {"key": "lock"}}]}"#;
        let request: TxnRequest = serde_json::from_str(text).expect("readable");
        assert_eq!(request.compare[0].target(), Ok(CompareTarget::Version(0)));
        assert_eq!(request.compare[0].operator, CompareOperator::Equal);
        assert_eq!(request.success, [TxnOperation::Put(TxnPut::new("lock".into(), b"me".to_vec()))]);
        let get = TxnGet { key: Some("lock".into()), ..TxnGet::default() };
        assert_eq!(request.failure, [TxnOperation::Get(get)]);
        let again = serde_json::to_string(&request).expect("serializable");
        assert_eq!(serde_json::from_str::<TxnRequest>(&again).ok(), Some(request));
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for text in [
            r#"{"succes": []}"#,
            r#"{"success": [{"putt": {"key": "a", "value": ""}}]}"#,
            r#"{"success": [{"put": {"key": "a", "valu": ""}}]}"#,
            r#"{"success": [{"delete": {"range": "a"}}]}"#,
            r#"{"compare": [{"key": "a", "op": "="}]}"#,
            r#"{"compare": [{"key": "a", "operator": "==", "version": 1}]}"#,
        ] {
            assert!(serde_json::from_str::<TxnRequest>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_comparison_has_one_target() {
        let none = Compare { key: "a".into(), ..Compare::default() };
        assert!(none.target().is_err());
        let two = Compare { version: Some(1), mod_revision: Some(1), ..none.clone() };
        assert!(two.target().is_err());
        let value = Compare { value_base64: Some(Base64(vec![0xff])), ..none };
        assert_eq!(value.target(), Ok(CompareTarget::Value(&[0xff])));
    }

    #[test]
    fn a_reply_is_flat() {
        let concern = Concern { requested: WriteConcern::All, reached: 3 };
        let write = WriteReply { revision: 4, term: 2, index: 9, concern, warning: None };
        let results = vec![TxnResult::Put { previous_revision: Some(3) }, TxnResult::Delete { deleted: 2 }];
        let reply = TxnReply { write, succeeded: true, results };
        let json = r#"{"revision":4,"term":2,"index":9,"concern":{"requested":"all","reached":3},"succeeded":true,"results":[{"put":{"previousRevision":3}},{"delete":{"deleted":2}}]}"#;
        assert_eq!(serde_json::to_string(&reply).ok().as_deref(), Some(json));
        assert_eq!(serde_json::from_str::<TxnReply>(json).ok(), Some(reply));
    }
}
