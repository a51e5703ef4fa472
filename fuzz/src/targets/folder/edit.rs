//! What happens to a folder's files, as an input says it: one byte for the [`Mode`], then eight for each edit.
//!
//! What it refuses to do: refuse. Every input means something.

use super::base::{Base, Files};

/// Most edits of one input.
const EDITS_MAX: usize = 12;

/// Bytes of one edit: file, kind, offset, length, value, other file.
const EDIT_BYTES: usize = 8;

/// How many kinds of edits there are.
pub(super) const KINDS: u8 = 13;

/// Bytes of a segment's header, and from one slot of the vote to the next.
const PAGE_BYTES: usize = 4096;

/// Bytes of a page that is lost or comes back as it was.
const SECTOR_BYTES: usize = 512;

/// Bytes of a mark, and how one begins.
const MARK_BYTES: usize = 48;
const MARKER: [u8; 4] = [0xff; 4];

/// What is wanted of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mode {
    /// Which folder.
    pub(super) base: usize,
    /// Checksums are set right after the edits.
    pub(super) forged: bool,
    /// The member is the store's only one when it repairs itself.
    pub(super) alone: bool,
    /// Peers give checkpoints instead of entries.
    pub(super) checkpoint: bool,
}

impl Mode {
    pub(super) fn of(byte: u8) -> Mode {
        let flag = |bit: u8| byte >> bit & 1 == 1;
        Mode { base: usize::from(byte & 3), forged: flag(2), alone: flag(3), checkpoint: flag(4) }
    }
}

/// What became of the files.
#[derive(Debug)]
pub(super) struct Edited {
    pub(super) files: Files,
    /// Something is again as it was earlier.
    pub(super) stale: bool,
    /// The end of the log is not there any more, or something is stale: nothing tells how long the log was.
    pub(super) hidden: bool,
    /// Files are missing.
    pub(super) missing: bool,
    /// What is left cannot be told from a folder in which a member never wrote.
    pub(super) emptied: bool,
}

/// Do what the input says.
pub(super) fn apply(base: &Base, mode: Mode, edits: &[u8]) -> Edited {
    let mut edited =
        Edited { files: base.files.clone(), stale: false, hidden: false, missing: false, emptied: false };
    let end = last_seal(&base.files);
    for edit in edits.as_chunks::<EDIT_BYTES>().0.iter().take(EDITS_MAX) {
        edited.edit(base, edit);
    }
    edited.hidden = edited.stale
        || end.is_some_and(|(name, at)| {
            let whole = &base.files[&name];
            edited.files.get(&name).and_then(|file| file.get(at..at + MARK_BYTES))
                != Some(&whole[at..at + MARK_BYTES])
        });
    edited.emptied = !edited.files.keys().any(|name| name.starts_with("identity"))
        && edited.files.iter().all(|(name, content)| !is_written(name, content));
    if mode.forged {
        edited.files.iter_mut().for_each(|(name, content)| forge(name, content));
    }
    edited
}

/// Whether a file without an identity beside it shows that a member wrote here.
fn is_written(name: &str, content: &[u8]) -> bool {
    match name.starts_with("log/") {
        true => {
            is_segment(name)
                && content.get(PAGE_BYTES..).is_some_and(|rest| rest.iter().any(|byte| *byte != 0))
        }
        false => true,
    }
}

fn is_segment(name: &str) -> bool {
    name.ends_with(".segment")
}

/// Where the last seal of the log is: the file, and where in it.
fn last_seal(files: &Files) -> Option<(String, usize)> {
    let (name, content) = files.iter().rfind(|(name, _)| is_segment(name))?;
    let marks = content[PAGE_BYTES.min(content.len())..].windows(4).rposition(|window| window == MARKER)?;
    Some((name.clone(), PAGE_BYTES + marks))
}

/// How much of a file matters: up to its last byte that is not zero, and a bit.
fn used(content: &[u8]) -> usize {
    let last = content.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 64);
    last.min(content.len())
}

impl Edited {
    fn edit(&mut self, base: &Base, edit: &[u8; EDIT_BYTES]) {
        let [file, kind, low, high, length, longer, value, other] = *edit;
        let names = base.files.keys().collect::<Vec<_>>();
        let name = names[usize::from(file) % names.len()];
        let other_name = names[usize::from(other) % names.len()];
        let other_content = self.files.get(other_name).cloned();
        let earlier = base.earlier.get(usize::from(value) % base.earlier.len().max(1));
        let Some(content) = self.files.get_mut(name) else { return };
        if content.is_empty() {
            return;
        }
        let at = usize::from(u16::from_le_bytes([low, high])) % used(content).max(1);
        let end = (at + 1 + usize::from(u16::from_le_bytes([length, longer & 7]))).min(content.len());
        match kind % KINDS {
            0..=2 => content[at] ^= 1 << (value % 8),
            3 => content[at] = value,
            4 => content[at..end].fill(0),
            5 => content[at..end].fill(value),
            6 => content.truncate(at),
            7 => content.extend(std::iter::repeat_n(value, end - at)),
            8 => {
                let piece = content[at..end].to_vec();
                let to = usize::from(other) * 16 % (content.len() - piece.len() + 1);
                content[to..to + piece.len()].copy_from_slice(&piece);
            }
            9 => {
                if let Some(piece) = other_content.as_deref().and_then(|other| other.get(at..end)) {
                    content[at..end].copy_from_slice(piece);
                }
            }
            10 => {
                self.missing = true;
                self.files.remove(name);
            }
            11 => self.exchange(&name.clone(), &other_name.clone()),
            _ => self.age(&name.clone(), earlier, at, other % 2 == 0),
        }
    }

