//! What the catalogue holds, and under which keys: a record for each file, an item for each copy that is wanted and missing.
//!
//! Names are hashed for the keys: a name may be as long as a key, and a key has more in it. Everything here is data;
//! [`super::catalogue`] reads and writes it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use holdfast_engine::{Incarnation, MemberId, Ordinal};
use holdfast_wire::files::Digest;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};

/// What all keys of the catalogue begin with.
pub(crate) const CATALOGUE: &[u8] = b"\0files/";
/// Then the name's hash: the file's record.
pub(crate) const FILE: &[u8] = b"\0files/name/";
/// Then when it was uploaded, later ones first, and the name's hash.
pub(crate) const TIME: &[u8] = b"\0files/time/";
/// Then the bytes' digest and the name's hash.
pub(crate) const BYTES: &[u8] = b"\0files/bytes/";
/// Then the name's hash and the ordinal of the member that misses its copy.
pub(crate) const QUEUE: &[u8] = b"\0files/queue/";

/// The first byte of every value. A change that older members cannot read takes the next number.
const VERSION: u8 = 1;

/// A name, hashed.
pub(crate) type NameHash = [u8; 32];

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileRecord {
    /// What it is called: data, never a path.
    pub(crate) name: String,
    /// What it was called where it came from.
    pub(crate) original: String,
    /// How long it is.
    pub(crate) size: u64,
    /// What it is.
    pub(crate) digest: Digest,
    /// When it was uploaded, in milliseconds since 1970, by the clock of the member that took it.
    pub(crate) uploaded_ms: u64,
    /// Drawn for every upload: tells one from the next of the same name and the same bytes.
    pub(crate) generation: u128,
    /// The ordinals that are to have it; empty for all.
    pub(crate) wanted: Vec<u8>,
    /// The members that have said that they hold it: whole, and durable.
    pub(crate) holders: Vec<Holder>,
}

/// A member that holds a file: its ordinal, and which life of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Holder {
    pub(crate) ordinal: u8,
    pub(crate) incarnation: u64,
}

/// A copy that is wanted and missing, or was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct QueueItem {
    pub(crate) name: String,
    /// Who should have it.
    pub(crate) target: u8,
    /// Who has it, or had it when somebody looked last.
    pub(crate) source: Option<u8>,
    pub(crate) status: QueueStatus,
    /// Tries that failed.
    pub(crate) retry_count: u32,
    /// When it was tried last, in milliseconds since 1970.
    pub(crate) last_attempt_ms: Option<u64>,
    pub(crate) created_ms: u64,
    /// Why the last try failed.
    pub(crate) error: Option<String>,
}

/// What has become of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum QueueStatus {
    Pending,
    InProgress,
    Completed,
    Failed,
}

impl QueueStatus {
    pub(crate) const ALL: [QueueStatus; 4] =
        [QueueStatus::Pending, QueueStatus::InProgress, QueueStatus::Completed, QueueStatus::Failed];

    /// As clients have it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            QueueStatus::Pending => "PENDING",
            QueueStatus::InProgress => "IN_PROGRESS",
            QueueStatus::Completed => "COMPLETED",
            QueueStatus::Failed => "FAILED",
        }
    }
}

impl FileRecord {
    /// Whether a member is to have it, in a store of so many.
    pub(crate) fn wants(&self, ordinal: Ordinal) -> bool {
        self.wanted.is_empty() || self.wanted.contains(&ordinal.0)
    }

    /// Whether a member has said that it holds it.
    pub(crate) fn is_held_by(&self, member: MemberId) -> bool {
        self.holders.contains(&Holder::from(member))
    }

    /// The member holds it; whatever an earlier life of it held does not count any more.
    pub(crate) fn add_holder(&mut self, member: MemberId) {
        self.remove_holder(member.ordinal);
        self.holders.push(member.into());
        self.holders.sort_unstable_by_key(|holder| holder.ordinal);
    }

