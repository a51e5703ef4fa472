//! What the authority of a store with consensus InSync holds, as a person reads it: JSON of a few lines, in a file on a
//! laptop and in an annotation of the store's Lease on Kubernetes. Data only; what may be believed is the sidecar's to say.

use serde::{Deserialize, Serialize};

/// The `format` of every document.
pub const AUTHORITY_FORMAT: u8 = 1;

/// Who leads, and who must have a write before it is committed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuthorityDocument {
    /// [`AUTHORITY_FORMAT`].
    pub format: u8,
    /// The store's identity: 32 hexadecimal digits.
    pub store: String,
    /// Counts the changes, from 1.
    pub version: u64,
    /// The epoch: the term that the primary leads in.
    pub term: u64,
    /// Who leads: `ordinal/incarnation`.
    pub primary: String,
    /// Who is in sync, by ordinal.
    pub in_sync: Vec<String>,
    /// The last time that somebody made a member start that may have lost writes, if that ever happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forced: Option<ForcedStart>,
}

/// A person's order to start from a member that may have lost writes. It stays in the authority for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ForcedStart {
    /// The member: `ordinal/incarnation`.
    pub member: String,
    /// The epoch that the order names: the one that ended by it.
    pub epoch: u64,
    /// The uid of the Lease that was lost, if another one took its place. Members that remember that one believe this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<String>,
}

/// The ordinal of `ordinal/incarnation`.
#[must_use]
pub fn ordinal_of(member: &str) -> Option<u8> {
    member.split_once('/')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_comes_back_as_it_was() {
        let json = r#"{"format":1,"store":"00000000000000000000000000000007","version":5,"term":3,"primary":"2/feed","inSync":["0/ab","2/feed"],"forced":{"member":"2/feed","epoch":2,"replaces":"u"}}"#;
        let document: AuthorityDocument = serde_json::from_str(json).expect("readable");
        assert_eq!(serde_json::to_string(&document).ok().as_deref(), Some(json));
        assert_eq!(ordinal_of(&document.primary), Some(2));
        assert_eq!(ordinal_of("2"), None);
    }
}