    fn exchange(&mut self, name: &str, other: &str) {
        let (Some(one), Some(two)) = (self.files.get(name).cloned(), self.files.get(other).cloned()) else {
            return;
        };
        self.files.insert(name.to_owned(), two);
        self.files.insert(other.to_owned(), one);
    }

    /// The file, or one sector of it, is as it was.
    fn age(&mut self, name: &str, earlier: Option<&Files>, at: usize, whole: bool) {
        let Some(old) = earlier.and_then(|files| files.get(name)) else { return };
        self.stale = true;
        let Some(content) = self.files.get_mut(name) else { return };
        if whole {
            content.clone_from(old);
            return;
        }
        let start = at / SECTOR_BYTES * SECTOR_BYTES;
        let end = (start + SECTOR_BYTES).min(content.len()).min(old.len());
        if start < end {
            content[start..end].copy_from_slice(&old[start..end]);
        }
    }
}

/// Set the checksums in a file right.
fn forge(name: &str, content: &mut [u8]) {
    match name {
        "vote" => {
            for slot in content.chunks_mut(PAGE_BYTES) {
                forge_block(slot);
            }
        }
        _ if is_segment(name) => forge_segment(content),
        _ if name.starts_with("checkpoints/") => forge_checkpoint(content),
        _ => drop(forge_block(content)),
    }
}

/// `magic [8] | checksum u32 | version u32 | length u32 | body`. Says how long the block is.
fn forge_block(bytes: &mut [u8]) -> Option<usize> {
    const HEADER_BYTES: usize = 20;
    let length = u32::from_le_bytes(bytes.get(16..HEADER_BYTES)?.try_into().ok()?) as usize;
    let whole = HEADER_BYTES.checked_add(length)?;
    let checksum = crc32c::crc32c_append(crc32c::crc32c(bytes.get(..8)?), bytes.get(12..whole)?);
    bytes[8..12].copy_from_slice(&checksum.to_le_bytes());
    Some(whole)
}

/// A header, then records and marks, each mark with the digest of all before it.
fn forge_segment(content: &mut [u8]) {
    forge_block(content);
    let seed = crc32c::crc32c(&super::LIFE.0.to_le_bytes());
    let mut at = PAGE_BYTES;
    while at + MARK_BYTES <= content.len() {
        if content[at..at + 4] == MARKER {
            let digest = crc32c::crc32c(&content[..at]);
            content[at + 12..at + 16].copy_from_slice(&digest.to_le_bytes());
            content[at + 24..at + 32].copy_from_slice(&(at as u64).to_le_bytes());
            let checksum = crc32c::crc32c_append(seed, &content[at + 8..at + MARK_BYTES]);
            content[at + 4..at + 8].copy_from_slice(&checksum.to_le_bytes());
            at += MARK_BYTES;
            continue;
        }
        let length = u32::from_le_bytes(content[at..at + 4].try_into().expect("four bytes")) as usize;
        let end = at.saturating_add(8).saturating_add(length);
        if length == 0 || end > content.len() {
            return;
        }
        let checksum = crc32c::crc32c(&content[at + 8..end]);
        content[at + 4..at + 8].copy_from_slice(&checksum.to_le_bytes());
        at = end;
    }
}

/// A header, then chunks: `length u32 | checksum u32 | bytes`, the checksum seeded with the header and their number.
fn forge_checkpoint(content: &mut [u8]) {
    const END_BYTES: usize = 16;
    let Some(mut at) = forge_block(content) else { return };
    let seed = crc32c::crc32c(&content[..at]);
    for number in 0u64.. {
        let Some(length) = content.get(at..at + 4) else { return };
        let length = u32::from_le_bytes(length.try_into().expect("four bytes"));
        let bytes = if length == 0 { END_BYTES } else { length as usize };
        let place =
            crc32c::crc32c_append(crc32c::crc32c_append(seed, &number.to_le_bytes()), &length.to_le_bytes());
        let Some(body) = content.get(at + 8..).and_then(|rest| rest.get(..bytes)) else { return };
        let checksum = crc32c::crc32c_append(place, body);
        content[at + 4..at + 8].copy_from_slice(&checksum.to_le_bytes());
        if length == 0 {
            return;
        }
        at += 8 + bytes;
    }
}