    /// The member does not hold it.
    pub(crate) fn remove_holder(&mut self, ordinal: Ordinal) {
        self.holders.retain(|holder| holder.ordinal != ordinal.0);
    }

    /// The record as it shall be when some members are in the store no more: for each place that was one of theirs, the next
    /// of `homes`, which have no place yet. What they held counts until somebody else holds it, who may have to fetch it from
    /// them. `None`: it may stay as it is.
    pub(crate) fn without(
        &self,
        is_gone: impl Fn(Ordinal) -> bool,
        homes: impl IntoIterator<Item = Ordinal>,
    ) -> Option<FileRecord> {
        let mut after = self.clone();
        let mut homes = homes.into_iter();
        for place in after.wanted.iter_mut().filter(|place| is_gone(Ordinal(**place))) {
            let Some(home) = homes.next() else { break };
            *place = home.0;
        }
        after.wanted.sort_unstable();
        let stays = |holder: &Holder| !is_gone(Ordinal(holder.ordinal));
        if after.holders.iter().any(stays) {
            after.holders.retain(stays);
        }
        (after != *self).then_some(after)
    }

    /// The three keys that it has.
    pub(crate) fn keys(&self) -> [Bytes; 3] {
        let hash = hash(&self.name);
        let newest_first = (!self.uploaded_ms).to_be_bytes();
        [file_key(&hash), key(&[TIME, &newest_first, &hash]), key(&[BYTES, &self.digest, &hash])]
    }
}

impl QueueItem {
    /// An item for a copy that has just been found missing.
    pub(crate) fn new(
        name: &str,
        target: Ordinal,
        source: Option<Ordinal>,
        why: Option<String>,
    ) -> QueueItem {
        QueueItem {
            name: name.to_owned(),
            target: target.0,
            source: source.map(|source| source.0),
            status: QueueStatus::Pending,
            retry_count: 0,
            last_attempt_ms: None,
            created_ms: now_ms(),
            error: why,
        }
    }

    /// Its key.
    pub(crate) fn key(&self) -> Bytes {
        queue_key(&hash(&self.name), Ordinal(self.target))
    }

    /// A number for those who want one; small enough for every reader of JSON.
    pub(crate) fn id(&self) -> u64 {
        let mut hash = Sha256::new();
        hash.update(self.key());
        hash.update(self.created_ms.to_le_bytes());
        let hash: [u8; 32] = hash.finalize().into();
        hash[..6].iter().fold(0, |id, byte| id << 8 | u64::from(*byte))
    }
}

impl From<MemberId> for Holder {
    fn from(member: MemberId) -> Holder {
        Holder { ordinal: member.ordinal.0, incarnation: member.incarnation.0 }
    }
}

impl From<Holder> for MemberId {
    fn from(holder: Holder) -> MemberId {
        MemberId { ordinal: Ordinal(holder.ordinal), incarnation: Incarnation(holder.incarnation) }
    }
}

/// A name's hash.
pub(crate) fn hash(name: &str) -> NameHash {
    Sha256::digest(name.as_bytes()).into()
}

/// The key of a file's record.
pub(crate) fn file_key(hash: &NameHash) -> Bytes {
    key(&[FILE, hash])
}

/// The key of an item.
pub(crate) fn queue_key(hash: &NameHash, target: Ordinal) -> Bytes {
    key(&[QUEUE, hash, &[target.0]])
}

/// What the keys of everything that refers to these bytes begin with.
pub(crate) fn bytes_prefix(digest: &Digest) -> Bytes {
    key(&[BYTES, digest])
}

/// The name's hash at the end of a key of [`TIME`] or [`BYTES`].
pub(crate) fn hash_at_end(key: &[u8]) -> Option<NameHash> {
    key.last_chunk().copied()
}

fn key(parts: &[&[u8]]) -> Bytes {
    Bytes::from(parts.concat())
}

