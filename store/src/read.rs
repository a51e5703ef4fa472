//! What can be asked of the keyspace, and its answers: [`View`], [`RangeQuery`], [`Range`], [`ReadError`].

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::history::History;
use crate::keyspace::Keyspace;
use crate::{KeyValue, RANGE_BYTES_MAX, RESERVED, Revision};

/// Which of the two states a reader sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum View {
    /// What no failover can undo: linearizable reads, watchers, checkpoints.
    Committed,
    /// Everything executed, also what a failover may still undo: local reads.
    Executed,
}

/// Asks for keys in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeQuery {
    /// Only keys that begin so; empty for all that are not reserved.
    pub prefix: Bytes,
    /// Only keys after this one: the last key of the page before.
    pub after: Option<Bytes>,
    /// Most items in the answer; 0 only counts.
    pub limit: usize,
    /// As of this revision; `None` is the newest of the view.
    pub at: Option<Revision>,
    /// Which state.
    pub view: View,
}

/// One page of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// In order. At most as many as the limit says, and not many more bytes than `RANGE_BYTES_MAX`.
    pub items: Vec<KeyValue>,
    /// Whether there are keys after the last item: ask again with `after` set to it and `at` to `revision`.
    pub more: bool,
    /// How many keys have the prefix at `revision`, on whatever page. Only with the first page (no `after`): counting
    /// walks over all of them, which a listing of many pages should do once.
    pub count: Option<u64>,
    /// The revision that was read.
    pub revision: Revision,
}

/// Why a read has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The revision is compacted away.
    #[error("the revision is compacted away; the oldest is {compacted}")]
    Compacted {
        /// The oldest revision that can be read, and from which events can be had.
        compacted: Revision,
    },
    /// The revision does not exist yet.
    #[error("the revision does not exist yet; the newest is {current}")]
    FutureRevision {
        /// The newest revision of the view.
        current: Revision,
    },
}

/// Read a page at `revision`. `live_keys` is how many keys there are at that revision, if it is known.
pub(crate) fn range(
    keyspace: &Keyspace,
    history: &History,
    query: &RangeQuery,
    revision: Revision,
    live_keys: Option<u64>,
) -> Range {
    let RangeQuery { prefix, after, limit, .. } = query;
    // Users mean their own keys by "all". The store's own are few, or somebody else has to walk over them.
    let known = live_keys.filter(|_| prefix.is_empty() && after.is_none());
    let known = known.map(|live| live - reserved_keys(keyspace, history, revision));
    let counts = after.is_none() && known.is_none();
    let mut range = Range { items: Vec::new(), more: false, count: None, revision };
    let (mut count, mut bytes) = (0, 0);
    for (key, newest) in keyspace.scan(prefix, after.as_deref()) {
        let version = history.at(key, newest, revision).filter(|version| version.is_live());
        let Some(version) = version else { continue };
        count += 1;
        let size = key.len() + version.value_bytes();
        let full = range.items.len() >= *limit || (bytes + size > RANGE_BYTES_MAX && !range.items.is_empty());
        range.more |= full;
        if !range.more {
            bytes += size;
            range.items.extend(version.item());
        } else if !counts {
            break;
        }
    }
    if after.is_none() {
        range.count = Some(known.unwrap_or(count));
    }
    range
}

/// How many reserved keys there are at `revision`.
fn reserved_keys(keyspace: &Keyspace, history: &History, revision: Revision) -> u64 {
    let there = keyspace.scan(&[RESERVED], None);
    let live = there.filter_map(|(key, newest)| history.at(key, newest, revision));
    live.filter(|version| version.is_live()).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::{Script, all, put};
    use crate::{Keys, TxnOperation, VALUE_BYTES_MAX};

    fn query(prefix: &'static str, limit: usize) -> RangeQuery {
        RangeQuery { prefix: prefix.into(), after: None, limit, at: None, view: View::Committed }
    }

    #[test]
    fn a_page_ends_early_rather_than_be_too_large() {
        let mut script = Script::new();
        script.fill(20, VALUE_BYTES_MAX);
        let page = script.store.range(query("key", 100)).expect("the newest");
        let bytes: usize = page.items.iter().map(|item| item.key.len() + item.value.len()).sum();
        assert!(bytes <= RANGE_BYTES_MAX && bytes > RANGE_BYTES_MAX - 2 * VALUE_BYTES_MAX, "{bytes}");
        assert_eq!((page.more, page.count), (true, Some(20)));
        let after = page.items.last().map(|item| item.key.clone());
        let rest = script.store.range(RangeQuery { after, ..query("key", 100) }).expect("the newest");
        assert_eq!(rest.items[0].key, format!("key-{:06}", page.items.len()));
        assert_eq!(rest.count, None);
    }

    #[test]
    fn nothing_comes_on_a_page_after_what_did_not_fit_on_it() {
        let mut script = Script::new();
        script.fill(8, VALUE_BYTES_MAX);
        script.run(put("key-z", "small"));
        let page = script.store.range(query("key", 100)).expect("the newest");
        assert_eq!(page.items.len(), 7, "the eighth would be too much, and the ninth is not its turn");
    }

    #[test]
    fn a_page_of_the_past_counts_the_past() {
        let mut script = Script::new();
        script.fill(5, 1);
        let then = script.store.revision(View::Committed);
        script.run(all(vec![TxnOperation::Delete(Keys::Prefix("key".into()))]));
        script.run(put("z", "1"));
        let at = |at| RangeQuery { at, ..query("", 3) };
        let past = script.store.range(at(Some(then))).expect("not compacted");
        assert_eq!((past.items.len(), past.more, past.count, past.revision), (3, true, Some(5), then));
        let present = script.store.range(at(None)).expect("the newest");
        assert_eq!((present.items.len(), present.more, present.count), (1, false, Some(1)));
    }

    #[test]
    fn the_views_differ_by_what_is_not_committed() {
        let mut script = Script::new();
        script.run(put("a", "1"));
        script.execute(put("a", "2"));
        script.execute(put("b", "2"));
        let read = |view| {
            let page = script.store.range(RangeQuery { view, ..query("", 9) }).expect("the newest");
            let values: Vec<_> = page.items.into_iter().map(|item| item.value).collect();
            (values.concat(), page.count, page.revision)
        };
        assert_eq!(read(View::Committed), (b"1".to_vec(), Some(1), Revision(2)));
        assert_eq!(read(View::Executed), (b"22".to_vec(), Some(2), Revision(4)));
        let future = Err(ReadError::FutureRevision { current: Revision(2) });
        assert_eq!(script.store.get(b"a", Some(Revision(3)), View::Committed), future);
        assert!(script.store.get(b"a", Some(Revision(3)), View::Executed).is_ok());
    }
}
