//! What the authority holds, between the form that a person reads and the engine's.
//!
//! It refuses what it does not know: a document that somebody edited by hand must be right or is not believed.

use holdfast_api::{AUTHORITY_FORMAT, AuthorityDocument, ForcedStart};
use holdfast_engine::{
    Configuration, Incarnation, MEMBERS_MAX, MemberId, Membership, Ordinal, StoreId, Term,
};

/// A configuration, and what stays beside it from one to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) configuration: Configuration,
    /// The last time that somebody made a member start that may have lost writes.
    pub(super) forced: Option<ForcedStart>,
}

/// Why a document is no configuration.
#[derive(Debug, thiserror::Error)]
pub(super) enum DocumentError {
    /// No JSON, or not these fields.
    #[error("it is not such a document")]
    Json(#[source] serde_json::Error),
    /// A value that cannot be.
    #[error("{field} cannot be {value:?}")]
    Value {
        /// Which field.
        field: &'static str,
        /// What it says.
        value: String,
    },
}

fn document(held: &Held) -> AuthorityDocument {
    // What was forced stands beside it, with more than the engine needs.
    let Configuration { store, version, term, primary, in_sync, forced: _ } = held.configuration;
    AuthorityDocument {
        format: AUTHORITY_FORMAT,
        store: store.to_string(),
        version,
        term: term.0,
        primary: primary.to_string(),
        in_sync: in_sync.voters().map(|voter| voter.to_string()).collect(),
        forced: held.forced.clone(),
    }
}

/// The document, over several lines.
pub(super) fn write(held: &Held) -> String {
    let mut text =
        serde_json::to_string_pretty(&document(held)).expect("strings and numbers can always be written");
    text.push('\n');
    text
}

/// The document, on one line.
pub(super) fn write_line(held: &Held) -> String {
    serde_json::to_string(&document(held)).expect("strings and numbers can always be written")
}

/// What a document says.
///
/// # Errors
///
/// [`DocumentError`]
pub(super) fn read(text: &str) -> Result<Held, DocumentError> {
    let document: AuthorityDocument = serde_json::from_str(text).map_err(DocumentError::Json)?;
    let wrong = |field, value: &dyn ToString| DocumentError::Value { field, value: value.to_string() };
    if document.format != AUTHORITY_FORMAT {
        return Err(wrong("format", &document.format));
    }
    let store = u128::from_str_radix(&document.store, 16).map_err(|_| wrong("store", &document.store))?;
    if document.version == 0 {
        return Err(wrong("version", &document.version));
    }
    if document.term == 0 {
        return Err(wrong("term", &document.term));
    }
    let primary = member(&document.primary).ok_or_else(|| wrong("primary", &document.primary))?;
    let mut in_sync = Membership::default();
    for text in &document.in_sync {
        let member = member(text).filter(|member| in_sync.voter(member.ordinal).is_none());
        in_sync = in_sync.with(member.ok_or_else(|| wrong("inSync", text))?);
    }
    if !in_sync.is_voter(primary) {
        return Err(wrong("primary", &document.primary));
    }
    let (version, term) = (document.version, Term(document.term));
    let forced = document.forced.as_ref().map(|forced| Term(forced.epoch));
    let configuration = Configuration { store: StoreId(store), version, term, primary, in_sync, forced };
    Ok(Held { configuration, forced: document.forced })
}

fn member(text: &str) -> Option<MemberId> {
    let (ordinal, incarnation) = text.split_once('/')?;
    let ordinal = ordinal.parse().ok().filter(|ordinal| usize::from(*ordinal) < MEMBERS_MAX)?;
    let incarnation = u64::from_str_radix(incarnation, 16).ok()?;
    Some(MemberId { ordinal: Ordinal(ordinal), incarnation: Incarnation(incarnation) })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn configuration(version: u64) -> Configuration {
        let member = |ordinal| MemberId {
            ordinal: Ordinal(ordinal),
            incarnation: Incarnation(0xfeed_0000_0000_0000 + u64::from(ordinal)),
        };
        let in_sync = Membership::only([member(0), member(2)]);
        let (store, term, primary) = (StoreId(7), Term(3), member(2));
        Configuration { store, version, term, primary, in_sync, forced: None }
    }

    pub(crate) fn held(version: u64) -> Held {
        Held { configuration: configuration(version), forced: None }
    }

    #[test]
    fn what_is_written_is_read() {
        let text = write(&held(5));
        assert_eq!(read(&text).expect("a document"), held(5));
        assert!(text.contains("\"primary\": \"2/feed000000000002\""), "{text}");
        let forced = Some(ForcedStart { member: "2/feed000000000002".to_owned(), epoch: 2, replaces: None });
        let configuration = Configuration { forced: Some(Term(2)), ..configuration(5) };
        let held = Held { configuration, forced };
        assert_eq!(read(&write_line(&held)).expect("a document"), held);
    }

    #[test]
    fn what_cannot_be_is_not_believed() {
        let text = write(&held(5));
        let check = |from: &str, to: &str, says: &str| {
            let edited = text.replace(from, to);
            assert_ne!(edited, text);
            let error = read(&edited).expect_err("it was edited").to_string();
            assert!(error.contains(says), "{error}");
        };
        check("\"format\": 1", "\"format\": 2", "format");
        check("\"version\": 5", "\"version\": 0", "version");
        check("\"term\": 3", "\"term\": 0", "term");
        check("\"primary\": \"2/", "\"primary\": \"1/", "primary");
        check("\"0/feed", "\"9/feed", "inSync");
        check("\"0/feed", "\"2/feed", "inSync");
        check("\"term\"", "\"trem\"", "not such a document");
        assert!(read("").is_err());
    }
}