/// A value's bytes.
pub(crate) fn encode(value: &impl Serialize) -> Bytes {
    let bytes = postcard::to_extend(value, vec![VERSION]);
    Bytes::from(bytes.expect("records have nothing that postcard refuses"))
}

/// The value that these bytes are, if this version wrote them.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let (&version, body) = bytes.split_first()?;
    let (value, rest) = postcard::take_from_bytes(body).ok()?;
    (version == VERSION && rest.is_empty()).then_some(value)
}

/// Milliseconds since 1970, by this member's clock.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    since.as_millis() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> FileRecord {
        FileRecord {
            name: "../../etc/passwd\0".to_owned(),
            original: "größe.txt".to_owned(),
            size: 7,
            digest: [3; 32],
            uploaded_ms: 1_000,
            generation: 9,
            wanted: vec![],
            holders: vec![Holder { ordinal: 1, incarnation: 5 }],
        }
    }

    #[test]
    fn records_come_back_and_nothing_else_does() {
        let bytes = encode(&record());
        assert_eq!(decode(&bytes), Some(record()));
        for length in 0..bytes.len() {
            assert_eq!(decode::<FileRecord>(&bytes[..length]), None, "cut to {length}");
        }
        let item = QueueItem::new("a", Ordinal(2), Some(Ordinal(0)), Some("it was down".to_owned()));
        assert_eq!(decode(&encode(&item)), Some(item));
    }

    #[test]
    fn keys_are_short_whatever_the_name_is_and_later_files_come_first() {
        let mut long = FileRecord { name: "n".repeat(4096), ..record() };
        let [file, earlier, bytes] = long.keys();
        assert!(file.len() < 64 && earlier.len() < 64 && bytes.len() < 96);
        assert!([&file, &earlier, &bytes].iter().all(|key| holdfast_store::is_reserved(key)));
        assert_eq!(hash_at_end(&earlier), Some(hash(&long.name)));
        long.uploaded_ms += 1;
        let [same, later, _] = long.keys();
        assert!(later < earlier && same == file);
    }

    #[test]
    fn what_a_removed_member_kept_gets_another_home() {
        let holder = |ordinal| Holder { ordinal, incarnation: 1 };
        let of = |wanted: &[u8], holders: &[u8]| FileRecord {
            wanted: wanted.to_vec(),
            holders: holders.iter().copied().map(holder).collect(),
            ..record()
        };
        let check = |before: FileRecord, homes: &[u8], after: Option<FileRecord>| {
            let is_gone = |ordinal: Ordinal| ordinal.0 >= 3;
            assert_eq!(before.without(is_gone, homes.iter().copied().map(Ordinal)), after, "{before:?}");
        };
        check(of(&[0, 1], &[0, 1]), &[2], None);
        check(of(&[0, 4], &[0, 4]), &[2, 1], Some(of(&[0, 2], &[0])));
        check(of(&[3, 4], &[3, 4]), &[2, 1], Some(of(&[1, 2], &[3, 4])));
        check(of(&[1, 2], &[1, 3]), &[0], Some(of(&[1, 2], &[1])));
        // There are fewer members than copies: the place stays for one that may come.
        check(of(&[0, 1, 2, 4], &[0, 1, 2]), &[], None);
        check(of(&[], &[0, 1, 4]), &[], Some(of(&[], &[0, 1])));
    }

    #[test]
    fn a_member_holds_a_file_in_one_life() {
        let mut record = record();
        let (old, new) = (Incarnation(5), Incarnation(6));
        assert!(record.is_held_by(MemberId { ordinal: Ordinal(1), incarnation: old }));
        record.add_holder(MemberId { ordinal: Ordinal(1), incarnation: new });
        assert!(!record.is_held_by(MemberId { ordinal: Ordinal(1), incarnation: old }));
        assert_eq!(record.holders.len(), 1);
        record.remove_holder(Ordinal(1));
        assert_eq!(record.holders, []);
        assert!(record.wants(Ordinal(6)), "all are to have it");
    }
}
